//! What a request to a Ziggeo-like origin asks for: a verb, and the object it is about.
//!
//! By the paths of the browser SDK (`/v1/applications/{APP}/videos/{VIDEO}/…`); on other paths the method is the verb,
//! and the first segment below the route's prefix the object.

use http::Method;

use crate::token::issued::{Grants, Reach};
use crate::token::{Denial, RequestFacts, carrier};

/// A verb of the grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Playing and looking.
    Read,
    /// Recording and uploading.
    Create,
    /// Recording again.
    Update,
    /// Deleting.
    Destroy,
}

impl Verb {
    /// What `grants` say of it.
    #[must_use]
    pub(super) const fn of(self, grants: &Grants) -> Option<&Reach> {
        match self {
            Self::Read => grants.read.as_ref(),
            Self::Create => grants.create.as_ref(),
            Self::Update => grants.update.as_ref(),
            Self::Destroy => grants.destroy.as_ref(),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked<'r> {
    /// A session token.
    Session,
    /// Something with an object; a new one has no name yet.
    Object(Verb, Option<&'r str>),
    /// A further step of making an object, such as confirming its upload.
    Step(&'r str),
}

/// Reads a request.
///
/// # Errors
/// [`Denial::Path`] for another application, [`Denial::Method`] for a method without a verb.
pub(super) fn asked<'r>(facts: &RequestFacts<'r>, application: &str) -> Result<Asked<'r>, Denial> {
    let method = method(facts)?;
    let split = |path: &'r str| path.split('/').filter(|segment| !segment.is_empty());
    // A route may begin anywhere in such a path.
    let segments: Vec<&str> = split(facts.path.raw()).collect();
    let applications = segments.iter().position(|segment| *segment == "applications");
    let Some(at) = applications else { return by_method(&method, split(facts.below_mount()).next()) };
    if segments.get(at + 1).copied() != Some(application) {
        return Err(Denial::Path);
    }
    match &segments[at + 2..] {
        ["session"] if method == Method::POST => Ok(Asked::Session),
        [kind] | [kind, "videos-upload-url" | "audios-upload-url" | "images-upload-url"] if is_kind(kind) && method == Method::POST => {
            Ok(Asked::Object(Verb::Create, None))
        }
        // A list shows every object.
        [kind] if is_kind(kind) => by_method(&method, None),
        [kind, object, "streams", ..] if is_kind(kind) && method == Method::POST => Ok(Asked::Step(object)),
        [kind, object, ..] if is_kind(kind) => by_method(&method, Some(object)),
        _ => Err(Denial::Path),
    }
}

fn is_kind(segment: &str) -> bool {
    matches!(segment, "videos" | "audios" | "images")
}

fn by_method<'r>(method: &Method, object: Option<&'r str>) -> Result<Asked<'r>, Denial> {
    let verb = match method.as_str() {
        "GET" | "HEAD" => Verb::Read,
        "POST" if object.is_none() => Verb::Create,
        "POST" | "PUT" | "PATCH" => Verb::Update,
        "DELETE" => Verb::Destroy,
        _ => return Err(Denial::Method),
    };
    Ok(Asked::Object(verb, object))
}

/// The method that the origin will act on: some SDKs send `POST …?_method=DELETE`.
fn method(facts: &RequestFacts<'_>) -> Result<Method, Denial> {
    match carrier::single_query(facts.query.unwrap_or_default(), "_method")? {
        None => Ok(facts.method.clone()),
        Some(said) if *facts.method == Method::POST => {
            Method::from_bytes(said.to_ascii_uppercase().as_bytes()).map_err(|_| Denial::Malformed)
        }
        Some(_) => Err(Denial::Method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::scheme::testkit::Request;

    fn read(method: Method, target: &str) -> Result<String, Denial> {
        read_below(0, method, target)
    }

    fn read_below(mount: usize, method: Method, target: &str) -> Result<String, Denial> {
        let request = Request { method, mount, ..Request::get(target) };
        asked(&request.facts(), "app").map(|asked| match asked {
            Asked::Session => "session".into(),
            Asked::Object(verb, object) => format!("{verb:?} {}", object.unwrap_or("-")),
            Asked::Step(object) => format!("step {object}"),
        })
    }

    #[test]
    fn paths_of_the_browser_sdk_have_their_verbs() {
        let app = "/v1/applications/app";
        for (method, path, wanted) in [
            (Method::POST, "/session?noauth=true", "session"),
            (Method::GET, "/videos/v1", "Read v1"),
            (Method::GET, "/videos/v1/video.mp4?server_auth=x", "Read v1"),
            (Method::HEAD, "/videos/v1/streams/s1/video.mp4", "Read v1"),
            (Method::GET, "/videos", "Read -"),
            (Method::POST, "/videos/videos-upload-url", "Create -"),
            (Method::POST, "/videos", "Create -"),
            (Method::POST, "/videos/v1/streams/s1/confirm-video", "step v1"),
            (Method::POST, "/videos/v1", "Update v1"),
            (Method::POST, "/videos/v1?_method=DELETE", "Destroy v1"),
            (Method::POST, "/videos/v1?%5Fmethod=delete", "Destroy v1"),
            (Method::DELETE, "/videos/v1", "Destroy v1"),
        ] {
            for mount in [0, "/v1".len(), "/v1/applications".len(), app.len()] {
                assert_eq!(read_below(mount, method.clone(), &format!("{app}{path}")).as_deref(), Ok(wanted), "{mount} {path}");
            }
        }
        assert_eq!(read(Method::GET, "/v1/applications/other/videos/v1"), Err(Denial::Path));
        assert_eq!(read(Method::GET, "/v1/applications/app/analytics"), Err(Denial::Path));
        assert_eq!(read(Method::GET, "/v1/applications/app/videos/v1?_method=DELETE"), Err(Denial::Method));
        assert_eq!(read(Method::POST, "/v1/applications/app/videos/v1?_method=A&_method=B"), Err(Denial::Duplicate));
    }

    #[test]
    fn elsewhere_the_method_is_the_verb() {
        for (method, path, wanted) in [
            (Method::GET, "/v1/master.m3u8", "Read v1"),
            (Method::POST, "/", "Create -"),
            (Method::PUT, "/v1", "Update v1"),
            (Method::DELETE, "/v1", "Destroy v1"),
        ] {
            assert_eq!(read(method, path).as_deref(), Ok(wanted), "{path}");
        }
        assert_eq!(read(Method::TRACE, "/v1"), Err(Denial::Method));
    }
}

//! The credentials of a route: which values a request gets, and how they get into its head.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use super::trail::Trail;
use crate::clock::UnixTime;
use crate::credential::place::{Draft, PlaceFault};
use crate::credential::{Credential, Held, Mode, Place, Scope, Serves};
use crate::form::{self, Field};
use crate::proxy::{Error, Route};
use crate::route::inject::Injection;
use crate::secret::Secret;
use crate::token::Denial;
use crate::upload::Upload;

/// What goes into the fields of a body.
#[derive(Default)]
pub(super) struct Fields {
    /// Into one in `application/x-www-form-urlencoded`.
    pub(super) form: Vec<form::Edit>,
    /// Into one in `multipart/form-data`.
    pub(super) multipart: Vec<form::Edit>,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.form.is_empty() && self.multipart.is_empty()
    }
}

/// The values for this request, one for each entry of its route; `None` where the caller's own stands, or where the request
/// goes to a host that gets none.
///
/// # Errors
/// [`Error::CredentialUnavailable`], or [`Error::NoRoute`] when the path names no resource.
pub(super) async fn gather(head: &mut Parts, route: &Route, trail: &Trail, now: UnixTime) -> Result<Vec<Option<Held>>, Error> {
    if trail.is_foreign() {
        // Whatever it is, it was meant for another host.
        head.headers.remove(AUTHORIZATION);
        head.headers.remove(COOKIE);
        return Ok(Vec::new());
    }
    let own: Vec<bool> = {
        let draft = Draft::new(&head.uri, &mut head.headers, trail.mount);
        route.inject.iter().map(|injection| injection.keep_own && draft.count(&injection.place) == 1).collect()
    };
    let mut all = Vec::with_capacity(own.len());
    for (injection, own) in route.inject.iter().zip(own) {
        all.push(if own { None } else { Some(value(injection, trail, head.uri.path(), now).await?) });
    }
    Ok(all)
}

async fn value(injection: &Injection, trail: &Trail, path: &str, now: UnixTime) -> Result<Held, Error> {
    let credential = &injection.credential;
    let key = match credential.scope() {
        Scope::Route if credential.serves() == Serves::Requests => match credential.ready(now) {
            Some(held) => return Ok(held),
            None => None,
        },
        Scope::Route => None,
        Scope::Session => Some(trail.session_key.clone().ok_or(Error::Denied(Denial::Missing))?),
        Scope::Resource => Some(match &injection.resource {
            Some(template) => template.find(path).ok_or(Error::NoRoute)?,
            None => path.to_owned(),
        }),
    };
    match &trail.upload {
        Some(upload) if credential.serves() == Serves::Uploads => of_upload((upload, credential), key.as_deref(), now).await,
        _ => Ok(credential.get(key.as_deref(), now).await?),
    }
}

/// The value that an upload goes with: the one that it began with, as long as that lives.
async fn of_upload((upload, credential): (&Upload, &Credential), key: Option<&str>, now: UnixTime) -> Result<Held, Error> {
    match upload.held(credential) {
        Some(held) if held.is_usable(now) => Ok(held),
        Some(_) => Err(Error::UploadCredentialEnded),
        None => Ok(credential.get_lasting(key, now, upload.bounds.credential_life).await?),
    }
}

/// Puts the values into a head, what the caller sent in their places taken out first; those of bodies are given back.
///
/// # Errors
/// [`Error::NoRoute`] when the path has no such place, [`Error::Internal`] when a value cannot stand in its own.
pub(super) fn inject(head: &mut Parts, route: &Route, trail: &Trail, held: &[Option<Held>]) -> Result<Fields, Error> {
    let mut fields = Fields::default();
    let mut draft = Draft::new(&head.uri, &mut head.headers, trail.mount);
    let used = || route.inject.iter().zip(held).filter_map(|(injection, held)| Some((injection, held.as_ref()?)));
    used().for_each(|(injection, _)| draft.clear(&injection.place));
    for (injection, held) in used() {
        let text = injection.format.write(held).map_err(|fault| unfit(route, injection, &fault.to_string()))?;
        match &injection.place {
            Place::Form(name) => add(&mut fields.form, injection, name, &text),
            Place::Multipart(name) => add(&mut fields.multipart, injection, name, &text),
            place => draft.put(place, injection.mode, &text).map_err(|fault| match fault {
                PlaceFault::Short => Error::NoRoute,
                PlaceFault::Value => unfit(route, injection, &fault.to_string()),
            })?,
        }
    }
    if let Some(uri) = draft.target().map_err(|_| Error::Internal)? {
        head.uri = uri;
    }
    Ok(fields)
}

fn add(edits: &mut Vec<form::Edit>, injection: &Injection, name: &str, value: &str) {
    let field = Field { name: name.to_owned(), value: Secret::new(value.to_owned()) };
    let same = |edit: &form::Edit| matches!(edit, form::Edit::Replace(it) | form::Edit::IfAbsent(it) if it.name == name);
    match injection.mode {
        Mode::OnlyIfAbsent if edits.iter().any(same) => {}
        Mode::OnlyIfAbsent if injection.keep_own => edits.push(form::Edit::IfAbsent(field)),
        Mode::Replace => {
            edits.retain(|edit| !same(edit));
            edits.push(form::Edit::Replace(field));
        }
        _ => edits.push(form::Edit::Replace(field)),
    }
}

fn unfit(route: &Route, injection: &Injection, fault: &str) -> Error {
    tracing::error!(route = %route.name, credential = %injection.credential.name(), fault, "a credential cannot be put in its place");
    Error::Internal
}

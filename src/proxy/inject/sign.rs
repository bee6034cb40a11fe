//! The last step of a request that its route signs as a whole: host and endpoint are chosen, every field is in place.

use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};

use crate::clock::UnixTime;
use crate::credential::sign_head::SignHead;
use crate::proxy::{Error, Route, State};

/// What signs a request, and when.
#[derive(Clone)]
pub(in crate::proxy) struct Signing {
    route: Arc<Route>,
    by: Arc<dyn SignHead>,
    now: UnixTime,
}

impl Signing {
    /// What signs the requests of `route`, where something does.
    #[must_use]
    pub(in crate::proxy) fn of(route: &Arc<Route>, state: &State) -> Option<Self> {
        let by = route.sign_head.clone()?;
        Some(Self { route: route.clone(), by, now: state.clock.now() })
    }

    /// The request signed; it goes out as it is then.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be signed.
    pub(in crate::proxy) fn sign<B>(&self, request: Request<B>, https: bool) -> Result<Request<B>, Error> {
        signed(request, &*self.by, (https, self.now)).map_err(|fault| {
            tracing::error!(route = %self.route.name, fault, "a request cannot be signed for its origin");
            Error::Internal
        })
    }
}

fn signed<B>(request: Request<B>, by: &dyn SignHead, (https, now): (bool, UnixTime)) -> Result<Request<B>, String> {
    let (mut head, body) = request.into_parts();
    let authority = head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()).ok_or("the host is none")?;
    let target = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
    head.uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().map_err(|fault| fault.to_string())?;
    by.sign(&mut head, now)?;
    // RFC 9112 §3.2.1: origins are asked in origin-form.
    let target = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::from(target);
    Ok(Request::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::request::Parts;

    use super::*;
    use crate::credential::place::Place;

    /// Writes down what it was shown.
    #[derive(Debug)]
    struct Notary;

    impl SignHead for Notary {
        fn sign(&self, head: &mut Parts, now: UnixTime) -> Result<(), String> {
            let seen = format!("{} {} {}", head.method, head.uri, now.0);
            head.headers.insert("x-signature", HeaderValue::from_str(&seen).map_err(|fault| fault.to_string())?);
            head.uri = format!("{}&sig=1", head.uri).parse().map_err(|_| "not a URI".to_owned())?;
            if head.headers.contains_key("x-bad") { Err("bad".into()) } else { Ok(()) }
        }

        fn told(&self) -> (&'static str, Place) {
            ("notary", Place::Query("sig".into()))
        }
    }

    #[test]
    fn the_whole_head_is_signed_and_sent_in_origin_form() {
        let request = |host: &str| Request::put("/b/k?x=1").header(HOST, host).body(7).expect("a request");
        let made = signed(request("bucket.example:9000"), &Notary, (true, UnixTime(5))).expect("signed");
        assert_eq!((made.uri().to_string().as_str(), *made.body()), ("/b/k?x=1&sig=1", 7));
        assert_eq!(made.headers()["x-signature"], "PUT https://bucket.example:9000/b/k?x=1 5");
        let mut bad = request("a");
        bad.headers_mut().insert("x-bad", HeaderValue::from_static("1"));
        assert!(signed(bad, &Notary, (false, UnixTime(5))).is_err());
        assert!(signed(Request::new(()), &Notary, (false, UnixTime(5))).is_err());
    }
}

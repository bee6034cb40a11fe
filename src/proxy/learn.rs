//! What an origin says it made, for grants that reach what a viewer's own session made.
//!
//! Where a request makes an object (Ziggeo's `create`), the name that the origin gives it is in its answer: a small JSON
//! object. It is read on the way to the caller, who gets it as it came. Other answers pass untouched.

use std::sync::Arc;

use http::Response;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower::Service;

use super::filter::{Answered, Around, Either};
use super::request::{Admitted, Proof};
use super::{Body, Error};
use crate::token::{NoGeo, Scheme};

/// Most bytes of an answer that is read.
const MOST: u64 = 64 * 1024;

/// Reads what a request made.
#[derive(Debug, Clone)]
pub struct Learn;

impl Around<Admitted> for Learn {
    type Next = Admitted;

    fn send<S>(&self, inner: &mut S, mut admitted: Admitted) -> Either<S::Future, Answered>
    where
        S: Service<Admitted, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static,
    {
        let Some((scheme, session)) = maker(&admitted) else { return Either::Left { future: inner.call(admitted) } };
        // What is encoded would have to be decoded to be read, for nothing: it is small.
        admitted.routed.request.head.headers.remove(ACCEPT_ENCODING);
        let answer = inner.call(admitted);
        Either::Right {
            future: Box::pin(async move {
                let response = answer.await?;
                if !is_small_json(&response) {
                    return Ok(response);
                }
                let (head, body) = response.into_parts();
                let bytes = body.collect().await.map_err(|_| Error::OriginBroken)?.to_bytes();
                scheme.made(&session, &bytes);
                Ok(Response::from_parts(head, Body::full(bytes)))
            }),
        }
    }
}

/// The scheme and the viewer's session, where the request makes an object.
fn maker(admitted: &Admitted) -> Option<(Arc<dyn Scheme>, String)> {
    let routed = &admitted.routed;
    let name = match &admitted.proof {
        Proof::Token(verdict) => &verdict.scheme,
        Proof::Session { session, .. } => &session.scheme,
        Proof::Public | Proof::Ticket { .. } | Proof::Shadow { .. } | Proof::Address { .. } => return None,
    };
    let named = routed.route.schemes.iter().find(|named| named.name == *name)?;
    let session = named.scheme.maker(&routed.request.facts(routed.mount, &NoGeo))?;
    Some((named.scheme.clone(), session))
}

fn is_small_json(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let small = response.body().size_hint().exact().is_some_and(|size| size <= MOST);
    response.status().is_success() && small && kind.trim_start().starts_with("application/json") && !headers.contains_key(CONTENT_ENCODING)
}

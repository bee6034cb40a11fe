//! Uploads on their way: each gets a place of its own, keeps it from request to request, and gives it back.
//!
//! All that the head can tell is decided before a byte of the body is asked for, so that a recorder that waits for
//! `100 Continue` sends nothing in vain. What only the body tells is decided while it passes, and stops it. Requests of an upload
//! that is known and whose token has ended are let in by the bytes of that token; what such a recorder must not hear is 401 or 403,
//! because clients of tus then begin again at zero: it hears 423 until it may go on.

mod answer;
mod body;
mod find;
mod job;

use http::Response;
use hyper::body::Body as _;
use tower::Service;

pub use find::goes_on;

use super::filter::{Answered, Around, Either};
use super::request::{Admitted, Routed};
use super::{Body, Error};
use crate::upload::Kind;

/// What the request is to an upload, on a route that takes some.
#[must_use]
pub fn kind(routed: &Routed) -> Option<Kind> {
    routed.route.upload.as_ref()?;
    let length = routed.request.body.size_hint().exact();
    Kind::of(&routed.request.head.method, &routed.request.head.headers, length)
}

/// Counts and bounds uploads.
#[derive(Debug, Clone)]
pub struct Upload;

impl Around<Admitted> for Upload {
    type Next = Admitted;

    fn send<S>(&self, inner: &mut S, admitted: Admitted) -> Either<S::Future, Answered>
    where
        S: Service<Admitted, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static,
    {
        match kind(&admitted.routed) {
            None => Either::Left { future: inner.call(admitted) },
            Some(kind) => Either::Right { future: Box::pin(uploaded(inner.clone(), admitted, kind)) },
        }
    }
}

async fn uploaded<S>(mut inner: S, mut admitted: Admitted, kind: Kind) -> Result<Response<Body>, Error>
where
    S: Service<Admitted, Response = Response<Body>, Error = Error>,
{
    match job::open(&mut admitted, kind).await? {
        None => inner.call(admitted).await.map_err(|error| job::told(error, kind)),
        Some(job) => {
            let result = inner.call(admitted).await;
            job.close(result)
        }
    }
}

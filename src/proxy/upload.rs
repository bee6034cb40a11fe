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

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use hyper::body::Body as _;
use tower::{Layer, Service};

pub use find::goes_on;

use super::filter::Either;
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

/// Makes the layer.
#[derive(Debug, Clone)]
pub struct UploadLayer;

/// The layer with the rest of the walk behind it.
#[derive(Debug, Clone)]
pub struct Uploaded<S> {
    inner: S,
}

impl<S> Layer<S> for UploadLayer {
    type Service = Uploaded<S>;

    fn layer(&self, inner: S) -> Uploaded<S> {
        Uploaded { inner }
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>>>>;

impl<S> Service<Admitted> for Uploaded<S>
where
    S: Service<Admitted, Response = Response<Body>, Error = Error> + Clone + 'static,
    S::Future: 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<S::Future, Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        match kind(&admitted.routed) {
            None => Either::Left { future: self.inner.call(admitted) },
            Some(kind) => Either::Right { future: Box::pin(uploaded(self.inner.clone(), admitted, kind)) },
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

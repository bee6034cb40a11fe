//! To the origin and back: choose an endpoint, send, try again where that is safe.
//!
//! A request is tried again only if it is idempotent, had no body, and no byte of an answer has gone
//! to the caller; or if it can be shown that the origin got none of it. A body is sent once.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use tower::Service;

use super::body::{Progress, RequestBody};
use super::guard::strip_hop_by_hop;
use super::inject::Credentialed;
use super::origin::{HostPolicy, Origin};
use super::pool::{ConnectFault, Connection, Lease, Pool};
use super::record::Shared;
use super::{Body, Error};

/// The last room.
#[derive(Clone)]
pub struct Forward {
    pool: Rc<Pool>,
}

impl Forward {
    /// Forwards over the connections of `pool`.
    #[must_use]
    pub fn new(pool: Rc<Pool>) -> Self {
        Self { pool }
    }
}

impl Service<Credentialed> for Forward {
    type Response = Response<Body>;
    type Error = Error;
    // The one box of a request: the future of an async function has no name to store it under.
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Credentialed) -> Self::Future {
        Box::pin(forward(self.pool.clone(), request))
    }
}

/// Why one try did not work out, and whether the origin may have seen it.
struct Failure {
    error: Error,
    reason: &'static str,
    /// The request comes back if it is known not to have been sent.
    unsent: Option<http::Request<RequestBody>>,
}

async fn forward(pool: Rc<Pool>, request: Credentialed) -> Result<Response<Body>, Error> {
    let Credentialed { head, body, record, origin, authority, private, pace, .. } = request;
    let origin = &origin;
    let Some(slot) = origin.enter() else {
        origin.metrics.failed("busy");
        return Err(Error::OriginBusy);
    };
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let idempotent = reads && body.is_end_stream();
    // An origin that takes no notice of such a body would read it as the next caller's request.
    body.progress().last.set(reads && !idempotent);
    let mut request = http::Request::from_parts(head, body);
    let mut tried = 0_u64;
    let mut left = origin.config.retries;
    loop {
        let spare = (idempotent && left > 0).then(|| copy(&request, &record));
        let index = origin.choose(tried, fastrand::u64(..));
        tried |= 1_u64.checked_shl(u32::try_from(index).unwrap_or(64)).unwrap_or(0);
        let outcome = exchange(&pool, origin, index, prepare(request, origin, index, &authority)).await;
        let again = match outcome {
            Ok((response, held)) => {
                let transient =
                    matches!(response.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
                note(origin, index, &response, &record);
                match spare.filter(|_| transient && origin.may_retry()) {
                    Some(spare) => spare,
                    None => {
                        let answer = answer(response, Lease::new(pool, slot, index, held.0, held.1), origin, private);
                        return Ok(answer.map(|body| body.paced(pace)));
                    }
                }
            }
            Err(failure) => {
                origin.note(index, false);
                origin.metrics.failed(failure.reason);
                let error = failure.error;
                if matches!(error, Error::BodyTimeout | Error::BodyBroken | Error::UploadTooSlow) || left == 0 {
                    return Err(error);
                }
                let again = failure.unsent.or(spare).filter(|_| origin.may_retry());
                again.ok_or(error)?
            }
        };
        left = left.saturating_sub(1);
        record.retries.set(record.retries.get() + 1);
        request = again;
    }
}

/// The same head without a body, for another try.
fn copy(request: &http::Request<RequestBody>, record: &Shared) -> http::Request<RequestBody> {
    let mut copy = http::Request::new(RequestBody::none(record.clone()));
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn prepare(mut request: http::Request<RequestBody>, origin: &Origin, index: usize, asked: &str) -> http::Request<RequestBody> {
    let endpoint = &origin.endpoints[index].authority;
    let host = match &origin.config.host {
        HostPolicy::Endpoint => endpoint.clone(),
        HostPolicy::Preserve => HeaderValue::from_str(asked).unwrap_or_else(|_| endpoint.clone()),
        HostPolicy::Fixed(_) => origin.fixed_host.clone().unwrap_or_else(|| endpoint.clone()),
    };
    request.headers_mut().insert(HOST, host);
    request
}

type Held = (Connection, Rc<Progress>);

async fn exchange(
    pool: &Rc<Pool>,
    origin: &Arc<Origin>,
    index: usize,
    request: http::Request<RequestBody>,
) -> Result<(Response<Incoming>, Held), Failure> {
    let endpoint = &origin.endpoints[index];
    let _counted = origin.on(index);
    let progress = request.body().progress();
    let mut request = request;
    loop {
        let mut connection = match pool.idle(origin, index).await {
            Some(connection) => connection,
            None => match Connection::open(origin, endpoint).await {
                Ok(connection) => connection,
                Err(fault) => return Err(Failure { unsent: Some(request), ..connect_failure(fault) }),
            },
        };
        match send(&mut connection, request, origin, &progress).await {
            Ok(response) => return Ok((response, (connection, progress))),
            // A kept connection that the origin closed meanwhile says nothing about the origin: the
            // next one is tried at once, at no cost to the retry budget.
            Err(Failure { unsent: Some(back), .. }) if connection.reused && !progress.begun.get() => request = back,
            Err(failure) => return Err(failure),
        }
    }
}

fn connect_failure(fault: ConnectFault) -> Failure {
    let (error, reason) = match fault {
        ConnectFault::Unreachable => (Error::OriginUnreachable, "unreachable"),
        ConnectFault::Timeout => (Error::OriginTimeout, "timeout"),
        ConnectFault::Tls => (Error::OriginUnreachable, "tls"),
    };
    Failure { error, reason, unsent: None }
}

async fn send(
    connection: &mut Connection,
    request: http::Request<RequestBody>,
    origin: &Origin,
    progress: &Progress,
) -> Result<Response<Incoming>, Failure> {
    let patience = origin.config.first_byte_timeout.0;
    let mut since = Instant::now();
    let mut answer = std::pin::pin!(connection.send(request));
    loop {
        match tokio::time::timeout_at(tokio::time::Instant::from_std(since + patience), answer.as_mut()).await {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failure { error: Error::OriginBroken, reason: "broken", unsent: None });
            }
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(mut failed)) => return Err(send_failure(progress, failed.take_message())),
            // The clock runs from the last time that something of the body was taken: an origin that takes
            // nothing more is as silent as one that has it all. One that waits for the caller is not.
            Err(_) if progress.waits(patience) => since = Instant::now(),
            Err(_) if progress.moved.get() > since => since = progress.moved.get(),
            Err(_) => return Err(Failure { error: Error::OriginTimeout, reason: "timeout", unsent: None }),
        }
    }
}

fn send_failure(progress: &Progress, unsent: Option<http::Request<RequestBody>>) -> Failure {
    let (error, reason) = match (progress.silent.get(), progress.broken.get()) {
        _ if progress.slow.get() => (Error::UploadTooSlow, "body"),
        (true, _) => (Error::BodyTimeout, "body"),
        (_, true) => (Error::BodyBroken, "body"),
        _ => (Error::OriginBroken, "broken"),
    };
    Failure { error, reason, unsent }
}

fn note(origin: &Origin, index: usize, response: &Response<Incoming>, record: &Shared) {
    let status = response.status();
    origin.note(index, !status.is_server_error());
    origin.metrics.answered(status);
    record.upstream_status.set(Some(status));
    if record.wanted || status.is_server_error() {
        let _ = record.endpoint.set(origin.endpoints[index].label.clone());
    }
}

fn answer(response: Response<Incoming>, lease: Lease, origin: &Origin, private: bool) -> Response<Body> {
    let (mut head, incoming) = response.into_parts();
    if head.headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112 §6.3: a length beside it says nothing, and must not be passed on.
        head.headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(&mut head.headers);
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    if private {
        keep_private(&mut head.headers);
    }
    Response::from_parts(head, Body::upstream(incoming, origin.config.idle_timeout.0, lease))
}

/// An answer that a token opened must not be given to others by a cache that has not seen a token
/// (RFC 9111 §5.2.2.7). How long the viewer's own cache may keep it stays the origin's word.
fn keep_private(headers: &mut HeaderMap) {
    let said: Vec<String> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .filter(|directive| !directive.is_empty())
        .collect();
    if said.iter().any(|d| d == "private" || d == "no-store") {
        return;
    }
    let shared = |d: &&String| *d != "public" && !d.starts_with("s-maxage") && *d != "proxy-revalidate";
    let kept: Vec<&str> = std::iter::once("private").chain(said.iter().filter(shared).map(String::as_str)).collect();
    if let Ok(value) = HeaderValue::from_str(&kept.join(", ")) {
        headers.insert(CACHE_CONTROL, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_for_a_token_are_private() {
        for (said, becomes) in [
            (None, "private"),
            (Some("public, max-age=60, s-maxage=600"), "private, max-age=60"),
            (Some("no-cache"), "private, no-cache"),
            (Some("no-store"), "no-store"),
            (Some("private, max-age=5"), "private, max-age=5"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(said));
            }
            keep_private(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], becomes);
        }
    }
}

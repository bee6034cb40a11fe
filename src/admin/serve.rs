//! The listener itself: `/metrics`, `/live`, `/ready`, `/version`; sessions and revocations are next door.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What the operators' listener may ask the gateway.
pub trait Oversight: Send + Sync {
    /// Why it is not ready for callers, if it is not: one word each.
    fn unready(&self) -> Vec<String>;

    /// Answers what is asked of sessions and revocations.
    fn desk(&self, head: &Parts, body: &[u8]) -> Response<Full<Bytes>>;

    /// Brings gauges up to date that are only looked at when scraped.
    fn refresh(&self);
}

/// Connections at the same time; more wait.
const CONNECTIONS: usize = 64;

/// Serves until dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics, oversight: Arc<dyn Oversight>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (metrics, oversight) = (metrics.clone(), oversight.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (metrics, oversight) = (metrics.clone(), oversight.clone());
                async move { Ok::<_, Infallible>(take(request, &metrics, &*oversight).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(30));
            if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
                tracing::debug!(%error, "admin connection ended");
            }
            drop(place);
        });
    }
}

/// Longest body of an operator's request.
const BODY: usize = 64 * 1024;

async fn take(request: Request<Incoming>, metrics: &Metrics, oversight: &dyn Oversight) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !["/sessions", "/revocations", "/credentials"].iter().any(|desk| path.starts_with(desk)) {
        return answer(&request, metrics, oversight);
    }
    let (head, body) = request.into_parts();
    match Limited::new(body, BODY).collect().await {
        Ok(body) => oversight.desk(&head, &body.to_bytes()),
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "the body is too long or broke off\n"),
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, oversight: &dyn Oversight) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "method not allowed\n");
    }
    match request.uri().path() {
        "/metrics" => {
            oversight.refresh();
            plain(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.render())
        }
        "/live" | "/livez" => plain(StatusCode::OK, "text/plain", "live\n"),
        "/ready" | "/readyz" => ready(&oversight.unready()),
        "/version" => plain(StatusCode::OK, "application/json", format!("{{\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))),
        "/" => plain(StatusCode::OK, "text/plain", "tollgate\n/metrics\n/live\n/ready\n/version\n/sessions\n/revocations\n/credentials\n"),
        _ => plain(StatusCode::NOT_FOUND, "text/plain", "not found\n"),
    }
}

fn ready(unready: &[String]) -> Response<Full<Bytes>> {
    if unready.is_empty() {
        return plain(StatusCode::OK, "text/plain", "ready\n");
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("not ready: {}\n", unready.join(", ")))
}

/// A small answer that nobody keeps.
pub(super) fn plain(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<String>);

    impl Oversight for Fixed {
        fn unready(&self) -> Vec<String> {
            self.0.clone()
        }
        fn desk(&self, _: &Parts, _: &[u8]) -> Response<Full<Bytes>> {
            plain(StatusCode::NOT_FOUND, "text/plain", "")
        }
        fn refresh(&self) {}
    }

    fn status(method: Method, path: &str, unready: &[&str]) -> u16 {
        let request = Request::builder().method(method).uri(path).body(()).expect("request");
        let unready = Fixed(unready.iter().map(|w| (*w).to_owned()).collect());
        answer(&request, &Metrics::new().expect("metrics"), &unready).status().as_u16()
    }

    #[test]
    fn readiness_says_why_not() {
        assert_eq!(status(Method::GET, "/ready", &[]), 200);
        assert_eq!(status(Method::GET, "/ready", &["draining"]), 503);
        assert_eq!(status(Method::GET, "/live", &["draining"]), 200);
        assert_eq!(status(Method::GET, "/metrics", &[]), 200);
        assert_eq!(status(Method::POST, "/metrics", &[]), 405);
        assert_eq!(status(Method::GET, "/nothing", &[]), 404);
    }
}

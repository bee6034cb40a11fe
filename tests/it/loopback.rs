//! Servers for one test, each on a loopback port and a thread of its own.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use http_body_util::Full;
use tokio::sync::oneshot;

use tollgate::demo::{self, origin};

/// A server that stops when it is dropped.
pub(crate) struct Loopback {
    /// `http://127.0.0.1:port`.
    pub(crate) base: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Loopback {
    /// `serve` gets a bound listener and a future that ends when the server has to.
    pub(crate) fn start<S, F>(serve: S) -> Self
    where
        S: FnOnce(tokio::net::TcpListener, Stopped) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback port");
        listener.set_nonblocking(true).expect("a socket of ours");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("in a runtime");
                serve(listener, Box::pin(async { _ = stopped.await })).await;
            });
        });
        Self { base, stop: Some(stop), thread: Some(thread) }
    }

    /// The demo origin as it is: no token, no CORS.
    pub(crate) fn origin() -> Self {
        Self::start(origin::serve)
    }

    /// The demo origin as a page of another origin may use it. Refuses as the gateway does: all of `/denied/…`, and of
    /// `/late/…` the segments ten and eleven, from second 18 on. (Shaka asks for the last one before it plays HLS.)
    pub(crate) fn open_origin() -> Self {
        Self::start(|listener, stopped| demo::serve(listener, stopped, answer_openly))
    }
}

/// Ends when a server has to.
pub(crate) type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer_openly(head: &Parts) -> Response<Full<Bytes>> {
    let path = head.uri.path();
    let late = path.strip_prefix("/late/");
    let mut response = if path.starts_with("/denied/") || late.is_some_and(is_late) {
        refusal()
    } else {
        let path = late.map_or_else(|| path.to_owned(), |name| format!("/vod/{name}"));
        origin::respond(&head.method, &path, &head.headers)
    };
    let headers = response.headers_mut();
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    headers.insert("access-control-expose-headers", HeaderValue::from_static("*"));
    response
}

fn is_late(name: &str) -> bool {
    let number = name.strip_suffix(".m4s").and_then(|name| name.rsplit_once('-')?.1.parse::<u32>().ok());
    number.is_some_and(|number| matches!(number, 10 | 11))
}

fn refusal() -> Response<Full<Bytes>> {
    let body = r#"{"title":"Forbidden","status":403,"detail":"The token is over.","code":"token_expired","request_id":"01J"}"#;
    let response = Response::builder().status(403).header("content-type", "application/problem+json").header("cache-control", "no-store");
    response.body(Full::from(body)).expect("a response")
}

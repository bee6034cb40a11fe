//! The demonstration: an origin that checks nothing, with real media in it, and a page that plays
//! through the gateway and shows what it refuses.
//!
//! Both are small HTTP/1.1 servers for a loopback port, so that a first look at the product needs no
//! network, no player and no video of one's own. Tests use the same origin.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub mod apivideo;
pub mod origin;
pub mod page;
pub mod recorder;
pub mod vendor;

/// Answers every HTTP/1.1 request on `listener` from its head alone, until `shutdown`; answers under way are then cut.
/// `answer` must not block.
pub async fn serve<A>(listener: TcpListener, shutdown: impl Future<Output = ()>, answer: A)
where
    A: Fn(&Parts) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    accept(listener, shutdown, |stream| {
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, _body) = request.into_parts();
            let response = answer(&head);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        async move {
            // A peer that goes away in mid-answer is a player seeking, not a fault.
            let _ = connection.await;
        }
    })
    .await;
}

/// Hands every connection on `listener` to `serve`, until `shutdown`; those under way are then cut.
async fn accept<S, F>(listener: TcpListener, shutdown: impl Future<Output = ()>, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: a pause lets some come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        connections.spawn(serve(stream));
    }
    connections.shutdown().await;
}

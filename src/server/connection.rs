//! One connection: TLS, protocol, requests, end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{self, AbortHandle};
use tower::Service;

use super::io::Io;
use super::scan::{HeadFault, Scan};
use super::watch::{Stream, Watched};
use super::worker::{Running, Worker};
use crate::proxy::door::Arrival;
use crate::proxy::request::Arrived;
use crate::proxy::{Body, Error};

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper keeps reading into one buffer up to this; a head that fills it is refused by hyper itself.
const READ_BUFFER: usize = 256 * 1024;

/// What a listener does with its connections.
#[derive(Clone)]
pub struct Protocols {
    /// TLS, if it has any.
    pub tls: Option<tokio_rustls::TlsAcceptor>,
    /// Whether HTTP/2 may come without TLS.
    pub h2c: bool,
}

/// Serves one accepted socket to its end.
pub async fn serve<W>(worker: Rc<Worker<W>>, running: Arc<Running>, tcp: TcpStream, peer: IpAddr, protocols: Protocols)
where
    W: Service<Arrived, Response = http::Response<Body>, Error = Error> + Clone + 'static,
    W::Future: 'static,
{
    let patience = running.limits.handshake_timeout.0;
    match &protocols.tls {
        Some(acceptor) => {
            // rustls reads until the handshake is done; this deadline is the only bound on that.
            let Ok(Ok(stream)) = tokio::time::timeout(patience, acceptor.accept(tcp)).await else {
                return worker.closed("handshake");
            };
            // The protocol is the one that ALPN settled; nothing in the bytes can change it.
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            run(worker, running, (stream, Bytes::new()), (peer, true), h2).await;
        }
        None if protocols.h2c => {
            let mut tcp = tcp;
            let Ok(Ok((h2, ahead))) = tokio::time::timeout(running.limits.head_timeout.0, sniff(&mut tcp)).await else {
                return worker.closed("head");
            };
            run(worker, running, (tcp, ahead), (peer, false), h2).await;
        }
        None => run(worker, running, (tcp, Bytes::new()), (peer, false), false).await,
    }
}

/// Reads until the bytes are the HTTP/2 preface, or cannot become it.
async fn sniff(tcp: &mut TcpStream) -> std::io::Result<(bool, Bytes)> {
    let mut ahead = BytesMut::with_capacity(1024);
    loop {
        if tcp.read_buf(&mut ahead).await? == 0 {
            return Ok((false, ahead.freeze()));
        }
        let length = ahead.len().min(PREFACE.len());
        if ahead[..length] != PREFACE[..length] {
            return Ok((false, ahead.freeze()));
        }
        if length == PREFACE.len() {
            return Ok((true, ahead.freeze()));
        }
    }
}

async fn run<W, S>(worker: Rc<Worker<W>>, running: Arc<Running>, stream: (S, Bytes), from: (IpAddr, bool), h2: bool)
where
    W: Service<Arrived, Response = http::Response<Body>, Error = Error> + Clone + 'static,
    W::Future: 'static,
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let watched = worker.watch.add(h2);
    if worker.draining() {
        return;
    }
    worker.metrics.connections_total.with_label_values(&[if h2 { "h2" } else { "http/1.1" }]).inc();
    let limits = &running.limits;
    let scan = (!h2).then(|| Rc::new(RefCell::new(Scan::new(limits.max_head.as_usize(), limits.max_headers))));
    let io = TokioIo::new(Io::new(stream.0, stream.1, watched.clone(), scan.clone()));
    let count = Rc::new(Cell::new(0_u64));
    let (worker_of, watched_of) = (worker.clone(), watched.clone());
    let executor = LocalExecutor::default();
    let tasks = executor.clone();
    let service = service_fn(move |request| {
        let number = count.replace(count.get() + 1);
        let fault = scan.as_ref().and_then(|scan| scan.borrow_mut().fault_of(number)).map(refuse);
        let arrival = Arrival { peer: from.0, tls: from.1, fault, draining: worker_of.draining() };
        watched_of.begin();
        let under_way = UnderWay(watched_of.clone());
        let answer = worker_of.door.clone().answer(request, arrival, worker_of.state());
        let (tasks, watched) = (tasks.clone(), watched_of.clone());
        async move {
            let response = answer.await;
            let stream = tasks.own().map(|task| watched.stream(task));
            // The answer's body keeps the connection busy until its last byte.
            response.map(|response| response.map(|body| Held { body, stream, _under_way: under_way }))
        }
    });
    let reason = if h2 {
        let connection = h2_builder(limits, executor).serve_connection(io, service);
        Driven { connection, watched, told: false }.await
    } else {
        let connection = h1_builder().serve_connection(io, service);
        Driven { connection, watched, told: false }.await
    };
    if let Some(reason) = reason {
        worker.closed(reason);
    }
}

fn refuse(fault: HeadFault) -> Error {
    match fault {
        HeadFault::TooLarge | HeadFault::TooMany => Error::HeadTooLarge,
        HeadFault::Host => Error::BadHost,
        other => Error::BadHead(other.word()),
    }
}

fn h1_builder() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // Deadlines are the sweep's; hyper's own would be a timer per request. A few fields more than
    // the limit let the request reach the door, where the refusal is readable.
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_headers(512).max_buf_size(READ_BUFFER);
    builder
}

fn h2_builder(limits: &super::LimitsConfig, executor: LocalExecutor) -> hyper::server::conn::http2::Builder<LocalExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_h2_streams)
        .max_header_list_size(u32::try_from(limits.max_head.0).unwrap_or(u32::MAX))
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(256))
        .keep_alive_interval(Some(std::time::Duration::from_secs(20)))
        .keep_alive_timeout(std::time::Duration::from_secs(20));
    builder
}

/// Runs hyper's tasks of one connection on this thread: one a stream.
#[derive(Debug, Clone, Default)]
pub struct LocalExecutor(Rc<RefCell<HashMap<task::Id, AbortHandle>>>);

impl LocalExecutor {
    /// What ends the running task, if it is one of these.
    fn own(&self) -> Option<AbortHandle> {
        self.0.borrow().get(&task::try_id()?).cloned()
    }
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let tasks = self.0.clone();
        let spawned = task::spawn_local(async move {
            let _known = Known(tasks);
            future.await;
        });
        self.0.borrow_mut().insert(spawned.id(), spawned.abort_handle());
    }
}

/// A task among the known ones, until it ends or is ended.
struct Known(Rc<RefCell<HashMap<task::Id, AbortHandle>>>);

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(id) = task::try_id() {
            self.0.borrow_mut().remove(&id);
        }
    }
}

/// Counts a request as under way until it is dropped.
struct UnderWay(Rc<Watched>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.finish();
    }
}

pin_project! {
    /// A body that keeps its connection busy.
    struct Held {
        #[pin]
        body: Body,
        stream: Option<Rc<Stream>>,
        _under_way: UnderWay,
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = crate::proxy::body::BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(stream) = this.stream {
            stream.gave(match &frame {
                Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) | Poll::Pending => None,
            });
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// What both of hyper's connections can do.
trait Graceful: Future<Output = Result<(), hyper::Error>> {
    fn finish(self: Pin<&mut Self>);
}

impl<S, I, B> Graceful for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, I, B> Graceful for hyper::server::conn::http2::Connection<I, S, LocalExecutor>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

pin_project! {
    /// A connection under watch. Gives why the gateway ended it, if it did.
    struct Driven<C> {
        #[pin]
        connection: C,
        watched: Rc<Watched>,
        told: bool,
    }
}

impl<C: Graceful> Future for Driven<C> {
    type Output = Option<&'static str>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(reason) = this.watched.end() {
            return Poll::Ready(Some(reason));
        }
        if this.watched.drains() && !*this.told {
            *this.told = true;
            this.connection.as_mut().finish();
        }
        this.watched.wake_by(cx.waker());
        match this.connection.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "connection ended");
                Poll::Ready((error.is_parse() || error.is_parse_too_large()).then_some("protocol"))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

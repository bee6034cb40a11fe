//! Upstream connections, kept per thread: no lock, no other thread's socket.
//!
//! A connection is used again only if the request's body was sent whole, the answer's was read
//! whole, and hyper found nothing left over. Everything else ends it: a [`Lease`] that is dropped
//! without [`Ending::finish`] takes its connection down with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::body::{Ending, Progress, RequestBody};
use super::origin::{Endpoint, Origin, Slot};

/// One connection to an endpoint, with the task that drives it.
pub struct Connection {
    sender: http1::SendRequest<RequestBody>,
    driver: tokio::task::JoinHandle<()>,
    /// Whether it has served a request before: a failure may then only mean that it grew too old.
    pub reused: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The idle connections of one thread.
#[derive(Default)]
pub struct Pool {
    idle: RefCell<HashMap<(u64, usize), Vec<Idle>>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Why no connection could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFault {
    /// Refused, unreachable, no such name.
    Unreachable,
    /// Not within the time allowed.
    Timeout,
    /// The TLS handshake failed.
    Tls,
}

impl Pool {
    /// The youngest idle connection to the endpoint that is still fit for use.
    pub async fn idle(&self, origin: &Origin, index: usize) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().get_mut(&(origin.id, index))?.pop()?;
            if since.elapsed() >= origin.config.max_idle_time.0 || connection.sender.is_closed() {
                continue;
            }
            // The driver may not have seen the end of the last exchange yet; this waits for it.
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, origin: &Origin, index: usize, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry((origin.id, index)).or_default();
        if list.len() < origin.config.max_idle {
            list.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Drops connections that the other side has closed, and the ones of origins that `keep` does not name.
    pub fn sweep(&self, keep: impl Fn(u64) -> bool) {
        self.idle.borrow_mut().retain(|(origin, _), list| {
            list.retain(|idle| !idle.connection.sender.is_closed());
            keep(*origin) && !list.is_empty()
        });
    }

    /// How many idle connections this thread holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Connection {
    /// Opens a connection to `endpoint`, TLS included, within the origin's connect timeout.
    ///
    /// # Errors
    /// [`ConnectFault`].
    pub async fn open(origin: &Origin, endpoint: &Endpoint) -> Result<Self, ConnectFault> {
        let opened = tokio::time::timeout(origin.config.connect_timeout.0, connect(origin, endpoint)).await;
        let stream = opened.map_err(|_| ConnectFault::Timeout)??;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| ConnectFault::Unreachable)?;
        let driver = tokio::task::spawn_local(async move {
            // How the exchange went is told by the sender and the body; the driver has nothing to add.
            let _ = driver.await;
        });
        Ok(Self { sender, driver, reused: false })
    }

    /// Sends the request; see [`http1::SendRequest::try_send_request`].
    pub fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> impl Future<Output = Result<http::Response<hyper::body::Incoming>, hyper::client::conn::TrySendError<http::Request<RequestBody>>>> + use<>
    {
        self.sender.try_send_request(request)
    }
}

async fn connect(origin: &Origin, endpoint: &Endpoint) -> Result<Stream, ConnectFault> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|_| ConnectFault::Unreachable)?;
    // Small requests must not wait for an acknowledgement. A socket that refuses this still works.
    let _ = tcp.set_nodelay(true);
    let Some((config, name)) = &endpoint.tls else { return Ok(Stream::Plain(tcp)) };
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    match connector.connect(name.clone(), tcp).await {
        Ok(tls) => Ok(Stream::Tls(Box::new(tls))),
        Err(error) => {
            tracing::warn!(origin = %origin.name, endpoint = %endpoint.label, %error, "TLS to the origin failed");
            Err(ConnectFault::Tls)
        }
    }
}

/// A connection in use. It rides with the answer's body.
pub struct Lease {
    pool: Rc<Pool>,
    slot: Slot,
    index: usize,
    connection: Option<Connection>,
    progress: Rc<Progress>,
}

impl Lease {
    /// Holds `connection` to endpoint `index`, and the origin's `slot`, until the answer ends.
    #[must_use]
    pub fn new(pool: Rc<Pool>, slot: Slot, index: usize, connection: Connection, progress: Rc<Progress>) -> Self {
        Self { pool, slot, index, connection: Some(connection), progress }
    }
}

impl Ending for Lease {
    fn finish(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.progress.whole.get() && !self.progress.last.get() && !connection.sender.is_closed() {
            connection.reused = true;
            self.pool.keep(self.slot.origin(), self.index, connection);
        }
    }
}

/// A TCP stream, with TLS or without.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[std::io::IoSlice<'_>]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Shorthand for the origins of a plan.
pub type SharedOrigin = Arc<Origin>;

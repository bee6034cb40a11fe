//! An origin that does what a script says and remembers, byte for byte, what it was sent.
//!
//! It speaks HTTP/1.1 by hand on purpose: a library would tidy up what the gateway wrote before a
//! test could look at it, and would not send the broken answers that some tests need. It runs on a
//! thread of its own, so that a test may block.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::within;

/// Bytes of a body that are kept; the rest is only counted.
const KEPT: usize = 1024 * 1024;

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The head as text, line ends and all.
    pub(crate) head: String,
    pub(crate) method: String,
    pub(crate) target: String,
    /// Fields in the order they came, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The body's first [`KEPT`] bytes.
    pub(crate) body: Vec<u8>,
    /// Bytes of the body so far.
    pub(crate) body_length: u64,
    /// Whether the body's end has come.
    pub(crate) whole: bool,
}

impl Seen {
    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The one value of a field; `None` when it is not there. Twice is a failed test.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {}", all.len(), self.head);
        all.first().copied()
    }
}

/// An answer with a `Content-Length`.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, fields: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A request whose head has come, and the connection to answer it on.
pub(crate) struct Exchange {
    /// The request's head.
    pub(crate) seen: Seen,
    index: usize,
    shared: Arc<Shared>,
    stream: Box<dyn Duplex>,
    ahead: Vec<u8>,
}

type Script = Arc<dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = io::Result<Option<Exchange>>> + Send>> + Send + Sync>;

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn edit(&self, index: usize, act: impl FnOnce(&mut Seen)) {
        act(&mut self.requests.lock().expect("no panics inside")[index]);
        self.touch();
    }
}

/// A running origin. Ends when dropped.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    /// `http://…` or `https://…`, for the config.
    pub(crate) url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Origin {
    /// Reads each request whole, then answers as `reply` says.
    pub(crate) fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let reply = Arc::new(reply);
        Self::scripted(move |mut exchange| {
            let reply = reply.clone();
            async move {
                exchange.read_body().await?;
                let answer = reply(&exchange.seen);
                exchange.reply(&answer).await?;
                Ok(Some(exchange))
            }
        })
    }

    /// Answers everything with 200 and the text `media`.
    pub(crate) fn plain() -> Self {
        Self::start(|_| Reply::new(200, "media"))
    }

    /// Leaves each request to `script` as soon as its head has come. A script that gives its exchange
    /// back keeps the connection; otherwise the connection is closed.
    pub(crate) fn scripted<F>(script: impl Fn(Exchange) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Option<Exchange>>> + Send + 'static,
    {
        Self::run(None, Arc::new(move |exchange| Box::pin(script(exchange))))
    }

    /// The same over TLS, `plain` otherwise.
    pub(crate) fn tls(acceptor: TlsAcceptor) -> Self {
        let script = |mut exchange: Exchange| async move {
            exchange.read_body().await?;
            exchange.reply(&Reply::new(200, "media")).await?;
            Ok(Some(exchange))
        };
        Self::run(Some(acceptor), Arc::new(move |exchange| Box::pin(script(exchange))))
    }

    fn run(acceptor: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback port");
        listener.set_nonblocking(true).expect("a socket of ours");
        let addr = listener.local_addr().expect("bound");
        let url = if acceptor.is_some() { format!("https://localhost:{}", addr.port()) } else { format!("http://{addr}") };
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = shared.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).expect("in a runtime");
                    tokio::select! {
                        () = accept(listener, acceptor, script, shared) => {}
                        _ = stopped => {}
                    }
                });
            })
        };
        Self { addr, url, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.requests.lock().expect("no panics inside").clone()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Seen {
        self.requests().pop().expect("a request has come")
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.shared.requests.lock().expect("no panics inside").len()
    }

    /// How many connections have come.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Waits until `done` holds; asked anew whenever something happens here.
    pub(crate) async fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        within(what, async {
            while !done(self) {
                changed.changed().await.expect("the origin runs");
            }
        })
        .await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, acceptor: Option<TlsAcceptor>, script: Script, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let number = shared.connections.fetch_add(1, Ordering::AcqRel);
        shared.open.fetch_add(1, Ordering::AcqRel);
        shared.touch();
        let (acceptor, script, shared) = (acceptor.clone(), script.clone(), shared.clone());
        tokio::spawn(async move {
            let stream: io::Result<Box<dyn Duplex>> = match acceptor {
                Some(acceptor) => acceptor.accept(tcp).await.map(|tls| Box::new(tls) as Box<dyn Duplex>),
                None => Ok(Box::new(tcp)),
            };
            if let Ok(stream) = stream {
                let _ = serve(stream, number, &script, &shared).await;
            }
            shared.open.fetch_sub(1, Ordering::AcqRel);
            shared.touch();
        });
    }
}

async fn serve(mut stream: Box<dyn Duplex>, number: usize, script: &Script, shared: &Arc<Shared>) -> io::Result<()> {
    let mut ahead = Vec::new();
    loop {
        let Some(end) = head_end(&mut stream, &mut ahead).await? else { return Ok(()) };
        let rest = ahead.split_off(end);
        let seen = parse(&ahead, number);
        let index = {
            let mut requests = shared.requests.lock().expect("no panics inside");
            requests.push(seen.clone());
            requests.len() - 1
        };
        shared.touch();
        let exchange = Exchange { seen, index, shared: shared.clone(), stream, ahead: rest };
        let Some(back) = script(exchange).await? else { return Ok(()) };
        (stream, ahead) = (back.stream, back.ahead);
    }
}

fn parse(head: &[u8], connection: usize) -> Seen {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    let (method, target) = (first.next().unwrap_or("").to_owned(), first.next().unwrap_or("").to_owned());
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("the gateway wrote a line without a colon: {line:?}"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let fields: Vec<_> = lines.map(field).collect();
    Seen { connection, head: text.clone(), method, target, fields, ..Seen::default() }
}

impl Exchange {
    /// Whether no request has come on this connection before.
    pub(crate) fn first_on_connection(&self) -> bool {
        let requests = self.shared.requests.lock().expect("no panics inside");
        !requests[..self.index].iter().any(|seen| seen.connection == self.seen.connection)
    }

    /// Reads the body to its end; the request's record grows as it comes.
    pub(crate) async fn read_body(&mut self) -> io::Result<()> {
        let chunked = self.seen.field("transfer-encoding").is_some();
        let length = self.seen.field("content-length").map(|text| text.parse::<u64>().expect("a length"));
        assert!(!(chunked && length.is_some()), "the gateway sent two lengths: {}", self.seen.head);
        if chunked {
            loop {
                let line = self.line().await?;
                let size = u64::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("a chunk size, not {line:?}"));
                self.take(size).await?;
                if size == 0 {
                    while self.line().await? != "\r\n" {}
                    break;
                }
                assert_eq!(self.line().await?, "\r\n");
            }
        } else {
            self.take(length.unwrap_or(0)).await?;
        }
        self.seen.whole = true;
        self.shared.edit(self.index, |seen| seen.whole = true);
        Ok(())
    }

    /// Reads `length` bytes of the body.
    pub(crate) async fn take(&mut self, mut length: u64) -> io::Result<()> {
        while length > 0 {
            if self.ahead.is_empty() && self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let got = usize::try_from(length).map_or(self.ahead.len(), |length| length.min(self.ahead.len()));
            let piece: Vec<u8> = self.ahead.drain(..got).collect();
            length -= got as u64;
            let keep = |seen: &mut Seen| {
                seen.body_length += piece.len() as u64;
                let room = KEPT.saturating_sub(seen.body.len()).min(piece.len());
                seen.body.extend_from_slice(&piece[..room]);
            };
            keep(&mut self.seen);
            self.shared.edit(self.index, keep);
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                return Ok(String::from_utf8_lossy(&self.ahead.drain(..=at).collect::<Vec<_>>()).into_owned());
            }
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Writes a whole answer.
    pub(crate) async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} Said\r\n", reply.status);
        for (name, value) in &reply.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let told = reply.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !told && !matches!(reply.status, 204 | 304) {
            text.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if self.seen.method != "HEAD" && !matches!(reply.status, 204 | 304) {
            bytes.extend_from_slice(&reply.body);
        }
        self.raw(&bytes).await
    }

    /// Writes these bytes.
    pub(crate) async fn raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Waits until the gateway has closed the connection; what it still sends is dropped.
    pub(crate) async fn closed(&mut self) {
        let mut sink = [0; 4096];
        while matches!(self.stream.read(&mut sink).await, Ok(1..)) {}
    }
}

/// Reads on until a head is whole, and says where it ends; `None` when nothing more comes.
pub(crate) async fn head_end(stream: &mut (impl AsyncRead + Unpin), ahead: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(at) = find(ahead, b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if stream.read_buf(ahead).await? == 0 {
            return Ok(None);
        }
    }
}

/// Where `needle` begins.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// The URL of a port that nobody listens on.
pub(crate) fn refusing() -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a loopback port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

//! Callers: one that sends exact bytes and reads what comes back, and hyper's for HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::origin::find;
use super::within;

/// The host that callers ask for unless they say otherwise.
pub(crate) const HOST: &str = "gate.test";

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An answer, whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Fields in the order they came, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Lines after the last chunk.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    /// The one value of a field, or nothing. Twice is a failed test.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's code, or the whole body where it is no problem.
    pub(crate) fn code(&self) -> String {
        let problem = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        problem.and_then(|p| p["code"].as_str().map(str::to_owned)).unwrap_or_else(|| self.text())
    }
}

/// A connection that sends what it is told, byte for byte.
pub(crate) struct Raw {
    stream: Box<dyn Duplex>,
    ahead: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let tcp = within("a connection", TcpStream::connect(addr)).await.expect("connected");
        let _ = tcp.set_nodelay(true);
        Self { stream: Box::new(tcp), ahead: Vec::new() }
    }

    /// With little room for answers that are not read yet, so that a caller who stops reading is felt soon.
    pub(crate) async fn narrow(addr: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let tcp = within("a connection", socket.connect(addr)).await.expect("connected");
        Self { stream: Box::new(tcp), ahead: Vec::new() }
    }

    /// From an address of this machine.
    pub(crate) async fn from(local: [u8; 4], addr: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((local, 0))).expect("an address of ours");
        let tcp = within("a connection", socket.connect(addr)).await.expect("connected");
        Self { stream: Box::new(tcp), ahead: Vec::new() }
    }

    /// Over TLS; the protocol that ALPN settled beside it.
    pub(crate) async fn tls(addr: SocketAddr, config: Arc<rustls::ClientConfig>, name: &str) -> io::Result<(Self, TlsFacts)> {
        let tcp = TcpStream::connect(addr).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let stream = within("a handshake", tokio_rustls::TlsConnector::from(config).connect(name, tcp)).await?;
        let facts = TlsFacts::of(stream.get_ref().1);
        Ok((Self { stream: Box::new(stream), ahead: Vec::new() }, facts))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("the gateway to read", async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        })
        .await
    }

    /// Writes as much as the gateway takes now, at least one byte.
    pub(crate) async fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// Reads one answer. `head_only`: it has no body whatever it says (it answers a `HEAD`).
    pub(crate) async fn answer(&mut self, head_only: bool) -> io::Result<Answer> {
        within("an answer", self.read_answer(head_only)).await
    }

    /// Reads the head of an answer; the body is left to [`Raw::read`].
    pub(crate) async fn head(&mut self) -> io::Result<Answer> {
        within("a head", self.read_head()).await
    }

    async fn read_head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("no status: {text:?}"));
        Ok(Answer { status, fields: lines.map(field).collect(), ..Answer::default() })
    }

    async fn read_answer(&mut self, head_only: bool) -> io::Result<Answer> {
        let mut answer = self.read_head().await?;
        let bare = head_only || answer.status < 200 || matches!(answer.status, 204 | 304);
        if bare {
            return Ok(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("a chunk size, not {line:?}"));
                if size == 0 {
                    break;
                }
                answer.body.extend(self.exactly(size).await?);
                self.line().await?;
            }
            loop {
                let line = self.line().await?;
                if line == "\r\n" {
                    return Ok(answer);
                }
                answer.trailers.push(field(line.trim_end()));
            }
        }
        match answer.field("content-length").map(|text| text.parse().expect("a length")) {
            Some(length) => answer.body = self.exactly(length).await?,
            None => {
                while self.more().await.is_ok() {}
                answer.body = std::mem::take(&mut self.ahead);
            }
        }
        Ok(answer)
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.ahead).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                return Ok(String::from_utf8_lossy(&self.ahead.drain(..=at).collect::<Vec<_>>()).into_owned());
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.more().await?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// Reads `length` bytes of a body.
    pub(crate) async fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        within("bytes", self.exactly(length)).await
    }

    /// Says that nothing more comes, then [`Raw::rest`].
    pub(crate) async fn end(&mut self) -> (Vec<u8>, bool) {
        let _ = self.stream.shutdown().await;
        self.rest().await
    }

    /// Reads until the gateway closes; gives what came, and whether the end was a clean one.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        within("the connection to close", async {
            let end = loop {
                if let Err(error) = self.more().await {
                    break error.kind() == io::ErrorKind::UnexpectedEof;
                }
            };
            (std::mem::take(&mut self.ahead), end)
        })
        .await
    }
}

/// What a handshake settled.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts {
    pub(crate) alpn: Option<String>,
    pub(crate) version: rustls::ProtocolVersion,
    /// The certificate that the gateway showed, as DER.
    pub(crate) certificate: Vec<u8>,
}

impl TlsFacts {
    fn of(connection: &rustls::ClientConnection) -> Self {
        Self {
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: connection.protocol_version().expect("a version"),
            certificate: connection.peer_certificates().expect("certificates")[0].to_vec(),
        }
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a line without a colon: {line:?}"));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

/// `GET target` on a connection of its own, with `fields` (each line ending in CRLF) beside `Host`.
pub(crate) async fn get(addr: SocketAddr, target: &str, fields: &str) -> Answer {
    request(addr, "GET", target, fields, b"").await
}

/// Any request on a connection of its own; `fields` bring their own `Host` if they have one.
pub(crate) async fn request(addr: SocketAddr, method: &str, target: &str, fields: &str, body: &[u8]) -> Answer {
    let mut raw = Raw::connect(addr).await;
    raw.send(head(method, target, fields, body.len())).await.expect("sent");
    raw.send(body).await.expect("sent");
    raw.answer(method == "HEAD").await.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

/// The text of a request's head.
pub(crate) fn head(method: &str, target: &str, fields: &str, length: usize) -> String {
    let own = fields.split("\r\n").any(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("host:")));
    let host = if own { String::new() } else { format!("Host: {HOST}\r\n") };
    let length = if length > 0 { format!("Content-Length: {length}\r\n") } else { String::new() };
    format!("{method} {target} HTTP/1.1\r\n{host}{fields}{length}\r\n")
}

/// A body for hyper's client.
pub(crate) type ClientBody = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// No body.
pub(crate) fn empty() -> ClientBody {
    http_body_util::Empty::new().boxed()
}

/// These bytes, their length not told.
pub(crate) fn full(bytes: &[u8]) -> ClientBody {
    http_body_util::Full::new(Bytes::copy_from_slice(bytes)).boxed()
}

/// An HTTP/2 connection.
pub(crate) struct H2 {
    pub(crate) sender: hyper::client::conn::http2::SendRequest<ClientBody>,
    /// Ends with the connection.
    pub(crate) driver: tokio::task::JoinHandle<Result<(), hyper::Error>>,
}

impl H2 {
    /// By prior knowledge.
    pub(crate) async fn plain(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.expect("connected")).await
    }

    /// Over TLS.
    pub(crate) async fn tls(addr: SocketAddr, config: Arc<rustls::ClientConfig>, name: &str) -> Self {
        let tcp = TcpStream::connect(addr).await.expect("connected");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let stream = within("a handshake", tokio_rustls::TlsConnector::from(config).connect(name, tcp)).await.expect("TLS");
        Self::over(stream).await
    }

    /// By prior knowledge, with little room for answers that are not read yet.
    pub(crate) async fn narrow(addr: SocketAddr) -> Self {
        Self::with_window(TcpStream::connect(addr).await.expect("connected"), 16 * 1024).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::with_window(stream, 1 << 20).await
    }

    async fn with_window(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, window: u32) -> Self {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, driver) = within("HTTP/2", builder.handshake(TokioIo::new(stream))).await.expect("HTTP/2");
        Self { sender, driver: tokio::spawn(driver) }
    }

    /// Sends a request and reads its answer whole.
    pub(crate) async fn send(&mut self, request: http::Request<ClientBody>) -> Result<Answer, hyper::Error> {
        within("an answer", async {
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let fields = |headers: &http::HeaderMap| {
                headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
            };
            let body = body.collect().await?;
            let trailers = body.trailers().map(fields).unwrap_or_default();
            Ok(Answer { status: head.status.as_u16(), fields: fields(&head.headers), body: body.to_bytes().to_vec(), trailers })
        })
        .await
    }

    /// `GET url`, such as `http://gate.test/a`.
    pub(crate) async fn get(&mut self, url: &str) -> Result<Answer, hyper::Error> {
        self.send(http::Request::get(url).body(empty()).expect("a request")).await
    }
}

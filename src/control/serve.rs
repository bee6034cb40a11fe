//! The listener itself: connections, limits, and what is asked of every request.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::authz;
use super::dialects::Dialects;
use super::note::{Note, Told};
use super::own::Own;
use super::page::{self, Page};
use super::{Answer, Call, Desk, Dialect as _, Refusal};

/// Connections at the same time; more wait.
const CONNECTIONS: usize = 256;
/// A TLS handshake, and a request head.
const HEAD: Duration = Duration::from_secs(10);
/// A whole request body, and its answer.
const WHOLE: Duration = Duration::from_secs(60);
/// Bytes that are read and dropped of a body that is too long.
const DROPPED: usize = 4 * 1024 * 1024;

/// Fields that come once in a request, or not at all.
const ONCE: [&str; 7] =
    ["authorization", "content-type", "host", "idempotency-key", "x-auth-email", "x-auth-key", "x-auth-user-service-key"];

/// What the listener serves by.
#[derive(Clone)]
pub struct Front {
    /// Its TLS.
    pub tls: Option<TlsAcceptor>,
    /// What is spoken, and where.
    pub dialects: Dialects,
    /// What handlers work on.
    pub desk: Arc<Desk>,
}

/// Serves until dropped, each connection and each request by what `front` gives then: a reload may take it all away.
pub async fn serve(listener: TcpListener, front: impl Fn() -> Option<Front> + Clone + Send + 'static) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((tcp, peer)) = listener.accept().await else {
            // Out of descriptors: accepting again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = tcp.set_nodelay(true);
        let front = front.clone();
        // Decisions for other servers go through rooms that stay on one thread.
        tokio::task::spawn_local(async move {
            let Some(Front { tls, .. }) = front() else { return };
            match tls {
                None => connection(tcp, (peer.ip(), false), front).await,
                Some(tls) => match tokio::time::timeout(HEAD, tls.accept(tcp)).await {
                    Ok(Ok(stream)) => connection(stream, (peer.ip(), true), front).await,
                    Ok(Err(error)) => tracing::debug!(%error, "control handshake failed"),
                    Err(_) => tracing::debug!("control handshake took too long"),
                },
            }
            drop(place);
        });
    }
}

async fn connection<S>(stream: S, (peer, https): (IpAddr, bool), front: impl Fn() -> Option<Front> + Clone + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let front = front();
        async move {
            Ok::<_, Infallible>(match front {
                Some(Front { dialects, desk, .. }) => whole(request, (peer, https), &dialects, desk).await,
                None => plain(StatusCode::SERVICE_UNAVAILABLE, "closed by the config\n"),
            })
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "control connection ended");
    }
}

async fn whole(request: Request<hyper::body::Incoming>, from: (IpAddr, bool), dialects: &Dialects, desk: Arc<Desk>) -> Answer {
    let path = request.uri().path().to_owned();
    let base = desk.config.base.tollgate.as_deref().map(|base| base.trim_end_matches('/'));
    match base.and_then(|base| path.strip_prefix(base)).and_then(authz::asker) {
        Some(asked) => {
            let answered = tokio::time::timeout(WHOLE, authz::answer(request, asked, from.0, &desk));
            answered.await.unwrap_or_else(|_| Own.refuse(Refusal::Unreadable))
        }
        None => take(request, from, dialects, desk).await,
    }
}

/// Answers one request, whatever happens, and notes it.
pub async fn take<B>(request: Request<B>, (peer, https): (IpAddr, bool), dialects: &Dialects, desk: Arc<Desk>) -> Answer
where
    B: hyper::body::Body<Data = Bytes> + Unpin + Send + 'static,
{
    let (head, body) = request.into_parts();
    let now = desk.clock.now();
    let id: Arc<str> = uuid::Uuid::now_v7().simple().to_string().into();
    let note = Arc::new(Note::default());
    let method = head.method.clone();
    let Some((dialect, path)) = dialects.find(head.uri.path()) else {
        return plain(StatusCode::NOT_FOUND, "nothing is served here\n");
    };
    let path = path.to_owned();
    let (page, public) = (Page::of(&head, &desk.config.allowed_origins), dialect.is_public(&path));
    let answered = async {
        if page == Page::Foreign && !public {
            return dialect.refuse(Refusal::CrossOrigin);
        }
        if let Some(answer) = page::preflight(&head).filter(|_| page != Page::Nobodys) {
            return answer;
        }
        if ONCE.iter().any(|name| head.headers.get_all(*name).iter().nth(1).is_some()) {
            return dialect.refuse(Refusal::Ambiguous);
        }
        let body = match read(body, desk.config.max_body.as_usize()).await {
            Ok(body) => body,
            Err(refusal) => return dialect.refuse(refusal),
        };
        let call =
            Call { head, path, body, now, peer, https, id: id.clone(), desk: desk.clone(), note: note.clone(), caller: OnceLock::new() };
        dialect.serve(call).await
    };
    let mut answer = tokio::time::timeout(WHOLE, answered).await.unwrap_or_else(|_| dialect.refuse(Refusal::Unreadable));
    if method == Method::HEAD {
        *answer.body_mut() = Full::default();
    }
    page.decorate(answer.headers_mut(), public);
    finish(&mut answer, &id);
    let status = answer.status().as_u16();
    let code = answer.status();
    desk.state.metrics.control_requests.with_label_values(&[dialect.name(), code.as_str()]).inc();
    note.tell(&Told { id: &id, now, peer, dialect: dialect.name(), method: method.as_str(), status });
    answer
}

/// A whole body of at most so many bytes. A little more is read and dropped: who is still writing would not see the answer.
pub(super) async fn read<B>(mut body: B, most: usize) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let far = most.saturating_add(DROPPED);
    if body.size_hint().lower() > far as u64 {
        return Err(Refusal::TooLarge);
    }
    let (mut whole, mut seen) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Unreadable)?.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= most {
            whole.extend_from_slice(&data);
        } else if seen > far {
            break;
        }
    }
    if seen > most { Err(Refusal::TooLarge) } else { Ok(whole.into()) }
}

fn finish(answer: &mut Answer, id: &str) {
    let headers = answer.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", id);
    }
    // Answers may hold tokens.
    headers.entry(http::header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(http::header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// JSON with exactly this content type: some SDKs take no other.
#[must_use]
pub fn json(status: StatusCode, kind: &'static str, value: &serde_json::Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

//! Stand-ins for video vendors: servers that answer as the vendor's pages say, refuse what the vendor would
//! refuse, remember what they were sent, and fail on demand.
//!
//! A stand-in keeps the time it is given, so that whoever holds a manual clock decides when its tokens end.
//! Requests are read whole before they are answered; what came of a request that broke off is handed over as well.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Clock, UnixTime};

pub mod multipart;

/// Bodies up to this are kept with the call; of larger ones the length only.
const KEPT: usize = 64 * 1024;

/// Most calls that are remembered; then the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// Time for the beginning of an answer to get out before it is cut.
const BEFORE_CUT: Duration = Duration::from_millis(50);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query as sent.
    pub target: Uri,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, or what came of it.
    pub body: Bytes,
    /// How many bytes of a body came, kept or not.
    pub length: u64,
    /// Whether the body's end came.
    pub whole: bool,
}

impl Call {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// A parameter of the query, decoded; the first one of its name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        crate::query::values(self.target.query().unwrap_or(""), name).next().and_then(crate::query::decode)
    }

    /// A field's text; empty counts as absent.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The body as a JSON object; an empty one where there is no body.
    #[must_use]
    pub fn json(&self) -> Option<Map<String, Value>> {
        if self.body.is_empty() { Some(Map::new()) } else { serde_json::from_slice(&self.body).ok() }
    }
}

/// A vendor's rules, without the server.
pub trait Vendor: Send + Sync + 'static {
    /// The answer to a call whose body came whole.
    fn answer(&self, call: &Call, now: UnixTime) -> Response<Bytes>;

    /// How this vendor words a refusal with this status.
    fn refuse(&self, status: u16, now: UnixTime) -> Response<Bytes>;

    /// What is done with a call whose body broke off, for vendors that keep what came.
    fn broken_off(&self, _call: &Call, _now: UnixTime) {}
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The vendor refuses with this status, in its own words; nothing is done.
    Status(u16),
    /// The same, before the body is read.
    StatusEarly(u16),
    /// The vendor takes so long.
    Delay(Duration),
    /// So many bytes of the body are read, then the connection closes.
    CutBody(u64),
    /// The connection closes after so many bytes of the answer's body.
    CutAnswer(usize),
    /// All is done as asked, and the answer is lost.
    LostAnswer,
    /// The answer waits until the [`Held`] it came from is dropped.
    #[doc(hidden)]
    Hold(Arc<Semaphore>),
}

/// Keeps answers waiting until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Semaphore>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

#[derive(Debug)]
struct Planted {
    method: Option<Method>,
    path: String,
    left: usize,
    fault: Fault,
}

/// A stand-in: a vendor's rules, the time, its faults and its memory. Clones share all of it.
pub struct StandIn<V>(Arc<Inner<V>>);

impl<V> Clone for StandIn<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> std::fmt::Debug for StandIn<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandIn")
    }
}

struct Inner<V> {
    vendor: V,
    clock: Clock,
    faults: Mutex<Vec<Planted>>,
    calls: Mutex<Vec<Call>>,
}

/// A lock that a panic elsewhere does not close: what it guards is only ever looked at and added to.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Vendor> StandIn<V> {
    /// A stand-in for `vendor` that reads the time from `clock`.
    pub fn new(vendor: V, clock: Clock) -> Self {
        Self(Arc::new(Inner { vendor, clock, faults: Mutex::default(), calls: Mutex::default() }))
    }

    /// The vendor's rules and state.
    #[must_use]
    pub fn vendor(&self) -> &V {
        &self.0.vendor
    }

    /// What it has been sent so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.0.calls).clone()
    }

    /// How many calls began with this: `POST /upload`, or `/upload` for any method.
    #[must_use]
    pub fn count(&self, on: &str) -> usize {
        let (method, path) = parse_on(on);
        lock(&self.0.calls).iter().filter(|call| matches(method.as_ref(), &path, &call.method, call.path())).count()
    }

    /// Lets the next `times` calls that begin with `on` (`POST /upload`, or `/upload`) go wrong.
    pub fn fail(&self, on: &str, times: usize, fault: Fault) {
        let (method, path) = parse_on(on);
        lock(&self.0.faults).push(Planted { method, path, left: times, fault });
    }

    /// Lets every call that begins with `on` wait until what is returned is dropped.
    #[must_use]
    pub fn hold(&self, on: &str) -> Held {
        let gate = Arc::new(Semaphore::new(0));
        self.fail(on, usize::MAX, Fault::Hold(gate.clone()));
        Held(gate)
    }

    /// Lets nothing go wrong any more.
    pub fn heal(&self) {
        lock(&self.0.faults).clear();
    }

    /// Serves on `listener`, over TLS where there is a `tls`, until `shutdown`; answers under way are then cut.
    pub async fn serve(&self, listener: TcpListener, tls: Option<TlsAcceptor>, shutdown: impl Future<Output = ()>) {
        super::accept(listener, shutdown, |stream| {
            let (stand_in, tls) = (self.clone(), tls.clone());
            async move {
                let _ = stream.set_nodelay(true);
                match tls {
                    None => stand_in.connection(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            stand_in.connection(stream).await;
                        }
                    }
                }
            }
        })
        .await;
    }

    async fn connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request| {
            let stand_in = self.clone();
            async move { stand_in.exchange(request).await }
        });
        // A caller that goes away in the middle is what many tests want.
        let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    }

    /// The fault that is due for a call, if one is.
    fn due(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.0.faults);
        faults.retain(|planted| !matches!(&planted.fault, Fault::Hold(gate) if gate.available_permits() > 0));
        let planted =
            faults.iter_mut().find(|planted| planted.left > 0 && matches(planted.method.as_ref(), &planted.path, method, path))?;
        planted.left -= 1;
        let fault = planted.fault.clone();
        faults.retain(|planted| planted.left > 0);
        Some(fault)
    }

    /// An error closes the connection without an answer.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<Answer>, Broken> {
        let (head, body) = request.into_parts();
        let fault = self.due(&head.method, head.uri.path());
        if let Some(Fault::StatusEarly(status)) = fault {
            self.remember(Call {
                method: head.method,
                target: head.uri,
                headers: head.headers,
                body: Bytes::new(),
                length: 0,
                whole: false,
            });
            return Ok(self.refuse(status).map(|bytes| Answer::new(bytes, None)));
        }
        let most = if let Some(Fault::CutBody(most)) = fault { Some(most) } else { None };
        let (bytes, whole) = read(body, most).await;
        let length = bytes.len() as u64;
        let call = Call { method: head.method, target: head.uri, headers: head.headers, body: bytes, length, whole };
        self.remember(call.clone());
        if !whole {
            self.0.vendor.broken_off(&call, self.0.clock.now());
            return Err(Broken);
        }
        let answer = |cut| self.0.vendor.answer(&call, self.0.clock.now()).map(|bytes| Answer::new(bytes, cut));
        match fault {
            Some(Fault::Status(status)) => Ok(self.refuse(status).map(|bytes| Answer::new(bytes, None))),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(answer(None))
            }
            Some(Fault::Hold(gate)) => {
                drop(gate.acquire().await);
                Ok(answer(None))
            }
            Some(Fault::CutAnswer(after)) => Ok(answer(Some(after))),
            Some(Fault::LostAnswer) => {
                answer(None);
                Err(Broken)
            }
            Some(Fault::CutBody(_) | Fault::StatusEarly(_)) | None => Ok(answer(None)),
        }
    }

    fn refuse(&self, status: u16) -> Response<Bytes> {
        self.0.vendor.refuse(status, self.0.clock.now())
    }

    fn remember(&self, mut call: Call) {
        if call.body.len() > KEPT {
            call.body = Bytes::new();
        }
        let mut calls = lock(&self.0.calls);
        if calls.len() == REMEMBERED {
            calls.remove(0);
        }
        calls.push(call);
    }
}

fn parse_on(on: &str) -> (Option<Method>, String) {
    match on.split_once(' ') {
        Some((method, path)) => (method.parse().ok(), path.to_owned()),
        None => (None, on.to_owned()),
    }
}

fn matches(wanted: Option<&Method>, begins: &str, method: &Method, path: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == method) && path.starts_with(begins)
}

/// Reads a body to its end, to `most` bytes or to where it breaks off; whether it came whole.
async fn read(mut body: Incoming, most: Option<u64>) -> (Bytes, bool) {
    let mut bytes = BytesMut::new();
    loop {
        match body.frame().await {
            None => return (bytes.freeze(), true),
            Some(Err(_)) => return (bytes.freeze(), false),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
        if let Some(most) = most.and_then(|most| usize::try_from(most).ok()).filter(|most| bytes.len() >= *most) {
            bytes.truncate(most);
            return (bytes.freeze(), false);
        }
    }
}

/// The connection is to close without a word.
#[derive(Debug, thiserror::Error)]
#[error("the stand-in closes the connection")]
struct Broken;

/// An answer's body, whole or cut.
struct Answer {
    bytes: Bytes,
    cut: Option<usize>,
    /// Runs between the last byte and the cut.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Answer {
    fn new(bytes: Bytes, cut: Option<usize>) -> Self {
        Self { bytes, cut, pause: None }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Broken>>> {
        if let Some(pause) = &mut self.pause {
            return pause.as_mut().poll(context).map(|()| Some(Err(Broken)));
        }
        let bytes = std::mem::take(&mut self.bytes);
        match self.cut {
            None if bytes.is_empty() => Poll::Ready(None),
            None => Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
            Some(after) => {
                // The server drops what it has not written when a body fails.
                self.pause = Some(Box::pin(tokio::time::sleep(BEFORE_CUT)));
                Poll::Ready(Some(Ok(http_body::Frame::data(bytes.slice(..after.min(bytes.len()))))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() && self.bytes.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// An answer with a body in JSON, of exactly `application/json`.
#[must_use]
pub fn json(status: u16, body: &Value) -> Response<Bytes> {
    typed(status, "application/json", body.to_string())
}

/// An answer with a body of any type.
#[must_use]
pub fn typed(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = empty(status);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = body.into();
    response
}

/// An answer without a body.
#[must_use]
pub fn empty(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Sets a field; what cannot be a value is left out.
pub fn set(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A date and time as `2020-12-02T10:13:19` (RFC 3339 without its zone), after "days to civil" of the proleptic Gregorian calendar.
#[must_use]
pub fn date_time(at: UnixTime) -> String {
    let (days, seconds) = (at.0.div_euclid(86_400), at.0.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// `length` random letters of `alphabet`, behind `prefix`.
#[must_use]
pub fn random_id(prefix: &str, alphabet: &[u8], length: usize) -> String {
    let letters = (0..length).map(|_| char::from(alphabet[fastrand::usize(..alphabet.len())]));
    prefix.chars().chain(letters).collect()
}

/// Hex digits.
pub const HEX: &[u8] = b"0123456789abcdef";

/// User and password of `Authorization: Basic` (RFC 7617).
#[must_use]
pub fn basic_of(call: &Call) -> Option<(String, String)> {
    use base64::Engine as _;
    let (scheme, rest) = call.field("authorization")?.split_once(' ')?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}

/// The token of `Authorization: Bearer` (RFC 6750).
#[must_use]
pub fn bearer_of(call: &Call) -> Option<&str> {
    let (scheme, token) = call.field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (at, written) in [
            (0, "1970-01-01T00:00:00"),
            (951_827_696, "2000-02-29T12:34:56"),
            (1_606_904_999, "2020-12-02T10:29:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
        ] {
            assert_eq!(date_time(UnixTime(at)), written);
        }
    }

    #[test]
    fn faults_hit_what_they_are_meant_for_and_so_often() {
        struct Nothing;
        impl Vendor for Nothing {
            fn answer(&self, _: &Call, _: UnixTime) -> Response<Bytes> {
                empty(200)
            }
            fn refuse(&self, status: u16, _: UnixTime) -> Response<Bytes> {
                empty(status)
            }
        }
        let stand_in = StandIn::new(Nothing, Clock::default());
        stand_in.fail("POST /a", 2, Fault::Status(500));
        stand_in.fail("/a", 1, Fault::Status(429));
        let due = |method: Method, path| matches!(stand_in.due(&method, path), Some(Fault::Status(500)));
        assert!(!due(Method::GET, "/b") && due(Method::POST, "/a/b") && due(Method::POST, "/a"));
        assert!(matches!(stand_in.due(&Method::POST, "/a"), Some(Fault::Status(429))));
        assert!(stand_in.due(&Method::POST, "/a").is_none());
    }
}

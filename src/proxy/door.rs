//! The door: a request comes in, whatever happens behind it becomes an answer.
//!
//! Here ids are given, errors become problem details, and every answer gets its CORS fields and its
//! request id, refusals included: a player that cannot read a refusal cannot tell it from an outage.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderValue, ORIGIN, REFERRER_POLICY};
use http::{Response, Version};
use hyper::body::Incoming;
use tower::Service;

use super::record::{Journal, Record, Shared};
use super::request::Arrived;
use super::{Body, Error, State, own_answer, preflight};

/// What the connection tells of each of its requests.
pub struct Arrival {
    /// The other end.
    pub peer: IpAddr,
    /// Whether there is TLS.
    pub tls: bool,
    /// What the head scan found wrong.
    pub fault: Option<Error>,
    /// Whether the gateway is shutting down.
    pub draining: bool,
}

/// The door of one thread.
pub struct Door<W> {
    walk: W,
    journal: Rc<dyn Journal>,
}

impl<W> Door<W>
where
    W: Service<Arrived, Response = Response<Body>, Error = Error> + Clone,
{
    /// A door in front of `walk`.
    pub fn new(walk: W, journal: Rc<dyn Journal>) -> Self {
        Self { walk, journal }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// None: what goes wrong is an answer.
    pub async fn answer(
        self: Rc<Self>,
        request: http::Request<Incoming>,
        arrival: Arrival,
        state: Arc<State>,
    ) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let trusted = state.trusted_proxies.iter().any(|net| net.contains(&arrival.peer.to_canonical()));
        let ids = (request_id(&head.headers, trusted), trace_parent(&head.headers));
        let record = Record::new((&head.method, head.version), ids, state.metrics.clone(), self.journal.clone());
        record.client_ip.set(arrival.peer);
        if record.wanted {
            let agent = head.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
            *record.user_agent.borrow_mut() = agent.map(|text| text.chars().take(200).collect());
        }
        let origin = head.headers.get(ORIGIN).cloned();
        let raw_path = record.path.borrow().is_empty().then(|| head.uri.path().to_owned());
        let version = head.version;
        let arrived = Arrived { head, body, record: record.clone(), peer: arrival.peer, tls: arrival.tls, fault: arrival.fault, state };
        let result = self.walk.clone().call(arrived).await;
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                refused(&record, &error, raw_path.as_deref().unwrap_or(""));
                let closes = error.closes();
                let mut response = vendor_refusal(&error, &record).unwrap_or_else(|| error.into_response(&record.id));
                if closes && version != Version::HTTP_2 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        finish(&mut response, &record, origin.as_ref(), arrival.draining && version != Version::HTTP_2);
        Ok(response.map(|body| body.on_record(record)))
    }
}

/// The refusal in the words of the vendor whose tokens the route takes, where it has its own.
fn vendor_refusal(error: &Error, record: &Record) -> Option<Response<Body>> {
    let Error::Denied(denial) = error else { return None };
    let schemes = &record.route.get()?.schemes;
    let named = match record.scheme.get() {
        Some(name) => schemes.iter().find(|named| named.name == *name),
        None => schemes.first(),
    };
    named?.scheme.refusal(*denial).map(own_answer::respond)
}

fn refused(record: &Record, error: &Error, raw_path: &str) {
    record.code.set(Some(error.code()));
    *record.cause.borrow_mut() = error.cause();
    if record.path.borrow().is_empty() {
        record.note_target("", raw_path);
    }
}

fn finish(response: &mut Response<Body>, record: &Shared, origin: Option<&HeaderValue>, closing: bool) {
    record.answered(response.status());
    let headers = response.headers_mut();
    match record.route.get() {
        Some(route) => preflight::decorate(headers, origin, &route.cors),
        None => preflight::decorate_unrouted(headers, origin),
    }
    if let Ok(id) = HeaderValue::from_str(&record.id) {
        headers.insert("x-request-id", id);
    }
    // URLs here may carry tokens; pages that link on must not hand them out.
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    if closing {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The caller's own id from a trusted proxy, if it is a sane one; else a new UUID (version 7: sorts by time).
fn request_id(headers: &http::HeaderMap, trusted: bool) -> String {
    let sane = |text: &&str| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let given = headers.get("x-request-id").filter(|_| trusted).and_then(|value| value.to_str().ok()).filter(sane);
    given.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// W3C Trace Context §3.2: the caller's trace goes on under a new parent id; a malformed one is begun anew.
fn trace_parent(headers: &http::HeaderMap) -> String {
    // Ids only have to differ, so the quick generator will do; a zero id would mean "none" (§3.2.2.4).
    let span = fastrand::u64(1..);
    let given = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace_of);
    match given {
        Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{:032x}-{span:016x}-00", fastrand::u128(1..)),
    }
}

fn trace_of(text: &str) -> Option<(&str, &str)> {
    let lower_hex = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else { return None };
    let zero = |t: &str| t.bytes().all(|b| b == b'0');
    let sizes = (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2);
    (sizes && [version, trace, parent, flags].into_iter().all(lower_hex) && version != "ff" && !zero(trace) && !zero(parent))
        .then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_on_under_a_new_parent() {
        let mut headers = http::HeaderMap::new();
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", HeaderValue::from_static(given));
        let ours = trace_parent(&headers);
        assert!(ours.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && ours.ends_with("-01") && ours != given);
        headers.insert("traceparent", HeaderValue::from_static("00-zz-b7ad6b7169203331-01"));
        assert_eq!(trace_parent(&headers).len(), 55);
    }

    #[test]
    fn only_trusted_peers_name_requests() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("abc-1"));
        assert_eq!(request_id(&headers, true), "abc-1");
        assert_ne!(request_id(&headers, false), "abc-1");
        headers.insert("x-request-id", HeaderValue::from_static("a b"));
        assert_ne!(request_id(&headers, true), "a b");
    }
}

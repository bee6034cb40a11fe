//! Operators look at sessions, end them, and withdraw tokens.
//!
//! `GET /sessions` (filters: `route`, `subject`, `asset`, `token`, `client_ip`; `after`, `limit`),
//! `DELETE /sessions/{id}`, `GET /revocations`, `POST /revocations`, `DELETE /revocations`. All of them want the admin token, and none
//! is answered to a page of another web origin. Tokens are named by fingerprint only.

use bytes::Bytes;
use http::header::{AUTHORIZATION, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};

use super::serve::plain;
use crate::clock::UnixTime;
use crate::credential::Credential;
use crate::query;
use crate::revocation::{Revocation, Revocations, Target};
use crate::secret::Secret;
use crate::session::fleet::Fleet;
use crate::session::{End, Filter, Session, SessionId, Sessions};
use crate::units::Period;

/// What is looked at and changed.
pub struct Desk<'d> {
    /// The table.
    pub sessions: &'d Sessions,
    /// What was withdrawn.
    pub revocations: &'d Revocations,
    /// The fleet, so that what is done here is done everywhere.
    pub fleet: Option<&'d Fleet>,
    /// What origins and vendors are shown.
    pub credentials: &'d [Credential],
    /// The admin token; without one nothing here is open.
    pub token: Option<&'d Secret<String>>,
    /// Now.
    pub now: UnixTime,
}

/// Sessions on one page at most.
const PAGE: usize = 1000;
/// How long a revocation holds when it does not say: longer than tokens should live.
const FOREVER: i64 = 30 * 24 * 3600;

/// What a `POST /revocations` holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    by: String,
    value: String,
    ttl: Option<Period>,
}

/// The answer to a request for `/sessions…`, `/revocations…` or `/credentials…`.
#[must_use]
pub fn answer(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8], desk: &Desk<'_>) -> Response<Full<Bytes>> {
    if let Some(refusal) = refuse(headers, desk.token) {
        return refusal;
    }
    let path = uri.path().trim_end_matches('/');
    if path == "/credentials" || path.starts_with("/credentials/") {
        return super::credentials::answer(method, path, desk.credentials, desk.now);
    }
    match (method.as_str(), path, path.strip_prefix("/sessions/")) {
        ("GET" | "HEAD", "/sessions", _) => list(uri.query().unwrap_or(""), desk),
        ("DELETE", _, Some(id)) => end(id, desk),
        ("GET" | "HEAD", "/revocations", _) => data(StatusCode::OK, &revocations(desk)),
        ("POST", "/revocations", _) => revoke(body, desk),
        ("DELETE", "/revocations", _) => restore(body, desk),
        (_, "/sessions" | "/revocations", _) | (_, _, Some(_)) => said(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"),
        _ => said(StatusCode::NOT_FOUND, "not found"),
    }
}

fn refuse(headers: &HeaderMap, token: Option<&Secret<String>>) -> Option<Response<Full<Bytes>>> {
    // A browser says where a page is from; operators' tools do not.
    if headers.contains_key(ORIGIN) {
        return Some(said(StatusCode::FORBIDDEN, "not for pages of other origins"));
    }
    let Some(token) = token else {
        return Some(said(StatusCode::FORBIDDEN, "set admin.token_file to open this"));
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let good = given.is_some_and(|given| aws_lc_rs::constant_time::verify_slices_are_equal(given, token.expose().as_bytes()).is_ok());
    if good {
        return None;
    }
    let mut response = said(StatusCode::UNAUTHORIZED, "the admin token is wanted");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

fn list(raw: &str, desk: &Desk<'_>) -> Response<Full<Bytes>> {
    let text = |name: &str| query::values(raw, name).next().and_then(query::decode);
    let filter = Filter {
        route: text("route"),
        subject: text("subject"),
        asset: text("asset"),
        fingerprint: text("token"),
        client_ip: text("client_ip").and_then(|ip| ip.parse().ok()),
    };
    let after = text("after").and_then(|id| SessionId::parse(&id));
    let limit = text("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100).clamp(1, PAGE);
    let page = desk.sessions.list(&filter, after, limit);
    let sessions: Vec<Value> = page.sessions.iter().map(|session| shown(session)).collect();
    data(StatusCode::OK, &json!({ "sessions": sessions, "total": page.total, "next": page.next.map(|id| id.to_string()) }))
}

fn shown(session: &Session) -> Value {
    let end = (session.ends != UnixTime::MAX).then_some(session.ends.0);
    json!({
        "id": session.id.to_string(),
        "route": session.route.as_str(),
        "scheme": session.scheme.as_str(),
        "token": session.seen.fingerprint.to_string(),
        "subject": session.grant.subject,
        "asset": session.grant.resource,
        "client_ip": session.seen.client_ip.to_string(),
        "user_agent": session.seen.user_agent,
        "started": session.started.0,
        "last_seen": session.last_seen().0,
        "ends": end,
        "idle_seconds": session.idle(),
        "bytes": session.bytes(),
    })
}

fn end(id: &str, desk: &Desk<'_>) -> Response<Full<Bytes>> {
    let ended = SessionId::parse(id).and_then(|id| match desk.fleet {
        Some(fleet) => fleet.end(id, End::Closed, desk.now),
        None => desk.sessions.end(id, End::Closed, desk.now),
    });
    match ended {
        Some(session) => {
            tracing::info!(session = %session.id, route = %session.route, "session ended by an operator");
            data(StatusCode::OK, &json!({ "ended": session.id.to_string() }))
        }
        None => said(StatusCode::NOT_FOUND, "no such session is alive"),
    }
}

fn revocations(desk: &Desk<'_>) -> Value {
    json!({ "revocations": desk.revocations.list(desk.now) })
}

fn revoke(body: &[u8], desk: &Desk<'_>) -> Response<Full<Bytes>> {
    let (target, ttl) = match wanted(body, desk) {
        Ok(wanted) => wanted,
        Err(message) => return said(StatusCode::BAD_REQUEST, &message),
    };
    let revocation = Revocation { target, since: desk.now, until: desk.now.plus(ttl) };
    let revoked = match desk.fleet {
        Some(fleet) => fleet.revoke(&revocation, desk.now),
        None => desk.revocations.revoke(&revocation, desk.sessions, desk.now),
    };
    match revoked {
        Ok(ended) => {
            tracing::info!(by = revocation.target.kind(), until = revocation.until.0, sessions = ended, "revoked by an operator");
            data(StatusCode::CREATED, &json!({ "revocation": revocation, "sessions_ended": ended }))
        }
        Err(full) => said(StatusCode::INSUFFICIENT_STORAGE, &full.to_string()),
    }
}

fn restore(body: &[u8], desk: &Desk<'_>) -> Response<Full<Bytes>> {
    match wanted(body, desk) {
        Ok((target, _)) if restored(&target, desk) => data(StatusCode::OK, &json!({ "restored": true })),
        Ok(_) => said(StatusCode::NOT_FOUND, "no such revocation"),
        Err(message) => said(StatusCode::BAD_REQUEST, &message),
    }
}

fn restored(target: &Target, desk: &Desk<'_>) -> bool {
    match desk.fleet {
        Some(fleet) => fleet.restore(target, desk.now),
        None => desk.revocations.restore(target),
    }
}

fn wanted(body: &[u8], desk: &Desk<'_>) -> Result<(Target, i64), String> {
    let wanted: Wanted = serde_json::from_slice(body).map_err(|e| format!("not {{\"by\", \"value\", \"ttl\"}}: {e}"))?;
    let value = wanted.value;
    let target = match wanted.by.as_str() {
        "token" => token_target(&value, desk)?,
        "token_id" => Target::TokenId(value),
        "subject" => Target::Subject(value),
        "session" => Target::Session(SessionId::parse(&value).ok_or("value is not a session's id")?),
        "key_id" => Target::KeyId(value),
        "asset" => Target::Asset(value),
        _ => return Err("by is one of token, token_id, subject, session, key_id, asset".into()),
    };
    Ok((target, wanted.ttl.map_or(FOREVER, Period::as_unix)))
}

/// A token by its fingerprint: the sessions that it has opened know its key.
fn token_target(fingerprint: &str, desk: &Desk<'_>) -> Result<Target, String> {
    let filter = Filter { fingerprint: Some(fingerprint.to_owned()), ..Filter::default() };
    let page = desk.sessions.list(&filter, None, 1);
    let session =
        page.sessions.first().ok_or("no live session has a token with this fingerprint; revoke it by token_id, subject or key_id")?;
    Ok(Target::Token(session.keys.token))
}

pub(super) fn data(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    plain(status, "application/json", format!("{value}\n"))
}

pub(super) fn said(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    data(status, &json!({ "status": status.as_u16(), "title": text }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn status(method: &Method, target: &str, fields: &[(&'static str, &'static str)], body: &str) -> u16 {
        let sessions = Sessions::new(10, &Metrics::new().expect("metrics"));
        let (revocations, token) = (Revocations::new(10), Secret::new("secret".to_owned()));
        let desk = Desk {
            sessions: &sessions,
            revocations: &revocations,
            fleet: None,
            credentials: &[],
            token: Some(&token),
            now: UnixTime(1000),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        answer(method, &target.parse().expect("target"), &headers, body.as_bytes(), &desk).status().as_u16()
    }

    #[test]
    fn nothing_is_open_without_the_token() {
        let good = ("authorization", "Bearer secret");
        assert_eq!(status(&Method::GET, "/sessions", &[], ""), 401);
        assert_eq!(status(&Method::GET, "/sessions", &[("authorization", "Bearer secre")], ""), 401);
        assert_eq!(status(&Method::GET, "/sessions", &[good], ""), 200);
        assert_eq!(status(&Method::GET, "/sessions", &[good, ("origin", "https://evil.example")], ""), 403);
    }

    #[test]
    fn what_is_withdrawn_must_be_named() {
        let good = &[("authorization", "Bearer secret")][..];
        assert_eq!(status(&Method::POST, "/revocations", good, r#"{"by":"subject","value":"u1","ttl":"1h"}"#), 201);
        assert_eq!(status(&Method::POST, "/revocations", good, r#"{"by":"colour","value":"red"}"#), 400);
        assert_eq!(status(&Method::POST, "/revocations", good, "[]"), 400);
        assert_eq!(status(&Method::DELETE, "/sessions/0", good, ""), 404);
        assert_eq!(status(&Method::PUT, "/sessions", good, ""), 405);
    }
}

//! Everything that the own API refuses, and how it says so.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::control::gate::Locked;
use crate::control::serve::json as answer_json;
use crate::control::{Answer, Refusal};
use crate::ledger::Fault;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) enum Problem {
    /// The gate.
    Locked(Locked),
    /// No such place, or not the caller's.
    NotFound,
    /// Another method; those that are served.
    Method(&'static str),
    /// The body is of another kind.
    NotJson,
    /// Something in it cannot be used.
    Invalid(String),
    /// There is one already, or the idempotency key was used for another request.
    Conflict(String),
    /// A server that may not ask for decisions.
    Peer,
    /// Before it was read.
    Refused(Refusal),
    /// The ledger.
    Ledger(Fault),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::NotFound,
            Fault::Exists | Fault::Full => Self::Conflict(fault.to_string()),
            Fault::TooDeep => Self::Invalid(fault.to_string()),
            fault => Self::Ledger(fault),
        }
    }
}

impl Problem {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Locked(Locked::Unknown) => StatusCode::UNAUTHORIZED,
            Self::Locked(Locked::Role) | Self::Peer | Self::Refused(Refusal::CrossOrigin) => StatusCode::FORBIDDEN,
            // Another account's things are not there: that they exist is its own affair.
            Self::Locked(Locked::Account) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Locked(Locked::TooMany(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Locked(Locked::Broken) | Self::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) | Self::Refused(Refusal::Ambiguous) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Refused(Refusal::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Refusal::Unreadable) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::Locked(Locked::Unknown) => "api_key_unknown",
            Self::Locked(Locked::Role) => "role_insufficient",
            Self::Locked(Locked::Account) | Self::NotFound => "not_found",
            Self::Locked(Locked::TooMany(_)) => "too_many_requests",
            Self::Locked(Locked::Broken) | Self::Ledger(_) => "ledger_unavailable",
            Self::Method(_) => "method_not_allowed",
            Self::NotJson => "not_json",
            Self::Invalid(_) => "invalid",
            Self::Conflict(_) => "conflict",
            Self::Peer => "peer_unknown",
            Self::Refused(Refusal::CrossOrigin) => "cross_origin",
            Self::Refused(Refusal::TooLarge) => "body_too_large",
            Self::Refused(Refusal::Unreadable) => "body_unreadable",
            Self::Refused(Refusal::Ambiguous) => "field_twice",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Locked(Locked::Unknown) => "an API key is wanted: Authorization: Bearer tg_…".into(),
            Self::Locked(Locked::Role) => "this API key may not do that".into(),
            Self::Locked(Locked::Account) | Self::NotFound => "there is nothing here".into(),
            Self::Locked(Locked::TooMany(rate)) => format!("no more requests for {} seconds", rate.resets),
            Self::Locked(Locked::Broken) | Self::Ledger(_) => "the ledger does not take changes now; try again".into(),
            Self::Method(allow) => format!("served here: {allow}"),
            Self::NotJson => "the body must be application/json".into(),
            Self::Invalid(detail) | Self::Conflict(detail) => detail.clone(),
            Self::Peer => "this address may not ask: see control.authz_peers".into(),
            Self::Refused(Refusal::CrossOrigin) => "pages of this origin may not call: see control.allowed_origins".into(),
            Self::Refused(Refusal::TooLarge) => "the body is too long".into(),
            Self::Refused(Refusal::Unreadable) => "the body broke off or took too long".into(),
            Self::Refused(Refusal::Ambiguous) => "a header that may come once came twice".into(),
        }
    }

    pub(in crate::control) fn answer(self) -> Answer {
        if let Self::Ledger(fault) = &self {
            tracing::error!(%fault, "the ledger failed");
        }
        let status = self.status();
        let body = json!({ "status": status.as_u16(), "title": status.canonical_reason(), "code": self.code(), "detail": self.detail() });
        let mut answer = answer_json(status, "application/problem+json", &body);
        let headers = answer.headers_mut();
        match &self {
            Self::Locked(Locked::Unknown) => _ = headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::Locked(Locked::TooMany(rate)) => _ = headers.insert(RETRY_AFTER, HeaderValue::from(rate.resets)),
            Self::Ledger(_) | Self::Locked(Locked::Broken) => _ = headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Self::Method(allow) => _ = headers.insert(ALLOW, HeaderValue::from_static(allow)),
            _ => {}
        }
        debug_assert!(headers.contains_key(CONTENT_TYPE), "a problem has its type");
        answer
    }
}

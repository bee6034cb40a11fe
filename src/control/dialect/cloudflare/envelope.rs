//! Cloudflare's envelope around every answer.
//!
//! SDKs go by the status alone; the envelope says the same. Numbers of errors are the vendor's where they are public
//! (10000), else of our choice: Stream's own are in no document.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::super::answer;
use crate::control::gate::Locked;
use crate::control::{Answer, Refusal};
use crate::ledger::Fault;

/// Why a call was refused: status, number, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub u16, pub u32, pub String);

impl Refused {
    /// Something in the request is wrong.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self(400, 10005, message.into())
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found() -> Self {
        Self(404, 10003, "Not found".into())
    }

    /// There is no such address.
    #[must_use]
    pub fn no_address() -> Self {
        Self(404, 7003, "Could not route to this path, perhaps the object identifier is invalid".into())
    }

    /// The method is not served.
    #[must_use]
    pub fn method() -> Self {
        Self(405, 10405, "Method not allowed for this authentication scheme".into())
    }

    /// No key, or a wrong one.
    #[must_use]
    pub fn unknown() -> Self {
        Self(401, 10000, "Authentication error".into())
    }

    /// Not this key.
    #[must_use]
    pub fn forbidden() -> Self {
        Self(403, 10000, "Authentication error".into())
    }

    /// Something is broken here.
    #[must_use]
    pub fn broken() -> Self {
        Self(500, 10001, "Internal error".into())
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let Self(status, code, message) = self;
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "success": false, "errors": [{ "code": code, "message": message }], "messages": [], "result": null });
        let mut answer = answer(status, "application/json", &body);
        if status == StatusCode::TOO_MANY_REQUESTS {
            // SDKs try again by themselves, and honour this.
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(60_u32));
        }
        answer
    }
}

/// A result in its envelope.
#[must_use]
pub fn ok(result: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", &json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

impl From<Locked> for Refused {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Unknown => Self::unknown(),
            Locked::Role | Locked::Account => Self::forbidden(),
            Locked::TooMany(_) => Self(429, 10429, "More requests than allowed".into()),
            Locked::Broken => Self::broken(),
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::not_found(),
            Fault::Exists | Fault::Busy | Fault::Away(_) => Self(503, 10002, "Busy; try again".into()),
            Fault::Full => Self::bad("The account has as many of these as it may"),
            Fault::TooDeep => Self::bad("The body is nested too deeply"),
            Fault::WrongKey | Fault::Schema { .. } | Fault::Broken(_) => {
                tracing::error!(%fault, "the ledger failed a call");
                Self::broken()
            }
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CrossOrigin => Self(403, 10000, "Not for pages of this origin".into()),
            Refusal::TooLarge => Self(413, 10005, "The body is too long".into()),
            Refusal::Unreadable => Self::bad("The body broke off"),
        }
    }
}

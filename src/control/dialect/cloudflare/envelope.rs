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

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    code: u32,
    message: String,
    /// Seconds after which it will be answered.
    retry_after: Option<u32>,
}

impl Refused {
    fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// Something in the request is wrong.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, 10005, message)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, 10003, "Not found")
    }

    /// There is no such address.
    #[must_use]
    pub fn no_address() -> Self {
        Self::new(404, 7003, "Could not route to this path, perhaps the object identifier is invalid")
    }

    /// The method is not served.
    #[must_use]
    pub fn method() -> Self {
        Self::new(405, 10405, "Method not allowed for this authentication scheme")
    }

    /// No key, or a wrong one.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(401, 10000, "Authentication error")
    }

    /// Not this key.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::new(403, 10000, "Authentication error")
    }

    /// Not now; later it will be.
    #[must_use]
    pub fn busy() -> Self {
        Self::new(503, 10002, "Busy; try again")
    }

    /// Something is broken here.
    #[must_use]
    pub fn broken() -> Self {
        Self::new(500, 10001, "Internal error")
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let errors = json!([{ "code": self.code, "message": self.message }]);
        let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        let mut answer = answer(status, "application/json", &body);
        // SDKs try again by themselves, and honour this.
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
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
            Locked::TooMany(rate) => Self { retry_after: Some(rate.resets), ..Self::new(429, 10429, "More requests than allowed") },
            Locked::Broken => Self::busy(),
        }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::not_found(),
            Fault::Exists | Fault::Busy | Fault::Away(_) => Self::busy(),
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
            Refusal::CrossOrigin => Self::new(403, 10000, "Not for pages of this origin"),
            Refusal::TooLarge => Self::new(413, 10005, "The body is too long"),
            Refusal::Unreadable => Self::bad("The body broke off"),
            Refusal::Ambiguous => Self::bad("A header came twice"),
        }
    }
}

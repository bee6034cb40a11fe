//! Refusals as api.video words them (API reference, "Errors": problem details by slug).

use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::super::answer;
use crate::control::gate::{Locked, Rate};
use crate::control::{Answer, Refusal};
use crate::ledger::Fault;

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No `Authorization`, or an empty one.
    NoAuthorization,
    /// An `Authorization` that is neither Basic nor Bearer.
    BadAuthorization,
    /// A bearer token that is not known, or over.
    BadAccessToken,
    /// An API key that is not known.
    BadApiKey,
    /// The same where tokens are asked for; the vendor has another answer there.
    BadCredentials,
    /// The key may not do this.
    Forbidden,
    /// Too many requests.
    TooMany(Rate),
    /// The body is not what it should be.
    BadPayload,
    /// A field of the body: its name, and what is wrong.
    Attribute(&'static str, String),
    /// A required field is not there.
    Required(&'static str),
    /// A query parameter: its name, and the least and the most that it may be.
    Parameter(&'static str, Option<(u64, Option<u64>)>),
    /// There is no such thing.
    NotFound(&'static str),
    /// There is no such address.
    NoAddress,
    /// Another method is wanted.
    Method(&'static str),
    /// The body is too long.
    TooLarge,
    /// A page of another origin.
    CrossOrigin,
    /// The ledger is busy; later it will not be.
    Busy,
    /// The ledger cannot be read or written.
    Broken,
}

impl Problem {
    const fn words(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::NoAuthorization => (401, "authentication-missing-authorization-header", "The \"Authorization\" header is missing."),
            Self::BadAuthorization => {
                (401, "authentication-invalid-authorization-header-value", "The \"Authorization\" header value is invalid.")
            }
            Self::BadAccessToken => (401, "authentication-invalid-access-token", "The access token is invalid or expired."),
            Self::BadApiKey => (401, "authentication-invalid-api-key", "The API key is invalid."),
            // The specification says 400 here; the vendor's list of errors says 401. SDKs take both.
            Self::BadCredentials => (400, "authentication-invalid-user-credentials", "The user credentials were incorrect."),
            // The vendor's keys have no roles, so that it has no word for this.
            Self::Forbidden => (403, "authorization-forbidden", "This API key may not do this."),
            Self::CrossOrigin => (403, "authorization-forbidden", "Pages of this origin may not do this."),
            Self::TooMany(_) => (429, "too-many-requests", "Too many requests."),
            Self::BadPayload => (400, "invalid-payload", "The payload is invalid."),
            Self::TooLarge => (413, "invalid-payload", "The payload is too large."),
            Self::Attribute(..) => (400, "invalid-attribute", "An attribute is invalid."),
            Self::Required(_) => (400, "attribute-required", "This attribute is required."),
            Self::Parameter(_, None) => (400, "request-invalid-query-parameter", "A query parameter is invalid."),
            Self::Parameter(_, Some(_)) => {
                (400, "request-invalid-query-parameter", "This parameter is out of the allowed range of values.")
            }
            Self::NotFound(_) => (404, "resource-not-found", "The requested resource was not found."),
            Self::NoAddress => (404, "unrecognized-request-url", "Unrecognized request URL."),
            Self::Method(_) => (405, "method-not-allowed", "Method is not allowed for this route."),
            Self::Busy => (503, "service-unavailable", "The service is busy. Try again."),
            Self::Broken => (500, "internal-server-error", "An internal error occurred."),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Attribute(name, _) | Self::Required(name) | Self::Parameter(name, _) | Self::NotFound(name) => name,
            _ => "",
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Value {
        let (status, slug, title) = self.words();
        let kind = format!("https://docs.api.video/reference/{slug}");
        let mut body = json!({ "type": kind, "title": title, "name": self.name(), "status": status });
        match self {
            Self::Attribute(name, why) => body["problems"] = json!([{ "type": kind, "title": why, "name": name }]),
            Self::Parameter(name, Some((least, most))) => {
                let mut range = Map::new();
                range.insert("min".into(), (*least).into());
                if let Some(most) = most {
                    range.insert("max".into(), (*most).into());
                }
                body["range"] = range.clone().into();
                body["problems"] = json!([{ "type": kind, "title": title, "name": name, "range": range }]);
            }
            _ => {}
        }
        body
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (status, ..) = self.words();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // The vendor's live type of errors is not known; every SDK takes this one, which RFC 9457 has for it.
        let mut answer = answer(status, "application/problem+json", &self.body());
        if let Self::Method(allow) = self {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        answer
    }

    /// Where the caller stands in its minute, as far as the refusal knows.
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        if let Self::TooMany(rate) = self { Some(*rate) } else { None }
    }
}

impl From<Locked> for Problem {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Unknown => Self::BadApiKey,
            Locked::Role | Locked::Account => Self::Forbidden,
            Locked::TooMany(rate) => Self::TooMany(rate),
            Locked::Broken => Self::Busy,
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::NotFound("uploadToken"),
            Fault::Busy | Fault::Exists | Fault::Away(_) => Self::Busy,
            Fault::Full => Self::Forbidden,
            Fault::WrongKey | Fault::Schema { .. } | Fault::TooDeep | Fault::Broken(_) => {
                tracing::error!(%fault, "the ledger failed a call");
                Self::Broken
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::CrossOrigin => Self::CrossOrigin,
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Unreadable | Refusal::Ambiguous => Self::BadPayload,
        }
    }
}

/// Puts the rate limit on an answer, as the vendor does on every one. There is no `Retry-After`.
pub fn put_rate(headers: &mut HeaderMap, rate: Rate) {
    // A key without a limit has one that nobody meets: SDKs read numbers here.
    let rate = if rate.limit == 0 { Rate { limit: NO_LIMIT, remaining: NO_LIMIT, resets: rate.resets } } else { rate };
    for (name, value) in
        [("x-ratelimit-limit", rate.limit), ("x-ratelimit-remaining", rate.remaining), ("x-ratelimit-retry-after", rate.resets)]
    {
        headers.insert(name, HeaderValue::from(value));
    }
}

/// The largest number that every language's SDK holds.
const NO_LIMIT: u32 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_list_of_errors() {
        for (problem, status, slug, title) in [
            (Problem::NoAuthorization, 401, "authentication-missing-authorization-header", "The \"Authorization\" header is missing."),
            (
                Problem::BadAuthorization,
                401,
                "authentication-invalid-authorization-header-value",
                "The \"Authorization\" header value is invalid.",
            ),
            (Problem::BadAccessToken, 401, "authentication-invalid-access-token", "The access token is invalid or expired."),
            (Problem::BadApiKey, 401, "authentication-invalid-api-key", "The API key is invalid."),
            (Problem::BadCredentials, 400, "authentication-invalid-user-credentials", "The user credentials were incorrect."),
            (Problem::Required("apiKey"), 400, "attribute-required", "This attribute is required."),
            (Problem::BadPayload, 400, "invalid-payload", "The payload is invalid."),
            (Problem::Parameter("sortBy", None), 400, "request-invalid-query-parameter", "A query parameter is invalid."),
            (Problem::NoAddress, 404, "unrecognized-request-url", "Unrecognized request URL."),
            (Problem::Method("GET"), 405, "method-not-allowed", "Method is not allowed for this route."),
            (Problem::TooMany(Rate::default()), 429, "too-many-requests", "Too many requests."),
        ] {
            let kind = format!("https://docs.api.video/reference/{slug}");
            let body = json!({ "type": kind, "title": title, "name": problem.name(), "status": status });
            assert_eq!((problem.answer().status().as_u16(), problem.body()), (status, body));
        }
    }

    #[test]
    fn problems_have_their_slug_and_name() {
        for (problem, body) in [
            (
                Problem::NotFound("uploadToken"),
                json!({ "type": "https://docs.api.video/reference/resource-not-found", "title": "The requested resource was not found.", "name": "uploadToken", "status": 404 }),
            ),
            (
                Problem::Attribute("ttl", "This value should be greater than or equal to 0.".into()),
                json!({
                    "type": "https://docs.api.video/reference/invalid-attribute", "title": "An attribute is invalid.", "name": "ttl", "status": 400,
                    "problems": [{ "type": "https://docs.api.video/reference/invalid-attribute", "title": "This value should be greater than or equal to 0.", "name": "ttl" }],
                }),
            ),
        ] {
            assert_eq!(problem.body(), body);
        }
        let range = Problem::Parameter("pageSize", Some((1, Some(100)))).body();
        assert_eq!((&range["range"], &range["status"]), (&json!({ "min": 1, "max": 100 }), &json!(400)));
    }

    #[test]
    fn every_answer_can_say_its_rate() {
        let mut headers = HeaderMap::new();
        put_rate(&mut headers, Rate { limit: 200, remaining: 199, resets: 60 });
        assert_eq!((&headers["x-ratelimit-limit"], &headers["x-ratelimit-retry-after"]), (&HeaderValue::from(200), &HeaderValue::from(60)));
        put_rate(&mut headers, Rate::default());
        assert_eq!(headers["x-ratelimit-remaining"], HeaderValue::from(NO_LIMIT));
    }
}

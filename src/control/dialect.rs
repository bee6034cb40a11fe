//! The vendors' APIs that the control listener speaks, each byte for byte as its official SDKs read it.
//!
//! A dialect is three things: how a request is read, how an answer is printed, and what is done to the
//! ledger in between. The first two are pure. What a vendor leaves open is decided here once, and said at the place.

pub mod apivideo;
pub mod cloudflare;
pub mod date;
pub mod form;
pub mod ziggeo;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::Answer;

/// An answer of JSON with exactly this media type.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// An answer without a body.
pub(super) fn nothing(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

//! `/openapi.json`: the own API in OpenAPI 3.1, for clients and for tests that hold it to its word.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;

use crate::control::Answer;

/// The description.
const TEXT: &str = include_str!("openapi.json");

pub(super) fn answer() -> Answer {
    let mut response = Response::new(Full::new(Bytes::from_static(TEXT.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

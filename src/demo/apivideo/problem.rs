//! Refusals of api.video, in the shape of RFC 7807 with a `name`.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::demo::vendor;

/// Where the slugs of errors are explained.
const PAGES: &str = "https://docs.api.video/reference/";

/// A refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    status: u16,
    slug: String,
    title: String,
    name: String,
    range: Option<Value>,
}

impl Problem {
    pub(super) fn new(status: u16, slug: impl Into<String>, title: &str) -> Self {
        Self { status, slug: slug.into(), title: title.into(), name: String::new(), range: None }
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(super) fn attribute(name: &str) -> Self {
        Self::new(400, "invalid-attribute", "An attribute is invalid.").named(name)
    }

    pub(super) fn required(name: &str) -> Self {
        Self::new(400, "attribute-required", "This attribute is required.").named(name)
    }

    pub(super) fn query(name: &str, most: usize) -> Self {
        let range = if most == usize::MAX { json!({ "min": 1 }) } else { json!({ "min": 1, "max": most }) };
        let title = "This parameter is out of the allowed range of values.";
        Self { range: Some(range), ..Self::new(400, "request-invalid-query-parameter", title).named(name) }
    }

    pub(super) fn not_found(name: &str) -> Self {
        Self::new(404, "resource-not-found", "The requested resource was not found.").named(name)
    }

    pub(super) fn method() -> Self {
        Self::new(405, "method-not-allowed", "Method is not allowed for this route.")
    }

    pub(super) fn unknown_url() -> Self {
        Self::new(404, "unrecognized-request-url", "Unrecognized request URL.")
    }

    pub(super) fn limited() -> Self {
        Self::new(429, "too-many-requests", "Too many requests.")
    }

    /// The usual one of a status.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::new(400, "invalid-payload", "The payload is invalid."),
            401 => Self::new(401, "authentication-invalid-access-token", "The access token is invalid or expired."),
            403 => Self::new(403, "authorization-suspended-account", "Suspended account"),
            404 => Self::unknown_url(),
            405 => Self::method(),
            429 => Self::limited(),
            _ => Self::new(status, "internal-server-error", "Something went wrong."),
        }
    }

    /// The answer, of the type that RFC 7807 names; the description says `application/json`, and clients take both.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let mut body = json!({ "type": format!("{PAGES}{}", self.slug), "title": self.title, "name": self.name, "status": self.status });
        if let Some(range) = self.range {
            body["problems"] = json!([{ "type": body["type"], "title": body["title"], "name": body["name"], "range": range }]);
            body["range"] = range;
        }
        vendor::typed(self.status, "application/problem+json", body.to_string())
    }
}

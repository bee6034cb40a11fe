//! Calls by pages in a browser: only pages of `control.allowed_origins` may make them.
//!
//! A browser names the page's origin with every request that a page of another one makes, but for plain looks (Fetch §3.2);
//! programs name none, and are not asked for one. What is public anyway is for every page.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::Answer;

/// What a page may be told to send, by any API that is spoken here.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Seconds for which a browser may remember an answer to a preflight.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");
/// What a page may read of an answer, beside its body.
const READABLE: HeaderValue = HeaderValue::from_static(
    "Idempotent-Replayed, Retry-After, WWW-Authenticate, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Retry-After, X-Request-Id",
);

/// Whose page a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    /// None, or one that does not say.
    Nobodys,
    /// One that may call; its origin.
    Known(HeaderValue),
    /// Another one.
    Foreign,
}

impl Page {
    /// What a request says, held against the origins that may call.
    pub(super) fn of(head: &http::request::Parts, allowed: &[String]) -> Self {
        let mut origins = head.headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => {
                let looks = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
                let elsewhere = head.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
                if elsewhere && !looks { Self::Foreign } else { Self::Nobodys }
            }
            (Some(origin), None) if allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) => Self::Known(origin.clone()),
            _ => Self::Foreign,
        }
    }

    /// Says on an answer who may read it.
    pub(super) fn decorate(&self, headers: &mut HeaderMap, public: bool) {
        let origin = match self {
            _ if public => HeaderValue::from_static("*"),
            Self::Known(origin) => origin.clone(),
            Self::Nobodys | Self::Foreign => return,
        };
        if !public {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READABLE);
    }
}

/// The answer to a preflight (Fetch §3.3), which comes without a key. Who reads it is said by [`Page::decorate`]. `None`: it is none.
pub(super) fn preflight(head: &http::request::Parts) -> Option<Answer> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut answer = super::dialect::nothing(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    // SDKs send fields of their own; which are taken is for the API to say, not for the browser.
    if let Some(wanted) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_apart() {
        let allowed = ["https://app.example.com".to_owned()];
        for (method, fields, wanted) in [
            ("POST", &[][..], Page::Nobodys),
            ("POST", &[("origin", "https://app.example.com")], Page::Known(HeaderValue::from_static("https://app.example.com"))),
            ("GET", &[("origin", "https://evil.example")], Page::Foreign),
            ("GET", &[("origin", "null")], Page::Foreign),
            ("GET", &[("origin", "https://app.example.com.evil.example")], Page::Foreign),
            ("POST", &[("origin", "https://app.example.com"), ("origin", "https://evil.example")], Page::Foreign),
            ("POST", &[("sec-fetch-site", "cross-site")], Page::Foreign),
            ("POST", &[("sec-fetch-site", "same-origin")], Page::Nobodys),
            ("GET", &[("sec-fetch-site", "cross-site")], Page::Nobodys),
        ] {
            let mut request = http::Request::builder().method(method).uri("/v1/tokens");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let head = request.body(()).expect("a head").into_parts().0;
            assert_eq!(Page::of(&head, &allowed), wanted, "{method} {fields:?}");
        }
    }
}

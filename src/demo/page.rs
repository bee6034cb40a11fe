//! The demo page: plays through the gateway, tries tokens that must be refused, and shows what the
//! gateway counted.
//!
//! The page is one file without outside resources. What it may run and where it may go is pinned by a
//! Content Security Policy: its own script and style by their digests, media and requests at the
//! gateway only. Links are escaped into attributes, never into script.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, InvalidHeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::net::TcpListener;

const TEMPLATE: &str = include_str!("page.html");

/// Where the buttons of the page lead. All are absolute URLs; an empty one hides what needs it.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// Multivariant HLS playlist with a good token.
    pub signed_hls: String,
    /// The same with a token whose time is over.
    pub expired_hls: String,
    /// The same with a token that was changed after it was signed.
    pub tampered_hls: String,
    /// The same without a token.
    pub bare_hls: String,
    /// DASH manifest with a good token.
    pub signed_dash: String,
    /// The metrics page of the admin listener.
    pub metrics: String,
}

/// What `/demo/status` tells the page. Absent numbers show as a dash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Requests that the gateway has answered.
    pub requests: u64,
    /// Token verdicts that were remembered instead of computed again.
    pub cache_hits: u64,
    /// Requests that reached the origin ([`super::origin::Origin::requests`]).
    pub origin_requests: u64,
    /// Refusals, by the `code` of the problem body.
    pub refusals: BTreeMap<String, u64>,
}

/// The page with its links filled in.
pub fn render(links: &Links) -> String {
    let values = [
        ("{{SIGNED_HLS}}", &links.signed_hls),
        ("{{EXPIRED_HLS}}", &links.expired_hls),
        ("{{TAMPERED_HLS}}", &links.tampered_hls),
        ("{{BARE_HLS}}", &links.bare_hls),
        ("{{SIGNED_DASH}}", &links.signed_dash),
        ("{{METRICS}}", &links.metrics),
    ];
    values.into_iter().fold(TEMPLATE.to_owned(), |page, (place, value)| page.replace(place, &escape(value)))
}

/// Text as the value of an HTML attribute. Braces go too, so that no value can hold a place for another.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '{' => escaped.push_str("&#123;"),
            '}' => escaped.push_str("&#125;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The page's Content Security Policy (CSP Level 3). `gateway` is the origin of the media,
/// `http://127.0.0.1:8080`, without a path.
pub fn content_security_policy(gateway: &str) -> String {
    let script = inline_digest(TEMPLATE, "<script>", "</script>");
    let style = inline_digest(TEMPLATE, "<style>", "</style>");
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src 'self' data:; connect-src 'self' {gateway}; \
         media-src blob: {gateway}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Digest of the element between `open` and `close`; holds no link, so it is the same for every rendering.
pub(super) fn inline_digest(template: &str, open: &str, close: &str) -> String {
    let text = template.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(text, _)| text);
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// The page as a server for a loopback port of its own.
#[derive(Clone)]
pub struct Page {
    html: Bytes,
    policy: HeaderValue,
    status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The page holds working links; they are not for logs.
        f.debug_struct("Page").field("bytes", &self.html.len()).finish_non_exhaustive()
    }
}

impl Page {
    /// A page with these links, for media at `gateway` (`http://127.0.0.1:8080`). `status` is asked about once a
    /// second per open page and must not block; it gives the JSON of a [`Status`].
    ///
    /// # Errors
    /// `gateway` holds what no header field can.
    pub fn new<S>(links: &Links, gateway: &str, status: S) -> Result<Self, InvalidHeaderValue>
    where
        S: Fn() -> serde_json::Value + Send + Sync + 'static,
    {
        let policy = HeaderValue::try_from(content_security_policy(gateway))?;
        Ok(Self { html: render(links).into(), policy, status: Arc::new(status) })
    }

    /// The answer to a request: `/` is the page, `/demo/status` the numbers.
    pub fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "method not allowed\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/" => {
                let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", self.html.clone());
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
                response
            }
            "/demo/status" => answer(StatusCode::OK, "application/json", (self.status)().to_string().into()),
            _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".into()),
        }
    }

    /// Serves on `listener` until `shutdown`.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let page = self.clone();
        super::serve(listener, shutdown, move |head| page.respond(&head.method, head.uri.path())).await;
    }
}

pub(super) fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests;

//! The recorder page: records in the browser and uploads through the gateway, with a token of the gateway's own.
//!
//! Like the player's page it is one file without outside resources, pinned by a Content Security Policy. Nothing that the provider issues is
//! ever given to it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, InvalidHeaderValue};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

use super::page::{answer, escape, inline_digest};

const TEMPLATE: &str = include_str!("recorder.html");

/// The page as a server for a loopback port of its own.
#[derive(Clone)]
pub struct Recorder {
    html: Bytes,
    policy: HeaderValue,
    files: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The page holds a working link; it is not for logs.
        f.debug_struct("Recorder").field("bytes", &self.html.len()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A page that uploads to `upload`, a signed URL of the gateway at `gateway` (`http://127.0.0.1:8080`). `files` tells what has come:
    /// `{"files": [{"video", "bytes", "whole"}]}`; it must not block.
    ///
    /// # Errors
    /// `gateway` holds what no header field can.
    pub fn new<F>(upload: &str, gateway: &str, files: F) -> Result<Self, InvalidHeaderValue>
    where
        F: Fn() -> serde_json::Value + Send + Sync + 'static,
    {
        let (script, style) = (inline_digest(TEMPLATE, "<script>", "</script>"), inline_digest(TEMPLATE, "<style>", "</style>"));
        let policy = format!(
            "default-src 'none'; script-src '{script}'; style-src '{style}'; img-src 'self' data:; connect-src 'self' {gateway}; \
             media-src blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let html = TEMPLATE.replace("{{UPLOAD}}", &escape(upload));
        Ok(Self { html: html.into(), policy: HeaderValue::try_from(policy)?, files: Arc::new(files) })
    }

    /// The answer to a request: `/` is the page, `/demo/uploads` what has come.
    #[must_use]
    pub fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match (method, path) {
            (&(Method::GET | Method::HEAD), "/") => {
                let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", self.html.clone());
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
                response
            }
            (&(Method::GET | Method::HEAD), "/demo/uploads") => {
                answer(StatusCode::OK, "application/json", (self.files)().to_string().into())
            }
            _ => answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".into()),
        }
    }

    /// Serves on `listener` until `shutdown`.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let page = self.clone();
        super::serve(listener, shutdown, move |head| page.respond(&head.method, head.uri.path())).await;
    }
}

//! An origin with a short film in it, under `/vod/`: what a gateway is put in front of.
//!
//! It refuses nobody and knows no token. It does what a good origin does (ranges, validators, types,
//! lengths), because a gateway must pass exactly that on. Answers depend on the request head only.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;

/// Path of the multivariant HLS playlist.
pub const HLS: &str = "/vod/master.m3u8";
/// Path of the DASH manifest of the same segments.
pub const DASH: &str = "/vod/manifest.mpd";
/// Path of a still picture.
pub const POSTER: &str = "/vod/poster.jpg";
/// Path of the film as one file.
pub const DOWNLOAD: &str = "/vod/download.mp4";
/// Path that tells which header and query names arrived; see [`respond`].
pub const ECHO: &str = "/vod/echo";
/// Length of the film in seconds.
pub const SECONDS: f64 = 24.0;

const FOLDER: &str = "/vod/";

/// A file of the film.
struct MediaFile {
    bytes: Bytes,
    etag: HeaderValue,
    kind: &'static str,
    cache: &'static str,
}

impl MediaFile {
    fn new(name: &str, bytes: &'static [u8]) -> Self {
        let sum = digest(&SHA256, bytes);
        let hex = sum.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // Hex digits in quotes are always a header value.
        let etag = HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        let (kind, cache) = match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "m3u8" => ("application/vnd.apple.mpegurl", "public, max-age=10"),
            "mpd" => ("application/dash+xml", "public, max-age=10"),
            "m4s" => ("video/iso.segment", "public, max-age=3600"),
            "mp4" => ("video/mp4", "public, max-age=3600"),
            "jpg" => ("image/jpeg", "public, max-age=3600"),
            _ => ("application/octet-stream", "no-cache"),
        };
        Self { bytes: Bytes::from_static(bytes), etag, kind, cache }
    }

    /// Status 200 or what the caller makes of it, with the fields that every answer about a file carries.
    fn head(&self, status: StatusCode) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.cache));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        response
    }
}

macro_rules! media {
    ($($name:literal)* ; $(track $track:literal: $($number:literal)*;)*) => {
        BTreeMap::from([
            $(media!(@file $name),)*
            $(media!(@file concat!("init-", $track, ".mp4")),)*
            $($(media!(@file concat!("seg-", $track, "-", $number, ".m4s")),)*)*
        ])
    };
    (@file $name:expr) => {
        ($name, MediaFile::new($name, include_bytes!(concat!("media/", $name))))
    };
}

static FILES: LazyLock<BTreeMap<&'static str, MediaFile>> = LazyLock::new(|| {
    media! {
        "master.m3u8" "media_0.m3u8" "media_1.m3u8" "media_2.m3u8" "manifest.mpd" "poster.jpg" "download.mp4";
        track 0: 1 2 3 4 5 6 7 8 9 10 11 12;
        track 1: 1 2 3 4 5 6 7 8 9 10 11 12;
        track 2: 1 2 3 4 5 6 7 8 9 10 11 12;
    }
});

/// The origin's answer to a request, from its method, its target (path, with or without a query) and
/// its header fields (RFC 9110 §13 conditional requests, §14 ranges).
///
/// A file is served by its name under `/vod/`; the query is ignored, as a static origin does. Several
/// ranges at once are answered with the whole file, which §14.2 allows. [`ECHO`] answers with the
/// *names* of the header fields and query parameters that arrived and never with a value, so that
/// one can see that a token stayed behind.
pub fn respond(method: &Method, target: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "method not allowed\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let response = if path == ECHO {
        echo(query, headers)
    } else if let Some(file) = path.strip_prefix(FOLDER).and_then(|name| FILES.get(name)) {
        serve_file(file, method, headers)
    } else {
        plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".into())
    };
    if method == Method::HEAD { response.map(|_| Full::default()) } else { response }
}

fn serve_file(file: &MediaFile, method: &Method, headers: &HeaderMap) -> Response<Full<Bytes>> {
    if headers.get_all(IF_NONE_MATCH).iter().any(|list| names_etag(list, &file.etag)) {
        return file.head(StatusCode::NOT_MODIFIED);
    }
    let length = file.bytes.len();
    // Range is defined for GET only (§14.2), and If-Range makes it count only while the file is the same (§13.1.5).
    let same = headers.get(IF_RANGE).is_none_or(|validator| validator == file.etag);
    let range = headers.get(RANGE).filter(|_| method == Method::GET && same);
    let (status, content_range, body) = match range.map_or(Range::Whole, |value| Range::parse(value, length)) {
        Range::Whole => (StatusCode::OK, None, file.bytes.clone()),
        Range::Part(first, last) => {
            let line = format!("bytes {first}-{last}/{length}");
            (StatusCode::PARTIAL_CONTENT, Some(line), file.bytes.slice(first..=last))
        }
        Range::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, Some(format!("bytes */{length}")), Bytes::new()),
    };
    let mut response = file.head(status);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(line) = content_range.and_then(|line| HeaderValue::try_from(line).ok()) {
        response.headers_mut().insert(CONTENT_RANGE, line);
    }
    *response.body_mut() = Full::new(body);
    response
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn echo(query: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let fields: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    // A pair without `=` might be a token all by itself, so it is a value.
    let parameters: Vec<&str> = pairs.map(|pair| pair.split_once('=').map_or("(no name)", |(name, _)| name)).collect();
    let body = serde_json::json!({ "headers": fields, "query": parameters });
    plain(StatusCode::OK, "application/json", body.to_string())
}

/// Whether a list of entity tags holds this one, in the weak comparison of RFC 9110 §13.1.2.
fn names_etag(list: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(list), Ok(etag)) = (list.to_str(), etag.to_str()) else { return false };
    list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// What a Range field asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Everything: no range, one that is not understood, or several.
    Whole,
    /// From the first to the last byte, both included and inside the file.
    Part(usize, usize),
    /// Nothing that the file has.
    Outside,
}

impl Range {
    /// RFC 9110 §14.1.2; `length` is the file's, in bytes.
    fn parse(value: &HeaderValue, length: usize) -> Self {
        let set = value.to_str().ok().and_then(|text| text.trim().strip_prefix("bytes="));
        let Some((first, last)) = set.and_then(|set| set.trim().split_once('-')) else { return Self::Whole };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Self::within(first, last, length),
            (Some(first), None) if last.is_empty() => Self::within(first, usize::MAX, length),
            (None, Some(0)) if first.is_empty() => Self::Outside,
            (None, Some(count)) if first.is_empty() => Self::within(length.saturating_sub(count), usize::MAX, length),
            _ => Self::Whole,
        }
    }

    fn within(first: usize, last: usize, length: usize) -> Self {
        match length.checked_sub(1) {
            Some(end) if first <= end => Self::Part(first, last.min(end)),
            _ => Self::Outside,
        }
    }
}

fn number(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than fit mean "further than any file is long".
    Some(text.parse().unwrap_or(usize::MAX))
}

/// The origin as a server, and how often it was asked. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    requests: Arc<AtomicU64>,
}

impl Origin {
    /// An origin that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests that reached it so far, whatever the answer.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Serves on `listener` until `shutdown`; answers under way are then cut.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let requests = Arc::clone(&self.requests);
        super::serve(listener, shutdown, move |head| {
            requests.fetch_add(1, Ordering::Relaxed);
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            respond(&head.method, target, &head.headers)
        })
        .await;
    }
}

/// Serves the origin on `listener` until `shutdown`, for those who do not ask how often.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) {
    Origin::new().serve(listener, shutdown).await;
}

#[cfg(test)]
mod tests;

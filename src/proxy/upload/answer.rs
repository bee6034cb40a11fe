//! What an origin's answer says of an upload: where its place is, how far it has come, what its video is called.

use http::header::{HeaderMap, HeaderValue, LOCATION, RANGE};
use http::{Method, Response, StatusCode, Uri};

use super::find;
use super::job::{Head, Job};
use crate::proxy::body::Watch;
use crate::proxy::{Body, Error, Route};
use crate::upload::{self, Kind, Piece, UPLOAD_LENGTH, UPLOAD_OFFSET};

/// The answer, with the upload moved on by it.
pub(super) fn settle(mut job: Job, mut response: Response<Body>) -> Result<Response<Body>, Error> {
    let status = response.status();
    let taken = status.is_success();
    if taken {
        job.state.metrics.uploads_bytes.with_label_values(&[job.route.name.as_str()]).inc_by(job.counted.get());
    }
    match job.kind {
        Kind::Whole => job.end(if taken { "whole" } else { "failed" }),
        Kind::Create => created(&mut job, &mut response),
        Kind::Place if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            // It speaks of what the gateway showed, not of the caller, who would begin again at zero.
            job.settle();
            return Err(Error::UploadLocked);
        }
        Kind::Place => at_place(&mut job, &response),
        Kind::Part(piece) => return Ok(part(job, piece, response)),
    }
    Ok(response)
}

fn part(mut job: Job, piece: Piece, response: Response<Body>) -> Response<Body> {
    if !response.status().is_success() {
        job.broke_off();
        return response;
    }
    let upload = job.current();
    if upload.took(job.counted.get(), Some(piece)) || piece.is_alone() {
        job.end("whole");
        return response;
    }
    job.settle();
    if upload.video().is_some() {
        upload.has_id();
        return response;
    }
    response.map(|body| body.watched(Box::new(Learn { job, text: Vec::new() })))
}

/// Reads the video's id out of the answer to a first part. The upload counts as busy until then.
struct Learn {
    job: Job,
    text: Vec<u8>,
}

/// Longest answer that is searched for an id: a whole video object has about 2 KiB.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Longest id; theirs have 24 characters.
const LONGEST_ID: usize = 128;

impl Watch for Learn {
    fn saw(&mut self, data: &[u8]) {
        let upload = self.job.current();
        if upload.video().is_some() || self.text.len() + data.len() > LONGEST_ANSWER {
            return;
        }
        self.text.extend_from_slice(data);
        if !self.text.trim_ascii_end().ends_with(b"}") {
            return;
        }
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&self.text) else { return };
        let plain =
            |id: &&str| !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if let Some(id) = answer.get("videoId").and_then(serde_json::Value::as_str).filter(plain) {
            self.job.state.uploads.set_video(&upload, &self.job.route.name, id);
        }
    }
}

impl Drop for Learn {
    fn drop(&mut self) {
        self.job.current().has_id();
    }
}

fn created(job: &mut Job, response: &mut Response<Body>) {
    let upload = job.current();
    let place = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let place = place.filter(|_| response.status().is_success()).and_then(|text| here(text, &job.head, &job.route));
    let Some((location, place)) = place else {
        // Nothing of it can come here again.
        return job.end(if response.status().is_success() { "whole" } else { "failed" });
    };
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, value);
    }
    job.state.uploads.set_place(&upload, &job.route.name, &place);
    let offset = upload::number(response.headers(), &UPLOAD_OFFSET);
    // A file without bytes is whole at once (tus 1.0.0 "Creation").
    let offset = offset.or_else(|| (upload.length() == Some(0)).then_some(0));
    if offset.is_some_and(|offset| upload.is_at(offset)) {
        job.end("whole");
    }
    job.settle();
}

fn at_place(job: &mut Job, response: &Response<Body>) {
    let upload = job.current();
    let (status, headers) = (response.status(), response.headers());
    let gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    if gone || (job.head.method == Method::DELETE && status.is_success()) {
        job.end("given_up");
        return;
    }
    if let Some(length) = upload::number(headers, &UPLOAD_LENGTH).filter(|_| status.is_success()) {
        upload.set_length(length);
    }
    let offset = upload::number(headers, &UPLOAD_OFFSET).filter(|_| status.is_success());
    let whole = match (offset, job.head.piece) {
        (Some(offset), _) => upload.is_at(offset),
        (None, Some(piece)) => by_range(job, piece, status, headers),
        (None, None) => job.head.method == Method::PUT && status.is_success(),
    };
    if whole {
        job.end("whole");
    }
    job.settle();
}

/// Resumable `PUT`s in ranges: 308 with what is there so far in `Range`, 200 or 201 at the end.
fn by_range(job: &Job, piece: Piece, status: StatusCode, headers: &HeaderMap) -> bool {
    let upload = job.current();
    if status == StatusCode::PERMANENT_REDIRECT {
        let said = headers.get(RANGE).and_then(|value| value.to_str().ok()?.rsplit_once('-')?.1.parse::<u64>().ok());
        upload.is_at(said.map_or(0, |last| last.saturating_add(1)));
        return false;
    }
    status.is_success() && {
        upload.took(job.counted.get(), Some(piece));
        true
    }
}

/// The ticket at the end of an address that an inner room has mapped.
fn ticket<'p>(path: &'p str, route: &Route) -> Option<&'p str> {
    let answers = route.answers.as_ref().filter(|answers| answers.headers.contains(&LOCATION))?;
    let ticket = path.rsplit('/').next()?.strip_prefix(answers.marker.as_str())?;
    Some(ticket.strip_prefix('~').unwrap_or(ticket))
}

/// An origin's `Location` as callers reach it, and the name of its place; `None` when it leads past this gateway.
fn here(text: &str, head: &Head, route: &Route) -> Option<(String, String)> {
    let (path, query, own) = if text.starts_with('/') && !text.starts_with("//") {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        (path.to_owned(), query.map(str::to_owned), false)
    } else if let Ok(uri) = text.parse::<Uri>()
        && let Some(authority) = uri.authority()
    {
        let own = authority.as_str().eq_ignore_ascii_case(&head.authority);
        if !own && !is_origin(authority.as_str(), route) {
            return None;
        }
        (uri.path().to_owned(), uri.query().map(str::to_owned), own)
    } else {
        // Relative to the request: the caller resolves it as it stands.
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let folder = head.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        return Some((text.to_owned(), find::place_of(&format!("{folder}/{}", path.trim_start_matches("./")), query, &[])));
    };
    if let Some(ticket) = ticket(&path, route).filter(|_| own) {
        return Some((text.to_owned(), find::mapped(ticket)));
    }
    let path = if own { path } else { ours(&path, route) };
    let place = find::place_of(&path, query.as_deref(), &[]);
    let scheme = if head.https { "https" } else { "http" };
    Some((format!("{scheme}://{}{place}", head.authority), place))
}

fn is_origin(authority: &str, route: &Route) -> bool {
    let named = if let crate::proxy::origin::HostPolicy::Fixed(host) = &route.origin.config.host { Some(host.as_str()) } else { None };
    let endpoints = route.origin.endpoints.iter().filter_map(|endpoint| endpoint.authority.to_str().ok());
    endpoints.chain(named).any(|own| own.eq_ignore_ascii_case(authority))
}

/// A path at the origin as it is called here.
fn ours(path: &str, route: &Route) -> String {
    let below = route.rewrite_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    match below.filter(|below| below.is_empty() || below.starts_with('/')) {
        Some(below) => format!("{}{below}", crate::path::percent_encode(&route.prefix)),
        None => path.to_owned(),
    }
}

//! Preflights, answered before any token is asked for (Fetch §3.3): a browser never sends one with credentials.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};

use super::Body;
use super::filter::Answer;
use super::request::Routed;
use crate::route::plan::Cors;

/// The room.
#[derive(Debug, Clone)]
pub struct Preflight;

/// What players and uploaders send. Named one by one: `*` does not cover `Authorization`, and means
/// nothing when credentials come along.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Range, Content-Range, Content-Type, If-None-Match, If-Range, If-Modified-Since, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, AV-Origin-Client, AV-Origin-App, AV-Origin-Sdk, X-Playback-Session-Id, X-Request-Id, X-Token-Session, traceparent, tracestate",
);

/// What a page may read of an answer.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Length, Content-Range, Date, ETag, Location, Retry-After, Server-Timing, Stream-Media-Id, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Concat, Upload-Defer-Length, Upload-Expires, CMSD-Static, CMSD-Dynamic, X-Request-Id, X-Token-Session",
);

impl Answer<Routed> for Preflight {
    fn answer(&self, routed: &Routed) -> Option<Response<Body>> {
        let head = &routed.request.head;
        if head.method != Method::OPTIONS {
            return None;
        }
        let is_preflight = head.headers.contains_key(ORIGIN) && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        // tus 1.0.0 "OPTIONS": what the origin can do is for those who may upload.
        if !is_preflight && routed.route.upload.is_some() && super::verify_token::has_token(routed) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let settled = &routed.request.settled;
        headers.insert(ALLOW, routed.request.state.plan.allow(&settled.host, &settled.path));
        // A plain OPTIONS is answered here as well: what an origin would say is of no use without a token.
        if is_preflight && allow_origin(headers, &head.headers, &routed.route.cors) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, routed.route.allow_methods.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, routed.route.cors.max_age.clone());
        }
        Some(response)
    }
}

/// Says who may read; `false` when the asking page may not.
fn allow_origin(to: &mut HeaderMap, from: &HeaderMap, cors: &Cors) -> bool {
    if cors.varies() {
        to.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(allowed) = from.get(ORIGIN).and_then(|origin| cors.allow(origin)) else { return false };
    to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.credentials {
        to.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    true
}

/// Puts the CORS fields on any other answer, in place of what the origin may have said.
pub fn decorate(to: &mut HeaderMap, origin: Option<&HeaderValue>, cors: &Cors) {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
        to.remove(name);
    }
    let told = to.get_all(VARY).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"origin"));
    if cors.varies() && !told {
        to.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(allowed) = origin.and_then(|origin| cors.allow(origin)) else { return };
    to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    to.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    if cors.credentials {
        to.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The same where no route is known: a page may at least read why it was refused.
pub fn decorate_unrouted(to: &mut HeaderMap, origin: Option<&HeaderValue>) {
    if origin.is_some() {
        to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        to.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
}

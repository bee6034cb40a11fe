//! The request as the origin shall get it: the token taken out, the route's prefix replaced, our own
//! fields set once.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, REFERER};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, Version};

use super::guard::Settled;
use super::inject::Trail;
use super::origin::HostPolicy;
use super::request::{Admitted, Outbound, Proof, Request, Routed};
use super::{Error, Filter, Route};
use crate::clock::UnixTime;
use crate::credential::signed::Target;
use crate::path::CleanPath;
use crate::token::carrier::{self, Strip};
use crate::token::{Grant, RequestFacts, SignError, Signed};

/// The room.
#[derive(Debug, Clone)]
pub struct PrepareOutbound;

impl Filter<Admitted> for PrepareOutbound {
    type Out = Outbound;

    fn check(&self, admitted: Admitted) -> Result<Outbound, Error> {
        let Admitted { routed, proof, session, upload } = admitted;
        let mut trail = Trail::of(&routed, (&proof, session.as_deref()), upload)?;
        let uri = match trail.as_mut().and_then(|trail| trail.target.take()) {
            Some(target) => Some(target),
            None => own_target(&routed, &proof)?,
        };
        let request = &routed.request;
        let elsewhere = trail.as_ref().is_some_and(|trail| trail.is_foreign());
        let signed = if elsewhere {
            None
        } else {
            signed(
                &routed.route,
                (&request.settled.authority, &request.head.headers),
                &|| request.state.clock.now(),
                uri.as_ref().unwrap_or(&request.head.uri),
            )?
        };
        let mut outbound = outbound(routed, &proof, uri);
        outbound.trail = trail;
        if let Some(anew) = signed {
            outbound.head.uri = uri_of(&anew.signed)?;
            add(&mut outbound.head.headers, &anew)?;
        }
        Ok(outbound)
    }
}

/// The target that the caller asked for, as the origin gets it; `None` when it stays as it came.
fn own_target(routed: &Routed, proof: &Proof) -> Result<Option<Uri>, Error> {
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let (strip, grant) = proof.strip_and_grant();
    Ok(match target(&facts, &routed.route, strip, grant)? {
        Some(target) => Some(uri(&target)?),
        None if routed.ticketed.is_some() => Some(uri(&same_target(&facts))?),
        None => None,
    })
}

/// A request signed anew.
pub struct SignedAnew {
    /// What is sent.
    pub signed: Signed,
    /// What of the viewer's stood where the origin looks for it.
    pub strip: Vec<Strip>,
}

/// What is sent instead of `asked` on a route that signs for its origin.
///
/// # Errors
/// [`Error::Denied`] when the path holds what the origin would take for the signature; [`Error::Unsignable`] when the scheme has
/// no words for it; [`Error::CredentialUnavailable`] while there is no key.
pub fn signed(
    route: &Route,
    (authority, headers): (&str, &HeaderMap),
    now: &dyn Fn() -> UnixTime,
    asked: &Uri,
) -> Result<Option<SignedAnew>, Error> {
    let Some(signer) = &route.upstream_sign else { return Ok(None) };
    let origin = &route.origin;
    let endpoint = origin.endpoints.first().ok_or(Error::Internal)?;
    let host = match &origin.config.host {
        HostPolicy::Preserve => authority,
        HostPolicy::Fixed(name) => name.as_str(),
        HostPolicy::Endpoint => endpoint.authority.to_str().map_err(|_| Error::Internal)?,
    };
    let target = Target { https: endpoint.tls.is_some(), host, path: asked.path(), query: asked.query() };
    let strip = signer.in_the_way(target, headers)?;
    let taken = |name: &str| strip.iter().any(|s| matches!(s, Strip::Query(taken) if taken == name));
    let query = target.query.and_then(|query| crate::query::without(query, taken));
    let signed = signer.sign(Target { query: query.as_deref(), ..target }, now()).map_err(|fault| unsigned(route, &fault))?;
    Ok(Some(SignedAnew { signed, strip }))
}

/// How long a caller is asked to wait for a key: sets that are fetched are tried anew that often.
const KEY_AWAITED: Duration = Duration::from_secs(1);

fn unsigned(route: &Route, fault: &SignError) -> Error {
    match fault {
        // What a caller asks for is no fault of ours, and must not fill the log of faults.
        SignError::CannotExpress(_) | SignError::NoWords(_) | SignError::Refused(_) => {
            tracing::debug!(route = %route.name, %fault, "a request cannot be signed for its origin");
            Error::Unsignable
        }
        SignError::NoKey(_) => {
            tracing::error!(route = %route.name, %fault, "there is no key to sign for an origin with");
            Error::CredentialUnavailable(KEY_AWAITED)
        }
        SignError::CannotSign | SignError::Crypto => {
            tracing::error!(route = %route.name, %fault, "a request cannot be signed for its origin");
            Error::Internal
        }
    }
}

/// A path that grew too long with its signature, or holds what may not stand in a target, is one that cannot be signed.
fn uri_of(signed: &Signed) -> Result<Uri, Error> {
    let target = signed.query.as_ref().map_or_else(|| signed.path.clone(), |query| format!("{}?{query}", signed.path));
    uri(&target).map_err(|_| Error::Unsignable)
}

/// Cookies stand beside the viewer's own; nothing that the origin would read as a signature comes from the viewer.
fn add(headers: &mut HeaderMap, anew: &SignedAnew) -> Result<(), Error> {
    carrier::strip_headers(headers, &anew.strip);
    for (name, value) in &anew.signed.fields().ok_or(Error::Unsignable)? {
        if name == COOKIE {
            headers.append(COOKIE, value.clone());
        } else {
            headers.insert(name.clone(), value.clone());
        }
    }
    Ok(())
}

/// The path and query for the origin, or `None` when they stay as the rules saw them.
///
/// # Errors
/// [`Error::BadPath`] when the path would not be clean: a segment that may hold a token was let in, and none was taken out of it.
pub fn target(facts: &RequestFacts<'_>, route: &Route, strip: &[Strip], grant: Option<&Grant>) -> Result<Option<String>, Error> {
    let strip = taken_out(route, strip);
    let in_uri = strip.iter().any(|s| !matches!(s, Strip::Header(_) | Strip::Cookie(_)));
    let adds = grant.is_some_and(|grant| !grant.upstream_query.is_empty());
    if !in_uri && !adds && route.rewrite_prefix.is_none() {
        if route.takes_path_tokens() {
            CleanPath::parse(facts.path.raw())?;
        }
        return Ok(None);
    }
    let none = Grant::default();
    let (path, query) = carrier::target(facts, &strip, grant.unwrap_or(&none));
    CleanPath::parse(&path)?;
    let mut target = with_prefix(route, &path, facts.mount);
    if let Some(query) = query {
        target.push('?');
        target.push_str(&query);
    }
    Ok(Some(target))
}

/// What must not reach the origin: a ticket never, also where it came along beside a token; the token not unless the route
/// hands it on.
fn taken_out<'s>(route: &Route, strip: &'s [Strip]) -> Cow<'s, [Strip]> {
    let strip = if route.forward_token { &[] } else { strip };
    match route.session.as_ref().and_then(|session| session.strip.as_ref()).filter(|ticket| !strip.contains(ticket)) {
        None => Cow::Borrowed(strip),
        Some(ticket) => strip.iter().chain([ticket]).cloned().collect(),
    }
}

/// Path and query as the rules saw them.
fn same_target(facts: &RequestFacts<'_>) -> String {
    facts.query.map_or_else(|| facts.path.raw().to_owned(), |query| format!("{}?{query}", facts.path.raw()))
}

fn with_prefix(route: &Route, path: &str, mount: usize) -> String {
    let Some(prefix) = &route.rewrite_prefix else { return path.to_owned() };
    let rest = &path[mount.min(path.len())..];
    let path = format!("{prefix}{rest}");
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn uri(target: &str) -> Result<Uri, Error> {
    // A claim with a character that may not stand in a target would end here; ids never hold one.
    PathAndQuery::try_from(target).map(Uri::from).map_err(|_| Error::Internal)
}

fn outbound(routed: Routed, proof: &Proof, uri: Option<Uri>) -> Outbound {
    let Routed { request, route, ticketed, .. } = routed;
    let routed_by_ticket = ticketed.is_some();
    let Request { mut head, body, record, settled, state } = request;
    let Settled { authority, https, forwarded_for, .. } = settled;
    if let Some(uri) = uri {
        head.uri = uri;
    }
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let strip = taken_out(&route, proof.strip_and_grant().0);
    carrier::strip_headers(&mut head.headers, &strip);
    if !route.forward_token || routed_by_ticket || !strip.is_empty() {
        strip_referer(&mut head.headers, &strip, routed_by_ticket);
    }
    set_ours(&mut head, &forwarded_for, (&authority, https), &record);
    let private = !matches!(proof, Proof::Public);
    let pace = proof.strip_and_grant().1.and_then(|grant| grant.pace);
    Outbound { head, body, record, route, authority, state, private, pace, trail: None }
}

/// A page that was itself reached by a tokened URL would send that URL along.
fn strip_referer(headers: &mut HeaderMap, strip: &[Strip], by_ticket: bool) {
    let Some(referer) = headers.get(REFERER) else { return };
    let text = referer.to_str().unwrap_or("");
    let (page, query) = text.split_once('?').map_or((text, None), |(page, query)| (page, Some(query)));
    let in_path = by_ticket || strip.iter().any(|s| matches!(s, Strip::Segment(_) | Strip::SegmentToResource(_) | Strip::PathParameter(_)));
    // Where tokens ride in the path, any path may hold one: only the web origin is safe to send.
    let page = if in_path { origin_of(page) } else { page };
    let taken = |name: &str| strip.iter().any(|s| matches!(s, Strip::Query(taken) if taken == name));
    let query = query.filter(|_| !in_path).and_then(|query| crate::query::without(query, taken));
    let kept = query.map_or_else(|| page.to_owned(), |query| format!("{page}?{query}"));
    match HeaderValue::from_str(&kept) {
        Ok(value) if !kept.is_empty() => headers.insert(REFERER, value),
        _ => headers.remove(REFERER),
    };
}

fn origin_of(page: &str) -> &str {
    let from = page.find("://").map_or(0, |at| at + 3);
    page[from..].find('/').map_or(page, |at| &page[..=from + at])
}

fn set_ours(head: &mut Parts, chain: &str, came: (&str, bool), record: &super::record::Record) {
    let headers = &mut head.headers;
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(FORWARDED_FOR, chain);
    set(FORWARDED_HOST, came.0);
    set(REQUEST_ID, &record.id);
    set(TRACE_PARENT, &record.trace);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if came.1 { "https" } else { "http" }));
}

// Made once: a header name is validated each time it is made from text.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_cookies_take_the_place_of_the_viewers() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=1; sig=forged"));
        let signed = Signed { cookies: vec![("sig".into(), "x".into()), ("key".into(), "y".into())], ..Signed::default() };
        add(&mut headers, &SignedAnew { signed, strip: vec![Strip::Cookie("sig".into())] }).expect("added");
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1", "sig=x; key=y"]);
    }

    #[test]
    fn a_referer_keeps_no_token() {
        let mut headers = HeaderMap::new();
        headers.insert(REFERER, HeaderValue::from_static("https://a.example/p?token=x&b=1"));
        strip_referer(&mut headers, &[Strip::Query("token".into())], false);
        assert_eq!(headers[REFERER], "https://a.example/p?b=1");
        headers.insert(REFERER, HeaderValue::from_static("https://a.example/eyJ.x.y/watch?z"));
        strip_referer(&mut headers, &[Strip::SegmentToResource(0)], false);
        assert_eq!(headers[REFERER], "https://a.example/");
    }
}

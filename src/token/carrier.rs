//! Where tokens ride, how they are found, and how they are taken out before the request goes on.
//!
//! A scheme says where its token is and what must not reach the origin ([`Strip`]); taking it out
//! ([`target`], [`strip_headers`]) is written once. Every value of a name is looked at: a second
//! one is a [`Denial::Duplicate`], never ignored.

pub mod config;

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue, InvalidHeaderValue};

use super::{Denial, Grant, RequestFacts};
use crate::path::CleanPath;
use crate::query;

/// A field's value that is kept out of debug output, and out of the compression tables of HTTP/2 (RFC 7541 §7.1.3).
///
/// # Errors
/// The text holds what no field may (RFC 9110 §5.5).
pub fn field_value(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where a token rides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The first path segment below the route's prefix.
    PathSegment,
    /// A segment `prefix~TOKEN` below the route's prefix, such as `/t=TOKEN/…`; the text is the prefix with its sign.
    PathPrefixed(String),
    /// A path parameter `;name=TOKEN` of any one segment.
    PathParameter(String),
    /// A query parameter.
    Query(String),
    /// A header, with a prefix such as `Bearer ` that must stand before the token (compared without case).
    Header(HeaderName, String),
    /// A cookie.
    Cookie(String),
}

/// A token as found in a request.
#[derive(Debug, Clone)]
pub struct Presented<'r> {
    /// The token's text, decoded from its carrier.
    pub token: Cow<'r, str>,
    /// What to take out before the request goes upstream.
    pub strip: Vec<Strip>,
}

impl Presented<'_> {
    /// The path without the token, as the origin will see it: what a token that says paths is asked about. `None` where it does
    /// not stand in the path, or its resource takes its place there.
    ///
    /// # Errors
    /// [`Denial::Path`] when what is left is not clean.
    pub fn bare_path(&self, facts: &RequestFacts<'_>) -> Result<Option<CleanPath>, Denial> {
        if !self.strip.iter().any(|strip| matches!(strip, Strip::Segment(_) | Strip::PathParameter(_))) {
            return Ok(None);
        }
        let path = target_path(facts, &self.strip, &Grant::default());
        CleanPath::parse(&path).map(Some).map_err(|_| Denial::Path)
    }
}

/// Something that must not reach the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strip {
    /// Query parameters of this name.
    Query(String),
    /// The raw path segment with this index below the route's prefix.
    Segment(usize),
    /// The same, replaced by the grant's resource (Cloudflare Stream: the uid instead of the token).
    SegmentToResource(usize),
    /// Path parameters of this name, in every segment.
    PathParameter(String),
    /// Every header of this name.
    Header(HeaderName),
    /// Cookies of this name.
    Cookie(String),
}

/// A named place in a request, where some scheme may have its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where<'n> {
    /// A query parameter, its name decoded.
    Query(&'n str),
    /// A cookie.
    Cookie(&'n str),
    /// A header.
    Header(&'n HeaderName),
    /// A path parameter.
    PathParameter(&'n str),
    /// A path segment, by its whole text.
    Segment(&'n str),
}

impl Carrier {
    /// Whether a token here would be found in `place`. The first segment of a path has no name, and is none.
    #[must_use]
    pub fn reads(&self, place: Where<'_>) -> bool {
        match (self, place) {
            (Self::Query(name), Where::Query(here))
            | (Self::Cookie(name), Where::Cookie(here))
            | (Self::PathParameter(name), Where::PathParameter(here)) => name == here,
            (Self::Header(name, _), Where::Header(here)) => name == here,
            (Self::PathPrefixed(start), Where::Segment(here)) => here.starts_with(start),
            _ => false,
        }
    }

    /// Finds the token here. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// [`Denial::Duplicate`] when the place holds more than one; [`Denial::Malformed`] when its encoding is broken.
    pub fn find<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        match self {
            Self::PathSegment => Ok(first_segment(facts).map(|token| presented(token.into(), Strip::Segment(0)))),
            Self::PathPrefixed(prefix) => path_prefixed(facts, prefix),
            Self::PathParameter(name) => path_parameter(facts, name),
            Self::Query(name) => query_parameter(facts, name),
            Self::Header(name, prefix) => header(facts, name, prefix),
            Self::Cookie(name) => cookie(facts, name),
        }
    }
}

/// The token of a request of what was `found` of it, place by place. The same token in several places is one, taken out of
/// all of them; which of two different ones speaks, `choose` says.
///
/// # Errors
/// The first one of `found`; [`Denial::Ambiguous`] when `choose` chooses none.
pub fn one_of<'r>(
    found: impl IntoIterator<Item = Result<Option<Presented<'r>>, Denial>>,
    choose: impl Fn(Presented<'r>, Presented<'r>) -> Option<Presented<'r>>,
) -> Result<Option<Presented<'r>>, Denial> {
    let mut one: Option<Presented<'r>> = None;
    for here in found {
        let Some(here) = here? else { continue };
        one = Some(match one {
            None => here,
            Some(mut first) if first.token == here.token => {
                first.strip.extend(here.strip);
                first
            }
            Some(first) => choose(first, here).ok_or(Denial::Ambiguous)?,
        });
    }
    Ok(one)
}

/// [`one_of`] where no two different tokens may stand.
///
/// # Errors
/// As there.
pub fn only<'r>(found: impl IntoIterator<Item = Result<Option<Presented<'r>>, Denial>>) -> Result<Option<Presented<'r>>, Denial> {
    one_of(found, |_, _| None)
}

fn presented<'r>(token: Cow<'r, str>, strip: Strip) -> Presented<'r> {
    Presented { token, strip: vec![strip] }
}

/// The first raw segment below the route's prefix, if it is not empty.
#[must_use]
pub fn first_segment<'r>(facts: &RequestFacts<'r>) -> Option<&'r str> {
    facts.below_mount().strip_prefix('/')?.split('/').next().filter(|segment| !segment.is_empty())
}

fn path_prefixed<'r>(facts: &RequestFacts<'r>, prefix: &str) -> Result<Option<Presented<'r>>, Denial> {
    let below = facts.below_mount().strip_prefix('/').unwrap_or("");
    let mut found = below.split('/').enumerate().filter_map(|(index, segment)| Some((index, segment.strip_prefix(prefix)?)));
    let Some((index, token)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Denial::Duplicate);
    }
    Ok(Some(presented(token.into(), Strip::Segment(index))))
}

fn path_parameter<'r>(facts: &RequestFacts<'r>, name: &str) -> Result<Option<Presented<'r>>, Denial> {
    let mut found = facts
        .path
        .segments()
        .flat_map(|segment| segment.split(';').skip(1))
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(key, _)| *key == name);
    let Some((_, token)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Denial::Duplicate);
    }
    Ok(Some(presented(token.into(), Strip::PathParameter(name.to_owned()))))
}

/// The one query parameter `name`, decoded.
///
/// # Errors
/// [`Denial::Duplicate`] when it comes twice, [`Denial::Malformed`] when it does not decode.
pub fn query_parameter<'r>(facts: &RequestFacts<'r>, name: &str) -> Result<Option<Presented<'r>>, Denial> {
    let Some(raw) = single_query(facts.query.unwrap_or(""), name)? else { return Ok(None) };
    let token =
        if raw.contains(['%', '+']) { Cow::Owned(crate::path::percent_decode(raw).ok_or(Denial::Malformed)?) } else { Cow::Borrowed(raw) };
    Ok(Some(presented(token, Strip::Query(name.to_owned()))))
}

/// The one raw value of query parameter `name`.
///
/// # Errors
/// [`Denial::Duplicate`] when it comes twice.
pub fn single_query<'q>(query: &'q str, name: &str) -> Result<Option<&'q str>, Denial> {
    let mut values = query::values(query, name);
    let first = values.next();
    if values.next().is_some() { Err(Denial::Duplicate) } else { Ok(first) }
}

fn header<'r>(facts: &RequestFacts<'r>, name: &HeaderName, prefix: &str) -> Result<Option<Presented<'r>>, Denial> {
    let Some(value) = facts.single_header(name.as_str())? else { return Ok(None) };
    let starts = value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if !starts {
        // Another kind of credential in the same header (Basic instead of Bearer) is not our token.
        return Ok(None);
    }
    Ok(Some(presented(value[prefix.len()..].trim().into(), Strip::Header(name.clone()))))
}

fn cookie<'r>(facts: &RequestFacts<'r>, name: &str) -> Result<Option<Presented<'r>>, Denial> {
    let mut found = None;
    for (key, value) in cookies(facts.headers)? {
        if key == name && found.replace(value).is_some() {
            return Err(Denial::Duplicate);
        }
    }
    Ok(found.map(|value| presented(value.into(), Strip::Cookie(name.to_owned()))))
}

/// Every cookie of every `Cookie` header (HTTP/2 may split them, RFC 9113 §8.2.3).
///
/// # Errors
/// [`Denial::Malformed`] when a header is not visible ASCII.
pub fn cookies(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, Denial> {
    let mut all = Vec::new();
    for line in headers.get_all(COOKIE) {
        let line = line.to_str().map_err(|_| Denial::Malformed)?;
        all.extend(line.split(';').filter_map(|pair| pair.trim().split_once('=')).map(|(k, v)| (k.trim(), v.trim().trim_matches('"'))));
    }
    Ok(all)
}

/// The raw path and query that go upstream: everything of `strip` taken out, the grant's own
/// parameters added. The route's prefix is still in place.
#[must_use]
pub fn target(facts: &RequestFacts<'_>, strip: &[Strip], grant: &Grant) -> (String, Option<String>) {
    (target_path(facts, strip, grant), target_query(facts, strip, grant))
}

fn target_path(facts: &RequestFacts<'_>, strip: &[Strip], grant: &Grant) -> String {
    let touches_path = |s: &Strip| matches!(s, Strip::Segment(_) | Strip::SegmentToResource(_) | Strip::PathParameter(_));
    if !strip.iter().any(touches_path) {
        return facts.path.raw().to_owned();
    }
    let mut out = facts.path.raw()[..facts.mount].to_owned();
    let below = facts.below_mount().strip_prefix('/').unwrap_or("");
    let mut wrote = false;
    for (index, segment) in below.split('/').enumerate() {
        if strip.contains(&Strip::Segment(index)) {
            continue;
        }
        out.push('/');
        wrote = true;
        match grant.resource.as_deref() {
            Some(resource) if strip.contains(&Strip::SegmentToResource(index)) => out.push_str(&crate::path::percent_encode(resource)),
            _ => push_without_parameters(&mut out, segment, strip),
        }
    }
    if !wrote {
        out.push('/');
    }
    out
}

fn push_without_parameters(out: &mut String, segment: &str, strip: &[Strip]) {
    let mut parts = segment.split(';');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let name = part.split_once('=').map_or(part, |(name, _)| name);
        if !strip.iter().any(|s| matches!(s, Strip::PathParameter(taken) if taken == name)) {
            out.push(';');
            out.push_str(part);
        }
    }
}

fn target_query(facts: &RequestFacts<'_>, strip: &[Strip], grant: &Grant) -> Option<String> {
    let taken = |name: &str| strip.iter().any(|s| matches!(s, Strip::Query(taken) if taken == name));
    let kept = match facts.query {
        Some(raw) if strip.iter().any(|s| matches!(s, Strip::Query(_))) => query::without(raw, taken),
        other => other.map(str::to_owned),
    };
    if grant.upstream_query.is_empty() {
        return kept;
    }
    let mut out = kept.unwrap_or_default();
    for (name, value) in &grant.upstream_query {
        query::push(&mut out, name, value);
    }
    Some(out)
}

/// What stands in a request at places that `reads` says are its own: query parameters, cookies and headers.
#[must_use]
pub fn places_read(query: Option<&str>, headers: &HeaderMap, reads: impl Fn(Where<'_>) -> bool) -> Vec<Strip> {
    let parameters = query::pairs(query.unwrap_or("")).filter_map(|(name, _)| query::decode(name));
    let parameters = parameters.filter(|name| reads(Where::Query(name))).map(Strip::Query);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let cookies = cookies.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.trim());
    let cookies = cookies.filter(|name| reads(Where::Cookie(name))).map(|name| Strip::Cookie(name.to_owned()));
    let fields = headers.keys().filter(|name| reads(Where::Header(name))).map(|name| Strip::Header(name.clone()));
    parameters.chain(cookies).chain(fields).collect()
}

/// Takes the headers and cookies of `strip` out of `headers`.
pub fn strip_headers(headers: &mut HeaderMap, strip: &[Strip]) {
    for what in strip {
        match what {
            Strip::Header(name) => {
                headers.remove(name);
            }
            Strip::Cookie(name) => strip_cookie(headers, name),
            Strip::Query(_) | Strip::Segment(_) | Strip::SegmentToResource(_) | Strip::PathParameter(_) => {}
        }
    }
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let Ok(text) = line.to_str() else { continue };
        let kept: Vec<&str> =
            text.split(';').map(str::trim).filter(|pair| pair.split_once('=').is_none_or(|(key, _)| key.trim() != name)).collect();
        let kept = kept.join("; ");
        if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_str(&kept)) {
            headers.append(COOKIE, value);
        }
    }
}

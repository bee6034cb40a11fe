//! Tokens for somebody who asked for them: one says all that was asked, or none is made.
//!
//! Schemes differ in what they have words for, and some sign on without. Here what was signed is opened again by its own
//! scheme and held against the request, field by field: a binding that is not in the token is one that nobody enforces. The
//! gateway, which signs for an origin and enforces on its own, asks [`Scheme::sign`] itself.

use std::net::IpAddr;

use http::HeaderMap;

use super::carrier::field_value;
use super::{Country, Denial, Geo, Grant, RequestFacts, Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::path::CleanPath;

/// A token that says what was asked.
#[derive(Debug)]
pub struct Exact {
    /// The token, and where it goes.
    pub signed: Signed,
    /// What its scheme makes of it.
    pub grant: Grant,
    /// Its text, as the scheme finds it in a request.
    pub text: String,
}

/// A request that carries what was signed.
#[derive(Debug)]
pub struct Carrying<'s> {
    host: &'s str,
    port: Option<u16>,
    path: CleanPath,
    query: Option<&'s str>,
    headers: HeaderMap,
}

impl<'s> Carrying<'s> {
    /// A request to `host[:port]` with a token of `scheme`; `None` when it could not be sent.
    #[must_use]
    pub fn new(scheme: &dyn Scheme, host: &'s str, signed: &'s Signed) -> Option<Self> {
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (host, None),
        };
        Some(Self {
            host: host.trim_start_matches('[').trim_end_matches(']'),
            port,
            path: CleanPath::parse_or_with_tokens(&signed.path, &scheme.path_tokens()).ok()?,
            query: signed.query.as_deref(),
            headers: signed.fields()?,
        })
    }

    /// Its facts: over https, from nowhere in particular.
    #[must_use]
    pub fn facts(&self) -> RequestFacts<'_> {
        RequestFacts { port: self.port, query: self.query, ..RequestFacts::bare(self.host, &self.path, &self.headers) }
    }
}

/// Makes a token that says all that `request` asks for.
///
/// # Errors
/// As [`Scheme::sign`]; [`SignError::Refused`] when the scheme does not take its own token, [`SignError::NoWords`] when it left something out.
pub fn sign(scheme: &dyn Scheme, request: &SignRequest) -> Result<Exact, SignError> {
    let exact = opened(scheme, request)?;
    let left_out = of_the_viewer(scheme, request, &exact).or_else(|| of_the_token(scheme, request, &exact));
    match left_out {
        Some(field) => Err(SignError::NoWords(field)),
        None => Ok(exact),
    }
}

/// Whether the token that was made for `request` opens the raw path `path` of the same host as well, and to whom it opens its own.
#[must_use]
pub fn opens(scheme: &dyn Scheme, request: &SignRequest, exact: &Exact, path: &str) -> bool {
    let Some(moved) = exact.signed.moved(&request.path, path) else { return false };
    let is_mounted =
        request.path.get(..request.mount).and_then(|mount| path.strip_prefix(mount)).is_some_and(|below| below.starts_with('/'));
    let there = SignRequest { mount: if is_mounted { request.mount } else { 0 }, ..request.clone() };
    let rules = |request: &SignRequest, signed: &Signed| Rules::of(scheme, request, (exact, signed));
    let here = rules(request, &exact.signed);
    rules(&there, &moved).is_some_and(|there| there.reached && here.is_none_or(|here| !there.breaks_one_of(&here)))
}

fn opened(scheme: &dyn Scheme, request: &SignRequest) -> Result<Exact, SignError> {
    let signed = scheme.sign(request)?;
    let opened = sent(scheme, request, &signed, |facts| {
        let presented = scheme.present(facts)?.ok_or(Denial::Missing)?;
        Ok((scheme.open(&presented, facts)?, presented.token.into_owned()))
    });
    let (grant, text) = opened.unwrap_or(Err(Denial::Malformed)).map_err(SignError::Refused)?;
    Ok(Exact { signed, grant, text })
}

impl Geo for SignRequest {
    fn country(&self, _ip: IpAddr) -> Option<Country> {
        self.country
    }

    fn asn(&self, _ip: IpAddr) -> Option<u32> {
        self.system
    }
}

/// What `ask` says of the facts when the viewer of `request` sends what was signed; `None` when that could not be sent.
fn sent<T>(scheme: &dyn Scheme, request: &SignRequest, signed: &Signed, ask: impl FnOnce(&RequestFacts<'_>) -> T) -> Option<T> {
    let mut carrying = Carrying::new(scheme, &request.host, signed)?;
    for (name, value) in &request.headers {
        carrying.headers.insert(name.clone(), field_value(value).ok()?);
    }
    let client_ip = request.client_ip.unwrap_or(IpAddr::from([192, 0, 2, 1]));
    Some(ask(&RequestFacts { https: request.https, mount: request.mount, client_ip, geo: request, ..carrying.facts() }))
}

/// What of the viewer the token was to be bound to and is not: another viewer's request is as good.
fn of_the_viewer(scheme: &dyn Scheme, request: &SignRequest, exact: &Exact) -> Option<&'static str> {
    let mut others = Vec::new();
    let mut with = |field: &'static str, change: &dyn Fn(&mut SignRequest)| {
        let mut other = request.clone();
        change(&mut other);
        others.push((field, other));
    };
    if let Some(ip) = request.client_ip {
        with("client_ip", &|other| other.client_ip = Some(far_from(ip)));
    }
    if let Some(country) = request.country {
        with("country", &|other| other.country = ["SE", "NO"].into_iter().filter_map(Country::new).find(|other| *other != country));
    }
    if let Some(system) = request.system {
        with("system", &|other| other.system = Some(system ^ 1));
    }
    for at in 0..request.headers.len() {
        with("headers", &|other| other.headers[at].1.push('x'));
    }
    let rules = |viewer: &SignRequest| Rules::of(scheme, viewer, (exact, &exact.signed));
    let here = rules(request);
    let is_as_good = |other: &SignRequest| rules(other).is_some_and(|there| here.as_ref().is_none_or(|here| !there.breaks_one_of(here)));
    others.into_iter().find(|(_, other)| is_as_good(other)).map(|(field, _)| field)
}

/// Which rules of a good token a request keeps.
struct Rules {
    reached: bool,
    kept: Vec<bool>,
}

impl Rules {
    /// The rules of `exact` for a request that carries `signed`; `None` where the token is not even a good one.
    fn of(scheme: &dyn Scheme, request: &SignRequest, (exact, signed): (&Exact, &Signed)) -> Option<Self> {
        let rules = sent(scheme, request, signed, |facts| {
            let presented = scheme.present(facts).ok()??;
            let grant = scheme.open(&presented, facts).ok()?;
            let bindings = exact.grant.bindings.iter().map(|binding| binding.check(facts).is_ok());
            Some(Self { reached: grant.reaches(facts), kept: bindings.chain([scheme.fits(&grant, facts).is_ok()]).collect() })
        });
        rules.flatten()
    }

    /// Whether one does not hold that holds for `other`.
    fn breaks_one_of(&self, other: &Self) -> bool {
        (other.reached && !self.reached) || other.kept.iter().zip(&self.kept).any(|(there, here)| *there && !here)
    }
}

/// An address at the other end of its family.
fn far_from(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::from((ip.to_bits() ^ (1 << 31)).to_be_bytes()),
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() ^ (1 << 127)).to_be_bytes()),
    }
}

/// What else was asked for and is not in the token.
fn of_the_token(scheme: &dyn Scheme, request: &SignRequest, exact: &Exact) -> Option<&'static str> {
    let (asked, said) = (&request.session, &exact.grant.session);
    let terms = [(asked.concurrent, said.concurrent), (asked.total, said.total), (asked.seconds, said.seconds)];
    let session = terms.into_iter().all(|(asked, said)| asked.is_none() || asked == said) && (said.once || !asked.once);
    let names = [&exact.grant.subject, &exact.grant.token_id];
    let subject = request.subject.as_deref().is_none_or(|subject| names.into_iter().flatten().any(|name| **name == *subject));
    let not_before = request.not_before.is_none() || exact.grant.window.from > UnixTime::MIN;
    let all = [("session", session), ("subject", subject), ("not_before", not_before), ("expires", ends_in_time(scheme, request, exact))];
    let left_out = all.into_iter().find(|(_, kept)| !kept).map(|(field, _)| field);
    left_out.or_else(|| (!scope_is_kept(scheme, request, exact)).then_some("scope"))
}

/// Whether it ends when it was asked to, but for the leeway of the scheme's config, which moves with the end.
fn ends_in_time(scheme: &dyn Scheme, request: &SignRequest, exact: &Exact) -> bool {
    const MINUTE: i64 = 60;
    let Some(expires) = request.expires else { return true };
    let until = exact.grant.window.until;
    let moved = |time: Option<UnixTime>| time.map(|time| time.plus(MINUTE));
    let later = || SignRequest {
        expires: moved(request.expires),
        not_before: moved(request.not_before),
        now: moved(request.now),
        ..request.clone()
    };
    until <= expires || opened(scheme, &later()).is_ok_and(|later| later.grant.window.until.since(until) == MINUTE)
}

/// Whether it opens what it was asked to, where that is a plain path, and not as well what lies elsewhere.
fn scope_is_kept(scheme: &dyn Scheme, request: &SignRequest, exact: &Exact) -> bool {
    const ELSEWHERE: &str = "/tollgate-elsewhere";
    let Some(scope) = &request.scope else { return true };
    let inside = moved_into(scope, request, &exact.signed);
    let Some(rules) = Rules::of(scheme, request, (exact, inside.as_ref().unwrap_or(&exact.signed))) else { return false };
    let lets_in = inside.is_none() || rules.reached;
    let outside = SignRequest { mount: request.mount + ELSEWHERE.len(), ..request.clone() };
    let moved = Signed { path: format!("{ELSEWHERE}{}", exact.signed.path), ..exact.signed.clone() };
    let outside = || Rules::of(scheme, &outside, (exact, &moved));
    lets_in && (is_everything(scope) || outside().is_none_or(|outside| !outside.reached || outside.breaks_one_of(&rules)))
}

/// What was signed on a path that a plain `scope` names or holds; `None` where it cannot stand there.
fn moved_into(scope: &str, request: &SignRequest, signed: &Signed) -> Option<Signed> {
    let is_plain = scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    let path = if scope.ends_with('/') { format!("{scope}sibling-of-this") } else { scope.to_owned() };
    let is_mounted = path.strip_prefix(request.path.get(..request.mount)?).is_some_and(|below| below.starts_with('/'));
    if is_plain && is_mounted { signed.moved(&request.path, &path) } else { None }
}

/// Whether a scope is so wide, or begins with so much of a pattern, that nothing is known to lie outside of it.
fn is_everything(scope: &str) -> bool {
    let path = scope.split_once("://").map_or(scope, |(_, url)| url.find('/').map_or("", |slash| &url[slash..]));
    path.trim_start_matches('/').chars().next().is_none_or(|first| "*?[(.!\\^~".contains(first))
}

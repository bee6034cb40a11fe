//! The scheme `cloudflare-stream`: Cloudflare Stream's signed URLs.
//!
//! A JWS (RS256) stands in the place of the video's uid, as the first path segment; its claim `sub`
//! is the uid, which takes the token's place on the way to the origin. Rules after Cloudflare's
//! "Secure your Stream" page. Not tied to that page: the vendor's own token endpoint writes `exp`
//! and `nbf` as texts, so texts of digits are read as well.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::times::Times;
use super::{Scheme, SignError, SignRequest, Signed};
use crate::name::Name;
use crate::token::access::{AccessMatch, parse_net};
use crate::token::grant::host_matches;
use crate::token::issued::StreamVideo;
use crate::token::jws::{self, Dates, Jws, TimeRules};
use crate::token::{
    AccessRule, Algorithm, Binding, Country, Denial, Details, Grant, Issue, Issued, KeySource, Kind, NothingIssued, Presented,
    RequestFacts, Strip, Where, carrier,
};

/// Cloudflare Stream signed URLs: the token stands in the place of the video's uid.
///
/// ```toml
/// [keys.stream]
/// file = "stream-key.pem"            # PEM, JWK, or either in base64 as the vendor hands it out
/// id = "8f926b2b01f3835170025a78a4dcbf6a"
///
/// [schemes.stream]
/// type = "cloudflare-stream"
/// keys = "stream"
/// max_lifetime = "25h"               # the vendor sets nbf an hour back and exp a day ahead at most
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify and sign with; RS256 keys only.
    pub keys: Name,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
    /// Whether what the control listener was told of a video holds here (`requireSignedURLs`, `allowedOrigins`): an account
    /// of it. Unset: of every account.
    #[serde(default)]
    pub account: Option<String>,
}

/// Most rules in `accessRules`.
const MAX_RULES: usize = 5;

/// The scheme with its keys.
#[derive(Debug)]
pub struct CloudflareStream {
    keys: KeySource,
    times: TimeRules,
    account: Option<String>,
    issued: Arc<dyn Issued>,
}

/// What is kept of a bare uid that opens its video without a token.
struct Bare;

impl CloudflareStream {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        require_rs256(&keys, &config.keys)?;
        let times = TimeRules { dates: Dates::NumbersOrText, pass_without_start: true, ..config.times.rules() };
        Ok(Self { keys, times, account: config.account.clone(), issued: Arc::new(NothingIssued) })
    }

    /// The same, where what was said of videos is looked up.
    #[must_use]
    pub fn looking_up(self, issued: Arc<dyn Issued>) -> Self {
        Self { issued, ..self }
    }

    /// What was said of a video: by the scheme's account, or by whoever was first.
    fn video(&self, uid: &str) -> Option<Arc<Issue>> {
        let first = self.issued.find(Kind::StreamVideo, uid)?;
        match &self.account {
            Some(account) if account != first.account() => self.issued.find(Kind::StreamVideo, &StreamVideo::id_beside(account, uid)),
            _ => Some(first),
        }
    }

    /// Whether a video plays by its bare uid: only where that was said. ("If requireSignedURLs is false, the uid keeps working.")
    fn is_open(&self, uid: &str) -> bool {
        let said = self.video(uid);
        matches!(said.as_deref(), Some(Issue::StreamVideo(video)) if video.require_signed_urls == Some(false))
    }

    /// Whether the page that shows the video may: `allowedOrigins`, asked of playlists and segments alike.
    fn check_page(&self, uid: &str, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let said = self.video(uid);
        let Some(Issue::StreamVideo(video)) = said.as_deref() else { return Ok(()) };
        if video.allowed_origins.is_empty() {
            return Ok(());
        }
        let origin = facts.single_header("origin")?.filter(|origin| *origin != "null");
        let page = match origin {
            Some(origin) => Some(origin),
            None => facts.single_header("referer")?,
        };
        let host = page.and_then(page_host).ok_or(Denial::Referrer)?;
        if video.allowed_origins.iter().any(|allowed| page_matches(allowed, &host)) { Ok(()) } else { Err(Denial::Referrer) }
    }

    /// What verified claims allow.
    fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, Denial> {
        // Without `sub` nothing says which video is meant, and nothing could take the token's place upstream.
        let uid = jws::text(claims, "sub")?.filter(|uid| is_uid(uid)).ok_or(Denial::Claim)?;
        check_flags(claims)?;
        let rules = access_rules(claims)?;
        Ok(Grant {
            resource: Some(uid.into()),
            token_id: jws::text(claims, "jti")?.map(Into::into),
            window: self.times.window(claims)?,
            bindings: if rules.is_empty() { Vec::new() } else { vec![Binding::AccessRules(rules)] },
            downloads: Some(truth(claims, "downloadable")?),
            ..Grant::default()
        })
    }
}

/// A set that has come already must hold a key that can verify; a set still to be fetched may not have.
pub(super) fn require_rs256(keys: &KeySource, name: &Name) -> Result<(), String> {
    let keys = keys.load();
    if keys.is_empty() || keys.iter().any(|key| key.algorithm() == Algorithm::RS256) {
        Ok(())
    } else {
        Err(format!("key set \"{name}\" holds no RS256 key, and this scheme signs with RS256 only"))
    }
}

impl Scheme for CloudflareStream {
    fn kind(&self) -> &'static str {
        "cloudflare-stream"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let Some(segment) = carrier::first_segment(facts) else { return Ok(None) };
        if jws::looks_like_one(segment) {
            return Ok(Some(Presented { token: segment.into(), strip: vec![Strip::SegmentToResource(0)] }));
        }
        let open = is_uid(segment) && self.is_open(segment);
        Ok(open.then(|| Presented { token: segment.into(), strip: Vec::new() }))
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        if is_uid(&presented.token) {
            let resource = Some((&*presented.token).into());
            return Ok(Grant { resource, downloads: Some(true), details: Details::new(Bare), ..Grant::default() });
        }
        let (claims, key_id) = open_rs256(&presented.token, &self.keys)?;
        Ok(Grant { key_id, ..self.grant(&claims)? })
    }

    fn looks_up(&self) -> bool {
        true
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let uid = grant.resource.as_deref().unwrap_or_default();
        if grant.details.get::<Bare>().is_some() && !self.is_open(uid) {
            return Err(Denial::Missing);
        }
        self.check_page(uid, facts)?;
        if grant.downloads != Some(true) && asks_for_download(facts.below_mount()) { Err(Denial::Entitlement) } else { Ok(()) }
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let place = Place::of(request)?;
        let keys = self.keys.load();
        let key = keys.signing(request.key_id.as_deref()).filter(|key| key.algorithm() == Algorithm::RS256);
        let key = key.ok_or_else(|| SignError::NoKey(request.key_id.clone()))?;
        let mut claims = claims_of(request, place.uid)?;
        let mut header = Map::new();
        if let Some(id) = key.id() {
            header.insert("kid".into(), (**id).into());
            claims.insert("kid".into(), (**id).into());
        }
        self.grant(&claims).map_err(|denial| SignError::CannotExpress(format!("such a token would be refused: {denial}")))?;
        let token = jws::sign(key, header, &claims)?;
        let path = format!("{}/{token}{}", place.before, place.after);
        Ok(Signed { token, path, query: request.query.clone(), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        matches!(place, Where::Segment(segment) if jws::looks_like_one(segment))
    }

    /// Its paths begin with an id.
    fn sample_path(&self) -> String {
        "/ea95132c15732412d22c1476fa83f27a/manifest/video.m3u8".to_owned()
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// Verified claims, and the id of the key that signed them.
type Opened = (Map<String, Value>, Option<Arc<str>>);

/// The claims of an RS256 token whose key id is in the header, the payload or both, and that id.
pub(super) fn open_rs256(token: &str, keys: &KeySource) -> Result<Opened, Denial> {
    let jws = Jws::parse(token)?;
    let claims = jws.claims()?;
    let id = jws::one_key_id(jws.key_id()?, jws::key_id(&claims)?)?;
    let keys = keys.load();
    let key = jws::choose(&keys, id)?;
    if key.algorithm() != Algorithm::RS256 {
        return Err(Denial::WrongAlgorithm);
    }
    jws.verify(key)?;
    let id = key.id().cloned().or_else(|| id.map(Into::into));
    Ok((claims, id))
}

/// The host of a page, with its port where it says one.
fn page_host(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (!host.is_empty() && !host.contains('@')).then(|| host.to_ascii_lowercase())
}

/// "`*.x.com` covers all levels below, but not `x.com`"; a host with a port (`localhost:8080`) is that port's alone, and
/// `localhost` "needs" one.
fn page_matches(allowed: &str, host: &str) -> bool {
    let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    if allowed.contains(':') || allowed == "localhost" { allowed == host } else { host_matches(allowed, bare) }
}

/// Whether what a token shall say beside its times can be understood again.
///
/// # Errors
/// [`Denial::Claim`].
pub fn check_rules(claims: &Map<String, Value>) -> Result<(), Denial> {
    check_flags(claims)?;
    truth(claims, "downloadable")?;
    access_rules(claims).map(|_| ())
}

/// A uid becomes a path segment upstream, so it must be nothing but one.
fn is_uid(uid: &str) -> bool {
    (1..=128).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `/TOKEN/downloads/…`, however the origin might spell it.
fn asks_for_download(below_mount: &str) -> bool {
    let second = below_mount.split('/').nth(2).unwrap_or("");
    second.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case("downloads"))
}

fn truth(claims: &Map<String, Value>, name: &str) -> Result<bool, Denial> {
    match claims.get(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(Denial::Claim),
    }
}

/// `flags.original` only asks the origin for another rendition; it opens nothing, so its type is all that is checked.
fn check_flags(claims: &Map<String, Value>) -> Result<(), Denial> {
    match claims.get("flags") {
        None => Ok(()),
        Some(Value::Object(flags)) => truth(flags, "original").map(|_| ()),
        Some(_) => Err(Denial::Claim),
    }
}

fn access_rules(claims: &Map<String, Value>) -> Result<Vec<AccessRule>, Denial> {
    match claims.get("accessRules") {
        None => Ok(Vec::new()),
        Some(Value::Array(rules)) if rules.len() <= MAX_RULES => rules.iter().map(access_rule).collect(),
        Some(_) => Err(Denial::Claim),
    }
}

fn access_rule(rule: &Value) -> Result<AccessRule, Denial> {
    let rule = rule.as_object().ok_or(Denial::Claim)?;
    let allow = match jws::text(rule, "action")? {
        Some("allow") => true,
        Some("block") => false,
        _ => return Err(Denial::Claim),
    };
    let list = |name: &str| match rule.get(name) {
        Some(list @ Value::Array(_)) => jws::texts(list),
        _ => Err(Denial::Claim),
    };
    let on = match jws::text(rule, "type")? {
        Some("any") => AccessMatch::Any,
        Some("ip.src") => {
            AccessMatch::Address(list("ip")?.into_iter().map(|net| parse_net(net).ok_or(Denial::Claim)).collect::<Result<_, _>>()?)
        }
        Some("ip.geoip.country") => AccessMatch::Country(
            list("country")?.into_iter().map(|code| Country::new(code).ok_or(Denial::Claim)).collect::<Result<_, _>>()?,
        ),
        _ => return Err(Denial::Claim),
    };
    Ok(AccessRule { on, allow })
}

/// Where the uid stands in the path to sign.
struct Place<'p> {
    before: &'p str,
    uid: &'p str,
    after: &'p str,
}

impl<'p> Place<'p> {
    fn of(request: &'p SignRequest) -> Result<Self, SignError> {
        let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
        let (before, below) =
            request.path.split_at_checked(request.mount).ok_or_else(|| cannot("the route's prefix is longer than the path"))?;
        let below = below.strip_prefix('/').ok_or_else(|| cannot("the path has no segment for the video's uid"))?;
        let end = below.find('/').unwrap_or(below.len());
        let (uid, after) = below.split_at(end);
        if !is_uid(uid) {
            return Err(cannot("the path's first segment is not a video uid"));
        }
        let whole = format!("{before}/{uid}");
        if request.scope.as_deref().is_some_and(|scope| scope.trim_end_matches('/') != whole) {
            return Err(cannot("such a token opens a whole video; the scope must be the video's folder"));
        }
        if request.subject.is_some() {
            return Err(cannot("such a token cannot name who it is for"));
        }
        Ok(Self { before, uid, after })
    }
}

fn claims_of(request: &SignRequest, uid: &str) -> Result<Map<String, Value>, SignError> {
    let mut claims = request.claims.clone();
    if let Some(name) = ["sub", "kid", "exp", "nbf"].iter().find(|name| claims.contains_key(**name)) {
        return Err(SignError::CannotExpress(format!("claim {name} is set by the request itself")));
    }
    claims.insert("sub".into(), uid.into());
    if let Some(end) = request.expires {
        claims.insert("exp".into(), end.0.into());
    }
    if let Some(start) = request.not_before {
        claims.insert("nbf".into(), start.0.into());
    }
    if let Some(ip) = request.client_ip {
        let rules = serde_json::json!([{"type": "ip.src", "action": "allow", "ip": [ip.to_string()]}, {"type": "any", "action": "block"}]);
        if claims.insert("accessRules".into(), rules).is_some() {
            return Err(SignError::CannotExpress("accessRules and a client address exclude each other".into()));
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;

//! The scheme `cta-5007`: Common Access Tokens.
//!
//! A CWT in COSE_Mac0 or COSE_Sign1. A claim that is not understood refuses the token; of the matchers
//! of `catu` every one must hold; a cookie or header without a token hides none that rides elsewhere, and
//! two tokens that differ are refused.

mod cose;
mod matching;
mod rules;

use ciborium::Value;
use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::times::Times;
use super::{Due, Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::query;
use crate::token::renewal::{self, RenewalCarrier, Renewed};
use crate::token::scheme::digest::{Hash, unhex};
use crate::token::{Answer, Carrier, Denial, Details, Grant, Key, KeySource, Presented, RequestFacts, Strip, Where, carrier};
use cose::Claims;
use rules::names;

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify with.
    pub keys: Name,
    /// The issuers let in; a token without `iss` is refused then. With none given, any.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// The audiences that mean this gateway. A token for an audience is refused when it names none of them.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The header that carries the token.
    #[serde(default = "header")]
    pub header: String,
    /// The cookies that carry it.
    #[serde(default = "cookies")]
    pub cookies: Vec<String>,
    /// The query parameters that carry it.
    #[serde(default = "parameters")]
    pub query: Vec<String>,
    /// Whether a token without the CWT tag (61) is refused.
    #[serde(default)]
    pub require_cwt_tag: bool,
    /// Whether a prefix of a path must end where a segment ends, so that `/vid1` does not open `/vid10`.
    #[serde(default = "yes")]
    pub prefix_on_segments: bool,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
    /// The key that signs renewed tokens; the key of the old token when not given.
    #[serde(default)]
    pub renewal_key: Option<String>,
}

fn header() -> String {
    "CTA-Common-Access-Token".into()
}

fn cookies() -> Vec<String> {
    vec![header(), "cta-common-access-token".into()]
}

fn parameters() -> Vec<String> {
    vec!["cat".into(), "CAT".into()]
}

const fn yes() -> bool {
    true
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct Cta5007 {
    config: Config,
    carriers: Vec<Carrier>,
    keys: KeySource,
}

/// What renewal wants back.
struct Opened(Claims);

impl Cta5007 {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        let header =
            HeaderName::from_bytes(config.header.as_bytes()).map_err(|_| format!("\"{}\" is not a header's name", config.header))?;
        let mut carriers = vec![Carrier::Header(header, String::new())];
        carriers.extend(config.cookies.iter().cloned().map(Carrier::Cookie));
        carriers.extend(config.query.iter().cloned().map(Carrier::Query));
        Ok(Self { config: config.clone(), carriers, keys })
    }

    fn signing_key(&self, id: Option<&str>) -> Result<std::sync::Arc<Key>, SignError> {
        self.keys.load().signing(id).cloned().ok_or_else(|| SignError::NoKey(id.map(Into::into)))
    }

    /// The claims of the token that takes `claims`' place.
    fn renewed_claims(claims: &Claims, old: &str, until: UnixTime, now: UnixTime) -> Claims {
        let mut claims = claims.clone();
        let mut set = |wanted: i64, value: Value| match claims.iter_mut().find(|(key, _)| cose::label(key) == Some(wanted)) {
            Some((_, have)) => *have = value,
            None => claims.push((wanted.into(), value)),
        };
        set(names::EXP, until.0.into());
        set(names::IAT, now.0.into());
        // An id of its own, so that single use and revocation tell the new token from the old.
        let id = Hash::Sha256.of(&[old.as_bytes(), &now.0.to_be_bytes()]);
        set(names::CTI, Value::Bytes(id[..16].to_vec()));
        claims
    }

    /// The claims of a token in an answer: what is null there is taken from the refused token, or is the
    /// time for `iat`.
    fn minted_claims(&self, set: &Claims, refused: &Claims, now: UnixTime) -> Claims {
        let from_refused = |label: &Value| refused.iter().find(|(have, _)| have == label).map(|(_, value)| value.clone());
        let issuer = || self.config.issuers.first().map(|iss| Value::from(iss.as_str()));
        let fill = |(label, value): &(Value, Value)| {
            let value = match (value, cose::label(label)) {
                (Value::Null, Some(names::IAT)) => Some(now.0.into()),
                (Value::Null, Some(names::ISS)) => from_refused(label).or_else(issuer),
                (Value::Null, _) => from_refused(label),
                (value, _) => Some(value.clone()),
            };
            value.map(|value| (label.clone(), value))
        };
        set.iter().filter_map(fill).collect()
    }

    /// The carrier that a token came by, as a way to renew it.
    fn same_way(&self, presented: &Presented<'_>) -> RenewalCarrier {
        match presented.strip.first() {
            Some(Strip::Cookie(name)) => RenewalCarrier::Cookie { name: name.clone(), depth: 0, attributes: Vec::new() },
            Some(Strip::Header(name)) => RenewalCarrier::Header { name: name.clone(), parameters: Vec::new() },
            _ => RenewalCarrier::Redirect { status: 302 },
        }
    }

    /// The URL of the request with the token in the query in place of an old one. Relative to the
    /// host, so that no `Host` header can lead it elsewhere.
    fn location(&self, facts: &RequestFacts<'_>, token: &str) -> String {
        let taken = |name: &str| self.config.query.iter().any(|have| have == name);
        let mut kept = facts.query.and_then(|query| query::without(query, taken)).unwrap_or_default();
        query::push(&mut kept, self.config.query.first().map_or("cat", String::as_str), token);
        format!("{}?{kept}", facts.path.raw())
    }
}

impl Scheme for Cta5007 {
    fn kind(&self) -> &'static str {
        "cta-5007"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        carrier::only(self.carriers.iter().map(|carrier| carrier.find(facts)))
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let (claims, key) = cose::open(&presented.token, &self.keys.load(), self.config.require_cwt_tag)?;
        let mut grant = rules::grant(&claims, &self.config)?;
        grant.key_id = key.id().cloned();
        grant.details = Details::new(Opened(claims));
        Ok(grant)
    }

    fn renew(&self, due: &Due<'_>) -> Result<Option<Renewed>, SignError> {
        let Due { grant, presented, facts, now } = *due;
        let (Some(Opened(claims)), Some(renewal)) = (grant.details.get::<Opened>(), &grant.renewal) else { return Ok(None) };
        if !renewal.is_due(grant.window.until, now) {
            return Ok(None);
        }
        let until = now.plus(renewal.seconds);
        if until <= grant.window.until {
            // A deadline longer than the new life would renew what was renewed just now, without an end.
            return Ok(None);
        }
        let key = self.signing_key(self.config.renewal_key.as_deref().or(grant.key_id.as_deref()))?;
        let token = cose::sign(Self::renewed_claims(claims, &presented.token, until, now), &key)?;
        let mut renewed = Renewed { token: token.clone(), cookies: Vec::new(), headers: Vec::new(), redirect: None, until };
        let way = if renewal.by == RenewalCarrier::Same { self.same_way(presented) } else { renewal.by.clone() };
        match way {
            RenewalCarrier::Cookie { name, attributes, .. } => {
                let path = attributes.iter().find_map(|attribute| cookie_path(attribute)).unwrap_or("/");
                renewed.cookies.push(renewal::set_cookie(&name, &token, path, renewal.seconds, &attributes));
            }
            RenewalCarrier::Header { name, parameters } => {
                let value = parameters.iter().fold(token, |value, parameter| value + ";" + parameter);
                renewed.headers.push((name, value));
            }
            RenewalCarrier::Redirect { status } => renewed.redirect = Some((status, self.location(facts, &token))),
            RenewalCarrier::Same => {}
        }
        Ok(Some(renewed))
    }

    fn answer(&self, grant: &Grant, denial: Denial, now: UnixTime) -> Result<Option<Answer>, SignError> {
        let Some(Opened(claims)) = grant.details.get::<Opened>() else { return Ok(None) };
        let Some((_, catif)) = claims.iter().find(|(key, _)| cose::label(key) == Some(names::CATIF)) else { return Ok(None) };
        let plans = rules::answers(catif).map_err(|_| SignError::CannotExpress("the answer is not well formed".into()))?;
        let Some(plan) = plans.into_iter().find(|plan| plan.answer.on.contains(&denial)) else { return Ok(None) };
        let mut answer = plan.answer;
        for (index, set) in plan.mint {
            let key = self.signing_key(plan.key_id.as_deref().or(grant.key_id.as_deref()))?;
            let token = cose::sign(self.minted_claims(&set, claims, now), &key)?;
            if let Some((_, value)) = answer.headers.get_mut(index) {
                value.push_str(&token);
            }
        }
        Ok(Some(answer))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let claims = self.claims_for(request)?;
        let key = self.signing_key(request.key_id.as_deref())?;
        // What this side would refuse is not given out.
        rules::grant(&claims, &self.config).map_err(|denial| SignError::CannotExpress(format!("the token would be refused: {denial}")))?;
        let token = cose::sign(claims, &key)?;
        let name = HeaderName::from_bytes(self.config.header.as_bytes()).map_err(|_| SignError::Crypto)?;
        let headers = vec![(name, token.clone())];
        Ok(Signed { token, path: request.path.clone(), query: request.query.clone(), headers, ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        self.carriers.iter().any(|carrier| carrier.reads(place))
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

impl Cta5007 {
    fn claims_for(&self, request: &SignRequest) -> Result<Claims, SignError> {
        let mut claims: Claims = Vec::new();
        let mut set = |label: i64, value: Option<Value>| claims.extend(value.map(|value| (Value::from(label), value)));
        set(names::ISS, self.config.issuers.first().map(|iss| iss.as_str().into()));
        set(names::SUB, request.subject.as_deref().map(Into::into));
        set(names::EXP, request.expires.map(|at| at.0.into()));
        set(names::NBF, request.not_before.map(|at| at.0.into()));
        set(names::IAT, request.now.map(|at| at.0.into()));
        set(names::CATV, Some(1.into()));
        let matcher = |kind: i64, text: &str| Value::Map(vec![(3.into(), Value::Map(vec![(kind.into(), text.into())]))]);
        let uri = match &request.scope {
            Some(scope) => matcher(1, scope),
            None => matcher(0, &request.path),
        };
        set(names::CATU, Some(uri));
        for (name, value) in &request.claims {
            let cannot = || SignError::CannotExpress(format!("claim \"{name}\""));
            let value = json_to_cbor(value);
            match name.as_str() {
                "aud" => set(names::AUD, Some(value)),
                "catm" => set(names::CATM, Some(value)),
                "catr" => set(names::CATR, Some(value)),
                "catif" => set(names::CATIF, Some(value)),
                "catreplay" => set(names::CATREPLAY, Some(value)),
                "catgeoiso3166" => set(names::CATGEOISO3166, Some(value)),
                "cti" => set(names::CTI, Some(Value::Bytes(value.as_text().and_then(unhex).ok_or_else(cannot)?))),
                _ => return Err(cannot()),
            }
        }
        Ok(claims)
    }
}

/// The path that a cookie attribute of the token's asks for.
fn cookie_path(attribute: &str) -> Option<&str> {
    let (name, path) = attribute.split_once('=')?;
    let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b';' && b != b',');
    (plain && name.trim().eq_ignore_ascii_case("path")).then_some(path)
}

fn json_to_cbor(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => Value::Bool(*yes),
        serde_json::Value::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::from),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(values) => Value::Array(values.iter().map(json_to_cbor).collect()),
        serde_json::Value::Object(map) => {
            // Labels are numbers, which JSON writes as texts.
            let label = |name: &str| name.parse::<i64>().map_or_else(|_| name.into(), Value::from);
            Value::Map(map.iter().map(|(name, value)| (label(name), json_to_cbor(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests;

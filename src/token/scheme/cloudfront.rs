//! The scheme `cloudfront`: Amazon CloudFront signed URLs and signed cookies (Amazon CloudFront
//! Developer Guide, "Use signed URLs" and "Use signed cookies").
//!
//! What is signed is always the text of a policy. A custom policy comes with the request and is
//! verified as the bytes received, never written anew. A canned one is rebuilt from the URL and
//! `Expires`. The token's text holds everything the signature covers, the URL too, so verdicts can be
//! remembered under it.
//!
//! Verified: RSA PKCS#1 v1.5 and ECDSA P-256 (DER), each with SHA-1 (no `Hash-Algorithm`) or SHA-256.
//! Signed with SHA-256 only: the crypto library makes no SHA-1 signatures any more.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scheme, SignError, SignRequest, Signed, fields};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::query;
use crate::token::grant::Window;
use crate::token::key::Family;
use crate::token::url_rule::{self, UrlRule};
use crate::token::{Algorithm, Binding, Carrier, Denial, Grant, KeySource, Presented, RequestFacts, Scope, Strip, Where, access, carrier};

/// The names CloudFront keeps to itself in a query; cookies have them after `CloudFront-`.
const RESERVED: [&str; 5] = ["Policy", "Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm"];
/// Longest policy, encoded.
const LONGEST: usize = 8192;

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key group: public keys by their `Key-Pair-Id`.
    pub keys: Name,
    /// Hashes that are taken; a token without `Hash-Algorithm` is SHA-1.
    #[serde(default = "both_hashes")]
    pub hashes: Vec<PolicyHash>,
    /// Where a token may come in. A signed URL goes before signed cookies.
    #[serde(default = "both_places")]
    pub places: Vec<Place>,
    /// Where new tokens are put.
    #[serde(default)]
    pub sign_into: Place,
}

/// A hash of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyHash {
    /// SHA-1, what a token means that names none.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// Where CloudFront's fields are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Query parameters.
    #[default]
    Query,
    /// Cookies.
    Cookies,
}

fn both_hashes() -> Vec<PolicyHash> {
    vec![PolicyHash::Sha1, PolicyHash::Sha256]
}

fn both_places() -> Vec<Place> {
    vec![Place::Query, Place::Cookies]
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct CloudFront {
    keys: KeySource,
    config: Config,
}

impl CloudFront {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        if config.hashes.is_empty() || config.places.is_empty() {
            return Err("cloudfront: `hashes` and `places` need at least one entry each".into());
        }
        Ok(Self { keys, config: config.clone() })
    }
}

impl Scheme for CloudFront {
    fn kind(&self) -> &'static str {
        "cloudfront"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        for place in [Place::Query, Place::Cookies] {
            if self.config.places.contains(&place)
                && let Some(fields) = Fields::find(place, facts)?
            {
                let token = Cow::Owned(fields.join(facts)?);
                return Ok(Some(Presented { token, strip: strip() }));
            }
        }
        Ok(None)
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = Token::parse(&presented.token)?;
        let hash = match token.hash {
            None | Some("SHA1") => PolicyHash::Sha1,
            Some("SHA256") => PolicyHash::Sha256,
            Some(_) => return Err(Denial::WrongAlgorithm),
        };
        if !self.config.hashes.contains(&hash) {
            return Err(Denial::WrongAlgorithm);
        }
        let keys = self.keys.load();
        let key = keys.get(token.key_pair).ok_or(Denial::UnknownKey)?;
        let signature = decode(token.signature).ok_or(Denial::Malformed)?;
        let policy = token.policy()?;
        if !key.verify_as(algorithm(key.family(), hash)?, &policy, &signature) {
            return Err(Denial::BadSignature);
        }
        let mut grant = match token.what {
            What::Canned { expires, .. } => Grant { window: Window::until(fields::seconds(expires)?), ..Grant::default() },
            What::Custom { .. } => custom_grant(&policy)?,
        };
        grant.key_id = key.id().cloned();
        Ok(grant)
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let keys = self.keys.load();
        let key = keys
            .iter()
            .filter(|key| request.key_id.as_deref().is_none_or(|id| key.id().is_some_and(|have| &**have == id)))
            .find(|key| key.can_sign() && key.id().is_some() && matches!(key.family(), Family::Rsa | Family::P256))
            .ok_or_else(|| SignError::NoKey(request.key_id.clone()))?;
        let (canned, policy) = policy_to_sign(request)?;
        let algorithm = algorithm(key.family(), PolicyHash::Sha256).map_err(|_| SignError::Crypto)?;
        let signature = key.pinned(algorithm).ok().and_then(|key| key.sign(policy.as_bytes())).ok_or(SignError::Crypto)?;
        let first = if canned { ("Expires", fields::expiry(request)?.to_string()) } else { ("Policy", encode(policy.as_bytes())) };
        let key_pair = key.id().map(ToString::to_string).unwrap_or_default();
        let all = [first, ("Signature", encode(&signature)), ("Key-Pair-Id", key_pair), ("Hash-Algorithm", "SHA256".to_owned())];
        Ok(self.place(request, &all))
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) => RESERVED.contains(&name),
            Where::Cookie(name) => name.strip_prefix("CloudFront-").is_some_and(|name| RESERVED.contains(&name)),
            _ => false,
        }
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

impl CloudFront {
    fn place(&self, request: &SignRequest, all: &[(&str, String)]) -> Signed {
        let text: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let token = text.join("&");
        let mut signed = Signed { token: token.clone(), path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
        match self.config.sign_into {
            Place::Query => {
                signed.query = Some(request.query.as_ref().map_or_else(|| token.clone(), |query| format!("{query}&{token}")));
            }
            Place::Cookies => signed.cookies = all.iter().map(|(name, value)| (format!("CloudFront-{name}"), value.clone())).collect(),
        }
        signed
    }
}

fn strip() -> Vec<Strip> {
    RESERVED.iter().flat_map(|name| [Strip::Query((*name).to_owned()), Strip::Cookie(format!("CloudFront-{name}"))]).collect()
}

fn algorithm(family: Family, hash: PolicyHash) -> Result<Algorithm, Denial> {
    Ok(match (family, hash) {
        (Family::Rsa, PolicyHash::Sha1) => Algorithm::RsaSha1,
        (Family::Rsa, PolicyHash::Sha256) => Algorithm::RS256,
        (Family::P256, PolicyHash::Sha1) => Algorithm::Es256DerSha1,
        (Family::P256, PolicyHash::Sha256) => Algorithm::Es256Der,
        _ => return Err(Denial::WrongAlgorithm),
    })
}

/// The five fields as found in one place.
#[derive(Default)]
struct Fields {
    values: [Option<String>; 5],
}

impl Fields {
    /// `None` when the place holds none of the fields that only CloudFront has.
    fn find(place: Place, facts: &RequestFacts<'_>) -> Result<Option<Self>, Denial> {
        let mut fields = Self::default();
        for (slot, name) in fields.values.iter_mut().zip(RESERVED) {
            let found = match place {
                Place::Query => carrier::query_parameter(facts, name)?,
                Place::Cookies => Carrier::Cookie(format!("CloudFront-{name}")).find(facts)?,
            };
            *slot = found.map(|presented| presented.token.into_owned());
        }
        let [policy, _, _, key_pair, _] = &fields.values;
        Ok((policy.is_some() || key_pair.is_some()).then_some(fields))
    }

    /// The token's text: the fields in a fixed order, then the URL when the policy is canned.
    fn join(self, facts: &RequestFacts<'_>) -> Result<String, Denial> {
        let [policy, expires, signature, key_pair, hash] = self.values;
        let (Some(signature), Some(key_pair)) = (signature, key_pair) else { return Err(Denial::Malformed) };
        // No field may hold `&` or `=`: it could bring a `Resource` of its own into the text.
        let clean = |text: &Option<String>| text.as_deref().is_none_or(is_encoded);
        if !is_encoded(&signature) || !is_encoded(&key_pair) || !clean(&policy) || !clean(&expires) || !clean(&hash) {
            return Err(Denial::Malformed);
        }
        let hash = hash.map_or_else(String::new, |hash| format!("&Hash-Algorithm={hash}"));
        let tail = format!("&Key-Pair-Id={key_pair}&Signature={signature}{hash}");
        let text = match (policy, expires) {
            (Some(policy), None) => format!("Policy={policy}{tail}"),
            (None, Some(expires)) => format!("Expires={expires}{tail}&Resource={}", requested_url(facts)?),
            // Two policies: a reader that takes the other one would see another token.
            (Some(_), Some(_)) => return Err(Denial::Duplicate),
            (None, None) => return Err(Denial::Malformed),
        };
        Token::parse(&text)?;
        Ok(text)
    }
}

fn requested_url(facts: &RequestFacts<'_>) -> Result<String, Denial> {
    let query = facts.query.and_then(|raw| query::without(raw, |name| RESERVED.contains(&name)));
    // A quote in the URL could make the canned policy's text read as a custom one.
    if query.as_ref().is_some_and(|query| query.contains(['"', '\\'])) {
        return Err(Denial::Malformed);
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("{}{}{query}", url_rule::origin(facts), facts.path.raw()))
}

/// A token's text, read.
struct Token<'t> {
    what: What<'t>,
    key_pair: &'t str,
    signature: &'t str,
    hash: Option<&'t str>,
}

enum What<'t> {
    Canned { expires: &'t str, resource: &'t str },
    Custom { policy: &'t str },
}

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Result<Self, Denial> {
        let (fields, resource) = text.split_once("&Resource=").map_or((text, None), |(fields, url)| (fields, Some(url)));
        let mut pairs = fields.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut next = || pairs.next().unwrap_or(("", ""));
        let what = match (next(), resource) {
            (("Policy", policy), None) if is_encoded(policy) && policy.len() <= LONGEST => What::Custom { policy },
            (("Expires", expires), Some(resource)) => What::Canned { expires, resource },
            _ => return Err(Denial::Malformed),
        };
        let (("Key-Pair-Id", key_pair), ("Signature", signature)) = (next(), next()) else { return Err(Denial::Malformed) };
        let hash = match pairs.next() {
            None => None,
            Some(("Hash-Algorithm", hash)) => Some(hash),
            Some(_) => return Err(Denial::Malformed),
        };
        let named =
            !key_pair.is_empty() && key_pair.len() <= 128 && key_pair.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !named || !is_encoded(signature) || signature.len() > LONGEST || pairs.next().is_some() {
            return Err(Denial::Malformed);
        }
        Ok(Self { what, key_pair, signature, hash })
    }

    /// The bytes that were signed.
    fn policy(&self) -> Result<Vec<u8>, Denial> {
        match self.what {
            What::Custom { policy } => decode(policy).ok_or(Denial::Malformed),
            What::Canned { expires, resource } => Ok(canned(resource, fields::seconds(expires)?).into_bytes()),
        }
    }
}

/// The canned policy as the SDKs write it: no spaces, this order.
fn canned(resource: &str, expires: UnixTime) -> String {
    format!(r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#)
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte))
}

/// Base64 with `+ = /` written `- _ ~`.
fn decode(text: &str) -> Option<Vec<u8>> {
    if !is_encoded(text) {
        return None;
    }
    STANDARD.decode(text.replace('-', "+").replace('_', "=").replace('~', "/")).ok()
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~")
}

/// A custom policy. Fields that are not known, or come twice, refuse the whole.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(rename = "Statement")]
    statement: Vec<Statement>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    resource: String,
    condition: Condition,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Condition {
    date_less_than: EpochTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date_greater_than: Option<EpochTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<SourceIp>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochTime {
    #[serde(rename = "AWS:EpochTime")]
    seconds: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceIp {
    #[serde(rename = "AWS:SourceIp")]
    range: String,
}

/// `DateLessThan` and `DateGreaterThan` are both strict: the named second itself lies outside.
fn custom_grant(policy: &[u8]) -> Result<Grant, Denial> {
    let policy: Policy = serde_json::from_slice(policy).map_err(|_| Denial::Unsupported)?;
    let [Statement { resource, condition }] = &policy.statement[..] else { return Err(Denial::Unsupported) };
    let from = condition.date_greater_than.as_ref().map_or(UnixTime::MIN, |time| UnixTime(time.seconds).plus(1));
    let mut bindings = Vec::new();
    if let Some(source) = &condition.ip_address {
        let range = access::parse_net(&source.range).filter(|net| net.addr().is_ipv4()).ok_or(Denial::Unsupported)?;
        bindings.push(Binding::Networks(vec![range]));
    }
    Ok(Grant {
        window: Window { from, until: UnixTime(condition.date_less_than.seconds) },
        scope: Scope::Urls(vec![UrlRule::Pattern { pattern: resource.clone(), ignore: RESERVED.map(str::to_owned).to_vec() }]),
        bindings,
        ..Grant::default()
    })
}

/// The policy's text, and whether it is canned: a URL and an expiry and nothing else.
fn policy_to_sign(request: &SignRequest) -> Result<(bool, String), SignError> {
    let refuse = |why: &str| Err(SignError::CannotExpress(why.to_owned()));
    let expires = fields::expiry(request)?;
    let origin = format!("{}://{}", if request.https { "https" } else { "http" }, request.host);
    let url = format!("{origin}{}{}", request.path, request.query.as_ref().map_or_else(String::new, |query| format!("?{query}")));
    if url.contains(['"', '\\']) || request.query.as_deref().is_some_and(|q| query::pairs(q).any(|(name, _)| RESERVED.contains(&name))) {
        return refuse("the URL holds a quote, a backslash or one of CloudFront's own parameters");
    }
    if request.subject.is_some() || !request.claims.is_empty() {
        return refuse("a CloudFront policy has no place for a subject or further claims");
    }
    if request.scope.is_none() && request.client_ip.is_none() && request.not_before.is_none() {
        return Ok((true, canned(&url, expires)));
    }
    let resource = match request.scope.as_deref() {
        None => url,
        Some(scope) if scope == "*" || scope.contains("://") => scope.to_owned(),
        Some(scope) if scope.ends_with('/') => format!("{origin}{scope}*"),
        Some(scope) => format!("{origin}{scope}"),
    };
    let ip_address = match request.client_ip {
        None => None,
        Some(ip) if ip.is_ipv4() => Some(SourceIp { range: format!("{ip}/32") }),
        Some(_) => return refuse("a CloudFront policy can name IPv4 addresses only"),
    };
    let date_greater_than = request.not_before.map(|at| EpochTime { seconds: at.plus(-1).0 });
    let condition = Condition { date_less_than: EpochTime { seconds: expires.0 }, date_greater_than, ip_address };
    let policy = Policy { statement: vec![Statement { resource, condition }] };
    serde_json::to_string(&policy).map(|text| (false, text)).map_err(|_| SignError::Crypto)
}

#[cfg(test)]
mod tests;

//! The scheme `aws-smd`: AWS Secure Media Delivery at the Edge.
//!
//! A JWT in the first path segment, a session id before it: `/[session.]JWT/…`. What it binds the viewer
//! to is not in the token: only a MAC over the attributes is (`intsig`). The original skips checks when a
//! header is missing and a fallback is set, when `intsig` or `exp` is missing, or when a path is on the
//! exclusion list; here a fallback is no excuse, both claims are required where they are needed, and an
//! excluded path is one more path that the token opens, under all its other rules.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compact::{self, Compact};
use super::digest::{Hash, same};
use super::times::Times;
use super::{Scheme, SignError, SignRequest, Signed, fields};
use crate::name::Name;
use crate::path::{is_under, percent_decode};
use crate::token::{Algorithm, Denial, Details, Grant, Key, KeySource, Presented, RequestFacts, Strip, Where, carrier};

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set with the shared secrets, by their ids.
    pub keys: Name,
    /// The header that carries the viewer's country (`cloudfront-viewer-country`), where a trusted proxy
    /// sets it; the gateway's own database when not given.
    #[serde(default)]
    pub country_header: Option<String>,
    /// The header that carries the viewer's region (`cloudfront-viewer-country-region`), where a trusted
    /// proxy sets it. Without it, a token bound to a region is refused.
    #[serde(default)]
    pub region_header: Option<String>,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct AwsSmd {
    config: Config,
    keys: KeySource,
}

/// What is asked of each request again.
struct Terms {
    paths: Vec<String>,
    attributes: Option<Attributes>,
}

/// The viewer's attributes that the inner MAC covers.
struct Attributes {
    key: Arc<Key>,
    mac: Vec<u8>,
    /// 4 or 6, when the address is one of them.
    address: Option<u64>,
    country: bool,
    region: bool,
    session: Option<String>,
    headers: Vec<String>,
    query: Vec<String>,
}

/// The session id, if there is one, and the JWT.
fn split(segment: &str) -> Option<(Option<&str>, &str)> {
    match segment.split('.').count() {
        3 => Some((None, segment)),
        4 => segment.split_once('.').map(|(session, jwt)| (Some(session), jwt)),
        _ => None,
    }
}

fn is_token(segment: &str) -> bool {
    split(segment).is_some_and(|(_, jwt)| jwt.starts_with("eyJ"))
}

fn mac_of(key: &Key, message: &[u8]) -> Result<Vec<u8>, Denial> {
    let octets = key.octets().filter(|_| matches!(key.algorithm(), Algorithm::Secret | Algorithm::HS256));
    Ok(Hash::Sha256.mac(octets.ok_or(Denial::WrongAlgorithm)?, &[message]))
}

impl AwsSmd {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        Ok(Self { config: config.clone(), keys })
    }

    fn verify(&self, token: &Compact<'_>) -> Result<Arc<Key>, Denial> {
        if token.algorithm()? != Algorithm::HS256 {
            return Err(Denial::WrongAlgorithm);
        }
        let keys = self.keys.load();
        let key = keys.get(token.key_id()?.ok_or(Denial::UnknownKey)?).ok_or(Denial::UnknownKey)?;
        let (signed, signature) = token.signed();
        if same(&mac_of(key, signed.as_bytes())?, signature) { Ok(key.clone()) } else { Err(Denial::BadSignature) }
    }

    /// The text under the inner MAC: address, country, region, session, headers, parameters.
    fn message(&self, attributes: &Attributes, facts: &RequestFacts<'_>) -> Result<String, Denial> {
        let mut parts: Vec<String> = Vec::new();
        if let Some(version) = attributes.address {
            parts.push(address(facts.client_ip, version)?);
        }
        if attributes.country {
            let country = match &self.config.country_header {
                Some(name) => facts.single_header(name)?.map(str::to_owned),
                None => facts.country().map(|country| country.to_string()),
            };
            parts.push(country.ok_or(Denial::Country)?);
        }
        if attributes.region {
            let name = self.config.region_header.as_deref().ok_or(Denial::Country)?;
            parts.push(facts.single_header(name)?.ok_or(Denial::Country)?.to_owned());
        }
        parts.extend(attributes.session.clone());
        for name in &attributes.headers {
            parts.push(facts.single_header(name)?.ok_or(Denial::Header)?.to_owned());
        }
        for name in &attributes.query {
            parts.push(carrier::single_query(facts.query.unwrap_or(""), name)?.ok_or(Denial::Parameters)?.to_owned());
        }
        Ok(parts.join(":"))
    }

    fn check_attributes(&self, attributes: &Attributes, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let message = self.message(attributes, facts)?;
        if same(&mac_of(&attributes.key, message.as_bytes())?, &attributes.mac) {
            return Ok(());
        }
        Err(match attributes {
            Attributes { address: Some(_), .. } => Denial::Address,
            Attributes { country: true, .. } | Attributes { region: true, .. } => Denial::Country,
            Attributes { session: Some(_), .. } => Denial::Claim,
            Attributes { query, .. } if !query.is_empty() => Denial::Parameters,
            _ => Denial::Header,
        })
    }
}

/// An address as the signer writes it: IPv6 with all its digits.
fn address(ip: IpAddr, version: u64) -> Result<String, Denial> {
    match (ip.to_canonical(), version) {
        (IpAddr::V4(v4), 4) => Ok(v4.to_string()),
        (IpAddr::V6(v6), 6) => Ok(v6.segments().map(|segment| format!("{segment:04x}")).join(":")),
        _ => Err(Denial::Address),
    }
}

fn flag(claims: &Map<String, Value>, name: &str) -> Result<bool, Denial> {
    claims.get(name).map_or(Ok(false), |value| value.as_bool().ok_or(Denial::Claim))
}

fn texts(claims: &Map<String, Value>, name: &str) -> Result<Vec<String>, Denial> {
    let Some(value) = claims.get(name) else { return Ok(Vec::new()) };
    let all = value.as_array().ok_or(Denial::Claim)?.iter();
    all.map(|text| text.as_str().map(str::to_owned).ok_or(Denial::Claim)).collect()
}

fn attributes(claims: &Map<String, Value>, session: Option<&str>, key: &Arc<Key>) -> Result<Option<Attributes>, Denial> {
    if flag(claims, "cty")? {
        // The original signs the city and never checks it.
        return Err(Denial::Unsupported);
    }
    let version = claims.get("ip_ver").and_then(Value::as_u64).filter(|version| matches!(version, 4 | 6));
    let address = if flag(claims, "ip")? { Some(version.ok_or(Denial::Claim)?) } else { None };
    let session = match (flag(claims, "ssn")?, session) {
        (true, Some(session)) if !session.is_empty() => Some(session.to_owned()),
        (true, _) => return Err(Denial::Claim),
        // An id that no MAC covers could be any viewer's.
        (false, Some(_)) => return Err(Denial::Malformed),
        (false, None) => None,
    };
    let (country, region) = (flag(claims, "co")?, flag(claims, "reg")?);
    let (headers, query) = (texts(claims, "headers")?, texts(claims, "qs")?);
    let bound = address.is_some() || country || region || session.is_some() || !headers.is_empty() || !query.is_empty();
    if !bound {
        return Ok(None);
    }
    let mac = compact::text(claims, "intsig")?.ok_or(Denial::Claim)?;
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Denial::Claim)?;
    Ok(Some(Attributes { key: key.clone(), mac, address, country, region, session, headers, query }))
}

impl Scheme for AwsSmd {
    fn kind(&self) -> &'static str {
        "aws-smd"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let token = carrier::first_segment(facts).filter(|segment| is_token(segment));
        Ok(token.map(|token| Presented { token: token.into(), strip: vec![Strip::Segment(0)] }))
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let (session, jwt) = split(&presented.token).ok_or(Denial::Malformed)?;
        let token = Compact::parse(jwt)?;
        let key = self.verify(&token)?;
        let claims = &token.claims;
        let mut paths = texts(claims, "paths")?;
        paths.extend(texts(claims, "exc")?);
        if paths.iter().any(|path| !path.starts_with('/')) {
            return Err(Denial::Claim);
        }
        let attributes = attributes(claims, session, &key)?;
        Ok(Grant {
            // The session is what the original's revocation names.
            token_id: session.map(Into::into),
            key_id: key.id().cloned(),
            window: self.config.times.rules().window(claims)?,
            details: Details::new(Terms { paths, attributes }),
            ..Grant::default()
        })
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let terms = grant.details.get::<Terms>().ok_or(Denial::Claim)?;
        // Children of a session come without the token's segment.
        let below = match carrier::first_segment(facts).filter(|segment| is_token(segment)) {
            Some(token) => facts.below_mount().get(token.len() + 1..).filter(|rest| rest.starts_with('/')).ok_or(Denial::Path)?,
            None => facts.below_mount(),
        };
        let path = format!("{}{below}", &facts.path.raw()[..facts.mount]);
        let path = percent_decode(&path).ok_or(Denial::Malformed)?;
        if !terms.paths.iter().any(|prefix| is_under(&path, prefix)) {
            return Err(Denial::Path);
        }
        terms.attributes.as_ref().map_or(Ok(()), |attributes| self.check_attributes(attributes, facts))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let no_key = || SignError::NoKey(request.key_id.clone());
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let (claims, session) = claims_for(request, &key)?;
        let header = serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": &**key.id().ok_or_else(no_key)? });
        let encode = |value: String| URL_SAFE_NO_PAD.encode(value);
        let signed = format!("{}.{}", encode(header.to_string()), encode(Value::Object(claims).to_string()));
        let mac = mac_of(&key, signed.as_bytes()).map_err(|_| no_key())?;
        let token = format!("{session}{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
        let (mount, below) = request.path.split_at_checked(request.mount).ok_or(SignError::Crypto)?;
        Ok(Signed { path: format!("{mount}/{token}{below}"), token, query: request.query.clone(), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        matches!(place, Where::Segment(segment) if is_token(segment))
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// The claims of a new token and what stands before it: bound to the address and the session asked for.
fn claims_for(request: &SignRequest, key: &Key) -> Result<(Map<String, Value>, String), SignError> {
    let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
    let mut claims = request.claims.clone();
    let session = claims.remove("session").and_then(|session| session.as_str().map(str::to_owned));
    let known = ["paths", "exc"];
    if let Some(other) = claims.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(cannot(&format!("claim \"{other}\"")));
    }
    if session.as_deref().is_some_and(|session| session.is_empty() || session.contains(['.', '/', ':'])) {
        return Err(cannot("a session id holds no dot, slash or colon"));
    }
    let ip = request.client_ip.map(|ip| ip.to_canonical());
    claims.insert("exp".into(), request.expires.ok_or_else(|| cannot("a token needs an expiry"))?.0.into());
    claims.extend(request.not_before.map(|at| ("nbf".to_owned(), at.0.into())));
    claims.extend(request.now.map(|at| ("iat".to_owned(), at.0.into())));
    claims.entry("paths").or_insert_with(|| vec![request.scope.as_deref().unwrap_or(&request.path)].into());
    claims.insert("ip".into(), ip.is_some().into());
    claims.insert("ssn".into(), session.is_some().into());
    let version = ip.map(|ip| if ip.is_ipv4() { 4 } else { 6 });
    let mut message: Vec<String> = Vec::new();
    if let (Some(ip), Some(version)) = (ip, version) {
        claims.insert("ip_ver".into(), version.into());
        message.push(address(ip, version).map_err(|_| SignError::Crypto)?);
    }
    message.extend(session.clone());
    if !message.is_empty() {
        let mac = mac_of(key, message.join(":").as_bytes()).map_err(|_| SignError::NoKey(None))?;
        claims.insert("intsig".into(), URL_SAFE_NO_PAD.encode(mac).into());
    }
    Ok((claims, session.map(|session| session + ".").unwrap_or_default()))
}

#[cfg(test)]
mod tests;

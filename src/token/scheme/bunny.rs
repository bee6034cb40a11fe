//! The scheme `bunny`: Bunny CDN token authentication, its three generations (docs.bunny.net, "Token
//! Authentication"; the vendor's signers are the better source where the two differ).
//!
//! | generation | token |
//! |---|---|
//! | `hs256` | `HS256-`, `1-` when bound to an address, base64url(HMAC-SHA256(key, path, expires, address bytes, parameters)) |
//! | `sha256` | base64url(SHA-256(key, path, expires, address, parameters)) |
//! | `md5` | base64url(MD5(key, path, expires, address)) |
//!
//! The path is `token_path` where the token has one; parameters are all others, sorted. The parts are
//! joined without a mark between them, so two requests could share signed bytes (`/seg1` and
//! `760003600`, `/seg` and `1760003600`). Hence an expiry has ten digits, no more and no fewer, and no
//! parameter begins with a digit or holds a `&` when decoded. What stays, and cannot be told from
//! outside: a path that spells another path, an expiry and a parameter's name (`/a1760003600x=`), so
//! names chosen by strangers should not be signed; and a bound address whose bytes read as text
//! (97.98.99.61 is `abc=`), which can be passed off as a parameter of an unbound token.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::fields;
use super::{Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::grant::Window;
use crate::token::{Binding, Carrier, Country, Denial, Grant, KeySource, PathRule, Presented, RequestFacts, Scope, Strip, Where};
use crate::units::Period;
use crate::{path, query};

const SEGMENT: &str = "bcdn_token=";
const LONGEST: usize = 8192;
/// Parameters that are Bunny's and not the origin's.
const OWN: [&str; 7] = ["token", "expires", "token_path", "token_countries", "token_countries_blocked", "token_ignore_params", "limit"];

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pull zone's security key; more than one while it is being changed.
    pub keys: Name,
    /// Generations that are taken.
    #[serde(default = "all")]
    pub generations: Vec<Generation>,
    /// How far clocks may differ. A token is good up to and through its `expires`.
    #[serde(default = "none")]
    pub leeway: Period,
    /// The generation of new tokens.
    #[serde(default)]
    pub sign_as: Generation,
    /// Where new tokens are put.
    #[serde(default)]
    pub sign_into: Place,
}

/// A generation of Bunny's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// HMAC-SHA256, the present one.
    #[default]
    Hs256,
    /// SHA-256, "advanced".
    Sha256,
    /// MD5, "basic": covers the exact path and the expiry, no parameters.
    Md5,
}

/// Where a token is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Query parameters.
    #[default]
    Query,
    /// A first path segment, which relative URLs inherit.
    Path,
}

fn all() -> Vec<Generation> {
    vec![Generation::Hs256, Generation::Sha256, Generation::Md5]
}

fn none() -> Period {
    Period::seconds(0)
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct Bunny {
    keys: KeySource,
    config: Config,
}

impl Bunny {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        if config.generations.is_empty() {
            return Err("bunny: `generations` needs at least one entry".into());
        }
        Ok(Self { keys, config: config.clone() })
    }

    /// Whether one of the secrets made this token for this path and viewer.
    fn key_of(&self, token: &Token, paths: &[&str], ip: IpAddr) -> Option<std::sync::Arc<crate::token::Key>> {
        let data = token.data();
        let addresses: Vec<Vec<u8>> = match token.generation {
            Generation::Hs256 if token.bound => vec![address_bytes(ip)],
            Generation::Hs256 => vec![Vec::new()],
            // These do not say whether they are bound: the signer decided.
            Generation::Sha256 | Generation::Md5 => vec![Vec::new(), ip.to_canonical().to_string().into_bytes()],
        };
        let good = |secret: &[u8]| {
            let mut good = false;
            for (path, address) in paths.iter().flat_map(|path| addresses.iter().map(move |address| (path, address))) {
                // Signers of the second generation disagree on which of the two is last.
                for (first, last) in [(address.as_slice(), data.as_bytes()), (data.as_bytes(), address.as_slice())] {
                    let parts = [path.as_bytes(), token.expires.as_bytes(), first, last];
                    good |= digest::same(&token.generation.digest(secret, parts), &token.digest);
                    if token.generation == Generation::Hs256 {
                        break;
                    }
                }
            }
            good
        };
        fields::matching_secret(&self.keys, good)
    }
}

impl Generation {
    fn digest(self, secret: &[u8], [path, expires, first, last]: [&[u8]; 4]) -> Vec<u8> {
        match self {
            Self::Hs256 => Hash::Sha256.mac(secret, &[path, expires, first, last]),
            Self::Sha256 => Hash::Sha256.of(&[secret, path, expires, first, last]),
            Self::Md5 => Hash::Md5.of(&[secret, path, expires, first, last]),
        }
    }
}

/// Four bytes, or sixteen of which the last eight are zero: an IPv6 viewer is bound by /64.
fn address_bytes(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => [&ip.octets()[..8], &[0; 8]].concat(),
    }
}

impl Scheme for Bunny {
    fn kind(&self) -> &'static str {
        "bunny"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let query = facts.query.unwrap_or("");
        let segment = Carrier::PathPrefixed(SEGMENT.to_owned()).find(facts)?;
        // `token` alone may be another scheme's.
        let in_query = ["token", "expires"].iter().all(|name| query::values(query, name).next().is_some());
        let (text, mut strip) = match segment {
            Some(_) if in_query => return Err(Denial::Ambiguous),
            // Parameters outside the segment are parameters all the same.
            Some(found) => (format!("token={}&{query}", found.token), found.strip),
            None if in_query => (query.to_owned(), Vec::new()),
            None => return Ok(None),
        };
        if text.len() > LONGEST {
            return Err(Denial::TooLarge);
        }
        strip.extend(OWN.iter().map(|name| Strip::Query((*name).to_owned())));
        Ok(Some(Presented { token: Token::parse(&text)?.text().into(), strip }))
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = Token::parse(&presented.token)?;
        if !self.config.generations.contains(&token.generation) {
            return Err(Denial::WrongAlgorithm);
        }
        let asked = [path::without_segment(facts.path.raw(), SEGMENT), path::without_segment(facts.path.decoded(), SEGMENT)];
        let paths: Vec<&str> = match token.get("token_path") {
            Some(path) => vec![path],
            // Some of the vendor's signers take the path as it is written, some decoded.
            None if asked[0] == asked[1] => vec![&asked[0]],
            None => vec![&asked[0], &asked[1]],
        };
        let key = self.key_of(&token, &paths, facts.client_ip).ok_or(Denial::BadSignature)?;
        let mut grant = token.grant(self.config.leeway.as_unix())?;
        grant.key_id = key.id().cloned();
        Ok(grant)
    }

    /// The path and the viewer's address are in the signed bytes.
    fn remembers(&self) -> bool {
        false
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let secret = key.octets().ok_or(SignError::Crypto)?;
        let token = self.token_to_sign(request)?;
        let data = token.data();
        let address = match (request.client_ip, self.config.sign_as) {
            (None, _) => Vec::new(),
            (Some(ip), Generation::Hs256) => address_bytes(ip),
            (Some(ip), _) => ip.to_canonical().to_string().into_bytes(),
        };
        let path = token.get("token_path").unwrap_or(&request.path);
        let digest = self.config.sign_as.digest(secret, [path.as_bytes(), token.expires.as_bytes(), &address, data.as_bytes()]);
        place(request, self.config.sign_into, &Token { digest, ..token })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) => OWN.contains(&name) || name.starts_with("token_"),
            Where::Segment(segment) => segment.starts_with(SEGMENT),
            _ => false,
        }
    }

    fn path_tokens(&self) -> Vec<String> {
        vec![SEGMENT.to_owned()]
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// A token with the parameters that it covers.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    generation: Generation,
    /// Whether it says that it is bound to an address.
    bound: bool,
    digest: Vec<u8>,
    expires: String,
    /// Decoded, sorted by name.
    params: Vec<(String, String)>,
}

impl Token {
    /// Reads `name=value` pairs; keeps those that a signature covers.
    fn parse(text: &str) -> Result<Self, Denial> {
        let mut params: Vec<(String, String)> = Vec::new();
        for (name, value) in query::pairs(text) {
            let name = query::decode(name).ok_or(Denial::Malformed)?;
            let value = query::decode(value).ok_or(Denial::Malformed)?;
            params.push((name, value));
        }
        params.sort();
        if params.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Denial::Duplicate);
        }
        let mut take = |name: &str| params.iter().position(|(have, _)| have == name).map(|at| params.remove(at).1);
        let (Some(token), Some(expires)) = (take("token"), take("expires")) else { return Err(Denial::Malformed) };
        let (generation, bound, digest) = read_digest(&token).ok_or(Denial::Malformed)?;
        if expires.len() != 10 || expires.starts_with('0') {
            return Err(Denial::Malformed);
        }
        fields::seconds(&expires)?;
        match params.iter().find(|(name, _)| name == "token_ignore_params").map(|(_, value)| &**value) {
            None => {}
            Some("true") => params.retain(|(name, _)| matches!(&**name, "token_ignore_params" | "token_path")),
            Some(_) => return Err(Denial::Unsupported),
        }
        if generation == Generation::Md5 {
            // They would look like restrictions, and nothing would vouch for them.
            if params.iter().any(|(name, _)| name.starts_with("token_")) {
                return Err(Denial::Malformed);
            }
            params.clear();
        }
        // Signed bytes are the decoded `name=value&name=value`: a value that holds a `&` could swallow
        // the restriction after it (`a=1%26token_countries%3DSE`).
        let ambiguous = |name: &str| name.is_empty() || name.contains(['&', '=']) || name.starts_with(|first: char| first.is_ascii_digit());
        if params.iter().any(|(name, value)| ambiguous(name) || value.contains('&')) {
            return Err(Denial::Malformed);
        }
        Ok(Self { generation, bound, digest, expires, params })
    }

    /// One text for one token, whatever order and encoding it came in.
    fn text(&self) -> String {
        let mut text = String::new();
        query::push(&mut text, "token", &self.encoded());
        query::push(&mut text, "expires", &self.expires);
        for (name, value) in &self.params {
            query::push(&mut text, name, value);
        }
        text
    }

    fn encoded(&self) -> String {
        let digest = URL_SAFE_NO_PAD.encode(&self.digest);
        match (self.generation, self.bound) {
            (Generation::Hs256, true) => format!("HS256-1-{digest}"),
            (Generation::Hs256, false) => format!("HS256-{digest}"),
            _ => digest,
        }
    }

    /// The parameters as they are signed.
    fn data(&self) -> String {
        let pairs: Vec<String> = self.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(have, _)| have == name).map(|(_, value)| &**value)
    }

    fn grant(&self, leeway: i64) -> Result<Grant, Denial> {
        let mut grant = Grant { window: Window::until(fields::seconds(&self.expires)?.plus(leeway).plus(1)), ..Grant::default() };
        if let Some(scope) = self.get("token_path") {
            if !scope.starts_with('/') {
                return Err(Denial::Unsupported);
            }
            grant.scope = Scope::Beside(SEGMENT.to_owned(), vec![PathRule::Under(scope.to_owned())]);
        }
        if let Some(list) = self.get("token_countries") {
            grant.bindings.push(Binding::Countries(countries(list)?));
        }
        if let Some(list) = self.get("token_countries_blocked") {
            grant.bindings.push(Binding::NotCountries(countries(list)?));
        }
        if let Some(limit) = self.get("limit") {
            // kB a second.
            let limit: u32 = limit.parse().map_err(|_| Denial::Unsupported)?;
            grant.pace = Some(u64::from(limit) * 1000).filter(|pace| *pace > 0);
        }
        // A restriction that is not understood is not kept, so it must not be passed over.
        let unknown = |name: &str| name.starts_with("token_") && !OWN.contains(&name);
        if self.params.iter().any(|(name, _)| unknown(name)) { Err(Denial::Unsupported) } else { Ok(grant) }
    }
}

/// Which generation a token is of is told by its length; `-` may be a digit of base64url too.
fn read_digest(token: &str) -> Option<(Generation, bool, Vec<u8>)> {
    let digest = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    match token.strip_prefix("HS256-") {
        Some(rest) if rest.len() == 43 => Some((Generation::Hs256, false, digest(rest)?)),
        Some(rest) if rest.len() == 45 => Some((Generation::Hs256, true, digest(rest.strip_prefix("1-")?)?)),
        None if token.len() == 43 => Some((Generation::Sha256, false, digest(token)?)),
        None if token.len() == 22 => Some((Generation::Md5, false, digest(token)?)),
        _ => None,
    }
}

fn countries(list: &str) -> Result<Vec<Country>, Denial> {
    list.split(',').map(|code| Country::new(code.trim()).ok_or(Denial::Unsupported)).collect()
}

fn cannot(why: &str) -> SignError {
    SignError::CannotExpress(why.to_owned())
}

impl Bunny {
    /// The token of a request, its digest still to be made.
    fn token_to_sign(&self, request: &SignRequest) -> Result<Token, SignError> {
        let generation = self.config.sign_as;
        if request.not_before.is_some() || request.subject.is_some() {
            return Err(cannot("a Bunny token has neither a start nor a subject"));
        }
        let expires = fields::expiry(request)?.plus(-1);
        if expires < UnixTime(1_000_000_000) || expires > UnixTime(9_999_999_999) {
            return Err(cannot("the expiry must have ten digits"));
        }
        let ignored = request.claims.get("token_ignore_params").is_some_and(|value| value == &serde_json::Value::Bool(true));
        let mut text = if ignored { String::new() } else { request.query.clone().unwrap_or_default() };
        if self.config.sign_into == Place::Path && !text.is_empty() {
            return Err(cannot("a token in the path leaves no place for a query, but with token_ignore_params"));
        }
        if query::pairs(request.query.as_deref().unwrap_or("")).any(|(name, _)| OWN.contains(&name)) {
            return Err(cannot("the query holds one of Bunny's own parameters"));
        }
        for (name, value) in &request.claims {
            let value = match (&**name, value) {
                ("token_countries" | "token_countries_blocked" | "limit", serde_json::Value::String(value)) => value.clone(),
                ("limit", serde_json::Value::Number(value)) => value.to_string(),
                ("token_ignore_params", serde_json::Value::Bool(true)) => "true".to_owned(),
                _ => return Err(cannot("a claim that Bunny's tokens do not have")),
            };
            query::push(&mut text, name, &value);
        }
        if let Some(scope) = &request.scope {
            query::push(&mut text, "token_path", scope);
        }
        let length = if generation == Generation::Md5 { 22 } else { 43 };
        let flag = match (generation, request.client_ip) {
            (Generation::Hs256, Some(_)) => "HS256-1-",
            (Generation::Hs256, None) => "HS256-",
            _ => "",
        };
        let token = Token::parse(&format!("token={flag}{}&expires={expires}&{text}", "A".repeat(length)));
        let token = token.map_err(|_| cannot("these parameters cannot stand in a token of this generation"))?;
        token.grant(0).map_err(|_| cannot("these restrictions cannot stand in a token"))?;
        Ok(token)
    }
}

fn place(request: &SignRequest, into: Place, token: &Token) -> Result<Signed, SignError> {
    let mut tail = String::new();
    let own = |name: &str| OWN.contains(&name);
    for (name, value) in token.params.iter().filter(|(name, _)| own(name)) {
        query::push(&mut tail, name, value);
    }
    query::push(&mut tail, "expires", &token.expires);
    let mut signed = Signed { token: token.encoded(), path: request.path.clone(), query: request.query.clone(), ..Signed::default() };
    match into {
        Place::Query => {
            let rest = request.query.as_ref().map_or_else(String::new, |query| format!("&{query}"));
            signed.query = Some(format!("token={}{rest}&{tail}", signed.token));
        }
        Place::Path => {
            signed.path = fields::insert_segment(&request.path, request.mount, &format!("{SEGMENT}{}&{tail}", signed.token))?;
        }
    }
    Ok(signed)
}

#[cfg(test)]
mod tests;

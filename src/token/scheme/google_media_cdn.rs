//! The scheme `google-media-cdn`: signed requests and dual-token tokens of Google Media CDN (Media
//! CDN docs, "Use signed requests", "Use dual-token authentication").
//!
//! A signed request is a signed URL, URL prefix, cookie or path component, Ed25519. A token is
//! `~`-joined fields with `Signature` (Ed25519) or `hmac` last. `FullPath` and `Headers` stand in a
//! token by name only; the values are in the signed bytes, so they are in the token's text too, and
//! verdicts can be remembered under it. The values of several bound headers are joined by commas
//! without escapes: the format cannot tell `A=x,B=y` in one value from two values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::exchange::{self, Exchange};
use super::fields;
use super::google_signed::{self, Put, SignedRequest};
use super::{Due, Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::path;
use crate::token::grant::Window;
use crate::token::key::Family;
use crate::token::{
    Binding, Carrier, Denial, Grant, Key, KeySource, PathRule, Presented, Renewed, RequestFacts, Scope, Strip, Where, access, carrier,
};
use crate::units::Period;

const COOKIE: &str = "Edge-Cache-Cookie";
const COMPONENT: &str = "edge-cache-token=";
const LONGEST: usize = 8192;
/// What long tokens say in `Data`.
const LONG: &str = "long";

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The keyset: Ed25519 public keys by their `KeyName`, and shared secrets for `hmac` tokens.
    pub keys: Name,
    /// Names of the query parameter or path segment that holds a dual-token token.
    #[serde(default = "names")]
    pub names: Vec<String>,
    /// The hash of `hmac` tokens.
    #[serde(default)]
    pub hmac: HmacHash,
    /// How far clocks may differ. A token is good up to and through its `Expires`.
    #[serde(default = "none")]
    pub leeway: Period,
    /// What is made when signing.
    #[serde(default)]
    pub sign_as: SignAs,
    /// Gives a long token for the entry's folder with an entry that a short token opened (dual-token authentication).
    #[serde(default)]
    pub exchange: Option<Exchange>,
}

/// The hash of `hmac` tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HmacHash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-1.
    Sha1,
}

/// What is made when signing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignAs {
    /// A signed URL; a signed URL prefix where a scope is asked for.
    #[default]
    Query,
    /// A signed cookie.
    Cookie,
    /// A signed path component.
    Path,
    /// A dual-token token in the query, under the first of `names`.
    Token,
}

fn names() -> Vec<String> {
    ["hdnts", "hdntl", "edge-cache-token"].into_iter().map(Into::into).collect()
}

fn none() -> Period {
    Period::seconds(0)
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct GoogleMediaCdn {
    keys: KeySource,
    config: Config,
}

impl GoogleMediaCdn {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        let fine = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if config.names.is_empty() || !config.names.iter().all(fine) {
            return Err("google-media-cdn: `names` needs at least one name of letters, digits, '-' and '_'".into());
        }
        let in_path = config.exchange.as_ref().filter(|exchange| exchange.into == exchange::Into::Path);
        if let Some(name) = in_path.and_then(|exchange| exchange.name.as_ref()).filter(|name| !config.names.contains(name)) {
            return Err(format!("google-media-cdn: long tokens would not be found: `names` needs {name:?}"));
        }
        if config.exchange.as_ref().is_some_and(|exchange| exchange.into == exchange::Into::Cookie && exchange.name.is_some()) {
            return Err(format!("google-media-cdn: the cookie of long tokens is always {COOKIE}"));
        }
        Ok(Self { keys, config: config.clone() })
    }

    fn hash(&self) -> Hash {
        match self.config.hmac {
            HmacHash::Sha256 => Hash::Sha256,
            HmacHash::Sha1 => Hash::Sha1,
        }
    }

    /// Everything found, in every place.
    fn find<'r>(&self, facts: &RequestFacts<'r>) -> Result<Vec<Presented<'r>>, Denial> {
        let mut found: Vec<Presented<'r>> = google_signed::in_query(facts)?.into_iter().collect();
        for name in &self.config.names {
            if let Some(raw) = carrier::single_query(facts.query.unwrap_or(""), name)? {
                let token = if raw.contains('%') { path::percent_decode(raw).ok_or(Denial::Malformed)? } else { raw.to_owned() };
                found.push(Presented { token: dual_text(facts, "", &token)?.into(), strip: vec![Strip::Query(name.clone())] });
            }
        }
        for start in self.path_tokens() {
            let Some(segment) = Carrier::PathPrefixed(start.clone()).find(facts)? else { continue };
            if start == COMPONENT && segment.token.contains("&KeyName=") {
                found.extend(google_signed::in_path(facts, COMPONENT)?);
            } else {
                found.push(Presented { token: dual_text(facts, &start, &segment.token)?.into(), strip: segment.strip });
            }
        }
        if let Some(cookie) = Carrier::Cookie(COOKIE.to_owned()).find(facts)? {
            if google_signed::is_cookie(&cookie.token) {
                found.extend(google_signed::in_cookie(facts, COOKIE)?);
            } else {
                found.push(Presented { token: dual_text(facts, "", &cookie.token)?.into(), strip: cookie.strip });
            }
        }
        Ok(found)
    }

    fn open_request(&self, text: &str) -> Result<Grant, Denial> {
        let request = SignedRequest::parse(text)?;
        let signature = digest::base64url(request.signature).ok_or(Denial::Malformed)?;
        let keys = self.keys.load();
        let key = keys.get(request.key_name).ok_or(Denial::UnknownKey)?;
        if key.family() != Family::Ed25519 {
            return Err(Denial::WrongAlgorithm);
        }
        if !key.verify(request.signed.as_bytes(), &signature) {
            return Err(Denial::BadSignature);
        }
        request.grant(self.config.leeway.as_unix())
    }

    fn open_token(&self, text: &str) -> Result<Grant, Denial> {
        let token = Token::parse(text)?;
        let signed = token.signed()?;
        let key_id = match token.proof {
            Proof::Signature(signature) => {
                let signature = digest::base64url(signature).ok_or(Denial::Malformed)?;
                let good = |key: &Key| key.family() == Family::Ed25519 && key.verify(signed.as_bytes(), &signature);
                self.keys.load().iter().find(|key| good(key)).map(|key| key.id().cloned())
            }
            Proof::Hmac(hmac) => {
                let mac = |secret: &[u8]| digest::hex(&self.hash().mac(secret, &[signed.as_bytes()]));
                fields::matching_secret(&self.keys, |secret| digest::same(mac(secret).as_bytes(), hmac.as_bytes()))
                    .map(|key| key.id().cloned())
            }
        };
        let key_id = key_id.ok_or(Denial::BadSignature)?;
        Ok(Grant { key_id, ..token.grant(self.config.leeway.as_unix())? })
    }
}

impl Scheme for GoogleMediaCdn {
    fn kind(&self) -> &'static str {
        "google-media-cdn"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let found = self.find(facts)?.into_iter().map(|found| Ok(Some(found)));
        carrier::one_of(found, |first, second| self.config.exchange.as_ref().and_then(|_| exchange::later(first, second, ends)))
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let mut grant =
            if presented.token.starts_with("t\n") { self.open_token(&presented.token)? } else { self.open_request(&presented.token)? };
        grant.renewal = self.config.exchange.as_ref().filter(|_| is_short(&presented.token)).map(Exchange::renewal);
        Ok(grant)
    }

    fn renew(&self, due: &Due<'_>) -> Result<Option<Renewed>, SignError> {
        let Some(exchange) = &self.config.exchange else { return Ok(None) };
        let name = match (exchange.into, &exchange.name) {
            (exchange::Into::Cookie, _) => COOKIE,
            (exchange::Into::Path, Some(name)) => name,
            (exchange::Into::Path, None) => COMPONENT.trim_end_matches('='),
        };
        exchange.renew(due, name, |folder, until| self.long(exchange, &due.presented.token, (folder, until)))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        if self.config.sign_as == SignAs::Token {
            return self.sign_token(request);
        }
        let keys = self.keys.load();
        let key = keys.signing(request.key_id.as_deref()).filter(|key| key.family() == Family::Ed25519);
        let (Some(key), Some(name)) = (key, key.and_then(|key| key.id())) else { return Err(SignError::NoKey(request.key_id.clone())) };
        let put = match self.config.sign_as {
            SignAs::Cookie => Put::Cookie(COOKIE),
            SignAs::Path => Put::Path(COMPONENT),
            SignAs::Query | SignAs::Token => Put::Query,
        };
        let encode = |bytes: Vec<u8>| base64::engine::general_purpose::URL_SAFE.encode(bytes);
        google_signed::sign(request, put, name, |text| key.sign(text.as_bytes()).map(encode))
    }

    fn reads(&self, place: Where<'_>) -> bool {
        let named = |text: &str| self.config.names.iter().any(|name| name == text);
        let in_path = |segment: &str| self.path_tokens().iter().any(|start| segment.starts_with(start));
        google_signed::reads(place)
            || place == Where::Cookie(COOKIE)
            || matches!(place, Where::Query(name) if named(name))
            || matches!(place, Where::Segment(segment) if in_path(segment))
    }

    fn path_tokens(&self) -> Vec<String> {
        let mut starts: Vec<String> = self.config.names.iter().map(|name| format!("{name}=")).collect();
        if !starts.iter().any(|start| start == COMPONENT) {
            starts.push(COMPONENT.to_owned());
        }
        starts
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// A token's text: the segment it came in, the values that its signature covers and it does not
/// hold, one a line, and the token.
fn dual_text(facts: &RequestFacts<'_>, start: &str, token: &str) -> Result<String, Denial> {
    if token.len() > LONGEST {
        return Err(Denial::TooLarge);
    }
    let names = token.split('~').find_map(|piece| piece.strip_prefix("Headers="));
    let mut values = String::new();
    for name in names.into_iter().flat_map(|names| names.split(',')) {
        // Without the value there is nothing the signature could be good for.
        let name: http::HeaderName = name.parse().map_err(|_| Denial::Malformed)?;
        let value = facts.single_header(name.as_str())?.ok_or(Denial::BadSignature)?;
        values.push_str(value);
        values.push('\n');
    }
    let full = if token.split('~').any(|piece| piece == "FullPath") {
        path::without_segment(facts.path.raw(), nonempty(start))
    } else {
        "".into()
    };
    let count = values.matches('\n').count();
    let text = format!("t\n{start}\n{full}\n{count}\n{values}{token}");
    Token::parse(&text)?;
    Ok(text)
}

/// No segment begins with a line end, so that nothing is taken out where no segment is named.
fn nonempty(start: &str) -> &str {
    if start.is_empty() { "\n" } else { start }
}

enum Proof<'t> {
    Signature(&'t str),
    Hmac(&'t str),
}

/// A dual-token token, taken apart.
struct Token<'t> {
    start: &'t str,
    full: &'t str,
    values: Vec<&'t str>,
    pieces: Vec<(&'t str, &'t str)>,
    proof: Proof<'t>,
}

const KNOWN: [&str; 9] = ["URLPrefix", "PathGlobs", "FullPath", "Starts", "Expires", "SessionID", "Data", "Headers", "IPRanges"];

impl<'t> Token<'t> {
    fn parse(text: &'t str) -> Result<Self, Denial> {
        let bad = Denial::Malformed;
        let mut lines = text.splitn(5, '\n');
        let mut line = || lines.next().ok_or(bad);
        let (_, start, full, count, rest) = (line()?, line()?, line()?, line()?, line()?);
        let count: usize = count.parse().map_err(|_| bad)?;
        let mut rest = rest.splitn(count.saturating_add(1), '\n');
        let values: Vec<&str> = rest.by_ref().take(count).collect();
        let token = rest.next().ok_or(bad)?;
        let (fields, proof) = token.rsplit_once('~').ok_or(bad)?;
        let proof = match proof.split_once('=').ok_or(bad)? {
            ("Signature", signature) => Proof::Signature(signature),
            ("hmac", hmac) => Proof::Hmac(hmac),
            _ => return Err(bad),
        };
        let mut pieces: Vec<(&str, &str)> = Vec::new();
        for piece in fields.split('~') {
            let (name, value) = if piece == "FullPath" { (piece, "") } else { piece.split_once('=').ok_or(bad)? };
            if !KNOWN.contains(&name) {
                return Err(Denial::Unsupported);
            }
            if pieces.iter().any(|(known, _)| *known == name) {
                return Err(Denial::Duplicate);
            }
            // A value for `FullPath` would be read as the path that was asked for.
            if (name == "FullPath") != value.is_empty() {
                return Err(bad);
            }
            pieces.push((name, value));
        }
        Ok(Self { start, full, values, pieces, proof })
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        self.pieces.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The bytes that were signed: the fields as received, with the values filled in.
    fn signed(&self) -> Result<String, Denial> {
        let mut out = Vec::new();
        for (name, value) in &self.pieces {
            out.push(match *name {
                "FullPath" => format!("FullPath={}", self.full),
                "Headers" => {
                    let names: Vec<&str> = value.split(',').collect();
                    if names.len() != self.values.len() {
                        return Err(Denial::Malformed);
                    }
                    let filled: Vec<String> = names.iter().zip(&self.values).map(|(name, value)| format!("{name}={value}")).collect();
                    format!("Headers={}", filled.join(","))
                }
                _ => format!("{name}={value}"),
            });
        }
        Ok(out.join("~"))
    }

    fn grant(&self, leeway: i64) -> Result<Grant, Denial> {
        let expires = fields::seconds(self.get("Expires").ok_or(Denial::NoExpiry)?)?;
        let from = self.get("Starts").map_or(Ok(UnixTime::MIN), |starts| fields::seconds(starts).map(|at| at.plus(-leeway)))?;
        let mut bindings = Vec::new();
        if let Some(ranges) = self.get("IPRanges") {
            let text = digest::base64url(ranges).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Denial::Unsupported)?;
            // A range that does not parse holds nobody; the vendor's own example has one beside a good one.
            bindings.push(Binding::Networks(text.split(',').filter_map(|net| access::parse_net(net.trim())).collect()));
        }
        Ok(Grant {
            window: Window { from, until: expires.plus(leeway).plus(1) },
            scope: self.scope()?,
            bindings,
            token_id: self.get("SessionID").map(Into::into),
            ..Grant::default()
        })
    }

    /// Exactly one of the three scopes.
    fn scope(&self) -> Result<Scope, Denial> {
        match (self.get("URLPrefix"), self.get("PathGlobs"), self.get("FullPath")) {
            (Some(prefix), None, None) => google_signed::url_scope(prefix, self.start),
            (None, Some(globs), None) => {
                let globs = path::percent_decode(globs).ok_or(Denial::Unsupported)?;
                let rules = globs.split([',', '!']).map(|glob| PathRule::Wild(glob.to_owned())).collect();
                Ok(if self.start.is_empty() { Scope::Paths(rules) } else { Scope::Beside(self.start.to_owned(), rules) })
            }
            (None, None, Some(_)) => Ok(Scope::Route),
            (None, None, None) => Err(Denial::Claim),
            _ => Err(Denial::Duplicate),
        }
    }
}

/// When a token's text says that it ends.
fn ends(text: &str) -> Option<UnixTime> {
    if text.starts_with("t\n") {
        return fields::seconds(Token::parse(text).ok()?.get("Expires")?).ok();
    }
    SignedRequest::parse(text).ok()?.ends()
}

/// Whether it is a token that is to be exchanged: cookies and path components open folders already.
fn is_short(text: &str) -> bool {
    match text.split('\n').next() {
        Some("t") => Token::parse(text).is_ok_and(|token| token.get("Data") != Some(LONG)),
        form => matches!(form, Some("u" | "p")),
    }
}

impl GoogleMediaCdn {
    /// The long token for `folder`, to the same viewer as the short one.
    fn long(&self, exchange: &Exchange, short: &str, (folder, until): (&str, UnixTime)) -> Result<String, SignError> {
        let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
        let folder = exchange::plain(folder).ok_or_else(|| cannot("the folder holds characters that cannot stand in a token"))?;
        let short = if short.starts_with("t\n") { Some(Token::parse(short).map_err(|_| SignError::Crypto)?) } else { None };
        let get = |name: &str| short.as_ref().and_then(|short| short.get(name));
        if get("Headers").is_some() {
            return Err(cannot("the values of bound headers are not in a token, so a long one cannot be bound to them"));
        }
        let glob = if exchange.into == exchange::Into::Path { folder.replace('/', "%2F") } else { folder.to_owned() };
        let field = |name: &str| get(name).map_or_else(String::new, |value| format!("~{name}={value}"));
        let (session, ranges) = (field("SessionID"), field("IPRanges"));
        let fields = format!("PathGlobs={glob}*~Expires={}{session}~Data={LONG}{ranges}", until.plus(-1));
        self.sealed(exchange.key.as_deref(), (&fields, &fields))
    }

    /// `token`, with the signature over `signed`.
    fn sealed(&self, key_id: Option<&str>, (token, signed): (&str, &str)) -> Result<String, SignError> {
        let keys = self.keys.load();
        let wanted = |key: &&std::sync::Arc<Key>| key_id.is_none_or(|id| key.id().is_some_and(|have| &**have == id));
        let fits = |key: &&std::sync::Arc<Key>| key.octets().is_some() || (key.family() == Family::Ed25519 && key.can_sign());
        let key = keys.iter().filter(wanted).find(fits).ok_or_else(|| SignError::NoKey(key_id.map(str::to_owned)))?;
        Ok(match key.octets() {
            Some(secret) => format!("{token}~hmac={}", digest::hex(&self.hash().mac(secret, &[signed.as_bytes()]))),
            None => format!("{token}~Signature={}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).ok_or(SignError::Crypto)?)),
        })
    }

    fn sign_token(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let (token, signed) = token_to_sign(request)?;
        let token = self.sealed(request.key_id.as_deref(), (&token, &signed))?;
        let before = request.query.as_ref().map_or_else(String::new, |query| format!("{query}&"));
        let name = self.config.names.first().map_or("hdnts", String::as_str);
        Ok(Signed { path: request.path.clone(), query: Some(format!("{before}{name}={token}")), token, ..Signed::default() })
    }
}

/// The fields as they stand in the token, and as they are signed.
fn token_to_sign(request: &SignRequest) -> Result<(String, String), SignError> {
    let cannot = |why: &str| SignError::CannotExpress(why.to_owned());
    let scope = match request.scope.as_deref() {
        None => ("FullPath".to_owned(), format!("FullPath={}", request.path)),
        Some(url) if url.contains("://") => {
            let prefix = format!("URLPrefix={}", google_signed::url_prefix(request)?.trim_end_matches('='));
            (prefix.clone(), prefix)
        }
        Some(glob) => {
            let glob = format!("PathGlobs={glob}{}", if glob.ends_with('/') { "*" } else { "" });
            (glob.clone(), glob)
        }
    };
    let mut fields = vec![scope];
    let mut push = |name: &str, value: String| {
        // Nothing that would read as another field, or not survive in a query.
        let fine = |byte: u8| byte.is_ascii_graphic() && !b"~&#%+\"<>\\".contains(&byte);
        if value.is_empty() || !value.bytes().all(fine) {
            return Err(cannot("a field holds characters that a token cannot carry"));
        }
        fields.push((format!("{name}={value}"), format!("{name}={value}")));
        Ok(())
    };
    if let Some(from) = request.not_before {
        push("Starts", from.0.max(0).to_string())?;
    }
    push("Expires", fields::expiry(request)?.plus(-1).to_string())?;
    let claim = |name: &str| request.claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    if let Some(session) = claim("SessionID").or_else(|| request.subject.clone()) {
        push("SessionID", session)?;
    }
    if let Some(data) = claim("Data") {
        push("Data", data)?;
    }
    if request.claims.iter().any(|(name, value)| !matches!(&**name, "SessionID" | "Data") || !value.is_string()) {
        return Err(cannot("the claims of a token are the texts `SessionID` and `Data`"));
    }
    if let Some(ip) = request.client_ip {
        push("IPRanges", URL_SAFE_NO_PAD.encode(format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })))?;
    }
    if fields[0].0.contains(['~', '&', '#', '%', '+', ' ']) {
        return Err(cannot("the scope holds characters that a token cannot carry"));
    }
    let (token, signed): (Vec<String>, Vec<String>) = fields.into_iter().unzip();
    Ok((token.join("~"), signed.join("~")))
}

#[cfg(test)]
mod tests;

//! The scheme `rfc9246`: URI Signing for CDN Interconnection.
//!
//! A signed JWT rides in the query, in a path parameter of any segment, or in a cookie. It is taken out
//! of the URI, the URI is normalised, and the container claim must match it from end to end. Claims
//! that the token itself calls critical must be known; a version other than 1 is refused.

mod jwe;
pub(super) mod uri;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::compact::{self, Compact};
use super::times::Times;
use super::{Due, Scheme, SignError, SignRequest, Signed, pattern};
use crate::name::Name;
use crate::token::renewal::{self, Renewal, RenewalCarrier, Renewed};
use crate::token::{Binding, Carrier, Denial, Details, Grant, Key, KeySource, Presented, RequestFacts, Strip, Where, access};
use uri::Container;

/// The claims that this side understands (RFC 9246 §2.1).
const KNOWN: [&str; 13] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cdniv", "cdnicrit", "cdniip", "cdniuc", "cdniets", "cdnistt"];
const DEPTH: &str = "cdnistd";
/// What the grant of a path that needs no token is called.
const UNSIGNED: &str = "unsigned";

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify with. A secret among them that is not for signing (`alg = "secret"`) opens
    /// encrypted claims.
    pub keys: Name,
    /// The issuers let in; with none given, any issuer whose key is in the set.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// The audiences that mean this gateway. A token for an audience is refused when it names none of them.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The name of the parameter and of the cookie.
    #[serde(default = "package")]
    pub parameter: String,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
    /// Whether `cdniip` may be an address in clear; the RFC has it encrypted.
    #[serde(default)]
    pub plain_client_ip: bool,
    /// The key that signs renewed tokens; the key of the old token when not given.
    #[serde(default)]
    pub renewal_key: Option<String>,
    /// URIs that need no token, first match wins; what no rule matches needs one.
    #[serde(default)]
    pub unsigned: Vec<Directive>,
}

fn package() -> String {
    "URISigningPackage".into()
}

/// One rule of `unsigned`: a POSIX extended regular expression for the whole URI without its query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Directive {
    /// Matching URIs need no token.
    Allow(String),
    /// Matching URIs need one after all.
    Deny(String),
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct Rfc9246 {
    config: Config,
    unsigned: Vec<(Regex, bool)>,
    keys: KeySource,
}

/// What is asked of each request again.
struct Terms {
    container: Container,
    claims: Map<String, Value>,
}

impl Rfc9246 {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        let unsigned = config.unsigned.iter().map(|directive| {
            let (text, free) = match directive {
                Directive::Allow(text) => (text, true),
                Directive::Deny(text) => (text, false),
            };
            let regex = pattern::compile(text, true).map_err(|_| format!("\"{text}\" is not a POSIX extended regular expression"))?;
            Ok::<_, String>((regex, free))
        });
        Ok(Self { unsigned: unsigned.collect::<Result<_, _>>()?, config: config.clone(), keys })
    }

    fn needs_no_token(&self, facts: &RequestFacts<'_>) -> bool {
        if self.unsigned.is_empty() {
            return false;
        }
        // Never on the query: anyone can write a public path into it.
        let uri = uri::of(&RequestFacts { query: None, ..*facts }, &self.config.parameter);
        self.unsigned.iter().find(|(regex, _)| regex.is_match(&uri)).is_some_and(|(_, free)| *free)
    }

    /// Every claim but the container.
    fn grant(&self, claims: &Map<String, Value>, key: &Key) -> Result<Grant, Denial> {
        check_version(claims)?;
        self.check_parties(claims)?;
        let subject = compact::text(claims, "sub")?.filter(|sub| !jwe::looks_like_one(sub));
        let token_id = compact::text(claims, "jti")?;
        Ok(Grant {
            subject: subject.map(Into::into),
            token_id: token_id.map(Into::into),
            // RFC 9246 §2.1.7: a nonce is good once.
            single_use: token_id.is_some(),
            key_id: key.id().cloned(),
            window: self.config.times.rules().window(claims)?,
            bindings: self.client_ip(claims)?.into_iter().collect(),
            renewal: renewal_of(claims, &self.config.parameter)?,
            ..Grant::default()
        })
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Denial> {
        let issuer = compact::text(claims, "iss")?;
        if !self.config.issuers.is_empty() && !issuer.is_some_and(|iss| self.config.issuers.iter().any(|have| have == iss)) {
            return Err(Denial::Issuer);
        }
        let ours = |aud: &Value| aud.as_str().is_some_and(|aud| self.config.audiences.iter().any(|have| have == aud));
        match claims.get("aud") {
            None => Ok(()),
            Some(one @ Value::String(_)) if ours(one) => Ok(()),
            Some(Value::Array(many)) if many.iter().any(ours) => Ok(()),
            Some(_) => Err(Denial::Audience),
        }
    }

    fn client_ip(&self, claims: &Map<String, Value>) -> Result<Option<Binding>, Denial> {
        let Some(text) = compact::text(claims, "cdniip")? else { return Ok(None) };
        let plain = match self.config.plain_client_ip && !jwe::looks_like_one(text) {
            true => text.to_owned(),
            false => jwe::open(text, &self.keys.load())?,
        };
        let net = access::parse_net(&plain).ok_or(Denial::Claim)?;
        Ok(Some(Binding::Networks(vec![net])))
    }

    fn signing_key(&self, id: Option<&str>) -> Result<std::sync::Arc<Key>, SignError> {
        self.keys.load().signing(id).cloned().ok_or_else(|| SignError::NoKey(id.map(Into::into)))
    }
}

/// `cdniv` and `cdnicrit` (RFC 9246 §2.1.8, §2.1.9).
fn check_version(claims: &Map<String, Value>) -> Result<(), Denial> {
    if claims.get("cdniv").is_some_and(|version| version.as_u64() != Some(1)) {
        return Err(Denial::Unsupported);
    }
    let Some(critical) = compact::text(claims, "cdnicrit")? else { return Ok(()) };
    let understood = |name: &str| (KNOWN.contains(&name) || name == DEPTH) && claims.contains_key(name);
    if critical.split(',').all(|name| understood(name.trim())) { Ok(()) } else { Err(Denial::Unsupported) }
}

/// `cdnistt`, `cdniets` and `cdnistd` (RFC 9246 §2.1.12–14).
fn renewal_of(claims: &Map<String, Value>, cookie: &str) -> Result<Option<Renewal>, Denial> {
    let whole = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().filter(|n| (0..=i64::from(u32::MAX)).contains(n)).map(Some).ok_or(Denial::Claim),
    };
    let (transport, seconds, depth) = (whole("cdnistt")?.unwrap_or(0), whole("cdniets")?, whole(DEPTH)?.unwrap_or(0));
    match (transport, seconds) {
        (0, _) | (1, None | Some(0)) => Ok(None),
        (1, Some(seconds)) => {
            let depth = usize::try_from(depth).map_err(|_| Denial::Claim)?;
            let by = RenewalCarrier::Cookie { name: cookie.to_owned(), depth, attributes: Vec::new() };
            Ok(Some(Renewal { within: None, seconds, by }))
        }
        _ => Err(Denial::Unsupported),
    }
}

/// The first `depth` segments of `path`; `None` when it has fewer.
fn cookie_path(path: &str, depth: usize) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(1).filter(|segment| !segment.is_empty()).collect();
    (depth <= segments.len()).then(|| format!("/{}", segments[..depth].join("/")))
}

impl Scheme for Rfc9246 {
    fn kind(&self) -> &'static str {
        "rfc9246"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let name = &self.config.parameter;
        let in_query = Carrier::Query(name.clone()).find(facts)?;
        let in_path = Carrier::PathParameter(name.clone()).find(facts)?;
        let in_cookie = Carrier::Cookie(name.clone()).find(facts)?;
        let token = match (in_query, in_path, in_cookie) {
            (Some(_), Some(_), _) => return Err(Denial::Ambiguous),
            // A renewed cookie rides beside the URL it was given for: the URL speaks.
            (Some(one), None, _) | (None, Some(one), _) | (None, None, Some(one)) => one.token,
            (None, None, None) if self.needs_no_token(facts) => "".into(),
            (None, None, None) => return Ok(None),
        };
        let strip = vec![Strip::Query(name.clone()), Strip::PathParameter(name.clone()), Strip::Cookie(name.clone())];
        Ok(Some(Presented { token, strip }))
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        if presented.token.is_empty() && !self.unsigned.is_empty() {
            return Ok(Grant { kind: Some(UNSIGNED.into()), ..Grant::default() });
        }
        let token = Compact::parse(&presented.token)?;
        let key = token.verify(&self.keys.load())?;
        let mut grant = self.grant(&token.claims, &key)?;
        let container = compact::text(&token.claims, "cdniuc")?.ok_or(Denial::Claim)?;
        grant.details = Details::new(Terms { container: Container::parse(container)?, claims: token.claims });
        Ok(grant)
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let Some(terms) = grant.details.get::<Terms>() else {
            return if self.needs_no_token(facts) { Ok(()) } else { Err(Denial::Missing) };
        };
        if terms.container.holds(&uri::of(facts, &self.config.parameter)) { Ok(()) } else { Err(Denial::Path) }
    }

    fn renew(&self, due: &Due<'_>) -> Result<Option<Renewed>, SignError> {
        let Due { grant, facts, now, .. } = *due;
        let (Some(terms), Some(renewal)) = (grant.details.get::<Terms>(), &grant.renewal) else { return Ok(None) };
        let RenewalCarrier::Cookie { name, depth, attributes } = &renewal.by else { return Ok(None) };
        let path = uri::without_parameter(facts.path.raw(), &self.config.parameter);
        let Some(path) = cookie_path(&path, *depth) else { return Ok(None) };
        let mut claims = terms.claims.clone();
        let until = now.plus(renewal.seconds);
        claims.insert("exp".into(), until.0.into());
        claims.insert("iat".into(), now.0.into());
        // A nonce is good once: the new token must not bring the old one along.
        claims.remove("jti");
        let key = self.signing_key(self.config.renewal_key.as_deref().or(grant.key_id.as_deref()))?;
        let token = compact::sign(&claims, &key)?;
        let cookie = renewal::set_cookie(name, &token, &path, renewal.seconds, attributes);
        Ok(Some(Renewed { token, cookies: vec![cookie], headers: Vec::new(), redirect: None, until }))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let mut claims = request.claims.clone();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims.entry(name).or_insert(value);
            }
        };
        set("cdniv", Some(1.into()));
        set("iss", self.config.issuers.first().map(|iss| iss.as_str().into()));
        set("sub", request.subject.as_deref().map(Into::into));
        set("exp", request.expires.map(|at| at.0.into()));
        set("nbf", request.not_before.map(|at| at.0.into()));
        set("iat", request.now.map(|at| at.0.into()));
        set("cdniuc", Some(container_for(request, &self.config.parameter).into()));
        if self.config.times.require_expiry && !claims.contains_key("exp") {
            return Err(SignError::CannotExpress("a token without an expiry would be refused".into()));
        }
        let key = self.signing_key(request.key_id.as_deref())?;
        let token = compact::sign(&claims, &key)?;
        let mut query = request.query.clone().unwrap_or_default();
        crate::query::push(&mut query, &self.config.parameter, &token);
        Ok(Signed { token, path: request.path.clone(), query: Some(query), ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) | Where::PathParameter(name) | Where::Cookie(name) => name == self.config.parameter,
            _ => false,
        }
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// The container for a request: a pattern for a scope, else the hash of the one URI.
fn container_for(request: &SignRequest, parameter: &str) -> String {
    use base64::Engine as _;
    if let Some(scope) = &request.scope {
        let base = uri::normalised(request.https, &request.host, scope, None, parameter);
        let rest = if scope.ends_with('/') { ".*" } else { r"([/?].*)?" };
        return format!("regex:{}{rest}", pattern::literal(&base));
    }
    let whole = uri::normalised(request.https, &request.host, &request.path, request.query.as_deref(), parameter);
    let digest = super::digest::Hash::Sha256.of(&[whole.as_bytes()]);
    format!("hash:sha-256;{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests;

//! The scheme `jwt`: a JWS of any algorithm, its claims mapped to a grant.
//!
//! For tokens that an operator's own service signs. Which claim says what is the operator's to
//! tell; what the token may be signed with is the key's (RFC 8725 §3.1).

mod claims;
mod seal;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::claims::ClaimNames;
use self::seal::Seal;
pub use self::seal::SealConfig;
use super::times::Times;
use super::{Scheme, SignError, SignRequest, Signed};
use crate::name::Name;
use crate::token::carrier::config::{CarrierConfig, find_in, place, query_and_bearer};
use crate::token::jws::{self, Jws, TimeRules};
use crate::token::{Algorithm, Carrier, Denial, Grant, KeySource, Presented, RequestFacts, Where};

/// A JWT of the operator's own making.
///
/// ```toml
/// [keys.issuer]
/// url = "https://login.example.com/.well-known/jwks.json"
///
/// [schemes.viewer]
/// type = "jwt"
/// keys = "issuer"
/// carriers = [{ query = "token" }, { header = "authorization", prefix = "Bearer " }, { cookie = "session" }]
/// issuers = ["https://login.example.com"]
/// audiences = ["video"]
/// max_lifetime = "12h"
/// claims = { paths = "video.paths", concurrent = "video.streams" }
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify and sign with. Each key is used with its own one algorithm.
    pub keys: Name,
    /// Where the token may ride; new tokens go into the first one. Different tokens in two of them are refused.
    #[serde(default = "query_and_bearer")]
    pub carriers: Vec<CarrierConfig>,
    /// Values of `iss` that are accepted. Empty: `iss` is not looked at.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Values of `aud` that are accepted; one must be among the token's. Empty: `aud` is not looked at.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The header's `typ`, if it must be a certain one, such as `at+jwt` (RFC 8725 §3.11).
    #[serde(default)]
    pub typ: Option<String>,
    /// What is asked of the token's dates.
    #[serde(flatten)]
    pub times: Times,
    /// Which claim says what.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Binds tokens to attributes of their viewer that stand nowhere in them.
    #[serde(default)]
    pub seal: Option<SealConfig>,
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct Jwt {
    keys: KeySource,
    carriers: Vec<Carrier>,
    issuers: Vec<String>,
    audiences: Vec<String>,
    typ: Option<String>,
    times: TimeRules,
    claims: ClaimNames,
    seal: Option<Seal>,
}

impl Jwt {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        check_keys(&keys, &config.keys)?;
        let carriers = config.carriers.iter().map(CarrierConfig::build).collect::<Result<Vec<_>, _>>()?;
        if carriers.is_empty() {
            return Err("carriers is empty: no token could ever be found".into());
        }
        config.claims.check()?;
        Ok(Self {
            keys,
            carriers,
            issuers: config.issuers.clone(),
            audiences: config.audiences.clone(),
            typ: config.typ.clone(),
            times: config.times.rules(),
            claims: config.claims.clone(),
            seal: config.seal.as_ref().map(Seal::new).transpose()?,
        })
    }

    fn check_typ(&self, header: &Map<String, Value>) -> Result<(), Denial> {
        let Some(wanted) = &self.typ else { return Ok(()) };
        let have = header.get("typ").and_then(Value::as_str).map(jws::strip_application);
        // RFC 7515 §4.1.9: media types are compared without case.
        if have.is_some_and(|have| have.eq_ignore_ascii_case(jws::strip_application(wanted))) { Ok(()) } else { Err(Denial::Unsupported) }
    }

    fn grant(&self, claims: &Map<String, Value>) -> Result<Grant, Denial> {
        if !self.issuers.is_empty() && !jws::text(claims, "iss")?.is_some_and(|iss| self.issuers.iter().any(|one| one == iss)) {
            return Err(Denial::Issuer);
        }
        if !self.audiences.is_empty() {
            // RFC 7519 §4.1.3: one text, or a list of them.
            let theirs = claims.get("aud").map_or_else(|| Ok(Vec::new()), jws::texts)?;
            if !theirs.iter().any(|one| self.audiences.iter().any(|ours| ours == one)) {
                return Err(Denial::Audience);
            }
        }
        let mut grant = self.claims.grant(claims)?;
        grant.window = self.times.window(claims)?;
        grant.token_id = jws::text(claims, "jti")?.map(Into::into);
        if let Some(seal) = &self.seal {
            grant.bindings.push(seal.read(claims)?);
        }
        Ok(grant)
    }

    fn claims_of(&self, request: &SignRequest) -> Result<Map<String, Value>, SignError> {
        let mut claims = request.claims.clone();
        let dates = [("exp", request.expires), ("nbf", request.not_before), ("iat", request.now)];
        for (name, time) in dates {
            if let Some(time) = time {
                claims.insert(name.into(), time.0.into());
            }
        }
        for (name, values) in [("iss", &self.issuers), ("aud", &self.audiences)] {
            if let Some(first) = values.first() {
                claims.entry(name).or_insert_with(|| first.clone().into());
            }
        }
        let sealed = self.seal.as_ref().is_some_and(Seal::covers_address);
        self.claims.fill(&mut claims, request, sealed)?;
        if let Some(seal) = &self.seal {
            seal.fill(&mut claims, request)?;
        }
        self.grant(&claims).map_err(|denial| SignError::CannotExpress(format!("such a token would be refused: {denial}")))?;
        Ok(claims)
    }
}

fn check_keys(keys: &KeySource, name: &Name) -> Result<(), String> {
    let keys = keys.load();
    match keys.iter().find(|key| key.algorithm().jose_name().is_none()) {
        Some(key) if key.algorithm() == Algorithm::Secret => {
            Err(format!("key set \"{name}\" holds a secret without a JWS algorithm; HS256 needs a secret of 32 bytes or more"))
        }
        Some(key) => Err(format!("key set \"{name}\" holds a key for {:?}, which is no JWS algorithm", key.algorithm())),
        None => Ok(()),
    }
}

impl Scheme for Jwt {
    fn kind(&self) -> &'static str {
        "jwt"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        find_in(&self.carriers, facts, jws::looks_like_one)
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let jws = Jws::parse(&presented.token)?;
        let keys = self.keys.load();
        let key = jws::choose(&keys, jws.key_id()?)?;
        jws.verify(key)?;
        self.check_typ(jws.header())?;
        Ok(Grant { key_id: key.id().cloned(), ..self.grant(&jws.claims()?)? })
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        self.seal.as_ref().map_or(Ok(()), |seal| seal.check(grant, facts))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let claims = self.claims_of(request)?;
        let keys = self.keys.load();
        let key = keys.signing(request.key_id.as_deref()).ok_or_else(|| SignError::NoKey(request.key_id.clone()))?;
        let mut header = Map::from_iter([("typ".to_owned(), self.typ.as_deref().unwrap_or("JWT").into())]);
        if let Some(id) = key.id() {
            header.insert("kid".into(), (**id).into());
        }
        let token = jws::sign(key, header, &claims)?;
        let carrier = self.carriers.first().ok_or(SignError::CannotSign)?;
        place(carrier, request, token)
    }

    fn reads(&self, place: Where<'_>) -> bool {
        self.carriers.iter().any(|carrier| carrier.reads(place))
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

#[cfg(test)]
mod tests;

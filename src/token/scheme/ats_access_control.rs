//! The scheme `ats-access-control`: the `access_control` plugin of Apache Traffic Server.
//!
//! Pairs `name=value` joined by `&`, in base64, in a cookie, over TLS only. The MAC is the last pair and
//! covers everything before its value. A name that is not known, or that comes twice, refuses the token.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::{Scheme, SignError, SignRequest, Signed, fields};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::grant::{PathRule, Scope};
use crate::token::{Carrier, Denial, Grant, Key, KeySource, Presented, RequestFacts, Where, Window};

const FIELDS: [&str; 10] = ["sub", "exp", "nbf", "iat", "tid", "ver", "scope", "kid", "st", "md"];
const MAX: usize = 8 * 1024;

/// base64 with the padding there or not, as cookies lose it.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set with the shared secrets, by their ids.
    pub keys: Name,
    /// The name of the cookie.
    #[serde(default = "cookie")]
    pub cookie: String,
    /// Whether the token is taken over https only.
    #[serde(default = "yes")]
    pub require_https: bool,
    /// Whether `exp=0`, which newer versions of the plugin read as "never", is refused.
    #[serde(default = "yes")]
    pub require_expiry: bool,
}

fn cookie() -> String {
    "TokenCookie".into()
}

const fn yes() -> bool {
    true
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct AtsAccessControl {
    config: Config,
    keys: KeySource,
}

/// The pairs of a token, each at most once.
struct Pairs<'t>([Option<&'t str>; 10]);

impl<'t> Pairs<'t> {
    /// The pairs before the MAC's value, with what the MAC covers.
    fn read(text: &'t str) -> Result<(Self, &'t str), Denial> {
        let mut pairs = Self([None; 10]);
        let mut last = "";
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').ok_or(Denial::Malformed)?;
            let index = FIELDS.iter().position(|field| *field == name).ok_or(Denial::Unsupported)?;
            if pairs.0[index].replace(value).is_some() {
                return Err(Denial::Duplicate);
            }
            last = name;
        }
        let md = pairs.get("md").ok_or(Denial::Malformed)?;
        if last == "md" { Ok((pairs, &text[..text.len() - md.len()])) } else { Err(Denial::Malformed) }
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        FIELDS.iter().position(|field| *field == name).and_then(|index| self.0[index])
    }

    fn time(&self, name: &str) -> Result<Option<i64>, Denial> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Some).ok_or(Denial::Claim)
    }
}

impl AtsAccessControl {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        Ok(Self { config: config.clone(), keys })
    }

    fn verify(&self, pairs: &Pairs<'_>, covered: &str) -> Result<std::sync::Arc<Key>, Denial> {
        let keys = self.keys.load();
        let key = keys.get(pairs.get("kid").ok_or(Denial::Malformed)?).ok_or(Denial::UnknownKey)?;
        let hash = match pairs.get("st") {
            None | Some("HMAC-SHA-256") => Hash::Sha256,
            Some("HMAC-SHA-512") => Hash::Sha512,
            Some(_) => return Err(Denial::WrongAlgorithm),
        };
        let mac = hash.mac(key.octets().ok_or(Denial::WrongAlgorithm)?, &[covered.as_bytes()]);
        let given = pairs.get("md").and_then(digest::unhex).ok_or(Denial::Malformed)?;
        if digest::same(&mac, &given) { Ok(key.clone()) } else { Err(Denial::BadSignature) }
    }

    /// The plugin lets in after the second of `nbf` and through the second of `exp`.
    fn window(&self, pairs: &Pairs<'_>) -> Result<Window, Denial> {
        let until = match pairs.time("exp")? {
            None => return Err(Denial::NoExpiry),
            Some(0) if self.config.require_expiry => return Err(Denial::NoExpiry),
            Some(0) => UnixTime::MAX,
            Some(exp) => UnixTime(exp + 1),
        };
        let from = pairs.time("nbf")?.map_or(UnixTime::MIN, |nbf| UnixTime(nbf + 1));
        pairs.time("iat")?;
        Ok(Window { from, until })
    }
}

fn scope(pairs: &Pairs<'_>) -> Result<Scope, Denial> {
    match pairs.get("scope") {
        None | Some("") => Ok(Scope::Route),
        Some(path) if path.starts_with('/') && !path.contains(['%', '\\']) => Ok(Scope::Paths(vec![PathRule::Under(path.to_owned())])),
        Some(_) => Err(Denial::Claim),
    }
}

impl Scheme for AtsAccessControl {
    fn kind(&self) -> &'static str {
        "ats-access-control"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        Carrier::Cookie(self.config.cookie.clone()).find(facts)
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        if presented.token.len() > MAX {
            return Err(Denial::TooLarge);
        }
        let bytes = BASE64.decode(presented.token.as_bytes()).map_err(|_| Denial::Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Denial::Malformed)?;
        let (pairs, covered) = Pairs::read(&text)?;
        let key = self.verify(&pairs, covered)?;
        let subject = pairs.get("sub").filter(|sub| !sub.is_empty()).ok_or(Denial::Claim)?;
        Ok(Grant {
            subject: Some(subject.into()),
            token_id: pairs.get("tid").map(Into::into),
            key_id: key.id().cloned(),
            window: self.window(&pairs)?,
            scope: scope(&pairs)?,
            ..Grant::default()
        })
    }

    fn fits(&self, _grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        if facts.https || !self.config.require_https { Ok(()) } else { Err(Denial::Protocol) }
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let (Some(id), Some(secret)) = (key.id(), key.octets()) else { return Err(SignError::NoKey(request.key_id.clone())) };
        let need = |what: &str| SignError::CannotExpress(format!("a token needs {what}"));
        let mut pairs = vec![
            ("sub", request.subject.clone().ok_or_else(|| need("a subject"))?),
            ("exp", (request.expires.ok_or_else(|| need("an expiry"))?.0 - 1).to_string()),
        ];
        pairs.extend(request.not_before.map(|at| ("nbf", (at.0 - 1).to_string())));
        pairs.extend(request.now.map(|at| ("iat", at.0.to_string())));
        for (name, value) in &request.claims {
            let tid = value.as_str().filter(|_| name == "tid").ok_or(SignError::NoWords("claims"))?;
            pairs.push(("tid", tid.to_owned()));
        }
        pairs.extend(request.scope.clone().map(|scope| ("scope", scope)));
        pairs.extend([("kid", id.to_string()), ("st", "HMAC-SHA-256".to_owned())]);
        if pairs.iter().any(|(_, value)| value.contains(['&', '\n'])) {
            return Err(SignError::CannotExpress("a field holds the sign that ends it".into()));
        }
        let mut text: String = pairs.iter().map(|(name, value)| format!("{name}={value}&")).collect();
        text.push_str("md=");
        let mac = Hash::Sha256.mac(secret, &[text.as_bytes()]);
        text.push_str(&digest::hex(&mac));
        let token = base64::engine::general_purpose::STANDARD.encode(text);
        let cookies = vec![(self.config.cookie.clone(), token.clone())];
        Ok(Signed { token, path: request.path.clone(), query: request.query.clone(), cookies, ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        place == Where::Cookie(&self.config.cookie)
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

#[cfg(test)]
mod tests;

//! The scheme `wowza`: Wowza Streaming Engine SecureToken version 2 (Wowza docs, "Protect streaming
//! using SecureToken").
//!
//! `<prefix>hash` is base64url of SHA-256, -384 or -512 over the content path, `?`, and the parameters
//! that begin with the prefix, the shared secret and (where configured) the viewer's address, all
//! sorted as texts and joined by `&`. The secret has no name of its own in that list, so its place
//! depends on how it is spelt, and with an address the two change places from viewer to viewer.
//!
//! The content path is the folder of the URL's path, `app/instance/stream`, without the playlist's or
//! segment's name: a token opens what lies in that folder, and nothing below it. Parameters without
//! the prefix are not signed and go upstream.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::fields;
use super::{Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::query;
use crate::token::grant::Window;
use crate::token::{Denial, Grant, KeySource, Presented, RequestFacts, Strip, Where};
use crate::units::Period;

const LONGEST: usize = 8192;

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The shared secret; more than one while it is being changed.
    pub keys: Name,
    /// What the token's parameters begin with.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// The hash.
    #[serde(default)]
    pub algorithm: WowzaHash,
    /// Whether the viewer's address is in the hash.
    #[serde(default)]
    pub client_ip_in_hash: bool,
    /// How far clocks may differ. A token is good up to and through its end time.
    #[serde(default = "none")]
    pub leeway: Period,
    /// Whether a token without an end time, or with end time 0, is refused.
    #[serde(default = "yes")]
    pub require_expiry: bool,
    /// Whether the token's parameters go on to the origin, for a Wowza that looks at them itself.
    #[serde(default)]
    pub forward: bool,
}

/// The hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WowzaHash {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

fn prefix() -> String {
    "wowzatoken".into()
}

fn none() -> Period {
    Period::seconds(0)
}

const fn yes() -> bool {
    true
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct Wowza {
    keys: KeySource,
    config: Config,
}

impl Wowza {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        if config.prefix.is_empty() || !config.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err("wowza: `prefix` needs letters, digits, '-', '_' or '.'".into());
        }
        Ok(Self { keys, config: config.clone() })
    }

    fn digest(&self, secret: &str, path: &str, params: &[String], ip: Option<std::net::IpAddr>) -> Vec<u8> {
        let mut all: Vec<String> = params.to_vec();
        all.push(secret.to_owned());
        if self.config.client_ip_in_hash {
            all.extend(ip.map(|ip| ip.to_canonical().to_string()));
        }
        all.sort();
        let hash = match self.config.algorithm {
            WowzaHash::Sha256 => Hash::Sha256,
            WowzaHash::Sha384 => Hash::Sha384,
            WowzaHash::Sha512 => Hash::Sha512,
        };
        hash.of(&[path.as_bytes(), b"?", all.join("&").as_bytes()])
    }

    fn grant(&self, token: &Token<'_>) -> Result<Grant, Denial> {
        let leeway = self.config.leeway.as_unix();
        let from = token.get("starttime").map_or(Ok(UnixTime::MIN), |start| fields::seconds(start).map(|at| at.plus(-leeway)))?;
        let until = match token.get("endtime").map(fields::seconds).transpose()? {
            Some(end) if end > UnixTime(0) => end.plus(leeway).plus(1),
            _ if self.config.require_expiry => return Err(Denial::NoExpiry),
            _ => UnixTime::MAX,
        };
        Ok(Grant { window: Window { from, until }, ..Grant::default() })
    }
}

impl Scheme for Wowza {
    fn kind(&self) -> &'static str {
        "wowza"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let mut text = String::new();
        let mut strip = Vec::new();
        for (raw, value) in query::pairs(facts.query.unwrap_or("")) {
            let Some(name) = query::decode(raw).filter(|name| name.starts_with(&self.config.prefix)) else { continue };
            if name != raw {
                // A name that is only ours once decoded would be hashed under another spelling.
                return Err(Denial::Malformed);
            }
            text.push_str(if text.is_empty() { "" } else { "&" });
            text.push_str(&format!("{raw}={value}"));
            if !self.config.forward {
                strip.push(Strip::Query(name));
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        Token::parse(&text, &self.config.prefix)?;
        Ok(Some(Presented { token: text.into(), strip }))
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = Token::parse(&presented.token, &self.config.prefix)?;
        let paths =
            [content_path(facts.path.raw()).ok_or(Denial::BadSignature)?, content_path(facts.path.decoded()).ok_or(Denial::BadSignature)?];
        // Sources do not say whether path and values are hashed encoded or not; a clean one of either
        // kind has one spelling only.
        let spellings = [token.params(false)?, token.params(true)?];
        let good = |secret: &[u8]| {
            let Ok(secret) = std::str::from_utf8(secret) else { return false };
            let mut good = false;
            for (path, params) in paths.iter().zip(&spellings) {
                good |= digest::same(&self.digest(secret, path, params, Some(facts.client_ip)), &token.digest);
            }
            good
        };
        let key = fields::matching_secret(&self.keys, good).ok_or(Denial::BadSignature)?;
        Ok(Grant { key_id: key.id().cloned(), ..self.grant(&token)? })
    }

    /// The path and, where configured, the viewer's address are in the hash.
    fn remembers(&self) -> bool {
        false
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let secret = key.octets().and_then(|octets| std::str::from_utf8(octets).ok()).ok_or(SignError::Crypto)?;
        let params = self.params_to_sign(request)?;
        let path = content_path(&request.path).ok_or_else(|| cannot("the path has no folder to open"))?;
        let folder = request.scope.as_deref().map(|scope| scope.trim_matches('/'));
        if folder.is_some_and(|folder| folder != path) {
            return Err(cannot("a Wowza token opens the folder of the path, and no other"));
        }
        let digest = self.digest(secret, path, &params, request.client_ip);
        let token = format!("{}&{}hash={}", params.join("&"), self.config.prefix, URL_SAFE.encode(digest));
        let before = request.query.as_ref().map_or_else(String::new, |query| format!("{query}&"));
        Ok(Signed { path: request.path.clone(), query: Some(format!("{before}{token}")), token, ..Signed::default() })
    }

    fn reads(&self, place: Where<'_>) -> bool {
        matches!(place, Where::Query(name) if name.starts_with(&self.config.prefix))
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

/// `app/instance/stream` of `/app/instance/stream/playlist.m3u8`.
fn content_path(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| !folder.is_empty())
}

/// The parameters of a token, as received.
struct Token<'t> {
    /// Names without the prefix, raw values.
    pairs: Vec<(&'t str, &'t str)>,
    prefix: &'t str,
    digest: Vec<u8>,
}

impl<'t> Token<'t> {
    fn parse(text: &'t str, prefix: &'t str) -> Result<Self, Denial> {
        if text.len() > LONGEST {
            return Err(Denial::TooLarge);
        }
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for (name, value) in query::pairs(text) {
            let name = name.strip_prefix(prefix).ok_or(Denial::Malformed)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Denial::Duplicate);
            }
            pairs.push((name, value));
        }
        let at = pairs.iter().position(|(name, _)| *name == "hash").ok_or(Denial::Malformed)?;
        let hash = query::decode(pairs.remove(at).1).ok_or(Denial::Malformed)?;
        let digest = digest::base64url(&hash).ok_or(Denial::Malformed)?;
        Ok(Self { pairs, prefix, digest })
    }

    /// The parameters as they are hashed, with values as received or decoded.
    fn params(&self, decoded: bool) -> Result<Vec<String>, Denial> {
        let mut params = Vec::with_capacity(self.pairs.len());
        for (name, value) in &self.pairs {
            let value = if decoded { query::decode(value).ok_or(Denial::Malformed)? } else { (*value).to_owned() };
            // Decoded, it would read as a parameter more.
            if value.contains('&') {
                return Err(Denial::Malformed);
            }
            params.push(format!("{}{name}={value}", self.prefix));
        }
        Ok(params)
    }

    fn get(&self, name: &str) -> Option<&'t str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

fn cannot(why: &str) -> SignError {
    SignError::CannotExpress(why.to_owned())
}

impl Wowza {
    fn params_to_sign(&self, request: &SignRequest) -> Result<Vec<String>, SignError> {
        let prefix = &self.config.prefix;
        if request.subject.is_some() || request.client_ip.is_some() != self.config.client_ip_in_hash {
            return Err(cannot("a Wowza token has no subject, and an address just where `client_ip_in_hash` says so"));
        }
        let own = |name: &str| query::decode(name).is_none_or(|name| name.starts_with(prefix.as_str()));
        if request.query.as_deref().is_some_and(|query| query::pairs(query).any(|(name, _)| own(name))) {
            return Err(cannot("the query holds a parameter with the token's prefix"));
        }
        let mut params = Vec::new();
        if let Some(from) = request.not_before {
            params.push(format!("{prefix}starttime={}", from.0.max(0)));
        }
        if request.expires.is_some() || self.config.require_expiry {
            params.push(format!("{prefix}endtime={}", fields::expiry(request)?.plus(-1)));
        }
        let fine = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        for (name, value) in &request.claims {
            let value = value.as_str().filter(|value| fine(value) && fine(name) && !["starttime", "endtime", "hash"].contains(&&**name));
            params.push(format!("{prefix}{name}={}", value.ok_or_else(|| cannot("a custom parameter is a plain name and a plain text"))?));
        }
        if params.is_empty() { Err(cannot("a Wowza token needs a parameter")) } else { Ok(params) }
    }
}

#[cfg(test)]
mod tests;

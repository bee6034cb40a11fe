//! The scheme `google-cloud-cdn`: signed URLs, signed URL prefixes and signed cookies of Google
//! Cloud CDN (Cloud CDN docs, "Use signed URLs", "Use signed cookies"): HMAC-SHA1, base64url.

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::digest::{self, Hash};
use super::fields;
use super::google_signed::{self, Put, SignedRequest};
use super::{Scheme, SignError, SignRequest, Signed};
use crate::name::Name;
use crate::token::{Denial, Grant, KeySource, Presented, RequestFacts, Where};
use crate::units::Period;

const COOKIE: &str = "Cloud-CDN-Cookie";

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The signed request keys: 128-bit secrets by their `KeyName`.
    pub keys: Name,
    /// How far clocks may differ. A token is good up to and through its `Expires`.
    #[serde(default = "none")]
    pub leeway: Period,
    /// Where new tokens are put.
    #[serde(default)]
    pub sign_into: Place,
}

/// Where a new token is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The query.
    #[default]
    Query,
    /// The cookie `Cloud-CDN-Cookie`.
    Cookie,
}

fn none() -> Period {
    Period::seconds(0)
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct GoogleCloudCdn {
    keys: KeySource,
    config: Config,
}

impl GoogleCloudCdn {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource) -> Result<Self, String> {
        Ok(Self { keys, config: config.clone() })
    }
}

impl Scheme for GoogleCloudCdn {
    fn kind(&self) -> &'static str {
        "google-cloud-cdn"
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        match (google_signed::in_query(facts)?, google_signed::in_cookie(facts, COOKIE)?) {
            (Some(_), Some(_)) => Err(Denial::Ambiguous),
            (query, cookie) => Ok(query.or(cookie)),
        }
    }

    fn open(&self, presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let request = SignedRequest::parse(&presented.token)?;
        let signature = digest::base64url(request.signature).ok_or(Denial::Malformed)?;
        let keys = self.keys.load();
        let key = keys.get(request.key_name).ok_or(Denial::UnknownKey)?;
        let octets = key.octets().ok_or(Denial::WrongAlgorithm)?;
        if !digest::same(&Hash::Sha1.mac(octets, &[request.signed.as_bytes()]), &signature) {
            return Err(Denial::BadSignature);
        }
        request.grant(self.config.leeway.as_unix())
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let key = fields::signing_secret(&self.keys, request.key_id.as_deref())?;
        let (Some(octets), Some(name)) = (key.octets(), key.id()) else { return Err(SignError::NoKey(request.key_id.clone())) };
        let put = match self.config.sign_into {
            Place::Query => Put::Query,
            Place::Cookie => Put::Cookie(COOKIE),
        };
        let mac = |text: &str| Some(base64::engine::general_purpose::URL_SAFE.encode(Hash::Sha1.mac(octets, &[text.as_bytes()])));
        google_signed::sign(request, put, name, mac)
    }

    fn reads(&self, place: Where<'_>) -> bool {
        google_signed::reads(place) || place == Where::Cookie(COOKIE)
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

#[cfg(test)]
mod tests;

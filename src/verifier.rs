//! Keys and remembered verdicts.
//!
//! [`Verifier::decide`] is the one place where a request's tokens are judged: serving, `explain` and
//! the conformance run all ask it. What costs (a signature) is remembered under the token's own
//! bytes; what depends on the request or the time is asked anew every time.

mod cache;
mod decide;
pub mod jwks;
pub mod keys;
pub mod used;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::decide::{ClaimFault, Refusal, RouteScheme, Verdict, Verifier};
use crate::name::Name;
use crate::secret::Secret;
use crate::token::Algorithm;
use crate::units::Period;

/// One `[keys.NAME]` table: where the keys of one or more schemes come from. Exactly one of `file`,
/// `url`, `inline`, `secret`, `secret_file`, `secret_env`, `ledger` and `by_id` is set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysConfig {
    /// PEM, JWK or JWKS file, or base64 of one (as Cloudflare and Mux hand keys out); read again when it changes.
    pub file: Option<PathBuf>,
    /// JWKS address; fetched before the gateway is ready, and again every `refresh`.
    pub url: Option<String>,
    /// PEM file of the CAs to trust for `url` instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// The key itself, in the forms of `file`.
    #[schemars(with = "Option<String>")]
    pub inline: Option<Secret<String>>,
    /// A shared secret, as text.
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret<String>>,
    /// A file whose content, less a last line end, is the shared secret.
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the shared secret.
    pub secret_env: Option<String>,
    /// An account of the control API: the keys are those that it made there, at once and until it withdraws them. With
    /// `algorithm`, only those of that one.
    pub ledger: Option<Name>,
    /// How `secret` is written.
    pub encoding: SecretEncoding,
    /// The id of a key that does not bring its own.
    pub id: Option<String>,
    /// The one algorithm of keys that do not bring their own; by the kind of key when unset.
    pub algorithm: Option<Algorithm>,
    /// How often a `url` is fetched anew.
    pub refresh: Option<Period>,
    /// Several keys by id, each a table of its own with the keys above; for signing schemes with named secrets.
    pub by_id: std::collections::BTreeMap<String, KeysConfig>,
}

/// How a shared secret is written in the config.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// As it is.
    #[default]
    Text,
    /// Hexadecimal.
    Hex,
    /// Base64, padded or not, either alphabet.
    Base64,
}

/// The `[verifier]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierConfig {
    /// Verified tokens remembered (about 1 KiB each). 0: none.
    pub remembered: u64,
    /// Longest time a verdict is remembered without being checked anew.
    pub remember_for: Period,
    /// MaxMind country database (`.mmdb`); tokens with country rules are refused without one.
    pub geoip_file: Option<PathBuf>,
    /// MaxMind database of autonomous systems, where they are not in the other one.
    pub asn_file: Option<PathBuf>,
}

impl Default for VerifierConfig {
    fn default() -> Self {
        Self { remembered: 20_000, remember_for: Period::seconds(60), geoip_file: None, asn_file: None }
    }
}

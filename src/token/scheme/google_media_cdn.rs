//! The scheme `google-media-cdn`: its config so far.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Scheme;
use crate::name::Name;
use crate::token::{Denial, Grant, KeySource, Presented, RequestFacts};

/// The table's keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set to verify with.
    pub keys: Name,
}

/// The scheme with its keys.
#[derive(Debug)]
pub struct GoogleMediaCdn {
    keys: KeySource,
}

impl GoogleMediaCdn {
    /// Takes its config and keys.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(_config: &Config, keys: KeySource) -> Result<Self, String> {
        Ok(Self { keys })
    }
}

impl Scheme for GoogleMediaCdn {
    fn kind(&self) -> &'static str {
        "google-media-cdn"
    }

    fn present<'r>(&self, _facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        Ok(None)
    }

    fn open(&self, _presented: &Presented<'_>, _facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        Err(Denial::Malformed)
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

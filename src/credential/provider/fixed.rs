//! `static`: a value that the config, a file or the environment holds. A changed file is taken by a reload,
//! as every file that the config names.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Ask, Issued, Mint};
use crate::credential::config::{Around, EndpointConfig, KeepConfig, SecretIn, Source, Table};
use crate::secret::Secret;

/// A credential of type `static`. Exactly one of the first three is set.
///
/// ```toml
/// [credentials.origin-key]
/// type = "static"
/// secret_env = "ORIGIN_KEY"
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A file whose content, less a last line end, is the value.
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the value.
    pub secret_env: Option<String>,
    /// The value itself.
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret<String>>,
    /// How its value is kept.
    pub keep: KeepConfig,
}

impl Config {
    fn value(&self) -> SecretIn<'_> {
        SecretIn { key: "secret", text: self.secret.as_ref(), file: self.secret_file.as_deref(), env: self.secret_env.as_deref() }
    }
}

impl Table for Config {
    fn keep(&self) -> &KeepConfig {
        &self.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        None
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        self.value().fault(true).into_iter().collect()
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        Ok(Source::Mint(Box::new(Fixed::new("static", around.secret(&self.value())?))))
    }
}

/// A fixed value: one of its own, or a vendor's key as it is.
#[derive(Debug)]
pub struct Fixed {
    kind: &'static str,
    value: Secret<String>,
}

impl Fixed {
    /// A value that goes by `kind` in the config and in metrics.
    #[must_use]
    pub fn new(kind: &'static str, value: Secret<String>) -> Self {
        Self { kind, value }
    }
}

impl Mint for Fixed {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn mint(&self, ask: &Ask<'_>) -> Result<Issued, String> {
        Ok(Issued::new(self.value.expose().clone(), ask.now, None))
    }

    fn renews(&self) -> bool {
        false
    }
}

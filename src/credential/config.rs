//! The credentials of the config: one `[credentials.NAME]` table each, told apart by its `type`.
//!
//! A vendor brings its table as a [`Table`]; to add one is a variant of [`CredentialConfig`] and a line in
//! [`CredentialConfig::table`].

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provider::{Mint, Provider, Serves, apivideo, cloudflare, fixed, mux, oauth2, ziggeo};
use crate::name::Name;
use crate::secret::Secret;
use crate::token::Scheme;
use crate::units::Period;

/// One `[credentials.NAME]` table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum CredentialConfig {
    /// A fixed value.
    Static(Box<fixed::Config>),
    /// Access tokens of an OAuth 2.0 server.
    Oauth2(Box<oauth2::Config>),
    /// Upload tokens, access tokens and private videos of api.video.
    Apivideo(Box<apivideo::ApivideoConfig>),
    /// Playback tokens, signing keys and upload addresses of Cloudflare Stream.
    CloudflareStream(Box<cloudflare::CloudflareConfig>),
    /// Playback tokens, signing keys and upload addresses of Mux.
    Mux(Box<mux::MuxConfig>),
    /// Server tokens and client tokens of Ziggeo.
    Ziggeo(Box<ziggeo::ZiggeoConfig>),
}

impl CredentialConfig {
    /// The table behind the type.
    #[must_use]
    pub fn table(&self) -> &dyn Table {
        match self {
            Self::Static(table) => &**table,
            Self::Oauth2(table) => &**table,
            Self::Apivideo(table) => &**table,
            Self::CloudflareStream(table) => &**table,
            Self::Mux(table) => &**table,
            Self::Ziggeo(table) => &**table,
        }
    }
}

/// What the table of every vendor says.
pub trait Table: std::fmt::Debug {
    /// What one value serves: all requests of a route, where the table has no key for it.
    fn scope(&self) -> Scope {
        Scope::Route
    }

    /// How values are kept.
    fn keep(&self) -> &KeepConfig;

    /// How the vendor is reached; `None` where nobody is asked.
    fn endpoint(&self) -> Option<&EndpointConfig>;

    /// What does not make sense: the key, and a sentence on it. Reads no file.
    fn faults(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What values are got from.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    fn build(&self, around: &Around<'_>) -> Result<Source, String>;
}

/// What values are got from.
#[derive(Debug)]
pub enum Source {
    /// A vendor is asked.
    Vendor(Box<dyn Provider>),
    /// Each is made here.
    Mint(Box<dyn Mint>),
}

impl Source {
    /// Its word in the config and in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Vendor(provider) => provider.kind(),
            Self::Mint(mint) => mint.kind(),
        }
    }

    /// What one value can be shown for.
    #[must_use]
    pub fn serves(&self) -> Serves {
        match self {
            Self::Vendor(provider) => provider.serves(),
            Self::Mint(_) => Serves::Requests,
        }
    }
}

/// What one value of a credential serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All requests of the routes that use it.
    #[default]
    Route,
    /// One session of a caller: each has its own, which can be withdrawn alone.
    Session,
    /// One resource: a video, a path.
    Resource,
}

impl Scope {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Session => "session",
            Self::Resource => "resource",
        }
    }
}

/// How a vendor's values are shared, kept and got: a part of the vendor's own table, which is the one that refuses unknown keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Upkeep {
    /// What one value serves: of tokens that play a video `resource`, of uploads best `session`.
    pub scope: Scope,
    /// How its values are kept.
    pub keep: KeepConfig,
    /// How the vendor is reached.
    pub endpoint: EndpointConfig,
}

/// A credential's `keep` table: how its values are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// How long before its end a value is used no more, at most a twentieth of its life: requests take time to arrive, and clocks differ.
    pub margin: Period,
    /// Whether the gateway is ready only once the first value is there. If not, routes answer 503 until it is.
    pub required: bool,
    /// Whether values are withdrawn at the vendor when the gateway shuts down in peace; not those that a fleet shares.
    pub revoke_on_shutdown: bool,
    /// Whether values are kept over restarts, where there is a `[store]`.
    pub persist: bool,
    /// Longest that a request waits for a call that is under way, while the vendor is not known to be down.
    pub wait: Period,
    /// Calls to the vendor that may follow one another at once.
    #[schemars(range(min = 1))]
    pub calls_burst: u32,
    /// Calls to the vendor in a minute after that.
    #[schemars(range(min = 1))]
    pub calls_per_minute: u32,
    /// Values of sessions or resources kept at once, about 2 KiB each. Over it those that were not used for longest go.
    #[schemars(range(min = 1))]
    pub max_values: u32,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self {
            margin: Period::seconds(10),
            required: true,
            revoke_on_shutdown: false,
            persist: true,
            wait: Period::seconds(2),
            calls_burst: 20,
            calls_per_minute: 120,
            max_values: 10_000,
        }
    }
}

/// A credential's `endpoint` table: how its vendor is reached.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// PEM file of the CAs to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our client certificate chain.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key, readable by its owner only.
    pub client_key_file: Option<PathBuf>,
    /// Longest time for a whole call.
    pub timeout: Period,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self { ca_file: None, client_cert_file: None, client_key_file: None, timeout: Period::seconds(10) }
    }
}

/// A secret as a table names it: itself, its file, its environment variable.
#[derive(Debug, Clone, Copy)]
pub struct SecretIn<'c> {
    /// The key that holds it; the two others are `KEY_file` and `KEY_env`.
    pub key: &'static str,
    /// The secret itself.
    pub text: Option<&'c Secret<String>>,
    /// A file whose content, less a last line end, it is.
    pub file: Option<&'c Path>,
    /// An environment variable that holds it.
    pub env: Option<&'c str>,
}

impl<'c> SecretIn<'c> {
    /// One that cannot stand in the config itself.
    #[must_use]
    pub fn outside(key: &'static str, file: Option<&'c Path>, env: Option<&'c str>) -> Self {
        Self { key, text: None, file, env }
    }

    /// How many of the three are set.
    #[must_use]
    pub fn ways(&self) -> usize {
        [self.text.is_some(), self.file.is_some(), self.env.is_some()].into_iter().filter(|way| *way).count()
    }

    /// What [`Table::faults`] says of a secret that is set twice, or not at all where it is `needed`.
    #[must_use]
    pub fn fault(&self, needed: bool) -> Option<(&'static str, String)> {
        let key = self.key;
        match self.ways() {
            0 if needed => Some((key, format!("one of `{key}_file`, `{key}_env` and `{key}` must be set"))),
            0 | 1 => None,
            _ => Some((key, format!("only one of `{key}_file`, `{key}_env` and `{key}` may be set"))),
        }
    }
}

/// What a table is built with. All that is read through it is taken into account when a reload asks whether the
/// credential is still the same.
pub struct Around<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    scheme: &'a dyn Fn(&Name) -> Option<Arc<dyn Scheme>>,
    read: RefCell<digest::Context>,
}

impl<'a> Around<'a> {
    /// `variable` reads the environment, `scheme` finds a scheme of the config that is built. Paths are absolute in a loaded config.
    pub fn new(variable: &'a dyn Fn(&str) -> Option<String>, scheme: &'a dyn Fn(&Name) -> Option<Arc<dyn Scheme>>) -> Self {
        Self { variable, scheme, read: RefCell::new(digest::Context::new(&digest::SHA256)) }
    }

    /// A secret.
    ///
    /// # Errors
    /// A sentence that names where it should be.
    pub fn secret(&self, secret: &SecretIn<'_>) -> Result<Secret<String>, String> {
        if let Some((_, fault)) = secret.fault(true) {
            return Err(fault);
        }
        let found = match (secret.text, secret.file, secret.env) {
            (Some(text), ..) => text.clone(),
            (_, Some(file), _) => crate::files::read_secret(file)?,
            (.., env) => {
                let name = env.unwrap_or_default();
                Secret::new((self.variable)(name).ok_or_else(|| format!("environment variable {name} is not set"))?)
            }
        };
        if found.expose().is_empty() {
            return Err(format!("`{}` is empty", secret.key));
        }
        self.saw(found.expose().as_bytes());
        Ok(found)
    }

    /// A secret that need not be there.
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub fn optional(&self, secret: &SecretIn<'_>) -> Result<Option<Secret<String>>, String> {
        if secret.ways() == 0 { Ok(None) } else { self.secret(secret).map(Some) }
    }

    /// The text of a file that only its owner may read, such as a private key.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn private_file(&self, file: &Path) -> Result<Secret<String>, String> {
        let text = crate::files::read_secret(file)?;
        self.saw(text.expose().as_bytes());
        Ok(text)
    }

    /// A scheme of the config.
    ///
    /// # Errors
    /// A sentence that names it.
    pub fn scheme(&self, name: &Name) -> Result<Arc<dyn Scheme>, String> {
        (self.scheme)(name).ok_or_else(|| format!("the scheme \"{name}\" is not there, or cannot be built"))
    }

    /// Takes note of what a credential depends on.
    pub fn saw(&self, bytes: &[u8]) {
        let mut read = self.read.borrow_mut();
        read.update(&(bytes.len() as u64).to_be_bytes());
        read.update(bytes);
    }

    /// A digest of all that was read.
    #[must_use]
    pub fn seen(&self) -> Vec<u8> {
        self.read.borrow().clone().finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CredentialConfig, Scope};

    /// The vendor's own table takes these keys in, and no others besides its own.
    #[test]
    fn every_vendor_has_the_keys_of_upkeep_and_stays_closed() {
        for own in [
            json!({ "type": "apivideo" }),
            json!({ "type": "cloudflare-stream", "account_id": "a", "issue": "tus" }),
            json!({ "type": "mux", "issue": "direct-upload" }),
            json!({ "type": "ziggeo", "application_token": "a", "grants": {} }),
        ] {
            let table = |key: &str, value: Value| {
                let mut table = own.clone();
                table[key] = value;
                serde_json::from_value::<CredentialConfig>(table).map_err(|fault| fault.to_string())
            };
            let parsed = |key, value| table(key, value).unwrap_or_else(|fault| panic!("{own}: {fault}"));
            assert_eq!(parsed("scope", json!("session")).table().scope(), Scope::Session);
            assert_eq!(parsed("keep", json!({ "max_values": 7 })).table().keep().max_values, 7);
            assert_eq!(parsed("endpoint", json!({ "timeout": "3s" })).table().endpoint().expect("is asked").timeout.as_unix(), 3);
            for (key, value, says) in [
                ("scop", json!("session"), "unknown field `scop`"),
                ("keep", json!({ "max_value": 7 }), "unknown field `max_value`"),
                ("endpoint", json!({ "time": "3s" }), "unknown field `time`"),
                ("scope", json!("everyone"), "unknown variant `everyone`"),
            ] {
                let fault = table(key, value).expect_err("not a key");
                assert!(fault.contains(says), "{own}: {fault}");
            }
        }
    }
}

//! Mux: signing keys, playback tokens signed here, and direct uploads.
//!
//! After its API reference ("Signing keys", "Direct uploads") and the tokens that its SDK signs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::vendor::{self, Faults, LocalSigner};
use super::{Ask, Issued, Mint, Provider, Refused, Serves};
use crate::clock::UnixTime;
use crate::credential::base_url::BaseUrl;
use crate::credential::config::{Around, EndpointConfig, KeepConfig, Scope, SecretIn, Source, Table, Upkeep};
use crate::secret::Secret;
use crate::token::jws;
use crate::units::Period;

/// Longest and shortest time that an upload address waits, in seconds (API reference: `timeout`).
const WAITS: std::ops::RangeInclusive<i64> = 60..=604_800;

/// Claims that are not a picture's to set.
const OWN: [&str; 5] = ["sub", "aud", "exp", "kid", "playback_restriction_id"];

/// Credentials of Mux.
///
/// ```toml
/// [credentials.mux]
/// type = "mux"
/// issue = "signed"
/// signing_key_id = "muxkid01"
/// signing_key_file = "mux-signing-key"
/// scope = "resource"
/// ```
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MuxConfig {
    /// Where its API is.
    #[serde(default = "api")]
    pub base_url: String,
    /// The id of an access token of the API.
    #[serde(default)]
    pub token_id: Option<String>,
    /// A file whose content, less a last line end, is the secret of `token_id`.
    #[serde(default)]
    pub token_secret_file: Option<PathBuf>,
    /// An environment variable that holds that secret.
    #[serde(default)]
    pub token_secret_env: Option<String>,
    /// What is got.
    pub issue: MuxIssue,
    /// How long a token is good; how long an upload address waits for its upload.
    #[serde(default = "one_hour")]
    pub lifetime: Period,
    /// The signing key that tokens are signed with.
    #[serde(default)]
    pub signing_key_id: Option<String>,
    /// A file with the private key of `signing_key_id`: PEM, or the base64 of it that the vendor hands out.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
    /// An environment variable that holds the private key.
    #[serde(default)]
    pub signing_key_env: Option<String>,
    /// What a token opens.
    #[serde(default)]
    pub opens: MuxOpens,
    /// The playback restriction that a token is under.
    #[serde(default)]
    pub playback_restriction_id: Option<String>,
    /// What a token says of the picture (`time`, `width`, …), which a signed address may not say itself.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The web origin that may upload; `*`: all.
    #[serde(default = "all")]
    pub cors_origin: String,
    /// Who may play uploaded videos: `signed`, `public`.
    #[serde(default = "signed")]
    pub playback_policies: Vec<MuxPolicy>,
    /// How its values are shared, kept and got.
    #[serde(flatten)]
    pub upkeep: Upkeep,
}

/// What is got of Mux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MuxIssue {
    /// A playback token of the playback id that is asked for, signed here, without a call.
    Signed,
    /// A new signing key; withdrawing it ends every token that it signed.
    SigningKey,
    /// An address that takes one upload.
    DirectUpload,
}

/// What a playback token opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MuxOpens {
    /// The video.
    #[default]
    Video,
    /// Pictures of it.
    Thumbnail,
    /// Moving pictures of it.
    Gif,
    /// Its storyboard.
    Storyboard,
    /// Licences for it.
    Drm,
}

impl MuxOpens {
    /// Its `aud`.
    #[must_use]
    pub const fn audience(self) -> &'static str {
        match self {
            Self::Video => "v",
            Self::Thumbnail => "t",
            Self::Gif => "g",
            Self::Storyboard => "s",
            Self::Drm => "d",
        }
    }
}

/// Who may play a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MuxPolicy {
    /// Who has a token.
    Signed,
    /// Everybody.
    Public,
}

fn api() -> String {
    "https://api.mux.com".into()
}

const fn one_hour() -> Period {
    Period::seconds(3600)
}

fn all() -> String {
    "*".into()
}

fn signed() -> Vec<MuxPolicy> {
    vec![MuxPolicy::Signed]
}

impl MuxConfig {
    fn token_secret(&self) -> SecretIn<'_> {
        SecretIn::outside("token_secret", self.token_secret_file.as_deref(), self.token_secret_env.as_deref())
    }

    fn signing_key(&self) -> SecretIn<'_> {
        SecretIn::outside("signing_key", self.signing_key_file.as_deref(), self.signing_key_env.as_deref())
    }
}

impl Table for MuxConfig {
    fn scope(&self) -> Scope {
        self.upkeep.scope
    }

    fn keep(&self) -> &KeepConfig {
        &self.upkeep.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        (self.issue != MuxIssue::Signed).then_some(&self.upkeep.endpoint)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Faults::default();
        let (life, signs) = (self.lifetime.as_unix(), self.issue == MuxIssue::Signed);
        faults.when("lifetime", life < 1, "it is a second or more");
        faults.when(
            "lifetime",
            self.issue == MuxIssue::DirectUpload && !WAITS.contains(&life),
            "an upload address waits for a minute to a week",
        );
        faults.when("signing_key_id", signs && self.signing_key_id.is_none(), "`signed` needs a signing key");
        faults.when("scope", signs && self.upkeep.scope != Scope::Resource, "each playback id has its own: `scope` must be \"resource\"");
        faults.when(
            "scope",
            self.issue == MuxIssue::SigningKey && self.upkeep.scope != Scope::Route,
            "one signing key serves all: `scope` must be \"route\"",
        );
        faults.when(
            "parameters",
            self.parameters.keys().any(|name| OWN.contains(&name.as_str())),
            "a token's own claims cannot be parameters",
        );
        faults.when("token_id", !signs && self.token_id.is_none(), "the API is asked with an access token: its id is missing");
        faults.0.extend(if signs { self.signing_key().fault(true) } else { self.token_secret().fault(true) });
        faults.0
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        Ok(match self.issue {
            MuxIssue::Signed => {
                Source::Mint(Box::new(MuxSigner::new(self, (self.signing_key_id.as_deref(), &self.signing_key()), around)?))
            }
            MuxIssue::SigningKey | MuxIssue::DirectUpload => Source::Vendor(Box::new(Mux::new(self, around)?)),
        })
    }
}

/// Mux, asked with one access token.
#[derive(Debug)]
pub struct Mux {
    api: BaseUrl,
    authorization: [(HeaderName, HeaderValue); 1],
    config: MuxConfig,
}

impl Mux {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    pub fn new(config: &MuxConfig, around: &Around<'_>) -> Result<Self, String> {
        let (id, secret) = (config.token_id.as_deref().ok_or("token_id is missing")?, around.secret(&config.token_secret())?);
        let authorization = [vendor::authorized(vendor::basic(id, secret.expose()))];
        Ok(Self { api: vendor::base("base_url", &config.base_url)?, authorization, config: config.clone() })
    }

    /// What makes a signing key.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when there is no such address.
    pub fn create_key(&self) -> Result<Request<Bytes>, Refused> {
        self.call(Method::POST, "/system/v1/signing-keys", None)
    }

    /// What lists signing keys, `limit` a page, `page` from 1.
    ///
    /// # Errors
    /// As [`Mux::create_key`].
    pub fn list_keys(&self, limit: u32, page: u32) -> Result<Request<Bytes>, Refused> {
        self.call(Method::GET, &format!("/system/v1/signing-keys?limit={limit}&page={page}"), None)
    }

    /// The ids in the answer to [`Mux::list_keys`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse_keys(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Vec<String>, Refused> {
        let list = data(ask.now, response)?;
        let list = list.as_array().ok_or_else(|| Refused::Malformed("the answer's data is no list".into()))?;
        Ok(list.iter().filter_map(|key| key["id"].as_str().map(str::to_owned)).collect())
    }

    /// What tells about one signing key.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when the id cannot stand in a path.
    pub fn get_key(&self, id: &str) -> Result<Request<Bytes>, Refused> {
        self.call(Method::GET, &format!("/system/v1/signing-keys/{}", vendor::id("the key's id", Some(id))?), None)
    }

    /// What ends a signing key and every token it signed.
    ///
    /// # Errors
    /// As [`Mux::get_key`].
    pub fn delete_key(&self, id: &str) -> Result<Request<Bytes>, Refused> {
        self.call(Method::DELETE, &format!("/system/v1/signing-keys/{}", vendor::id("the key's id", Some(id))?), None)
    }

    fn upload(&self) -> Result<Request<Bytes>, Refused> {
        let body = json!({
            "cors_origin": self.config.cors_origin,
            "timeout": self.config.lifetime.as_unix(),
            "new_asset_settings": { "playback_policies": self.config.playback_policies },
        });
        self.call(Method::POST, "/video/v1/uploads", Some(&body))
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Bytes>, Refused> {
        Ok(vendor::call(method, self.api.join(path)?, &self.authorization, body))
    }
}

fn data(now: UnixTime, response: &Response<Bytes>) -> Result<Value, Refused> {
    vendor::object(now, response)?.remove("data").ok_or_else(|| Refused::Malformed("the answer has no data".into()))
}

impl Provider for Mux {
    fn kind(&self) -> &'static str {
        "mux"
    }

    fn serves(&self) -> Serves {
        if self.config.issue == MuxIssue::DirectUpload { Serves::Address } else { Serves::Requests }
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.api.clone()]
    }

    fn request(&self, _: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        if self.config.issue == MuxIssue::SigningKey { self.create_key() } else { self.upload() }
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        let data = data(ask.now, response)?;
        let text = |name: &str| {
            data[name].as_str().filter(|text| !text.is_empty()).ok_or_else(|| Refused::Malformed(format!("the answer has no {name}")))
        };
        let id = Secret::new(text("id")?.to_owned());
        let mut issued = if self.config.issue == MuxIssue::SigningKey {
            Issued::new(text("private_key")?.to_owned(), ask.now, None)
        } else {
            let waits = data["timeout"].as_i64().unwrap_or_else(|| self.config.lifetime.as_unix());
            Issued::new(text("url")?.to_owned(), ask.now, Some(ask.now.plus(waits)))
        };
        issued.details.insert("id".into(), id.clone());
        issued.handle = Some(id);
        Ok(issued)
    }

    fn revoke(&self, _: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        let id = vendor::id("the id", issued.handle.as_ref().map(|id| id.expose().as_str())).ok()?;
        match self.config.issue {
            MuxIssue::SigningKey => self.delete_key(id).ok(),
            // The vendor refuses to cancel an upload that has come.
            _ => self.call(Method::PUT, &format!("/video/v1/uploads/{id}/cancel"), None).ok(),
        }
    }
}

/// Signs playback tokens here.
pub type MuxSigner = LocalSigner<MuxConfig>;

impl Mint for MuxSigner {
    fn kind(&self) -> &'static str {
        "mux"
    }

    fn mint(&self, ask: &Ask<'_>) -> Result<Issued, String> {
        let id = vendor::id("the playback id", ask.resource).map_err(|fault| fault.to_string())?;
        let end = ask.now.plus(self.config.lifetime.as_unix());
        let mut claims: Map<String, Value> =
            self.config.parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        claims.extend([
            ("sub".to_owned(), Value::from(id)),
            ("aud".to_owned(), self.config.opens.audience().into()),
            ("exp".to_owned(), end.0.into()),
        ]);
        // The vendor's SDK has the key's id in the payload.
        claims.extend(self.config.signing_key_id.as_deref().map(|key| ("kid".to_owned(), key.into())));
        claims.extend(self.config.playback_restriction_id.as_deref().map(|id| ("playback_restriction_id".to_owned(), id.into())));
        let token = jws::sign(&self.key, Map::from_iter([("typ".to_owned(), "JWT".into())]), &claims).map_err(|fault| fault.to_string())?;
        Ok(Issued::new(token, ask.now, Some(end)))
    }
}

#[cfg(test)]
mod tests;

//! Ziggeo: server tokens that its API makes, and client tokens that are made here.
//!
//! After its page "Authorization tokens" and its server SDKs, which agree. Grants are sent as JSON in a form
//! field, which all of its SDKs can do.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fixed::Fixed;
use super::vendor::{self, Faults};
use super::{Ask, Issued, Mint, Provider, Refused};
use crate::clock::UnixTime;
use crate::credential::base_url::BaseUrl;
use crate::credential::config::{Around, EndpointConfig, KeepConfig, Scope, SecretIn, Source, Table, Upkeep};
use crate::query;
use crate::token::ziggeo::{Cipher, plaintext};
use crate::units::Period;

/// Credentials of Ziggeo.
///
/// ```toml
/// [credentials.recorder]
/// type = "ziggeo"
/// application_token = "5d3e9b7a1c2f4e6880a1b2c3d4e5f607"
/// private_key_file = "ziggeo-private-key"
/// issue = "server-auth"
/// lifetime = "1h"
/// grants = { create = { session_owned = true } }
/// ```
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZiggeoConfig {
    /// Where its server API is. Unset: by the application token, which begins with `r1` in the European region.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The application.
    pub application_token: String,
    /// A file whose content, less a last line end, is the application's private key.
    #[serde(default)]
    pub private_key_file: Option<PathBuf>,
    /// An environment variable that holds the private key.
    #[serde(default)]
    pub private_key_env: Option<String>,
    /// A file whose content, less a last line end, is the application's encryption key, for `client-auth`.
    #[serde(default)]
    pub encryption_key_file: Option<PathBuf>,
    /// An environment variable that holds the encryption key.
    #[serde(default)]
    pub encryption_key_env: Option<String>,
    /// What is got.
    #[serde(default)]
    pub issue: ZiggeoIssue,
    /// How long a token is good.
    #[serde(default = "one_hour")]
    pub lifetime: Period,
    /// How long each session of a token lasts.
    #[serde(default)]
    pub session_lifetime: Option<Period>,
    /// How many sessions a token opens.
    #[serde(default)]
    pub session_limit: Option<u32>,
    /// Whether a token goes by itself if nothing is made with it.
    #[serde(default)]
    pub volatile: bool,
    /// What a token allows.
    pub grants: ZiggeoGrants,
    /// How its values are shared, kept and got.
    #[serde(flatten)]
    pub upkeep: Upkeep,
}

/// What is got of Ziggeo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ZiggeoIssue {
    /// A token that the vendor makes and keeps (`server_auth`); it can be withdrawn.
    #[default]
    ServerAuth,
    /// A token that is encrypted here, without a call (`client_auth`); it cannot be withdrawn.
    ClientAuth,
    /// No call: the private key itself, which is the password of `Basic`; the user is the application token.
    Basic,
}

/// What a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZiggeoGrants {
    /// Playing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<ZiggeoGrant>,
    /// Making videos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<ZiggeoGrant>,
    /// Recording anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<ZiggeoGrant>,
    /// Deleting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy: Option<ZiggeoGrant>,
}

/// Which videos it is allowed for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZiggeoGrant {
    /// These.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// All.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// Those made in the same session.
    #[serde(skip_serializing_if = "is_false")]
    pub session_owned: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

const fn one_hour() -> Period {
    Period::seconds(3600)
}

impl ZiggeoConfig {
    fn private_key(&self) -> SecretIn<'_> {
        SecretIn::outside("private_key", self.private_key_file.as_deref(), self.private_key_env.as_deref())
    }

    fn encryption_key(&self) -> SecretIn<'_> {
        SecretIn::outside("encryption_key", self.encryption_key_file.as_deref(), self.encryption_key_env.as_deref())
    }

    /// The grants, with the video that is asked for added where some are for listed videos only.
    fn grants(&self, resource: Option<&str>) -> Value {
        let mut grants = self.grants.clone();
        if let (Scope::Resource, Some(video)) = (self.upkeep.scope, resource) {
            let all = [&mut grants.read, &mut grants.create, &mut grants.update, &mut grants.destroy];
            for grant in all.into_iter().flatten().filter(|grant| !grant.all && !grant.session_owned) {
                grant.resources.push(video.to_owned());
            }
        }
        serde_json::to_value(grants).unwrap_or(Value::Null)
    }

    /// What a token says, by the vendor's names.
    fn options(&self, ask: &Ask<'_>) -> Map<String, Value> {
        let mut options = Map::new();
        options.insert("volatile".into(), self.volatile.into());
        options.insert("hidden".into(), false.into());
        options.insert("expiration_date".into(), self.end(ask.now).0.into());
        options.extend(self.session_lifetime.map(|life| ("usage_expiration_time".to_owned(), life.as_unix().into())));
        options.extend(self.session_limit.map(|limit| ("session_limit".to_owned(), limit.into())));
        options.insert("grants".into(), self.grants(ask.resource));
        options
    }

    fn end(&self, now: UnixTime) -> UnixTime {
        now.plus(self.lifetime.as_unix())
    }

    fn address(&self) -> &str {
        let european = self.application_token.starts_with("r1");
        self.base_url.as_deref().unwrap_or(if european { "https://srv-api-eu-west-1.ziggeo.com" } else { "https://srv-api.ziggeo.com" })
    }
}

impl Table for ZiggeoConfig {
    fn scope(&self) -> Scope {
        self.upkeep.scope
    }

    fn keep(&self) -> &KeepConfig {
        &self.upkeep.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        (self.issue == ZiggeoIssue::ServerAuth).then_some(&self.upkeep.endpoint)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Faults::default();
        faults.when("lifetime", self.lifetime.as_unix() < 1, "it is a second or more");
        faults.when("session_limit", self.session_limit == Some(0), "it is 1 or more");
        let good = !self.application_token.is_empty() && self.application_token.bytes().all(|byte| byte.is_ascii_alphanumeric());
        faults.when("application_token", !good, "it is letters and digits");
        let grants = [&self.grants.read, &self.grants.create, &self.grants.update, &self.grants.destroy];
        faults.when(
            "grants",
            self.issue != ZiggeoIssue::Basic && grants.iter().all(|grant| grant.is_none()),
            "a token without a grant opens nothing",
        );
        let key = if self.issue == ZiggeoIssue::ClientAuth { self.encryption_key() } else { self.private_key() };
        faults.0.extend(key.fault(true));
        faults.0
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        Ok(match self.issue {
            ZiggeoIssue::ServerAuth => Source::Vendor(Box::new(Ziggeo::new(self, around)?)),
            ZiggeoIssue::ClientAuth => Source::Mint(Box::new(ZiggeoGenerator::new(self, around)?)),
            ZiggeoIssue::Basic => Source::Mint(Box::new(Fixed::new("ziggeo", around.secret(&self.private_key())?))),
        })
    }
}

/// Ziggeo, asked for one application.
#[derive(Debug)]
pub struct Ziggeo {
    api: BaseUrl,
    authorization: [(HeaderName, HeaderValue); 1],
    config: ZiggeoConfig,
}

impl Ziggeo {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without the key.
    pub fn new(config: &ZiggeoConfig, around: &Around<'_>) -> Result<Self, String> {
        let key = around.secret(&config.private_key())?;
        let authorization = [vendor::authorized(vendor::basic(&config.application_token, key.expose()))];
        Ok(Self { api: vendor::base("base_url", config.address())?, authorization, config: config.clone() })
    }

    /// What tells about a token.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it cannot stand in a path.
    pub fn get(&self, token: &str) -> Result<Request<Bytes>, Refused> {
        Ok(vendor::call(Method::GET, self.of(token)?, &self.authorization, None))
    }

    /// What changes some of what a token says, and leaves the rest.
    ///
    /// # Errors
    /// As [`Ziggeo::get`].
    pub fn update(&self, token: &str, options: &Map<String, Value>) -> Result<Request<Bytes>, Refused> {
        Ok(vendor::form_call(Method::POST, self.of(token)?, &self.authorization, form(options)))
    }

    /// What withdraws a token.
    ///
    /// # Errors
    /// As [`Ziggeo::get`].
    pub fn delete(&self, token: &str) -> Result<Request<Bytes>, Refused> {
        Ok(vendor::call(Method::DELETE, self.of(token)?, &self.authorization, None))
    }

    fn of(&self, token: &str) -> Result<http::Uri, Refused> {
        self.api.join(&format!("/v1/authtokens/{}", vendor::id("the token", Some(token))?))
    }
}

/// Options as a form; what is no text stands there as JSON.
fn form(options: &Map<String, Value>) -> String {
    let mut form = String::new();
    for name in ["volatile", "hidden", "expiration_date", "usage_expiration_time", "session_limit", "grants"] {
        match options.get(name) {
            None => {}
            Some(Value::String(text)) => query::push(&mut form, name, text),
            Some(value) => query::push(&mut form, name, &value.to_string()),
        }
    }
    form
}

impl Provider for Ziggeo {
    fn kind(&self) -> &'static str {
        "ziggeo"
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.api.clone()]
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        // The slash at the end is the vendor's.
        let uri = self.api.join("/v1/authtokens/")?;
        Ok(vendor::form_call(Method::POST, uri, &self.authorization, form(&self.config.options(ask))))
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        let members = vendor::object(ask.now, response)?;
        let token = vendor::text(&members, "token")?;
        Ok(Issued::new(token.to_owned(), ask.now, Some(self.config.end(ask.now))))
    }

    fn revoke(&self, _: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        self.delete(issued.value.expose()).ok()
    }
}

/// Makes client tokens here.
#[derive(Debug)]
pub struct ZiggeoGenerator {
    cipher: Cipher,
    config: ZiggeoConfig,
}

impl ZiggeoGenerator {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without the key.
    pub fn new(config: &ZiggeoConfig, around: &Around<'_>) -> Result<Self, String> {
        Ok(Self { cipher: Cipher::new(around.secret(&config.encryption_key())?.expose())?, config: config.clone() })
    }
}

impl Mint for ZiggeoGenerator {
    fn kind(&self) -> &'static str {
        "ziggeo"
    }

    fn mint(&self, ask: &Ask<'_>) -> Result<Issued, String> {
        let mut seed = [0; 8];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| "there is no randomness".to_owned())?;
        let text = plaintext(&self.config.options(ask), &self.config.application_token, &format!("{}{}", ask.now.0, ask.nonce));
        Ok(Issued::new(self.cipher.encrypt(&text, seed)?, ask.now, Some(self.config.end(ask.now))))
    }
}

#[cfg(test)]
mod tests;

//! api.video: upload tokens, access tokens, and the one-time tokens of private videos.
//!
//! After its OpenAPI description and reference pages ("Delegated uploads", "Private videos",
//! "Authentication"). Every call goes with `Basic`, which the vendor takes everywhere, so that an
//! upload token needs no access token first.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::fixed::Fixed;
use super::vendor::{self, Faults};
use super::{Ask, Issued, Provider, Refused, Serves};
use crate::credential::base_url::BaseUrl;
use crate::credential::config::{Around, EndpointConfig, KeepConfig, Scope, SecretIn, Source, Table, Upkeep};
use crate::secret::Secret;
use crate::units::Period;

/// How long a session of a private video lasts, in seconds ("Private videos": 24 hours).
const SESSION: i64 = 86_400;

/// Largest `ttl` of an upload token (OpenAPI: a signed 32-bit number).
const LONGEST_TTL: i64 = 2_147_483_647;

/// Credentials of api.video.
///
/// ```toml
/// [credentials.recorder]
/// type = "apivideo"
/// api_key_file = "apivideo-key"
/// issue = "upload-token"
/// ttl = "1h"
/// ```
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApivideoConfig {
    /// Where its API is; its sandbox is `https://sandbox.api.video`.
    #[serde(default = "api")]
    pub base_url: String,
    /// Where private videos are played from, and their sessions are opened.
    #[serde(default = "delivery")]
    pub delivery_url: String,
    /// A file whose content, less a last line end, is the API key.
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// An environment variable that holds the API key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// What is got with the key.
    #[serde(default)]
    pub issue: ApivideoIssue,
    /// How long an upload token lives, in whole seconds; `0`: until it is withdrawn.
    #[serde(default = "one_hour")]
    pub ttl: Period,
    /// How its values are shared, kept and got.
    #[serde(flatten)]
    pub upkeep: Upkeep,
}

/// What is got with an API key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApivideoIssue {
    /// A token that opens `POST /upload` and nothing else.
    #[default]
    UploadToken,
    /// An access token of an hour for the whole API, renewed with its refresh token.
    Bearer,
    /// No call: the key itself, which is the user of `Basic` with an empty password.
    Basic,
    /// A one-time token of the private video that is asked for.
    PrivateVideo,
    /// The same, made into a session of 24 hours (`avh`), which several requests can share.
    Session,
}

fn api() -> String {
    "https://ws.api.video".into()
}

fn delivery() -> String {
    "https://vod.api.video".into()
}

const fn one_hour() -> Period {
    Period::seconds(3600)
}

/// api.video, asked with one API key.
#[derive(Debug)]
pub struct Apivideo {
    api: BaseUrl,
    delivery: BaseUrl,
    key: Secret<String>,
    issue: ApivideoIssue,
    ttl: i64,
}

/// One page of upload tokens.
#[derive(Debug)]
pub struct UploadTokens {
    /// The tokens, each with its end where it has one.
    pub tokens: Vec<Issued>,
    /// How many pages there are.
    pub pages: u64,
}

impl ApivideoConfig {
    fn api_key(&self) -> SecretIn<'_> {
        SecretIn::outside("api_key", self.api_key_file.as_deref(), self.api_key_env.as_deref())
    }
}

impl Table for ApivideoConfig {
    fn scope(&self) -> Scope {
        self.upkeep.scope
    }

    fn keep(&self) -> &KeepConfig {
        &self.upkeep.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        (self.issue != ApivideoIssue::Basic).then_some(&self.upkeep.endpoint)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Faults::default();
        let of_a_video = matches!(self.issue, ApivideoIssue::PrivateVideo | ApivideoIssue::Session);
        let whole = self.ttl.0.subsec_nanos() == 0 && self.ttl.as_unix() <= LONGEST_TTL;
        faults.when("ttl", !whole, format!("`ttl` is whole seconds, {LONGEST_TTL} at most"));
        faults.when(
            "scope",
            of_a_video != (self.upkeep.scope == Scope::Resource),
            "`resource` is for tokens of private videos, and they are for nothing else",
        );
        faults.0.extend(self.api_key().fault(true));
        faults.0
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        Ok(match self.issue {
            ApivideoIssue::Basic => Source::Mint(Box::new(Fixed::new("apivideo", around.secret(&self.api_key())?))),
            _ => Source::Vendor(Box::new(Apivideo::new(self, around)?)),
        })
    }
}

impl Apivideo {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without the key.
    pub fn new(config: &ApivideoConfig, around: &Around<'_>) -> Result<Self, String> {
        let key = around.secret(&config.api_key())?;
        let (api, delivery) = (vendor::base("base_url", &config.base_url)?, vendor::base("delivery_url", &config.delivery_url)?);
        Ok(Self { api, delivery, key, issue: config.issue, ttl: config.ttl.as_unix() })
    }

    /// What tells about one upload token.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when it cannot stand in a path.
    pub fn get(&self, token: &str) -> Result<Request<Bytes>, Refused> {
        let uri = self.api.join(&format!("/upload-tokens/{}", vendor::id("the upload token", Some(token))?))?;
        Ok(vendor::call(Method::GET, uri, &self.authorization(), None))
    }

    /// What lists the upload tokens that are still good, `page` from 1, 100 a page.
    ///
    /// # Errors
    /// [`Refused::Malformed`] only when the base address is no URI.
    pub fn list(&self, page: u64) -> Result<Request<Bytes>, Refused> {
        let uri = self.api.join(&format!("/upload-tokens?currentPage={page}&pageSize=100"))?;
        Ok(vendor::call(Method::GET, uri, &self.authorization(), None))
    }

    /// The answer to [`Apivideo::list`]. A token's end is reckoned from `ask.now` and its whole `ttl`, hence no earlier than it is.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse_list(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<UploadTokens, Refused> {
        let page = vendor::object(ask.now, response)?;
        let data = page.get("data").and_then(Value::as_array).ok_or_else(|| Refused::Malformed("the answer has no data".into()))?;
        let tokens = data.iter().map(|token| upload_token(ask, token.as_object().unwrap_or(&Map::new()))).collect::<Result<_, _>>()?;
        let pages = page.get("pagination").and_then(|pagination| pagination.get("pagesTotal")).and_then(Value::as_u64).unwrap_or(1);
        Ok(UploadTokens { tokens, pages })
    }

    fn authorization(&self) -> [(HeaderName, HeaderValue); 1] {
        [vendor::authorized(vendor::basic(self.key.expose(), ""))]
    }

    fn create(&self) -> Result<Request<Bytes>, Refused> {
        Ok(vendor::call(Method::POST, self.api.join("/upload-tokens")?, &self.authorization(), Some(&json!({ "ttl": self.ttl }))))
    }

    fn sign_in(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        let (path, body) = match renewal(ask) {
            Some(token) => ("/auth/refresh", json!({ "refreshToken": token.expose() })),
            None => ("/auth/api-key", json!({ "apiKey": self.key.expose() })),
        };
        Ok(vendor::call(Method::POST, self.api.join(path)?, &[], Some(&body)))
    }
}

fn renewal<'a>(ask: &Ask<'a>) -> Option<&'a Secret<String>> {
    ask.previous.and_then(|previous| previous.renewal.as_ref())
}

/// `{"token","ttl","createdAt","expiresAt"?}`; a `ttl` of 0 has no end.
fn upload_token(ask: &Ask<'_>, members: &Map<String, Value>) -> Result<Issued, Refused> {
    let token = vendor::text(members, "token")?;
    let ttl = vendor::seconds(members, "ttl").ok_or_else(|| Refused::Malformed("the answer has no ttl".into()))?;
    Ok(Issued::new(token.to_owned(), ask.now, (ttl > 0).then(|| ask.now.plus(ttl))))
}

fn access_token(ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
    // The description says 400 for bad credentials, the error pages 401.
    if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(Refused::Account { reason: vendor::reason(response), renewal: renewal(ask).is_some() });
    }
    let members = vendor::object(ask.now, response)?;
    let token = vendor::text(&members, "access_token")?;
    let life = vendor::seconds(&members, "expires_in").filter(|life| *life > 0);
    let life = life.ok_or_else(|| Refused::Malformed("the answer has no expires_in".into()))?;
    let mut issued = Issued::new(token.to_owned(), ask.now, Some(ask.now.plus(life)));
    // Each refresh token is good once; without a new one the key is the way back.
    issued.renewal = vendor::text(&members, "refresh_token").ok().map(|token| Secret::new(token.to_owned()));
    Ok(issued)
}

/// The one-time token in a private video's `assets`, and the addresses that hold it.
fn private_token(ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
    let video = vendor::object(ask.now, response)?;
    if video.get("public") == Some(&Value::Bool(true)) {
        return Err(Refused::Malformed("the video is public and has no token".into()));
    }
    let assets = video.get("assets").and_then(Value::as_object).ok_or_else(|| Refused::Malformed("the answer has no assets".into()))?;
    let addresses = ["hls", "mp4", "thumbnail", "player"].map(|name| (name, assets.get(name).and_then(Value::as_str)));
    let token = addresses.iter().find_map(|(_, address)| token_in(address.as_deref()?));
    let token = vendor::id("the video's token", token).map_err(|_| Refused::Malformed("no address of the video holds a token".into()))?;
    let mut issued = Issued::new(token.to_owned(), ask.now, Some(ask.now.plus(SESSION)));
    let known = addresses.iter().filter_map(|(name, address)| Some(((*name).to_owned(), Secret::new((*address)?.to_owned()))));
    issued.details.extend(known);
    Ok(issued)
}

/// `…/token/{token}/…` of media, `?token={token}` of the player.
fn token_in(address: &str) -> Option<&str> {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let in_path = path.split_once("/token/").and_then(|(_, rest)| rest.split('/').next());
    in_path.or_else(|| crate::query::values(query, "token").next()).filter(|token| !token.is_empty())
}

impl Provider for Apivideo {
    fn kind(&self) -> &'static str {
        "apivideo"
    }

    /// "Delegated uploads": all parts of a file come with the token of the first one.
    fn serves(&self) -> Serves {
        if self.issue == ApivideoIssue::UploadToken { Serves::Uploads } else { Serves::Requests }
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.api.clone(), self.delivery.clone()]
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        match self.issue {
            ApivideoIssue::UploadToken => self.create(),
            ApivideoIssue::Bearer => self.sign_in(ask),
            ApivideoIssue::PrivateVideo | ApivideoIssue::Session => {
                let uri = self.api.join(&format!("/videos/{}", vendor::id("the video's id", ask.resource)?))?;
                Ok(vendor::call(Method::GET, uri, &self.authorization(), None))
            }
            ApivideoIssue::Basic => Err(Refused::Malformed("an API key is not asked for".into())),
        }
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        match self.issue {
            ApivideoIssue::Bearer => access_token(ask, response),
            ApivideoIssue::PrivateVideo | ApivideoIssue::Session => private_token(ask, response),
            ApivideoIssue::UploadToken | ApivideoIssue::Basic => upload_token(ask, &vendor::object(ask.now, response)?),
        }
    }

    fn next(&self, ask: &Ask<'_>, issued: &Issued) -> Result<Option<Request<Bytes>>, Refused> {
        if self.issue != ApivideoIssue::Session {
            return Ok(None);
        }
        let video = vendor::id("the video's id", ask.resource)?;
        let uri = self.delivery.join(&format!("/vod/{video}/token/{}/session", issued.value.expose()))?;
        // The token in the path is the credential; the key stays with the API.
        Ok(Some(vendor::call(Method::GET, uri, &[], None)))
    }

    fn complete(&self, ask: &Ask<'_>, issued: Issued, response: &Response<Bytes>) -> Result<Issued, Refused> {
        let members = vendor::object(ask.now, response)?;
        let session = vendor::text(&members, "session_token")?;
        let mut whole = Issued::new(session.to_owned(), ask.now, Some(ask.now.plus(SESSION)));
        whole.details = issued.details;
        whole.details.insert("token".into(), issued.value);
        Ok(whole)
    }

    fn revoke(&self, _: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        if self.issue != ApivideoIssue::UploadToken {
            return None;
        }
        let token = vendor::id("the upload token", Some(issued.value.expose())).ok()?;
        let uri = self.api.join(&format!("/upload-tokens/{token}")).ok()?;
        Some(vendor::call(Method::DELETE, uri, &self.authorization(), None))
    }
}

#[cfg(test)]
mod tests;

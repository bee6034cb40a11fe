//! Cloudflare Stream: playback tokens, signing keys, and one-time upload addresses.
//!
//! After its pages "Secure your Stream", "Direct creator uploads" and "Resumable uploads". Answers come in an
//! envelope (`success`, `errors`, `result`); a `success` of `false` is a refusal whatever the status.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
use crate::token::jws::{self, Dates, Jws};
use crate::units::Period;

/// Longest life of a playback token ("Secure your Stream": 24 hours).
const LONGEST: i64 = 86_400;

/// Most rules of a token (same page).
const MOST_RULES: usize = 5;

/// Soonest that a video may be deleted by itself (30 days).
const SOONEST_DELETION: i64 = 30 * 86_400;

/// Credentials of Cloudflare Stream.
///
/// ```toml
/// [credentials.stream]
/// type = "cloudflare-stream"
/// account_id = "023e105f4ecef8ad9ca31a8372d0c353"
/// api_token_file = "cloudflare-token"
/// issue = "direct-upload"
/// max_duration_seconds = 3600
/// ```
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudflareConfig {
    /// Where its API is.
    #[serde(default = "api")]
    pub base_url: String,
    /// The account that the videos are in.
    pub account_id: String,
    /// A file whose content, less a last line end, is an API token with the right to edit Stream.
    #[serde(default)]
    pub api_token_file: Option<PathBuf>,
    /// An environment variable that holds the API token.
    #[serde(default)]
    pub api_token_env: Option<String>,
    /// The user's address, for the older way with an API key instead of a token.
    #[serde(default)]
    pub email: Option<String>,
    /// A file whose content, less a last line end, is the API key of `email`.
    #[serde(default)]
    pub api_key_file: Option<PathBuf>,
    /// An environment variable that holds the API key of `email`.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// What is got.
    pub issue: CloudflareIssue,
    /// How long a token is good, a day at most; how long an upload address waits for its upload.
    #[serde(default = "one_hour")]
    pub lifetime: Period,
    /// How long before now a token begins. Unset: an hour for tokens that the vendor makes, no beginning for those made here.
    #[serde(default)]
    pub starts_before: Option<Period>,
    /// Whether a token opens downloads too.
    #[serde(default)]
    pub downloadable: bool,
    /// Whether a token opens the original.
    #[serde(default)]
    pub original: bool,
    /// Who may use a token: five rules at most, the first that matches decides, and where none does it is let through.
    #[serde(default)]
    pub access_rules: Vec<CloudflareRule>,
    /// The signing key that tokens are signed with; needs its private key.
    #[serde(default)]
    pub signing_key_id: Option<String>,
    /// A file with the private key of `signing_key_id`: PEM, JWK, or the base64 that the vendor hands out.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
    /// An environment variable that holds the private key.
    #[serde(default)]
    pub signing_key_env: Option<String>,
    /// Longest video that an upload address takes, in seconds; -1: not known.
    #[serde(default)]
    pub max_duration_seconds: Option<i64>,
    /// Whether uploaded videos can be played with a token only.
    #[serde(default = "yes")]
    pub require_signed_urls: bool,
    /// Hosts of pages that may play uploaded videos; empty: all.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Who uploads, as the vendor files it.
    #[serde(default)]
    pub creator: Option<String>,
    /// Where in the video its picture is taken, from 0 to 1.
    #[serde(default)]
    pub thumbnail_timestamp_pct: Option<f64>,
    /// How long after now uploaded videos are deleted; 30 days or more.
    #[serde(default)]
    pub delete_after: Option<Period>,
    /// The watermark profile of uploaded videos.
    #[serde(default)]
    pub watermark: Option<String>,
    /// How its values are shared, kept and got.
    #[serde(flatten)]
    pub upkeep: Upkeep,
}

/// What is got of Cloudflare Stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CloudflareIssue {
    /// A playback token of the video that is asked for, made by the vendor. For up to some thousand a day.
    Token,
    /// The same, signed here with `signing_key_id`, without a call.
    Signed,
    /// A new signing key; withdrawing it ends every token that it signed.
    SigningKey,
    /// A one-time address that takes one upload of up to 200 MB.
    DirectUpload,
    /// A one-time address for a resumable upload (tus) of as many bytes as its creation says.
    Tus,
}

/// One rule of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudflareRule {
    /// What it looks at.
    #[serde(rename = "type")]
    pub on: CloudflareMatch,
    /// What it does.
    pub action: CloudflareAction,
    /// Addresses and networks, for `ip.src`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip: Vec<ipnet::IpNet>,
    /// Countries as ISO 3166-1 alpha-2 codes, for `ip.geoip.country`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub country: Vec<String>,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CloudflareMatch {
    /// Everybody.
    #[serde(rename = "any")]
    Any,
    /// The viewer's address.
    #[serde(rename = "ip.src")]
    Address,
    /// The country of the viewer's address.
    #[serde(rename = "ip.geoip.country")]
    Country,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloudflareAction {
    /// Lets through.
    Allow,
    /// Refuses.
    Block,
}

fn api() -> String {
    "https://api.cloudflare.com/client/v4".into()
}

const fn one_hour() -> Period {
    Period::seconds(3600)
}

const fn yes() -> bool {
    true
}

impl CloudflareConfig {
    fn api_token(&self) -> SecretIn<'_> {
        SecretIn::outside("api_token", self.api_token_file.as_deref(), self.api_token_env.as_deref())
    }

    fn api_key(&self) -> SecretIn<'_> {
        SecretIn::outside("api_key", self.api_key_file.as_deref(), self.api_key_env.as_deref())
    }

    fn signing_key(&self) -> SecretIn<'_> {
        SecretIn::outside("signing_key", self.signing_key_file.as_deref(), self.signing_key_env.as_deref())
    }

    fn authorization(&self, around: &Around<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let Some(email) = &self.email else {
            return Ok(vec![vendor::authorized(vendor::bearer(around.secret(&self.api_token())?.expose()))]);
        };
        let name = HeaderValue::from_str(email).map_err(|_| "email cannot be sent".to_owned())?;
        let key = vendor::sensitive(around.secret(&self.api_key())?.expose());
        Ok(vec![(HeaderName::from_static("x-auth-email"), name), (HeaderName::from_static("x-auth-key"), key)])
    }

    fn rules(&self) -> Option<Value> {
        let rule = |rule: &CloudflareRule| serde_json::to_value(rule).unwrap_or(Value::Null);
        (!self.access_rules.is_empty()).then(|| self.access_rules.iter().map(rule).collect())
    }

    /// Claims of a playback token, but for the video and the key.
    fn claims(&self, now: UnixTime) -> Map<String, Value> {
        let mut claims = Map::from_iter([("exp".to_owned(), Value::from(now.plus(self.lifetime.as_unix()).0))]);
        claims.extend(self.starts_before.map(|before| ("nbf".to_owned(), now.plus(-before.as_unix()).0.into())));
        claims.extend(self.downloadable.then(|| ("downloadable".to_owned(), true.into())));
        claims.extend(self.original.then(|| ("flags".to_owned(), json!({ "original": true }))));
        claims.extend(self.rules().map(|rules| ("accessRules".to_owned(), rules)));
        claims
    }
}

impl Table for CloudflareConfig {
    fn scope(&self) -> Scope {
        self.upkeep.scope
    }

    fn keep(&self) -> &KeepConfig {
        &self.upkeep.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        (self.issue != CloudflareIssue::Signed).then_some(&self.upkeep.endpoint)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        use CloudflareIssue::{DirectUpload, Signed, SigningKey, Token, Tus};
        let mut faults = Faults::default();
        let life = self.lifetime.as_unix();
        let makes_token = matches!(self.issue, Token | Signed);
        faults.when("lifetime", life < 1 || (makes_token && life > LONGEST), "a token lives for a second or more, and a day at most");
        faults.when("access_rules", self.access_rules.len() > MOST_RULES, "there are five rules at most");
        let told = |rule: &CloudflareRule| {
            (rule.on == CloudflareMatch::Address, rule.on == CloudflareMatch::Country) == (!rule.ip.is_empty(), !rule.country.is_empty())
        };
        faults.when(
            "access_rules",
            !self.access_rules.iter().all(told),
            "`ip` goes with `ip.src` and `country` with `ip.geoip.country`, and neither goes without",
        );
        let (named, keys) = (self.signing_key_id.is_some(), self.signing_key().ways());
        faults.when("signing_key_id", !named && keys > 0, "a signing key has an id, which tokens name");
        faults.when("signing_key_id", self.issue == Signed && self.signing_key_id.is_none(), "`signed` needs a signing key");
        faults.when("max_duration_seconds", self.issue == DirectUpload && self.max_duration_seconds.is_none(), "a direct upload needs it");
        faults.when("max_duration_seconds", self.max_duration_seconds.is_some_and(|most| most == 0 || most < -1), "it is 1 or more, or -1");
        faults.when("delete_after", self.delete_after.is_some_and(|after| after.as_unix() < SOONEST_DELETION), "it is 30 days or more");
        faults.when("scope", makes_token && self.upkeep.scope != Scope::Resource, "each video has its own: `scope` must be \"resource\"");
        faults.when(
            "scope",
            self.issue == SigningKey && self.upkeep.scope != Scope::Route,
            "one signing key serves all: `scope` must be \"route\"",
        );
        faults.when(
            "scope",
            self.issue == Tus && self.upkeep.scope != Scope::Session,
            "each upload has its own: `scope` must be \"session\"",
        );
        faults.0.extend(self.signing_key().fault(named));
        if self.issue != Signed {
            faults.0.extend(if self.email.is_some() { self.api_key().fault(true) } else { self.api_token().fault(true) });
        }
        faults.0
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        Ok(match self.issue {
            CloudflareIssue::Signed => {
                Source::Mint(Box::new(CloudflareSigner::new(self, (self.signing_key_id.as_deref(), &self.signing_key()), around)?))
            }
            _ => Source::Vendor(Box::new(Cloudflare::new(self, around)?)),
        })
    }
}

/// Cloudflare Stream, asked for one account.
#[derive(Debug)]
pub struct Cloudflare {
    api: BaseUrl,
    authorization: Vec<(HeaderName, HeaderValue)>,
    pem: Option<Secret<String>>,
    config: CloudflareConfig,
}

impl Cloudflare {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    pub fn new(config: &CloudflareConfig, around: &Around<'_>) -> Result<Self, String> {
        vendor::id("account_id", Some(&config.account_id)).map_err(|fault| fault.to_string())?;
        let pem = around.optional(&config.signing_key())?.map(|key| Secret::new(in_base64(key.expose())));
        Ok(Self {
            api: vendor::base("base_url", &config.base_url)?,
            authorization: config.authorization(around)?,
            pem,
            config: config.clone(),
        })
    }

    /// What makes a signing key.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when there is no such address.
    pub fn create_key(&self) -> Result<Request<Bytes>, Refused> {
        self.call(Method::POST, "/keys", None)
    }

    /// What lists the signing keys, without their private halves.
    ///
    /// # Errors
    /// As [`Cloudflare::create_key`].
    pub fn list_keys(&self) -> Result<Request<Bytes>, Refused> {
        self.call(Method::GET, "/keys", None)
    }

    /// The ids in the answer to [`Cloudflare::list_keys`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse_keys(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Vec<String>, Refused> {
        let list = result(ask.now, response)?;
        let list = list.as_array().ok_or_else(|| Refused::Malformed("the result is no list".into()))?;
        Ok(list.iter().filter_map(|key| key["id"].as_str().map(str::to_owned)).collect())
    }

    /// What ends a signing key and every token it signed.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when the id cannot stand in a path.
    pub fn delete_key(&self, id: &str) -> Result<Request<Bytes>, Refused> {
        self.call(Method::DELETE, &format!("/keys/{}", vendor::id("the key's id", Some(id))?), None)
    }

    /// What begins a resumable upload of `length` bytes whose address needs no rights of ours.
    ///
    /// # Errors
    /// As [`Cloudflare::create_key`].
    pub fn create_tus(&self, length: u64, now: UnixTime) -> Result<Request<Bytes>, Refused> {
        let mut request = self.call(Method::POST, "?direct_user=true", None)?;
        let fields = request.headers_mut();
        fields.insert("tus-resumable", HeaderValue::from_static("1.0.0"));
        fields.insert("upload-length", HeaderValue::from(length));
        let metadata = self.metadata(now);
        fields.insert(
            "upload-metadata",
            HeaderValue::from_str(&metadata).map_err(|_| Refused::Malformed("the metadata cannot be sent".into()))?,
        );
        self.name_creator(fields);
        Ok(request)
    }

    /// tus 1.0.0 `Upload-Metadata`: names, each with its value in base64 or none.
    fn metadata(&self, now: UnixTime) -> String {
        let of = |name: &str, value: Option<String>| value.map(|value| format!("{name} {}", STANDARD.encode(value)));
        let config = &self.config;
        let pairs = [
            of("maxDurationSeconds", config.max_duration_seconds.map(|most| most.to_string())),
            config.require_signed_urls.then(|| "requiresignedurls".to_owned()),
            of("expiry", Some(rfc3339(now.plus(config.lifetime.as_unix())))),
            of("allowedorigins", (!config.allowed_origins.is_empty()).then(|| config.allowed_origins.join(","))),
            of("thumbnailtimestamppct", config.thumbnail_timestamp_pct.map(|place| place.to_string())),
            of("watermark", config.watermark.clone()),
            of("scheduleddeletion", config.delete_after.map(|after| rfc3339(now.plus(after.as_unix())))),
        ];
        pairs.into_iter().flatten().collect::<Vec<_>>().join(",")
    }

    fn name_creator(&self, fields: &mut http::HeaderMap) {
        if let Some(creator) = self.config.creator.as_deref().and_then(|creator| HeaderValue::from_str(creator).ok()) {
            fields.insert("upload-creator", creator);
        }
    }

    fn direct_upload(&self, now: UnixTime) -> Result<Request<Bytes>, Refused> {
        let config = &self.config;
        let mut body = json!({
            "maxDurationSeconds": config.max_duration_seconds.unwrap_or(-1),
            "expiry": rfc3339(now.plus(config.lifetime.as_unix())),
            "requireSignedURLs": config.require_signed_urls,
        });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        set("allowedOrigins", (!config.allowed_origins.is_empty()).then(|| json!(config.allowed_origins)));
        set("creator", config.creator.clone().map(Value::from));
        set("thumbnailTimestampPct", config.thumbnail_timestamp_pct.map(Value::from));
        set("scheduledDeletion", config.delete_after.map(|after| rfc3339(now.plus(after.as_unix())).into()));
        set("watermark", config.watermark.as_ref().map(|uid| json!({ "uid": uid })));
        self.call(Method::POST, "/direct_upload", Some(&body))
    }

    fn token(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        let video = vendor::id("the video's id", ask.resource)?;
        let mut body = self.config.claims(ask.now);
        if let (Some(id), Some(pem)) = (&self.config.signing_key_id, &self.pem) {
            body.insert("id".into(), id.as_str().into());
            body.insert("pem".into(), pem.expose().as_str().into());
        }
        self.call(Method::POST, &format!("/{video}/token"), Some(&Value::Object(body)))
    }

    fn call(&self, method: Method, below: &str, body: Option<&Value>) -> Result<Request<Bytes>, Refused> {
        let uri = self.api.join(&format!("/accounts/{}/stream{below}", self.config.account_id))?;
        Ok(vendor::call(method, uri, &self.authorization, body))
    }
}

/// What the envelope holds.
fn result(now: UnixTime, response: &Response<Bytes>) -> Result<Value, Refused> {
    let mut members = vendor::object(now, response)?;
    let good = members.get("success") == Some(&Value::Bool(true));
    let result = members.remove("result").filter(|result| good && !result.is_null());
    result.ok_or_else(|| Refused::Malformed(vendor::reason(response)))
}

/// The end that a token says it has. The vendor writes `exp` as text, signers of one's own as a number.
fn end_of(token: &str) -> Option<UnixTime> {
    let claims = Jws::parse(token).and_then(|jws| jws.claims()).ok()?;
    jws::date(&claims, "exp", Dates::NumbersOrText).ok().flatten()
}

fn member<'v>(result: &'v Value, name: &str) -> Result<&'v str, Refused> {
    result[name].as_str().filter(|text| !text.is_empty()).ok_or_else(|| Refused::Malformed(format!("the result has no {name}")))
}

fn uploaded(address: &str, uid: &str, ask: &Ask<'_>, life: i64) -> Issued {
    let mut issued = Issued::new(address.to_owned(), ask.now, Some(ask.now.plus(life)));
    issued.details.insert("uid".into(), Secret::new(uid.to_owned()));
    issued
}

impl Provider for Cloudflare {
    fn kind(&self) -> &'static str {
        "cloudflare-stream"
    }

    fn serves(&self) -> Serves {
        match self.config.issue {
            CloudflareIssue::DirectUpload => Serves::Address,
            CloudflareIssue::Tus => Serves::TusPlace,
            CloudflareIssue::Token | CloudflareIssue::Signed | CloudflareIssue::SigningKey => Serves::Requests,
        }
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.api.clone()]
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        match self.config.issue {
            CloudflareIssue::Token => self.token(ask),
            CloudflareIssue::SigningKey => self.create_key(),
            CloudflareIssue::DirectUpload => self.direct_upload(ask.now),
            CloudflareIssue::Tus => {
                self.create_tus(ask.length.ok_or_else(|| Refused::Malformed("the upload's length is not known".into()))?, ask.now)
            }
            CloudflareIssue::Signed => Err(Refused::Malformed("a token that is signed here is not asked for".into())),
        }
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        let life = self.config.lifetime.as_unix();
        if self.config.issue == CloudflareIssue::Tus {
            if !response.status().is_success() {
                return Err(vendor::refusal(ask.now, response));
            }
            let field = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let (address, uid) = (field("location"), field("stream-media-id"));
            let address = address.ok_or_else(|| Refused::Malformed("the answer has no Location".into()))?;
            return Ok(uploaded(address, vendor::id("stream-media-id", uid)?, ask, life));
        }
        let result = result(ask.now, response)?;
        match self.config.issue {
            CloudflareIssue::DirectUpload => Ok(uploaded(member(&result, "uploadURL")?, member(&result, "uid")?, ask, life)),
            CloudflareIssue::SigningKey => {
                let mut issued = Issued::new(member(&result, "pem")?.to_owned(), ask.now, None);
                let id = Secret::new(member(&result, "id")?.to_owned());
                issued.details.extend([("id".to_owned(), id.clone())]);
                issued.details.extend(result["jwk"].as_str().map(|jwk| ("jwk".to_owned(), Secret::new(jwk.to_owned()))));
                issued.handle = Some(id);
                Ok(issued)
            }
            _ => {
                let token = member(&result, "token")?;
                Ok(Issued::new(token.to_owned(), ask.now, Some(end_of(token).unwrap_or_else(|| ask.now.plus(life)))))
            }
        }
    }

    fn revoke(&self, _: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        // A playback token cannot be withdrawn alone, and an upload address goes with the video that came through it.
        let id = issued.handle.as_ref().filter(|_| self.config.issue == CloudflareIssue::SigningKey)?;
        self.delete_key(id.expose()).ok()
    }
}

/// Signs playback tokens here.
pub type CloudflareSigner = LocalSigner<CloudflareConfig>;

impl Mint for CloudflareSigner {
    fn kind(&self) -> &'static str {
        "cloudflare-stream"
    }

    fn mint(&self, ask: &Ask<'_>) -> Result<Issued, String> {
        let video = vendor::id("the video's id", ask.resource).map_err(|fault| fault.to_string())?;
        let id = self.config.signing_key_id.as_deref().unwrap_or_default();
        let mut claims = self.config.claims(ask.now);
        // The key's id stands in both places, as in the vendor's own tokens.
        claims.extend([("sub".to_owned(), video.into()), ("kid".to_owned(), id.into())]);
        let token = jws::sign(&self.key, Map::from_iter([("kid".to_owned(), id.into())]), &claims).map_err(|fault| fault.to_string())?;
        Ok(Issued::new(token, ask.now, Some(ask.now.plus(self.config.lifetime.as_unix()))))
    }
}

/// PEM as the vendor wants it sent; what is in base64 already stays as it is.
fn in_base64(pem: &str) -> String {
    if pem.contains("-----BEGIN") { STANDARD.encode(pem) } else { pem.trim().to_owned() }
}

fn rfc3339(at: UnixTime) -> String {
    let at = u64::try_from(at.0).unwrap_or(0);
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at)).to_string()
}

#[cfg(test)]
mod tests;

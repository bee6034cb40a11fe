//! AWS Signature Version 4 for private origins that speak S3's protocol: a request is signed as a whole, by
//! fields or by its query. Bodies are not signed (`UNSIGNED-PAYLOAD`), so that they can be passed on as they come.
//!
//! Pure: a request's head and the time in, the signed head out.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::vendor;
use crate::clock::UnixTime;
use crate::credential::config::{Around, SecretIn};
use crate::credential::place::Place;
use crate::credential::sign_head::SignHead;
use crate::query;
use crate::units::Period;

/// Longest life of a presigned address, in seconds (S3: seven days).
const LONGEST: i64 = 604_800;

/// An access key for origins that speak S3's protocol.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// The access key's id.
    pub access_key_id: String,
    /// A file whose content, less a last line end, is the secret access key.
    #[serde(default)]
    pub secret_access_key_file: Option<PathBuf>,
    /// An environment variable that holds the secret access key.
    #[serde(default)]
    pub secret_access_key_env: Option<String>,
    /// A file with the session token of temporary keys.
    #[serde(default)]
    pub session_secret_file: Option<PathBuf>,
    /// An environment variable that holds the session token.
    #[serde(default)]
    pub session_secret_env: Option<String>,
    /// The region, such as `eu-central-1`; what does not have regions usually takes `us-east-1`.
    pub region: String,
    /// The service.
    #[serde(default = "s3")]
    pub service: String,
    /// Whether the signature goes in fields or in the query.
    #[serde(default)]
    pub sign_into: AwsPlace,
    /// How long a signature in the query is good.
    #[serde(default = "five_minutes")]
    pub lifetime: Period,
    /// Query parameters of the caller that are signed and sent, by exact name. All others are dropped: a parameter such as `acl`
    /// or `delete` asks S3 for something else than the object.
    #[serde(default)]
    pub parameters: Vec<String>,
}

impl AwsConfig {
    /// What does not make sense: the key, and a sentence on it.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for (key, text) in [("access_key_id", &self.access_key_id), ("region", &self.region), ("service", &self.service)] {
            if text.is_empty() {
                faults.push((key, format!("`{key}` cannot be empty")));
            }
        }
        if !(1..=LONGEST).contains(&self.lifetime.as_unix()) {
            faults.push(("lifetime", "`lifetime` is a second to seven days".into()));
        }
        if let Some(name) = self.parameters.iter().find(|name| is_amazons(name)) {
            faults.push(("parameters", format!("`{name}` is the signature's own")));
        }
        faults.extend(self.secret().fault(true));
        faults.extend(self.session().fault(false));
        faults
    }

    fn secret(&self) -> SecretIn<'_> {
        let (file, env) = (self.secret_access_key_file.as_deref(), self.secret_access_key_env.as_deref());
        SecretIn::outside("secret_access_key", file, env)
    }

    fn session(&self) -> SecretIn<'_> {
        let (file, env) = (self.session_secret_file.as_deref(), self.session_secret_env.as_deref());
        SecretIn::outside("session_secret", file, env)
    }
}

/// Where a signature goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AwsPlace {
    /// `Authorization` and `X-Amz-…` fields.
    #[default]
    Header,
    /// `X-Amz-…` parameters.
    Query,
}

fn s3() -> String {
    "s3".into()
}

const fn five_minutes() -> Period {
    Period::seconds(300)
}

/// Signs requests with one access key.
pub struct AwsSigner {
    credentials: Credentials,
    region: String,
    service: String,
    place: AwsPlace,
    lifetime: Duration,
    parameters: Vec<String>,
}

impl std::fmt::Debug for AwsSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsSigner").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

impl AwsSigner {
    /// Takes its config.
    ///
    /// # Errors
    /// A sentence for the operator, without the key.
    pub fn new(config: &AwsConfig, around: &Around<'_>) -> Result<Self, String> {
        if let Some((_, fault)) = config.faults().into_iter().next() {
            return Err(fault);
        }
        let secret = around.secret(&config.secret())?;
        let session = around.optional(&config.session())?.map(|token| token.expose().clone());
        let credentials = Credentials::new(config.access_key_id.as_str(), secret.expose().as_str(), session, None, "tollgate");
        Ok(Self {
            credentials,
            region: config.region.clone(),
            service: config.service.clone(),
            place: config.sign_into,
            lifetime: config.lifetime.0,
            parameters: config.parameters.clone(),
        })
    }

    /// Signs a head whose URI is absolute, as it will be sent; `Host` is that of the URI. What the caller sent in the places of a
    /// signature goes first, and with it every `x-amz-…` field and every parameter that is not listed: what is signed here is
    /// done in the key's name, and `x-amz-copy-source` or `x-amz-acl` would do more than the route means. The path is written anew in the one spelling that S3 signs.
    ///
    /// # Errors
    /// A sentence without secrets, when the head cannot be signed.
    pub fn sign(&self, parts: &mut Parts, now: UnixTime) -> Result<(), String> {
        self.strip(parts)?;
        parts.headers.remove(HOST);
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        if self.place == AwsPlace::Header {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        } else {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(self.lifetime);
        }
        let identity = self.credentials.clone().into();
        let seconds = u64::try_from(now.0).map_err(|_| "the time is before 1970".to_owned())?;
        let params = v4::SigningParams::builder().identity(&identity).region(&self.region).name(&self.service);
        let params =
            params.time(UNIX_EPOCH + Duration::from_secs(seconds)).settings(settings).build().map_err(|fault| fault.to_string())?;
        let uri = parts.uri.to_string();
        // S3 wants every field of its own signed, and nothing else: proxies on the way may change the rest.
        let own = parts.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-"));
        let own: Vec<(&str, &str)> = own
            .map(|(name, value)| value.to_str().map(|value| (name.as_str(), value)))
            .collect::<Result<_, _>>()
            .map_err(|_| "a field of the request is not text".to_owned())?;
        let request = SignableRequest::new(parts.method.as_str(), uri.as_str(), own.into_iter(), SignableBody::UnsignedPayload);
        let signed = sign(request.map_err(|_| "the request cannot be signed".to_owned())?, &params.into());
        let (instructions, _) = signed.map_err(|_| "the request cannot be signed".to_owned())?.into_parts();
        for (name, value) in instructions.headers() {
            let name: HeaderName = name.parse().map_err(|_| "a signed field has no name".to_owned())?;
            parts.headers.insert(name, vendor::sensitive(value));
        }
        let added: Vec<(&str, &str)> = instructions.params().iter().map(|(name, value)| (*name, value.as_ref())).collect();
        if !added.is_empty() {
            let mut all = parts.uri.query().unwrap_or("").to_owned();
            added.iter().for_each(|(name, value)| query::push(&mut all, name, value));
            parts.uri = with_target(&parts.uri, parts.uri.path(), Some(&all))?;
        }
        if let Some(host) = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
            parts.headers.insert(HOST, host);
        }
        Ok(())
    }

    /// Takes out what stands where a signature will and what it must not cover, and writes the path in S3's own spelling.
    fn strip(&self, parts: &mut Parts) -> Result<(), String> {
        let amazons: Vec<HeaderName> = parts.headers.keys().filter(|name| is_amazons(name.as_str())).cloned().collect();
        for name in amazons {
            parts.headers.remove(name);
        }
        parts.headers.remove(AUTHORIZATION);
        // What cannot be read as a listed name does not go either.
        let listed = |raw: &str| query::decode(raw).is_some_and(|name| !is_amazons(&name) && self.parameters.contains(&name));
        let pairs = parts.uri.query().unwrap_or("").split('&');
        let kept: Vec<&str> = pairs.filter(|pair| listed(pair.split_once('=').map_or(*pair, |(name, _)| name))).collect();
        let kept = (!kept.is_empty()).then(|| kept.join("&"));
        let path = canonical(parts.uri.path());
        parts.uri = with_target(&parts.uri, &path, kept.as_deref())?;
        Ok(())
    }
}

impl SignHead for AwsSigner {
    fn sign(&self, head: &mut Parts, now: UnixTime) -> Result<(), String> {
        Self::sign(self, head, now)
    }

    fn told(&self) -> (&'static str, Place) {
        let place = match self.place {
            AwsPlace::Header => Place::Header(AUTHORIZATION),
            AwsPlace::Query => Place::Query("X-Amz-Signature".into()),
        };
        ("aws-sigv4", place)
    }
}

/// Whether Amazon takes this name for one of its own, under every spelling that a server on the way may fold into it.
fn is_amazons(name: &str) -> bool {
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= 6 && name.bytes().map(fold).take(6).eq(*b"x-amz-")
}

/// Every byte but letters, digits and `-._~/` as `%XX` in upper case (AWS: `UriEncode`); S3 undoes that once.
fn canonical(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    let mut written = String::with_capacity(path.len());
    for byte in plain {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => written.push(char::from(byte)),
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

fn with_target(uri: &Uri, path: &str, query: Option<&str>) -> Result<Uri, String> {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let fault = || "the address cannot be signed".to_owned();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| fault())?);
    Uri::from_parts(parts).map_err(|_| fault())
}

#[cfg(test)]
mod tests;

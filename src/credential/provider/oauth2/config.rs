//! The table of a credential of type `oauth2`, and what it makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Auth, Oauth2, Start};
use crate::credential::base_url::BaseUrl;
use crate::credential::config::{Around, EndpointConfig, KeepConfig, SecretIn, Source, Table};
use crate::query;
use crate::secret::Secret;
use crate::token::key::Material;
use crate::token::{Algorithm, Key, KeySet};

/// A credential of type `oauth2`: access tokens of an OAuth 2.0 server.
///
/// ```toml
/// [credentials.partner]
/// type = "oauth2"
/// token_url = "https://login.example.com/oauth2/token"
/// client_id = "gateway"
/// secret_file = "/run/secrets/partner"
/// scopes = ["media.read"]
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server's token endpoint; https.
    pub token_url: String,
    /// The server's revocation endpoint (RFC 7009), on the same host. Unset: tokens are not withdrawn.
    #[serde(default)]
    pub revocation_url: Option<String>,
    /// What the server calls this client.
    pub client_id: String,
    /// How the client shows who it is.
    #[serde(default)]
    pub auth_method: AuthMethod,
    /// A file whose content, less a last line end, is the client's secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// An environment variable that holds the client's secret.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The client's secret itself.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret<String>>,
    /// File with the private key that signs for `private-key-jwt`: PEM or JWK, readable by its owner only.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// What the server calls that key.
    #[serde(default)]
    pub key_id: Option<String>,
    /// The algorithm of `private-key-jwt` (unset: the key's usual one) or `client-secret-jwt` (unset: HS256).
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// The audience of a signed assertion. Unset: `token_url`.
    #[serde(default)]
    pub assertion_audience: Option<String>,
    /// What tokens are got with.
    #[serde(default)]
    pub grant: Grant,
    /// A file that holds the first refresh token, for `grant = "refresh-token"`.
    #[serde(default)]
    pub refresh_secret_file: Option<PathBuf>,
    /// An environment variable that holds it.
    #[serde(default)]
    pub refresh_secret_env: Option<String>,
    /// The first refresh token itself.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub refresh_secret: Option<Secret<String>>,
    /// What tokens are asked to allow.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The `audience` that some servers want.
    #[serde(default)]
    pub audience: Option<String>,
    /// What tokens are for (RFC 8707).
    #[serde(default)]
    pub resources: Vec<String>,
    /// More parameters of the token request.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// How its values are kept.
    #[serde(default)]
    pub keep: KeepConfig,
    /// How the server is reached.
    #[serde(default)]
    pub endpoint: EndpointConfig,
}

/// How a client shows who it is (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMethod {
    /// The secret in `Authorization: Basic`.
    #[default]
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
    /// A JWT that the secret signs.
    ClientSecretJwt,
    /// A JWT that a private key signs.
    PrivateKeyJwt,
    /// The client certificate of `endpoint`.
    TlsClientAuth,
    /// Only its name.
    None,
}

/// What tokens are got with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// The client's own standing.
    #[default]
    ClientCredentials,
    /// A refresh token, and whatever the server puts in its place.
    RefreshToken,
}

/// Parameters that the request has by itself.
const OWN: [&str; 10] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "refresh_token",
    "scope",
    "audience",
    "resource",
    "token",
];

impl Config {
    fn client_secret(&self) -> SecretIn<'_> {
        SecretIn { key: "secret", text: self.secret.as_ref(), file: self.secret_file.as_deref(), env: self.secret_env.as_deref() }
    }

    fn refresh_token(&self) -> SecretIn<'_> {
        SecretIn {
            key: "refresh_secret",
            text: self.refresh_secret.as_ref(),
            file: self.refresh_secret_file.as_deref(),
            env: self.refresh_secret_env.as_deref(),
        }
    }

    fn wants_secret(&self) -> bool {
        matches!(self.auth_method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost | AuthMethod::ClientSecretJwt)
    }

    fn auth(&self, around: &Around<'_>) -> Result<Auth, String> {
        let audience = || self.assertion_audience.clone().unwrap_or_else(|| self.token_url.clone());
        let fault = |fault: crate::token::key::KeyFault| fault.to_string();
        Ok(match self.auth_method {
            AuthMethod::ClientSecretBasic => Auth::Basic(around.secret(&self.client_secret())?),
            AuthMethod::ClientSecretPost => Auth::Post(around.secret(&self.client_secret())?),
            AuthMethod::ClientSecretJwt => {
                let material = Material::octets(around.secret(&self.client_secret())?.expose().as_bytes().to_vec());
                let algorithm = self.algorithm.unwrap_or(Algorithm::HS256);
                Auth::Assertion(Box::new(Key::new(material, self.key_id.as_deref(), Some(algorithm)).map_err(fault)?), audience())
            }
            AuthMethod::PrivateKeyJwt => {
                let file = self.key_file.as_ref().ok_or("`key_file` must be set")?;
                let text = around.private_file(file)?;
                let set = KeySet::parse(text.expose().as_bytes(), self.key_id.as_deref(), self.algorithm).map_err(fault)?;
                let key = set.only().filter(|key| key.private_der().is_some());
                let key = key.ok_or_else(|| format!("{}: one private key is wanted here", file.display()))?;
                Auth::Assertion(Box::new(key.pinned(self.algorithm.unwrap_or(key.algorithm())).map_err(fault)?), audience())
            }
            AuthMethod::TlsClientAuth | AuthMethod::None => Auth::Named,
        })
    }

    fn fixed(&self) -> String {
        let mut form = String::new();
        if !self.scopes.is_empty() {
            query::push(&mut form, "scope", &self.scopes.join(" "));
        }
        if let Some(audience) = &self.audience {
            query::push(&mut form, "audience", audience);
        }
        for resource in &self.resources {
            query::push(&mut form, "resource", resource);
        }
        for (name, value) in &self.parameters {
            query::push(&mut form, name, value);
        }
        form
    }

    fn auth_faults(&self, faults: &mut Vec<(&'static str, String)>) {
        let method = serde_json::to_value(self.auth_method).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
        if self.wants_secret() {
            faults.extend(self.client_secret().fault(true));
        } else if self.client_secret().ways() > 0 {
            faults.push(("auth_method", format!("`{method}` uses no secret")));
        }
        match (self.auth_method, &self.key_file) {
            (AuthMethod::PrivateKeyJwt, None) => faults.push(("auth_method", "`private-key-jwt` needs a `key_file`".into())),
            (AuthMethod::PrivateKeyJwt, _) | (_, None) => {}
            _ => faults.push(("key_file", format!("`{method}` uses no key"))),
        }
        if self.auth_method == AuthMethod::TlsClientAuth && self.endpoint.client_cert_file.is_none() {
            faults.push(("auth_method", "`tls-client-auth` needs `endpoint.client_cert_file`".into()));
        }
    }
}

impl Table for Config {
    fn keep(&self) -> &KeepConfig {
        &self.keep
    }

    fn endpoint(&self) -> Option<&EndpointConfig> {
        Some(&self.endpoint)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let token = BaseUrl::parse(&self.token_url).inspect_err(|fault| faults.push(("token_url", fault.clone()))).ok();
        if let Some(url) = &self.revocation_url {
            match (BaseUrl::parse(url).and_then(|url| url.join("").map_err(|fault| fault.to_string())), token) {
                (Err(fault), _) => faults.push(("revocation_url", fault)),
                (Ok(uri), Some(token)) if !token.holds(&uri) => {
                    faults.push(("revocation_url", "secrets are sent to the host of `token_url` only".into()));
                }
                _ => {}
            }
        }
        self.auth_faults(&mut faults);
        match self.grant {
            Grant::RefreshToken => faults.extend(self.refresh_token().fault(true)),
            Grant::ClientCredentials if self.refresh_token().ways() > 0 => {
                faults.push(("grant", "`client-credentials` begins without a refresh token".into()));
            }
            Grant::ClientCredentials => {}
        }
        if let Some(name) = self.parameters.keys().find(|name| OWN.contains(&name.as_str())) {
            faults.push(("parameters", format!("`{name}` is set by the gateway itself")));
        }
        faults
    }

    fn build(&self, around: &Around<'_>) -> Result<Source, String> {
        if let Some((key, fault)) = self.faults().into_iter().next() {
            return Err(format!("{key}: {fault}"));
        }
        let start = match self.grant {
            Grant::ClientCredentials => Start::ClientCredentials,
            Grant::RefreshToken => Start::RefreshToken(around.secret(&self.refresh_token())?),
        };
        Ok(Source::Vendor(Box::new(Oauth2 {
            token: BaseUrl::parse(&self.token_url)?,
            revocation: self.revocation_url.as_deref().map(BaseUrl::parse).transpose()?,
            client_id: self.client_id.clone(),
            auth: self.auth(around)?,
            start,
            fixed: self.fixed(),
        })))
    }
}

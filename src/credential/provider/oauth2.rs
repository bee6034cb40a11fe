//! `oauth2`: access tokens of an OAuth 2.0 server, by client credentials (RFC 6749 §4.4) or a refresh token (§6).
//!
//! A refresh token that came along with an access token is what the next one is got with; one that is refused
//! is left for the client's own credentials, or for the refresh token of the config.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Map, Value};

use super::{Ask, Issued, Provider, Refused, vendor};
use crate::credential::base_url::BaseUrl;
use crate::query;
use crate::secret::Secret;
use crate::token::carrier::field_value;
use crate::token::{Key, jws};

mod config;

pub use config::{AuthMethod, Config, Grant};

/// How long an assertion of ours is good, in seconds: one call.
const ASSERTION_LIFE: i64 = 60;

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An OAuth 2.0 server, as one client asks it.
#[derive(Debug)]
pub struct Oauth2 {
    token: BaseUrl,
    revocation: Option<BaseUrl>,
    client_id: String,
    auth: Auth,
    /// What a first token is got with.
    start: Start,
    /// Encoded pairs that every token request has.
    fixed: String,
}

/// How the client shows who it is.
enum Auth {
    Basic(Secret<String>),
    Post(Secret<String>),
    /// By a JWT that this key signs, for this audience.
    Assertion(Box<Key>, String),
    /// By the certificate of the connection, or not at all.
    Named,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic(_) => "Basic",
            Self::Post(_) => "Post",
            Self::Assertion(..) => "Assertion",
            Self::Named => "Named",
        })
    }
}

#[derive(Debug)]
enum Start {
    ClientCredentials,
    RefreshToken(Secret<String>),
}

impl Oauth2 {
    fn post(&self, to: &BaseUrl, mut form: String, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        let mut request = Request::new(Bytes::new());
        match &self.auth {
            // RFC 6749 §2.3.1: both are form-encoded first.
            Auth::Basic(secret) => {
                let pair = zeroize::Zeroizing::new(format!("{}:{}", query::encode(&self.client_id), query::encode(secret.expose())));
                let value = field_value(&format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                let value = value.map_err(|_| Refused::Malformed("the client's secret cannot be sent".into()))?;
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Auth::Post(secret) => {
                query::push(&mut form, "client_id", &self.client_id);
                query::push(&mut form, "client_secret", secret.expose());
            }
            Auth::Assertion(key, audience) => {
                query::push(&mut form, "client_id", &self.client_id);
                query::push(&mut form, "client_assertion_type", ASSERTION_TYPE);
                query::push(&mut form, "client_assertion", &self.assertion(key, audience, ask)?);
            }
            Auth::Named => query::push(&mut form, "client_id", &self.client_id),
        }
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.join("")?;
        *request.body_mut() = Bytes::from(form);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        Ok(request)
    }

    /// RFC 7523 §3.
    fn assertion(&self, key: &Key, audience: &str, ask: &Ask<'_>) -> Result<String, Refused> {
        let mut header = Map::new();
        header.insert("typ".into(), "JWT".into());
        if let Some(id) = key.id() {
            header.insert("kid".into(), id.to_string().into());
        }
        let claims: [(&str, Value); 6] = [
            ("iss", self.client_id.as_str().into()),
            ("sub", self.client_id.as_str().into()),
            ("aud", audience.into()),
            ("jti", format!("{:032x}", ask.nonce).into()),
            ("iat", ask.now.0.into()),
            ("exp", ask.now.plus(ASSERTION_LIFE).0.into()),
        ];
        let claims = claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        jws::sign(key, header, &claims).map_err(|fault| Refused::Malformed(format!("no assertion can be signed: {fault}")))
    }

    fn issued(ask: &Ask<'_>, members: &Map<String, Value>) -> Result<Issued, Refused> {
        let token = vendor::text(members, "access_token")?;
        // RFC 6749 §7.1: a token of a kind that is not understood must not be used.
        if !vendor::text(members, "token_type")?.eq_ignore_ascii_case("bearer") {
            return Err(Refused::Malformed("the token's `token_type` is not `Bearer`".into()));
        }
        let life = match members.get("expires_in") {
            None | Some(Value::Null) => None,
            Some(_) => {
                let seconds = vendor::seconds(members, "expires_in").filter(|seconds| *seconds > 0);
                Some(seconds.ok_or_else(|| Refused::Malformed("`expires_in` is not a number of seconds".into()))?)
            }
        };
        let mut issued = Issued::new(token.to_owned(), ask.now, life.map(|life| ask.now.plus(life)));
        // RFC 6749 §6: an answer without a refresh token leaves the old one in force.
        let kept = || ask.previous.and_then(|previous| previous.renewal.clone());
        issued.renewal = vendor::text(members, "refresh_token").ok().map(|token| Secret::new(token.to_owned())).or_else(kept);
        Ok(issued)
    }

    fn refusal(ask: &Ask<'_>, response: &Response<Bytes>) -> Refused {
        let status = response.status();
        // 429 and 5xx say the same whatever the body; RFC 6749 has words for the rest.
        if !status.is_client_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return vendor::refusal(ask.now, response);
        }
        let members: Map<String, Value> = serde_json::from_slice(response.body()).unwrap_or_default();
        // RFC 6749 §5.2: the word is all that is shown; the description may quote the request.
        let word = members.get("error").and_then(Value::as_str).filter(|word| known(word));
        let reason = word.map_or_else(|| format!("status {}", status.as_u16()), str::to_owned);
        let refreshing = ask.previous.is_some_and(|previous| previous.renewal.is_some());
        match (word, status) {
            (Some("temporarily_unavailable" | "server_error" | "slow_down"), _) => Refused::Transient(reason),
            (Some("invalid_grant"), _) => Refused::Account { reason, renewal: refreshing },
            (Some(_), _) | (None, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST) => {
                Refused::Account { reason, renewal: refreshing }
            }
            _ => vendor::refusal(ask.now, response),
        }
    }
}

/// The words of RFC 6749 §5.2 and RFC 8707 §2, and those of servers that say more of their state.
fn known(word: &str) -> bool {
    const WORDS: [&str; 11] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "access_denied",
        "temporarily_unavailable",
        "server_error",
        "slow_down",
    ];
    WORDS.contains(&word)
}

impl Provider for Oauth2 {
    fn kind(&self) -> &'static str {
        "oauth2"
    }

    fn bases(&self) -> Vec<BaseUrl> {
        vec![self.token.clone()]
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused> {
        let mut form = self.fixed.clone();
        let renewal = ask.previous.and_then(|previous| previous.renewal.as_ref());
        match (renewal, &self.start) {
            (Some(token), _) | (None, Start::RefreshToken(token)) => {
                query::push(&mut form, "grant_type", "refresh_token");
                query::push(&mut form, "refresh_token", token.expose());
            }
            (None, Start::ClientCredentials) => query::push(&mut form, "grant_type", "client_credentials"),
        }
        self.post(&self.token, form, ask)
    }

    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused> {
        if response.status() != StatusCode::OK {
            return Err(Self::refusal(ask, response));
        }
        Self::issued(ask, &vendor::object(ask.now, response)?)
    }

    /// RFC 7009 §2.1.
    fn revoke(&self, ask: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        let to = self.revocation.as_ref()?;
        let mut form = String::new();
        query::push(&mut form, "token", issued.value.expose());
        query::push(&mut form, "token_type_hint", "access_token");
        self.post(to, form, ask).ok()
    }
}

#[cfg(test)]
mod tests;

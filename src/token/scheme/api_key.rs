//! The scheme `api-key`: keys of the control listener on data routes, as the vendors' SDKs send them.
//!
//! An SDK that has an application's key sends it with everything, uploads and downloads too: api.video and Ziggeo as
//! `Authorization: Basic`, Cloudflare as a bearer token; api.video's browser uploader has an access token instead. A key
//! opens here what it may do there: readers read, issuers and admins write. It is looked up on every request, so that a
//! withdrawn one is refused at once, and an access token ends with its key.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::apivideo_upload::{is_id, problem};
use super::digest::{Hash, hex, same};
use super::{Reply, Scheme};
use crate::token::issued::ApiKey;
use crate::token::{Carrier, Denial, Grant, Issue, Issued, Kind, Presented, RequestFacts, Strip, Where, Window, carrier};

/// API keys of the control listener, from the vendors' SDKs.
///
/// ```toml
/// [schemes.backend]
/// type = "api-key"
/// dialect = "apivideo"
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose SDK sends it: where it stands, and how a refusal is worded.
    pub dialect: Dialect,
    /// Only keys of this account. Unset: of every account.
    #[serde(default)]
    pub account: Option<String>,
    /// The application's token, which is the user beside the key. Ziggeo only, and required there.
    #[serde(default)]
    pub application_token: Option<String>,
}

/// Whose words are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// api.video: `Basic` with the key as user, or `Bearer` with an access token of `/auth/api-key`.
    Apivideo,
    /// Ziggeo: `Basic` with the application's token as user and the key as password.
    Ziggeo,
    /// Cloudflare: `Bearer` with the key, or `X-Auth-Key`, or `X-Auth-User-Service-Key`.
    Cloudflare,
}

/// Longest text that is looked at: the gateway's own keys and tokens have at most 64 characters.
const MAX: usize = 256;
/// Cloudflare's fields beside `Authorization`; the first holds no secret.
const CLOUDFLARE: [HeaderName; 3] =
    [HeaderName::from_static("x-auth-email"), HeaderName::from_static("x-auth-key"), HeaderName::from_static("x-auth-user-service-key")];

/// The scheme with what it looks keys up in.
#[derive(Debug)]
pub struct ApiKeys {
    config: Config,
    issued: Arc<dyn Issued>,
}

impl ApiKeys {
    /// Takes its config and where keys are looked up.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, issued: Arc<dyn Issued>) -> Result<Self, String> {
        match (config.dialect, &config.application_token) {
            (Dialect::Ziggeo, Some(token)) if !is_id(token, 64) => Err("application_token must be 1 to 64 letters and digits".into()),
            (Dialect::Ziggeo, None) => Err("application_token is required: it is the user beside the key".into()),
            (Dialect::Apivideo | Dialect::Cloudflare, Some(_)) => Err("application_token is of Ziggeo's dialect only".into()),
            _ => Ok(Self { config: config.clone(), issued }),
        }
    }

    fn key(&self, id: &str) -> Option<ApiKey> {
        match &*self.issued.find(Kind::ApiKey, id)? {
            Issue::ApiKey(key) => Some(key.clone()),
            _ => None,
        }
    }

    /// The key whose whole text this is: one of the config by its hash, or one of the ledger by the id in it.
    fn whole(&self, text: &str) -> Option<ApiKey> {
        let digest = digest(text);
        let id = || ApiKey::id_in(text).filter(|id| is_id(id, 32));
        let key = self.key(&digest).or_else(|| self.key(id()?))?;
        same(key.sha256.as_bytes(), digest.as_bytes()).then_some(key)
    }

    /// The grant of a key that is good until then.
    fn grant(&self, key: &ApiKey, window: Window) -> Option<Grant> {
        let ours = self.config.account.as_ref().is_none_or(|account| *account == key.account);
        ours.then(|| Grant { token_id: Some(key.id.as_str().into()), window, ..Grant::default() })
    }

    fn by_access(&self, text: &str) -> Result<Grant, Denial> {
        let issue = self.issued.find(Kind::AccessToken, &digest(text)).ok_or(Denial::NotIssued)?;
        let Issue::AccessToken(access) = &*issue else { return Err(Denial::NotIssued) };
        let key = self.key(&access.api_key).ok_or(Denial::NotIssued)?;
        self.grant(&key, Window::until(access.until)).ok_or(Denial::NotIssued)
    }
}

fn digest(text: &str) -> String {
    hex(&Hash::Sha256.of(&[text.as_bytes()]))
}

fn bearer<'r>(facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
    Carrier::Header(AUTHORIZATION, "Bearer ".into()).find(facts)
}

/// User and password of `Authorization: Basic` (RFC 7617 §2).
fn basic(facts: &RequestFacts<'_>) -> Result<Option<(String, String)>, Denial> {
    let Some(found) = Carrier::Header(AUTHORIZATION, "Basic ".into()).find(facts)? else { return Ok(None) };
    let text = STANDARD.decode(&*found.token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Denial::Malformed)?;
    let (user, password) = text.split_once(':').ok_or(Denial::Malformed)?;
    Ok(Some((user.to_owned(), password.to_owned())))
}

impl Scheme for ApiKeys {
    fn kind(&self) -> &'static str {
        "api-key"
    }

    fn reads(&self, place: Where<'_>) -> bool {
        let Where::Header(name) = place else { return false };
        *name == AUTHORIZATION || (self.config.dialect == Dialect::Cloudflare && CLOUDFLARE.contains(name))
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let in_basic = |key: String| Presented { token: Cow::Owned(key), strip: vec![Strip::Header(AUTHORIZATION)] };
        let found = match self.config.dialect {
            Dialect::Apivideo => match basic(facts)? {
                Some((key, _)) => Some(in_basic(key)),
                None => bearer(facts)?,
            },
            // Another application's user is as wrong as no key.
            Dialect::Ziggeo => basic(facts)?.map(|(application, key)| {
                let ours = self.config.application_token.as_ref() == Some(&application);
                in_basic(if ours { key } else { String::new() })
            }),
            Dialect::Cloudflare => {
                let fields = CLOUDFLARE.into_iter().skip(1).map(|name| Carrier::Header(name, String::new()).find(facts));
                let found = carrier::only(std::iter::once(bearer(facts)).chain(fields))?;
                found.map(|found| Presented { strip: [found.strip, CLOUDFLARE.map(Strip::Header).into()].concat(), ..found })
            }
        };
        Ok(found)
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let text = &*presented.token;
        if text.is_empty() || text.len() > MAX {
            return Err(Denial::UnknownKey);
        }
        // An access token is no key, and a key no access token: what was meant is told by the word before it.
        if self.config.dialect == Dialect::Apivideo && bearer(facts)?.is_some() {
            return self.by_access(text);
        }
        let key = self.whole(text).ok_or(Denial::UnknownKey)?;
        self.grant(&key, Window::until(key.until)).ok_or(Denial::UnknownKey)
    }

    fn remembers(&self) -> bool {
        false
    }

    fn looks_up(&self) -> bool {
        true
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let key = self.key(grant.token_id.as_deref().unwrap_or_default()).ok_or(Denial::Revoked)?;
        let reads = matches!(*facts.method, Method::GET | Method::HEAD);
        if reads || key.writes { Ok(()) } else { Err(Denial::Entitlement) }
    }

    fn refusal(&self, denial: Denial) -> Option<Reply> {
        let status = if denial == Denial::Entitlement { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        let told = |body: serde_json::Value| Reply { status, kind: "application/json", body: body.to_string() };
        Some(match self.config.dialect {
            Dialect::Apivideo => problem(status, words(denial), ""),
            Dialect::Ziggeo => told(json!({ "error": if denial == Denial::Entitlement { "not allowed" } else { "unauthorized" } })),
            Dialect::Cloudflare => {
                let error = json!({ "code": 10000, "message": "Authentication error" });
                told(json!({ "success": false, "errors": [error], "messages": [], "result": null }))
            }
        })
    }
}

/// api.video's slug and title (API reference, "Errors").
const fn words(denial: Denial) -> (&'static str, &'static str) {
    match denial {
        Denial::Missing => ("authentication-missing-authorization-header", "The \"Authorization\" header is missing."),
        Denial::Malformed | Denial::Duplicate => {
            ("authentication-invalid-authorization-header-value", "The \"Authorization\" header value is invalid.")
        }
        Denial::UnknownKey => ("authentication-invalid-api-key", "The API key is invalid."),
        // The vendor's keys have no roles, so that it has no word for this.
        Denial::Entitlement => ("authorization-forbidden", "This API key may not do this."),
        _ => ("authentication-invalid-access-token", "The access token is invalid or expired."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::token::issued::{AccessToken, FixedIssued};
    use crate::token::scheme::testkit::{NOW, Request, decide, route};

    /// A key of the ledger that may write, one that may read, an access token of the first, and one of a key that is gone.
    fn issued() -> FixedIssued {
        let key = |id: &str, text: &str, writes| {
            Issue::ApiKey(ApiKey { account: "ours".into(), id: id.into(), sha256: digest(text), writes, until: UnixTime::MAX })
        };
        let access = |key: &str| Issue::AccessToken(AccessToken { account: "ours".into(), api_key: key.into(), until: UnixTime(NOW + 60) });
        FixedIssued::default()
            .with("w", key("w", "tg_w_1", true))
            .with("r", key("r", "tg_r_1", false))
            .with(&digest("access"), access("w"))
            .with(&digest("orphan"), access("gone"))
    }

    fn scheme(dialect: &str) -> Arc<dyn Scheme> {
        let application = (dialect == "ziggeo").then_some("app");
        let config = serde_json::from_value(json!({ "dialect": dialect, "application_token": application, "account": "ours" }));
        route(ApiKeys::new(&config.expect("a config"), Arc::new(issued())).expect("a scheme"))
    }

    fn asked(dialect: &str, method: Method, (name, value): (&'static str, &str), now: i64) -> Result<Vec<Strip>, Denial> {
        let value = value.strip_prefix("Basic ").map_or_else(|| value.to_owned(), |text| format!("Basic {}", STANDARD.encode(text)));
        let request = Request { method, ..Request::get("/videos/v1/source") }.with(name, &value);
        decide(&scheme(dialect), &request, now).map(|judged| judged.strip)
    }

    #[test]
    fn each_dialect_has_its_places() {
        for (dialect, name, value) in [
            ("apivideo", "authorization", "Basic tg_w_1:"),
            ("apivideo", "authorization", "bearer access"),
            ("ziggeo", "authorization", "Basic app:tg_w_1"),
            ("cloudflare", "authorization", "bearer tg_w_1"),
            ("cloudflare", "x-auth-key", "tg_w_1"),
            ("cloudflare", "x-auth-user-service-key", "tg_w_1"),
        ] {
            let strip = asked(dialect, Method::POST, (name, value), NOW).unwrap_or_else(|denial| panic!("{dialect} {value}: {denial}"));
            let stripped: HeaderName = name.parse().expect("a name");
            assert!(strip.contains(&Strip::Header(stripped)), "{dialect} {name}");
        }
    }

    #[test]
    fn what_is_no_key_opens_nothing() {
        for (dialect, name, value, denial) in [
            ("apivideo", "x-other", "tg_w_1", Denial::Missing),
            ("apivideo", "authorization", "", Denial::Missing),
            ("apivideo", "authorization", "Basic tg_w_2:", Denial::UnknownKey),
            ("apivideo", "authorization", "Basic access:", Denial::UnknownKey),
            ("apivideo", "authorization", "Basic :", Denial::UnknownKey),
            ("apivideo", "authorization", "Basic no-colon", Denial::Malformed),
            ("apivideo", "authorization", "Bearer tg_w_1", Denial::NotIssued),
            ("apivideo", "authorization", "Bearer orphan", Denial::NotIssued),
            ("ziggeo", "authorization", "Basic other:tg_w_1", Denial::UnknownKey),
            ("ziggeo", "authorization", "Bearer tg_w_1", Denial::Missing),
            ("cloudflare", "authorization", "Bearer w", Denial::UnknownKey),
            ("cloudflare", "x-auth-email", "tg_w_1", Denial::Missing),
        ] {
            assert_eq!(asked(dialect, Method::POST, (name, value), NOW), Err(denial), "{dialect} {value}");
        }
        let both = Request::get("/").with("authorization", "Bearer tg_w_1").with("x-auth-key", "tg_r_1");
        assert_eq!(decide(&scheme("cloudflare"), &both, NOW).map(|_| ()), Err(Denial::Ambiguous));
        let (key, at_end) = (("authorization", "Bearer access"), NOW + 60);
        assert_eq!(asked("apivideo", Method::POST, key, at_end), Err(Denial::Expired));
    }

    #[test]
    fn readers_read() {
        let reader = ("authorization", "Basic tg_r_1:");
        assert!(asked("apivideo", Method::GET, reader, NOW).is_ok());
        assert_eq!(asked("apivideo", Method::POST, reader, NOW), Err(Denial::Entitlement));
    }

    #[test]
    fn accounts_are_apart_and_tables_make_sense() {
        let build = |table: serde_json::Value| ApiKeys::new(&serde_json::from_value(table).expect("a table"), Arc::new(issued()));
        let theirs = route(build(json!({ "dialect": "apivideo", "account": "theirs" })).expect("a scheme"));
        for value in [format!("Basic {}", STANDARD.encode("tg_w_1:")), "Bearer access".into()] {
            let request = Request::get("/").with("authorization", &value);
            assert!(decide(&theirs, &request, NOW).is_err(), "{value}");
        }
        for table in [
            json!({ "dialect": "ziggeo" }),
            json!({ "dialect": "ziggeo", "application_token": "a/b" }),
            json!({ "dialect": "apivideo", "application_token": "a" }),
        ] {
            assert!(build(table.clone()).is_err(), "{table}");
        }
    }

    #[test]
    fn refusals_are_the_vendors() {
        let slug =
            |denial| scheme("apivideo").refusal(denial).map(|reply| (reply.status.as_u16(), reply.kind, reply.body)).expect("a reply");
        for (denial, status, wanted) in [
            (Denial::Missing, 401, "authentication-missing-authorization-header"),
            (Denial::UnknownKey, 401, "authentication-invalid-api-key"),
            (Denial::NotIssued, 401, "authentication-invalid-access-token"),
            (Denial::Expired, 401, "authentication-invalid-access-token"),
            (Denial::Entitlement, 403, "authorization-forbidden"),
        ] {
            let (have, kind, body) = slug(denial);
            assert_eq!((have, kind, body.contains(wanted)), (status, "application/problem+json", true), "{denial}: {body}");
        }
        let ziggeo = scheme("ziggeo").refusal(Denial::Missing).expect("a reply");
        assert_eq!((ziggeo.status.as_u16(), ziggeo.body.as_str()), (401, "{\"error\":\"unauthorized\"}"));
        let cloudflare = scheme("cloudflare").refusal(Denial::Entitlement).expect("a reply");
        assert!(cloudflare.status.as_u16() == 403 && cloudflare.body.contains("\"code\":10000"), "{cloudflare:?}");
    }
}

//! The scheme `apivideo-upload`: api.video's delegated upload tokens, given out by this gateway.
//!
//! `POST /upload?token=to…`: the token is looked up on every request, so that a deleted one is refused at
//! once. Unknown, expired and deleted ones are told apart in the log only; the caller gets the vendor's one
//! answer for all of them (api.video API reference, "The upload token is invalid or expired.").

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Reply, Scheme};
use crate::token::{Denial, Grant, Issue, Issued, Kind, Presented, RequestFacts, Strip, Where, Window, carrier};

/// api.video upload tokens of our own: made over the control listener, presented as `POST /upload?token=to…`.
///
/// ```toml
/// [schemes.uploads]
/// type = "apivideo-upload"
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Only tokens of this account. Unset: of every account.
    #[serde(default)]
    pub account: Option<String>,
    /// The query parameter that carries the token.
    #[serde(default = "parameter")]
    pub parameter: String,
}

fn parameter() -> String {
    "token".into()
}

/// Longest text that is looked up: the vendor's are 24 characters.
const MAX: usize = 64;

/// The scheme with what it looks tokens up in.
#[derive(Debug)]
pub struct ApivideoUpload {
    config: Config,
    issued: Arc<dyn Issued>,
}

impl ApivideoUpload {
    /// Takes its config and where tokens are looked up.
    #[must_use]
    pub fn new(config: &Config, issued: Arc<dyn Issued>) -> Self {
        Self { config: config.clone(), issued }
    }
}

impl Scheme for ApivideoUpload {
    fn kind(&self) -> &'static str {
        "apivideo-upload"
    }

    fn reads(&self, place: Where<'_>) -> bool {
        place == Where::Query(&self.config.parameter)
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let found = carrier::query_parameter(facts, &self.config.parameter)?;
        let found = found.filter(|presented| !presented.token.is_empty());
        // SDKs that have an API key send it along, and here it is the control listener's: the vendor must not see it.
        Ok(found.map(|mut presented| {
            presented.strip.push(Strip::Header(AUTHORIZATION));
            presented
        }))
    }

    fn open(&self, presented: &Presented<'_>, _: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let token = &*presented.token;
        if !is_id(token, MAX) {
            return Err(Denial::NotIssued);
        }
        let issue = self.issued.find(Kind::UploadToken, token).ok_or(Denial::NotIssued)?;
        let Issue::UploadToken(record) = &*issue else { return Err(Denial::NotIssued) };
        if self.config.account.as_ref().is_some_and(|account| *account != record.account) {
            return Err(Denial::NotIssued);
        }
        Ok(Grant { token_id: Some(token.into()), window: Window::until(record.until()), ..Grant::default() })
    }

    fn remembers(&self) -> bool {
        false
    }

    fn looks_up(&self) -> bool {
        true
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        // "A token may be used to upload": nothing else is opened by it, and no session outlives its deletion.
        if *facts.method != Method::POST {
            return Err(Denial::Method);
        }
        let id = grant.token_id.as_deref().unwrap_or_default();
        self.issued.find(Kind::UploadToken, id).map(|_| ()).ok_or(Denial::Revoked)
    }

    fn refusal(&self, denial: Denial) -> Option<Reply> {
        let (slug, title) = match denial {
            Denial::Missing => ("authentication-missing-upload-token", "The upload token is missing."),
            _ => ("authentication-invalid-upload-token", "The upload token is invalid or expired."),
        };
        Some(problem(StatusCode::UNAUTHORIZED, (slug, title), "token"))
    }
}

/// One of api.video's problems (API reference, "Errors").
pub(super) fn problem(status: StatusCode, (slug, title): (&str, &str), name: &str) -> Reply {
    let body = json!({
        "type": format!("https://docs.api.video/reference/{slug}"),
        "title": title,
        "name": name,
        "status": status.as_u16(),
    });
    Reply { status, kind: "application/problem+json", body: body.to_string() }
}

/// Whether a text can be an id that was given out: what else is no reason to look anything up.
pub(super) fn is_id(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::token::issued::{FixedIssued, UploadToken};
    use crate::token::scheme::testkit::{NOW, Request, decide, route};

    fn scheme(account: Option<&str>) -> Arc<dyn Scheme> {
        let token = |ttl| Issue::UploadToken(UploadToken { account: "ours".into(), ttl, created: UnixTime(NOW) });
        let issued = FixedIssued::default().with("to1", token(60)).with("to0", token(0));
        let config = Config { account: account.map(str::to_owned), parameter: parameter() };
        route(ApivideoUpload::new(&config, Arc::new(issued)))
    }

    fn post(target: &str, now: i64) -> Result<(), Denial> {
        let request = Request { method: Method::POST, ..Request::get(target) };
        decide(&scheme(None), &request, now).map(|_| ())
    }

    #[test]
    fn a_token_uploads_until_its_end() {
        assert_eq!(post("/upload?token=to1", NOW + 59), Ok(()));
        assert_eq!(post("/upload?token=to1", NOW + 60), Err(Denial::Expired));
        assert_eq!(post("/upload?token=to0", NOW + 999_999_999), Ok(()));
        for (target, denial) in [
            ("/upload", Denial::Missing),
            ("/upload?token=", Denial::Missing),
            ("/upload?token=to2", Denial::NotIssued),
            ("/upload?token=to1%00", Denial::NotIssued),
            ("/upload?token=to1&token=to1", Denial::Duplicate),
            ("/upload?token=%zz", Denial::Malformed),
        ] {
            assert_eq!(post(target, NOW), Err(denial), "{target}");
        }
        assert_eq!(decide(&scheme(None), &Request::get("/v/a.m3u8?token=to1"), NOW).map(|_| ()), Err(Denial::Method));
    }

    #[test]
    fn an_api_key_beside_it_stays_here() {
        let request = Request { method: Method::POST, ..Request::get("/upload?token=to1") }.with("authorization", "Basic a2V5Og==");
        let judged = decide(&scheme(None), &request, NOW).expect("good");
        assert_eq!(judged.strip, [Strip::Query("token".into()), Strip::Header(AUTHORIZATION)]);
    }

    #[test]
    fn accounts_are_kept_apart() {
        let request = Request { method: Method::POST, ..Request::get("/upload?token=to1") };
        assert!(decide(&scheme(Some("ours")), &request, NOW).is_ok());
        assert_eq!(decide(&scheme(Some("theirs")), &request, NOW).map(|_| ()), Err(Denial::NotIssued));
    }

    #[test]
    fn refusals_are_the_vendors() {
        for (denial, slug) in [(Denial::Missing, "missing"), (Denial::NotIssued, "invalid"), (Denial::Expired, "invalid")] {
            let reply = scheme(None).refusal(denial).expect("a reply");
            assert!(
                reply.status == 401 && reply.body.contains(&format!("reference/authentication-{slug}-upload-token\"")),
                "{}",
                reply.body
            );
        }
    }
}

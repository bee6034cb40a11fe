//! The scheme `ziggeo`: auth tokens as Ziggeo has them, given out by this gateway or made offline.
//!
//! `server_auth` is looked up on every request. `client_auth` is decrypted: there is no MAC under it, so all of it is
//! checked, names that are not known are refused (a changed first block renames its first field), and what is
//! counted and remembered goes by its nonce. Grants decide by what is asked. A viewer's session is told by the
//! parameter that the browser SDK sends with everything; its value is made here, with its beginning inside.

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

mod asked;

use self::asked::{Asked, Verb, asked};
use super::apivideo_upload::is_id;
use super::digest::{Hash, hex, same};
use super::fields::signing_secret;
use super::{Reply, Scheme, SignError, SignRequest, Signed};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::issued::AuthToken;
use crate::token::ziggeo::{self, Cipher, fields};
use crate::token::{
    Denial, Details, Grant, Issue, Issued, Key, KeySource, Kind, Presented, RequestFacts, SessionTerms, Strip, Where, Window, carrier,
};

/// Ziggeo auth tokens of our own, and client tokens that its SDKs make.
///
/// ```toml
/// [keys.encryption]
/// secret_file = "ziggeo-encryption-key"
///
/// [schemes.ziggeo]
/// type = "ziggeo"
/// keys = "encryption"
/// application_token = "0123456789abcdef0123456789abcdef"
/// ```
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set with the application's encryption key, as a shared secret: opens client tokens.
    pub keys: Name,
    /// The application's token: what client tokens must name and paths must hold.
    pub application_token: String,
    /// Only server tokens of this account. Unset: of every account.
    #[serde(default)]
    pub account: Option<String>,
    /// Sessions that a client token opens when it says no number itself: each is meant for one page, so it is not let in again.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub client_sessions: u32,
}

const fn one() -> u32 {
    1
}

const CLIENT: &str = "client_auth";
const SERVER: &str = "server_auth";
const INTERMEDIATE: &str = "intermediate_token";
/// Seconds for which a player that brings its session keeps it: coming back to a page is no new session. The vendor gives no figure.
const KEPT: i64 = 24 * 3600;
/// What the session parameter's name begins with; the application token follows.
const COOKIE: &str = "i07af2jp98rvoctt26y5egy3";

/// The scheme with its keys and what it looks tokens up in.
#[derive(Debug)]
pub struct Ziggeo {
    config: Config,
    keys: KeySource,
    issued: Arc<dyn Issued>,
    session_name: String,
}

/// What is kept of an opened token.
struct Opened {
    token: AuthToken,
    /// Whether it has a record that can be taken back.
    server: bool,
}

impl Ziggeo {
    /// Takes its config, keys and where tokens are looked up.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &Config, keys: KeySource, issued: Arc<dyn Issued>) -> Result<Self, String> {
        let set = keys.load();
        if !set.is_empty() && set.iter().all(|key| key.octets().is_none()) {
            return Err(format!("key set \"{}\" holds no shared secret, and the encryption key is one", config.keys));
        }
        if !is_id(&config.application_token, 64) {
            return Err("application_token must be 1 to 64 letters and digits".into());
        }
        let session_name = format!("{COOKIE}{}", config.application_token);
        drop(set);
        Ok(Self { config: config.clone(), keys, issued, session_name })
    }

    fn server(&self, token: &str) -> Result<Grant, Denial> {
        let issue = self.issued.find(Kind::AuthToken, token).filter(|_| is_id(token, 64)).ok_or(Denial::NotIssued)?;
        let Issue::AuthToken(record) = &*issue else { return Err(Denial::NotIssued) };
        let ours = self.config.account.as_ref().is_none_or(|account| *account == record.account);
        // "Hidden: cannot be used directly."
        if !ours || record.hidden {
            return Err(Denial::NotIssued);
        }
        Ok(grant(token, record.clone(), true))
    }

    fn client(&self, token: &str) -> Result<Grant, Denial> {
        if !ziggeo::looks_like_one(token) {
            return Err(Denial::Malformed);
        }
        let object = self.ciphers().find_map(|cipher| cipher.open(token).ok()).ok_or(Denial::Malformed)?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).ok_or(Denial::Malformed);
        let known = |name: &String| fields::NAMES.contains(&name.as_str()) || matches!(name.as_str(), "application_token" | "nonce");
        let nonce = text("nonce")?;
        if text("application_token")? != self.config.application_token || !is_nonce(nonce) || !object.keys().all(known) {
            return Err(Denial::Malformed);
        }
        let mut token = AuthToken { account: self.config.application_token.clone(), ..AuthToken::default() };
        fields::apply(&mut token, &object).map_err(|_| Denial::Malformed)?;
        if token.hidden || !object.get("grants").is_none_or(fields::knows_verbs) {
            return Err(Denial::Malformed);
        }
        token.session_limit = Some(token.session_limit.unwrap_or(self.config.client_sessions));
        Ok(grant(nonce, token, false))
    }

    fn ciphers(&self) -> impl Iterator<Item = Cipher> {
        self.keys.load().iter().filter_map(|key| cipher(key)).collect::<Vec<_>>().into_iter()
    }

    /// A session token that begins `now`: time, a random number, and a MAC of both.
    fn session(&self, now: UnixTime) -> Option<String> {
        let mut random = [0; 4];
        SystemRandom::new().fill(&mut random).ok()?;
        let begins = format!("{:08x}{}", now.0.clamp(0, i64::from(u32::MAX)), hex(&random));
        let mac = self.mac(&begins)?;
        Some(begins + &mac)
    }

    fn mac(&self, begins: &str) -> Option<String> {
        let set = self.keys.load();
        let key = set.iter().find_map(|key| key.octets())?;
        let mut mac = hex(&Hash::Sha256.mac(key, &[format!("session\0{}\0{begins}", self.config.application_token).as_bytes()]));
        mac.truncate(16);
        Some(mac)
    }

    /// When the session token `text` began; `None` when it was not made here.
    fn began(&self, text: &str) -> Option<UnixTime> {
        let (begins, mac) = text.split_at_checked(16)?;
        let ours = same(mac.as_bytes(), self.mac(begins)?.as_bytes());
        i64::from_str_radix(&begins[..8], 16).ok().map(UnixTime).filter(|_| ours)
    }

    fn session_of<'r>(&self, facts: &RequestFacts<'r>) -> Option<Cow<'r, str>> {
        let found = carrier::query_parameter(facts, &self.session_name).ok().flatten()?;
        (!found.token.is_empty()).then_some(found.token)
    }

    fn reaches(&self, reach: &crate::token::issued::Reach, object: Option<&str>, facts: &RequestFacts<'_>) -> bool {
        let owned = |object: &str| self.session_of(facts).is_some_and(|session| self.issued.owns(&session, object));
        match object {
            _ if reach.all => true,
            Some(object) => reach.resources.iter().any(|have| have == object) || (reach.session_owned && owned(object)),
            None => false,
        }
    }
}

/// The grant of a token; `id` is what it is counted by.
fn grant(id: &str, token: AuthToken, server: bool) -> Grant {
    let session = SessionTerms { concurrent: None, total: token.session_limit, seconds: token.usage_expiration_time, once: true };
    let window = Window::until(token.until());
    Grant { token_id: Some(id.into()), window, session, details: Details::new(Opened { token, server }), ..Grant::default() }
}

/// A nonce is a number as one language or another prints it. A changed block could not pass for one.
fn is_nonce(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'E' | b'e' | b'+' | b'-'))
}

impl Scheme for Ziggeo {
    fn kind(&self) -> &'static str {
        "ziggeo"
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) | Where::Cookie(name) => [CLIENT, SERVER, INTERMEDIATE].contains(&name) || name.starts_with(COOKIE),
            _ => false,
        }
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let find = |name| Ok(carrier::query_parameter(facts, name)?.filter(|presented: &Presented<'_>| !presented.token.is_empty()));
        let mut presented = match (find(CLIENT)?, find(SERVER)?) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(Denial::Ambiguous),
            (Some(one), None) | (None, Some(one)) => one,
        };
        // The first says which it is; the rest means nothing to an origin.
        for name in [CLIENT, SERVER, INTERMEDIATE, self.session_name.as_str()] {
            let strip = Strip::Query(name.to_owned());
            if !presented.strip.contains(&strip) {
                presented.strip.push(strip);
            }
        }
        Ok(Some(presented))
    }

    fn open(&self, presented: &Presented<'_>, _: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let client = presented.strip.first() == Some(&Strip::Query(CLIENT.to_owned()));
        if client { self.client(&presented.token) } else { self.server(&presented.token) }
    }

    fn remembers(&self) -> bool {
        false
    }

    fn looks_up(&self) -> bool {
        true
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let opened = grant.details.get::<Opened>().ok_or(Denial::Claim)?;
        if opened.server {
            self.issued.find(Kind::AuthToken, grant.token_id.as_deref().unwrap_or_default()).ok_or(Denial::Revoked)?;
        }
        let grants = &opened.token.grants;
        let reaches = |verb: Verb, object: Option<&str>| verb.of(grants).is_some_and(|reach| self.reaches(reach, object, facts));
        let allowed = match asked(facts, &self.config.application_token)? {
            Asked::Session => false,
            // Whoever may create may create: what it reaches is about what is there already, a recording begun by somebody too.
            Asked::Object(Verb::Create, _) => grants.create.is_some(),
            Asked::Object(verb, object) => reaches(verb, object),
            Asked::Step(object) => reaches(Verb::Create, Some(object)) || reaches(Verb::Update, Some(object)),
        };
        if allowed { Ok(()) } else { Err(Denial::Entitlement) }
    }

    fn playback<'r>(&self, facts: &RequestFacts<'r>) -> Option<Cow<'r, str>> {
        self.session_of(facts)
    }

    fn maker(&self, facts: &RequestFacts<'_>) -> Option<String> {
        let makes = matches!(asked(facts, &self.config.application_token), Ok(Asked::Object(Verb::Create, _)));
        // Only a session that was made here can be told apart from one that somebody makes up.
        self.session_of(facts).filter(|session| makes && self.began(session).is_some()).map(Cow::into_owned)
    }

    fn made(&self, session: &str, answer: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return };
        // `{"video": {"token", …}, "url_data": …}`, or the object itself.
        let named = ["/video/token", "/audio/token", "/image/token", "/token"];
        if let Some(object) = named.iter().find_map(|place| answer.pointer(place)?.as_str()).filter(|object| is_id(object, 128)) {
            self.issued.made(session, object);
        }
    }

    fn reply(&self, grant: Option<&Grant>, facts: &RequestFacts<'_>, now: UnixTime) -> Option<Reply> {
        if grant.is_some() || asked(facts, &self.config.application_token) != Ok(Asked::Session) {
            return None;
        }
        let kept = self.session_of(facts).filter(|text| self.began(text).is_some_and(|began| (0..KEPT).contains(&now.since(began))));
        let session = kept.map_or_else(|| self.session(now), |text| Some(text.into_owned()))?;
        let body = json!({ "token": session, "testing_application": false });
        Some(wrapped(facts, StatusCode::OK, &body))
    }

    fn sign(&self, request: &SignRequest) -> Result<Signed, SignError> {
        let cannot = |why: String| SignError::CannotExpress(why);
        let mut options = request.claims.clone();
        if let Some(end) = request.expires
            && options.insert("expiration_date".into(), end.0.into()).is_some()
        {
            return Err(cannot("expiration_date is set by the request itself".into()));
        }
        if request.not_before.is_some() || request.subject.is_some() || request.client_ip.is_some() || request.scope.is_some() {
            return Err(cannot("such a token can say its end and its grants only".into()));
        }
        if let Some(name) = options.keys().find(|name| !fields::NAMES.contains(&name.as_str())) {
            return Err(cannot(format!("such a token has no field {name}")));
        }
        fields::apply(&mut AuthToken::default(), &options).map_err(|name| cannot(format!("{name} cannot be read")))?;
        let token = self.make(request.key_id.as_deref(), &options)?;
        let mut query = request.query.clone().unwrap_or_default();
        crate::query::push(&mut query, CLIENT, &token);
        Ok(Signed { token, path: request.path.clone(), query: Some(query), ..Signed::default() })
    }

    fn key_sources(&self) -> Vec<KeySource> {
        vec![self.keys.clone()]
    }
}

impl Ziggeo {
    fn make(&self, key_id: Option<&str>, options: &Map<String, Value>) -> Result<String, SignError> {
        let cipher = cipher(&*signing_secret(&self.keys, key_id)?).ok_or(SignError::Crypto)?;
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| SignError::Crypto)?;
        let (seed, nonce) = random.split_first_chunk::<8>().ok_or(SignError::Crypto)?;
        let nonce = nonce.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)).to_string();
        cipher.encrypt(&ziggeo::plaintext(options, &self.config.application_token, &nonce), *seed).map_err(|_| SignError::Crypto)
    }
}

fn cipher(key: &Key) -> Option<Cipher> {
    Cipher::new(std::str::from_utf8(key.octets()?).ok()?).ok()
}

/// An answer as the browser SDK wants it: with `_wrapstatus` the status goes into the body.
fn wrapped(facts: &RequestFacts<'_>, status: StatusCode, body: &Value) -> Reply {
    let wraps = crate::query::values(facts.query.unwrap_or_default(), "_wrapstatus").any(|value| value == "true");
    if wraps {
        let body = json!({ "status": status.as_u16().to_string(), "responseText": body });
        return Reply { status: StatusCode::OK, kind: "application/json", body: body.to_string() };
    }
    Reply { status, kind: "application/json", body: body.to_string() }
}

#[cfg(test)]
mod tests;

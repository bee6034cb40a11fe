//! The control listener: tokens of our own, through the vendors' own APIs and one of ours.
//!
//! A [`Dialect`] is one API at one base path. The listener hands it a [`Call`]: a whole request with
//! the [`Desk`] that handlers work on; its answer goes back as it is, byte for byte, because official
//! SDKs read it. What holds for all dialects is done here and in [`serve`]: limits, pages of other
//! origins, the audit log. Who may do what is asked of the [`gate::Gate`], which knows API keys; how a
//! refusal looks is the dialect's own.

mod authz;
pub mod dialect;
pub mod dialects;
pub mod gate;
pub mod note;
pub mod own;
mod page;
pub mod serve;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, UnixTime};
use crate::ledger::record::{Audit, Body, Role};
use crate::ledger::{Account, Batch, Changed, Fault, KeyRing, Ledger, Record};
use crate::name::Name;
use crate::revocation::{Revocation, Target};
use crate::server::TlsConfig;
use crate::token::issued::ApiKey;
use crate::units::{Period, Size};
use crate::verifier::RouteScheme;

pub use gate::{Caller, Gate, Locked};
pub use note::Note;

/// The `[control]` table: the listener on which tokens are issued. Needs `[ledger]`. A restart is needed to change its address.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Where it listens. Never the address of a listener for viewers.
    pub address: SocketAddr,
    /// TLS for it; without, only what reaches the address can listen in.
    pub tls: Option<TlsConfig>,
    /// Base path of each API that is spoken; an API that is not named is not spoken. `/` is the root of the host.
    pub base: BaseConfig,
    /// Most bytes of a request's body.
    pub max_body: Size,
    /// Requests in a minute by one API key that names no limit of its own. 0: no limit.
    pub per_minute: u32,
    /// Web origins whose pages may call it, such as `https://admin.example.com`. Empty: none.
    pub allowed_origins: Vec<String>,
    /// Networks of servers that may ask `/authz/…`: they say who the viewer is.
    pub authz_peers: Vec<ipnet::IpNet>,
    /// How long records of the audit log stay in the ledger.
    pub keep_audit: Period,
    /// API keys by name, beside those made through the API.
    pub api_keys: BTreeMap<Name, ApiKeyConfig>,
    /// Policies by name: what tokens may be issued for, and what they get where the request does not say.
    pub policies: BTreeMap<Name, PolicyConfig>,
    /// Accounts by name; records of one are not seen by another. Keys that name no account work on `default`.
    pub accounts: BTreeMap<Name, AccountConfig>,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9910)),
            tls: None,
            base: BaseConfig::default(),
            max_body: Size::kib(1024),
            per_minute: 600,
            allowed_origins: Vec::new(),
            authz_peers: loopback(),
            keep_audit: Period::seconds(90 * 24 * 3600),
            api_keys: BTreeMap::new(),
            policies: BTreeMap::new(),
            accounts: BTreeMap::new(),
        }
    }
}

/// This machine.
fn loopback() -> Vec<ipnet::IpNet> {
    let v4 = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
    let v6 = ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
    vec![v4.into(), v6.into()]
}

/// The `[control.base]` table: where each API begins.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BaseConfig {
    /// The gateway's own API: `/v1/…`, `/openapi.json`, `/.well-known/jwks.json`, `/authz/…`.
    pub tollgate: Option<String>,
    /// api.video: `/upload-tokens`, `/auth/…`, `/videos/…`.
    pub apivideo: Option<String>,
    /// Ziggeo: `/v1/authtokens/…`.
    pub ziggeo: Option<String>,
    /// Cloudflare: `/accounts/…/stream/…`; SDKs want it at `/client/v4`.
    pub cloudflare: Option<String>,
}

impl Default for BaseConfig {
    fn default() -> Self {
        Self { tollgate: Some("/".into()), apivideo: None, ziggeo: None, cloudflare: None }
    }
}

/// One API key of the config.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// SHA-256 of the key, in hexadecimal; `tollgate keys api` makes a key and prints both.
    pub sha256: String,
    /// What it may do: `reader`, `issuer` or `admin`.
    pub role: Role,
    /// The account that it works on.
    #[serde(default)]
    pub account: Option<Name>,
    /// Requests in a minute. Unset: `control.per_minute`. 0: no limit.
    #[serde(default)]
    pub per_minute: Option<u32>,
}

impl ControlConfig {
    /// The keys of the config, as routes look them up.
    pub fn fixed_keys(&self) -> impl Iterator<Item = ApiKey> {
        self.api_keys.iter().map(|(name, key)| ApiKey {
            account: key.account.as_ref().map_or(DEFAULT_ACCOUNT, |account| account.as_str()).to_owned(),
            id: name.as_str().to_owned(),
            sha256: key.sha256.to_ascii_lowercase(),
            writes: key.role >= Role::Issuer,
            until: UnixTime::MAX,
        })
    }
}

/// One policy: a name that issuers use instead of saying everything, and cannot go beyond.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The scheme that signs.
    pub scheme: Name,
    /// How long a token is good where the request does not say.
    #[serde(default = "hour")]
    pub ttl: Period,
    /// How long it may be good at most.
    #[serde(default = "day")]
    pub max_ttl: Period,
    /// Paths that may be asked for: each with what is below it. Empty: every path.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Sessions at the same time, which a request cannot raise. Unset: as the request says.
    #[serde(default)]
    pub concurrent: Option<u32>,
    /// Sessions over the token's life, which a request cannot raise. Unset: as the request says.
    #[serde(default)]
    pub total: Option<u32>,
    /// Seconds of one session, which a request cannot raise. Unset: as the request says.
    #[serde(default)]
    pub session_seconds: Option<u32>,
    /// Wants every token bound to an address.
    #[serde(default)]
    pub bind_address: bool,
}

const fn hour() -> Period {
    Period::seconds(3600)
}

const fn day() -> Period {
    Period::seconds(24 * 3600)
}

/// One account, as the vendors' APIs know it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountConfig {
    /// Its id in Cloudflare's paths (32 hexadecimal digits).
    pub cloudflare_account_id: Option<String>,
    /// Its application token at Ziggeo (32 hexadecimal digits).
    pub ziggeo_application_token: Option<String>,
    /// Where players find videos, such as `https://media.example.com`: what answers name as their address. Unset: where the call came to.
    pub playback_url: Option<String>,
}

/// An answer: small, whole, exactly as an SDK expects it.
pub type Answer = Response<Full<Bytes>>;

/// An answer under way.
pub type Serving<'d> = Pin<Box<dyn Future<Output = Answer> + Send + 'd>>;

/// One API that the control listener speaks.
pub trait Dialect: Send + Sync {
    /// Its name, as in `[control.base]`, the audit log and metrics.
    fn name(&self) -> &'static str;

    /// Whether a path below its base is one of its own; several dialects may share a base.
    fn owns(&self, path: &str) -> bool;

    /// Answers a call whose path is its own.
    fn serve(&self, call: Call) -> Serving<'_>;

    /// How it says what was refused before it was asked.
    fn refuse(&self, refusal: Refusal) -> Answer;

    /// Whether a path of its own is for everybody, pages of every origin included.
    fn is_public(&self, _path: &str) -> bool {
        false
    }
}

/// What is refused before a dialect is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A page of a web origin that is not allowed (threat: a visited page drives an API that trusts the network).
    CrossOrigin,
    /// The body is longer than `control.max_body`.
    TooLarge,
    /// The body broke off.
    Unreadable,
    /// A field that says who calls, or what comes, is there twice: two readers would understand two requests.
    Ambiguous,
}

/// A request, whole.
pub struct Call {
    /// Its head, as it came.
    pub head: http::request::Parts,
    /// Its raw path below the dialect's base; begins with `/`.
    pub path: String,
    /// Its body.
    pub body: Bytes,
    /// When it came.
    pub now: UnixTime,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether it came over TLS.
    pub https: bool,
    /// Its id, as in the audit log.
    pub id: Arc<str>,
    /// What handlers work on.
    pub desk: Arc<Desk>,
    /// What the audit log will say of it.
    pub note: Arc<Note>,
    /// Who makes it, from when on that is known: a call is counted once into its key's minute.
    pub caller: OnceLock<Caller>,
}

impl Call {
    /// Its raw query, empty when it has none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.head.uri.query().unwrap_or("")
    }

    /// The one value of a header as text. `None` when there is none or it is empty: some SDKs send empty ones.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.trim().is_empty())
    }

    /// The key of `Authorization: Bearer`, whatever the case of the word (RFC 9110 §11.1).
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (word, key) = self.header("authorization")?.split_once(' ')?;
        word.eq_ignore_ascii_case("bearer").then_some(key.trim())
    }

    /// User and password of `Authorization: Basic` (RFC 7617 §2).
    #[must_use]
    pub fn basic(&self) -> Option<(String, String)> {
        use base64::Engine as _;
        let (word, packed) = self.header("authorization")?.split_once(' ')?;
        let packed = word.eq_ignore_ascii_case("basic").then_some(packed.trim())?;
        let text = base64::engine::general_purpose::STANDARD.decode(packed).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// Makes changes on behalf of `caller`, with a record of the audit log in the same commit.
    ///
    /// # Errors
    /// As [`Ledger::write`].
    pub async fn commit(&self, caller: &Caller, batch: Batch) -> Result<Changed, Fault> {
        let audit = self.note.record(self, caller);
        self.desk.ledger.write(batch.put(audit)).await
    }
}

/// What handlers work on.
pub struct Desk {
    /// The record of what was issued.
    pub ledger: Ledger,
    /// Its signing keys, as schemes use them.
    pub keys: Arc<KeyRing>,
    /// Who may do what.
    pub gate: Gate,
    /// The listener's config.
    pub config: ControlConfig,
    /// The time.
    pub clock: Clock,
    /// The running config, as the walk has it: routes, verifier, sessions, revocations, fleet.
    pub state: Arc<crate::proxy::State>,
    /// Every scheme of the running config.
    pub schemes: Vec<RouteScheme>,
}

impl Desk {
    /// The scheme of this name in the config.
    #[must_use]
    pub fn scheme(&self, name: &str) -> Option<&RouteScheme> {
        self.schemes.iter().find(|scheme| scheme.name.as_str() == name)
    }

    /// Withdraws tokens on every gateway until then, and over restarts, together with the changes of `batch`. Gives how many
    /// sessions it ended here.
    ///
    /// # Errors
    /// When the list of what is withdrawn is full, or the ledger cannot be written.
    pub async fn withdraw(&self, call: &Call, caller: &Caller, batch: Batch, (target, until): (Target, UnixTime)) -> Result<usize, Fault> {
        let revocation = Revocation { target, since: call.now, until };
        let id = serde_json::to_string(&revocation.target).unwrap_or_default();
        let record = Record::new(&caller.account, &id, call.now, Body::Revoked(revocation.clone())).until(until);
        // First for good, then here: what was answered holds, whatever happens next.
        call.commit(caller, batch.put(record)).await?;
        let ended = match &self.state.fleet {
            Some(fleet) => fleet.revoke(&revocation, call.now),
            None => self.state.revocations.revoke(&revocation, &self.state.sessions, call.now),
        };
        ended.map_err(|full| Fault::Broken(full.to_string()))
    }

    /// The account of this name in the config.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&AccountConfig> {
        self.config.accounts.get(name)
    }

    /// Where players find videos of the caller's account: as configured, else where this call came to.
    #[must_use]
    pub fn playback(&self, call: &Call, caller: &Caller) -> String {
        if let Some(url) = self.account(caller.account.as_str()).and_then(|account| account.playback_url.as_deref()) {
            return url.trim_end_matches('/').to_owned();
        }
        let host = call.header("host").filter(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)));
        format!("{}://{}", if call.https { "https" } else { "http" }, host.unwrap_or("localhost"))
    }

    /// The account for which `is` holds: how a dialect finds whom a path or a user name means.
    #[must_use]
    pub fn account_where(&self, is: impl Fn(&AccountConfig) -> bool) -> Option<(Account, &AccountConfig)> {
        self.config.accounts.iter().find(|(_, config)| is(config)).map(|(name, config)| (Account::new(name.as_str()), config))
    }
}

/// The account of keys that name none.
pub const DEFAULT_ACCOUNT: &str = "default";

/// An audit record of something done, for [`Call::commit`].
pub(crate) fn audit_record(audit: Audit, account: &Account, now: UnixTime, keep: Period) -> Record {
    let id = uuid::Uuid::now_v7().simple().to_string();
    Record::new(account, &id, now, Body::Audit(audit)).until(now.plus(keep.as_unix()))
}

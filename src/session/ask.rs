//! What is asked of the session table, and what it answers: plain values, no table behind them.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{OnFull, RouteSessionConfig, Session, SessionId};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::secret::Fingerprint;
use crate::token::Grant;
use crate::units::Period;

/// What sessions are counted by: 16 bytes of SHA-256 over a word and length-prefixed fields. Tokens and subjects
/// themselves are neither kept nor sent to a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key(pub [u8; 16]);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;

    /// Reads what `Display` writes: 32 hex digits.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let right = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| right);
        number.map(|number| Self(number.to_be_bytes())).ok_or("not a key: 32 hex digits")
    }
}

impl Key {
    /// The key of `fields` under `word`; no two different lists of fields are hashed alike.
    #[must_use]
    pub fn of(word: &str, fields: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for field in [word.as_bytes()].iter().chain(fields) {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(key)
    }

    /// The key of a token, over all routes. One token has one key however often it can be written: by its
    /// `jti` under its signing key where it has one, else by what is signed of a JWS, else by its bytes. An
    /// ECDSA signature can be turned into another good one by anyone (`s` to `n - s`), and must not make
    /// a second token of the first.
    #[must_use]
    pub fn token(scheme: &Name, token: &str, grant: &Grant) -> Self {
        let scheme = scheme.as_str().as_bytes();
        match &grant.token_id {
            Some(id) => Self::of("jti", &[scheme, grant.key_id.as_deref().unwrap_or_default().as_bytes(), id.as_bytes()]),
            None => Self::of("token", &[scheme, signed_part(token).as_bytes()]),
        }
    }

    /// The key of a network: the address's first bits as the config says.
    #[must_use]
    pub fn network(ip: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        let ip = ip.to_canonical();
        let bits = if ip.is_ipv4() { ipv4_prefix } else { ipv6_prefix };
        let net = IpNet::new(ip, bits).map_or_else(|_| ip.to_string(), |net| net.trunc().to_string());
        Self::of("network", &[net.as_bytes()])
    }
}

/// RFC 7515 §7.1: `header.payload.signature`; a header begins with `{`.
fn signed_part(token: &str) -> &str {
    match token.rsplit_once('.') {
        Some((signed, _)) if token.starts_with("ey") && signed.matches('.').count() == 1 => signed,
        _ => token,
    }
}

/// What one session is counted by. The token counts over all routes; the others within their route, because
/// routes may belong to different tenants, whose subjects and assets may have the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The token.
    pub token: Key,
    /// Who holds it.
    pub subject: Option<Key>,
    /// The device it was made for.
    pub device: Option<Key>,
    /// The asset it opens.
    pub asset: Option<Key>,
}

impl Keys {
    /// The keys of `token`, which `scheme` gave `grant` for on `route`.
    #[must_use]
    pub fn of(route: &Name, scheme: &Name, token: &str, grant: &Grant) -> Self {
        let within =
            |word: &str, text: &Option<Arc<str>>| text.as_ref().map(|text| Key::of(word, &[route.as_str().as_bytes(), text.as_bytes()]));
        Self {
            token: Key::token(scheme, token, grant),
            subject: within("subject", &grant.subject),
            device: within("device", &grant.device),
            asset: within("asset", &grant.resource),
        }
    }
}

/// Who is watching, as far as can be told without a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// What a further entry of the same viewer has again.
    pub key: Key,
    /// What a reconnect of the same device, or of the same playback, has again, whatever network it comes from.
    pub device: Option<Key>,
}

impl Viewer {
    /// `said` is what the player calls its playback (CMCD `sid`, CTA-5004 §3; `X-Playback-Session-Id`). Callers choose it, so
    /// it only tells viewers apart who otherwise look the same: each takes a place of its own, and making some up, or
    /// using one in many networks, gains none. A playback that comes from another network is the old one come back, and
    /// takes over its place where there is no other.
    #[must_use]
    pub fn of(keys: &Keys, said: Option<&str>, network: Key, user_agent: Option<&str>) -> Self {
        let program = user_agent.unwrap_or_default().as_bytes();
        let (tells, text) = said.map_or((&b"seen"[..], &b""[..]), |said| (b"said", said.as_bytes()));
        let key = Key::of("viewer", &[&keys.token.0, &network.0, program, tells, text]);
        let device = match (keys.device, said) {
            (Some(device), _) => Some(Key::of("device come back", &[&keys.token.0, &device.0, program])),
            (None, Some(said)) => Some(Key::of("playback come back", &[&keys.token.0, said.as_bytes(), program])),
            (None, None) => None,
        };
        Self { key, device }
    }
}

/// What holds for a session: the tighter of what its route and its token say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Sessions at the same time on its token.
    pub per_token: Option<u32>,
    /// Of its subject.
    pub per_subject: Option<u32>,
    /// Of its device.
    pub per_device: Option<u32>,
    /// On its asset.
    pub per_asset: Option<u32>,
    /// Sessions over its token's life.
    pub total: Option<u32>,
    /// Seconds from its start to its end.
    pub seconds: Option<u32>,
    /// Networks that its token may be used from within `network_window`.
    pub networks: Option<u32>,
    /// Seconds that a network counts.
    pub network_window: u32,
    /// Bytes of answers.
    pub bytes: Option<u64>,
    /// What happens when there is no room.
    pub on_full: OnFull,
    /// Seconds without a request after which it ends.
    pub idle: u32,
    /// Whether `idle` was configured, so that no playlist changes it.
    pub idle_is_fixed: bool,
    /// Seconds that it may go on after its token's end.
    pub outlive: u32,
}

/// Seconds without a request after which a session of an unknown kind ends.
pub const IDLE_UNKNOWN: u32 = 60;
/// The least, however short the segments are: players fill their buffers and then ask nothing for a while.
pub const IDLE_FLOOR: u32 = 20;
/// The same of an upload: recorders pause between parts, and their network comes and goes.
pub const IDLE_UPLOAD: u32 = 600;

impl Terms {
    /// The terms of a session on a route with `config` by `grant`; `upload` when a recorder asks.
    #[must_use]
    pub fn of(config: &RouteSessionConfig, grant: &Grant, upload: bool) -> Self {
        let seconds = |period: Period| u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX);
        let unknown = if upload { IDLE_UPLOAD } else { IDLE_UNKNOWN };
        Self {
            per_token: tighter(config.concurrent_per_token, grant.session.concurrent),
            per_subject: config.concurrent_per_subject,
            per_device: config.concurrent_per_device,
            per_asset: config.concurrent_per_asset,
            total: tighter(config.total_per_token, grant.session.total),
            seconds: tighter(config.max_duration.map(seconds), grant.session.seconds),
            networks: config.networks_per_token,
            network_window: seconds(config.network_window),
            bytes: config.max_bytes.map(|size| size.0),
            on_full: config.on_full,
            idle: config.idle_timeout.map_or(unknown, seconds),
            idle_is_fixed: upload || config.idle_timeout.is_some(),
            outlive: seconds(config.outlive),
        }
    }

    /// When a session that began at `started` ends at the latest; its token ends at `token_until`.
    #[must_use]
    pub fn ends(&self, started: UnixTime, token_until: UnixTime) -> UnixTime {
        let by_token = token_until.plus(i64::from(self.outlive));
        self.seconds.map_or(by_token, |seconds| by_token.min(started.plus(i64::from(seconds))))
    }
}

fn tighter(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    one.into_iter().chain(other).min()
}

/// A request for a session.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Now.
    pub now: UnixTime,
    /// The route.
    pub route: Name,
    /// The scheme that took the token.
    pub scheme: Name,
    /// What it is counted by.
    pub keys: Keys,
    /// What holds for it.
    pub terms: Terms,
    /// Who asks.
    pub viewer: Viewer,
    /// The network it comes from.
    pub network: Key,
    /// What its token allows.
    pub grant: Arc<Grant>,
    /// For operators.
    pub seen: Seen,
}

/// What operators see of a session beside its id. Nothing is decided by it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The token's name in logs.
    pub fingerprint: Fingerprint,
    /// The viewer's address at the start.
    pub client_ip: IpAddr,
    /// The viewer's program, cut at [`Seen::AGENT_MAX`] characters.
    pub user_agent: Option<Arc<str>>,
}

impl Seen {
    /// Longest user agent that is kept.
    pub const AGENT_MAX: usize = 120;

    /// Cuts `user_agent`.
    #[must_use]
    pub fn new(fingerprint: Fingerprint, client_ip: IpAddr, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.map(|text| text.chars().take(Self::AGENT_MAX).collect::<String>().into());
        Self { fingerprint, client_ip, user_agent }
    }
}

/// Which limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Sessions at the same time on the token.
    ConcurrentToken,
    /// Of the subject.
    ConcurrentSubject,
    /// Of the device.
    ConcurrentDevice,
    /// On the asset.
    ConcurrentAsset,
    /// Sessions over the token's life.
    TotalToken,
    /// Networks of the token.
    Networks,
    /// Seconds of a session, or the end of its token.
    Duration,
    /// Bytes of a session.
    Bytes,
    /// Sessions of the whole gateway.
    Ceiling,
}

impl Limit {
    /// Every limit, so that metric series exist before one is met.
    pub const ALL: [Self; 9] = [
        Self::ConcurrentToken,
        Self::ConcurrentSubject,
        Self::ConcurrentDevice,
        Self::ConcurrentAsset,
        Self::TotalToken,
        Self::Networks,
        Self::Duration,
        Self::Bytes,
        Self::Ceiling,
    ];

    /// Its one word: code, metric label, log field.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConcurrentToken => "concurrent_token",
            Self::ConcurrentSubject => "concurrent_subject",
            Self::ConcurrentDevice => "concurrent_device",
            Self::ConcurrentAsset => "concurrent_asset",
            Self::TotalToken => "total_token",
            Self::Networks => "networks",
            Self::Duration => "duration",
            Self::Bytes => "bytes",
            Self::Ceiling => "ceiling",
        }
    }
}

/// There is no session for this viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no session: {} is full", limit.word())]
pub struct SessionRefusal {
    /// Why. [`Limit::Ceiling`] is the gateway's own (503); the others are the viewer's.
    pub limit: Limit,
}

/// A session was given.
#[derive(Debug, Clone)]
pub struct Admission {
    /// It.
    pub session: Arc<Session>,
    /// The sessions that had to end for it, oldest first.
    pub evicted: Vec<SessionId>,
    /// The first limit that it is over, where limits are only observed.
    pub over: Option<Limit>,
    /// Whether it is new; else the viewer had it already.
    pub fresh: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// No request for too long. Its ticket may bring it back.
    Idle,
    /// Another viewer took its place.
    Evicted,
    /// Over its time or its bytes.
    Duration,
    /// Its token was withdrawn.
    Revoked,
    /// The same device came back as another session.
    Replaced,
    /// An operator ended it, or its upload was finished.
    Closed,
}

impl End {
    /// Every way to end.
    pub const ALL: [Self; 6] = [Self::Idle, Self::Evicted, Self::Duration, Self::Revoked, Self::Replaced, Self::Closed];

    /// Its one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Duration => "duration",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Closed => "closed",
        }
    }
}

/// Why a ticket's session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It is not known here: it ended long ago, or lives on another gateway or before a restart.
    #[error("not known")]
    Unknown,
    /// It ended; after [`End::Idle`], [`super::Sessions::resume`] may bring it back.
    #[error("ended: {}", .0.word())]
    Ended(End),
    /// It took all its bytes. It lives on without getting more until its other requests end.
    #[error("all its bytes are taken")]
    Bytes,
}

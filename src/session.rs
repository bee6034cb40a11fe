//! Sessions: one viewer is one viewer.
//!
//! At the entry of a viewing the table gives a [`Session`] a place under every limit that holds for
//! it, or refuses; what follows is let in by the session's ticket and touches only that session.
//! Places are taken under one lock, so that limits are exact on one gateway; they are given back when the
//! session ends: by silence, by time, by eviction, by an operator. Time is an argument everywhere.

mod ask;
mod config;
pub mod fleet;
pub mod store;
mod sync;
mod table;
pub mod ticket;
pub mod valkey;
mod viewing;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::ask::{
    Admission, Ask, End, Gone, IDLE_FLOOR, IDLE_UNKNOWN, IDLE_UPLOAD, Key, Keys, Limit, Seen, SessionRefusal, Terms, Viewer,
};
pub use self::config::{
    CookieConfig, OnFull, OnStoreError, ProbesConfig, Propagation, RefusalStatus, RouteSessionConfig, SameSite, SessionsConfig,
    StoreConfig, TicketKeyConfig,
};
pub use self::store::Change;
use self::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use self::table::{Filter, Page, ResumeFault, Sessions, Swept};
pub use self::viewing::Viewing;
use crate::clock::UnixTime;
use crate::manifest::Facts;
use crate::name::Name;
pub use crate::store::valkey::ValkeyStoreConfig;
use crate::token::Grant;

/// A session's name: a UUID of version 7 (RFC 9562 §5.7), so that it tells when the session began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id of a session that begins at `now`.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        let random = Uuid::new_v4();
        let bytes = random.as_bytes();
        // Version and variant stand in bytes 6 and 8; the others are random.
        let mut ten = [0; 10];
        ten[..6].copy_from_slice(&bytes[..6]);
        ten[6..].copy_from_slice(&bytes[10..14]);
        let millis = u64::try_from(now.0).unwrap_or(0).saturating_mul(1000);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &ten).into_uuid())
    }

    /// Takes the bytes of an id, as a ticket carries them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads what [`Display`](std::fmt::Display) writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// When its session began.
    #[must_use]
    pub fn started(&self) -> UnixTime {
        let (seconds, _) = self.0.get_timestamp().map_or((0, 0), |stamp| stamp.to_unix());
        UnixTime(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SessionId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a session's id")
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// One viewing, or one recording.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Its route.
    pub route: Name,
    /// The scheme that took its token: what `fits` of that scheme asks is asked of children too.
    pub scheme: Name,
    /// What its token allows. Children are checked against it as the token itself would be, but for the window:
    /// `ends` stands for that.
    pub grant: Arc<Grant>,
    /// What it is counted by.
    pub keys: Keys,
    /// What holds for it.
    pub terms: Terms,
    /// Whose it is.
    pub viewer: Viewer,
    /// When it began.
    pub started: UnixTime,
    /// The first second in which it is refused, however busy it is.
    pub ends: UnixTime,
    /// What its tickets say of its scope.
    pub scope: ticket::ScopeDigest,
    /// For operators.
    pub seen: Seen,
    idle: AtomicU32,
    last_seen: AtomicI64,
    /// Until when its film lasts, as its playlist said.
    lasts: AtomicI64,
    bytes: AtomicU64,
    /// The first 8 bytes of the network that it was last seen in.
    network: AtomicU64,
    ended: AtomicU8,
    over: AtomicBool,
    /// Its place among those that began on this gateway.
    order: u64,
}

impl Session {
    fn new(id: SessionId, ask: &Ask, order: u64) -> Self {
        let started = id.started();
        Self {
            id,
            route: ask.route.clone(),
            scheme: ask.scheme.clone(),
            grant: ask.grant.clone(),
            keys: ask.keys,
            terms: ask.terms,
            viewer: ask.viewer,
            started,
            ends: ask.terms.ends(started, ask.grant.window.until),
            scope: ticket::ScopeDigest::of(&ask.grant),
            seen: ask.seen.clone(),
            idle: AtomicU32::new(ask.terms.idle),
            last_seen: AtomicI64::new(ask.now.0),
            lasts: AtomicI64::new(i64::MIN),
            bytes: AtomicU64::new(0),
            network: AtomicU64::new(head(ask.network)),
            ended: AtomicU8::new(0),
            over: AtomicBool::new(false),
            order,
        }
    }

    /// What would be asked for it again at `now`, from `network`.
    fn ask(&self, now: UnixTime, network: Key) -> Ask {
        Ask {
            now,
            route: self.route.clone(),
            scheme: self.scheme.clone(),
            keys: self.keys,
            terms: self.terms,
            viewer: self.viewer,
            network,
            grant: self.grant.clone(),
            seen: self.seen.clone(),
        }
    }

    /// Written only when it changes: children of one session on several cores share its cache line.
    fn seen_at(&self, now: UnixTime) {
        if self.last_seen() < now {
            self.last_seen.store(now.0, Ordering::Relaxed);
        }
    }

    fn is_in(&self, network: Key) -> bool {
        self.network.load(Ordering::Relaxed) == head(network)
    }

    fn move_to(&self, network: Key) {
        self.network.store(head(network), Ordering::Relaxed);
    }

    /// Takes over what an earlier session of the same viewing has come to.
    fn go_on_from(&self, before: &Self) {
        self.add_bytes(before.bytes());
        self.idle.store(before.idle(), Ordering::Relaxed);
        self.lasts.fetch_max(before.lasts.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Marks it as ended; `false` when it was.
    fn mark(&self, end: End) -> bool {
        self.ended.compare_exchange(0, code(end), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Makes one that ended by silence end for good.
    fn seal(&self, end: End) {
        let _ = self.ended.compare_exchange(code(End::Idle), code(end), Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether this is the first time that it is found over a limit.
    fn note_over(&self) -> bool {
        !self.over.swap(true, Ordering::Relaxed)
    }

    /// How it has to end by now, if it has to.
    fn is_due(&self, now: UnixTime) -> Option<End> {
        if self.ends <= now {
            Some(End::Duration)
        } else if self.is_idle(now) {
            Some(End::Idle)
        } else {
            None
        }
    }

    /// When its last request came.
    #[must_use]
    pub fn last_seen(&self) -> UnixTime {
        UnixTime(self.last_seen.load(Ordering::Relaxed))
    }

    /// Seconds without a request after which it ends.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.idle.load(Ordering::Relaxed)
    }

    /// Bytes of answers so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds bytes of an answer under way.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it took more than its terms allow.
    #[must_use]
    pub fn is_over_bytes(&self) -> bool {
        self.terms.bytes.is_some_and(|most| self.bytes() >= most)
    }

    /// Follows its playlist. Three target durations of silence end it, [`IDLE_FLOOR`] at least; what was configured stays.
    /// A recorded film can be seen to its end, however short its tickets are.
    pub fn follow(&self, playlist: &Facts, now: UnixTime) {
        if let Some(seconds) = playlist.target_duration.filter(|_| !self.terms.idle_is_fixed) {
            self.idle.store(seconds.saturating_mul(3).max(IDLE_FLOOR), Ordering::Relaxed);
        }
        if let Some(film) = playlist.duration.filter(|_| !playlist.live) {
            let whole = i64::try_from(film.as_secs()).unwrap_or(i64::MAX);
            self.lasts.fetch_max(now.plus(whole.saturating_add(1)).0, Ordering::Relaxed);
        }
    }

    /// Until when a ticket that is made at `now` is good by itself: `lifetime` seconds, and as long as the film lasts. It ends with
    /// the session, and in whole eighths of its lifetime, so that a playlist asked for again is the same to the byte.
    #[must_use]
    pub fn ticket_until(&self, now: UnixTime, lifetime: i64) -> UnixTime {
        let step = (lifetime / 8).max(1);
        let until = now.plus(lifetime).0;
        let until = until.saturating_add((step - until.rem_euclid(step)) % step);
        UnixTime(until.max(self.lasts.load(Ordering::Relaxed))).min(self.ends)
    }

    /// Whether a ticket is good at `now` that no longer is by itself: a session that goes on carries the tickets that it was
    /// given, so that a live stream, whose addresses players keep, does not end with the first of them.
    #[must_use]
    pub fn vouches(&self, now: UnixTime) -> bool {
        let alive = self.ended().is_none() && !self.is_idle(now);
        now < self.ends && (alive || now.0 < self.lasts.load(Ordering::Relaxed))
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        let ended = self.ended.load(Ordering::Acquire);
        End::ALL.into_iter().nth(usize::from(ended).wrapping_sub(1))
    }

    /// Whether it ended by silence, or has to.
    #[must_use]
    pub fn is_silent(&self, now: UnixTime) -> bool {
        self.ended().map_or_else(|| self.is_idle(now), |end| end == End::Idle)
    }

    /// Whether it has been silent for too long. It lives through the whole of its last second.
    #[must_use]
    pub fn is_idle(&self, now: UnixTime) -> bool {
        now.since(self.last_seen()) > i64::from(self.idle())
    }
}

/// 0 is "alive".
const fn code(end: End) -> u8 {
    match end {
        End::Idle => 1,
        End::Evicted => 2,
        End::Duration => 3,
        End::Revoked => 4,
        End::Replaced => 5,
        End::Closed => 6,
    }
}

fn head(key: Key) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&key.0[..8]);
    u64::from_be_bytes(bytes)
}

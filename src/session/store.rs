//! The seam between a gateway's own table and a store that a fleet shares.
//!
//! With a shared store an entry that is not the gateway's own session already goes to
//! [`SharedStore::admit`], which decides atomically for all gateways; what it says is put into the local table with
//! [`Sessions::adopt`](super::Sessions::adopt). From then on children touch the local table only. Every `renew_every`
//! the gateway sends one batch of [`Renewal`]s, and follows [`SharedStore::changes`], so that what ended elsewhere ends
//! here.
//!
//! # How far limits hold
//! While the store answers, a limit of N admits exactly N over the fleet, with one exception: a place whose
//! gateway has not renewed it for the session's idle time plus [`RENEWAL_GRACE`] counts as free, so that a gateway that died or
//! was cut off does not hold its places for ever. While the store does not answer, `on_store_error` says what happens:
//! `deny` admits none; `local` admits at most N on each gateway, so at most N × gateways in all, and every session over N
//! was admitted during the partition; `allow` has no bound. When the store answers again, gateways renew what they
//! hold, the store takes it without asking for room, and new ones are refused until the number is below N.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Ask, End, Key, Keys, Limit, Seen, Session, SessionId, Terms, Viewer};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::revocation::Revocation;
use crate::token::Grant;

/// A boxed answer: one a session, not one a segment.
pub type Pending<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreFault>> + Send + 's>>;

/// Seconds that a place outlives its session's idle time: a few renewals may be lost.
pub const RENEWAL_GRACE: u32 = 10;

/// Why the store did not answer.
pub use crate::store::valkey::LinkFault as StoreFault;

/// A store shared by a fleet. No method waits longer than its configured time.
pub trait SharedStore: Send + Sync {
    /// Decides on one session, atomically over the fleet, by the rules of [`Sessions::admit`](super::Sessions::admit): the viewer's own session
    /// first, then each limit; nothing is taken or evicted unless all of them can be met.
    fn admit(&self, ask: AskRecord) -> Pending<'_, Answer>;

    /// The record of a session that another gateway admitted, for a ticket that came here. `None`: there is none, or its grant
    /// cannot be written down ([`Grant::can_be_written`]), so that only the gateway that saw the token can go on with it.
    fn find(&self, id: SessionId) -> Pending<'_, Option<AskRecord>>;

    /// Says which sessions are alive. Answers with those that ended, and those that the store does not have.
    fn renew(&self, alive: Vec<Renewal>) -> Pending<'_, Renewed>;

    /// Takes in sessions that the store has lost or never had, without asking for room. Answers with those that had ended for good.
    fn reclaim(&self, held: Vec<AskRecord>) -> Pending<'_, Vec<(SessionId, End)>>;

    /// Gives places back, and tells every gateway.
    fn end(&self, ended: Vec<(SessionId, End)>) -> Pending<'_, ()>;

    /// Keeps a revocation until its end, and tells every gateway.
    fn revoke(&self, revocation: Revocation) -> Pending<'_, ()>;

    /// [`revoke`](Self::revoke), for many.
    fn revoke_all(&self, revocations: Vec<Revocation>) -> Pending<'_, ()>;

    /// Takes a revocation back, and tells every gateway.
    fn restore(&self, revocation: Revocation) -> Pending<'_, ()>;

    /// All revocations that hold, for a gateway that starts or was cut off.
    fn revocations(&self) -> Pending<'_, Vec<Revocation>>;

    /// Waits for what happened since the last call, pushed or polled: within 5 s of its happening. Answers with nothing now and
    /// then, so that its caller knows that the store is there. The first call answers [`Change::Gap`].
    fn changes(&self) -> Pending<'_, Vec<Change>>;
}

/// What the store needs to decide on a session, and another gateway to go on with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskRecord {
    /// The id that it shall have, or has already.
    pub id: SessionId,
    /// Whether it was counted before: a paused session comes back and is not counted into its token's total again.
    pub resumes: bool,
    /// Now, as the asking gateway has it.
    pub now: UnixTime,
    /// When the session ends at the latest.
    pub ends: UnixTime,
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
    /// What its token allows: a gateway that sees only the ticket checks children by it.
    pub grant: Grant,
    /// Bytes it took so far.
    pub bytes: u64,
}

impl AskRecord {
    /// The record of `ask` under a new id.
    #[must_use]
    pub fn new(ask: &Ask) -> Self {
        Self::with(ask, SessionId::new(ask.now), false, 0)
    }

    /// The record of a paused session that comes back.
    #[must_use]
    pub fn resuming(session: &Session, now: UnixTime, network: Key) -> Self {
        Self::with(&session.ask(now, network), session.id, true, session.bytes())
    }

    /// The record of a live session, for a store that does not have it.
    #[must_use]
    pub fn held(session: &Session) -> Self {
        let mut network = [0; 16];
        network[..8].copy_from_slice(&session.network.load(std::sync::atomic::Ordering::Relaxed).to_be_bytes());
        let mut record = Self::resuming(session, session.last_seen(), Key(network));
        record.terms.idle = session.idle();
        record
    }

    /// The request that this is a record of; `seen` is what the asking gateway sees of the viewer.
    #[must_use]
    pub fn ask(&self, seen: Seen) -> Ask {
        Ask {
            now: self.now,
            route: self.route.clone(),
            scheme: self.scheme.clone(),
            keys: self.keys,
            terms: self.terms,
            viewer: self.viewer,
            network: self.network,
            grant: Arc::new(self.grant.clone()),
            seen,
        }
    }

    fn with(ask: &Ask, id: SessionId, resumes: bool, bytes: u64) -> Self {
        Self {
            id,
            resumes,
            now: ask.now,
            ends: ask.terms.ends(id.started(), ask.grant.window.until),
            route: ask.route.clone(),
            scheme: ask.scheme.clone(),
            keys: ask.keys,
            terms: ask.terms,
            viewer: ask.viewer,
            network: ask.network,
            grant: (*ask.grant).clone(),
            bytes,
        }
    }
}

/// What the store decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Let in.
    Admitted {
        /// Under this id: the asked one, or that of the session that the viewer has already.
        id: SessionId,
        /// Whether it is new.
        fresh: bool,
        /// The sessions that had to end for it, oldest first, each with how: other gateways learn of them by [`Change`]s.
        evicted: Vec<(SessionId, End)>,
        /// The first limit that it is over, where limits are only observed.
        over: Option<Limit>,
    },
    /// Not let in.
    Refused {
        /// Why.
        limit: Limit,
    },
}

/// One live session of this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Its id.
    pub id: SessionId,
    /// When its last request came.
    pub last_seen: UnixTime,
    /// Seconds without a request after which it ends, as its playlist says by now.
    pub idle: u32,
    /// Bytes so far.
    pub bytes: u64,
}

/// What the store says to renewals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// These ended elsewhere, for good.
    pub ended: Vec<(SessionId, End)>,
    /// These the store does not have: give them to [`SharedStore::reclaim`].
    pub lost: Vec<SessionId>,
}

/// What happened on another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A session ended.
    Ended {
        /// Which.
        id: SessionId,
        /// How.
        end: End,
    },
    /// Something was withdrawn.
    Revoked {
        /// What.
        revocation: Revocation,
    },
    /// A revocation was taken back.
    Restored {
        /// Which.
        revocation: Revocation,
    },
    /// Changes may have been missed: read [`SharedStore::revocations`] anew.
    Gap,
    /// The store begins anew and knows nothing: tell it of all that is held.
    Lost,
}

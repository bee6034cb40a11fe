//! The session table of one gateway, shared by all its workers.
//!
//! Two parts. The *shards* find a session by its id under a read lock of one of 64: that is all a child request takes.
//! The *book* knows who holds which place: every decision on places is made under its one lock, with no wait inside, so that of any
//! number of first requests at once exactly as many are let in as the limit says. A session that ended
//! stays in the shards, marked, until its hard end or until too many have: that its ticket gets a reason, and a paused one can come back. What
//! is pushed out of there cannot come back: forgetting refuses.

mod book;
mod list;
mod shards;

use std::sync::Arc;

use self::book::{Book, Surroundings};
pub use self::list::{Filter, Page};
use self::shards::Shards;
use super::store::{Answer, Renewal};
use super::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use super::sync::{Mutex, MutexGuard, PoisonError};
use super::{Admission, Ask, End, Gone, Key, Limit, OnFull, Session, SessionId, SessionRefusal};
use crate::clock::UnixTime;
use crate::metrics::Metrics;
use crate::name::Name;

/// The table. Clones share it; it outlives reloads of the config.
#[derive(Clone)]
pub struct Sessions(Arc<Table>);

struct Table {
    shards: Shards,
    book: Mutex<Book>,
    live: AtomicUsize,
    most: AtomicUsize,
    /// The second in which a full table was last swept for room.
    swept: AtomicI64,
    metrics: Metrics,
}

/// What a sweep ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Silent for too long.
    pub idle: usize,
    /// Over their time.
    pub duration: usize,
}

/// Why a ticket's session cannot come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeFault {
    /// There is none to come back.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// There is no room for it.
    #[error(transparent)]
    Refused(#[from] SessionRefusal),
}

/// Sessions that are ended under one hold of the lock.
const BATCH: usize = 256;

impl Sessions {
    /// An empty table for `most` sessions at the same time.
    #[must_use]
    pub fn new(most: usize, metrics: &Metrics) -> Self {
        Self(Arc::new(Table {
            shards: Shards::default(),
            book: Mutex::default(),
            live: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            swept: AtomicI64::new(i64::MIN),
            metrics: metrics.clone(),
        }))
    }

    /// Changes the ceiling, on a reload. Sessions over a lower one go on.
    pub fn set_most(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// Makes the metric series of `route`.
    pub fn announce(&self, route: &Name) {
        self.0.metrics.announce_sessions(route.as_str());
    }

    /// Gives the viewer a session: the one he has, or a new one if there is room under every limit.
    ///
    /// # Errors
    /// The first limit that cannot be met. Nothing is taken and nobody evicted then.
    pub fn admit(&self, ask: &Ask) -> Result<Admission, SessionRefusal> {
        self.settle(ask, None).map_err(|fault| match fault {
            ResumeFault::Refused(refusal) => refusal,
            // Only what comes back can be gone.
            ResumeFault::Gone(_) => SessionRefusal { limit: Limit::Duration },
        })
    }

    /// Brings back the session `id`, for a ticket that is good, if it ended by silence and there is room. Like
    /// [`touch`](Self::touch) when it lives. The session that comes back is that of the same viewer, which may by now go by another id.
    ///
    /// # Errors
    /// [`ResumeFault`].
    pub fn resume(&self, id: SessionId, now: UnixTime, network: Key) -> Result<Admission, ResumeFault> {
        let before = self.0.shards.get(id).ok_or(Gone::Unknown)?;
        if before.ends <= now {
            return Err(Gone::Ended(End::Duration).into());
        }
        self.settle(&before.ask(now, network), Some(&before))
    }

    fn settle(&self, ask: &Ask, before: Option<&Session>) -> Result<Admission, ResumeFault> {
        let mut decided = self.decide(ask, before)?;
        let full = matches!(decided, Err(SessionRefusal { limit: Limit::Ceiling }));
        // Idle sessions hold places until somebody looks; a full table is looked through once a second.
        if full && self.0.swept.swap(ask.now.0, Ordering::Relaxed) != ask.now.0 {
            self.sweep(ask.now);
            decided = self.decide(ask, before)?;
        }
        let route = ask.route.as_str();
        match &decided {
            Ok(admission) => {
                if let Some(limit) = admission.over {
                    self.over(route, limit);
                }
            }
            Err(refusal) => self.0.metrics.sessions_refused.with_label_values(&[route, refusal.limit.word()]).inc(),
        }
        Ok(decided?)
    }

    fn decide(&self, ask: &Ask, before: Option<&Session>) -> Result<Result<Admission, SessionRefusal>, Gone> {
        let mut book = self.book();
        // Asked under the lock: what an operator ended does not come back.
        match before.and_then(Session::ended) {
            Some(end) if end != End::Idle => Err(Gone::Ended(end)),
            _ => Ok(book.admit(ask, before, &self.around())),
        }
    }

    /// The session that the viewer of `ask` has already, if he has one: what is asked before a shared store is.
    #[must_use]
    pub fn own(&self, ask: &Ask) -> Option<Arc<Session>> {
        self.book().own(ask, &self.around())
    }

    /// Takes in what a shared store decided on `ask`. What the store let in is not decided on again.
    ///
    /// # Errors
    /// The store's refusal, or [`Limit::Ceiling`] of this gateway: then give the store its place back.
    pub fn adopt(&self, ask: &Ask, answer: &Answer) -> Result<Admission, SessionRefusal> {
        let adopted = self.book().adopt(ask, answer, &self.around());
        if let Err(refusal) = &adopted {
            self.0.metrics.sessions_refused.with_label_values(&[ask.route.as_str(), refusal.limit.word()]).inc();
        }
        if let Ok(Admission { over: Some(limit), .. }) = &adopted {
            self.over(ask.route.as_str(), *limit);
        }
        adopted
    }

    /// A request of the session `id`, whose answers took `bytes` since the last one. Takes no lock but its shard's, for reading.
    ///
    /// # Errors
    /// Why it cannot go on. After [`End::Idle`] ask [`resume`](Self::resume).
    pub fn touch(&self, id: SessionId, now: UnixTime, bytes: u64) -> Result<Arc<Session>, Gone> {
        let session = self.0.shards.get(id).ok_or(Gone::Unknown)?;
        self.go_on(&session, now, bytes)?;
        Ok(session)
    }

    /// The same for a session at hand, while an answer of it is under way. Takes no lock.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub fn go_on(&self, session: &Session, now: UnixTime, bytes: u64) -> Result<(), Gone> {
        if let Some(end) = session.ended() {
            return Err(Gone::Ended(end));
        }
        if session.ends <= now {
            return Err(Gone::Ended(End::Duration));
        }
        session.seen_at(now);
        if bytes > 0 {
            session.add_bytes(bytes);
        }
        if session.is_over_bytes() {
            if session.terms.on_full != OnFull::Observe {
                return Err(Gone::Bytes);
            }
            if session.note_over() {
                self.over(session.route.as_str(), Limit::Bytes);
            }
        }
        Ok(())
    }

    /// Whether the session `id` makes a late ticket good at `now` (see [`Session::vouches`]).
    #[must_use]
    pub fn vouches(&self, id: SessionId, now: UnixTime) -> bool {
        self.0.shards.get(id).is_some_and(|session| session.vouches(now))
    }

    /// A request of `session` came from `network`. Costs a load while it is the one it was last seen in.
    ///
    /// # Errors
    /// [`Limit::Networks`], when its token is used from too many within the window.
    pub fn roam(&self, session: &Session, network: Key, now: UnixTime) -> Result<(), SessionRefusal> {
        if session.is_in(network) {
            return Ok(());
        }
        if session.terms.networks.is_some() {
            let noted = self.book().roam(session, network, now);
            let route = session.route.as_str();
            match noted {
                Ok(()) => {}
                Err(limit) if session.terms.on_full == OnFull::Observe => self.over(route, limit),
                Err(limit) => {
                    self.0.metrics.sessions_refused.with_label_values(&[route, limit.word()]).inc();
                    return Err(SessionRefusal { limit });
                }
            }
        }
        session.move_to(network);
        Ok(())
    }

    /// The session `id`, alive or ended and not yet forgotten. Not a request of it.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.0.shards.get(id)
    }

    /// Ends the session `id`; its next request learns how. Answers with it if it was alive;
    /// a paused one does not come back.
    pub fn end(&self, id: SessionId, end: End, now: UnixTime) -> Option<Arc<Session>> {
        let session = self.0.shards.get(id)?;
        let mut book = self.book();
        let ended = book.finish(&session, end, now, &self.around());
        if !ended {
            session.seal(end);
        }
        ended.then_some(session)
    }

    /// Ends all live sessions that `which` holds for. Paused ones of the kind do not come back.
    pub fn end_where(&self, end: End, now: UnixTime, which: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let meant = self.0.shards.select(&which);
        let mut ended = Vec::new();
        for batch in meant.chunks(BATCH) {
            let mut book = self.book();
            for session in batch {
                if book.finish(session, end, now, &self.around()) {
                    ended.push(session.id);
                } else {
                    session.seal(end);
                }
            }
        }
        ended
    }

    /// Sessions that ended for good since the last call: what is kept on their behalf can go. At most as many as there may be.
    #[must_use]
    pub fn take_gone(&self) -> Vec<SessionId> {
        std::mem::take(&mut self.book().gone)
    }

    /// Ends sessions that have been silent for too long or are over their time, and forgets what can no longer matter.
    /// To be called every second or so; limits are exact however late it comes.
    pub fn sweep(&self, now: UnixTime) -> Swept {
        let mut due = self.0.shards.select(|session| session.ended().is_none() && session.is_due(now).is_some());
        due.sort_unstable_by_key(|session| session.order);
        let mut swept = Swept::default();
        for batch in due.chunks(BATCH) {
            let mut book = self.book();
            for session in batch {
                // Asked again under the lock: a request may have come meanwhile.
                let Some(end) = session.is_due(now) else { continue };
                if book.finish(session, end, now, &self.around()) {
                    if end == End::Idle { swept.idle += 1 } else { swept.duration += 1 }
                }
            }
        }
        self.book().forget(now, &self.around());
        swept
    }

    /// Live sessions of this gateway seen at `since` or later, for the store.
    #[must_use]
    pub fn renewals(&self, since: UnixTime) -> Vec<Renewal> {
        let live = self.0.shards.select(|session| session.ended().is_none() && session.last_seen() >= since);
        let renewal = |s: &Arc<Session>| Renewal { id: s.id, last_seen: s.last_seen(), idle: s.idle(), bytes: s.bytes() };
        live.iter().map(renewal).collect()
    }

    /// Live sessions that `filter` holds for, by age, from behind `after` on, `most` at once.
    #[must_use]
    pub fn list(&self, filter: &Filter, after: Option<SessionId>, most: usize) -> Page {
        list::page(&self.0.shards, filter, after, most)
    }

    /// How many are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Whether none is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn over(&self, route: &str, limit: Limit) {
        self.0.metrics.sessions_over_limit.with_label_values(&[route, limit.word()]).inc();
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // No step of the book leaves it half done and panics.
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn around(&self) -> Surroundings<'_> {
        Surroundings { shards: &self.0.shards, live: &self.0.live, most: self.0.most.load(Ordering::Relaxed), metrics: &self.0.metrics }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("live", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

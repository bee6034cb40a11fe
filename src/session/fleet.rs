//! One gateway of a fleet that shares a store.
//!
//! An entry that is not this gateway's own session already is decided on by the store; what it lets in is adopted into the
//! local table, and children touch only that. A task of this room renews what lives here, gives back what ended here, and
//! follows what ended or was withdrawn elsewhere. What operators do here holds here at once, and is sent to the store as soon
//! as it answers.
//!
//! # How far limits hold without the store
//! `local`: each gateway admits up to N by itself, so at most N × gateways over the fleet. `deny`: none is added. `allow`: no
//! bound but each gateway's ceiling. See [`store`](super::store) for the rest. Bytes are counted by each gateway: a
//! session that moves between gateways may take its bytes once on each. Networks of a session under way are counted by each gateway too.
//!
//! After [`FAULTS`] faults in a row the store counts as away: entries do not wait for it until a renewal has got through.

mod errands;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::{Notify, watch};

use self::errands::{Errand, Errands};
use super::store::{Answer, AskRecord, Change, SharedStore, StoreFault};
use super::{Admission, Ask, End, Gone, Key, Limit, OnStoreError, Seen, Session, SessionId, SessionRefusal, Sessions};
use crate::clock::{Clock, UnixTime};
use crate::metrics::Metrics;
use crate::revocation::{Full, Revocation, Revocations, Target};

/// Faults in a row after which the store counts as away.
pub const FAULTS: u32 = 3;
/// How long the store is not asked again for a session that it does not have.
const ABSENT_FOR: Duration = Duration::from_secs(1);
/// How many of those are remembered.
const ABSENT: u64 = 10_000;

/// A gateway's part in its fleet. Clones share it.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

/// What a fleet's gateway works with.
#[derive(Clone)]
pub struct FleetParts {
    /// The gateway's own table.
    pub sessions: Sessions,
    /// What is withdrawn.
    pub revocations: Arc<Revocations>,
    /// Its counters.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// How often it tells the store what lives here.
    pub renew_every: Duration,
}

/// How far the task has come: for those who wait for something to arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Renewals that got through.
    pub renewals: u64,
    /// Changes taken in.
    pub changes: u64,
    /// Whether the store answers.
    pub up: bool,
}

/// Why there is no session for an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// There is no room.
    #[error(transparent)]
    Refused(#[from] SessionRefusal),
    /// The session cannot come back.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The store does not answer, and the route admits nobody without it.
    #[error(transparent)]
    Away(#[from] StoreFault),
}

struct Inner {
    store: Arc<dyn SharedStore>,
    parts: FleetParts,
    /// Sessions that the store knows as living here.
    held: Mutex<HashSet<SessionId>>,
    errands: Mutex<Errands>,
    /// Held while errands are run: their order is what was meant.
    telling: tokio::sync::Mutex<()>,
    /// Sessions that the store did not have a moment ago: who goes on asking for one that is over does not reach the store.
    absent: Cache<SessionId, ()>,
    faults: AtomicU32,
    /// Whether everything has to be renewed, not only what was seen.
    all: AtomicBool,
    nudge: Notify,
    progress: watch::Sender<Progress>,
}

/// What is to be made up for.
#[derive(Debug, Default)]
struct Behind {
    /// The fleet may have withdrawn what is not known here.
    gap: bool,
    /// The store does not know what is held here.
    lost: bool,
}

/// What [`Fleet::start`] has its spawner run.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Fleet {
    /// Joins the fleet of `store`, and has `spawn` run the task that keeps up with it. The task ends when it is dropped.
    pub fn start(store: Arc<dyn SharedStore>, parts: FleetParts, spawn: impl FnOnce(Task)) -> Self {
        parts.metrics.announce_shared_store();
        // Until it has answered.
        parts.metrics.session_store_up.set(0);
        let fleet = Self(Arc::new(Inner {
            store,
            parts,
            held: Mutex::default(),
            errands: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            absent: Cache::builder().max_capacity(ABSENT).time_to_live(ABSENT_FOR).build(),
            faults: AtomicU32::new(0),
            all: AtomicBool::new(true),
            nudge: Notify::new(),
            progress: watch::Sender::default(),
        }));
        let inner = fleet.0.clone();
        spawn(Box::pin(async move {
            tokio::join!(inner.keep_renewing(), inner.keep_following());
        }));
        fleet
    }

    /// Gives the viewer a session: the one that he has here without asking the store, else by the store's word, else, where it
    /// does not answer, by `policy`.
    ///
    /// # Errors
    /// [`EntryFault`].
    pub async fn admit(&self, ask: &Ask, policy: OnStoreError) -> Result<Admission, EntryFault> {
        if let Some(own) = self.0.own(ask) {
            return own;
        }
        match self.0.decide(AskRecord::new(ask)).await {
            Ok(answer) => self.0.adopt(ask, &answer),
            Err(fault) => self.0.without(ask, policy, fault),
        }
    }

    /// Brings back the session `id` that ended here by silence, for a ticket that is good. The same as
    /// [`Sessions::resume`], with the store's word on room.
    ///
    /// # Errors
    /// [`EntryFault`].
    pub async fn resume(&self, id: SessionId, now: UnixTime, network: Key, policy: OnStoreError) -> Result<Admission, EntryFault> {
        let before = self.0.parts.sessions.get(id).ok_or(Gone::Unknown)?;
        match before.ended() {
            Some(End::Idle) | None if before.ends > now => {}
            Some(end) if end != End::Idle => return Err(Gone::Ended(end).into()),
            _ => return Err(Gone::Ended(End::Duration).into()),
        }
        let ask = before.ask(now, network);
        match self.0.decide(AskRecord::resuming(&before, now, network)).await {
            // What an operator ended meanwhile does not come back.
            Ok(_) if before.ended().is_some_and(|end| end != End::Idle) => Err(Gone::Ended(before.ended().unwrap_or(End::Closed)).into()),
            Ok(answer) => self.0.adopt(&ask, &answer),
            Err(fault) if policy == OnStoreError::Deny => Err(fault.into()),
            Err(_) => self.0.parts.sessions.resume(id, now, network).map_err(|fault| match fault {
                super::ResumeFault::Gone(gone) => gone.into(),
                super::ResumeFault::Refused(refusal) => refusal.into(),
            }),
        }
    }

    /// Takes in the session `id` that another gateway admitted, for a ticket that is good and came here. Once a session: from
    /// then on it is in the local table. It is in the network that it was admitted from: [`Sessions::roam`] tells of another.
    ///
    /// # Errors
    /// [`Gone::Unknown`] when the store has none, [`Limit::Ceiling`] of this gateway, or the store's fault.
    pub async fn take_in(&self, id: SessionId, now: UnixTime, seen: Seen) -> Result<Arc<Session>, EntryFault> {
        let inner = &self.0;
        inner.reachable()?;
        if inner.absent.contains_key(&id) {
            return Err(Gone::Unknown.into());
        }
        let Some(mut record) = inner.timed("find", inner.store.find(id)).await? else {
            inner.absent.insert(id, ());
            return Err(Gone::Unknown.into());
        };
        if let Some(end) = inner.parts.sessions.get(id).and_then(|session| session.ended()).filter(|end| *end != End::Idle) {
            return Err(Gone::Ended(end).into());
        }
        record.now = now;
        let answer = Answer::Admitted { id, fresh: false, evicted: Vec::new(), over: None };
        let admission = inner.parts.sessions.adopt(&record.ask(seen), &answer)?;
        if admission.fresh {
            let session = &admission.session;
            session.add_bytes(record.bytes.saturating_sub(session.bytes()));
            inner.hold(id);
        }
        Ok(admission.session)
    }

    /// Ends the session `id`, wherever it lives: here at once, elsewhere when the store hands it on. Answers with it if it lived here.
    pub fn end(&self, id: SessionId, end: End, now: UnixTime) -> Option<Arc<Session>> {
        let ended = self.0.parts.sessions.end(id, end, now);
        self.0.send(Errand::End(id, end));
        ended
    }

    /// Withdraws, here at once, elsewhere when the store hands it on. Answers with how many sessions ended here.
    ///
    /// # Errors
    /// [`Full`], with nothing changed anywhere.
    pub fn revoke(&self, revocation: &Revocation, now: UnixTime) -> Result<usize, Full> {
        let ended = self.0.parts.revocations.revoke(revocation, &self.0.parts.sessions, now)?;
        self.0.send(Errand::Revoke(revocation.clone()));
        Ok(ended)
    }

    /// Takes a revocation back, here and everywhere. Answers whether there was one here.
    pub fn restore(&self, target: &Target, now: UnixTime) -> bool {
        let had = self.0.parts.revocations.restore(target);
        self.0.send(Errand::Restore(Revocation { target: target.clone(), since: now, until: now }));
        had
    }

    /// Whether the store answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.progress.borrow().up
    }

    /// How far the task has come, to wait on.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }
}

impl Inner {
    /// The viewer's own session, where nothing has to be asked of the fleet.
    fn own(&self, ask: &Ask) -> Option<Result<Admission, EntryFault>> {
        let sessions = &self.parts.sessions;
        let session = sessions.own(ask)?;
        if session.terms.networks.is_some() && !session.is_in(ask.network) {
            return None;
        }
        match sessions.touch(session.id, ask.now, 0) {
            Ok(session) => Some(Ok(Admission { session, evicted: Vec::new(), over: None, fresh: false })),
            Err(Gone::Bytes) => Some(Err(SessionRefusal { limit: Limit::Bytes }.into())),
            Err(_) => None,
        }
    }

    async fn decide(&self, record: AskRecord) -> Result<Answer, StoreFault> {
        self.reachable()?;
        // What ended here has to be known there first: an upload that is whole makes room for the next one.
        self.run_errands().await?;
        self.timed("admit", self.store.admit(record)).await
    }

    /// Nobody waits for a store that is away; renewals find out when it is back.
    fn reachable(&self) -> Result<(), StoreFault> {
        let away = self.faults.load(Ordering::Relaxed) >= FAULTS;
        if away { Err(StoreFault::Away("it did not answer before".into())) } else { Ok(()) }
    }

    fn adopt(&self, ask: &Ask, answer: &Answer) -> Result<Admission, EntryFault> {
        match (self.parts.sessions.adopt(ask, answer), answer) {
            (Ok(admission), _) => {
                admission.session.move_to(ask.network);
                self.hold(admission.session.id);
                Ok(admission)
            }
            (Err(refusal), Answer::Admitted { id, fresh: true, .. }) => {
                self.send(Errand::End(*id, End::Closed));
                Err(refusal.into())
            }
            (Err(refusal), _) => Err(refusal.into()),
        }
    }

    fn without(&self, ask: &Ask, policy: OnStoreError, fault: StoreFault) -> Result<Admission, EntryFault> {
        let sessions = &self.parts.sessions;
        match policy {
            // Who watches goes on.
            OnStoreError::Deny if sessions.own(ask).is_some() => Ok(sessions.admit(ask)?),
            OnStoreError::Deny => Err(fault.into()),
            OnStoreError::Local => Ok(sessions.admit(ask)?),
            OnStoreError::Allow => {
                let mut open = ask.clone();
                let terms = &mut open.terms;
                (terms.per_token, terms.per_subject, terms.per_device, terms.per_asset) = (None, None, None, None);
                (terms.total, terms.networks) = (None, None);
                Ok(sessions.admit(&open)?)
            }
        }
    }

    async fn keep_renewing(&self) {
        let mut since = UnixTime::MIN;
        loop {
            let now = self.parts.clock.now();
            let all = self.all.swap(false, Ordering::AcqRel);
            match self.renew(if all { UnixTime::MIN } else { since }).await {
                Ok(()) => {
                    since = now;
                    self.progress.send_modify(|progress| progress.renewals += 1);
                }
                Err(error) => {
                    if all {
                        self.all.store(true, Ordering::Release);
                    }
                    tracing::warn!(%error, "sessions not renewed; tried again");
                    tokio::time::sleep(self.parts.renew_every).await;
                    continue;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.parts.renew_every) => {}
                () = self.nudge.notified() => {}
            }
        }
    }

    async fn renew(&self, since: UnixTime) -> Result<(), StoreFault> {
        self.run_errands().await?;
        let sessions = &self.parts.sessions;
        let alive = sessions.renewals(since);
        let ids: Vec<_> = alive.iter().map(|one| one.id).collect();
        let renewed = self.timed("renew", self.store.renew(alive)).await?;
        let mut ended = renewed.ended;
        if !renewed.lost.is_empty() {
            let live = renewed.lost.iter().filter_map(|id| sessions.get(*id)).filter(|session| session.ended().is_none());
            let mut records: Vec<_> = live.map(|session| AskRecord::held(&session)).collect();
            // In the order in which they began, because the store puts them behind those that it has.
            records.sort_by_key(|record| record.id);
            ended.extend(self.timed("reclaim", self.store.reclaim(records)).await?);
        }
        let now = self.parts.clock.now();
        for (id, end) in ended {
            sessions.end(id, end, now);
        }
        self.lock_held().extend(ids);
        self.give_back().await
    }

    /// Tells the store which of the sessions held here have ended.
    async fn give_back(&self) -> Result<(), StoreFault> {
        let mut ended = Vec::new();
        self.lock_held().retain(|id| {
            // One that is forgotten ended by silence or time; the store tells which.
            let end = self.parts.sessions.get(*id).map_or(Some(End::Idle), |session| session.ended());
            ended.extend(end.map(|end| (*id, end)));
            end.is_none()
        });
        if ended.is_empty() {
            return Ok(());
        }
        let told = self.timed("end", self.store.end(ended.clone())).await;
        if told.is_err() {
            self.lock_held().extend(ended.into_iter().map(|(id, _)| id));
        }
        told
    }

    /// Tells the store all that it has not been told. An errand is kept until it is done: whoever runs them may be
    /// dropped at any time, and telling it twice does no harm.
    async fn run_errands(&self) -> Result<(), StoreFault> {
        let _turn = self.telling.lock().await;
        loop {
            let (next, until) = self.lock_errands().next();
            let told = match next.as_slice() {
                [] => return Ok(()),
                [Errand::Revoke(revocation), ..] => self.timed("revoke", self.store.revoke(revocation.clone())).await,
                [Errand::Restore(revocation), ..] => self.timed("restore", self.store.restore(revocation.clone())).await,
                ends => self.timed("end", self.store.end(ends.iter().filter_map(Errand::end).collect())).await,
            };
            match told {
                Ok(()) => {}
                Err(StoreFault::Odd(error)) => tracing::error!(error, errands = ?next, "the session store does not take this"),
                Err(away) => return Err(away),
            }
            self.lock_errands().told(until);
        }
    }

    async fn keep_following(&self) {
        let mut behind = Behind::default();
        loop {
            let outcome = match self.store.changes().await {
                Ok(changes) => self.take(changes, &mut behind).await,
                Err(fault) => Err(fault),
            };
            if let Err(error) = outcome {
                self.parts.metrics.session_store_errors.with_label_values(&["changes"]).inc();
                tracing::warn!(%error, "changes of other gateways not read; tried again");
                tokio::time::sleep(self.parts.renew_every).await;
            }
        }
    }

    async fn take(&self, changes: Vec<Change>, behind: &mut Behind) -> Result<(), StoreFault> {
        let now = self.parts.clock.now();
        let count = changes.len() as u64;
        for change in &changes {
            match change {
                Change::Gap => behind.gap = true,
                Change::Lost => *behind = Behind { gap: true, lost: true },
                Change::Ended { .. } | Change::Revoked { .. } | Change::Restored { .. } => {}
            }
        }
        told_of(self.parts.revocations.follow(&changes, &self.parts.sessions, now));
        if behind.lost {
            self.timed("revoke", self.store.revoke_all(self.parts.revocations.list(now))).await?;
            self.all.store(true, Ordering::Release);
            self.nudge.notify_one();
            behind.lost = false;
        }
        if behind.gap {
            let all = self.timed("revocations", self.store.revocations()).await?;
            told_of(self.parts.revocations.withdraw(&all, &self.parts.sessions, now));
            behind.gap = false;
        }
        self.progress.send_if_modified(|progress| {
            progress.changes += count;
            count > 0
        });
        Ok(())
    }

    async fn timed<T>(&self, operation: &str, asked: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
        let start = Instant::now();
        let outcome = asked.await;
        let metrics = &self.parts.metrics;
        metrics.session_store_seconds.with_label_values(&[operation]).observe(start.elapsed().as_secs_f64());
        let up = if outcome.is_ok() {
            self.faults.store(0, Ordering::Relaxed);
            true
        } else {
            metrics.session_store_errors.with_label_values(&[operation]).inc();
            self.faults.fetch_add(1, Ordering::Relaxed) + 1 < FAULTS && self.progress.borrow().up
        };
        self.set_up(up);
        outcome
    }

    fn set_up(&self, up: bool) {
        let changed = self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.up, up) != up);
        if changed {
            self.parts.metrics.session_store_up.set(i64::from(up));
            tracing::info!(up, "the shared session store");
        }
    }

    fn hold(&self, id: SessionId) {
        self.absent.invalidate(&id);
        self.lock_held().insert(id);
    }

    fn send(&self, errand: Errand) {
        self.lock_errands().push(errand);
        self.nudge.notify_one();
    }

    fn lock_held(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_errands(&self) -> MutexGuard<'_, Errands> {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A revocation that found no room here is for operators to know: others hold.
fn told_of(followed: Result<(), Full>) {
    if let Err(error) = followed {
        tracing::error!(%error, "a revocation of the fleet does not hold here");
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("progress", &*self.0.progress.borrow()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

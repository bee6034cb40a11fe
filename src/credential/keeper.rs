//! One credential of the config, and its values: one for the route, or one for each session or resource.
//!
//! A request reads a ready value without a lock and without waiting. Calls to the vendor are tasks of their own that own
//! what they need: whoever waits for one may go away without harm to the others, and a call that is cut off counts as a
//! failed one. What is waited for is only the first value and the one after a rejection, and only while the vendor is not
//! known to be down; else [`Unavailable`] comes at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use moka::sync::Cache;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::Budget;
use super::config::{KeepConfig, Scope, Source};
use super::fleet::Fleet;
use super::provider::{Issued, Serves};
use super::shelf::Shelf;
use super::state::{Now, State};
use crate::clock::{Clock, UnixTime};
use crate::metrics::Metrics;
use crate::name::Name;

mod call;
mod slot;

use call::Poked;
use slot::Slot;

/// Longest time between two looks at the clock, which may have been set.
const LOOK: Duration = Duration::from_millis(250);

/// A value of a session or resource that nobody has asked for in this time is forgotten.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// What a call gives, boxed so that the client stays the caller's.
pub type Sent<'s> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send + 's>>;

/// Sends a request to a vendor. The caller's HTTP client: it holds the limits of time and size, follows no redirect, and
/// sends nothing to another place than the vendor's.
pub trait Client: Send + Sync {
    /// The whole answer, or a sentence on why there is none, without secrets.
    fn send(&self, request: Request<Bytes>) -> Sent<'_>;
}

/// What a keeper has its spawner run.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs tasks, on whatever thread. Called while requests are served: it must not wait.
pub type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

/// What a credential works with.
#[derive(Clone)]
pub struct KeeperParts {
    /// Its client; not used where values are made here.
    pub client: Option<Arc<dyn Client>>,
    /// What runs its calls.
    pub spawn: Spawn,
    /// The time.
    pub clock: Clock,
    /// Its counters.
    pub metrics: Metrics,
    /// Where its values are kept over restarts.
    pub shelf: Option<Shelf>,
    /// The gateways that it is called for together with.
    pub fleet: Option<Fleet>,
}

/// There is no value that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no credential is to be had; try again in {} s", .retry_after.as_secs())]
pub struct Unavailable {
    /// When it makes sense to ask again.
    pub retry_after: Duration,
}

/// A credential, by its name in the config. Clones share it.
#[derive(Clone)]
pub struct Credential(Arc<Keeper>);

/// A value in use: it stays what it is, whatever becomes of the credential.
#[derive(Clone)]
pub struct Held {
    keeper: Arc<Keeper>,
    slot: Arc<Slot>,
    kept: Arc<slot::Kept>,
}

/// How a credential is doing, without its values.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Its name.
    pub name: Name,
    /// The vendor's word.
    pub provider: &'static str,
    /// What one value serves.
    pub scope: Scope,
    /// Of a route's value; of sessions and resources, how their last call did.
    pub state: &'static str,
    /// When the route's value ends.
    pub expires: Option<UnixTime>,
    /// When it is renewed.
    pub renews: Option<UnixTime>,
    /// Calls that have failed since the last good one.
    pub failures: u32,
    /// Why the last call brought nothing; `None` when it did.
    pub fault: Option<String>,
    /// Values held for sessions or resources.
    pub values: u64,
}

struct Keeper {
    name: Name,
    source: Source,
    scope: Scope,
    keep: KeepConfig,
    parts: KeeperParts,
    start: Instant,
    route: Arc<Slot>,
    slots: Cache<Arc<str>, Arc<Slot>>,
    budget: Mutex<Budget>,
    fault: Mutex<Option<String>>,
    nudge: Notify,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("name", &self.0.name).field("provider", &self.0.source.kind()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("credential", &self.keeper.name).field("issued", &self.kept.issued).finish()
    }
}

impl std::ops::Deref for Held {
    type Target = Issued;

    fn deref(&self) -> &Issued {
        &self.kept.issued
    }
}

impl Credential {
    /// A credential, with the values that were kept of it; reads the disk where there is a shelf.
    #[must_use]
    pub fn new(name: Name, (source, scope): (Source, Scope), keep: &KeepConfig, parts: KeeperParts) -> Self {
        let margin = keep.margin.as_unix();
        let slots = Cache::builder().max_capacity(u64::from(keep.max_values)).time_to_idle(IDLE).build();
        parts.metrics.announce_credential(name.as_str(), source.kind());
        let keeper = Arc::new(Keeper {
            name,
            source,
            scope,
            keep: keep.clone(),
            parts,
            start: Instant::now(),
            route: Arc::new(Slot::new(None, margin)),
            slots,
            budget: Mutex::new(Budget::new(keep.calls_burst, keep.calls_per_minute, scope != Scope::Route)),
            fault: Mutex::default(),
            nudge: Notify::new(),
        });
        keeper.restore();
        if keeper.scope == Scope::Route && matches!(keeper.source, Source::Mint(_)) {
            keeper.poke(&keeper.route, true);
        }
        Self(keeper)
    }

    /// Its name in the config.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// What one value serves.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// What one value can be shown for.
    #[must_use]
    pub fn serves(&self) -> Serves {
        self.0.source.serves()
    }

    /// Whether it is the same credential, not one that says the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether routes can do with it: its first value is there, or it is not needed for being ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.keep.required || self.0.scope != Scope::Route || self.0.route.generation() > 0
    }

    /// The route's value if it is there: no lock, no wait, no call. What is made here, not by a vendor, is there from the start.
    #[must_use]
    pub fn ready(&self, now: UnixTime) -> Option<Held> {
        self.0.held(&self.0.route, now)
    }

    /// The value for a session or a resource, by the `key` that it has there; without one, the route's. Waits for a first
    /// value, at most as long as the config says; never while the vendor is known to be down. Dropping it disturbs nobody.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn get(&self, key: Option<&str>, now: UnixTime) -> Result<Held, Unavailable> {
        let slot = self.0.slot(key);
        if let Some(held) = self.0.held(&slot, now) {
            if (held.kept.renews <= now || slot.is_due()) && self.0.scope != Scope::Route {
                self.0.poke(&slot, false);
            }
            return Ok(held);
        }
        self.0.wait(&slot, now, 0).await
    }

    /// The same for an upload that begins and goes with one value to its end: one with `least` seconds left, or half of its whole life
    /// where that is less. Where the vendor gives no other now, the one that is there.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn get_lasting(&self, key: Option<&str>, now: UnixTime, least: i64) -> Result<Held, Unavailable> {
        let held = self.get(key, now).await?;
        if held.lasts(now, least) {
            return Ok(held);
        }
        held.slot.lock().renew_now(self.0.now());
        Ok(self.0.wait(&held.slot, now, held.kept.generation).await.unwrap_or(held))
    }

    /// Lets go of the value of a session or resource, and withdraws it at the vendor where that can be done.
    pub fn forget(&self, key: &str) {
        if let Some(slot) = self.0.slots.remove(key) {
            self.0.withdraw(&slot);
        }
    }

    /// Calls for another value, at once. Of sessions and resources, each is renewed when it is next used.
    pub fn renew(&self) {
        let now = self.0.now();
        self.0.route.lock().renew_now(now);
        for (_, slot) in &self.0.slots {
            slot.lock().renew_now(now);
            slot.make_due();
        }
        self.0.nudge.notify_one();
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self, wall: UnixTime) -> Status {
        self.0.status(wall)
    }

    /// Puts into the metrics how it is doing.
    pub fn observe(&self, now: UnixTime) {
        let (status, metrics, name) = (self.status(now), &self.0.parts.metrics, self.0.name.as_str());
        for state in State::ALL.map(State::as_str) {
            metrics.credential_state.with_label_values(&[name, state]).set(i64::from(state == status.state));
        }
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let end = match self.0.route.lock().until().map(|(until, _)| until) {
            Some(UnixTime::MAX) => f64::INFINITY,
            Some(until) => until.0 as f64,
            None => 0.0,
        };
        metrics.credential_expiry.with_label_values(&[name]).set(end);
        metrics.credential_values.with_label_values(&[name]).set(i64::try_from(status.values).unwrap_or(i64::MAX));
    }

    /// Keeps the route's value fresh, for ever. One such task a credential; it ends when it is dropped.
    pub fn keep(&self) -> Task {
        let keeper = self.0.clone();
        Box::pin(async move { keeper.run().await })
    }

    /// Withdraws at the vendor all values that are held here, if the config says so. For a shutdown in peace. What a fleet
    /// shares is left alone: the others go on with it.
    pub async fn leave(&self) {
        if self.0.keep.revoke_on_shutdown && self.0.parts.fleet.is_none() {
            self.0.withdraw_all().await;
        }
    }
}

impl Held {
    /// Whether it is a value of this credential, not of one that says the same.
    #[must_use]
    pub fn is_of(&self, credential: &Credential) -> bool {
        Arc::ptr_eq(&self.keeper, &credential.0)
    }

    /// Whether both are values of one credential.
    #[must_use]
    pub fn is_same_credential(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keeper, &other.keeper)
    }

    /// The name of its credential.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.keeper.name
    }

    /// What it can be shown for.
    #[must_use]
    pub fn serves(&self) -> Serves {
        self.keeper.source.serves()
    }

    /// Whether it may still be used, whatever has become of its credential since.
    #[must_use]
    pub fn is_usable(&self, now: UnixTime) -> bool {
        self.kept.is_usable(Now { wall: now, ..self.keeper.now() })
    }

    fn lasts(&self, now: UnixTime, least: i64) -> bool {
        let (until, whole) = (self.kept.until.0, self.kept.until.0.since(self.kept.issued.since));
        until.since(now) >= least.min(whole / 2)
    }

    /// The upstream does not take this value. It is used no more, and one call for another begins; a value that has been
    /// replaced since is left in peace, and so is one that follows a rejected one closely. Gives the one to try once more with:
    /// another than this, waited for as long as the config says.
    ///
    /// # Errors
    /// [`Unavailable`] when there is none, or none would be better.
    pub async fn rejected(&self, now: UnixTime) -> Result<Self, Unavailable> {
        use super::state::Rejection;
        let none = Unavailable { retry_after: Duration::from_secs(1) };
        if matches!(&self.keeper.source, Source::Mint(mint) if !mint.renews()) {
            return Err(none);
        }
        let said = self.slot.rejected(self.kept.generation, self.keeper.now());
        self.keeper.count_rejection(said);
        if said == Rejection::Kept {
            return Err(none);
        }
        match self.keeper.held(&self.slot, now) {
            Some(held) => Ok(held),
            None => self.keeper.wait(&self.slot, now, self.kept.generation).await,
        }
    }
}

impl Keeper {
    fn now(&self) -> Now {
        Now { wall: self.parts.clock.now(), run: self.start.elapsed() }
    }

    /// Takes up what was kept before a restart.
    fn restore(&self) {
        let Some(shelf) = &self.parts.shelf else { return };
        let now = self.now();
        match shelf.all(&self.name, now.wall) {
            Ok(kept) => {
                for (key, issued) in kept.into_iter().filter(|(key, _)| key.is_some() == (self.scope != Scope::Route)) {
                    self.slot(key.as_deref()).restore(issued, now, fastrand::f64());
                }
            }
            Err(fault) => tracing::warn!(credential = %self.name, %fault, "what was kept of the credential cannot be read"),
        }
    }

    fn slot(&self, key: Option<&str>) -> Arc<Slot> {
        match key.filter(|_| self.scope != Scope::Route) {
            None => self.route.clone(),
            Some(key) => match self.slots.get(key) {
                Some(slot) => slot,
                None => {
                    let key: Arc<str> = key.into();
                    self.slots.get_with(key.clone(), || Arc::new(Slot::new(Some(key), self.keep.margin.as_unix())))
                }
            },
        }
    }

    fn held(self: &Arc<Self>, slot: &Arc<Slot>, now: UnixTime) -> Option<Held> {
        let kept = slot.usable(Now { wall: now, run: self.start.elapsed() })?;
        Some(Held { keeper: self.clone(), slot: slot.clone(), kept })
    }

    /// Waits for what a call brings, if it makes sense: a value of a later generation than `after`.
    async fn wait(self: &Arc<Self>, slot: &Arc<Slot>, wall: UnixTime, after: u64) -> Result<Held, Unavailable> {
        let mut seen = slot.subscribe();
        let deadline = Instant::now() + self.keep.wait.0;
        // Whoever begins a call hears what comes of it; the others only where the last one was good.
        let begun = self.poke(slot, true) == Poked::Begun;
        loop {
            seen.mark_unchanged();
            // The wall clock may have moved while this waited.
            let now = self.now();
            if let Some(held) = self.held(slot, now.wall.max(wall)).filter(|held| held.kept.generation > after) {
                return Ok(held);
            }
            let (hopeful, retry_after) = {
                let machine = slot.lock();
                (machine.hopeful() || (begun && machine.calling()), machine.retry_after(now))
            };
            if !hopeful || tokio::time::timeout_at(deadline, seen.changed()).await.is_err() {
                return Err(Unavailable { retry_after });
            }
        }
    }

    async fn run(self: Arc<Self>) {
        if self.scope != Scope::Route {
            return std::future::pending().await;
        }
        loop {
            let rest = match self.poke(&self.route, false) {
                Poked::Rest(Some(rest)) => rest.min(LOOK),
                Poked::Rest(None) | Poked::Begun => LOOK,
            };
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.nudge.notified() => {}
            }
        }
    }

    fn status(&self, wall: UnixTime) -> Status {
        let now = Now { wall, ..self.now() };
        let machine = self.route.lock();
        let fault = lock(&self.fault).clone();
        let (state, failures) = match self.scope {
            Scope::Route => (machine.state(now), machine.failures()),
            _ if fault.is_some() => (State::Stale, 1),
            _ => (State::Fresh, 0),
        };
        self.slots.run_pending_tasks();
        let shown = |time: Option<UnixTime>| time.filter(|time| *time != UnixTime::MAX);
        Status {
            name: self.name.clone(),
            provider: self.source.kind(),
            scope: self.scope,
            state: state.as_str(),
            expires: shown(machine.until().map(|(until, _)| until)),
            renews: shown(machine.renews_at()),
            failures,
            fault,
            values: self.slots.entry_count(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

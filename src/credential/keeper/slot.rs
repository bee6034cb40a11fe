//! One value with its machine, and those who wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::super::provider::{Issued, Refused};
use super::super::state::{Life, Machine, Now, Rejection};
use super::lock;
use crate::clock::UnixTime;

/// A value that serves.
pub(super) struct Kept {
    pub(super) issued: Issued,
    /// First moment at which it is not used, by both clocks.
    pub(super) until: (UnixTime, Duration),
    /// When another one is called for.
    pub(super) renews: UnixTime,
    pub(super) generation: u64,
}

impl Kept {
    /// Whether it may be used: not where the wall clock was set back, either.
    pub(super) fn is_usable(&self, now: Now) -> bool {
        now.wall < self.until.0 && now.run < self.until.1
    }
}

pub(super) struct Slot {
    pub(super) key: Option<Arc<str>>,
    kept: ArcSwapOption<Kept>,
    /// The last value, whatever its state, for what came with it.
    last: Mutex<Option<Issued>>,
    machine: Mutex<Machine>,
    due: AtomicBool,
    seen: watch::Sender<u64>,
}

impl Slot {
    pub(super) fn new(key: Option<Arc<str>>, margin: i64) -> Self {
        Self {
            key,
            kept: ArcSwapOption::empty(),
            last: Mutex::default(),
            machine: Mutex::new(Machine::new(margin)),
            due: AtomicBool::new(false),
            seen: watch::Sender::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    pub(super) fn generation(&self) -> u64 {
        self.lock().generation()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.seen.subscribe()
    }

    /// The value, if it may be used.
    pub(super) fn usable(&self, now: Now) -> Option<Arc<Kept>> {
        self.kept.load_full().filter(|kept| kept.is_usable(now))
    }

    /// The value before the next one.
    pub(super) fn previous(&self) -> Option<Issued> {
        lock(&self.last).clone()
    }

    /// The vendor does not take what came with the last value for getting the next one.
    pub(super) fn forget_renewal(&self) {
        if let Some(last) = &mut *lock(&self.last) {
            last.renewal = None;
        }
    }

    /// Whether somebody has asked for another value before its time.
    pub(super) fn is_due(&self) -> bool {
        self.due.load(Ordering::Acquire)
    }

    pub(super) fn make_due(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Takes up a value from before a restart, as far as it is of use still.
    pub(super) fn restore(&self, issued: Issued, now: Now, chance: f64) {
        let mut machine = self.lock();
        let life = Life { since: issued.since, expires: issued.expires };
        if machine.restored(life, now, chance) {
            self.publish(&machine, issued);
        } else {
            *lock(&self.last) = Some(issued);
        }
    }

    /// Takes what a call has brought, and wakes all who wait.
    pub(super) fn settle(&self, outcome: Result<Issued, Refused>, now: Now, chance: f64) -> Result<(), Refused> {
        let settled = {
            let mut machine = self.lock();
            match outcome {
                Err(refused) => {
                    machine.failed(&refused, now, chance);
                    Err(refused)
                }
                Ok(issued) => {
                    let life = Life { since: issued.since, expires: issued.expires };
                    machine.got(life, now, chance).map(|()| self.publish(&machine, issued))
                }
            }
        };
        self.seen.send_modify(|seen| *seen += 1);
        settled
    }

    /// With the machine locked, so that no rejection falls between.
    fn publish(&self, machine: &Machine, issued: Issued) {
        *lock(&self.last) = Some(issued.clone());
        let kept = Arc::new(Kept {
            issued,
            until: machine.until().unwrap_or((UnixTime::MIN, Duration::ZERO)),
            renews: machine.renews_at().unwrap_or(UnixTime::MAX),
            generation: machine.generation(),
        });
        self.due.store(false, Ordering::Release);
        self.kept.store(Some(kept));
    }

    /// The upstream does not take a value.
    pub(super) fn rejected(&self, generation: u64, now: Now) -> Rejection {
        let mut machine = self.lock();
        let said = machine.rejected(generation, now);
        if said == Rejection::Invalidated {
            self.kept.store(None);
        }
        said
    }

    /// The value, taken out for good.
    pub(super) fn take(&self) -> Option<Issued> {
        self.kept.store(None);
        lock(&self.last).take()
    }
}

//! What is remembered of the file, so that requests are decided without reading it.
//!
//! Bounded; ids that are not there are remembered as well, or guessing would cost a read each. A
//! reader that fills an entry and the writer that changes it hold the same lock meanwhile: what was
//! read before a change cannot be put in place after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::Fault;
use super::book::Place;
use super::record::{Kind, Record};

/// Locks, so that fills of different ids seldom wait for one another.
const LOCKS: usize = 64;

/// Records by kind and id; the id is compared in full.
pub(super) struct Memory {
    entries: Cache<(Kind, Arc<str>), Option<Arc<Record>>, ahash::RandomState>,
    locks: Vec<Mutex<()>>,
}

impl Memory {
    pub(super) fn new(most: u64) -> Self {
        // By age alone: what was just fetched for somebody must not be turned away for what is asked for often.
        let entries =
            Cache::builder().max_capacity(most).eviction_policy(EvictionPolicy::lru()).build_with_hasher(ahash::RandomState::new());
        Self { entries, locks: (0..LOCKS).map(|_| Mutex::new(())).collect() }
    }

    /// What is remembered: `None` when nothing is, `Some(None)` when it is known not to be there.
    pub(super) fn get(&self, kind: Kind, id: &Arc<str>) -> Option<Option<Arc<Record>>> {
        self.entries.get(&(kind, id.clone()))
    }

    /// Reads and remembers.
    pub(super) fn fill(
        &self,
        kind: Kind,
        id: Arc<str>,
        place: &Place,
        read: impl FnOnce() -> Result<Option<Record>, Fault>,
    ) -> Result<Option<Arc<Record>>, Fault> {
        let _held = self.lock(place);
        let record = read()?.map(Arc::new);
        self.entries.insert((kind, id), record.clone());
        Ok(record)
    }

    /// Remembers what was read, by somebody who reads and changes in turns.
    pub(super) fn keep(&self, kind: Kind, id: Arc<str>, place: &Place, record: Option<Arc<Record>>) {
        let _held = self.lock(place);
        self.entries.insert((kind, id), record);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Takes in a change that was committed.
    pub(super) fn changed(&self, kind: Kind, id: &Arc<str>, place: &Place, now: Option<Arc<Record>>) {
        let _held = self.lock(place);
        match now {
            Some(record) => self.entries.insert((kind, id.clone()), Some(record)),
            // Not remembered as missing: what a sweep takes away is not asked for again.
            None => self.entries.invalidate(&(kind, id.clone())),
        }
    }

    fn lock(&self, place: &Place) -> MutexGuard<'_, ()> {
        self.locks[usize::from(place.0[16]) % LOCKS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Sessions by id, in shards of their own locks, so that children of different sessions do not meet.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use super::super::{Session, SessionId};

/// A power of two, some times the number of cores.
const SHARDS: usize = 64;

type Shard = HashMap<SessionId, Arc<Session>, ahash::RandomState>;

/// All sessions, ended ones included.
pub(super) struct Shards(Vec<RwLock<Shard>>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

impl Shards {
    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.read(id).get(&id).cloned()
    }

    pub(super) fn put(&self, session: Arc<Session>) {
        self.write(session.id).insert(session.id, session);
    }

    /// Removes it if it has ended.
    pub(super) fn forget(&self, id: SessionId) {
        let mut shard = self.write(id);
        if shard.get(&id).is_some_and(|session| session.ended().is_some()) {
            shard.remove(&id);
        }
    }

    pub(super) fn select(&self, which: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut found = Vec::new();
        for shard in &self.0 {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            found.extend(shard.values().filter(|session| which(session)).cloned());
        }
        found
    }

    fn read(&self, id: SessionId) -> RwLockReadGuard<'_, Shard> {
        self.0[shard_of(id)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, id: SessionId) -> RwLockWriteGuard<'_, Shard> {
        self.0[shard_of(id)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last byte of an id is random.
fn shard_of(id: SessionId) -> usize {
    usize::from(id.as_bytes()[15]) % SHARDS
}

//! Remembered grants: which tokens were found good, and what they allow.
//!
//! Only what [`Scheme::open`](crate::token::Scheme::open) said is remembered, and only when it said
//! yes: refused tokens could fill the memory with what callers make up. An entry is void as soon as
//! one of its scheme's key sets is replaced. It never says that a token is valid *now*.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::token::{Grant, KeySource, Scheme};

/// Good tokens by the hash of scheme and text; the text itself is compared on every hit.
pub(super) struct Remembered {
    entries: Option<Cache<u64, Arc<Entry>, ahash::RandomState>>,
    hasher: ahash::RandomState,
}

/// One good token.
pub(super) struct Entry {
    /// Held, so that the address it is told apart by is not given to another scheme.
    scheme: Arc<dyn Scheme>,
    pub(super) token: Arc<str>,
    pub(super) grant: Arc<Grant>,
    keys: Vec<(KeySource, u64)>,
}

impl Entry {
    /// Every key set and its count must be read before the token is opened: a set replaced meanwhile then voids the entry.
    pub(super) fn keys_of(scheme: &dyn Scheme) -> Vec<(KeySource, u64)> {
        scheme.key_sources().into_iter().map(|keys| (keys.generation(), keys)).map(|(generation, keys)| (keys, generation)).collect()
    }

    pub(super) fn new(scheme: Arc<dyn Scheme>, token: &str, grant: Grant, keys: Vec<(KeySource, u64)>) -> Self {
        Self { scheme, token: token.into(), grant: Arc::new(grant), keys }
    }

    fn is_for(&self, scheme: &Arc<dyn Scheme>, token: &str) -> bool {
        address(&self.scheme) == address(scheme) && *self.token == *token
    }

    fn is_current(&self) -> bool {
        self.keys.iter().all(|(keys, generation)| keys.generation() == *generation)
    }
}

/// Schemes are told apart by where they are: after a reload every scheme is another one.
fn address(scheme: &Arc<dyn Scheme>) -> usize {
    Arc::as_ptr(scheme).cast::<()>() as usize
}

impl Remembered {
    pub(super) fn new(most: u64, for_at_most: Duration) -> Self {
        let hasher = ahash::RandomState::new();
        let wanted = most > 0 && !for_at_most.is_zero();
        let cache = || Cache::builder().max_capacity(most).time_to_live(for_at_most).build_with_hasher(hasher.clone());
        Self { entries: wanted.then(cache), hasher }
    }

    /// The entry of `token`, if it is remembered and its keys are still the ones it was verified with.
    pub(super) fn get(&self, scheme: &Arc<dyn Scheme>, token: &str) -> Option<Arc<Entry>> {
        let entries = self.entries.as_ref()?;
        entries.get(&self.key(scheme, token)).filter(|entry| entry.is_for(scheme, token) && entry.is_current())
    }

    pub(super) fn put(&self, entry: &Arc<Entry>) {
        if let Some(entries) = &self.entries {
            entries.insert(self.key(&entry.scheme, &entry.token), entry.clone());
        }
    }

    /// How many tokens are remembered, about.
    pub(super) fn len(&self) -> u64 {
        self.entries.as_ref().map_or(0, Cache::entry_count)
    }

    /// A keyed hash: which tokens share one cannot be known outside. Two that do displace each other, no more.
    fn key(&self, scheme: &Arc<dyn Scheme>, token: &str) -> u64 {
        self.hasher.hash_one((address(scheme), token))
    }
}

//! The signing keys of the ledger, as schemes use them: there at once, gone at once.
//!
//! Each account's keys are one [`KeySource`], replaced before the change that made or withdrew a key is
//! acknowledged. The newest key stands first, so that it is the one that signs. A key that is being
//! retired stays only with its public half: it verifies, and nobody signs with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::SigningKey;
use super::{Account, Body, Change, Fault, Follower, Kind, Ledger, Record};
use crate::token::{Algorithm, Key, KeySet, KeySource};

/// All signing keys.
#[derive(Default)]
pub struct KeyRing(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    keys: HashMap<Account, Vec<Held>>,
    sources: Vec<(Account, Option<Algorithm>, KeySource)>,
}

struct Held {
    record: Arc<Record>,
    key: Arc<Key>,
}

impl KeyRing {
    /// The keys of a ledger, kept as it changes.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn of(ledger: &Ledger) -> Result<Arc<Self>, Fault> {
        let ring = Arc::new(Self::default());
        let follower: Arc<dyn Follower> = ring.clone();
        ledger.follow(&follower, Kind::SigningKey)?;
        Ok(ring)
    }

    /// The keys of `account`, only those of one algorithm if it is named. The same source for the same words.
    #[must_use]
    pub fn source(&self, account: &Account, algorithm: Option<Algorithm>) -> KeySource {
        let mut ring = self.lock();
        if let Some((.., source)) = ring.sources.iter().find(|(of, only, _)| of == account && *only == algorithm) {
            return source.clone();
        }
        let source = KeySource::new(ring.set(account, algorithm));
        ring.sources.push((account.clone(), algorithm, source.clone()));
        source
    }

    /// The public halves as JWKs, of all accounts or of one.
    #[must_use]
    pub fn public_jwks(&self, account: Option<&Account>) -> Vec<String> {
        let ring = self.lock();
        let of = ring.keys.iter().filter(|(of, _)| account.is_none_or(|account| account == *of)).flat_map(|(_, held)| held);
        of.filter_map(|held| signing_key(&held.record)?.public_jwk.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for KeyRing {
    fn follow(&self, changes: &[Change]) {
        let mut changed: Vec<&Account> = Vec::new();
        let mut ring = self.lock();
        for change in changes.iter().filter(|change| change.kind == Kind::SigningKey) {
            match &change.now {
                Some(record) => ring.take(record),
                None => ring.forget(&change.account, &change.id),
            }
            if !changed.contains(&&change.account) {
                changed.push(&change.account);
            }
        }
        for account in changed {
            ring.renew(account);
        }
    }

    fn start_over(&self, records: &[Arc<Record>]) {
        let mut ring = self.lock();
        let before: Vec<Account> = ring.keys.drain().map(|(account, _)| account).collect();
        records.iter().filter(|record| record.kind() == Kind::SigningKey).for_each(|record| ring.take(record));
        let accounts: std::collections::BTreeSet<Account> = before.into_iter().chain(ring.keys.keys().cloned()).collect();
        accounts.iter().for_each(|account| ring.renew(account));
    }
}

impl Ring {
    fn take(&mut self, record: &Arc<Record>) {
        self.forget(&record.account, &record.id);
        match parse(record) {
            Some(key) => {
                let held = self.keys.entry(record.account.clone()).or_default();
                held.push(Held { record: record.clone(), key: Arc::new(key) });
                // Those that sign before those that only verify; the newest first.
                held.sort_by_key(|held| (is_retired(&held.record), std::cmp::Reverse(held.record.created)));
            }
            None => tracing::error!(account = record.account.as_str(), key = &*record.id, "a signing key of the ledger cannot be used"),
        }
    }

    fn forget(&mut self, account: &Account, id: &str) {
        if let Some(held) = self.keys.get_mut(account) {
            held.retain(|held| *held.record.id != *id);
        }
    }

    fn renew(&self, account: &Account) {
        for (_, algorithm, source) in self.sources.iter().filter(|(of, ..)| of == account) {
            source.replace(self.set(account, *algorithm));
        }
    }

    fn set(&self, account: &Account, algorithm: Option<Algorithm>) -> KeySet {
        let held = self.keys.get(account).into_iter().flatten();
        KeySet::shared(held.map(|held| held.key.clone()).filter(|key| algorithm.is_none_or(|only| key.algorithm() == only)).collect())
    }
}

fn signing_key(record: &Record) -> Option<&SigningKey> {
    if let Body::SigningKey(key) = &record.body { Some(key) } else { None }
}

fn is_retired(record: &Record) -> bool {
    signing_key(record).is_some_and(|key| key.retires.is_some())
}

fn parse(record: &Record) -> Option<Key> {
    let key = signing_key(record)?;
    let text = match (&key.public_jwk, key.retires) {
        (Some(public), Some(_)) => public.as_str(),
        _ => record.secret.as_ref()?.expose(),
    };
    let set = KeySet::parse(text.as_bytes(), Some(&record.id), Some(key.algorithm)).ok()?;
    let only = set.only()?;
    // A JWK brings its own id: the record's is the one that tokens name.
    (only.id().map(|id| &**id) == Some(&*record.id)).then(|| only.pinned(key.algorithm).ok())?
}

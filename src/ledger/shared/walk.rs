//! What followers hold, read from the store in steps between turns, so that nobody waits for the whole of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::{Change, Kind, Record};

/// A walk over all records of the kinds that are followed.
#[derive(Default)]
pub(super) struct Walk {
    /// How many of [`Kind::FOLLOWED`] are through.
    through: usize,
    from: u64,
    found: Vec<Arc<Record>>,
    /// What became of records since it began: a step that was made before says otherwise.
    since: HashMap<(Kind, Arc<str>), Option<Arc<Record>>>,
}

impl Walk {
    /// The next step: a kind, and where to go on in it. `None` at the end.
    pub(super) fn next(&self) -> Option<(Kind, u64)> {
        Kind::FOLLOWED.get(self.through).map(|kind| (*kind, self.from))
    }

    /// Takes in what a step found, and where the next one begins.
    pub(super) fn step(&mut self, (records, next): (Vec<Record>, u64)) {
        self.found.extend(records.into_iter().map(Arc::new));
        self.from = next;
        // A walk that is over begins anew.
        self.through += usize::from(next == 0);
    }

    /// Takes in what happened meanwhile.
    pub(super) fn note<'c>(&mut self, changes: impl Iterator<Item = &'c Change>) {
        let followed = changes.filter(|change| Kind::FOLLOWED.contains(&change.kind));
        self.since.extend(followed.map(|change| ((change.kind, change.id.clone()), change.now.clone())));
    }

    /// All that there is.
    pub(super) fn whole(self) -> Vec<Arc<Record>> {
        let Self { found, since, .. } = self;
        let untouched = found.into_iter().filter(|record| !since.contains_key(&(record.kind(), record.id.clone())));
        untouched.chain(since.values().flatten().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Account;
    use super::*;
    use crate::clock::UnixTime;
    use crate::ledger::Body;
    use crate::revocation::{Revocation, Target};

    const T: UnixTime = UnixTime(100);

    fn withdrawn(id: &str) -> Record {
        let revocation = Revocation { target: Target::TokenId(id.into()), since: T, until: T.plus(10) };
        Record::new(&Account::new("acme"), id, T, Body::Revoked(revocation))
    }

    fn change(id: &str, is_there: bool) -> Change {
        let record = Arc::new(withdrawn(id));
        let (kind, account, id) = (record.kind(), record.account.clone(), record.id.clone());
        Change { kind, account, id, now: is_there.then_some(record), ours: false }
    }

    #[test]
    fn what_happens_during_a_walk_holds_whatever_was_found_before() {
        let mut walk = Walk::default();
        assert_eq!(walk.next(), Some((Kind::SigningKey, 0)));
        walk.step((Vec::new(), 0));
        walk.step((vec![withdrawn("kept"), withdrawn("taken back")], 7));
        assert_eq!(walk.next(), Some((Kind::Revoked, 7)));
        walk.note([change("taken back", false), change("new", true)].iter());
        walk.step((vec![withdrawn("new")], 0));
        assert_eq!(walk.next(), None);
        let mut ids: Vec<_> = walk.whole().iter().map(|record| record.id.to_string()).collect();
        ids.sort();
        assert_eq!(ids, ["kept", "new"]);
    }
}

//! Changes of the ledger: how they are asked for, what they find, who has to know.

use std::sync::Arc;

use super::book::Place;
use super::record::{Account, Kind, Record};
use super::seal::Seal;
use crate::clock::UnixTime;

/// Longest id of a record in bytes.
pub const ID_MAX: usize = 512;

/// One change.
#[derive(Debug, Clone)]
pub enum Op {
    /// Adds a record; [`Fault::Exists`](super::Fault::Exists) when it is there.
    Create(Record),
    /// Adds a record, or takes the place of the one there.
    Put(Record),
    /// Takes the place of the account's own record; [`Fault::Missing`](super::Fault::Missing) when there is none.
    Replace(Record),
    /// Takes a record away; [`Fault::Missing`](super::Fault::Missing) when there is none of this account (or of any, for `None`).
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Arc<str>,
        /// Whose it must be.
        account: Option<Account>,
    },
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Now: what is over is not there.
    pub now: UnixTime,
    /// The changes.
    pub ops: Vec<Op>,
}

impl Batch {
    /// No change yet.
    #[must_use]
    pub fn at(now: UnixTime) -> Self {
        Self { now, ops: Vec::new() }
    }

    /// And [`Op::Create`].
    #[must_use]
    pub fn create(self, record: Record) -> Self {
        self.and(Op::Create(record))
    }

    /// And [`Op::Put`].
    #[must_use]
    pub fn put(self, record: Record) -> Self {
        self.and(Op::Put(record))
    }

    /// And [`Op::Replace`].
    #[must_use]
    pub fn replace(self, record: Record) -> Self {
        self.and(Op::Replace(record))
    }

    /// And [`Op::Delete`] of an account's own record.
    #[must_use]
    pub fn delete(self, account: &Account, kind: Kind, id: &str) -> Self {
        self.and(Op::Delete { kind, id: id.into(), account: Some(account.clone()) })
    }

    /// And one more change.
    #[must_use]
    pub fn and(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }
}

/// What a batch found in place: for each change, in order, the record that it replaced or took away.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What was there before.
    pub before: Vec<Option<Arc<Record>>>,
}

/// A change that was committed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The record's kind.
    pub kind: Kind,
    /// Its account.
    pub account: Account,
    /// Its id.
    pub id: Arc<str>,
    /// What is there now; `None` when it was deleted or is over.
    pub now: Option<Arc<Record>>,
    /// Whether this gateway made it.
    pub ours: bool,
}

/// Who has to know of changes before they are acknowledged. Called on the writer's thread: must be quick.
pub trait Follower: Send + Sync {
    /// Takes in what was committed.
    fn follow(&self, changes: &[Change]);

    /// Takes in all that there is of the kinds that are followed ([`Kind::FOLLOWED`]), in place of what it knew: changes of a
    /// shared ledger were missed, or its store was away for too long, and then this is nothing.
    fn start_over(&self, records: &[Arc<Record>]);
}

impl Op {
    fn id(&self) -> &Arc<str> {
        match self {
            Self::Create(record) | Self::Put(record) | Self::Replace(record) => &record.id,
            Self::Delete { id, .. } => id,
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        self.id().is_empty() || self.id().len() > ID_MAX
    }

    pub(super) fn is_too_deep(&self) -> bool {
        match self {
            Self::Create(record) | Self::Put(record) | Self::Replace(record) => record.body.is_too_deep(),
            Self::Delete { .. } => false,
        }
    }

    pub(super) fn place(&self, seal: &Seal) -> Place {
        match self {
            Self::Create(record) | Self::Put(record) | Self::Replace(record) => seal.place(record.kind(), &record.id),
            Self::Delete { kind, id, .. } => seal.place(*kind, id),
        }
    }
}

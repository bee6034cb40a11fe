//! What the store has still to be told, in the order in which it was meant.
//!
//! Errands are numbered, so that what was told is taken out by name: while a batch is under way the oldest may be dropped for
//! room, and others must not go in their place.

use std::collections::VecDeque;

use crate::revocation::Revocation;
use crate::session::{End, SessionId};

/// Most things that wait for the store to come back. Over it the oldest is dropped: it holds here, and ends by itself.
pub(super) const ERRANDS: usize = 100_000;
/// Most ends that are told at once.
const BATCH: usize = 256;

/// What the store has still to be told.
#[derive(Debug, Clone)]
pub(super) enum Errand {
    End(SessionId, End),
    Revoke(Revocation),
    Restore(Revocation),
}

impl Errand {
    pub(super) const fn end(&self) -> Option<(SessionId, End)> {
        match self {
            Self::End(id, end) => Some((*id, *end)),
            Self::Revoke(_) | Self::Restore(_) => None,
        }
    }
}

/// The queue of them.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: VecDeque<Errand>,
    /// The number of the first one that waits: how many left the queue before.
    first: usize,
}

impl Errands {
    pub(super) fn push(&mut self, errand: Errand) {
        if self.waiting.len() >= ERRANDS {
            self.waiting.pop_front();
            self.first += 1;
        }
        self.waiting.push_back(errand);
    }

    /// The next thing to tell, or several ends at once, and the number up to which that is. They stay until
    /// [`Errands::told`].
    pub(super) fn next(&self) -> (Vec<Errand>, usize) {
        let ends = self.waiting.iter().take(BATCH).take_while(|errand| errand.end().is_some()).count();
        let next: Vec<_> = self.waiting.iter().take(ends.max(1)).cloned().collect();
        let until = self.first + next.len();
        (next, until)
    }

    /// Takes out what was told: all before the number `until` that is still there.
    pub(super) fn told(&mut self, until: usize) {
        let done = until.saturating_sub(self.first).min(self.waiting.len());
        self.waiting.drain(..done);
        self.first += done;
    }
}

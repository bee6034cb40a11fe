//! An answer under way, as its session sees it.

use std::sync::Arc;

use super::{Gone, Session, Sessions};
use crate::clock::Clock;

/// One answer of a session. Its bytes count as they pass; it keeps the session alive, however long it takes, and stops with it.
#[derive(Debug)]
pub struct Viewing {
    session: Arc<Session>,
    sessions: Sessions,
    clock: Clock,
}

impl Viewing {
    /// An answer of `session`.
    #[must_use]
    pub fn new(session: Arc<Session>, sessions: Sessions, clock: Clock) -> Self {
        Self { session, sessions, clock }
    }

    /// So many bytes more are about to pass.
    ///
    /// # Errors
    /// Why the session may not have them.
    pub fn pass(&self, bytes: u64) -> Result<(), Gone> {
        self.sessions.go_on(&self.session, self.clock.now(), bytes)
    }
}

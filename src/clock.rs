//! The one reader of the wall clock.
//!
//! Rules never ask what time it is: they take a [`UnixTime`]. A [`Clock`] is handed to the shells
//! that serve requests; tests hand them a manual one and own the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, as JWT `NumericDate` counts them (RFC 7519 §2), whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// Before every other time: the lower end of an open window.
    pub const MIN: Self = Self(i64::MIN);
    /// After every other time: the upper end of an open window.
    pub const MAX: Self = Self(i64::MAX);

    /// This time moved by `seconds`, held at the ends instead of wrapping.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the time comes from. Clones of a manual clock share one time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until a test moves it.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A manual clock that shows `now`.
    #[must_use]
    pub fn manual(now: UnixTime) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.0)))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match self {
            Self::System => UnixTime(system_seconds()),
            Self::Manual(seconds) => UnixTime(seconds.load(Ordering::Acquire)),
        }
    }

    /// Puts a manual clock at `now`; the system clock cannot be set and stays as it is.
    pub fn set(&self, now: UnixTime) {
        if let Self::Manual(seconds) = self {
            seconds.store(now.0, Ordering::Release);
        }
    }
}

fn system_seconds() -> i64 {
    // A clock before 1970 reads as the epoch: every token is then "not yet valid", none is let in.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_held_at_its_ends() {
        assert_eq!(UnixTime::MAX.plus(1), UnixTime::MAX);
        assert_eq!(UnixTime::MIN.plus(-1), UnixTime::MIN);
        assert_eq!(UnixTime(10).since(UnixTime(4)), 6);
    }

    #[test]
    fn clones_of_a_manual_clock_share_one_time() {
        let clock = Clock::manual(UnixTime(5));
        let other = clock.clone();
        clock.set(UnixTime(9));
        assert_eq!(other.now(), UnixTime(9));
    }
}

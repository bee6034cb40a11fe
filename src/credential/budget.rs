//! How often a vendor is called, over all values of a credential: a bucket of calls, and a breaker.
//!
//! Pure: the time that has run is an argument. The breaker opens after [`FAILURES`] failed calls in a row, or for as long
//! as the vendor asks; when its time is over one call goes out, and the others wait for what comes of it.

use std::time::Duration;

use super::provider::Refused;
use super::state::LAST_WAIT;

/// Failed calls in a row that open the breaker.
pub const FAILURES: u32 = 5;

/// How long it is open first; doubled each time, up to [`LAST_WAIT`].
const FIRST_OPEN: Duration = Duration::from_secs(1);

/// Longest time that one probe holds the others back, should nobody hear of it again.
const PROBE: Duration = Duration::from_secs(30);

/// The calls of one credential.
#[derive(Debug)]
pub struct Budget {
    burst: f64,
    per_second: f64,
    calls: f64,
    filled: Duration,
    breaks: bool,
    failures: u32,
    closed_from: Duration,
}

impl Budget {
    /// `burst` calls at once, then `per_minute`. `breaks`: whether there are several values, which have no backoff in common
    /// but this.
    #[must_use]
    pub fn new(burst: u32, per_minute: u32, breaks: bool) -> Self {
        let burst = f64::from(burst.max(1));
        let per_second = f64::from(per_minute.max(1)) / 60.0;
        Self { burst, per_second, calls: burst, filled: Duration::ZERO, breaks, failures: 0, closed_from: Duration::ZERO }
    }

    /// Takes a call.
    ///
    /// # Errors
    /// How long until there may be one.
    pub fn take(&mut self, run: Duration) -> Result<(), Duration> {
        let shut = self.closed_from.saturating_sub(run);
        if !shut.is_zero() {
            return Err(shut);
        }
        let since = run.saturating_sub(self.filled);
        self.filled = self.filled.max(run);
        self.calls = since.as_secs_f64().mul_add(self.per_second, self.calls).min(self.burst);
        if self.calls < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.calls) / self.per_second));
        }
        self.calls -= 1.0;
        if self.breaks && self.failures >= FAILURES {
            self.closed_from = run + PROBE;
        }
        Ok(())
    }

    /// What came of a call.
    pub fn ended(&mut self, refused: Option<&Refused>, run: Duration) {
        let Some(refused) = refused else {
            self.failures = 0;
            self.closed_from = Duration::ZERO;
            return;
        };
        self.failures = self.failures.saturating_add(1);
        if !self.breaks {
            return;
        }
        let over = self.failures.checked_sub(FAILURES);
        let open =
            over.map_or(Duration::ZERO, |times| FIRST_OPEN.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(LAST_WAIT));
        let asked = match refused {
            Refused::Limited(Some(seconds)) => Duration::from_secs((*seconds).min(3600)),
            _ => Duration::ZERO,
        };
        self.closed_from = run + open.max(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn calls(budget: &mut Budget, until: u64) -> u32 {
        (0..until * 10).map(|tenth| u32::from(budget.take(Duration::from_millis(tenth * 100)).is_ok())).sum()
    }

    #[test]
    fn a_burst_and_then_so_many_a_minute() {
        let mut budget = Budget::new(5, 60, true);
        assert_eq!(calls(&mut budget, 10), 5 + 9);
        let wait = budget.take(at(10)).and_then(|()| budget.take(at(10))).expect_err("none left");
        assert!(wait <= at(1), "{wait:?}");
        assert_eq!((0..100).filter(|_| budget.take(at(1000)).is_ok()).count(), 5, "never more than the burst at once");
    }

    #[test]
    fn failures_in_a_row_leave_one_probe_at_a_time() {
        let mut budget = Budget::new(1000, 60_000, true);
        let down = Refused::Transient("down".into());
        for _ in 0..FAILURES {
            assert!(budget.take(at(0)).is_ok());
            budget.ended(Some(&down), at(0));
        }
        assert!(budget.take(at(0)).is_err());
        assert!(budget.take(at(1)).is_ok(), "the probe");
        assert!(budget.take(at(1)).is_err(), "only one");
        budget.ended(Some(&down), at(1));
        assert!(budget.take(at(2)).is_err() && budget.take(at(3)).is_ok(), "twice as long");
        budget.ended(None, at(3));
        assert!((0..100).all(|_| budget.take(at(3)).is_ok()));
    }

    #[test]
    fn a_vendor_that_asks_for_time_gets_it() {
        let mut budget = Budget::new(1000, 60_000, true);
        budget.ended(Some(&Refused::Limited(Some(60))), at(0));
        assert_eq!(calls(&mut budget, 60), 0);
        assert!(budget.take(at(60)).is_ok());
    }
}

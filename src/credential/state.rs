//! The life of one value: when it is renewed, how long it serves, when a failed call is tried again.
//!
//! Pure: time and chance are arguments. A value is used up to its end less the margin and never after,
//! by the wall clock and by the time that has run, whichever is first. There is at most one call at a time.
//! It is renewed at 0.6 to 0.8 of its life; a call that fails is tried again after a wait that doubles and is
//! drawn by chance, ever closer to the end while the old value still serves.

use std::time::Duration;

use super::provider::Refused;
use crate::clock::UnixTime;

/// Renewal begins between these shares of a life, by chance, so that many gateways do not come at once.
const RENEW_FROM: f64 = 0.6;
const RENEW_TO: f64 = 0.8;

/// The margin is at most this share of a life, or short lives would end before they are renewed.
const MARGIN_SHARE: i64 = 20;

/// Shortest wait before a failed call is tried again, and the first one's longest.
const LEAST_WAIT: Duration = Duration::from_millis(200);
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait after a failure. It bounds how late the vendor's return is seen.
pub const LAST_WAIT: Duration = Duration::from_secs(30);

/// Longest wait when the vendor refuses the account: somebody has to do something first.
pub const ACCOUNT_WAIT: Duration = Duration::from_secs(300);

/// Longest wait that a vendor can ask for.
const MOST_ASKED: u64 = 3600;

/// After a rejection, another one within this time counts as one of the same; doubled by each, up to the last.
const COOLDOWN: Duration = Duration::from_secs(2);
const LAST_COOLDOWN: Duration = Duration::from_secs(120);

/// The time, as people count it and as it has run since some start. The second never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the wall clock.
    pub wall: UnixTime,
    /// Since a start of the caller's.
    pub run: Duration,
}

/// How a value is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It serves, and nothing is to be done.
    Fresh,
    /// A call is under way.
    Renewing,
    /// It serves, and the last call has failed.
    Stale,
    /// There is none that may be used.
    Expired,
    /// There is none that may be used, and the vendor refuses the account.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Renewing, Self::Stale, Self::Expired, Self::Failed];

    /// Its word in metrics and listings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Renewing => "renewing",
            Self::Stale => "stale",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Call now; the machine counts the call as begun.
    Call,
    /// Nothing, for so long; `None`: until something happens.
    Rest(Option<Duration>),
}

/// What came of an upstream's rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// There is a newer value already.
    Replaced,
    /// The value is used no more, and another one is called for.
    Invalidated,
    /// The value stays: the one before it was rejected a moment ago, so another would not help.
    Kept,
}

/// When a value begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When it was got.
    pub since: UnixTime,
    /// When it ends; `None` where it has no end.
    pub expires: Option<UnixTime>,
}

#[derive(Debug)]
struct Current {
    /// First moment at which it is not used, by both clocks.
    until: UnixTime,
    until_run: Duration,
    renew: UnixTime,
    renew_run: Duration,
    rejected: bool,
}

/// One value's machine.
#[derive(Debug)]
pub struct Machine {
    margin: i64,
    current: Option<Current>,
    generation: u64,
    calling: bool,
    failures: u32,
    refused: bool,
    retry: Duration,
    rejections: u32,
    rejected_at: Option<Duration>,
}

impl Machine {
    /// A machine without a value, which wants one at once. `margin` in seconds.
    #[must_use]
    pub const fn new(margin: i64) -> Self {
        Self {
            margin,
            current: None,
            generation: 0,
            calling: false,
            failures: 0,
            refused: false,
            retry: Duration::ZERO,
            rejections: 0,
            rejected_at: None,
        }
    }

    /// Which value it is at; grows by one with each.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the value may be used.
    #[must_use]
    pub fn usable(&self, now: Now) -> bool {
        self.current.as_ref().is_some_and(|it| !it.rejected && now.wall < it.until && now.run < it.until_run)
    }

    /// First moment at which the value is not used, by both clocks; `None` without one.
    #[must_use]
    pub fn until(&self) -> Option<(UnixTime, Duration)> {
        self.current.as_ref().filter(|it| !it.rejected).map(|it| (it.until, it.until_run))
    }

    /// When the value is renewed, by the wall clock; `None` without one.
    #[must_use]
    pub fn renews_at(&self) -> Option<UnixTime> {
        self.current.as_ref().map(|it| it.renew)
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self, now: Now) -> State {
        match (self.usable(now), self.calling) {
            (_, true) => State::Renewing,
            (true, false) if self.failures > 0 => State::Stale,
            (true, false) => State::Fresh,
            (false, false) if self.refused => State::Failed,
            (false, false) => State::Expired,
        }
    }

    /// Whether a call is under way.
    #[must_use]
    pub const fn calling(&self) -> bool {
        self.calling
    }

    /// Whether a call is under way that may well succeed: the last one did, or there was none.
    #[must_use]
    pub const fn hopeful(&self) -> bool {
        self.calling && self.failures == 0
    }

    /// Calls that have failed since the last good one.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// What is to be done now.
    pub fn tick(&mut self, now: Now) -> Step {
        if self.calling {
            return Step::Rest(None);
        }
        if let Some(wait) = self.retry.checked_sub(now.run).filter(|wait| !wait.is_zero()) {
            return Step::Rest(Some(wait));
        }
        let rest = match &self.current {
            Some(it) if self.failures == 0 && self.usable(now) && now.wall < it.renew => it.renew_run.checked_sub(now.run),
            _ => None,
        };
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Step::Rest(Some(rest).filter(|rest| *rest < FOREVER));
        }
        self.calling = true;
        Step::Call
    }

    /// A call has brought a value. `chance` is 0 to 1.
    ///
    /// # Errors
    /// When it cannot be used at all, which counts as a failed call.
    pub fn got(&mut self, life: Life, now: Now, chance: f64) -> Result<(), Refused> {
        let Some(current) = Current::new(life, self.margin, now, chance) else {
            let refused = Refused::Malformed("the value that came is at its end already".into());
            self.failed(&refused, now, chance);
            return Err(refused);
        };
        self.current = Some(current);
        self.generation += 1;
        self.calling = false;
        self.failures = 0;
        self.refused = false;
        self.retry = Duration::ZERO;
        Ok(())
    }

    /// A value from before a restart is there. Gives whether it is of use; where not, nothing has happened.
    pub fn restored(&mut self, life: Life, now: Now, chance: f64) -> bool {
        let Some(current) = Current::new(life, self.margin, now, chance) else { return false };
        self.current = Some(current);
        self.generation += 1;
        true
    }

    /// A call has brought none. `chance` is 0 to 1.
    pub fn failed(&mut self, why: &Refused, now: Now, chance: f64) {
        self.calling = false;
        self.failures = self.failures.saturating_add(1);
        self.refused = matches!(why, Refused::Account { .. });
        let drawn = self.backoff(now, chance);
        let asked = match why {
            Refused::Limited(Some(seconds)) => {
                let asked = Duration::from_secs((*seconds).min(MOST_ASKED));
                // A tenth more by chance, or all who were told the same would come together.
                asked + asked.mul_f64(chance.clamp(0.0, 1.0) / 10.0).min(Duration::from_secs(5))
            }
            _ => Duration::ZERO,
        };
        self.retry = now.run + drawn.max(asked);
    }

    /// The call that [`Self::tick`] asked for was not made, and is not to be before `wait` is over.
    pub fn postponed(&mut self, wait: Duration, now: Now) {
        self.calling = false;
        self.retry = now.run + wait;
    }

    fn backoff(&self, now: Now, chance: f64) -> Duration {
        let last = if self.refused { ACCOUNT_WAIT } else { LAST_WAIT };
        let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let ceiling = match &self.current {
            // There is a try in the second half of what is left, however little that is.
            Some(it) if self.usable(now) => {
                let left = u64::try_from(it.until.since(now.wall)).unwrap_or(0);
                doubled.min(last).min((Duration::from_secs(left) / 2).max(FIRST_WAIT))
            }
            _ => doubled.min(last),
        };
        LEAST_WAIT + (ceiling - LEAST_WAIT).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// The upstream does not take the value of `generation`.
    pub fn rejected(&mut self, generation: u64, now: Now) -> Rejection {
        if generation != self.generation {
            return Rejection::Replaced;
        }
        let Some(current) = self.current.as_mut().filter(|it| !it.rejected) else { return Rejection::Invalidated };
        let quiet = self.rejected_at.map_or(Duration::MAX, |at| now.run.saturating_sub(at));
        let cooldown = COOLDOWN.saturating_mul(1_u32.checked_shl(self.rejections).unwrap_or(u32::MAX)).min(LAST_COOLDOWN);
        if self.rejections > 0 && quiet < cooldown {
            return Rejection::Kept;
        }
        // After a long quiet it is news again.
        self.rejections = if quiet > LAST_COOLDOWN * 2 { 1 } else { self.rejections.saturating_add(1) };
        self.rejected_at = Some(now.run);
        current.rejected = true;
        Rejection::Invalidated
    }

    /// Somebody wants another value: it is called for at the next [`Self::tick`], unless the vendor has asked for a wait.
    pub fn renew_now(&mut self, now: Now) {
        if let Some(current) = &mut self.current {
            current.renew_run = now.run;
        }
    }

    /// How long until the next call may bring a value, for those who are turned away. At least a second.
    #[must_use]
    pub fn retry_after(&self, now: Now) -> Duration {
        self.retry.saturating_sub(now.run).max(FIRST_WAIT)
    }
}

/// Longer than any wait: no end.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64 * 100);

impl Current {
    fn new(life: Life, margin: i64, now: Now, chance: f64) -> Option<Self> {
        let Some(expires) = life.expires else {
            return Some(Self {
                until: UnixTime::MAX,
                until_run: Duration::MAX,
                renew: UnixTime::MAX,
                renew_run: Duration::MAX,
                rejected: false,
            });
        };
        let whole = expires.since(life.since);
        let until = expires.plus(-margin.min(whole / MARGIN_SHARE).max(0));
        let left = u64::try_from(until.since(now.wall)).ok().filter(|left| *left > 0 && whole > 0)?;
        let share = RENEW_FROM + (RENEW_TO - RENEW_FROM) * chance.clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "seconds of a life")]
        let renew = life.since.plus((whole as f64 * share).round() as i64);
        // What was kept over a restart may be past that already.
        let ahead = u64::try_from(renew.since(now.wall)).unwrap_or(0);
        let run = |seconds: u64| now.run.saturating_add(Duration::from_secs(seconds));
        Some(Self { until, until_run: run(left), renew, renew_run: run(ahead), rejected: false })
    }
}

#[cfg(test)]
mod tests;

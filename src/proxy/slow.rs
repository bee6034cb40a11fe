//! Callers that only collect refusals are slowed, so that bad signatures cannot buy CPU.
//!
//! Each address (IPv6: each /64) has a budget of refused tokens. One that has used it up is refused
//! before any token of its is verified, until time has given some back. Bounded in memory: the
//! least recently refused are forgotten first, which costs at most their budget anew.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;

/// Addresses tracked at most.
const TRACKED: u64 = 65_536;

/// The budgets.
pub struct Slow {
    /// Microseconds that one refusal costs.
    cost: u64,
    /// Microseconds of refusals that may be ahead of time.
    burst: u64,
    /// Per address: when its refusals so far are paid off, in microseconds since `started`.
    paid: Cache<[u8; 8], Arc<AtomicU64>, ahash::RandomState>,
    started: Instant,
}

impl Slow {
    /// Budgets of `burst` refusals at once and `per_second` after that. 0 per second: nobody is slowed.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        let cost = if per_second == 0 { 0 } else { 1_000_000 / u64::from(per_second) };
        let burst = cost.saturating_mul(u64::from(burst));
        let idle = Duration::from_micros(burst.max(1_000_000)) * 2;
        let paid = Cache::builder().max_capacity(TRACKED).time_to_idle(idle).build_with_hasher(ahash::RandomState::new());
        Self { cost, burst, paid, started: Instant::now() }
    }

    /// How long this caller has to wait, if its budget is used up.
    #[must_use]
    pub fn wait(&self, ip: IpAddr) -> Option<Duration> {
        self.wait_at(ip, self.micros())
    }

    /// Notes a refused token.
    pub fn refused(&self, ip: IpAddr) {
        self.refused_at(ip, self.micros());
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn wait_at(&self, ip: IpAddr, now: u64) -> Option<Duration> {
        let paid = self.paid.get(&key(ip))?.load(Ordering::Acquire);
        let free = paid.saturating_sub(self.burst);
        (free > now).then(|| Duration::from_micros(free - now))
    }

    fn refused_at(&self, ip: IpAddr, now: u64) {
        if self.cost == 0 {
            return;
        }
        let paid = self.paid.get_with(key(ip), || Arc::new(AtomicU64::new(0)));
        let add = |paid: u64| Some(paid.max(now).saturating_add(self.cost));
        let _ = paid.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }
}

/// IPv4 whole, IPv6 by its /64: that is one subscriber.
fn key(ip: IpAddr) -> [u8; 8] {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [0xff, 0xff, 0xff, 0xff, a, b, c, d]
        }
        IpAddr::V6(v6) => {
            let mut prefix = [0; 8];
            prefix.copy_from_slice(&v6.octets()[..8]);
            prefix
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_budget_is_used_up_and_comes_back() {
        let slow = Slow::new(5, 1);
        let ip = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..5 {
            assert_eq!(slow.wait_at(ip, 0), None);
            slow.refused_at(ip, 0);
        }
        slow.refused_at(ip, 0);
        assert_eq!(slow.wait_at(ip, 0), Some(Duration::from_secs(1)));
        assert_eq!(slow.wait_at(ip, SECOND), None);
        assert_eq!(slow.wait_at(IpAddr::from([192, 0, 2, 2]), 0), None);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_caller() {
        let slow = Slow::new(0, 1);
        slow.refused_at("2001:db8::1".parse().expect("address"), 0);
        assert!(slow.wait_at("2001:db8::2".parse().expect("address"), 0).is_some());
        assert!(slow.wait_at("2001:db8:0:1::1".parse().expect("address"), 0).is_none());
    }

    #[test]
    fn zero_per_second_slows_nobody() {
        let slow = Slow::new(0, 0);
        slow.refused_at(IpAddr::from([192, 0, 2, 1]), 0);
        assert_eq!(slow.wait_at(IpAddr::from([192, 0, 2, 1]), 0), None);
    }
}

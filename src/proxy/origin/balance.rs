//! Choosing an endpoint, leaving one out, and how often a request may be tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use http::HeaderValue;
use prometheus::{IntCounter, IntGauge};
use rustls::pki_types::ServerName;

use super::OriginConfig;
use crate::metrics::Metrics;
use crate::name::Name;

/// An origin with its endpoints and their state.
pub struct Origin {
    /// Its name.
    pub name: Name,
    /// Tells origins apart in the pools, also across reloads.
    pub id: u64,
    /// Its config.
    pub config: OriginConfig,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The `Host` it gets, unless that is the endpoint's or the caller's.
    pub fixed_host: Option<HeaderValue>,
    /// Its metrics.
    pub metrics: OriginMetrics,
    in_flight: AtomicUsize,
    budget: AtomicI64,
    /// The second that `spent` counts, since `started`.
    second: AtomicU64,
    spent: AtomicU32,
    started: Instant,
}

/// One address of an origin.
pub struct Endpoint {
    /// `http://host:port`, for logs and metrics.
    pub label: Arc<str>,
    /// Host name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// `host[:port]` for the `Host` header.
    pub authority: HeaderValue,
    /// TLS settings and the name to verify, for https.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    pub(super) ejected: IntGauge,
    in_flight: AtomicUsize,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Milliseconds since the origin was made; 0: not left out.
    until: AtomicU64,
}

/// Counters of one origin, resolved once.
pub struct OriginMetrics {
    metrics: Metrics,
    ok: [(u16, IntCounter); 3],
    retries: IntCounter,
    in_flight: IntGauge,
    name: Name,
}

impl OriginMetrics {
    pub(super) fn new(metrics: &Metrics, name: &Name) -> Self {
        let ok = [200_u16, 206, 304].map(|code| (code, metrics.upstream_requests.with_label_values(&[name.as_str(), &code.to_string()])));
        for reason in ["unreachable", "timeout", "tls", "broken", "busy"] {
            metrics.upstream_errors.with_label_values(&[name.as_str(), reason]);
        }
        Self {
            ok,
            retries: metrics.upstream_retries.with_label_values(&[name.as_str()]),
            in_flight: metrics.upstream_connections.with_label_values(&[name.as_str()]),
            name: name.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Counts an answer.
    pub fn answered(&self, status: http::StatusCode) {
        match self.ok.iter().find(|(code, _)| *code == status.as_u16()) {
            Some((_, counter)) => counter.inc(),
            None => self.metrics.upstream_requests.with_label_values(&[self.name.as_str(), status.as_str()]).inc(),
        }
    }

    /// Counts a failed exchange.
    pub fn failed(&self, reason: &str) {
        self.metrics.upstream_errors.with_label_values(&[self.name.as_str(), reason]).inc();
    }
}

/// Retries earned by each request, in thousandths: a fifth, as linkerd does.
const EARNED: i64 = 200;
/// What a retry costs.
const COST: i64 = 1000;
/// Most that can be saved up: a hundred retries.
const SAVED: i64 = 100 * COST;
/// Retries per second that are free, so that a quiet origin has some.
const FREE: u32 = 10;
/// An endpoint is left out at most this many times its first time.
const LONGEST: u32 = 10;

impl Origin {
    pub(super) fn new(
        parts: (Name, u64, OriginConfig),
        endpoints: Vec<Endpoint>,
        fixed_host: Option<HeaderValue>,
        metrics: &Metrics,
    ) -> Self {
        let (name, id, config) = parts;
        Self {
            metrics: OriginMetrics::new(metrics, &name),
            name,
            id,
            config,
            endpoints,
            fixed_host,
            in_flight: AtomicUsize::new(0),
            budget: AtomicI64::new(0),
            second: AtomicU64::new(0),
            spent: AtomicU32::new(0),
            started: Instant::now(),
        }
    }

    /// A place among the requests in flight, given back by being dropped; `None` when all are taken.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Slot> {
        let limit = self.config.max_connections;
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1)).ok()?;
        self.metrics.in_flight.inc();
        let _ = self.budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < SAVED).then_some(n + EARNED));
        Some(Slot(self.clone()))
    }

    /// Whether a request may be tried again now; takes it from the budget.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        let may =
            self.free_retry() || self.budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n >= COST).then_some(n - COST)).is_ok();
        if may {
            self.metrics.retries.inc();
        }
        may
    }

    fn free_retry(&self) -> bool {
        let second = self.started.elapsed().as_secs() + 1;
        if self.second.swap(second, Ordering::AcqRel) != second {
            self.spent.store(0, Ordering::Release);
        }
        self.spent.fetch_add(1, Ordering::AcqRel) < FREE
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// The endpoint to try: of two picked at random, the one with fewer requests in flight. Ones in
    /// `tried` and ones left out are picked only when there is no other. `random` is 64 random bits.
    #[must_use]
    pub fn choose(&self, tried: u64, random: u64) -> usize {
        if self.endpoints.len() == 1 {
            return 0;
        }
        let now = self.millis();
        let fresh = |index: &usize| index >= &64 || tried & (1 << index) == 0;
        let all = 0..self.endpoints.len();
        // Who takes a probe must make it: nobody else will until its time is over once more.
        if let Some(due) = all.clone().filter(fresh).find(|i| self.endpoints[*i].take_probe(now, self.probe_millis())) {
            return due;
        }
        let mut fit: Vec<usize> = all.clone().filter(fresh).filter(|i| self.endpoints[*i].is_in()).collect();
        if fit.is_empty() {
            fit = all.clone().filter(fresh).collect();
        }
        if fit.is_empty() {
            fit = all.collect();
        }
        let count = fit.len() as u64;
        #[allow(clippy::cast_possible_truncation, reason = "below the number of endpoints")]
        let (a, b) = (fit[((random & 0xffff_ffff) % count) as usize], fit[((random >> 32) % count) as usize]);
        let load = |index: usize| self.endpoints[index].in_flight.load(Ordering::Relaxed);
        if load(b) < load(a) { b } else { a }
    }

    fn probe_millis(&self) -> u64 {
        u64::try_from(self.config.first_byte_timeout.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes how an exchange with endpoint `index` went.
    pub fn note(&self, index: usize, good: bool) {
        let endpoint = &self.endpoints[index];
        if good {
            if endpoint.failures.load(Ordering::Relaxed) != 0 || endpoint.until.load(Ordering::Relaxed) != 0 {
                endpoint.failures.store(0, Ordering::Relaxed);
                endpoint.ejections.store(0, Ordering::Relaxed);
                endpoint.until.store(0, Ordering::Release);
                endpoint.ejected.set(0);
            }
            return;
        }
        let failures = endpoint.failures.fetch_add(1, Ordering::AcqRel) + 1;
        let probing = endpoint.until.load(Ordering::Acquire) != 0;
        if self.config.eject_after == 0 || self.endpoints.len() < 2 || (failures < self.config.eject_after && !probing) {
            return;
        }
        let times = (endpoint.ejections.fetch_add(1, Ordering::AcqRel) + 1).min(LONGEST);
        let time = u64::try_from(self.config.eject_time.0.as_millis()).unwrap_or(u64::MAX).saturating_mul(u64::from(times));
        endpoint.until.store(self.millis().saturating_add(time), Ordering::Release);
        if endpoint.ejected.get() == 0 {
            tracing::warn!(origin = %self.name, endpoint = %endpoint.label, failures, "endpoint left out");
        }
        endpoint.ejected.set(1);
    }

    /// Counts a request towards endpoint `index` until the result is dropped.
    #[must_use]
    pub fn on(self: &Arc<Self>, index: usize) -> OnEndpoint {
        self.endpoints[index].in_flight.fetch_add(1, Ordering::Relaxed);
        OnEndpoint(self.clone(), index)
    }
}

impl Endpoint {
    /// An endpoint that has not failed yet.
    #[must_use]
    pub fn new(
        label: Arc<str>,
        at: (String, u16),
        authority: HeaderValue,
        tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
        ejected: IntGauge,
    ) -> Self {
        Self {
            label,
            host: at.0,
            port: at.1,
            authority,
            tls,
            ejected,
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// Whether it is not left out.
    fn is_in(&self) -> bool {
        self.until.load(Ordering::Acquire) == 0
    }

    /// When its time is over, one request finds out: the first to ask moves the end on by `probe` and
    /// goes, the others still see it left out.
    fn take_probe(&self, now: u64, probe: u64) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != 0
            && now >= until
            && self.until.compare_exchange(until, now.saturating_add(probe), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A place among an origin's requests in flight.
pub struct Slot(Arc<Origin>);

impl Slot {
    /// The origin it belongs to.
    #[must_use]
    pub fn origin(&self) -> &Arc<Origin> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.in_flight.dec();
    }
}

/// A request towards one endpoint.
pub struct OnEndpoint(Arc<Origin>, usize);

impl Drop for OnEndpoint {
    fn drop(&mut self) {
        self.0.endpoints[self.1].in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::origin;
    use super::*;
    use crate::units::Period;

    fn of(endpoints: &[&str], eject_time: Period) -> Arc<Origin> {
        let mut config: OriginConfig = serde_json::from_value(serde_json::json!({ "endpoints": endpoints })).expect("config");
        config.eject_time = eject_time;
        config.max_connections = 2;
        let metrics = Metrics::new().expect("metrics");
        Arc::new(origin(&Name::new("o").expect("name"), &config, std::path::Path::new("."), &metrics).expect("origin"))
    }

    #[test]
    fn slots_are_given_back_by_being_dropped() {
        let origin = of(&["http://127.0.0.1:1"], Period::seconds(30));
        let (a, b) = (origin.enter(), origin.enter());
        assert!(a.is_some() && b.is_some() && origin.enter().is_none());
        drop(a);
        assert!(origin.enter().is_some());
    }

    #[test]
    fn a_failing_endpoint_is_left_out_and_the_last_one_never_is() {
        let origin = of(&["http://127.0.0.1:1", "http://127.0.0.1:2"], Period::seconds(30));
        (0..5).for_each(|_| origin.note(0, false));
        assert!((0..100_u64).all(|n| origin.choose(0, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) == 1));
        (0..5).for_each(|_| origin.note(1, false));
        let picked: std::collections::HashSet<_> = (0..100_u64).map(|n| origin.choose(0, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert_eq!(picked.len(), 2);
    }

    #[test]
    fn when_its_time_is_over_one_request_probes() {
        let origin = of(&["http://127.0.0.1:1", "http://127.0.0.1:2"], Period::millis(0));
        (0..5).for_each(|_| origin.note(0, false));
        // Whatever the dice say, it is the one that probes; then it is out until the answer is there.
        let second = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert_eq!(origin.choose(0, 0x1_0000_0001), 0);
        assert!((0..50).all(|n| origin.choose(0, second(n)) == 1));
        origin.note(0, true);
        assert!((0..50).any(|n| origin.choose(0, second(n)) == 0));
    }

    #[test]
    fn tried_endpoints_come_last() {
        let origin = of(&["http://127.0.0.1:1", "http://127.0.0.1:2"], Period::seconds(30));
        assert!((0..50_u64).all(|n| origin.choose(0b01, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) == 1));
    }

    #[test]
    fn retries_are_a_fifth_of_requests_and_ten_a_second() {
        let origin = of(&["http://127.0.0.1:1"], Period::seconds(30));
        for _ in 0..100 {
            drop(origin.enter());
        }
        let granted = (0..1000).filter(|_| origin.may_retry()).count();
        // 20 earned, and 10 free ones in each second that the loop touched.
        assert!((30..=50).contains(&granted), "{granted}");
    }
}

//! Gateways of a fleet, each with its own table, and what viewers ask of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tollgate::clock::{Clock, UnixTime};
use tollgate::metrics::Metrics;
use tollgate::name::Name;
use tollgate::revocation::Revocations;
use tollgate::secret::Fingerprint;
use tollgate::session::fleet::{Fleet, FleetParts};
use tollgate::session::store::SharedStore as _;
use tollgate::session::valkey::ValkeyStore;
use tollgate::session::{Ask, Key, Keys, OnFull, OnStoreError, RouteSessionConfig, Seen, Sessions, Terms, ValkeyStoreConfig, Viewer};
use tollgate::store::valkey::Place;
use tollgate::token::{Grant, Window};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the config says of the store at `url`, and `more` lines of it.
pub(crate) fn config(url: &str, more: &str) -> ValkeyStoreConfig {
    config_within(url, more, "2s")
}

/// The same with another `timeout`.
pub(crate) fn config_within(url: &str, more: &str, timeout: &str) -> ValkeyStoreConfig {
    toml::from_str(&format!("url = '{url}'\ntimeout = '{timeout}'\nconnect_timeout = '{timeout}'\n{more}")).expect("a table")
}

pub(crate) fn store(config: &ValkeyStoreConfig, clock: &Clock) -> ValkeyStore {
    let variable = |name: &str| (name == "PASSWORD").then(|| "open-sesame".to_owned());
    ValkeyStore::new(config, Place { folder: std::path::Path::new("/"), variable: &variable }, clock).expect("a store")
}

/// One gateway. Dropping it is its death: nothing is given back.
pub(crate) struct Gateway {
    pub(crate) fleet: Fleet,
    pub(crate) sessions: Sessions,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) metrics: Metrics,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Gateway {
    pub(crate) async fn join(config: &ValkeyStoreConfig, clock: &Clock) -> Self {
        // Asked for what the gateway would only log.
        store(config, clock).renew(Vec::new()).await.expect("the store answers");
        let gateway = Self::alone(config, clock);
        gateway.until("joined", |gateway| gateway.fleet.is_up() && gateway.fleet.progress().borrow().changes > 0).await;
        gateway
    }

    /// Does not wait for the store.
    pub(crate) fn alone(config: &ValkeyStoreConfig, clock: &Clock) -> Self {
        let metrics = Metrics::new().expect("metrics");
        let sessions = Sessions::new(100_000, &metrics);
        let revocations = Arc::new(Revocations::default());
        let parts = FleetParts {
            sessions: sessions.clone(),
            revocations: revocations.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            renew_every: Duration::from_millis(100),
        };
        let mut task = None;
        let fleet = Fleet::start(Arc::new(store(config, clock)), parts, |work| task = Some(tokio::spawn(work)));
        Self { fleet, sessions, revocations, metrics, task }
    }

    /// Waits until `holds`, which is asked anew whenever the task has come further. Answers with the time it took.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        let mut progress = self.fleet.progress();
        let wait = async {
            while !holds(self) {
                progress.changed().await.expect("the task lives");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
        start.elapsed()
    }

    pub(crate) async fn admit(&self, ask: &Ask) -> Result<tollgate::session::Admission, tollgate::session::fleet::EntryFault> {
        self.fleet.admit(ask, OnStoreError::Deny).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A viewer of one token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: u32,
    pub(crate) viewer: u32,
    pub(crate) subject: Option<u32>,
    pub(crate) device: Option<u32>,
    pub(crate) asset: Option<u32>,
    pub(crate) network: u32,
}

impl Caller {
    /// The `viewer`th viewer of `token`.
    pub(crate) fn of(token: u32, viewer: u32) -> Self {
        Self { token, viewer, subject: None, device: None, asset: None, network: 0 }
    }

    pub(crate) fn ask(&self, terms: Terms, now: UnixTime, until: UnixTime) -> Ask {
        let text = |word: &str, number: Option<u32>| number.map(|number| Arc::from(format!("{word}{number}")));
        let grant = Grant {
            subject: text("subject", self.subject),
            device: text("device", self.device),
            resource: text("asset", self.asset),
            window: Window::until(until),
            ..Grant::default()
        };
        let (route, scheme) = (Name::new("vod").expect("a name"), Name::new("jwt").expect("a name"));
        let keys = Keys::of(&route, &scheme, &format!("token{}", self.token), &grant);
        let network = Key::of("network", &[&self.network.to_be_bytes()]);
        let viewer = Viewer::of(&keys, Some(&format!("viewer{}", self.viewer)), network, None);
        Ask { now, route, scheme, keys, terms, viewer, network, grant: Arc::new(grant), seen: seen() }
    }

    /// Asks now, with a token of an hour.
    pub(crate) fn now(&self, terms: Terms, clock: &Clock) -> Ask {
        self.ask(terms, clock.now(), clock.now().plus(3600))
    }
}

pub(crate) fn seen() -> Seen {
    Seen::new(Fingerprint::of(b"token"), "192.0.2.1".parse().expect("an address"), None)
}

/// `most` at once on one token.
pub(crate) fn at_once(most: u32, on_full: OnFull) -> Terms {
    let config = RouteSessionConfig { concurrent_per_token: Some(most), on_full, ..RouteSessionConfig::default() };
    Terms::of(&config, &Grant::default(), false)
}

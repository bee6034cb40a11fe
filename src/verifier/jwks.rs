//! Key sets that are fetched (JWKS, RFC 7517 §5) and kept fresh.
//!
//! One loop a set, so there is never more than one fetch of it under way. Requests never wait for a
//! fetch: a token under an unknown key is refused and asks the loop to look again, and the next
//! request finds the new key. However many ask, the set is fetched at most once in
//! [`COOLDOWN`]. A fetch that fails, in whatever way, leaves the last good keys in place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::{digest, rand};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::token::{Algorithm, KeySet, KeySource};

/// Shortest time between two fetches that unknown keys ask for.
pub const COOLDOWN: Duration = Duration::from_secs(30);

/// How often a set is fetched when the config does not say.
pub const REFRESH: Duration = Duration::from_secs(600);

/// Largest body in bytes that is read as a key set.
pub const MAX_BODY: usize = 1024 * 1024;

/// First wait after a failed fetch; doubled after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest wait after a failed fetch.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Longest that one fetch may take, whatever the client's own limits are.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

/// What a fetch gives, boxed so that the client stays the caller's.
pub type Fetched<'f> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'f>>;

/// Gets the body at an address. The caller's HTTP client; it holds the time limit and stops reading at [`MAX_BODY`].
pub trait Fetch: Send + Sync {
    /// The body of a `200` answer, or a sentence on why there is none.
    fn fetch<'f>(&'f self, url: &'f str) -> Fetched<'f>;
}

/// An address as it may stand in logs: its query may hold a key.
#[must_use]
pub fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// A key set at an address.
#[derive(Debug)]
pub struct Remote {
    url: String,
    refresh: Duration,
    id: Option<String>,
    algorithm: Option<Algorithm>,
    keys: KeySource,
    nudge: Notify,
    failures: AtomicU32,
    fault: ArcSwapOption<String>,
    body: ArcSwapOption<Vec<u8>>,
}

impl Remote {
    /// The set at `url`, empty until the first fetch. `id` and `algorithm` are for keys that do not bring their own.
    #[must_use]
    pub fn new(url: &str, refresh: Option<Duration>, id: Option<&str>, algorithm: Option<Algorithm>) -> Self {
        Self {
            url: url.to_owned(),
            refresh: refresh.unwrap_or(REFRESH).max(FIRST_RETRY),
            id: id.map(Into::into),
            algorithm,
            keys: KeySource::default(),
            nudge: Notify::new(),
            failures: 0.into(),
            fault: ArcSwapOption::empty(),
            body: ArcSwapOption::empty(),
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn url(&self) -> &str {
        shown(&self.url)
    }

    /// The keys, to be handed to schemes.
    #[must_use]
    pub fn keys(&self) -> &KeySource {
        &self.keys
    }

    /// Whether any fetch has brought keys; the gateway is not ready before.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.body.load().is_some()
    }

    /// How many fetches have failed since the last good one.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the last fetch failed; `None` when it did not.
    #[must_use]
    pub fn fault(&self) -> Option<Arc<String>> {
        self.fault.load_full()
    }

    /// Asks for a fetch before its time. Never waits.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Ends when somebody has asked for a fetch since it ended last.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Fetches once. Keys are replaced only when the body has changed, so that remembered verdicts live on.
    ///
    /// # Errors
    /// Why there are no new keys; the old ones stay.
    pub async fn fetch(&self, client: &dyn Fetch) -> Result<(), String> {
        let answer = tokio::time::timeout(FETCH_LIMIT, client.fetch(&self.url)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("{}: no answer within {} s", self.url(), FETCH_LIMIT.as_secs())));
        let outcome = answer.and_then(|body| self.take(&body));
        match &outcome {
            Ok(()) => {
                self.failures.store(0, Ordering::Relaxed);
                self.fault.store(None);
            }
            Err(fault) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.fault.store(Some(Arc::new(fault.clone())));
            }
        }
        outcome
    }

    fn take(&self, body: &[u8]) -> Result<(), String> {
        if body.len() > MAX_BODY {
            return Err(format!("{}: the key set is longer than {MAX_BODY} bytes", self.url()));
        }
        let digest = digest::digest(&digest::SHA256, body).as_ref().to_vec();
        if self.body.load().as_deref() == Some(&digest) {
            return Ok(());
        }
        let keys = KeySet::parse(body, self.id.as_deref(), self.algorithm).map_err(|fault| format!("{}: {fault}", self.url()))?;
        self.keys.replace(keys);
        self.body.store(Some(Arc::new(digest)));
        Ok(())
    }

    /// Fetches for ever: at once, then every `refresh`, sooner after a failure or when asked. `report` is told each outcome.
    pub async fn keep(&self, client: &dyn Fetch, report: impl Fn(&Result<(), String>)) {
        loop {
            let outcome = self.fetch(client).await;
            report(&outcome);
            let last = Instant::now();
            let due = last + wait(self.failures(), self.refresh, fraction());
            self.rest(last, due).await;
        }
    }

    /// Waits until `due`, or until somebody asks and the cool-down since `last` is over.
    async fn rest(&self, last: Instant, due: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = self.nudged() => tokio::time::sleep_until(due.min(last + COOLDOWN)).await,
        }
    }
}

/// How long to wait after so many failures in a row: doubling, with up to half taken off by `jitter`
/// (0 to 1), so that many gateways do not come back together.
fn wait(failures: u32, refresh: Duration, jitter: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return refresh };
    let most = FIRST_RETRY.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LAST_RETRY).min(refresh);
    most.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// 0 to 1 by chance; 0 without randomness.
fn fraction() -> f64 {
    let mut byte = [0_u8; 2];
    match rand::fill(&mut byte) {
        Ok(()) => f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX),
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests;

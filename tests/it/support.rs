//! What the suites that run a whole gateway share: a gateway, an origin, callers, certificates.
//!
//! Nothing here sleeps and hopes: whoever waits, waits for an event and gives up aloud after [`DEADLINE`].

pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod origin;
pub(crate) mod tls;
pub(crate) mod vendors;

use std::future::Future;
use std::time::Duration;

pub(crate) use client::{Answer, Raw};
pub(crate) use gateway::Gateway;
pub(crate) use origin::{Origin, Reply, Seen};

/// Longest wait for anything that must happen; far above what a busy machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What `future` gives, or a failed test that names what was waited for.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

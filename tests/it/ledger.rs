//! A ledger that a fleet shares, over real stores.
//!
//! Every test runs against each server that is here, Redis and Valkey. Nothing sleeps and hopes: what takes a while is waited
//! for, with an end in sight.

mod fleet;
mod layouts;
mod opening;
mod outage;
mod rates;
mod same;
mod uses;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::dialects::Rig;
use crate::fleet::server::Server;
use crate::rig::Folder;

/// What the fleet promises.
const PROPAGATION: Duration = Duration::from_secs(5);

/// Arguments of a server that keeps what it was told over a restart, even one that is killed: by its default a busy disk puts
/// writing off for two seconds.
fn kept() -> Vec<String> {
    ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned).to_vec()
}

/// The `[ledger]` table for the server, with a key file in `folder`.
fn shared(server: &Server, folder: &Folder) -> Value {
    let key = folder.file("ledger.key", &"5a".repeat(32));
    json!({ "key_file": key, "trust_for": "2s", "valkey": { "url": server.url(), "connect_timeout": "1s", "timeout": "2s", "poll_every": "1s" } })
}

/// A gateway of the fleet that shares its ledger there.
fn gateway(server: &Server, folder: &Folder) -> Rig {
    gateway_with(server, folder, |_| ())
}

fn gateway_with(server: &Server, folder: &Folder, change: impl FnOnce(&mut Value)) -> Rig {
    Rig::with(Clock::System, |config| {
        config["ledger"] = shared(server, folder);
        change(config);
    })
}

/// Waits until `holds`; gives the time it took, which is what the fleet promises at most.
fn within_promise(what: &str, holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PROPAGATION, "not in time: {what}");
        std::thread::yield_now();
    }
    began.elapsed()
}

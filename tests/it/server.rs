//! The edge towards callers: TLS, protocols, deadlines, limits, the end, the next config.

mod deadlines;
mod drain;
mod limits;
mod reload;
mod secure;

use serde_json::{Value, json};

use super::support::Gateway;
use super::support::gateway::{over, public};

/// A gateway with one worker and an open route to `origin`; `server` goes over its `[server]` table.
fn gateway(origin: &str, server: Value) -> Gateway {
    let mut config = public(origin);
    config["server"] = over(json!({ "workers": 1 }), server);
    Gateway::start(config)
}

//! The way to the origin and back: connections, tries, limits, bodies, TLS.

mod bodies;
mod limits;
mod pool;
mod retries;
mod secure;

use serde_json::{Value, json};

use super::support::gateway::{over, public};
use super::support::{Gateway, Origin};

/// A gateway with one worker (so that one pool serves all) and an open route to `endpoints`, its origin as `more` says.
fn gateway(endpoints: &[&str], more: Value) -> Gateway {
    let mut config = public("http://127.0.0.1:1");
    config["server"] = json!({ "workers": 1 });
    config["origins"]["media"] = over(json!({ "endpoints": endpoints }), more);
    Gateway::start(config)
}

fn to(origin: &Origin, more: Value) -> Gateway {
    gateway(&[&origin.url], more)
}

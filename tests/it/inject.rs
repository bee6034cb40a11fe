//! Credentials on the way to the origin: in their place, alone in it, renewed when refused, and never shown.

mod answers;
mod aws;
mod canary;
mod cost;
mod examples;
mod matrix;
mod places;
mod renewal;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::support::gateway::{key, over};
use super::support::{Gateway, Origin, Reply, Seen};

/// What origins are shown.
const VALUE: &str = "origin-key-4f1c9d";

/// A route for everybody under `/v1`, to `origin`, with this entry and these further keys of the route.
fn config(origin: &str, inject: Value, more: Value) -> Value {
    let route = json!({
        "name": "up", "path": "/v1", "public": true, "origin": "media", "methods": ["GET", "HEAD", "POST", "PUT", "PATCH"],
        "inject": [over(json!({ "credential": "key" }), inject)],
    });
    json!({
        "server": { "workers": 1 },
        "credentials": { "key": { "type": "static", "secret": VALUE } },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [over(route, more)],
    })
}

/// The same, opened by tokens of the scheme `viewer`.
fn guarded(origin: &str, inject: Value, more: Value) -> Value {
    let more = over(json!({ "public": false, "accept": ["viewer"] }), more);
    let keys = json!({
        "keys": { "viewer": { "inline": key(tollgate::keygen::Kind::Ed25519) } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer" } },
    });
    over(config(origin, inject, more), keys)
}

/// Where the requests of a test go, and a gateway in front of it.
fn gateway(origin: &Origin, inject: Value, more: Value) -> Gateway {
    Gateway::start(config(&origin.url, inject, more))
}

/// A token server that gives `access-1-…`, `access-2-…` and so on, each good for an hour.
fn token_server() -> Origin {
    Origin::start(token_answers())
}

/// What such a server answers.
pub(crate) fn token_answers() -> impl Fn(&Seen) -> Reply + Send + Sync {
    let given = AtomicUsize::new(0);
    move |_| {
        let number = given.fetch_add(1, Ordering::AcqRel) + 1;
        let body = json!({ "access_token": access(number), "token_type": "Bearer", "expires_in": 3600 });
        Reply::new(200, body.to_string()).with("Content-Type", "application/json")
    }
}

/// The token that such a server gives as the one with this number.
pub(crate) fn access(number: usize) -> String {
    format!("access-{number}-1b7e55aa")
}

/// A config whose credential comes from `server`.
pub(crate) fn fetched(server: &str, config: Value) -> Value {
    let mut config = config;
    // A busy machine may take longer over a call than callers would wait.
    config["credentials"]["key"] = json!({
        "type": "oauth2", "token_url": format!("{server}/token"), "client_id": "gate", "secret": "client-secret-77aa", "keep": { "wait": "30s" },
    });
    config
}

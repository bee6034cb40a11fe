//! The control listener of a whole gateway: keys, tokens, accounts, what is refused.

mod authz;
mod crash;
mod described;
mod hostile;
mod matrix;
mod own;
mod proxies;
mod secrets;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate::control::gate::sha256_hex;

use crate::support::client::{self, Answer};
use crate::support::gateway::{Gateway, simple};

/// API keys of [`Issuing`], by role; `other` is an admin of another account.
pub(crate) const ADMIN: &str = "admin-key";
pub(crate) const ISSUER: &str = "issuer-key";
pub(crate) const READER: &str = "reader-key";
pub(crate) const OTHER: &str = "other-key";

/// A gateway that issues tokens.
pub(crate) struct Issuing {
    pub(crate) gateway: Gateway,
    pub(crate) control: SocketAddr,
    folder: tempfile::TempDir,
    config: Value,
}

impl Issuing {
    /// One in front of `origin`, whose config `change` may change.
    pub(crate) fn start(origin: &str, change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = simple(origin);
        let key =
            |key: &str, role: &str, account: &str| json!({ "sha256": sha256_hex(key), "role": role, "account": account, "per_minute": 0 });
        config["ledger"] = json!({ "folder": folder.path() });
        config["control"] = json!({
            "address": "127.0.0.1:0",
            "api_keys": {
                "admin": key(ADMIN, "admin", "acme"),
                "issuer": key(ISSUER, "issuer", "acme"),
                "reader": key(READER, "reader", "acme"),
                "other": key(OTHER, "admin", "other"),
            },
        });
        change(&mut config);
        let gateway = Gateway::start(config.clone());
        let control = gateway.inner.control.expect("a control listener");
        Self { gateway, control, folder, config }
    }

    /// The same gateway anew, over the same ledger.
    pub(crate) fn restart(self) -> Self {
        let Self { gateway, folder, config, .. } = self;
        let now = gateway.clock.now();
        drop(gateway);
        let gateway = Gateway::start(config.clone());
        gateway.clock.set(now);
        let control = gateway.inner.control.expect("a control listener");
        Self { gateway, control, folder, config }
    }

    /// Asks the control listener with an API key.
    pub(crate) async fn ask(&self, key: &str, method: &str, target: &str, body: Value) -> Reply {
        self.ask_with(method, target, &format!("Authorization: Bearer {key}\r\n"), body).await
    }

    /// Asks with these header lines; `null` for no body.
    pub(crate) async fn ask_with(&self, method: &str, target: &str, fields: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if body.is_empty() || fields.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
        Reply(client::request(self.control, method, target, &format!("{fields}{kind}"), body.as_bytes()).await)
    }
}

/// What the control listener answered.
pub(crate) struct Reply(pub(crate) Answer);

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.0.body).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.0.body)))
    }
}

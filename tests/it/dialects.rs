//! The vendors' APIs on the control listener of a whole gateway, and their tokens on its data routes.

mod captures;
mod corpora;
mod errors;
pub(crate) mod flows;
mod matrix;
mod rates;
mod sdk;

use std::net::{SocketAddr, TcpListener};

use base64::Engine as _;
use serde_json::{Value, json};
use tollgate::app::{Gateway, Surroundings};
use tollgate::clock::Clock;
use tollgate::control::gate::sha256_hex;

use crate::rig::{self, Answer, Folder};
use crate::support::Origin;
use crate::support::gateway::{NOW, metric};
use crate::support::origin::Reply;

/// API keys by role; the last is an admin of another account.
pub(crate) const ADMIN: &str = "9VxMaPgsaFg7EBqmuspSzF7";
const ISSUER: &str = "issuer-key-0123456789";
const READER: &str = "reader-key-0123456789";
const OTHER: &str = "other-key-0123456789";

/// The account at Cloudflare, and the application at Ziggeo, as the captured requests name them.
pub(crate) const CLOUDFLARE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
pub(crate) const APP: &str = "r1app1token";
pub(crate) const ENCRYPTION: &str = "enc1key";

/// The origin of pages that may call, as the captured requests name it.
const PAGE: &str = "https://app.example.com";

/// A gateway that issues the vendors' tokens and takes them.
pub(crate) struct Rig {
    gateway: Gateway,
    pub(crate) data: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) origin: Origin,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// One whose clock is moved by hand.
    pub(crate) fn start() -> Self {
        Self::at(Clock::manual(NOW))
    }

    /// One on the machine's clock, for programs beside it.
    pub(crate) fn live() -> Self {
        Self::at(Clock::System)
    }

    fn at(clock: Clock) -> Self {
        Self::with(clock, |_| ())
    }

    /// One whose config `change` may change.
    pub(crate) fn with(clock: Clock, change: impl FnOnce(&mut Value)) -> Self {
        let origin = Origin::start(|seen| match seen.method.as_str() {
            "POST" => Reply::new(201, r#"{"videoId":"vi4k0jvEUuaTdRAEjQ4Jfrgz","title":"small.mp4","token":"made1"}"#)
                .with("content-type", "application/json"),
            _ => Reply::new(200, "media"),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&origin.url, folder.path().to_str().expect("UTF-8"));
        change(&mut config);
        let config = serde_json::from_value(config).expect("a config");
        let gateway = Gateway::start(&config, &Surroundings { clock: clock.clone() }).unwrap_or_else(|unfit| panic!("{unfit:?}"));
        let (data, control) = (gateway.addresses[0], gateway.control.expect("a control listener"));
        Self { gateway, data, control, origin, clock, _folder: folder }
    }

    /// One whose ledger is in a store that nobody reaches.
    pub(crate) fn without_ledger(folder: &Folder) -> Self {
        let key = folder.file("ledger.key", &"5a".repeat(32));
        // Nobody listens on a port that is given back at once.
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let store = json!({ "url": format!("redis://{closed}"), "connect_timeout": "1s", "timeout": "1s" });
        Self::with(Clock::System, |config| config["ledger"] = json!({ "key_file": key, "valkey": store }))
    }

    fn pass(&self, seconds: i64) {
        self.clock.set(self.clock.now().plus(seconds));
    }

    /// Asks the control listener.
    pub(crate) fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.control, method, target, headers, body.as_bytes())
    }

    /// The sum of a counter or gauge.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        metric(&self.gateway, series)
    }

    /// Asks a data route.
    pub(crate) fn play(&self, method: &str, target: &str) -> Answer {
        self.send(method, target, &[])
    }

    /// The same, with these fields.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.data, method, target, headers, b"")
    }
}

/// Sends one request on a connection of its own.
fn ask(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    request.push_str("\r\n");
    let bytes = [request.as_bytes(), body].concat();
    rig::send(address, &bytes).unwrap_or_else(|| panic!("no answer to {method} {target}"))
}

pub(crate) fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn config(origin: &str, folder: &str) -> Value {
    let key =
        |key: &str, role: &str, account: &str| json!({ "sha256": sha256_hex(key), "role": role, "account": account, "per_minute": 0 });
    json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 1, "limits": { "refusal_burst": 100_000 } },
        "admin": { "enabled": false },
        "ledger": { "folder": folder },
        "control": {
            "address": "127.0.0.1:0",
            "allowed_origins": [PAGE],
            "base": { "tollgate": "/", "apivideo": "/", "ziggeo": "/", "cloudflare": "/client/v4" },
            "api_keys": {
                "admin": key(ADMIN, "admin", "acme"),
                "issuer": key(ISSUER, "issuer", "acme"),
                "reader": key(READER, "reader", "acme"),
                "other": key(OTHER, "admin", "other"),
                // What the captured requests present.
                "ziggeo": key("priv1key", "admin", "acme"),
                "cloudflare": key("cf-api-token", "admin", "acme"),
                "global": key("globalkey", "admin", "acme"),
            },
            "accounts": {
                "acme": { "cloudflare_account_id": CLOUDFLARE, "ziggeo_application_token": APP },
                "other": { "cloudflare_account_id": "f".repeat(32), "ziggeo_application_token": "otherapp" },
            },
        },
        "keys": { "encryption": { "secret": ENCRYPTION }, "stream": { "ledger": "acme", "algorithm": "RS256" }, "viewer": { "ledger": "acme" } },
        "schemes": {
            "uploads": { "type": "apivideo-upload", "account": "acme" },
            "private": { "type": "apivideo-private", "account": "acme" },
            "ziggeo": { "type": "ziggeo", "keys": "encryption", "application_token": APP, "account": "acme" },
            "stream": { "type": "cloudflare-stream", "keys": "stream", "account": "acme" },
            "viewer": { "type": "jwt", "keys": "viewer" },
        },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [
            { "name": "upload", "path": "/upload", "methods": ["POST"], "accept": ["uploads"], "origin": "media" },
            { "name": "vod", "path": "/vod", "accept": ["private"], "origin": "media" },
            {
                "name": "ziggeo", "path": "/v1", "methods": ["GET", "HEAD", "POST", "DELETE"], "accept": ["ziggeo"], "origin": "media",
                "session": { "propagation": "none", "idle_timeout": "4h" },
            },
            { "name": "stream", "path": "/cf", "accept": ["stream"], "origin": "media", "rewrite_prefix": "/" },
        ],
    })
}

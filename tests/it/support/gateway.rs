//! A gateway as a test wants it: config as JSON, ports of the system's choice, keys at hand.

use std::net::SocketAddr;

use serde_json::{Value, json};

use tollgate::app::{self, Surroundings};
use tollgate::clock::{Clock, UnixTime};
use tollgate::config::Config;
use tollgate::keygen::{self, Kind};
use tollgate::name::Name;
use tollgate::token::{KeySource, SignRequest, Signed};
use tollgate::verifier::keys;

use super::client::{self, Answer};

/// The time that manual clocks start at.
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// A running gateway. Ends when dropped.
pub(crate) struct Gateway {
    /// The gateway itself.
    pub(crate) inner: app::Gateway,
    /// What it runs by; signing reads keys and schemes from here.
    pub(crate) config: Config,
    /// Its clock.
    pub(crate) clock: Clock,
}

impl Gateway {
    /// A gateway by `config`, at [`NOW`] until told otherwise. Listeners, admin and workers are filled in unless given.
    pub(crate) fn start(config: Value) -> Self {
        Self::try_start(config).unwrap_or_else(|unfit| panic!("{unfit:?}"))
    }

    /// The same, with what is unfit as the answer.
    pub(crate) fn try_start(config: Value) -> Result<Self, app::Unfit> {
        let config = parse(config);
        let clock = Clock::manual(NOW);
        let inner = app::Gateway::start(&config, &Surroundings { clock: clock.clone() })?;
        Ok(Self { inner, config, clock })
    }

    /// A gateway with one route `/` to `origin`, opened by tokens of the scheme `viewer` in query or `Authorization`.
    pub(crate) fn simple(origin: &str) -> Self {
        Self::start(simple(origin))
    }

    /// Takes another config.
    pub(crate) fn reload(&self, config: Value) -> Result<(), app::Unfit> {
        self.inner.reload(&parse(config))
    }

    /// Where callers come in: the first listener.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.inner.addresses[0]
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.set(self.clock.now().plus(seconds));
    }

    /// A token of `scheme` for `path`, good for an hour from now.
    pub(crate) fn sign(&self, scheme: &str, path: &str) -> Signed {
        self.sign_with(scheme, &SignRequest { expires: Some(self.clock.now().plus(3600)), ..for_path(path) })
    }

    /// A token of `scheme` as asked for.
    pub(crate) fn sign_with(&self, scheme: &str, request: &SignRequest) -> Signed {
        let table = &self.config.schemes[&Name::new(scheme).expect("a name")];
        let around = keys::Surroundings { folder: std::path::Path::new("/"), variable: &|_| None };
        let named = table.keys().expect("a key set");
        let keys = keys::read(named, &self.config.keys[named], around).expect("a key set");
        let scheme = table.build(KeySource::new(keys)).expect("a scheme");
        scheme.sign(request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// `path?token=…`, signed by `viewer` for an hour.
    pub(crate) fn link(&self, path: &str) -> String {
        target(&self.sign("viewer", path))
    }

    /// Sends `GET target` with `fields` and gives the answer.
    pub(crate) async fn get(&self, target: &str, fields: &str) -> Answer {
        client::get(self.addr(), target, fields).await
    }

    /// Waits until a counter or gauge is at `value`: a close is seen before it is counted.
    pub(crate) async fn until_metric(&self, series: &str, value: f64) {
        let reached = tokio::time::timeout(super::DEADLINE, async {
            while (self.metric(series) - value).abs() > f64::EPSILON {
                tokio::task::yield_now().await;
            }
        });
        assert!(reached.await.is_ok(), "{series} is {}, not {value}", self.metric(series));
    }

    /// The sum of a counter or gauge whose line begins with `series`, such as `http_requests_total{route="vod"`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        metric(&self.inner, series)
    }
}

/// The sum of a counter or gauge of a gateway, as [`Gateway::metric`].
pub(crate) fn metric(gateway: &app::Gateway, series: &str) -> f64 {
    let text = String::from_utf8(gateway.metrics.render()).expect("text");
    let wanted = format!("tollgate_{series}");
    text.lines().filter(|line| line.starts_with(&wanted)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// A config with one guarded route.
pub(crate) fn simple(origin: &str) -> Value {
    json!({
        "keys": { "viewer": { "inline": key(Kind::Ed25519) } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer" } },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media" }],
    })
}

/// A config with one open route.
pub(crate) fn public(origin: &str) -> Value {
    json!({
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [{ "name": "open", "path": "/", "methods": ["GET", "HEAD", "POST", "PUT"], "public": true, "origin": "media" }],
    })
}

/// Puts `more` over `config`; tables are merged, everything else replaced.
pub(crate) fn over(mut config: Value, more: Value) -> Value {
    match (&mut config, more) {
        (Value::Object(table), Value::Object(more)) => {
            for (key, value) in more {
                let below = table.remove(&key).unwrap_or(Value::Null);
                table.insert(key, over(below, value));
            }
            config
        }
        (_, more) => more,
    }
}

/// A new private key as JWK.
pub(crate) fn key(kind: Kind) -> String {
    keygen::generate(kind).expect("a key").jwk.expose().clone()
}

/// A request for a token on `path`.
pub(crate) fn for_path(path: &str) -> SignRequest {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
    SignRequest {
        host: client::HOST.into(),
        path: path.into(),
        query,
        now: Some(NOW),
        subject: Some("ann".into()),
        ..SignRequest::default()
    }
}

/// Path and query of a signed URL.
pub(crate) fn target(signed: &Signed) -> String {
    signed.query.as_ref().map_or_else(|| signed.path.clone(), |query| format!("{}?{query}", signed.path))
}

fn parse(config: Value) -> Config {
    let base = json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 2 },
        "admin": { "address": "127.0.0.1:0" },
    });
    serde_json::from_value(over(base, config)).expect("a config")
}

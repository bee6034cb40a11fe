//! Whether what a config says makes sense: names that lead somewhere, routes that can be told apart,
//! limits that let something through.
//!
//! All rules are asked, and every fault carries the key it is about. Nothing here reads a file.

mod control;
mod credentials;
mod origins;
mod places;
mod routes;

use std::collections::BTreeSet;

use super::Config;
use super::fault::{Finding, did_you_mean};
use super::key_path::KeyPath;
use crate::name::Name;
use crate::session::StoreConfig;
use crate::units::{Period, Size};
use crate::verifier::KeysConfig;

/// Everything that does not make sense.
#[must_use]
pub fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    server(config, &mut found);
    limits(config, &mut found);
    log(config, &mut found);
    for (name, keys) in &config.keys {
        key_set(keys, &KeyPath::top("keys").key(name.as_str()), &mut found);
    }
    control::check(config, &mut found);
    schemes(config, &mut found);
    credentials::check(config, &mut found);
    store(config, &mut found);
    origins::check(config, &mut found);
    routes::check(config, &mut found);
    places::check(config, &mut found);
    unused(config, &mut found);
    found
}

fn server(config: &Config, found: &mut Vec<Finding>) {
    let path = KeyPath::top("server").key("listeners");
    if config.server.listeners.is_empty() {
        found.push(Finding::value(path.clone(), "there is no listener, so nobody can come in").hint("add one with an `address`"));
    }
    let mut seen = BTreeSet::new();
    for (index, listener) in config.server.listeners.iter().enumerate() {
        let at = path.at(index);
        // Twice port 0 as well: listeners are known by their address, and one of them could get the other's TLS.
        if !seen.insert(listener.address) {
            found.push(Finding::value(at.key("address"), format!("{} is listened on twice", listener.address)));
        }
        if let Some(tls) = &listener.tls {
            if tls.certificates.is_empty() {
                found.push(Finding::value(at.key("tls").key("certificates"), "TLS needs at least one certificate"));
            }
            if listener.h2c {
                found.push(
                    Finding::warning(at.key("h2c"), "`h2c` does nothing on a listener with TLS").hint("`tls.http2` offers HTTP/2 there"),
                );
            }
        }
    }
    if config.admin.enabled && config.admin.address.port() != 0 && seen.iter().any(|address| is_same(*address, config.admin.address)) {
        let message = format!("{} is a listener for callers already", config.admin.address);
        found.push(Finding::value(KeyPath::top("admin").key("address"), message));
    }
    for (index, net) in config.server.trusted_proxies.iter().enumerate() {
        if net.prefix_len() == 0 {
            let path = KeyPath::top("server").key("trusted_proxies").at(index);
            found.push(Finding::warning(path, format!("{net} believes every peer's `X-Forwarded-For`")));
        }
    }
}

/// Whether what comes in by one address may come in by the other: the system lets both be bound.
fn is_same(one: std::net::SocketAddr, other: std::net::SocketAddr) -> bool {
    one.port() == other.port() && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Something that must not be zero.
trait Amount {
    fn is_zero(&self) -> bool;
}

macro_rules! amount {
    ($($kind:ty: $zero:expr),*) => { $(impl Amount for $kind { fn is_zero(&self) -> bool { *self == $zero } })* };
}

amount!(usize: 0, u32: 0, Size: Size(0), Period: Period::seconds(0));

fn not_zero(path: &KeyPath, amounts: &[(&str, &dyn Amount)], found: &mut Vec<Finding>) {
    for (key, amount) in amounts {
        if amount.is_zero() {
            found.push(Finding::value(path.key(key), format!("`{key}` must not be 0: nothing would get through")));
        }
    }
}

fn limits(config: &Config, found: &mut Vec<Finding>) {
    let limits = &config.server.limits;
    let amounts: [(&str, &dyn Amount); 12] = [
        ("handshake_timeout", &limits.handshake_timeout),
        ("head_timeout", &limits.head_timeout),
        ("body_idle_timeout", &limits.body_idle_timeout),
        ("write_idle_timeout", &limits.write_idle_timeout),
        ("keep_alive_timeout", &limits.keep_alive_timeout),
        ("max_head", &limits.max_head),
        ("max_headers", &limits.max_headers),
        ("max_uri", &limits.max_uri),
        ("max_connections", &limits.max_connections),
        ("max_h2_streams", &limits.max_h2_streams),
        ("refusal_burst", &limits.refusal_burst),
        ("refusals_per_second", &limits.refusals_per_second),
    ];
    let path = KeyPath::top("server").key("limits");
    not_zero(&path, &amounts, found);
    if limits.max_uri > limits.max_head {
        let message = "`max_uri` is larger than `max_head`, of which the target is a part";
        found.push(Finding::warning(path.key("max_uri"), message));
    }
}

fn log(config: &Config, found: &mut Vec<Finding>) {
    let path = KeyPath::top("log");
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.level) {
        let finding = Finding::value(path.key("level"), format!("not a log level: {error}"));
        let levels = ["error", "warn", "info", "debug", "trace"];
        found.push(finding.hint(match did_you_mean(&config.log.level, levels) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "such as \"info\" or \"info,tollgate::proxy=debug\"".into(),
        }));
    }
    let access = path.key("access");
    if !(0.0..=1.0).contains(&config.log.access.sample) {
        found.push(Finding::value(access.key("sample"), "`sample` is a share, from 0 to 1").hint("0.1 logs a tenth"));
    }
    if config.log.access.min_status > 599 {
        found.push(Finding::value(access.key("min_status"), "no status is that high"));
    }
}

fn key_set(keys: &KeysConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    let sources = [
        ("file", keys.file.is_some()),
        ("url", keys.url.is_some()),
        ("inline", keys.inline.is_some()),
        ("secret", keys.secret.is_some()),
        ("secret_file", keys.secret_file.is_some()),
        ("secret_env", keys.secret_env.is_some()),
        ("ledger", keys.ledger.is_some()),
        ("by_id", !keys.by_id.is_empty()),
    ];
    let set: Vec<&str> = sources.iter().filter(|(_, set)| *set).map(|(key, _)| *key).collect();
    match set.as_slice() {
        [_] => {}
        [] => {
            let hint = "add `file`, `url`, `inline`, `secret`, `secret_file`, `secret_env`, `ledger` or `by_id`";
            found.push(Finding::key(path.clone(), format!("`{path}` says nowhere where its keys come from")).hint(hint));
        }
        [first, rest @ ..] => {
            let message = format!("`{path}` has both `{first}` and `{}`; keys come from one place", rest.join("` and `"));
            found.extend(rest.iter().map(|key| Finding::key(path.key(key), message.clone())).take(1));
        }
    }
    remote(keys, path, found);
    for (id, keys) in &keys.by_id {
        key_set(keys, &path.key("by_id").key(id), found);
    }
}

/// Rules of keys that are fetched.
fn remote(keys: &KeysConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    if let Some(url) = &keys.url {
        match origins::endpoint_fault(url.split_inclusive('/').take(3).collect::<String>().trim_end_matches('/')) {
            Some(_) => found.push(Finding::value(path.key("url"), "not an address: write `https://host/path`")),
            None if url.starts_with("http://") => {
                let message = "keys fetched without TLS can be changed on the way";
                found.push(Finding::warning(path.key("url"), message).hint("use https"));
            }
            None => {}
        }
    } else {
        for (key, set) in [("refresh", keys.refresh.is_some()), ("ca_file", keys.ca_file.is_some())] {
            if set {
                found.push(Finding::warning(path.key(key), format!("`{key}` does nothing without `url`")));
            }
        }
    }
    if keys.refresh.is_some_and(|refresh| refresh.is_zero()) {
        found.push(Finding::value(path.key("refresh"), "`refresh` must not be 0"));
    }
}

fn store(config: &Config, found: &mut Vec<Finding>) {
    let path = KeyPath::top("store");
    match (&config.store.folder, &config.store.key_file) {
        (Some(_), None) => {
            let finding = Finding::key(path.key("folder"), "a store needs a `key_file`: what it keeps is sealed");
            found.push(finding.hint("make one with `openssl rand -hex 32`, and chmod 600"));
        }
        (None, Some(_)) if matches!(config.sessions.store, StoreConfig::Memory) => {
            found.push(Finding::warning(path.key("key_file"), "`key_file` does nothing without `folder` or a shared session store"));
        }
        _ => {}
    }
}

fn schemes(config: &Config, found: &mut Vec<Finding>) {
    for (name, scheme) in &config.schemes {
        let path = KeyPath::top("schemes").key(name.as_str()).key("keys");
        if let Some(keys) = scheme.keys() {
            leads_to(keys, config.keys.keys(), ("key set", path), found);
        }
    }
}

/// A fault unless `name` is one of `known`.
fn leads_to<'n>(name: &Name, known: impl Iterator<Item = &'n Name> + Clone, of: (&str, KeyPath), found: &mut Vec<Finding>) {
    let (kind, path) = of;
    if known.clone().any(|it| it == name) {
        return;
    }
    let finding = Finding::value(path, format!("there is no {kind} `{name}`"));
    let names: Vec<&str> = known.map(Name::as_str).collect();
    found.push(match did_you_mean(name.as_str(), names.iter().copied()) {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None if names.is_empty() => finding.hint(format!("the config has no {kind} at all")),
        None => finding.hint(format!("there is `{}`", names.join("`, `"))),
    });
}

fn unused(config: &Config, found: &mut Vec<Finding>) {
    let signing = config.routes.iter().filter_map(|route| route.upstream_sign.as_ref()).map(|sign| &sign.scheme);
    let schemes: BTreeSet<&Name> =
        config.routes.iter().flat_map(|route| route.accept.iter().chain(&route.compare)).chain(signing).collect();
    let answers = config.routes.iter().filter_map(|route| route.answers.as_ref()).flat_map(|answers| &answers.origins);
    let origins: BTreeSet<&Name> = config.routes.iter().map(|route| &route.origin).chain(answers).collect();
    let credentials: BTreeSet<&Name> = config.routes.iter().flat_map(|route| &route.inject).map(|entry| &entry.credential).collect();
    let keys: BTreeSet<&Name> = config.schemes.values().filter_map(|scheme| scheme.keys()).collect();
    let mut warn = |table: &str, name: &Name, who: &str| {
        let path = KeyPath::top(table).key(name.as_str());
        found.push(Finding::warning(path, format!("no {who} uses `{table}.{name}`")));
    };
    config.keys.keys().filter(|name| !keys.contains(name)).for_each(|name| warn("keys", name, "scheme"));
    config.schemes.keys().filter(|name| !schemes.contains(name)).for_each(|name| warn("schemes", name, "route"));
    config.credentials.keys().filter(|name| !credentials.contains(name)).for_each(|name| warn("credentials", name, "route"));
    config.origins.keys().filter(|name| !origins.contains(name)).for_each(|name| warn("origins", name, "route"));
}

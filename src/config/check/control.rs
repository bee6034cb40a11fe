//! Rules of what is issued: what needs the ledger, where the control listener may be, who may call it.

use super::{is_same, leads_to, not_zero, origins};
use crate::config::Config;
use crate::config::fault::Finding;
use crate::config::key_path::KeyPath;
use crate::control::ControlConfig;
use crate::ledger::LedgerConfig;
use crate::token::scheme::config::LookUp;

const LEDGER: &str = "add `[ledger]` with its `folder`, or with `[ledger.valkey]` for a fleet";

pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    match &config.ledger {
        Some(table) => ledger(table, found),
        None => without_ledger(config, found),
    }
    let Some(control) = &config.control else { return };
    let path = KeyPath::top("control");
    if config.ledger.is_none() {
        found.push(Finding::key(path.clone(), "what `control` issues is kept in a ledger, and there is none").hint(LEDGER));
    }
    let taken = config.server.listeners.iter().map(|listener| listener.address).chain(config.admin.enabled.then_some(config.admin.address));
    if control.address.port() != 0 && taken.into_iter().any(|address| is_same(address, control.address)) {
        found.push(Finding::value(path.key("address"), format!("{} is another listener's already", control.address)));
    }
    if control.tls.is_none() && !control.address.ip().is_loopback() {
        found.push(Finding::warning(path.key("address"), "API keys cross the network in the clear").hint("add `control.tls`"));
    }
    let bases = [&control.base.tollgate, &control.base.apivideo, &control.base.ziggeo, &control.base.cloudflare];
    for base in bases.into_iter().flatten().filter(|base| !base.starts_with('/')) {
        found.push(Finding::value(path.key("base"), format!("\"{base}\" is not a path: it must begin with `/`")));
    }
    callers(control, &path, found);
    for (name, policy) in &control.policies {
        let at = path.key("policies").key(name.as_str());
        leads_to(&policy.scheme, config.schemes.keys(), ("scheme", at.key("scheme")), found);
        if policy.ttl > policy.max_ttl {
            found.push(Finding::value(at.key("ttl"), "longer than `max_ttl`, so that no request without a `ttl` would do"));
        }
    }
    not_zero(&path, &[("max_body", &control.max_body)], found);
}

/// Where the ledger is kept.
fn ledger(ledger: &LedgerConfig, found: &mut Vec<Finding>) {
    let path = KeyPath::top("ledger");
    match (&ledger.folder, &ledger.valkey) {
        (None, None) => {
            found.push(Finding::key(path, "`ledger` says nowhere where it is kept").hint("add `folder` or `[ledger.valkey]`"));
        }
        (Some(_), Some(_)) => found.push(Finding::key(path.key("valkey"), "only one of `folder` and `valkey` may be set")),
        (None, Some(_)) if ledger.key_file.is_none() => {
            let finding = Finding::key(path.key("valkey"), "a ledger that a fleet shares needs a `key_file`, the same on every gateway");
            found.push(finding.hint("make one with `openssl rand -hex 32`, and chmod 600"));
        }
        _ => {}
    }
}

/// What does nothing, or refuses everybody, where nothing is recorded.
fn without_ledger(config: &Config, found: &mut Vec<Finding>) {
    for (name, _) in config.keys.iter().filter(|(_, keys)| keys.ledger.is_some()) {
        let path = KeyPath::top("keys").key(name.as_str()).key("ledger");
        found.push(Finding::value(path, "there is no ledger to take keys from").hint(LEDGER));
    }
    for (name, scheme) in &config.schemes {
        let path = KeyPath::top("schemes").key(name.as_str());
        let Some(looks_up) = scheme.looks_up() else { continue };
        found.push(match looks_up {
            LookUp::Tokens => Finding::value(path.key("type"), "its tokens are looked up in the ledger, and there is none").hint(LEDGER),
            LookUp::Resources => {
                Finding::value(path.key("account"), "what an account says of videos is in the ledger, and there is none").hint(LEDGER)
            }
            LookUp::SomeTokens => {
                let message = "without a ledger, tokens that the gateway issues (`server_auth`) are all refused";
                Finding::warning(path.key("type"), message).hint(LEDGER)
            }
        });
    }
}

fn callers(control: &ControlConfig, path: &KeyPath, found: &mut Vec<Finding>) {
    for (name, key) in &control.api_keys {
        if key.sha256.len() != 64 || !key.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let at = path.key("api_keys").key(name.as_str()).key("sha256");
            found.push(Finding::value(at, "not the SHA-256 of a key: 64 hexadecimal digits").hint("`tollgate keys api` makes both"));
        }
    }
    for (index, origin) in control.allowed_origins.iter().enumerate() {
        // It is compared with what browsers send, byte by byte (Fetch §3.2, RFC 6454 §6.2).
        if origins::endpoint_fault(origin).is_some() || origin.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'*') {
            let finding = Finding::value(path.key("allowed_origins").at(index), format!("`{origin}` is not a web origin"));
            found.push(finding.hint("write `https://admin.example.com`: small letters, no path, no `*`"));
        }
    }
}

//! The next config: whole or not at all, and no caller notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::version::TLS13;
use serde_json::{Value, json};

use tollgate::keygen::Kind;

use super::super::support::gateway::{key, over, public, simple};
use crate::support::client::{self, Raw};
use crate::support::tls::Authority;
use crate::support::{Gateway, Origin, Reply};

#[tokio::test]
async fn no_request_fails_while_configs_change() {
    let (one, two) = (Origin::start(|_| Reply::new(200, "one")), Origin::start(|_| Reply::new(200, "two")));
    let gateway = Gateway::start(public(&one.url));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let addr = gateway.addr();
    let callers: Vec<_> = (0..4)
        .map(|number| {
            let (stop, asked) = (stop.clone(), asked.clone());
            tokio::spawn(async move {
                let mut raw = Raw::connect(addr).await;
                while !stop.load(Ordering::Acquire) {
                    if number % 2 == 0 {
                        raw = Raw::connect(addr).await;
                    }
                    raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
                    let answer = raw.answer(false).await.expect("an answer");
                    assert!(answer.status == 200 && matches!(answer.text().as_str(), "one" | "two"), "{answer:?}");
                    asked.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for turn in 1..=20 {
        let seen = asked.load(Ordering::Acquire);
        gateway.reload(public(if turn % 2 == 0 { &one.url } else { &two.url })).expect("taken");
        crate::support::within("requests under this config", async {
            while asked.load(Ordering::Acquire) < seen + 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::Release);
    for caller in callers {
        caller.await.expect("every request went well");
    }
    assert!(one.count() > 0 && two.count() > 0);
    assert_eq!(gateway.metric("config_reloads_total{result=\"ok\""), 21.0);
}

#[tokio::test]
async fn keys_and_routes_change_together() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let old = gateway.link("/a");
    assert_eq!(gateway.get(&old, "").await.status, 200);
    let config = over(
        simple(&origin.url),
        json!({ "routes": [
        { "name": "vod", "path": "/new", "accept": ["viewer"], "origin": "media" },
        { "name": "fixed", "path": "/a", "accept": ["viewer"], "origin": "media" },
    ] }),
    );
    let next = Gateway::start(config.clone());
    gateway.reload(config).expect("taken");
    // The remembered verdict on the old key's token goes with the key.
    assert_eq!(gateway.get(&old, "").await.code(), "token_invalid");
    assert_eq!(gateway.get(&next.link("/new/x"), "").await.status, 200);
    assert_eq!(gateway.get("/other", "").await.status, 404);
}

#[tokio::test]
async fn a_config_that_cannot_be_put_to_use_changes_nothing() {
    let origin = Origin::plain();
    let config = simple(&origin.url);
    let gateway = Gateway::start(config.clone());
    let bad: [(Value, &str); 4] = [
        (json!({ "keys": { "viewer": { "inline": "not a key" } } }), "keys.viewer"),
        (json!({ "origins": { "media": { "endpoints": ["https://localhost:1"], "tls": { "ca_file": "/none.pem" } } } }), "origins.media"),
        (json!({ "routes": [{ "name": "vod", "path": "/", "accept": [], "origin": "media" }] }), "routes[0]"),
        (json!({ "keys": { "viewer": { "inline": key(Kind::Ed25519) } }, "schemes": { "viewer": { "type": "mux" } } }), "schemes.viewer"),
    ];
    for (more, at) in bad {
        let unfit = gateway.reload(over(config.clone(), more)).expect_err("refused");
        assert!(unfit.iter().any(|(key, _)| key.to_string() == at), "{at}: {unfit:?}");
        assert_eq!(gateway.get(&gateway.link("/a"), "").await.status, 200);
        assert_eq!(gateway.metric("config_last_reload_successful"), 0.0);
    }
    assert_eq!(gateway.metric("config_reloads_total{result=\"refused\""), 4.0);
    gateway.reload(config).expect("taken");
    assert_eq!((gateway.get(&gateway.link("/a"), "").await.status, gateway.metric("config_last_reload_successful")), (200, 1.0));
    // Nothing of the origin was built anew: its connections are still in use.
    assert!(origin.connections() <= 2);
}

#[tokio::test]
async fn certificates_change() {
    let (origin, ca) = (Origin::plain(), Authority::new());
    let files = ca.issue("gate", &["gate.test"]);
    let certificates = json!([{ "cert_file": files.cert, "key_file": files.key }]);
    let listeners = json!({ "server": { "listeners": [{ "address": "127.0.0.1:0", "tls": { "certificates": certificates } }] } });
    let config = over(public(&origin.url), listeners);
    let gateway = Gateway::start(config.clone());
    let connect = async || Raw::tls(gateway.addr(), ca.client(&[&TLS13], &["http/1.1"]), "gate.test").await.expect("TLS");
    let (mut kept, before) = connect().await;
    ca.issue("gate", &["gate.test"]);
    gateway.reload(config).expect("taken");
    assert_ne!(connect().await.1.certificate, before.certificate);
    kept.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(kept.answer(false).await.expect("an answer").status, 200);
}

//! TLS and protocols.

use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use super::gateway;
use crate::support::client::{self, H2, Raw};
use crate::support::tls::{Authority, Files};
use crate::support::{Gateway, Origin};

fn listener(certificates: &[&Files], http2: bool) -> Value {
    let certificates: Vec<Value> = certificates.iter().map(|files| json!({ "cert_file": files.cert, "key_file": files.key })).collect();
    json!({ "listeners": [{ "address": "127.0.0.1:0", "tls": { "certificates": certificates, "http2": http2 } }] })
}

fn one(origin: &Origin, ca: &Authority, http2: bool) -> Gateway {
    gateway(&origin.url, listener(&[&ca.issue("gate", &["gate.test"])], http2))
}

#[tokio::test]
async fn both_versions_and_both_protocols_are_spoken() {
    let (origin, ca) = (Origin::plain(), Authority::new());
    let gateway = one(&origin, &ca, true);
    for version in [&TLS12, &TLS13] {
        let (mut raw, facts) = Raw::tls(gateway.addr(), ca.client(&[version], &["http/1.1"]), "gate.test").await.expect("TLS");
        assert_eq!((facts.version, facts.alpn.as_deref()), (version.version, Some("http/1.1")));
        raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
        assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
        assert_eq!(origin.last().field("x-forwarded-proto"), Some("https"));
        let mut h2 = H2::tls(gateway.addr(), ca.client(&[version], &["h2"]), "gate.test").await;
        assert_eq!(h2.get("https://gate.test/a").await.expect("an answer").status, 200);
    }
    let (mut raw, facts) = Raw::tls(gateway.addr(), ca.client(&[&TLS13], &[]), "gate.test").await.expect("TLS");
    assert_eq!(facts.alpn, None);
    raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    assert_eq!(gateway.metric("connections_total{protocol=\"h2\""), 2.0);
}

#[tokio::test]
async fn the_protocol_is_the_one_that_was_agreed_on() {
    let (origin, ca) = (Origin::plain(), Authority::new());
    let gateway = one(&origin, &ca, true);
    let (mut raw, facts) = Raw::tls(gateway.addr(), ca.client(&[&TLS13], &["h2", "http/1.1"]), "gate.test").await.expect("TLS");
    assert_eq!(facts.alpn.as_deref(), Some("h2"));
    let _ = raw.send(client::head("GET", "/a", "", 0)).await;
    let (said, _) = raw.rest().await;
    assert!(!said.starts_with(b"HTTP/1"), "{}", String::from_utf8_lossy(&said));
    let (mut raw, _) = Raw::tls(gateway.addr(), ca.client(&[&TLS13], &["http/1.1"]), "gate.test").await.expect("TLS");
    let _ = raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    raw.rest().await;
    assert_eq!(origin.connections(), 0);
    // Who offers nothing that is spoken here is turned away in the handshake.
    let plain = one(&origin, &ca, false);
    assert!(Raw::tls(plain.addr(), ca.client(&[&TLS13], &["h2"]), "gate.test").await.is_err());
    let (_, facts) = Raw::tls(plain.addr(), ca.client(&[&TLS13], &["h2", "http/1.1"]), "gate.test").await.expect("TLS");
    assert_eq!(facts.alpn.as_deref(), Some("http/1.1"));
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let (origin, ca) = (Origin::plain(), Authority::new());
    let first = ca.issue("first", &["gate.test"]);
    let second = ca.issue("second", &["media.test", "*.cdn.test"]);
    let gateway = gateway(&origin.url, listener(&[&first, &second], true));
    let shown = async |name: &str| Raw::tls(gateway.addr(), ca.client(&[&TLS13], &[]), name).await.map(|(_, facts)| facts.certificate);
    let first = shown("gate.test").await.expect("TLS");
    let second = shown("media.test").await.expect("TLS");
    assert_ne!(first, second);
    assert_eq!(shown("a.cdn.test").await.expect("TLS"), second);
    // Others are shown the first one, which they then do not take.
    for other in ["cdn.test", "a.b.cdn.test", "other.test"] {
        assert!(shown(other).await.is_err(), "{other}");
    }
}

#[tokio::test]
async fn http_2_without_tls_only_where_it_is_said() {
    let origin = Origin::plain();
    let both = gateway(&origin.url, json!({ "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] }));
    assert_eq!(H2::plain(both.addr()).await.get("http://gate.test/a").await.expect("an answer").status, 200);
    assert_eq!(both.get("/a", "").await.status, 200);
    // Bytes that come one by one are told apart as well.
    let mut raw = Raw::connect(both.addr()).await;
    for byte in client::head("PUT", "/a", "", 0).bytes() {
        raw.send([byte]).await.expect("sent");
    }
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    let only = gateway(&origin.url, json!({}));
    assert!(H2::plain(only.addr()).await.get("http://gate.test/a").await.is_err());
    assert_eq!(origin.count(), 3);
}

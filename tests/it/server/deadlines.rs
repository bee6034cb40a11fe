//! Callers that keep a connection without using it lose it. The tests wait for the close, not for a time.

use rustls::version::TLS13;
use serde_json::json;

use super::gateway;
use crate::support::client::{self, H2, Raw, empty};
use crate::support::tls::Authority;
use crate::support::{Gateway, Origin, within};

async fn closed(gateway: &Gateway, reason: &str, times: u32) {
    gateway.until_metric(&format!("connections_closed_total{{reason=\"{reason}\""), times.into()).await;
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_its_connection() {
    let origin = Origin::plain();
    let limits = json!({ "limits": { "head_timeout": "200ms" } });
    let gateway = gateway(&origin.url, limits);
    for (number, begun) in (0_u32..).zip(["", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "]) {
        let mut raw = Raw::connect(gateway.addr()).await;
        raw.send(begun).await.expect("sent");
        assert_eq!(raw.rest().await.0, b"", "{begun:?}");
        closed(&gateway, "head", number + 1).await;
    }
    // Bytes that keep coming do not move the deadline.
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send("GET / HTTP/1.1\r\n").await.expect("sent");
    within("the close", async {
        while raw.send("X: y\r\n").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    // A head after another on the same connection has the same limit.
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    raw.send("GET / HTTP/1.1\r\nHost").await.expect("sent");
    assert_eq!(raw.rest().await.0, b"");
    closed(&gateway, "head", 6).await;
    closed(&gateway, "keep_alive", 0).await;
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_ends_its_connection() {
    let (origin, ca) = (Origin::plain(), Authority::new());
    let files = ca.issue("gate", &["gate.test"]);
    let tls = json!({ "certificates": [{ "cert_file": files.cert, "key_file": files.key }] });
    let server = json!({ "limits": { "handshake_timeout": "200ms" }, "listeners": [{ "address": "127.0.0.1:0", "tls": tls }] });
    let gateway = gateway(&origin.url, server);
    for begun in [&b""[..], b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut raw = Raw::connect(gateway.addr()).await;
        raw.send(begun).await.expect("sent");
        raw.rest().await;
    }
    closed(&gateway, "handshake", 3).await;
    assert!(Raw::tls(gateway.addr(), ca.client(&[&TLS13], &[]), "gate.test").await.is_ok());
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let origin = Origin::plain();
    let server = json!({ "limits": { "keep_alive_timeout": "200ms" }, "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] });
    let gateway = gateway(&origin.url, server);
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    assert_eq!(raw.rest().await, (Vec::new(), true));
    closed(&gateway, "keep_alive", 1).await;
    let mut h2 = H2::plain(gateway.addr()).await;
    assert_eq!(h2.get("http://gate.test/a").await.expect("an answer").status, 200);
    let _ = within("the close", &mut h2.driver).await;
    closed(&gateway, "keep_alive", 2).await;
}

/// An origin whose answer does not fit between two sockets.
fn plenty() -> Origin {
    Origin::scripted(|mut exchange| async move {
        exchange.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 << 20)).await?;
        loop {
            exchange.raw(vec![b'x'; 1 << 16]).await?;
        }
    })
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_let_go() {
    let origin = plenty();
    let gateway = gateway(&origin.url, json!({ "limits": { "write_idle_timeout": "300ms" } }));
    let mut raw = Raw::narrow(gateway.addr()).await;
    raw.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(raw.head().await.expect("a head").status, 200);
    origin.wait("the connection to end", |origin| origin.connections() == 1 && origin.open() == 0).await;
    closed(&gateway, "write_idle", 1).await;
}

#[tokio::test]
async fn so_is_one_whose_stream_takes_nothing() {
    let origin = plenty();
    let server = json!({ "limits": { "write_idle_timeout": "300ms" }, "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] });
    let gateway = gateway(&origin.url, server);
    let mut h2 = H2::narrow(gateway.addr()).await;
    let request = http::Request::get("http://gate.test/a").body(empty()).expect("a request");
    let answer = within("a head", h2.sender.send_request(request)).await.expect("an answer");
    // The connection itself is alive, its stream's window is used up and stays so.
    origin.wait("the connection to end", |origin| origin.connections() == 1 && origin.open() == 0).await;
    drop(answer);
    let request = http::Request::head("http://gate.test/a").body(empty()).expect("a request");
    assert_eq!(h2.send(request).await.expect("the connection lives on").status, 200);
}

//! The end: nothing new, and what is under way finishes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::gateway;
use crate::support::client::{self, H2, Raw};
use crate::support::{Gateway, Origin, Reply, within};

/// Sends half an answer to `/held`, and the rest when told.
fn holding() -> (Origin, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let origin = Origin::scripted(move |mut exchange| {
        let held = held.clone();
        async move {
            if exchange.seen.target != "/held" {
                exchange.reply(&Reply::new(200, "x")).await?;
                return Ok(Some(exchange));
            }
            exchange.raw("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await?;
            held.notified().await;
            exchange.raw("rest").await?;
            Ok(Some(exchange))
        }
    });
    (origin, release)
}

async fn ready(gateway: &Gateway) -> u16 {
    client::get(gateway.inner.admin.expect("an admin listener"), "/ready", "").await.status
}

async fn until_refused(addr: std::net::SocketAddr) {
    within("new connections to be refused", async {
        while let Ok(tcp) = TcpStream::connect(addr).await {
            // Between the order and the close a connection may still get in; it is not served.
            drop(tcp);
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_under_way_finishes() {
    let (origin, release) = holding();
    let gateway = gateway(&origin.url, json!({}));
    let (addr, admin) = (gateway.addr(), gateway.inner.admin.expect("an admin listener"));
    assert_eq!(ready(&gateway).await, 200);
    let mut held = Raw::connect(addr).await;
    held.send(client::head("GET", "/held", "", 0)).await.expect("sent");
    assert_eq!(held.head().await.expect("a head").status, 200);
    let mut idle = Raw::connect(addr).await;
    idle.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(idle.answer(false).await.expect("an answer").status, 200);
    let inner = gateway.inner;
    let drained = tokio::task::spawn_blocking(move || inner.drain(Duration::from_secs(10)));
    until_refused(addr).await;
    assert_eq!(idle.rest().await, (Vec::new(), true));
    let unready = client::get(admin, "/ready", "").await;
    assert_eq!((unready.status, unready.text().trim()), (503, "not ready: draining"));
    assert!(!drained.is_finished());
    release.notify_one();
    assert_eq!(held.rest().await, (b"halfrest".to_vec(), true));
    assert!(within("the end", drained).await.expect("no panic"));
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn patience_ends() {
    let (origin, _release) = holding();
    let gateway = gateway(&origin.url, json!({}));
    let mut held = Raw::connect(gateway.addr()).await;
    held.send(client::head("GET", "/held", "", 0)).await.expect("sent");
    assert_eq!(held.head().await.expect("a head").status, 200);
    let inner = gateway.inner;
    let drained = tokio::task::spawn_blocking(move || inner.drain(Duration::from_millis(100)));
    assert!(!within("the end", drained).await.expect("no panic"));
    assert_eq!(held.rest().await.0, b"half");
}

#[tokio::test]
async fn http_2_callers_are_told_to_go_away() {
    let (origin, release) = holding();
    let gateway = gateway(&origin.url, json!({ "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] }));
    let mut h2 = H2::plain(gateway.addr()).await;
    assert_eq!(h2.get("http://gate.test/a").await.expect("an answer").status, 200);
    let mut second = h2.sender.clone();
    let held = tokio::spawn(async move { h2.get("http://gate.test/held").await.map(|answer| (answer.text(), h2)) });
    origin.wait("the request", |origin| origin.count() == 2).await;
    let (addr, inner) = (gateway.addr(), gateway.inner);
    let drained = tokio::task::spawn_blocking(move || inner.drain(Duration::from_secs(10)));
    until_refused(addr).await;
    within("GOAWAY", async {
        while second.ready().await.is_ok() && !second.is_closed() {
            let request = http::Request::get("http://gate.test/a").body(client::empty()).expect("a request");
            let _ = second.send_request(request).await;
        }
    })
    .await;
    release.notify_one();
    let (text, h2) = held.await.expect("no panic").expect("a whole answer");
    assert_eq!(text, "halfrest");
    within("a good end", h2.driver).await.expect("no panic").expect("no error");
    assert!(within("the end", drained).await.expect("no panic"));
}

#[tokio::test]
async fn leaving_serves_on() {
    let (origin, _release) = holding();
    let gateway = gateway(&origin.url, json!({}));
    gateway.inner.leave();
    assert_eq!((ready(&gateway).await, gateway.get("/a", "").await.status), (503, 200));
    let admin = gateway.inner.admin.expect("an admin listener");
    assert_eq!(client::get(admin, "/live", "").await.status, 200);
    let metrics = client::get(admin, "/metrics", "").await;
    assert!(metrics.text().contains("tollgate_http_requests_total{code=\"200\",method=\"GET\",route=\"open\"} 1"), "{}", metrics.text());
    assert_eq!(client::request(admin, "POST", "/metrics", "", b"").await.status, 405);
}

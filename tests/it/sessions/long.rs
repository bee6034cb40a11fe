//! One answer that goes on and on: it is its viewing's life, and ends with it.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{beside, gateway, location, named, opens};
use crate::support::{Gateway, Origin, Raw, client};

const FILE: usize = 1_000_000;

/// An origin that sends a large file as far as it is told.
struct Tap(Origin, watch::Sender<usize>);

impl Tap {
    fn new() -> Self {
        let (open, opened) = watch::channel(0_usize);
        let origin = Origin::scripted(move |mut exchange| {
            let mut opened = opened.clone();
            async move {
                exchange.raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {FILE}\r\n\r\n")).await?;
                let mut sent = 0;
                loop {
                    let most = *opened.borrow_and_update();
                    exchange.raw(vec![b'x'; most - sent]).await?;
                    sent = most;
                    if sent == FILE || opened.changed().await.is_err() {
                        return Ok(None);
                    }
                }
            }
        });
        Self(origin, open)
    }

    /// One viewer of the file on a gateway with these settings, who has got `bytes` of it.
    async fn watched(&self, session: Value, bytes: usize) -> (Gateway, String, Raw) {
        let gateway = gateway(&self.0.url, session);
        let link = gateway.link("/vod/film.mp4");
        let target = location(&gateway.get(&link, &named("one")).await);
        let mut raw = Raw::connect(gateway.addr()).await;
        raw.send(client::head("GET", &target, &named("one"), 0)).await.expect("sent");
        assert_eq!(raw.head().await.expect("an answer").status, 200);
        self.1.send_replace(bytes);
        raw.read(bytes).await.expect("as much as there is");
        (gateway, link, raw)
    }
}

#[tokio::test]
async fn a_file_in_one_answer_keeps_its_viewer_alive() {
    let tap = Tap::new();
    let (gateway, link, mut raw) = tap.watched(json!({ "concurrent_per_token": 1, "idle_timeout": "30s" }), 1000).await;
    for sent in 2..=4 {
        gateway.pass(25);
        tap.1.send_replace(sent * 1000);
        raw.read(1000).await.expect("it goes on");
    }
    assert_eq!(opens(&gateway, &link, "two").await, Err("403 session_concurrent_token".to_owned()), "75 s, and never silent");
    gateway.pass(31);
    assert!(opens(&gateway, &link, "two").await.is_ok(), "a stalled one is as silent as any");
    tap.1.send_replace(5000);
    assert_eq!(raw.rest().await.0, b"", "who has lost his place gets no byte more");
    assert_eq!(gateway.metric("refusals_total{code=\"session_idle\""), 1.0);
}

#[tokio::test]
async fn a_file_in_one_answer_stops_with_its_viewing() {
    type Ends = fn(&Gateway);
    let evicts: Ends = |_| {};
    let passes: Ends = |gateway| gateway.pass(60);
    for (session, ends, code) in [
        (json!({ "concurrent_per_token": 1, "on_full": "evict-oldest" }), evicts, "session_evicted"),
        (json!({ "max_duration": "60s" }), passes, "session_duration"),
        (json!({ "max_bytes": 1500 }), evicts, "session_bytes"),
    ] {
        let tap = Tap::new();
        let (gateway, link, mut raw) = tap.watched(session, 1000).await;
        opens(&gateway, &link, "two").await.expect("room");
        ends(&gateway);
        tap.1.send_replace(2000);
        assert_eq!(raw.rest().await.0, b"", "{code}");
        gateway.until_metric(&format!("refusals_total{{code=\"{code}\""), 1.0).await;
        assert_eq!(gateway.metric("sessions_active"), if code == "session_evicted" { 1.0 } else { 2.0 });
    }
}

#[tokio::test]
async fn what_is_only_observed_is_sent_to_its_end() {
    let tap = Tap::new();
    let (gateway, link, mut raw) = tap.watched(json!({ "max_bytes": 1500, "on_full": "observe" }), 1000).await;
    tap.1.send_replace(FILE);
    assert_eq!(raw.read(FILE - 1000).await.expect("all of it").len(), FILE - 1000);
    assert_eq!(gateway.metric("sessions_over_limit_total{reason=\"bytes\""), 1.0);
    assert_eq!(gateway.get(&beside(&opens(&gateway, &link, "one").await.expect("his own"), "film.mp4"), &named("one")).await.status, 200);
}

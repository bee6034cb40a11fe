//! How long and how much: timeouts towards the origin, requests in flight.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::to;
use crate::support::client::{self, Raw};
use crate::support::{Gateway, Origin, Reply, within};

/// Takes a request's head and then neither reads nor writes until the test is over.
fn mute() -> Origin {
    Origin::scripted(|exchange| async move {
        std::future::pending::<()>().await;
        Ok(Some(exchange))
    })
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_given_up() {
    let origin = mute();
    let gateway = to(&origin, json!({ "first_byte_timeout": "150ms", "retries": 0 }));
    for (method, fields, body) in [
        ("GET", "", ""),
        ("POST", "", "body"),
        ("POST", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"),
        ("POST", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"),
        ("GET", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"),
    ] {
        let mut caller = Raw::connect(gateway.addr()).await;
        let fields = if fields.is_empty() && !body.is_empty() { format!("Content-Length: {}\r\n", body.len()) } else { fields.to_owned() };
        caller.send(format!("{method} /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")).await.expect("sent");
        let answer = caller.answer(false).await.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (504, "origin_timeout"), "{method} {fields}");
    }
}

#[tokio::test]
async fn an_origin_that_takes_no_upload_is_given_up() {
    let origin = mute();
    let mut config = crate::support::gateway::public(&origin.url);
    config["server"] = json!({ "limits": { "body_idle_timeout": "500ms" } });
    config["origins"]["media"]["first_byte_timeout"] = "200ms".into();
    let gateway = Gateway::start(config);
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n").await.expect("sent");
    let piece = vec![b'x'; 1 << 16];
    // Until nobody takes any more: the origin, the gateway and the sockets between are full.
    let answer = within("a refusal", async {
        while tokio::time::timeout(Duration::from_millis(100), caller.send(&piece)).await.is_ok_and(|sent| sent.is_ok()) {}
        caller.answer(false).await
    })
    .await
    .expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (504, "origin_timeout"));
}

#[tokio::test]
async fn a_caller_that_stops_sending_is_given_up_and_the_origin_not_blamed() {
    let origin = mute();
    let mut config = crate::support::gateway::public(&origin.url);
    config["server"] = json!({ "limits": { "body_idle_timeout": "150ms" } });
    config["origins"]["media"]["first_byte_timeout"] = "50ms".into();
    let gateway = Gateway::start(config);
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await.expect("sent");
    let answer = caller.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
    assert_eq!(answer.field("connection"), Some("close"));
    caller.rest().await;
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_cut() {
    for (head, body) in [("Content-Length: 10", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n")] {
        let origin = Origin::scripted(move |mut exchange| async move {
            exchange.raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await?;
            exchange.closed().await;
            Ok(None)
        });
        let gateway = to(&origin, json!({ "idle_timeout": "100ms" }));
        let mut caller = Raw::connect(gateway.addr()).await;
        caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
        assert_eq!(caller.head().await.expect("a head").status, 200);
        let (rest, _) = caller.rest().await;
        assert_eq!(String::from_utf8_lossy(&rest), body, "no end that looks like a good one");
        origin.wait("its connection to end", |origin| origin.open() == 0).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut() {
    for (head, body) in [("Content-Length: 10", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n")] {
        let origin = Origin::scripted(move |mut exchange| async move {
            exchange.raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await?;
            Ok(None)
        });
        let gateway = to(&origin, json!({}));
        let mut caller = Raw::connect(gateway.addr()).await;
        caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
        assert_eq!(caller.head().await.expect("a head").status, 200);
        assert_eq!(String::from_utf8_lossy(&caller.rest().await.0), body);
        assert_eq!(origin.count(), 1);
    }
}

#[tokio::test]
async fn a_slow_caller_is_not_taken_for_a_silent_origin() {
    const LENGTH: usize = 16 << 20;
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await?;
        for _ in 0..LENGTH >> 16 {
            exchange.raw(vec![b'x'; 1 << 16]).await?;
        }
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({ "idle_timeout": "200ms" }));
    let mut caller = Raw::narrow(gateway.addr()).await;
    caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    assert_eq!(caller.head().await.expect("a head").status, 200);
    // Longer than the origin may be silent: it is this caller that does nothing.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(caller.read(LENGTH).await.map(|body| body.len()).ok(), Some(LENGTH));
}

#[tokio::test]
async fn more_than_may_be_in_flight_is_shed() {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let origin = Origin::scripted(move |mut exchange| {
        let held = held.clone();
        async move {
            if exchange.seen.target == "/held" {
                held.notified().await;
            }
            exchange.reply(&Reply::new(200, "x")).await?;
            Ok(Some(exchange))
        }
    });
    let gateway = to(&origin, json!({ "max_connections": 1 }));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(client::head("GET", "/held", "", 0)).await.expect("sent");
    origin.wait("the request", |origin| origin.count() == 1).await;
    let shed = gateway.get("/a", "").await;
    assert_eq!((shed.status, shed.code().as_str(), shed.field("retry-after")), (503, "origin_busy", Some("1")));
    release.notify_one();
    assert_eq!(caller.answer(false).await.expect("an answer").status, 200);
    assert_eq!(gateway.get("/a", "").await.status, 200);
    assert_eq!(gateway.metric("upstream_requests_in_flight"), 0.0);
}

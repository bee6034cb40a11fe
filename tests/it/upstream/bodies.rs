//! Bodies in both directions: streamed, refused before they are sent, answered while they come.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::to;
use crate::support::client::{self, H2, Raw, empty};
use crate::support::gateway::{over, public};
use crate::support::{Gateway, Origin, Reply, within};

const PIECE: usize = 1 << 16;

#[tokio::test]
async fn uploads_flow_through() {
    const PIECES: usize = 256;
    let origin = Origin::start(|seen| Reply::new(200, seen.body_length.to_string()));
    let gateway = to(&origin, json!({}));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", PIECES * PIECE)).await.expect("sent");
    for number in 0..PIECES {
        caller.send(vec![u8::try_from(number % 251).expect("small"); PIECE]).await.expect("sent");
        if number == 16 {
            // What was sent arrives while the rest is still to come.
            origin.wait("the first bytes", |origin| origin.requests().last().is_some_and(|seen| seen.body_length > 0)).await;
        }
    }
    assert_eq!(caller.answer(false).await.expect("an answer").text(), (PIECES * PIECE).to_string());
    let seen = origin.last();
    let expected = |at: usize| u8::try_from(at / PIECE % 251).expect("small");
    assert!(seen.body.iter().enumerate().all(|(at, byte)| *byte == expected(at)));
    caller.send(client::head("POST", "/up", "Transfer-Encoding: chunked\r\n", 0)).await.expect("sent");
    for _ in 0..16 {
        caller.send([format!("{PIECE:x}\r\n").as_bytes(), &vec![b'x'; PIECE], b"\r\n"].concat()).await.expect("sent");
    }
    caller.send("0\r\n\r\n").await.expect("sent");
    assert_eq!(caller.answer(false).await.expect("an answer").text(), (16 * PIECE).to_string());
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_origin_that_reads_slowly_holds_the_caller_back() {
    const LENGTH: usize = 64 << 20;
    let go = Arc::new(Notify::new());
    let held = go.clone();
    let origin = Origin::scripted(move |mut exchange| {
        let held = held.clone();
        async move {
            held.notified().await;
            exchange.read_body().await?;
            exchange.reply(&Reply::new(200, exchange.seen.body_length.to_string())).await?;
            Ok(None)
        }
    });
    let gateway = to(&origin, json!({}));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n")).await.expect("sent");
    let piece = vec![b'x'; PIECE];
    let mut sent = 0;
    // A write that waits this long on loopback waits for the origin.
    while let Ok(wrote) = tokio::time::timeout(Duration::from_millis(300), caller.send_some(&piece)).await {
        sent += wrote.expect("sent");
        assert!(sent < LENGTH / 2, "the gateway takes it all");
    }
    go.notify_one();
    while sent < LENGTH {
        sent += caller.send_some(&piece[..PIECE.min(LENGTH - sent)]).await.expect("sent");
    }
    assert_eq!(caller.answer(false).await.expect("an answer").text(), LENGTH.to_string());
}

#[tokio::test]
async fn a_refused_upload_is_never_asked_for() {
    let origin = Origin::plain();
    let mut config = crate::support::gateway::simple(&origin.url);
    config["routes"][0]["methods"] = json!(["POST"]);
    let gateway = Gateway::start(config);
    let head = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(head("/up")).await.expect("sent");
    let answer = caller.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (401, "token_missing"));
    assert_eq!(origin.connections(), 0);
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(head(&gateway.link("/up"))).await.expect("sent");
    assert_eq!(caller.answer(false).await.expect("an answer").status, 100);
    caller.send("body").await.expect("sent");
    assert_eq!(caller.answer(false).await.expect("an answer").status, 200);
    let seen = origin.last();
    assert_eq!((seen.body.as_slice(), seen.field("expect")), (&b"body"[..], None));
}

/// Sends an upload of 8 MiB whatever is said meanwhile, then reads the answer.
async fn stubborn_upload(gateway: &Gateway, target: &str) -> client::Answer {
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(format!("POST {target} HTTP/1.1\r\nHost: gate.test\r\nContent-Length: {}\r\n\r\n", 128 * PIECE)).await.expect("sent");
    let piece = vec![b'x'; PIECE];
    for _ in 0..128 {
        // A reset would take the answer out of the hands of many a caller (RFC 9112 §9.6).
        caller.send(&piece).await.expect("nobody hangs up on a caller that is still sending");
    }
    let answer = caller.answer(false).await.expect("the answer, although it came early");
    let (rest, clean) = caller.end().await;
    assert!(rest.is_empty() && clean, "reset, or more than an answer: {rest:?}");
    answer
}

#[tokio::test]
async fn an_early_answer_reaches_a_caller_that_is_still_sending() {
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.take(1000).await?;
        exchange.reply(&Reply::new(413, "too much")).await?;
        // Should all of it come nevertheless, the connection is as good as before.
        exchange.take((128 * PIECE) as u64 - 1000).await?;
        Ok(Some(exchange))
    });
    let gateway = to(&origin, json!({}));
    for _ in 0..5 {
        let answer = stubborn_upload(&gateway, "/up").await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_caller_that_is_still_sending() {
    let origin = Origin::plain();
    let mut config = crate::support::gateway::simple(&origin.url);
    config["routes"][0]["methods"] = json!(["POST"]);
    let gateway = Gateway::start(config);
    for _ in 0..5 {
        assert_eq!(stubborn_upload(&gateway, "/up").await.code(), "token_missing");
    }
    assert_eq!(origin.connections(), 0);
}

const TRAILED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n";

#[tokio::test]
async fn an_answer_s_trailers_pass() {
    let origin = Origin::scripted(|mut exchange| async move {
        exchange.raw(TRAILED).await?;
        Ok(Some(exchange))
    });
    let h2c = json!({ "server": { "workers": 1, "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] } });
    let gateway = Gateway::start(over(public(&origin.url), h2c));
    let sum = [("x-sum".to_owned(), "9".to_owned())];
    let answer = gateway.get("/a", "TE: trailers\r\n").await;
    assert_eq!((answer.text().as_str(), &answer.trailers[..]), ("abc", &sum[..]));
    let request = http::Request::get("http://gate.test/a").header("te", "trailers").body(empty()).expect("a request");
    let answer = H2::plain(gateway.addr()).await.send(request).await.expect("an answer");
    assert_eq!((answer.text().as_str(), &answer.trailers[..]), ("abc", &sum[..]));
    // Who has not asked for them gets a whole answer without.
    assert_eq!(gateway.get("/a", "").await.text(), "abc");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn answers_of_every_framing_come_whole() {
    let origin = Origin::scripted(|mut exchange| async move {
        let (head, body) = match exchange.seen.target.as_str() {
            "/chunked" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"),
            "/close" => ("HTTP/1.1 200 OK\r\nConnection: close", "abcdefg"),
            "/old" => ("HTTP/1.0 200 OK", "abcdefg"),
            "/hints" => ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7", "abcdefg"),
            "/switch" => ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade", ""),
            _ => ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked", "7\r\nabcdefg\r\n0\r\n\r\n"),
        };
        exchange.raw(format!("{head}\r\n\r\n{body}")).await?;
        Ok(matches!(exchange.seen.target.as_str(), "/chunked" | "/hints").then_some(exchange))
    });
    let gateway = to(&origin, json!({}));
    for target in ["/chunked", "/close", "/old", "/hints"] {
        let answer = gateway.get(target, "").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcdefg"), "{target}");
    }
    assert_eq!(gateway.get("/switch", "").await.code(), "origin_broken");
    let both = gateway.get("/both", "").await;
    assert!(both.status == 502 || (both.text() == "abcdefg" && both.field("content-length").is_none()), "{both:?}");
}

#[tokio::test]
async fn pushing_goes_on_frame_by_frame() {
    let go = Arc::new(Notify::new());
    let held = go.clone();
    let origin = Origin::scripted(move |mut exchange| {
        let held = held.clone();
        async move {
            exchange.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await?;
            held.notified().await;
            exchange.raw("4\r\nlast\r\n0\r\n\r\n").await?;
            Ok(Some(exchange))
        }
    });
    let gateway = to(&origin, json!({}));
    let mut caller = Raw::connect(gateway.addr()).await;
    caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
    within("the first part before the last is there", caller.head()).await.expect("a head");
    assert_eq!(caller.read(9).await.expect("bytes"), b"4\r\npart\r\n");
    go.notify_one();
    assert_eq!(caller.read(14).await.expect("bytes"), b"4\r\nlast\r\n0\r\n\r\n");
}

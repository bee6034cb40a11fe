//! Each limit, and that its place is given back.

use serde_json::{Value, json};

use super::{api_video, at, begin, form, form_fields, gateway, link, noise, part};
use crate::support::{Origin, Raw, Reply, client};

const BINARY: &str = "Content-Type: video/mp4\r\n";

async fn put(gateway: &crate::support::Gateway, link: &str, fields: &str, body: &[u8]) -> (u16, String) {
    let answer = client::request(gateway.addr(), "PUT", link, fields, body).await;
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn what_is_declared_too_large_is_refused_before_its_body() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "max_bytes": 1000, "concurrent_per_token": 1 }));
    let all = link(&gateway, "/a", 60, json!({}));
    let tight = link(&gateway, "/a", 61, json!({ "max": 10 }));
    for (target, length, fits) in [(&all, 1000, true), (&all, 1001, false), (&tight, 10, true), (&tight, 11, false)] {
        let mut raw = Raw::connect(gateway.addr()).await;
        raw.send(client::head("PUT", target, &format!("{BINARY}Expect: 100-continue\r\n"), length)).await.expect("sent");
        let head = raw.head().await.expect("an answer");
        assert_eq!(head.status, if fits { 100 } else { 413 }, "{length}: a caller that waits has sent no byte of its body");
        if fits {
            raw.send(vec![b'x'; length]).await.expect("sent");
            assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
        }
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(gateway.metric("refusals_total{code=\"upload_too_large\""), 2.0);
}

#[tokio::test]
async fn a_large_body_that_does_not_wait_reads_why_it_is_refused() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "max_bytes": 1000 }));
    let link = link(&gateway, "/a", 60, json!({}));
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send(client::head("PUT", &link, BINARY, 3_000_000)).await.expect("sent");
    let mut sent = 0;
    let chunk = vec![b'x'; 64 * 1024];
    while sent < 200_000 {
        match raw.send_some(&chunk).await {
            Ok(more) => sent += more,
            Err(_) => break,
        }
    }
    let answer = raw.answer(false).await.expect("the reason, not a reset");
    assert_eq!((answer.status, answer.code().as_str()), (413, "upload_too_large"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit_and_gives_its_place_back() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "max_bytes": 1000, "concurrent_per_token": 1 }));
    let link = link(&gateway, "/a", 60, json!({}));
    let mut raw = Raw::connect(gateway.addr()).await;
    let head = client::head("PUT", &link, &format!("{BINARY}Transfer-Encoding: chunked\r\n"), 0);
    raw.send(format!("{head}3e8\r\n{}\r\n", "x".repeat(1000))).await.expect("sent");
    raw.send("1\r\nx\r\n").await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (413, "upload_too_large"));
    assert!(origin.requests().iter().all(|seen| !seen.whole), "the origin never has it whole");
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"failed\"")), (0.0, 1.0));
    assert_eq!(put(&gateway, &link, BINARY, b"small").await.0, 200);
}

#[tokio::test]
async fn the_parts_of_an_upload_share_its_bytes() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({ "max_bytes": 10_000 }));
    let link = link(&gateway, "/upload", 60, json!({}));
    let content = noise(4000, 3);
    assert_eq!(part(&gateway, &link, "part 1/3", &content).await.status, 201);
    assert_eq!(part(&gateway, &link, "part 2/3", &content).await.status, 201);
    let third = part(&gateway, &link, "part 3/3", &content).await;
    assert_eq!((third.status, third.code().as_str()), (413, "upload_too_large"));
    let declared = part(&gateway, &link, "bytes 0-3999/12000", &content).await;
    assert_eq!(declared.code(), "upload_too_large", "by what it says of the whole file");
}

#[tokio::test]
async fn files_of_other_types_are_refused() {
    let (origin, _) = api_video();
    let gateway = gateway(&origin.url, json!({ "content_types": ["video/*"] }));
    let open = link(&gateway, "/upload", 60, json!({}));
    let tight = link(&gateway, "/upload", 61, json!({ "types": ["video/mp4"] }));
    for (target, kind, fits) in
        [(&open, "video/webm", true), (&open, "image/png", false), (&tight, "video/mp4", true), (&tight, "video/webm", false)]
    {
        let expected = if fits { 201 } else { 415 };
        let body = form(&[], ("f", kind, b"content"));
        let answer = client::request(gateway.addr(), "POST", target, &form_fields(None), &body).await;
        assert_eq!(answer.status, expected, "{kind} in a form: {}", answer.text());
        if !fits {
            assert_eq!(put(&gateway, target, &format!("Content-Type: {kind}\r\n"), b"content").await, refused(415, "upload_type"));
        }
    }
    assert_eq!(put(&gateway, &open, "", b"content").await, refused(415, "upload_type"), "one that names none could be anything");
    let hidden = form(&[], ("f", "video/mp4", b"x\n------tollgate--"));
    let answer = client::request(gateway.addr(), "POST", &open, &form_fields(None), &hidden).await;
    assert_eq!(answer.code(), "body_broken", "types cannot be told in a form with two readings");
}

#[tokio::test]
async fn uploads_at_the_same_time_are_counted() {
    let origin = Origin::plain();
    let per_token = |settings: Value, claims: Value| (settings, claims);
    for (settings, claims, code) in [
        (json!({ "concurrent_per_token": 1 }), json!({ "sub": "ann" }), "session_concurrent_token"),
        (json!({}), json!({ "n": 1 }), "session_concurrent_token"),
        (json!({ "concurrent_per_subject": 1 }), json!({ "sub": "ann" }), "session_concurrent_subject"),
    ] {
        let (settings, claims) = per_token(settings, claims);
        let gateway = gateway(&origin.url, settings);
        let first = link(&gateway, "/a", 60, claims.clone());
        let second = if code.ends_with("subject") { link(&gateway, "/a", 61, claims) } else { first.clone() };
        let before = origin.count();
        let mut open = begin(&gateway, "PUT", &first, BINARY, (10, b"half")).await;
        origin.wait("the first upload", |origin| origin.count() > before).await;
        assert_eq!(put(&gateway, &second, BINARY, b"x").await, refused(429, code));
        open.send(b" whole").await.expect("sent");
        assert_eq!(open.answer(false).await.expect("an answer").status, 200);
        assert_eq!(put(&gateway, &second, BINARY, b"x").await.0, 200, "its place is free at once");
    }
}

#[tokio::test]
async fn uploads_over_a_tokens_life_are_counted() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "total_per_token": 3 }));
    let (open, tight) = (link(&gateway, "/a", 60, json!({})), link(&gateway, "/a", 61, json!({ "t": 1 })));
    for (target, most) in [(&open, 3), (&tight, 1)] {
        for _ in 0..most {
            assert_eq!(put(&gateway, target, BINARY, b"x").await.0, 200);
        }
        assert_eq!(put(&gateway, target, BINARY, b"x").await, refused(429, "session_total_token"));
    }
}

#[tokio::test]
async fn the_oldest_has_to_go_where_that_is_the_policy() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "on_full": "evict-oldest" }));
    let link = link(&gateway, "/a", 60, json!({}));
    let mut old = begin(&gateway, "PUT", &link, BINARY, (10, b"half")).await;
    origin.wait("the first upload", |origin| origin.count() == 1).await;
    assert_eq!(put(&gateway, &link, BINARY, b"x").await.0, 200);
    gateway.pass(1);
    old.send(b" whole").await.expect("sent");
    let answer = old.answer(false).await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (403, "session_evicted"));
    assert!(!origin.requests()[0].whole, "its end never reaches the origin");
}

#[tokio::test]
async fn a_recorder_that_drips_is_broken_off_and_one_that_waits_for_the_origin_is_not() {
    let origin = Origin::plain();
    let gateway = gateway(&origin.url, json!({ "min_rate": 1_000_000, "min_rate_over": "50ms", "concurrent_per_token": 1 }));
    let link = link(&gateway, "/a", 60, json!({}));
    let mut raw = begin(&gateway, "PUT", &link, BINARY, (100_000, b"x")).await;
    let drip = async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            pause.tick().await;
            if raw.send_some(b"x").await.is_err() {
                break;
            }
            if let Ok(answer) = tokio::time::timeout(std::time::Duration::from_millis(1), raw.answer(false)).await {
                return answer.expect("an answer");
            }
        }
        raw.answer(false).await.expect("an answer")
    };
    let answer = crate::support::within("the gateway to lose patience", drip).await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "upload_too_slow"));
    assert_eq!(gateway.metric("sessions_active"), 0.0);
    // As slow, but by the origin: all of the body was there.
    let slow = Origin::scripted(|mut exchange| async move {
        for _ in 0..4 {
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            exchange.take(25_000).await?;
        }
        exchange.reply(&Reply::new(200, "taken")).await?;
        Ok(Some(exchange))
    });
    let gateway = super::gateway(&slow.url, json!({ "min_rate": 1_000_000, "min_rate_over": "50ms" }));
    let link = super::link(&gateway, "/a", 60, json!({}));
    assert_eq!(put(&gateway, &at(&link, "/b"), BINARY, &vec![b'x'; 100_000]).await.0, 200);
}

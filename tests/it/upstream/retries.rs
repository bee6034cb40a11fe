//! What is tried again, and where.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{gateway, to};
use crate::support::client::{self, Raw};
use crate::support::{Origin, Reply, origin};

/// Answers `status` this often, then 200.
fn failing(times: usize, status: u16) -> Origin {
    let left = AtomicUsize::new(times);
    Origin::start(move |_| {
        let fails = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok();
        if fails { Reply::new(status, "failed") } else { Reply::new(200, "media") }
    })
}

/// Reads a request's head, then closes.
fn slamming() -> Origin {
    Origin::scripted(|_| async move { Ok(None) })
}

#[tokio::test]
async fn a_get_is_tried_again() {
    for status in [502, 503, 504] {
        let origin = failing(2, status);
        let gateway = to(&origin, json!({ "retries": 2 }));
        let answer = gateway.get("/a?b", "X-Mine: 1\r\n").await;
        assert_eq!((answer.status, answer.text().as_str(), origin.count()), (200, "media", 3));
        let seen = origin.requests();
        assert!(seen.iter().all(|seen| seen.target == "/a?b" && seen.field("x-mine") == Some("1") && seen.field("host").is_some()));
        assert_eq!(gateway.metric("upstream_retries_total"), 2.0);
    }
}

#[tokio::test]
async fn the_last_answer_stands() {
    let origin = failing(100, 503);
    let gateway = to(&origin, json!({ "retries": 1 }));
    let answer = gateway.get("/a", "").await;
    assert_eq!((answer.status, answer.text().as_str(), origin.count()), (503, "failed", 2));
    let gateway = to(&origin, json!({ "retries": 0 }));
    assert_eq!((gateway.get("/a", "").await.status, origin.count()), (503, 3));
    for status in [500, 404, 429] {
        let origin = failing(1, status);
        assert_eq!((to(&origin, json!({})).get("/a", "").await.status, origin.count()), (status, 1));
    }
}

#[tokio::test]
async fn what_was_begun_is_never_sent_twice_unless_it_is_a_read() {
    for (method, body) in [("POST", &b"body"[..]), ("POST", b""), ("PUT", b"body"), ("GET", b"body")] {
        let origin = failing(1, 503);
        let answer = client::request(to(&origin, json!({})).addr(), method, "/a", "", body).await;
        assert_eq!((answer.status, origin.count()), (503, 1), "{method}");
        let origin = slamming();
        let answer = client::request(to(&origin, json!({})).addr(), method, "/a", "", body).await;
        assert_eq!((answer.status, answer.code().as_str(), origin.count()), (502, "origin_broken", 1), "{method}");
    }
}

#[tokio::test]
async fn tries_are_bounded_over_time() {
    let origin = failing(usize::MAX, 503);
    let gateway = to(&origin, json!({ "retries": 5 }));
    let begun = std::time::Instant::now();
    let mut caller = Raw::connect(gateway.addr()).await;
    for _ in 0..100 {
        caller.send(client::head("GET", "/a", "", 0)).await.expect("sent");
        assert_eq!(caller.answer(false).await.expect("an answer").status, 503);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("seconds") + 2;
    // A fifth of the requests, and ten in each second that was touched.
    assert!(origin.count() <= 100 + 20 + 10 * seconds, "{} in {seconds} s", origin.count());
}

#[tokio::test]
async fn an_unreachable_endpoint_is_stepped_over() {
    let origin = Origin::plain();
    let dead = origin::refusing();
    let gateway = gateway(&[&dead, &origin.url], json!({ "eject_after": 0 }));
    for method in ["GET", "POST", "GET", "POST", "GET", "PUT", "GET", "POST"] {
        let body: &[u8] = if method == "GET" { b"" } else { b"body" };
        let answer = client::request(gateway.addr(), method, "/a", "", body).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
    }
    assert_eq!(origin.count(), 8);
}

#[tokio::test]
async fn an_endpoint_that_fails_in_a_row_is_left_out() {
    let (good, bad) = (Origin::plain(), slamming());
    let gateway = gateway(&[&bad.url, &good.url], json!({ "eject_after": 3, "eject_time": "60s" }));
    for _ in 0..60 {
        assert_eq!(gateway.get("/a", "").await.status, 200);
    }
    assert_eq!((bad.count(), good.count()), (3, 60));
    assert_eq!(gateway.metric(&format!("upstream_endpoint_ejected{{endpoint=\"{}\"", bad.url)), 1.0);
}

#[tokio::test]
async fn an_endpoint_comes_back() {
    let (good, bad) = (Origin::plain(), failing(3, 500));
    let gateway = gateway(&[&bad.url, &good.url], json!({ "eject_after": 3, "eject_time": "50ms" }));
    crate::support::within("the endpoint to be used again", async {
        while bad.count() < 10 {
            gateway.get("/a", "").await;
        }
    })
    .await;
    assert_eq!(gateway.metric("upstream_endpoint_ejected"), 0.0);
}

#[tokio::test]
async fn good_endpoints_share_the_load() {
    let (one, two) = (Origin::plain(), Origin::plain());
    let gateway = gateway(&[&one.url, &two.url], json!({}));
    for _ in 0..60 {
        assert_eq!(gateway.get("/a", "").await.status, 200);
    }
    assert!(one.count() >= 10 && two.count() >= 10, "{} and {}", one.count(), two.count());
}

#[tokio::test]
async fn when_all_are_down_it_is_said() {
    let (one, two) = (origin::refusing(), origin::refusing());
    let gateway = gateway(&[&one, &two], json!({ "eject_after": 1 }));
    for _ in 0..5 {
        let answer = gateway.get("/a", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "origin_unreachable"));
    }
    assert!(gateway.metric("upstream_errors_total{origin=\"media\",reason=\"unreachable\"") >= 5.0);
}

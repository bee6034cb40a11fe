//! The stand-ins for vendors, over the wire: TLS, faults, and what they remember.

use std::time::Duration;

use serde_json::json;

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};
use tollgate::demo::vendor::{Fault, StandIn, Vendor};

use crate::support::client::{Answer, Raw, head, request};
use crate::support::gateway::NOW;
use crate::support::tls::Authority;
use crate::support::vendors::Simulator;
use crate::support::within;

const KEY: &str = "9VxMaPgsaFg7EBqmuspSzF7";

fn apivideo(clock: &Clock) -> Simulator<Apivideo> {
    Simulator::plain(Apivideo::new(Settings::new(KEY)), clock)
}

fn addr(url: &str) -> std::net::SocketAddr {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    ([127, 0, 0, 1], port).into()
}

async fn sign_in<V: Vendor>(vendor: &Simulator<V>) -> Answer {
    request(addr(&vendor.url), "POST", "/auth/api-key", "", json!({ "apiKey": KEY }).to_string().as_bytes()).await
}

#[tokio::test]
async fn a_stand_in_answers_over_tls_and_remembers() {
    let authority = Authority::new();
    let vendor = Simulator::secure(Apivideo::new(Settings::new(KEY)), &Clock::manual(NOW), &authority);
    let client = authority.client(&[&rustls::version::TLS13], &[]);
    let (mut raw, _) = Raw::tls(addr(&vendor.url), client, "localhost").await.expect("TLS");
    raw.send(head("GET", "/upload-tokens?pageSize=1", "Authorization: Basic OVZ4TWFQZ3NhRmc3RUJxbXVzcFN6Rjc6\r\n", 0)).await.expect("sent");
    let answer = raw.answer(false).await.expect("an answer");
    assert_eq!(
        (answer.status, answer.field("content-type"), answer.field("x-ratelimit-limit")),
        (200, Some("application/json"), Some("500"))
    );
    assert_eq!((vendor.count("GET /upload-tokens"), vendor.calls()[0].parameter("pageSize")), (1, Some("1".into())));
}

#[tokio::test]
async fn faults_come_in_the_vendors_words_and_end() {
    let vendor = apivideo(&Clock::manual(NOW));
    vendor.fail("POST /auth", 1, Fault::Status(429));
    vendor.fail("POST /auth", 1, Fault::StatusEarly(503));
    vendor.fail("POST /auth", 1, Fault::Delay(Duration::from_millis(1)));
    let limited = sign_in(&vendor).await;
    assert_eq!((limited.status, limited.field("x-ratelimit-retry-after"), limited.field("retry-after")), (429, Some("60"), None));
    assert!(limited.text().contains("/too-many-requests"));
    assert_eq!([sign_in(&vendor).await.status, sign_in(&vendor).await.status, sign_in(&vendor).await.status], [503, 200, 200]);
}

#[tokio::test]
async fn connections_break_where_they_are_told_to() {
    let vendor = apivideo(&Clock::manual(NOW));
    let broken = async |fault: Fault| {
        vendor.fail("/auth", 1, fault);
        let mut raw = Raw::connect(addr(&vendor.url)).await;
        let body = json!({ "apiKey": KEY }).to_string();
        raw.send(head("POST", "/auth/api-key", "", body.len())).await.expect("sent");
        raw.send(&body).await.expect("sent");
        raw.rest().await.0
    };
    assert_eq!(broken(Fault::CutBody(4)).await, b"");
    assert_eq!((vendor.calls()[0].length, vendor.calls()[0].whole), (4, false));
    let cut = String::from_utf8(broken(Fault::CutAnswer(10)).await).expect("text");
    let (told, body) = cut.split_once("\r\n\r\n").expect("a head");
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("content-length: ") && body.len() == 10, "{cut}");
    assert_eq!(broken(Fault::LostAnswer).await, b"");
    assert_eq!(vendor.count("POST /auth/api-key"), 3);
}

#[tokio::test]
async fn an_answer_is_held_until_it_is_let_go() {
    let vendor = apivideo(&Clock::manual(NOW));
    let held = vendor.hold("/auth");
    let (url, body) = (vendor.url.clone(), json!({ "apiKey": KEY }).to_string());
    let asking = tokio::spawn(async move { request(addr(&url), "POST", "/auth/api-key", "", body.as_bytes()).await.status });
    until_calls(&vendor, 1).await;
    assert!(!asking.is_finished());
    drop(held);
    assert_eq!(within("the answer", asking).await.expect("asked"), 200);
    assert_eq!(sign_in(&vendor).await.status, 200);
}

/// Waits until a stand-in has been called so often.
async fn until_calls<V: Vendor>(vendor: &StandIn<V>, calls: usize) {
    within("a call", async {
        while vendor.calls().len() < calls {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

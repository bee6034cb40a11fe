//! Two whole gateways on one store: a viewer is one viewer, whichever gateway he asks.

use serde_json::{Value, json};

use super::server::{Server, programs};
use crate::support::client;
use crate::support::gateway::{key, over, simple};
use crate::support::{Gateway, Origin, within};

/// A config whose gateways share `url` and their ticket keys.
fn config(origin: &str, url: &str, session: &Value, inline: &str) -> Value {
    over(
        simple(origin),
        json!({
            "keys": { "viewer": { "inline": inline } },
            "sessions": {
                "ticket_keys": [{ "secret": "0123456789abcdef0123456789abcdef" }],
                "renew_every": "100ms",
                "store": { "valkey": { "url": url } },
            },
            "routes": [{ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media", "session": session }],
        }),
    )
}

fn location(answer: &client::Answer) -> String {
    answer.field("location").unwrap_or_else(|| panic!("{} {}", answer.status, answer.text())).to_owned()
}

/// Asks until the answer has `code`; a change elsewhere is on its way.
async fn until_code(gateway: &Gateway, target: &str, fields: &str, code: &str) {
    within(code, async {
        while gateway.get(target, fields).await.code() != code {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_gateways_count_together() {
    for program in programs("two gateways on one store") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let one = Gateway::start(config(&origin.url, &server.url(), &json!({ "concurrent_per_token": 1 }), &inline));
        let two = Gateway::start(config(&origin.url, &server.url(), &json!({ "concurrent_per_token": 1 }), &inline));
        let host = "Host: video.test\r\nUser-Agent: first\r\n";
        let link = one.link("/film/master.m3u8");
        let ticketed = location(&one.get(&link, host).await);
        let child = ticketed.replace("master.m3u8", "seg1.ts");
        assert_eq!(one.get(&child, host).await.status, 200);
        assert_eq!(two.get(&child, host).await.status, 200, "the other gateway takes the ticket in");
        let other = two.get(&link, "Host: video.test\r\nUser-Agent: second\r\n").await;
        assert_eq!((other.status, other.code().as_str()), (403, "session_concurrent_token"), "{}", program.name);
        let again = location(&two.get(&link, host).await);
        assert_eq!(two.get(&again.replace("master.m3u8", "seg2.ts"), host).await.status, 200, "the same viewer has his session everywhere");
    }
}

#[tokio::test]
async fn an_eviction_on_one_gateway_ends_the_session_on_the_other() {
    for program in programs("an eviction over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let terms = json!({ "concurrent_per_token": 1, "on_full": "evict-oldest" });
        let one = Gateway::start(config(&origin.url, &server.url(), &terms, &inline));
        let two = Gateway::start(config(&origin.url, &server.url(), &terms, &inline));
        let first = "Host: video.test\r\nUser-Agent: first\r\n";
        let link = one.link("/film/master.m3u8");
        let child = location(&one.get(&link, first).await).replace("master.m3u8", "seg1.ts");
        assert_eq!(one.get(&child, first).await.status, 200);
        assert_eq!(two.get(&link, "Host: video.test\r\nUser-Agent: second\r\n").await.status, 302);
        until_code(&one, &child, first, "session_evicted").await;
    }
}

/// Waits until the store has been told who lives here, from now on.
async fn renewed(gateway: &Gateway) {
    let renewals = || gateway.metric("session_store_seconds_count{operation=\"renew\"");
    let before = renewals();
    within("renewals", async {
        while renewals() < before + 2.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// How often the store was asked for sessions by this gateway.
fn finds(gateway: &Gateway) -> f64 {
    gateway.metric("session_store_seconds_count{operation=\"find\"")
}

#[tokio::test]
async fn a_late_ticket_is_good_where_its_session_goes_on_and_costs_the_store_little_where_it_does_not() {
    for program in programs("late tickets over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let terms = json!({ "ticket_lifetime": "40s", "idle_timeout": "30s" });
        let one = Gateway::start(config(&origin.url, &server.url(), &terms, &inline));
        let two = Gateway::start(config(&origin.url, &server.url(), &terms, &inline));
        let host = "Host: video.test\r\nUser-Agent: first\r\n";
        let child = location(&one.get(&one.link("/film/master.m3u8"), host).await).replace("master.m3u8", "seg1.ts");
        for _ in 0..3 {
            one.pass(20);
            two.pass(20);
            assert_eq!(one.get(&child, host).await.status, 200);
            renewed(&one).await;
        }
        assert_eq!(two.get(&child, host).await.status, 200, "{}: late, and taken in", program.name);
        one.pass(3600);
        two.pass(3600);
        let asked = finds(&two);
        for _ in 0..50 {
            let late = two.get(&child, host).await;
            assert_eq!((late.status, late.code().as_str()), (403, "ticket_expired"));
        }
        let asked = finds(&two) - asked;
        assert!(asked < 10.0, "{}: the store was asked {asked} times for what is over", program.name);
        eprintln!("{}: 50 requests by a ticket that is over asked the store {asked} times", program.name);
    }
}

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

//! Two whole gateways on one store: a viewer is one viewer, whichever gateway he asks.

use serde_json::{Value, json};

use tollgate::token::SignRequest;

use super::server::{Server, programs};
use crate::support::client;
use crate::support::gateway::{for_path, key, over, simple, target};
use crate::support::{Gateway, Origin, Raw, Reply, within};

/// A config whose gateways share `url` and their ticket keys.
pub(crate) fn config(origin: &str, url: &str, session: &Value, inline: &str) -> Value {
    over(
        simple(origin),
        json!({
            "keys": { "viewer": { "inline": inline } },
            "sessions": shared(url),
            "routes": [{ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media", "session": session }],
        }),
    )
}

/// What gateways say of the store that they share.
pub(crate) fn shared(url: &str) -> Value {
    json!({
        "ticket_keys": [{ "secret": "0123456789abcdef0123456789abcdef" }],
        "renew_every": "100ms",
        "store": { "valkey": { "url": url } },
    })
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

#[tokio::test]
async fn from_an_operators_word_to_the_refusal_of_a_segment() {
    for program in programs("revocations over three gateways") {
        let server = Server::start(&program, &[]);
        let (origin, folder) = (Origin::plain(), crate::rig::Folder::new());
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let admin = json!({ "admin": { "token_file": folder.file("admin", "operators-own-secret\n") } });
        let config = over(config(&origin.url, &server.url(), &json!({}), &inline), admin);
        let all = [Gateway::start(config.clone()), Gateway::start(config.clone()), Gateway::start(config)];
        let host = "Host: video.test\r\nUser-Agent: first\r\n";
        let child = location(&all[0].get(&all[0].link("/film/master.m3u8"), host).await).replace("master.m3u8", "seg1.ts");
        for gateway in &all {
            assert_eq!(gateway.get(&child, host).await.status, 200);
        }
        let desk = all[0].inner.admin.expect("an admin listener");
        let body = br#"{"by":"subject","value":"ann","ttl":"1h"}"#;
        let began = std::time::Instant::now();
        let said = client::request(desk, "POST", "/revocations", "Authorization: Bearer operators-own-secret\r\n", body).await;
        assert_eq!(said.status, 201, "{}", said.text());
        let here = all[0].get(&child, host).await;
        let local = began.elapsed();
        assert_eq!((here.status, here.code().as_str()), (403, "session_revoked"), "the very next one");
        for gateway in &all[1..] {
            until_code(gateway, &child, host, "session_revoked").await;
        }
        let fleet = began.elapsed();
        assert!(local.as_secs_f64() <= 1.0 && fleet.as_secs_f64() <= 5.0, "{local:?} here, {fleet:?} on three gateways");
        eprintln!("{}: a segment refused {local:?} after an operator's word here, {fleet:?} on two other gateways", program.name);
    }
}

/// Asks a gateway as this program, from this network.
async fn asks(gateway: &Gateway, target: &str, agent: &str, network: u8) -> client::Answer {
    let mut raw = Raw::from([127, 0, network, 1], gateway.addr()).await;
    raw.send(client::head("GET", target, &format!("User-Agent: {agent}\r\n"), 0)).await.expect("sent");
    raw.answer(false).await.expect("an answer")
}

/// Opens an entry, and gives a segment of it.
async fn enters(gateway: &Gateway, link: &str) -> String {
    location(&asks(gateway, link, "first", 1).await).replace("master.m3u8", "seg1.ts")
}

#[tokio::test]
async fn every_limit_holds_over_two_gateways() {
    for program in programs("every limit over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        for (number, (terms, own_token, network, code)) in [
            (json!({ "concurrent_per_token": 1 }), false, 1, "session_concurrent_token"),
            (json!({ "concurrent_per_subject": 1 }), true, 1, "session_concurrent_subject"),
            (json!({ "concurrent_per_device": 1 }), true, 1, "session_concurrent_device"),
            (json!({ "concurrent_per_asset": 1 }), true, 1, "session_concurrent_asset"),
            (json!({ "total_per_token": 1 }), false, 1, "session_total_token"),
            (json!({ "networks_per_token": 1 }), false, 2, "session_networks"),
        ]
        .into_iter()
        .enumerate()
        {
            let claims = json!({ "schemes": { "viewer": { "claims": { "device": "device", "resource": "asset" } } } });
            let mut config = over(config(&origin.url, &server.url(), &terms, &inline), claims);
            config["sessions"]["store"]["valkey"]["prefix"] = json!(format!("{number}:"));
            let (one, two) = (Gateway::start(config.clone()), Gateway::start(config));
            let link = |seconds| {
                let claims = json!({ "device": "tv", "asset": "film" }).as_object().cloned().expect("a table");
                let expires = Some(one.clock.now().plus(seconds));
                target(&one.sign_with("viewer", &SignRequest { expires, claims, ..for_path("/film/master.m3u8") }))
            };
            let first = link(3600);
            let second = if own_token { link(3601) } else { first.clone() };
            let child = enters(&one, &first).await;
            assert_eq!(asks(&two, &second, "second", network).await.code(), code, "{}", program.name);
            assert_eq!(asks(&one, &child, "first", 1).await.status, 200, "{}: {code}: who watches goes on", program.name);
        }
    }
}

#[tokio::test]
async fn a_full_gateway_gives_the_fleets_place_back() {
    for program in programs("a full gateway of a fleet") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let config = config(&origin.url, &server.url(), &json!({ "concurrent_per_token": 2 }), &inline);
        let one = Gateway::start(over(config.clone(), json!({ "sessions": { "max_sessions": 1 } })));
        let two = Gateway::start(config);
        let link = one.link("/film/master.m3u8");
        enters(&one, &link).await;
        let full = asks(&one, &link, "second", 1).await;
        assert_eq!((full.status, full.code().as_str()), (503, "session_ceiling"), "{}", program.name);
        // The store had given it a place, and hears that it is free.
        within("the place", async { while asks(&two, &link, "third", 1).await.status != 302 {} }).await;
        assert_eq!(asks(&two, &link, "fourth", 1).await.code(), "session_concurrent_token");
    }
}

#[tokio::test]
async fn a_viewings_time_and_bytes_are_those_of_the_fleet() {
    for program in programs("time and bytes over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::start(|_| Reply::new(200, vec![b'x'; 1000]));
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let terms = json!({ "max_duration": "90s", "max_bytes": 2500, "idle_timeout": "80s" });
        let config = config(&origin.url, &server.url(), &terms, &inline);
        let (one, two) = (Gateway::start(config.clone()), Gateway::start(config));
        let link = one.link("/film/master.m3u8");
        let child = enters(&one, &link).await;
        for _ in 0..2 {
            assert_eq!(one.get(&child, "").await.status, 200);
        }
        renewed(&one).await;
        assert_eq!(two.get(&child, "").await.status, 200);
        assert_eq!(two.get(&child, "").await.code(), "session_bytes", "{}: 2000 were taken elsewhere", program.name);

        let other = location(&asks(&one, &link, "second", 1).await).replace("master.m3u8", "seg1.ts");
        for gateway in [&one, &two] {
            gateway.pass(60);
        }
        assert_eq!(one.get(&other, "").await.status, 200);
        for gateway in [&one, &two] {
            gateway.pass(30);
        }
        let late = two.get(&other, "").await.code();
        assert!(["session_duration", "ticket_expired"].contains(&late.as_str()), "{}: {late}", program.name);
    }
}

#[tokio::test]
async fn without_the_store_viewers_hear_what_their_route_says() {
    for program in programs("three policies without a store") {
        let mut server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let inline = key(tollgate::keygen::Kind::Ed25519);
        let policies = ["deny", "local", "allow"];
        let mut config = config(&origin.url, &server.url(), &json!({}), &inline);
        config["routes"] = policies
            .map(|policy| {
                let session = json!({ "concurrent_per_token": 1, "on_store_error": policy });
                json!({ "name": policy, "path": format!("/{policy}"), "accept": ["viewer"], "origin": "media", "session": session })
            })
            .into();
        let (one, two) = (Gateway::start(config.clone()), Gateway::start(config));
        let mut viewings = Vec::new();
        for (policy, seconds) in policies.iter().zip(3600..) {
            // A token each: they count over all routes.
            let expires = Some(one.clock.now().plus(seconds));
            let link = target(&one.sign_with("viewer", &SignRequest { expires, ..for_path(&format!("/{policy}/master.m3u8")) }));
            viewings.push((enters(&one, &link).await, link));
        }
        server.kill();
        let (away, full) = ((503, "session_store_away"), (403, "session_concurrent_token"));
        for ((child, link), said) in viewings.iter().zip([[away, away], [full, (302, "")], [(302, ""), (302, "")]]) {
            assert_eq!(asks(&one, child, "first", 1).await.status, 200, "{}: who watches goes on", program.name);
            for (gateway, (status, code)) in [&one, &two].into_iter().zip(said) {
                let answer = asks(gateway, link, "second", 1).await;
                assert_eq!((answer.status, answer.code().as_str()), (status, code), "{} {link}", program.name);
            }
        }
    }
}

/// What such a scheme keeps of a token cannot be written down for other gateways.
fn with_rules_of_its_own(origin: &str, server: &Server, route: Value) -> Value {
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
    json!({
        "keys": { "h": { "inline": secret.to_string() } },
        "schemes": { "uri": { "type": "rfc9246", "keys": "h", "issuers": ["us"] } },
        "server": { "limits": { "refusal_burst": 100_000 } },
        "sessions": shared(&server.url()),
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [over(json!({ "name": "media", "path": "/", "accept": ["uri"], "origin": "media" }), route)],
    })
}

fn uri_signed(gateway: &Gateway, path: &str, claims: &[(&str, &str)]) -> String {
    let mut asked = SignRequest { expires: Some(gateway.clock.now().plus(3600)), ..for_path(path) };
    asked.claims.extend(claims.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    target(&gateway.sign_with("uri", &asked))
}

#[tokio::test]
async fn viewings_of_schemes_with_rules_of_their_own_are_counted_together_and_outlive_the_store() {
    for program in programs("schemes with rules of their own over two gateways") {
        let mut server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let route = || json!({ "session": { "concurrent_per_token": 1, "propagation": "query" } });
        let start = || Gateway::start(with_rules_of_its_own(&origin.url, &server, route()));
        let (one, two) = (start(), start());
        let link = uri_signed(&one, "/film/master.m3u8", &[]);
        let asks = async |gateway: &Gateway, agent: &str| gateway.get(&link, &format!("User-Agent: {agent}\r\n")).await;
        let first = asks(&one, "first").await;
        assert!(first.status < 400, "{}: {}", program.name, first.text());
        assert_eq!(asks(&two, "second").await.code(), "session_concurrent_token", "{}", program.name);
        server.restart();
        within("told anew", async {
            while one.metric("session_store_seconds_count{operation=\"reclaim\"") < 1.0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(asks(&two, "second").await.code(), "session_concurrent_token", "{}", program.name);
    }
}

/// With the store of the sessions alone: the ledger's is asked elsewhere.
#[tokio::test]
async fn of_two_uses_of_a_token_for_one_use_at_once_exactly_one_is_let_in() {
    for program in programs("tokens for one use over two gateways") {
        let server = Server::start(&program, &[]);
        let origin = Origin::plain();
        let start = || Gateway::start(with_rules_of_its_own(&origin.url, &server, json!({})));
        let (one, two) = (start(), start());
        for round in 0..100 {
            let link = uri_signed(&one, "/v/a.mp4", &[("jti", &format!("once-{round}"))]);
            let (here, there) = tokio::join!(one.get(&link, ""), two.get(&link, ""));
            let refused = |answer: &client::Answer| answer.code() == "token_replayed";
            let codes = || format!("{} round {round}: {} and {}", program.name, here.code(), there.code());
            assert!(refused(&here) != refused(&there), "{}", codes());
            assert_eq!(here.status.min(there.status), 200, "{}", codes());
            assert!(refused(&one.get(&link, "").await) && refused(&two.get(&link, "").await));
        }
    }
}

//! Tickets that are not good: forged, cut, moved, late, or in another route's place.

use serde_json::json;

use tollgate::demo::origin;

use super::{asks, beside, film, gateway, location};
use crate::support::gateway::key;
use crate::support::{Gateway, client};

const HLS: &str = origin::HLS;

#[tokio::test]
async fn a_changed_ticket_is_refused() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({}));
    let target = location(&gateway.get(&gateway.link(HLS), "").await);
    let (ticket, rest) = target.strip_prefix("/tg~").and_then(|rest| rest.split_once('/')).expect("a ticket");
    for at in 0..ticket.len() {
        let mut bytes = ticket.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).expect("text");
        let said = asks(&gateway, &format!("/tg~{forged}/{rest}"), "one").await;
        assert_eq!(said, "401 ticket_invalid", "{at}: {forged}");
    }
    for forged in ["", "A", &ticket[1..], &format!("{ticket}A"), &format!("{ticket}="), &"A".repeat(56)] {
        let said = asks(&gateway, &format!("/tg~{forged}/{rest}"), "one").await;
        assert_eq!(said, "401 ticket_invalid", "{forged}");
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(asks(&gateway, &target, "one").await, "200");
}

#[tokio::test]
async fn a_ticket_in_the_query_is_as_good_as_one_in_the_path() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({ "propagation": "query" }));
    let text = gateway.get(&gateway.link(HLS), "").await.text();
    let link = text.lines().find(|line| line.starts_with("media_0")).expect("a link").to_owned();
    let (_, ticket) = link.split_once("?tg=").expect("a ticket");
    assert_eq!(asks(&gateway, &format!("/vod/{link}"), "one").await, "200");
    assert_eq!(asks(&gateway, &format!("/vod/{link}&tg={ticket}"), "one").await, "401 ticket_invalid", "twice");
    assert_eq!(asks(&gateway, &format!("/vod/{link}A"), "one").await, "401 ticket_invalid");
    assert_eq!(asks(&gateway, &format!("/vod/seg-0-1.m4s?b=1&tg={ticket}&c=2"), "one").await, "200");
    assert_eq!(origin.last().target, "/vod/seg-0-1.m4s?b=1&c=2");
    // In the path it means nothing on this route.
    assert_eq!(asks(&gateway, &format!("/tg~{ticket}/vod/seg-0-1.m4s"), "one").await, "401 token_missing");
}

/// Two routes and two hosts with one key.
fn two_routes(origin: &str, hosts: &[&str]) -> Gateway {
    let session = json!({ "ticket_hosts": hosts });
    Gateway::start(json!({
        "keys": { "viewer": { "inline": key(tollgate::keygen::Kind::Ed25519) } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer" } },
        "origins": { "media": { "endpoints": [origin] } },
        "routes": [
            { "name": "a", "path": "/a", "accept": ["viewer"], "origin": "media", "rewrite_prefix": "", "session": session },
            { "name": "b", "path": "/b", "accept": ["viewer"], "origin": "media", "rewrite_prefix": "", "session": session },
        ],
    }))
}

#[tokio::test]
async fn a_ticket_is_good_in_its_own_place() {
    let origin = film();
    let gateway = two_routes(&origin.url, &[]);
    let target = location(&gateway.get(&gateway.link("/a/vod/master.m3u8"), "").await);
    assert!(target.starts_with("/a/tg~"), "{target}");
    assert_eq!(asks(&gateway, &target, "one").await, "200");
    assert_eq!(origin.last().target, "/vod/master.m3u8");
    assert_eq!(asks(&gateway, &target.replacen("/a/", "/b/", 1), "one").await, "401 ticket_invalid");
    let elsewhere = gateway.get(&target, "Host: other.test\r\n").await;
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (401, "ticket_invalid"));
    let gateway = two_routes(&origin.url, &["other.test"]);
    let target = location(&gateway.get(&gateway.link("/a/vod/master.m3u8"), "").await);
    assert_eq!(gateway.get(&target, "Host: other.test\r\n").await.status, 200, "hosts that share tickets");
}

#[tokio::test]
async fn tickets_end_with_keys_that_are_gone() {
    let origin = film();
    let tickets = |secrets: &[&str]| {
        let keys: Vec<_> = secrets.iter().map(|secret| json!({ "secret": secret.repeat(32) })).collect();
        json!({ "sessions": { "ticket_keys": keys } })
    };
    let config = super::config(&origin.url, json!({}));
    let over = |more| crate::support::gateway::over(config.clone(), more);
    let gateway = Gateway::start(over(tickets(&["a"])));
    let target = location(&gateway.get(&gateway.link(HLS), "").await);
    gateway.reload(over(tickets(&["b", "a"]))).expect("a fit config");
    assert_eq!(asks(&gateway, &target, "one").await, "200", "the older key still verifies");
    gateway.reload(over(tickets(&["b"]))).expect("a fit config");
    assert_eq!(asks(&gateway, &target, "one").await, "401 ticket_invalid");
}

#[tokio::test]
async fn a_reload_keeps_sessions() {
    let origin = film();
    let config = super::config(&origin.url, json!({ "concurrent_per_token": 1 }));
    let gateway = Gateway::start(config.clone());
    let link = gateway.link(HLS);
    let target = location(&gateway.get(&link, &super::named("one")).await);
    gateway.reload(config).expect("a fit config");
    assert_eq!(asks(&gateway, &target, "one").await, "200", "a random key outlives a reload");
    assert_eq!(asks(&gateway, &link, "two").await, "403 session_concurrent_token");
}

/// As README says: tickets of a gateway that kept its sessions in memory open nothing after a restart; whoever opens the entry
/// again goes on, and where the token is in the path nobody notices.
#[tokio::test]
async fn after_a_restart_the_entry_opens_again() {
    let origin = film();
    let keys = json!({ "sessions": { "ticket_keys": [{ "secret": "0123456789abcdef0123456789abcdef" }] } });
    for propagation in ["path", "query", "inherit"] {
        let session = json!({ "propagation": propagation, "concurrent_per_token": 1 });
        let config = crate::support::gateway::over(super::config(&origin.url, session), keys.clone());
        let before = Gateway::start(config.clone());
        let link = match propagation {
            "inherit" => format!("/t={}/vod/master.m3u8", before.sign("viewer", HLS).token),
            _ => before.link(HLS),
        };
        let child = |answer: &crate::support::Answer| match propagation {
            "path" => beside(&location(answer), "media_0.m3u8"),
            "query" => format!("/vod/{}", answer.text().lines().find(|line| line.starts_with("media_0")).expect("a link")),
            _ => beside(&link, "media_0.m3u8"),
        };
        let old = child(&before.get(&link, &super::named("one")).await);
        assert_eq!(asks(&before, &old, "one").await, "200");
        drop(before);
        let after = Gateway::start(config);
        let kept = asks(&after, &old, "one").await;
        assert_eq!(kept, if propagation == "inherit" { "200" } else { "403 session_unknown" }, "{propagation}");
        let again = child(&after.get(&link, &super::named("one")).await);
        assert_eq!(asks(&after, &again, "one").await, "200", "{propagation}");
        assert_eq!(after.metric("sessions_active{route=\"vod\"}"), 1.0, "{propagation}");
    }
}

#[tokio::test]
async fn a_token_beside_a_ticket_is_not_needed_and_not_passed_on() {
    let origin = film();
    let gateway = gateway(&origin.url, json!({}));
    let link = gateway.link(HLS);
    let target = location(&gateway.get(&link, "").await);
    let token = link.rsplit_once('=').expect("a token").1;
    let child = format!("{}?token={token}", beside(&target, "seg-0-1.m4s"));
    assert_eq!(gateway.get(&child, &format!("Authorization: Bearer {token}\r\nCookie: viewer={token}\r\n")).await.status, 200);
    assert!(!origin.last().head.contains(token), "{}", origin.last().head);
    let put = client::request(gateway.addr(), "PUT", &target, "", b"x").await;
    assert_eq!(put.status, 405);
}

#[tokio::test]
async fn http_2_callers_are_redirected_and_let_in() {
    let origin = film();
    let listeners = json!({ "server": { "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] } });
    let gateway = Gateway::start(crate::support::gateway::over(super::config(&origin.url, json!({})), listeners));
    let mut h2 = client::H2::plain(gateway.addr()).await;
    let entry = h2.get(&format!("http://gate.test{}", gateway.link(HLS))).await.expect("an answer");
    let target = location(&entry);
    assert_eq!(h2.get(&format!("http://gate.test{target}")).await.expect("an answer").status, 200);
}

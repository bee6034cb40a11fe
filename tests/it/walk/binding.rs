//! Viewers who are near enough, and what of them a signature covers without saying it.

use serde_json::{Value, json};

use tollgate::token::{SignRequest, Signed};

use crate::support::gateway::{NOW, for_path, key, over, target};
use crate::support::{Gateway, Origin};

const ENTRY: &str = "/v/film/master.m3u8";
const CHILD: &str = "/v/film/1.ts";

/// One route of `scheme`; the viewer's address is what `X-Forwarded-For` says.
fn gateway(origin: &Origin, scheme: Value, route: Value) -> Gateway {
    let config = json!({
        "server": { "trusted_proxies": ["127.0.0.0/8"] },
        "keys": { "ed": { "inline": key(tollgate::keygen::Kind::Ed25519) }, "secret": { "secret": "0123456789abcdef" } },
        "schemes": { "viewer": scheme },
        "origins": { "media": { "endpoints": [origin.url] } },
    });
    let base = json!({ "name": "vod", "path": "/", "accept": ["viewer"], "origin": "media" });
    Gateway::start(over(config, json!({ "routes": [over(base, route)] })))
}

fn jwt(more: Value) -> Value {
    over(json!({ "type": "jwt", "keys": "ed" }), more)
}

fn signed(gateway: &Gateway) -> Signed {
    let viewer = SignRequest {
        expires: Some(NOW.plus(3600)),
        subject: None,
        client_ip: "198.51.100.7".parse().ok(),
        headers: vec![(http::header::USER_AGENT, "player".into())],
        ..for_path(ENTRY)
    };
    gateway.sign_with("viewer", &viewer)
}

async fn code(gateway: &Gateway, target: &str, (ip, agent): (&str, &str)) -> String {
    let answer = gateway.get(target, &format!("X-Forwarded-For: {ip}\r\nUser-Agent: {agent}\r\n")).await;
    if answer.status < 400 { answer.status.to_string() } else { answer.code() }
}

#[tokio::test]
async fn a_route_says_how_near_a_viewer_must_be() {
    let origin = Origin::plain();
    let named = || jwt(json!({ "claims": { "networks": "net" } }));
    for (route, near) in
        [(json!({}), "token_address"), (json!({ "bind": {} }), "200"), (json!({ "bind": { "ipv4_prefix": 32 } }), "token_address")]
    {
        let gateway = gateway(&origin, named(), route);
        let target = target(&signed(&gateway));
        assert_eq!(code(&gateway, &target, ("198.51.100.7", "player")).await, "200");
        assert_eq!(code(&gateway, &target, ("198.51.100.200", "player")).await, near);
        assert_eq!(code(&gateway, &target, ("::ffff:198.51.100.200", "player")).await, near);
        assert_eq!(code(&gateway, &target, ("198.51.101.7", "player")).await, "token_address");
        assert_eq!(code(&gateway, &target, ("2001:db8::1", "player")).await, "token_address");
    }
}

/// The ticket of a session opens no more than its token did, whatever way that was bound.
#[tokio::test]
async fn children_are_bound_as_their_token_was() {
    let origin = Origin::plain();
    let recipe = |covered: &str| {
        json!({
            "type": "digest-url", "keys": "secret", "message": format!("{{path}}|{{time}}|{covered}"),
            "sources": [{ "from": { "query": "t" }, "shape": "{time}.{signature}" }],
        })
    };
    let near = json!({ "session": {}, "bind": {} });
    let exact = json!({ "session": {} });
    for (scheme, route, neighbour, other_agent) in [
        (jwt(json!({ "claims": { "networks": "net" } })), near.clone(), "200", "200"),
        (jwt(json!({ "claims": { "networks": "net" } })), exact.clone(), "token_address", "200"),
        (jwt(json!({ "seal": { "attributes": ["network"], "secret": "s" } })), exact.clone(), "200", "200"),
        (jwt(json!({ "seal": { "attributes": ["network", "header.user-agent"], "secret": "s" } })), exact.clone(), "200", "token_address"),
        (recipe("{ip}"), exact.clone(), "token_address", "200"),
        (recipe("{ip}"), near, "200", "200"),
        (recipe("{network}"), exact.clone(), "200", "200"),
        (recipe("{network}|{header.user-agent}"), exact, "200", "token_header"),
    ] {
        let gateway = gateway(&origin, scheme.clone(), route.clone());
        let entry = target(&signed(&gateway));
        let answer = gateway.get(&entry, "X-Forwarded-For: 198.51.100.7\r\nUser-Agent: player\r\n").await;
        assert_eq!(answer.status, 302, "{scheme}: {}", answer.text());
        let ticketed = answer.field("location").expect("a location").split('?').next().expect("a path").to_owned();
        let child = ticketed.replace(ENTRY, CHILD);
        for (viewer, verdict) in [
            (("198.51.100.7", "player"), "200"),
            (("198.51.100.200", "player"), neighbour),
            (("198.51.101.7", "player"), "token_address"),
            (("198.51.100.7", "other"), other_agent),
        ] {
            assert_eq!(code(&gateway, &child, viewer).await, verdict, "{scheme} {route} {viewer:?}");
        }
    }
}

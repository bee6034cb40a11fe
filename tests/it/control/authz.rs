//! Decisions for other servers, in the words that they ask in; the servers themselves are in `proxies`.

use serde_json::json;

use super::{ADMIN, ISSUER, Issuing};
use crate::support::{Origin, client};

/// A gateway whose tokens open `/live`, each to one address, for so many viewers at the same time.
pub(super) async fn deciding(origin: &Origin, viewers: u32) -> Issuing {
    let issuing = Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["schemes"]["viewer"]["claims"] = json!({ "paths": "paths", "networks": "nets" });
        config["schemes"]["viewer"]["carriers"] = json!([{ "query": "token" }, { "header": "authorization" }, "path-segment"]);
        config["routes"][0]["methods"] = json!(["GET", "HEAD", "POST"]);
        config["routes"][0]["session"] = json!({ "concurrent_per_token": viewers });
    });
    assert_eq!(issuing.ask(ADMIN, "POST", "/v1/keys", json!({})).await.status(), 201);
    issuing
}

/// What is issued to `ann` for these paths and this address: its id, and the token.
pub(super) async fn issued(issuing: &Issuing, scope: &str, address: &str) -> (String, String) {
    let wanted = json!({ "scheme": "viewer", "url": "https://gate.test/live/a", "scope": scope, "subject": "ann", "client_ip": address });
    let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
    assert_eq!(issued.status(), 201, "{}", issued.0.text());
    let text = |name: &str| issued.json()[name].as_str().expect("text").to_owned();
    (text("id"), text("token"))
}

async fn issuing(origin: &Origin) -> (Issuing, String) {
    let issuing = deciding(origin, 5).await;
    let (_, token) = issued(&issuing, "/live", "203.0.113.9").await;
    (issuing, token)
}

#[tokio::test]
async fn each_server_asks_in_its_own_words() {
    let origin = Origin::plain();
    let (issuing, token) = issuing(&origin).await;
    let ask = async |target: &str, fields: &str| client::get(issuing.control, target, fields).await;
    let nginx = |uri: &str, ip: &str| format!("X-Original-URI: {uri}\r\nX-Original-Method: GET\r\nX-Real-IP: {ip}\r\n");
    let good = format!("/live/a?token={token}");
    let answer = ask("/authz/nginx", &nginx(&good, "203.0.113.9")).await;
    assert_eq!((answer.status, answer.field("x-tollgate-subject"), answer.field("x-tollgate-route")), (200, Some("ann"), Some("vod")));
    assert!(answer.field("x-tollgate-session").is_some());
    for (uri, ip, status, code) in [
        ("/live/a", "203.0.113.9", 401, "token_missing"),
        ("/live/a?token=x", "203.0.113.9", 401, "token_invalid"),
        (&*good, "203.0.113.8", 403, "token_address"),
        (&*good.replace("/live", "/film"), "203.0.113.9", 403, "token_path"),
    ] {
        let answer = ask("/authz/nginx", &nginx(uri, ip)).await;
        assert_eq!(answer.status, status, "{uri} {ip}: {}", answer.text());
        assert!(answer.field("x-tollgate-code") == Some(code), "{uri}: {answer:?}");
    }
    let forward = |uri: &str, from: &str| {
        format!(
            "X-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: gate.test\r\nX-Forwarded-Uri: {uri}\r\nX-Forwarded-For: {from}\r\n"
        )
    };
    assert_eq!(ask("/authz/forward", &forward(&good, "203.0.113.9")).await.status, 200);
    assert_eq!(ask("/authz/forward", &forward(&good, "203.0.113.9, 198.51.100.1")).await.status, 403, "the last hop is the viewer");
    let nothing = ask("/authz/forward", "").await;
    assert_eq!(
        (nothing.status, nothing.code().as_str(), nothing.field("content-type")),
        (400, "invalid", Some("application/problem+json"))
    );
    let envoy = "X-Envoy-External-Address: 203.0.113.9\r\n";
    assert_eq!(ask(&format!("/authz/envoy{good}"), envoy).await.status, 200);
    assert_eq!(ask("/authz/envoy/live/a", envoy).await.status, 401);
    assert_eq!(origin.count(), 0, "nothing goes to the origin");
}

/// By the body that its documentation describes: no package that can be had here brings the server itself.
#[tokio::test]
async fn media_mtx_is_answered_in_its_own_words() {
    let origin = Origin::plain();
    let (issuing, token) = issuing(&origin).await;
    let asked = json!({
        "user": "", "password": "", "token": "", "ip": "203.0.113.9", "action": "read", "path": "live/a", "protocol": "rtsp",
        "id": "3c0ee85c-6bd4-46ee-a0ab-2f3a5b0c1d2e", "query": "", "userAgent": "LibVLC/3.0.4 (LIVE555 Streaming Media v2016.11.28)",
    });
    let query = format!("token={token}");
    for (more, status, code) in [
        // RTSP clients bring a password only after they were asked for one.
        (json!({}), 401, Some("token_missing")),
        (json!({ "user": "viewer", "password": token }), 200, None),
        (json!({ "token": token }), 200, None),
        (json!({ "query": query }), 200, None),
        (json!({ "action": "publish", "protocol": "srt", "id": null, "token": token }), 200, None),
        (json!({ "action": "playback", "protocol": "hls", "query": query }), 200, None),
        (json!({ "token": "x" }), 401, Some("token_invalid")),
        (json!({ "token": token, "ip": "203.0.113.8" }), 403, Some("token_address")),
        (json!({ "token": token, "path": "film/a" }), 403, Some("token_path")),
        (json!({ "token": token, "path": "live/../film/a" }), 400, Some("bad_path")),
        (json!({ "token": token, "ip": "nowhere" }), 400, None),
        (json!({ "action": "api", "token": token }), 400, None),
        (json!({ "token": "a\r\nb" }), 400, None),
        (json!([]), 400, None),
    ] {
        let asked = crate::support::gateway::over(asked.clone(), more.clone());
        let answer = issuing.ask_with("POST", "/authz/mediamtx", "", asked).await;
        assert_eq!((answer.status(), answer.0.field("x-tollgate-code")), (status, code), "{more}: {}", answer.0.text());
        if status != 200 {
            assert_eq!(answer.0.field("content-type"), Some("application/problem+json"), "{more}");
        }
    }
}

#[tokio::test]
async fn only_known_peers_may_ask() {
    let origin = Origin::plain();
    let issuing = Issuing::start(&origin.url, |config| config["control"]["authz_peers"] = json!(["192.0.2.0/24"]));
    let answer = client::get(issuing.control, "/authz/nginx", "X-Original-URI: /\r\n").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "peer_unknown"));
}

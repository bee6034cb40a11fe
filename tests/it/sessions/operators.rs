//! What operators see and do: sessions listed and ended, tokens withdrawn.

use serde_json::{Value, json};

use tollgate::demo::origin;

use super::{asks, beside, config, film, location, named};
use crate::rig::Folder;
use crate::support::gateway::over;
use crate::support::tls::{Authority, Files};
use crate::support::{Answer, Gateway, Origin, Raw, client};

const HLS: &str = origin::HLS;

/// A gateway whose operators have a token.
struct Desk {
    gateway: Gateway,
    _folder: Folder,
    _origin: Origin,
}

impl Desk {
    fn new(session: Value) -> Self {
        let (origin, folder) = (film(), Folder::new());
        let file = folder.file("admin", "operators-own-secret\n");
        let gateway = Gateway::start(over(config(&origin.url, session), json!({ "admin": { "token_file": file } })));
        Self { gateway, _folder: folder, _origin: origin }
    }

    async fn raw(&self, method: &str, target: &str, fields: &str, body: &str) -> Answer {
        let admin = self.gateway.inner.admin.expect("an admin listener");
        client::request(admin, method, target, fields, body.as_bytes()).await
    }

    async fn asks(&self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.raw(method, target, "Authorization: Bearer operators-own-secret\r\n", &text).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    async fn revokes(&self, by: &str, value: &str) {
        let (status, said) = self.asks("POST", "/revocations", &json!({ "by": by, "value": value, "ttl": "1h" })).await;
        assert_eq!((status, &said["sessions_ended"]), (201, &json!(1)), "{by}: {said}");
    }

    async fn session(&self) -> Value {
        let (status, page) = self.asks("GET", "/sessions", &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        page["sessions"][0].clone()
    }
}

#[tokio::test]
async fn withdrawn_is_withdrawn_at_the_next_segment() {
    for by in ["subject", "session", "token"] {
        let desk = Desk::new(json!({ "outlive": "1h" }));
        let link = desk.gateway.link(HLS);
        let target = location(&desk.gateway.get(&link, &named("one")).await);
        let child = beside(&target, "seg-0-1.m4s");
        assert_eq!(asks(&desk.gateway, &child, "one").await, "200");
        let session = desk.session().await;
        let value = match by {
            "subject" => "ann",
            "session" => session["id"].as_str().expect("an id"),
            _ => session["token"].as_str().expect("a fingerprint"),
        };
        desk.revokes(by, value).await;
        assert_eq!(asks(&desk.gateway, &child, "one").await, "403 session_revoked", "{by}");
        let again = asks(&desk.gateway, &link, "one").await;
        let expected = if by == "session" { "302" } else { "403 token_revoked" };
        assert_eq!(again, expected, "{by}: the token itself");
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_listed_and_given_back() {
    let desk = Desk::new(json!({}));
    let link = desk.gateway.link(HLS);
    let (status, _) = desk.asks("POST", "/revocations", &json!({ "by": "subject", "value": "ann", "ttl": "1h" })).await;
    assert_eq!(status, 201);
    let (_, all) = desk.asks("GET", "/revocations", &Value::Null).await;
    assert_eq!(all["revocations"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(asks(&desk.gateway, &link, "one").await, "403 token_revoked");
    let (status, _) = desk.asks("DELETE", "/revocations", &json!({ "by": "subject", "value": "ann" })).await;
    assert_eq!(status, 200);
    assert_eq!(asks(&desk.gateway, &link, "one").await, "302");
    desk.asks("POST", "/revocations", &json!({ "by": "subject", "value": "ann", "ttl": "10s" })).await;
    assert_eq!(asks(&desk.gateway, &link, "one").await, "403 token_revoked");
    desk.gateway.pass(10);
    assert_eq!(asks(&desk.gateway, &link, "one").await, "302", "its time is over");
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let desk = Desk::new(json!({ "concurrent_per_token": 2 }));
    let link = desk.gateway.link(HLS);
    let token = link.rsplit_once('=').expect("a token").1.to_owned();
    let first = location(&desk.gateway.get(&link, &named("one")).await);
    desk.gateway.get(&link, &named("two")).await;
    asks(&desk.gateway, &beside(&first, "seg-0-1.m4s"), "one").await;
    let (_, page) = desk.asks("GET", "/sessions?route=vod&subject=ann&limit=1", &Value::Null).await;
    assert_eq!((&page["total"], page["sessions"].as_array().map(Vec::len)), (&json!(2), Some(1)), "{page}");
    let (_, all) = desk.asks("GET", "/sessions", &Value::Null).await;
    assert!(!all.to_string().contains(&token) && !all.to_string().contains("tg~"), "{all}");
    let (_, none) = desk.asks("GET", "/sessions?subject=bob", &Value::Null).await;
    assert_eq!(none["total"], 0);
    let one = all["sessions"].as_array().and_then(|all| all.iter().find(|one| one["user_agent"] == "one")).expect("the first viewer");
    assert!(one["bytes"].as_u64().is_some_and(|bytes| bytes > 1000), "{one}");
    let (status, _) = desk.asks("DELETE", &format!("/sessions/{}", one["id"].as_str().expect("an id")), &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(asks(&desk.gateway, &first, "one").await, "403 session_closed");
    assert_eq!(asks(&desk.gateway, &link, "three").await, "302", "the place is free");
}

#[tokio::test]
async fn a_certificate_opens_the_desk_as_the_token_does() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let server = ours.issue("admin", &["localhost"]);
    let tls = json!({ "cert_file": server.cert, "key_file": server.key, "client_ca_file": ours.ca_file() });
    let gateway = Gateway::start(over(config("http://127.0.0.1:9", json!({})), json!({ "admin": { "tls": tls } })));
    let admin = gateway.inner.admin.expect("an admin listener");
    let revoke = r#"{"by":"subject","value":"ann"}"#;
    let ask = async |shown: Option<&Files>, method: &str, target: &str, fields: &str, body: &str| {
        let (mut raw, _) = Raw::tls(admin, ours.client_with(shown), "localhost").await.expect("a handshake");
        let fields = format!("Content-Length: {}\r\n{fields}", body.len());
        raw.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")).await.expect("sent");
        // One whose certificate is not taken learns so by the end of the connection.
        raw.answer(false).await.map_or(0, |answer| answer.status)
    };
    let operator = ours.issue("operator", &["operator"]);
    let stranger = strangers.issue("stranger", &["operator"]);
    assert_eq!(ask(Some(&operator), "POST", "/revocations", "", revoke).await, 201);
    assert_eq!(ask(Some(&operator), "GET", "/sessions", "", "").await, 200);
    assert_eq!(ask(Some(&operator), "POST", "/revocations", "Origin: https://evil.test\r\n", revoke).await, 403);
    assert_eq!(ask(None, "POST", "/revocations", "", revoke).await, 403);
    assert_eq!(ask(Some(&stranger), "POST", "/revocations", "", revoke).await, 0);
    assert_eq!(ask(None, "GET", "/metrics", "", "").await, 200, "what shows nothing of viewers needs none");
}

#[tokio::test]
async fn the_desk_is_closed_to_others() {
    let desk = Desk::new(json!({}));
    let good = "Authorization: Bearer operators-own-secret\r\n";
    let revoke = r#"{"by":"subject","value":"ann"}"#;
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer operators-own-secre\r\n", 401),
        ("Authorization: Basic operators-own-secret\r\n", 401),
        ("Origin: https://evil.test\r\nAuthorization: Bearer operators-own-secret\r\n", 403),
    ] {
        for (method, target, body) in [("GET", "/sessions", ""), ("POST", "/revocations", revoke), ("DELETE", "/sessions/x", "")] {
            let answer = desk.raw(method, target, fields, body).await;
            assert_eq!(answer.status, status, "{method} {target} {fields}");
            assert_eq!(answer.field("access-control-allow-origin"), None);
        }
    }
    assert_eq!(desk.raw("GET", "/sessions", good, "").await.status, 200);
    let open = Gateway::start(config("http://127.0.0.1:9", json!({})));
    let admin = open.inner.admin.expect("an admin listener");
    assert_eq!(client::get(admin, "/sessions", good).await.status, 403, "no token, no desk");
    assert_eq!(client::get(admin, "/metrics", "").await.status, 200);
}

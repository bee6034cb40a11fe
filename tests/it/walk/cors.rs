//! Who may read across web origins: preflights before any token, CORS on every answer.

use serde_json::json;

use crate::support::gateway::simple;
use crate::support::{Answer, Gateway, Origin, Reply, client};

const PAGE: &str = "https://www.example.com";

async fn preflight(gateway: &Gateway, target: &str, page: &str) -> Answer {
    let fields = format!("Origin: {page}\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range\r\n");
    client::request(gateway.addr(), "OPTIONS", target, &fields, b"").await
}

#[tokio::test]
async fn preflights_are_answered_before_any_token() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let answer = preflight(&gateway, "/a", PAGE).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.field("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(answer.field("access-control-max-age"), Some("7200"));
    let allowed = answer.field("access-control-allow-headers").expect("a list");
    assert!(allowed.contains("Range") && allowed.contains("Authorization"), "{allowed}");
    assert_eq!(answer.field("vary"), None);
    let plain = client::request(gateway.addr(), "OPTIONS", "/a", "", b"").await;
    assert_eq!((plain.status, plain.field("allow"), plain.field("access-control-allow-methods")), (204, Some("GET, HEAD, OPTIONS"), None));
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_route_may_name_its_pages() {
    let origin = Origin::start(|_| Reply::new(200, "x").with("Access-Control-Allow-Origin", "*").with("Vary", "Accept-Encoding"));
    let mut config = simple(&origin.url);
    config["routes"][0]["cors"] = json!({ "allow_origins": ["https://*.example.com"], "allow_credentials": true, "max_age": "10s" });
    let gateway = Gateway::start(config);
    let good = preflight(&gateway, "/a", PAGE).await;
    assert_eq!(good.field("access-control-allow-origin"), Some(PAGE));
    assert_eq!(good.field("access-control-allow-credentials"), Some("true"));
    assert_eq!((good.field("vary"), good.field("access-control-max-age")), (Some("Origin"), Some("10")));
    for page in ["https://example.com.evil.test", "http://www.example.com", "https://evilexample.com", "null"] {
        let other = preflight(&gateway, "/a", page).await;
        assert_eq!((other.status, other.field("access-control-allow-origin")), (204, None), "{page}");
        assert_eq!(other.field("vary"), Some("Origin"), "{page}");
    }
    // The origin's own word on CORS does not get through, its Vary does.
    let answer = gateway.get(&gateway.link("/a"), "Origin: https://evil.test\r\n").await;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (200, None));
    assert_eq!(answer.all("vary"), ["Accept-Encoding", "Origin"]);
    let answer = gateway.get(&gateway.link("/a"), &format!("Origin: {PAGE}\r\n")).await;
    assert_eq!(answer.field("access-control-allow-origin"), Some(PAGE));
}

#[tokio::test]
async fn every_refusal_can_be_read_by_a_page() {
    let dead = crate::support::origin::refusing();
    let broken = Origin::scripted(|mut exchange| async move {
        exchange.raw("not HTTP\r\n\r\n").await?;
        Ok(None)
    });
    let mute = Origin::scripted(|mut exchange| async move {
        exchange.closed().await;
        Ok(None)
    });
    let route = |name: &str, path: &str| json!({ "name": name, "path": path, "public": true, "origin": name });
    let gateway = Gateway::start(json!({
        "origins": {
            "dead": { "endpoints": [dead], "retries": 0 },
            "broken": { "endpoints": [broken.url], "retries": 0 },
            "mute": { "endpoints": [mute.url], "retries": 0, "first_byte_timeout": "100ms" },
        },
        "routes": [route("dead", "/dead"), route("broken", "/broken"), route("mute", "/mute")],
    }));
    for (target, status, code) in [
        ("/none", 404, "route_not_found"),
        ("/dead", 502, "origin_unreachable"),
        ("/broken", 502, "origin_broken"),
        ("/mute", 504, "origin_timeout"),
        ("/dead/../x", 400, "bad_path"),
        ("/dead/x;a=b", 400, "path_parameters"),
    ] {
        let answer = gateway.get(target, &format!("Origin: {PAGE}\r\n")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{target}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"), "{target}");
        assert!(answer.field("access-control-expose-headers").expect("a list").contains("X-Request-Id"), "{target}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{target}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{target}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_route_of_what_it_announces() {
    let origin = Origin::plain();
    let mut config = crate::support::gateway::public(&origin.url);
    let page = |page: &str| json!({ "allow_origins": [page] });
    config["routes"] = json!([
        { "name": "upload", "path": "/a", "methods": ["PUT"], "public": true, "origin": "media", "cors": page("https://studio.test") },
        { "name": "play", "path": "/a", "methods": ["GET", "DELETE"], "public": true, "origin": "media", "cors": page("https://play.test") },
    ]);
    let gateway = Gateway::start(config);
    for (method, page, allowed) in [
        ("PUT", "https://studio.test", Some("PUT, OPTIONS")),
        ("DELETE", "https://play.test", Some("GET, DELETE, OPTIONS")),
        ("DELETE", "https://studio.test", None),
        ("PATCH", "https://studio.test", Some("PUT, OPTIONS")),
    ] {
        let fields = format!("Origin: {page}\r\nAccess-Control-Request-Method: {method}\r\n");
        let answer = client::request(gateway.addr(), "OPTIONS", "/a", &fields, b"").await;
        assert_eq!((answer.status, answer.field("access-control-allow-methods")), (204, allowed), "{method} {page}");
    }
    // `Allow` speaks of the path, and pages are told no more than their own route lets them do.
    for (method, status) in [("OPTIONS", 204), ("PATCH", 405)] {
        let answer = client::request(gateway.addr(), method, "/a", "", b"").await;
        assert_eq!((answer.status, answer.field("allow")), (status, Some("PUT, GET, DELETE, OPTIONS")), "{method}");
    }
    assert_eq!(origin.connections(), 0);
}

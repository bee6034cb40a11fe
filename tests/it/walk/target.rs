//! What the origin is asked for: the token taken out wherever it rode, prefixes replaced.

use serde_json::json;

use tollgate::keygen::Kind;

use crate::support::gateway::{key, target};
use crate::support::{Gateway, Origin};

/// A gateway whose route `/v` takes tokens from one carrier.
fn carried(origin: &Origin, carrier: &serde_json::Value) -> Gateway {
    Gateway::start(json!({
        "keys": { "viewer": { "inline": key(Kind::Ed25519) } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer", "carriers": [carrier] } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/v", "accept": ["viewer"], "origin": "media", "allow_path_parameters": true }],
    }))
}

#[tokio::test]
async fn nothing_of_a_token_arrives() {
    for (carrier, referer) in [
        (json!("path-segment"), "https://site.test/"),
        (json!({ "path_prefix": "t=" }), "https://site.test/"),
        (json!({ "path_parameter": "tok" }), "https://site.test/"),
        (json!({ "query": "token" }), "https://site.test/v/TOKENLESS?b=2"),
        (json!({ "header": "authorization" }), ""),
        (json!({ "header": "x-play-token" }), ""),
        (json!({ "cookie": "play" }), ""),
    ] {
        let origin = Origin::plain();
        let gateway = carried(&origin, &carrier);
        let mut request = crate::support::gateway::for_path("/v/a/b.m4s?x=1&y=%20");
        request.mount = 2;
        request.expires = Some(gateway.clock.now().plus(60));
        let signed = gateway.sign_with("viewer", &request);
        let mut fields: String = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        for (name, value) in &signed.cookies {
            fields.push_str(&format!("Cookie: a=1; {name}={value}; b=2\r\n"));
        }
        if !referer.is_empty() {
            let page = if carrier.get("query").is_some() { format!("/v/TOKENLESS?token={}&b=2", signed.token) } else { target(&signed) };
            fields.push_str(&format!("Referer: https://site.test{page}\r\n"));
        }
        let answer = gateway.get(&target(&signed), &fields).await;
        assert_eq!(answer.status, 200, "{carrier}: {}", answer.text());
        let seen = origin.last();
        assert_eq!(seen.target, "/v/a/b.m4s?x=1&y=%20", "{carrier}");
        assert!(!seen.head.contains(&signed.token), "{carrier}: {}", seen.head);
        assert_eq!(seen.field("referer").unwrap_or(""), referer, "{carrier}");
        if carrier.get("cookie").is_some() {
            assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
        }
    }
}

#[tokio::test]
async fn a_route_may_pass_its_token_on() {
    let origin = Origin::plain();
    let mut config = crate::support::gateway::simple(&origin.url);
    config["routes"][0]["forward_token"] = true.into();
    let gateway = Gateway::start(config);
    let link = gateway.link("/a");
    assert_eq!(gateway.get(&link, "").await.status, 200);
    assert_eq!(origin.last().target, link);
}

#[tokio::test]
async fn prefixes_are_replaced() {
    for (path, rewrite, asked, arrives) in [
        ("/v", "/media", "/v/a.m4s", "/media/a.m4s"),
        ("/v", "", "/v/a.m4s", "/a.m4s"),
        ("/v", "/", "/v", "/"),
        ("/v/", "/m", "/v/a", "/m/a"),
        ("/", "/deep/er", "/a", "/deep/er/a"),
        ("/a b", "/m", "/a%20b/c%20d", "/m/c%20d"),
    ] {
        let origin = Origin::plain();
        let mut config = crate::support::gateway::public(&origin.url);
        config["routes"][0]["path"] = path.into();
        config["routes"][0]["rewrite_prefix"] = rewrite.into();
        let gateway = Gateway::start(config);
        let answer = gateway.get(&format!("{asked}?q"), "").await;
        assert_eq!(answer.status, 200, "{path} {rewrite} {asked}: {}", answer.text());
        assert_eq!(origin.last().target, format!("{arrives}?q"), "{path} {rewrite} {asked}");
    }
}

#[tokio::test]
async fn raw_spellings_stay_as_they_are() {
    let origin = Origin::plain();
    let gateway = Gateway::start(crate::support::gateway::public(&origin.url));
    for target in ["/", "/a/", "/a%20b", "/%C3%A9", "/a?", "/a?x=%2F..%2F&y=a+b&x=2", "/a~b!$&'()*+,=:@", "/a?[x]={y}|`^"] {
        let answer = gateway.get(target, "").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(origin.last().target, target);
    }
}

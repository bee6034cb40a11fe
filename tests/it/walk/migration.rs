//! Shadow and dual mode, and the answers that tokens bring along: what passes, what is counted, what the origin gets.

use serde_json::json;

use super::super::support::gateway::{for_path, key, target};
use super::*;
use tollgate::keygen::Kind;
use tollgate::token::SignRequest;

fn hour(path: &str) -> SignRequest {
    SignRequest { expires: Some(super::super::support::gateway::NOW.plus(3600)), ..for_path(path) }
}

#[tokio::test]
async fn shadow_lets_pass_and_counts_what_it_would_refuse() {
    let origin = Origin::plain();
    let gateway = Gateway::start(json!({
        "keys": { "ed": { "inline": key(Kind::Ed25519) } },
        "schemes": { "own": { "type": "jwt", "keys": "ed", "carriers": [{ "query": "token" }, { "path_prefix": "t=" }] } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["own"], "mode": "shadow", "origin": "media" }],
        "server": { "limits": { "refusal_burst": 1, "refusals_per_second": 1 } },
    }));
    let good = target(&gateway.sign("own", "/v/a.m3u8?q=1"));
    assert_eq!(gateway.get(&good, "").await.status, 200);
    // No token, a forged one and a late one pass, and reach the origin without what was presented.
    for (asked, seen) in [("/v/b", "/v/b"), ("/v/c?token=forged&q=1", "/v/c?q=1"), ("/t=forged/v/d", "/v/d")] {
        let answer = gateway.get(asked, "").await;
        assert_eq!((answer.status, answer.field("cache-control")), (200, Some("private")), "{asked}");
        assert_eq!(origin.last().target, seen);
    }
    gateway.pass(3600);
    assert_eq!(gateway.get(&good, "").await.status, 200);
    assert_eq!(origin.last().target, "/v/a.m3u8?q=1");
    let counted = |verdict: &str| gateway.metric(&format!("token_shadow_total{{route=\"vod\",verdict=\"{verdict}\"}}"));
    assert_eq!((counted("ok"), counted("missing"), counted("malformed"), counted("expired")), (1.0, 1.0, 2.0, 1.0));
    assert_eq!(gateway.metric("refusals_total{code=\"token"), 0.0);
    // A path with two readings is still no path.
    assert_eq!(gateway.get("/v/..%2fb", "").await.status, 400);
}

#[tokio::test]
async fn the_first_of_two_lists_rules_and_differences_are_counted() {
    let origin = Origin::plain();
    let scheme = |audience: &str| json!({ "type": "jwt", "keys": "ed", "carriers": [{ "query": audience }], "audiences": [audience] });
    let gateway = Gateway::start(json!({
        "keys": { "ed": { "inline": key(Kind::Ed25519) } },
        "schemes": { "old": scheme("old"), "new": scheme("new") },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["old"], "mode": "dual", "compare": ["new"], "origin": "media" }],
    }));
    let token = |scheme: &str| {
        let mut asked = hour("/v/a");
        asked.claims.insert("aud".into(), scheme.into());
        gateway.sign_with(scheme, &asked).token
    };
    let (old, new) = (token("old"), token("new"));
    for (query, status) in [
        (format!("old={old}"), 200),
        (format!("new={new}"), 401),
        (format!("old={old}&new={new}"), 200),
        (format!("old={old}&new={old}"), 200),
        ("none=1".into(), 401),
    ] {
        assert_eq!(gateway.get(&format!("/v/a?{query}"), "").await.status, status, "{query}");
    }
    // The second list's tokens do not reach the origin either.
    assert!(origin.requests().iter().all(|seen| seen.target == "/v/a"), "{:?}", origin.requests());
    let counted = |taken_by: &str| gateway.metric(&format!("token_compared_total{{route=\"vod\",taken_by=\"{taken_by}\"}}"));
    assert_eq!((counted("accept"), counted("compare"), counted("both"), counted("neither")), (2.0, 1.0, 1.0, 1.0));
}

#[tokio::test]
async fn a_comparison_uses_nothing_up() {
    let origin = Origin::plain();
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
    let gateway = Gateway::start(json!({
        "keys": { "h": { "inline": secret.to_string() } },
        "schemes": { "uri": { "type": "rfc9246", "keys": "h", "issuers": ["us"] } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["uri"], "mode": "dual", "compare": ["uri"], "origin": "media" }],
    }));
    let mut asked = hour("/v/a.ts");
    asked.claims.insert("jti".into(), "once".into());
    let link = target(&gateway.sign_with("uri", &asked));
    assert_eq!(gateway.get(&link, "").await.status, 200);
    assert_eq!(gateway.get(&link, "").await.code(), "token_replayed");
    let counted = |taken_by: &str| gateway.metric(&format!("token_compared_total{{route=\"vod\",taken_by=\"{taken_by}\"}}"));
    assert_eq!((counted("both"), counted("neither")), (1.0, 1.0));
}

#[tokio::test]
async fn a_refused_token_is_answered_as_it_says() {
    let origin = Origin::plain();
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "h", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
    let gateway = Gateway::start(json!({
        "keys": { "h": { "inline": secret.to_string() } },
        "schemes": { "cat": { "type": "cta-5007", "keys": "h" } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["cat"], "origin": "media" }],
    }));
    let mut asked = hour("/v/a.ts");
    // exp: to the sign-in page, with a token minted for it; a length of the token's own must not frame the answer.
    let minted = json!(["https://sign.in.test/?t=", { "4": 1_900_000_000, "6": null }]);
    asked.claims.insert("catif".into(), json!({ "4": [307, { "Location": minted, "Content-Length": "9999", "X-Why": "late" }] }));
    let signed = gateway.sign_with("cat", &asked);
    let carried = format!("CTA-Common-Access-Token: {}\r\n", signed.token);
    assert_eq!(gateway.get("/v/a.ts", &carried).await.status, 200);
    gateway.pass(3600);
    let answer = gateway.get("/v/a.ts", &carried).await;
    assert_eq!((answer.status, answer.code().as_str(), answer.field("x-why")), (307, "token_expired", Some("late")));
    let location = answer.field("location").expect("a location").to_owned();
    let fresh = location.strip_prefix("https://sign.in.test/?t=").expect("as the token says").to_owned();
    assert!(fresh.len() > 40 && fresh != signed.token, "{location}");
    // The minted token is one of ours.
    assert_eq!(gateway.get("/v/a.ts", &format!("CTA-Common-Access-Token: {fresh}\r\n")).await.status, 200);
    // A refusal that the token has no word on is the plain one.
    gateway.pass(-3600);
    let other = gateway.get("/v/b.ts", &carried).await;
    assert_eq!((other.status, other.code().as_str(), other.field("x-why")), (403, "token_path", None));
}

#[tokio::test]
async fn an_answer_is_paced_as_the_token_says() {
    let origin = Origin::start(|_| Reply::new(200, vec![b'x'; 2300]));
    let gateway = Gateway::start(json!({
        "keys": { "b": { "secret": "0123456789abcdef" } },
        "schemes": { "bunny": { "type": "bunny", "keys": "b" } },
        "origins": { "media": { "endpoints": [origin.url] } },
        "routes": [{ "name": "vod", "path": "/", "accept": ["bunny"], "origin": "media" }],
    }));
    let mut asked = SignRequest { subject: None, ..hour("/v/a.ts") };
    asked.claims.insert("limit".into(), "2".into());
    let link = target(&gateway.sign_with("bunny", &asked));
    let start = std::time::Instant::now();
    let answer = gateway.get(&link, "").await;
    // Two kilobytes at once, and 300 bytes more at two a millisecond.
    assert_eq!((answer.status, answer.body.len()), (200, 2300), "{}", answer.text());
    assert!(start.elapsed().as_millis() >= 20, "{:?}", start.elapsed());
    gateway.until_metric("http_bytes_total{direction=\"out\",route=\"vod\"}", 2300.0).await;
}

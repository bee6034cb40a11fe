//! How tokens are refused, and what a caller sees of it.

use serde_json::{Value, json};

use tollgate::token::SignRequest;

use crate::support::gateway::{NOW, for_path, over, public, simple, target};
use crate::support::{Answer, Gateway, Origin, client};

/// A refusal is a problem with exactly five members, never kept, readable by pages.
fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text());
    let problem: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let members: Vec<&str> = problem.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members, ["code", "request_id", "status", "title", "type"]);
    assert_eq!(problem["type"], format!("urn:tollgate:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
    assert_eq!(problem["request_id"].as_str(), answer.field("x-request-id"));
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
    let challenge = answer.field("www-authenticate");
    match (status, code) {
        (401, "token_missing") => assert_eq!(challenge, Some("Bearer")),
        (401, _) => assert_eq!(challenge, Some("Bearer error=\"invalid_token\"")),
        _ => assert_eq!(challenge, None),
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_and_the_origin_hears_nothing() {
    let origin = Origin::plain();
    let config = simple(&origin.url);
    let lax = Gateway::start(over(config.clone(), json!({ "schemes": { "viewer": { "require_expiry": false } } })));
    let gateway = Gateway::start(config);
    let until = |seconds| SignRequest { expires: Some(NOW.plus(seconds)), ..for_path("/a") };
    let good = gateway.sign("viewer", "/a");
    let late = gateway.sign_with("viewer", &until(0));
    let early = gateway.sign_with("viewer", &SignRequest { not_before: Some(NOW.plus(1)), ..until(60) });
    let endless = lax.sign_with("viewer", &SignRequest { expires: None, ..for_path("/a") });
    let other = Gateway::simple(&origin.url).sign("viewer", "/a");
    let second = gateway.sign_with("viewer", &SignRequest { subject: Some("bob".into()), ..until(60) });
    let mut tampered = good.token.clone().into_bytes();
    let at = tampered.len() - 10;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = format!("/a?token={}", String::from_utf8(tampered).expect("text"));
    let twice = format!("/a?token={}&token={}", good.token, good.token);
    let long = format!("/a?token={}", "a".repeat(6000));
    for (name, target, fields, status, code) in [
        ("expired", target(&late), String::new(), 403, "token_expired"),
        ("not yet", target(&early), String::new(), 403, "token_not_yet_valid"),
        ("endless", target(&endless), String::new(), 403, "token_no_expiry"),
        ("tampered", tampered, String::new(), 401, "token_invalid"),
        ("another key", target(&other), String::new(), 401, "token_invalid"),
        ("not a token", "/a?token=abc".into(), String::new(), 401, "token_invalid"),
        ("too long", long, String::new(), 401, "token_invalid"),
        ("missing", "/a".into(), String::new(), 401, "token_missing"),
        ("empty", "/a?token=".into(), String::new(), 401, "token_missing"),
        ("basic", "/a".into(), "Authorization: Basic YTpi\r\n".into(), 401, "token_missing"),
        ("twice", twice, String::new(), 400, "token_duplicate"),
        (
            "two fields",
            "/a".into(),
            format!("Authorization: Bearer {0}\r\nAuthorization: Bearer {0}\r\n", good.token),
            400,
            "token_duplicate",
        ),
        ("two tokens", target(&good), format!("Authorization: Bearer {}\r\n", second.token), 401, "token_ambiguous"),
    ] {
        let answer = gateway.get(&target, &format!("Origin: https://page.test\r\n{fields}")).await;
        eprintln!("{name}");
        assert_problem(&answer, status, code);
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(gateway.metric("refusals_total{code=\"token_expired\""), 1.0);
    // The same token in two places is one token, and is taken out of both.
    let both = gateway.get(&target(&good), &format!("Authorization: Bearer {}\r\n", good.token)).await;
    assert_eq!(both.status, 200);
    assert!(!origin.last().head.contains(&good.token));
}

#[tokio::test]
async fn a_remembered_verdict_does_not_outlive_its_token() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let link = gateway.link("/a");
    assert_eq!(gateway.get(&link, "").await.status, 200);
    assert_eq!(gateway.get(&link, "").await.status, 200);
    assert_eq!((gateway.metric("token_cache_hits_total"), gateway.metric("token_cache_misses_total")), (1.0, 1.0));
    gateway.pass(3599);
    assert_eq!(gateway.get(&link, "").await.status, 200);
    gateway.pass(1);
    assert_problem(&gateway.get(&link, "Origin: a\r\n").await, 403, "token_expired");
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn what_has_no_route_or_another_method_is_refused() {
    let origin = Origin::plain();
    let mut config = public(&origin.url);
    config["routes"] = json!([
        { "name": "upload", "path": "/up", "methods": ["POST", "PATCH"], "public": true, "origin": "media" },
        { "name": "vod", "path": "/v/", "hosts": ["gate.test", "*.cdn.test"], "public": true, "origin": "media" },
        { "name": "download", "path": "/up", "methods": ["GET"], "public": true, "origin": "media" },
    ]);
    let gateway = Gateway::start(config);
    let ask = async |method: &str, target: &str, fields: &str| {
        client::request(gateway.addr(), method, target, &format!("{fields}Origin: a\r\n"), b"").await
    };
    assert_problem(&ask("GET", "/other", "").await, 404, "route_not_found");
    assert_problem(&ask("GET", "/v", "").await, 404, "route_not_found");
    assert_problem(&ask("GET", "/v/x", "Host: other.test\r\n").await, 404, "route_not_found");
    assert_problem(&ask("GET", "/upper", "").await, 404, "route_not_found");
    assert_eq!(ask("GET", "/v/x", "Host: a.cdn.test:81\r\n").await.status, 200);
    let refused = ask("DELETE", "/v/x", "").await;
    assert_problem(&refused, 405, "method_not_allowed");
    assert_eq!(refused.field("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!((ask("PATCH", "/up", "").await.status, origin.last().method.as_str()), (200, "PATCH"));
    assert_eq!((ask("GET", "/up", "").await.status, origin.last().method.as_str()), (200, "GET"));
    let refused = ask("get", "/up", "").await;
    assert_problem(&refused, 405, "method_not_allowed");
    assert_eq!(refused.field("allow"), Some("POST, PATCH, GET, OPTIONS"), "of all routes at this path");
}

#[tokio::test]
async fn who_only_collects_refusals_is_slowed() {
    let origin = Origin::plain();
    let limits = json!({ "server": { "limits": { "refusal_burst": 3, "refusals_per_second": 1 } } });
    let gateway = Gateway::start(over(simple(&origin.url), limits));
    let watching = gateway.link("/film.mp4");
    assert_eq!(gateway.get(&watching, "").await.status, 200);
    let reached = origin.count();
    let mut slowed = None;
    for _ in 0..10 {
        let answer = gateway.get("/a?token=x", "Origin: a\r\n").await;
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
        assert_problem(&answer, 401, "token_invalid");
    }
    let slowed = slowed.expect("a limit");
    assert_problem(&slowed, 429, "too_many_refusals");
    assert!(slowed.field("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after >= 1)));
    assert_eq!(origin.count(), reached);
    // Who is already watching from that address is not the one who guesses.
    assert_eq!(gateway.get(&watching, "").await.status, 200);
    gateway.pass(1);
    assert_problem(&gateway.get(&gateway.link("/film.mp4"), "Origin: a\r\n").await, 429, "too_many_refusals");
}

#[tokio::test]
async fn rules_on_countries_refuse_without_a_database() {
    let origin = Origin::plain();
    let more = json!({ "schemes": { "viewer": { "claims": { "countries": "geo", "networks": "net" } } } });
    let gateway = Gateway::start(over(simple(&origin.url), more));
    let claiming = |name: &str, value: Value| {
        let claims = json!({ name: value }).as_object().expect("a table").clone();
        target(&gateway.sign_with("viewer", &SignRequest { expires: Some(NOW.plus(60)), claims, ..for_path("/a") }))
    };
    assert_problem(&gateway.get(&claiming("geo", json!(["DE"])), "Origin: a\r\n").await, 403, "token_country");
    assert_problem(&gateway.get(&claiming("net", json!(["10.0.0.0/8"])), "Origin: a\r\n").await, 403, "token_address");
    assert_eq!(gateway.get(&claiming("net", json!("127.0.0.1")), "").await.status, 200);
}

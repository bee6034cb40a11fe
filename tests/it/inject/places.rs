//! Each place, end to end, with callers who send the same field in its spellings.

use serde_json::json;

use super::{VALUE, gateway, guarded};
use crate::support::client::{self, Raw};
use crate::support::{Gateway, Origin};

/// What the origin gets: target and the named field.
async fn seen(inject: serde_json::Value, target: &str, fields: &str) -> crate::support::Seen {
    let origin = Origin::plain();
    let gateway = gateway(&origin, inject, json!({}));
    let answer = gateway.get(target, fields).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "media"), "{target}: {}", answer.code());
    assert_eq!(origin.count(), 1);
    origin.last()
}

#[tokio::test]
async fn in_the_query() {
    let inject = json!({ "into": "query", "name": "token" });
    for target in ["/v1/a?b=1", "/v1/a?b=1&token=evil", "/v1/a?t%6Fken=evil&b=1&TOKEN=evil", "/v1/a?b=1&token=evil&token[]=evil"] {
        assert_eq!(seen(inject.clone(), target, "").await.target, format!("/v1/a?b=1&token={VALUE}"), "{target}");
    }
}

#[tokio::test]
async fn in_a_header() {
    let inject = json!({ "into": "header", "name": "X-Api-Key", "format": "Key {value}" });
    for fields in ["", "X-API-KEY: evil\r\n", "x_api_key: evil\r\nX.Api.Key: evil\r\n", "x-api-key: evil\r\nx-api-key: evil\r\n"] {
        let seen = seen(inject.clone(), "/v1/a", fields).await;
        assert_eq!(seen.field("x-api-key"), Some(format!("Key {VALUE}").as_str()), "{fields}");
        assert!(!seen.head.contains("evil"), "{}", seen.head);
    }
}

#[tokio::test]
async fn as_bearer_and_basic() {
    for (inject, field) in [
        (json!({ "into": "bearer" }), format!("Bearer {VALUE}")),
        (json!({ "into": "basic" }), "Basic b3JpZ2luLWtleS00ZjFjOWQ6".to_owned()),
        (json!({ "into": "basic", "name": "ann" }), "Basic YW5uOm9yaWdpbi1rZXktNGYxYzlk".to_owned()),
    ] {
        let seen = seen(inject, "/v1/a", "authorization: Bearer evil\r\nAuthorization: Basic evil\r\nauthorization_: x\r\n").await;
        assert_eq!(seen.field("authorization"), Some(field.as_str()));
    }
}

#[tokio::test]
async fn in_a_cookie() {
    let inject = json!({ "into": "cookie", "name": "sid" });
    for fields in ["", "Cookie: sid=evil\r\n", "Cookie: SID=evil; s%69d=evil\r\nCookie: sid=evil\r\n"] {
        assert_eq!(seen(inject.clone(), "/v1/a", fields).await.field("cookie"), Some(format!("sid={VALUE}").as_str()));
    }
    assert_eq!(seen(inject, "/v1/a", "Cookie: a=1; sid=evil\r\n").await.field("cookie"), Some(format!("a=1; sid={VALUE}").as_str()));
}

#[tokio::test]
async fn in_the_path() {
    let prefix = json!({ "into": "path-prefix", "name": "k=" });
    for target in ["/v1/a/b", "/v1/k=evil/a/b", "/v1/a/K=evil/b"] {
        assert_eq!(seen(prefix.clone(), target, "").await.target, format!("/v1/k={VALUE}/a/b"), "{target}");
    }
    let segment = json!({ "into": "path-segment", "segment": 1 });
    assert_eq!(seen(segment.clone(), "/v1/a/evil/b?c", "").await.target, format!("/v1/a/{VALUE}/b?c"));
    let origin = Origin::plain();
    let short = gateway(&origin, segment.clone(), json!({})).get("/v1", "").await;
    assert_eq!((short.status, short.code().as_str(), origin.count()), (404, "route_not_found", 0));
    let renamed = gateway(&origin, segment, json!({ "rewrite_prefix": "/api/x" }));
    assert_eq!((renamed.get("/v1/a/b", "").await.status, origin.last().target), (200, format!("/api/x/a/{VALUE}")));
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn in_a_form() {
    let origin = Origin::plain();
    let gateway = gateway(&origin, json!({ "into": "form", "name": "token" }), json!({}));
    for body in ["a=1&b=2", "token=evil&a=1&b=2", "a=1&TOKEN=evil&b=2&t%6fken=evil"] {
        let answer = client::request(gateway.addr(), "POST", "/v1/a", FORM, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.code());
        let seen = origin.last();
        let text = String::from_utf8_lossy(&seen.body).into_owned();
        let pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).collect();
        assert_eq!(pairs, [format!("token={VALUE}").as_str(), "a=1", "b=2"], "{body}");
        assert_eq!(seen.field("content-length"), Some(text.len().to_string().as_str()));
    }
    // A body that is none gets one; one of another type could hold anything.
    assert_eq!(client::request(gateway.addr(), "POST", "/v1/a", "", b"").await.status, 200);
    assert_eq!(String::from_utf8_lossy(&origin.last().body), format!("token={VALUE}"));
    let answer = client::request(gateway.addr(), "POST", "/v1/a", "Content-Type: text/plain\r\n", b"token=evil").await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "form_expected"));
    let encoded = format!("{FORM}Content-Encoding: gzip\r\n");
    assert_eq!(client::request(gateway.addr(), "POST", "/v1/a", &encoded, b"token=evil").await.status, 415);
    assert_eq!((gateway.get("/v1/a", "").await.status, origin.count()), (200, 5));
}

const MULTIPART: &str = "Content-Type: multipart/form-data; boundary=xx\r\n";

fn part(name: &str, content: &str) -> String {
    format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
}

#[tokio::test]
async fn in_a_multipart_field() {
    let origin = Origin::plain();
    let gateway = gateway(&origin, json!({ "into": "multipart", "name": "token" }), json!({}));
    let expected = format!("{}{}--xx--\r\n", part("token", VALUE), part("file", "media"));
    for body in [part("file", "media"), part("token", "evil") + &part("file", "media"), part("file", "media") + &part("TOKEN", "evil")] {
        let answer = client::request(gateway.addr(), "POST", "/v1/a", MULTIPART, format!("{body}--xx--\r\n").as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.code());
        // What was taken out is made up behind the end, where nobody reads.
        assert_eq!(String::from_utf8_lossy(&origin.last().body).trim_end(), expected.trim_end(), "{body}");
    }
    let before = origin.count();
    let answer = client::request(gateway.addr(), "POST", "/v1/a", MULTIPART, b"--xx\r\nno head").await;
    assert_eq!((answer.status, answer.code().as_str(), origin.count()), (400, "body_broken", before));
}

#[tokio::test]
async fn a_long_multipart_body_is_edited_as_it_passes() {
    let origin = Origin::plain();
    let gateway = gateway(&origin, json!({ "into": "multipart", "name": "token" }), json!({}));
    let film = "m".repeat(300_000);
    let body = format!("{}{}{}--xx--\r\n", part("token", "evil"), part("file", &film), part("Token", "evil2"));
    let answer = client::request(gateway.addr(), "POST", "/v1/a", MULTIPART, body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    let seen = origin.last();
    let text = String::from_utf8_lossy(&seen.body).into_owned();
    assert!(!text.contains("evil") && text.contains(&film) && text.matches(VALUE).count() == 1);
    assert_eq!(seen.field("content-length"), Some(text.len().to_string().as_str()));
    // The same without a length told beforehand.
    let mut raw = Raw::connect(gateway.addr()).await;
    let head = format!("POST /v1/a HTTP/1.1\r\nHost: gate.test\r\n{MULTIPART}Transfer-Encoding: chunked\r\n\r\n");
    raw.send(head).await.expect("sent");
    for piece in body.as_bytes().chunks(70_000) {
        raw.send(format!("{:x}\r\n", piece.len())).await.expect("sent");
        raw.send(piece).await.expect("sent");
        raw.send("\r\n").await.expect("sent");
    }
    raw.send("0\r\n\r\n").await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    let chunked = origin.last();
    assert_eq!((chunked.field("content-length"), String::from_utf8_lossy(&chunked.body).trim_end()), (None, text.trim_end()));
}

#[tokio::test]
async fn what_the_caller_may_keep() {
    let inject = |mode: serde_json::Value| crate::support::gateway::over(json!({ "into": "query", "name": "token" }), mode);
    let keep = inject(json!({ "mode": "only-if-absent", "keep_own": true }));
    assert_eq!(seen(keep.clone(), "/v1/a?token=mine", "").await.target, "/v1/a?token=mine");
    assert_eq!(seen(keep.clone(), "/v1/a", "").await.target, format!("/v1/a?token={VALUE}"));
    // Two are one too many to know which is meant.
    assert_eq!(seen(keep, "/v1/a?token=mine&Token=evil", "").await.target, format!("/v1/a?token={VALUE}"));
    for mode in ["only-if-absent", "append", "replace"] {
        let target = seen(inject(json!({ "mode": mode })), "/v1/a?token=evil", "").await.target;
        assert_eq!(target, format!("/v1/a?token={VALUE}"), "{mode}");
    }
}

#[tokio::test]
async fn the_origin_never_sees_the_callers_token() {
    let origin = Origin::plain();
    let gateway = Gateway::start(guarded(&origin.url, json!({ "into": "bearer" }), json!({})));
    let link = gateway.link("/v1/a");
    let token = link.split("token=").nth(1).expect("a token").to_owned();
    assert_eq!(gateway.get(&link, "").await.status, 200);
    assert_eq!(gateway.get("/v1/a", &format!("Authorization: Bearer {token}\r\n")).await.status, 200);
    for seen in origin.requests() {
        assert_eq!((seen.target.as_str(), seen.field("authorization")), ("/v1/a", Some(format!("Bearer {VALUE}").as_str())));
        assert!(!seen.head.contains(&token));
    }
    let refused = gateway.get("/v1/a", "").await;
    assert_eq!((refused.status, origin.count()), (401, 2));
}

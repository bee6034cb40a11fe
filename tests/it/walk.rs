//! The walk of a request, from a caller through the gateway to an origin and back.

mod binding;
mod cors;
mod migration;
mod refusals;
mod schemes;
mod target;

use super::support::gateway::{public, simple};
use super::support::{Gateway, Origin, Reply, Seen, client};

/// Speaks of one file as a video server does.
fn media(seen: &Seen) -> Reply {
    let tagged = |status, body: &str| Reply::new(status, body).with("ETag", "\"v1\"").with("Accept-Ranges", "bytes").with("X-Said", "a");
    if seen.field("if-none-match") == Some("\"v1\"") {
        return tagged(304, "");
    }
    match seen.field("range") {
        None => tagged(200, "0123456789"),
        Some("bytes=2-4") => tagged(206, "234").with("Content-Range", "bytes 2-4/10"),
        Some(_) => tagged(416, "").with("Content-Range", "bytes */10"),
    }
}

#[tokio::test]
async fn answers_come_back_as_the_origin_gave_them() {
    let origin = Origin::start(media);
    let gateway = Gateway::simple(&origin.url);
    let link = gateway.link("/a/b.m4s?q=1");
    let whole = gateway.get(&link, "").await;
    assert_eq!((whole.status, whole.text().as_str(), whole.field("etag")), (200, "0123456789", Some("\"v1\"")));
    assert_eq!((whole.field("x-said"), whole.field("content-length")), (Some("a"), Some("10")));
    assert_eq!(origin.last().target, "/a/b.m4s?q=1");
    let part = gateway.get(&link, "Range: bytes=2-4\r\n").await;
    assert_eq!((part.status, part.text().as_str(), part.field("content-range")), (206, "234", Some("bytes 2-4/10")));
    let beyond = gateway.get(&link, "Range: bytes=20-\r\n").await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */10")));
    let same = gateway.get(&link, "If-None-Match: \"v1\"\r\n").await;
    assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some("\"v1\"")));
    let conditions = "If-Range: \"v0\"\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\nIf-Unmodified-Since: x\r\nIf-Match: *\r\n";
    gateway.get(&link, conditions).await;
    let seen = origin.last();
    assert_eq!((seen.field("if-range"), seen.field("if-match")), (Some("\"v0\""), Some("*")));
    assert_eq!(seen.field("if-modified-since"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(seen.field("if-unmodified-since"), Some("x"));
}

#[tokio::test]
async fn a_head_gets_the_length_and_no_body() {
    let origin = Origin::start(media);
    let gateway = Gateway::simple(&origin.url);
    let mut raw = client::Raw::connect(gateway.addr()).await;
    let link = gateway.link("/a");
    raw.send(client::head("HEAD", &link, "", 0)).await.expect("sent");
    let answer = raw.answer(true).await.expect("an answer");
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("10")));
    // The next answer on the connection begins where the last one ended.
    raw.send(client::head("GET", &link, "", 0)).await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").text(), "0123456789");
    assert_eq!(origin.requests()[0].method, "HEAD");
}

#[tokio::test]
async fn answers_to_a_token_are_private() {
    let origin = Origin::start(|_| Reply::new(200, "x").with("Cache-Control", "public, max-age=60"));
    let gateway = Gateway::simple(&origin.url);
    assert_eq!(gateway.get(&gateway.link("/a"), "").await.field("cache-control"), Some("private, max-age=60"));
    let gateway = Gateway::start(public(&origin.url));
    assert_eq!(gateway.get("/a", "").await.field("cache-control"), Some("public, max-age=60"));
}

#[tokio::test]
async fn a_public_route_asks_for_nothing() {
    let origin = Origin::plain();
    let gateway = Gateway::start(public(&origin.url));
    assert_eq!(gateway.get("/a?token=x", "Authorization: Bearer y\r\n").await.status, 200);
    let seen = origin.last();
    assert_eq!((seen.target.as_str(), seen.field("authorization")), ("/a?token=x", Some("Bearer y")));
}

#[tokio::test]
async fn origins_learn_who_asks_and_for_what() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let spoofed = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nForwarded: for=1.2.3.4\r\n\
                   X-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\nHost: Gate.Test:8443\r\n";
    let answer = gateway.get(&gateway.link("/a"), spoofed).await;
    let seen = origin.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("gate.test:8443"));
    assert_eq!((seen.field("forwarded"), seen.field("x-real-ip")), (None, None));
    let id = seen.field("x-request-id").expect("an id");
    assert_ne!(id, "mine");
    assert_eq!(answer.field("x-request-id"), Some(id));
}

#[tokio::test]
async fn a_trace_goes_on() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let fields = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\ntracestate: v=1\r\n");
    gateway.get(&gateway.link("/a"), &fields).await;
    let seen = origin.last();
    let parent = seen.field("traceparent").expect("a parent");
    assert!(parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01") && !parent.contains("b7ad6b7169203331"), "{parent}");
    assert_eq!(seen.field("tracestate"), Some("v=1"));
    gateway.get(&gateway.link("/a"), "").await;
    assert_eq!(origin.last().field("traceparent").map(str::len), Some(55));
}

#[tokio::test]
async fn a_trusted_proxy_names_the_viewer() {
    let origin = Origin::plain();
    let more = serde_json::json!({ "server": { "trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"] } });
    let gateway = Gateway::start(super::support::gateway::over(simple(&origin.url), more));
    let fields =
        "X-Forwarded-For: 9.9.9.9, 203.0.113.9\r\nX-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Request-Id: edge-1\r\n";
    let answer = gateway.get(&gateway.link("/a"), fields).await;
    let seen = origin.last();
    // RFC 7239 §5.2, and what every origin expects: each proxy adds the address it was talked to from.
    assert_eq!(seen.field("x-forwarded-for"), Some("9.9.9.9, 203.0.113.9, 10.0.0.2, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!((seen.field("x-request-id"), answer.field("x-request-id")), (Some("edge-1"), Some("edge-1")));
}

#[tokio::test]
async fn http_1_0_callers_are_served() {
    let origin = Origin::plain();
    let gateway = Gateway::simple(&origin.url);
    let mut raw = client::Raw::connect(gateway.addr()).await;
    raw.send(format!("GET {} HTTP/1.0\r\nHost: gate.test\r\n\r\n", gateway.link("/a"))).await.expect("sent");
    let (bytes, _) = raw.rest().await;
    assert!(bytes.starts_with(b"HTTP/1.0 200") && bytes.ends_with(b"media"), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn http_2_callers_get_the_same() {
    let origin = Origin::start(media);
    let mut config = simple(&origin.url);
    config["server"] = serde_json::json!({ "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] });
    config["routes"][0]["methods"] = serde_json::json!(["GET", "HEAD", "POST"]);
    let gateway = Gateway::start(config);
    let mut h2 = client::H2::plain(gateway.addr()).await;
    let link = format!("http://gate.test{}", gateway.link("/a"));
    let request = |method: &str, url: &str, fields: &[(&str, &str)], body: client::ClientBody| {
        let request = http::Request::builder().method(method).uri(url);
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(body).expect("a request")
    };
    let whole = h2.get(&link).await.expect("an answer");
    assert_eq!((whole.status, whole.text().as_str(), whole.field("content-length")), (200, "0123456789", Some("10")));
    let head = h2.send(request("HEAD", &link, &[], client::empty())).await.expect("an answer");
    assert_eq!((head.status, head.body.len(), head.field("content-length")), (200, 0, Some("10")));
    let same = h2.send(request("GET", &link, &[("if-none-match", "\"v1\"")], client::empty())).await.expect("an answer");
    assert_eq!((same.status, same.field("etag")), (304, Some("\"v1\"")));
    let part = h2.send(request("GET", &link, &[("range", "bytes=2-4")], client::empty())).await.expect("an answer");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(
        (origin.last().field("host"), origin.last().field("x-forwarded-host")),
        (Some(origin.addr.to_string().as_str()), Some("gate.test"))
    );
    // Bodies go both ways; a refusal of one that is still coming can be read.
    let sent = h2.send(request("POST", &link, &[], client::full(&[b'x'; 100_000]))).await.expect("an answer");
    assert_eq!((sent.status, origin.last().body_length), (200, 100_000));
    let refused = h2.send(request("POST", "http://gate.test/a", &[], client::full(&[b'x'; 100_000]))).await.expect("an answer");
    assert_eq!((refused.status, refused.code().as_str(), refused.field("connection")), (401, "token_missing", None));
    assert_eq!(h2.get(&link).await.expect("an answer").status, 200);
}

//! What callers see of answers: tickets instead of addresses, fields hidden, no echo.

use std::io::Write as _;

use serde_json::{Value, json};

use super::{VALUE, config, gateway, guarded};
use crate::support::client::{self, Answer};
use crate::support::gateway::{NOW, for_path, over, target};
use crate::support::{Gateway, Origin, Reply, Seen};
use tollgate::token::SignRequest;

/// An upload server: `POST` gives an address that shows the credential, everything else is answered with what was asked.
fn uploads() -> Origin {
    Origin::start(|seen: &Seen| match seen.method.as_str() {
        "POST" => Reply::new(201, "").with("Location", "files/7?part=1&token=origin-key-4f1c9d"),
        _ => Reply::new(204, "").with("Upload-Offset", "5"),
    })
}

fn query() -> Value {
    json!({ "into": "query", "name": "token" })
}

/// Path and query of an address at the gateway.
fn here(answer: &Answer, name: &str) -> String {
    let address = answer.field(name).unwrap_or_else(|| panic!("no {name}: {} {}", answer.status, answer.code()));
    address.strip_prefix("http://gate.test").unwrap_or_else(|| panic!("not at the gateway: {address}")).to_owned()
}

#[tokio::test]
async fn an_upload_goes_on_through_its_ticket() {
    let origin = uploads();
    let gateway = gateway(&origin, query(), json!({ "answers": {} }));
    let made = client::request(gateway.addr(), "POST", "/v1/", "", b"").await;
    let location = here(&made, "location");
    assert_eq!(made.status, 201);
    assert!(location.starts_with("/v1/up~~") && !location.contains("files"), "{location}");
    for method in ["PATCH", "HEAD"] {
        let body: &[u8] = if method == "PATCH" { b"media" } else { b"" };
        let answer = client::request(gateway.addr(), method, &location, "", body).await;
        assert_eq!((answer.status, answer.field("upload-offset")), (204, Some("5")));
        assert_eq!(origin.last().target, format!("/v1/files/7?part=1&token={VALUE}"));
    }
    // What the caller adds to the address is not part of it.
    client::request(gateway.addr(), "HEAD", &format!("{location}?token=evil&x=1"), "", b"").await;
    assert_eq!(origin.last().target, format!("/v1/files/7?part=1&token={VALUE}"));
}

#[tokio::test]
async fn tickets_are_of_their_caller_route_and_time() {
    let origin = uploads();
    let mut config = guarded(&origin.url, query(), json!({ "answers": { "lifetime": "10m" } }));
    let other = over(config["routes"][0].clone(), json!({ "name": "other", "path": "/v2" }));
    config["routes"].as_array_mut().expect("routes").push(other);
    let gateway = Gateway::start(config);
    let signed = |subject: &str, path: &str| {
        let ask = SignRequest { subject: Some(subject.into()), expires: Some(NOW.plus(36000)), ..for_path(path) };
        gateway.sign_with("viewer", &ask)
    };
    let (ann, bob) = (signed("ann", "/v1/a"), signed("bob", "/v1/a"));
    let made = client::request(gateway.addr(), "POST", &target(&ann), "", b"").await;
    let location = here(&made, "location");
    // The token comes along where it was, so that the caller need not know of it.
    assert!(location.starts_with("/v1/a/up~") && location.ends_with(&format!("?token={}", ann.token)), "{location}");
    let ask = async |target: String, fields: String| {
        let before = origin.count();
        let answer = client::request(gateway.addr(), "HEAD", &target, &fields, b"").await;
        (answer.status, origin.count() - before)
    };
    assert_eq!(ask(location.clone(), String::new()).await, (204, 1));
    let bare = location.split('?').next().expect("a path").to_owned();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(ask(bare.clone(), bearer(&ann.token)).await, (204, 1));
    // Another token of the same subject goes on with the upload.
    assert_eq!(ask(bare.clone(), bearer(&signed("ann", "/v1/a/").token)).await, (204, 1));
    assert_eq!(ask(bare.clone(), String::new()).await.0, 401);
    assert_eq!(ask(bare.clone(), bearer(&bob.token)).await, (404, 0));
    assert_eq!(ask(bare.replace("/v1/", "/v2/"), bearer(&ann.token)).await, (404, 0));
    assert_eq!(ask(bare.clone(), format!("{}Host: other.test\r\n", bearer(&ann.token))).await, (404, 0));
    let mut forged = bare.clone().into_bytes();
    let at = forged.len() - 9;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    for bad in [
        String::from_utf8(forged).expect("text"),
        "/v1/a/up~".into(),
        "/v1/a/up~AAAA".into(),
        format!("{bare}/more"),
        format!("{bare}{bare}"),
    ] {
        let (status, calls) = ask(bad.clone(), bearer(&ann.token)).await;
        assert_eq!((status, calls), (404, 0), "{bad}");
    }
    gateway.pass(599);
    assert_eq!(ask(bare.clone(), bearer(&ann.token)).await, (204, 1));
    gateway.pass(1);
    let late = client::get(gateway.addr(), &bare, &bearer(&ann.token)).await;
    assert_eq!((late.status, late.code().as_str()), (410, "address_expired"));
}

#[tokio::test]
async fn an_address_without_a_token_opens_by_itself_where_the_route_says_so_for_its_life() {
    let origin = uploads();
    let mut config = guarded(&origin.url, query(), json!({ "answers": { "lifetime": "10m", "tokenless": true } }));
    let other = over(config["routes"][0].clone(), json!({ "name": "other", "path": "/v2" }));
    config["routes"].as_array_mut().expect("routes").push(other);
    let gateway = Gateway::start(config);
    let link = gateway.link("/v1/a");
    let made = client::request(gateway.addr(), "POST", &link, "", b"").await;
    let location = here(&made, "location");
    assert!(location.starts_with("/v1/a/up~") && !location.contains('?'), "the token is not handed on: {location}");
    let ask = async |target: &str, fields: &str| client::request(gateway.addr(), "HEAD", target, fields, b"").await.status;
    assert_eq!(ask(&location, "").await, 204);
    // A token that comes along is nobody's to see, good or not.
    assert_eq!(ask(&location, "Authorization: Bearer forged\r\n").await, 204);
    assert_eq!((origin.last().field("authorization"), origin.last().target), (None, format!("/v1/files/7?part=1&token={VALUE}")));
    let before = origin.count();
    let ticket = location.rsplit('~').next().expect("a ticket");
    let changed = location.replace(&ticket[20..24], if &ticket[20..24] == "AAAA" { "BBBB" } else { "AAAA" });
    for target in ["/v1/a", &changed, &location.replace("/v1/", "/v2/"), "/v1/a/up~", &format!("{location}/more")] {
        assert!(matches!(ask(target, "").await, 400 | 401 | 404), "{target}");
    }
    gateway.pass(600);
    assert_eq!(client::get(gateway.addr(), &location, "").await.code(), "address_expired");
    assert_eq!(origin.count(), before);
}

#[tokio::test]
async fn the_upload_host_gets_neither_credential_nor_authorization() {
    let uploads = Origin::plain();
    let location = format!("{}/tus/9?secret=one-time", uploads.url);
    let api = Origin::start(move |_| Reply::new(201, "").with("Location", &location));
    let mut config = config(&api.url, json!({ "into": "bearer" }), json!({ "answers": { "origins": ["uploads"] } }));
    config["origins"]["uploads"] = json!({ "endpoints": [uploads.url] });
    let gateway = Gateway::start(config.clone());
    let made = client::request(gateway.addr(), "POST", "/v1/stream", "", b"").await;
    let location = here(&made, "location");
    assert!(!location.contains("tus") && !location.contains("one-time"));
    let fields = "Authorization: Bearer evil\r\nCookie: a=1\r\nUpload-Offset: 0\r\n";
    assert_eq!(client::request(gateway.addr(), "PATCH", &location, fields, b"media").await.status, 200);
    let seen = uploads.last();
    assert_eq!(
        (seen.target.as_str(), seen.body.as_slice(), seen.field("upload-offset")),
        ("/tus/9?secret=one-time", &b"media"[..], Some("0"))
    );
    assert_eq!((seen.field("authorization"), seen.field("cookie")), (None, None));
    assert_eq!(api.count(), 1);
    // A host that a reload took off the list is led to no more.
    config["routes"][0]["answers"] = json!({});
    gateway.reload(config).expect("taken");
    let gone = client::request(gateway.addr(), "HEAD", &location, "", b"").await;
    assert_eq!((gone.status, uploads.count()), (404, 1));
}

#[tokio::test]
async fn addresses_of_hosts_that_are_not_listed_are_withheld() {
    for location in [
        "https://elsewhere.example/files/7",
        "//elsewhere.example/files/7",
        "http://ann:secret@127.0.0.1/files",
        "ftp://127.0.0.1/x",
        "http:\\\\127.0.0.1\\x",
    ] {
        let origin = Origin::start(move |_| Reply::new(302, "").with("Location", location));
        let answer = gateway(&origin, query(), json!({ "answers": {} })).get("/v1/a", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "answer_withheld"), "{location}");
        assert_eq!(answer.field("location"), None);
    }
    // Twice is once too often to know which is meant.
    let origin = Origin::start(|_| Reply::new(302, "").with("Location", "/a").with("Location", "/b"));
    assert_eq!(gateway(&origin, query(), json!({ "answers": {} })).get("/v1/a", "").await.status, 502);
}

fn api(kind: &'static str, body: Vec<u8>, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::start(move |_| {
        let reply = Reply::new(200, body.clone()).with("Content-Type", kind);
        fields.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    })
}

fn rules() -> Value {
    json!({ "answers": { "json": [
        { "field": "result.uploadURL", "action": "rewrite" }, { "field": "/result/keys/*/pem" }, { "field": "token" },
    ] } })
}

#[tokio::test]
async fn fields_of_json_answers_are_hidden_or_rewritten() {
    let body = r#"{"n":1.50,"result":{"uploadURL":"/v1/files/8?k=origin-key-4f1c9d","keys":[{"id":"a","pem":"P1"},{"pem":"P2"}]},"token":7,"echo":"it is origin-key-4f1c9d"}"#;
    let origin = api("application/json; charset=utf-8", body.into(), &[("ETag", "\"x\""), ("Content-MD5", "abc")]);
    let gateway = gateway(&origin, query(), rules());
    let answer = gateway.get("/v1/a", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(origin.last().field("accept-encoding"), Some("identity"));
    assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!((answer.field("etag"), answer.field("content-md5")), (None, None));
    let text = answer.text();
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert!(text.starts_with(r#"{"n":1.50,"result":{"uploadURL":"http://gate.test/v1/a/up~"#) && !text.contains(VALUE), "{text}");
    assert_eq!(read["result"]["keys"], json!([{ "id": "a", "pem": "[redacted]" }, { "pem": "[redacted]" }]));
    assert_eq!((&read["token"], &read["echo"]), (&json!("[redacted]"), &json!("it is [redacted]")));
    let url = read["result"]["uploadURL"].as_str().expect("text").replace("http://gate.test", "");
    gateway.get(&url, "").await;
    assert_eq!(origin.last().target, format!("/v1/files/8?k={VALUE}&token={VALUE}"));
}

#[tokio::test]
async fn json_that_is_encoded_is_read_and_what_cannot_be_read_is_withheld() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(br#"{"token":"T"}"#).expect("packed");
    let packed = packed.finish().expect("packed");
    for (origin, status, shown) in [
        (api("application/json", packed, &[("Content-Encoding", "gzip")]), 200, r#"{"token":"[redacted]"}"#),
        (api("application/vnd.api+json", br#"{"token":"T"}"#.to_vec(), &[]), 200, r#"{"token":"[redacted]"}"#),
        (api("application/json", b"{\"token\":".to_vec(), &[]), 502, ""),
        (api("application/json", b"xx".to_vec(), &[("Content-Encoding", "zstd")]), 502, ""),
        (api("application/json", vec![b' '; 1024 * 1024 + 1], &[]), 502, ""),
        (api("application/json", Vec::new(), &[]), 200, ""),
        (api("video/mp4", br#"{"token":"T"}"#.to_vec(), &[]), 200, r#"{"token":"T"}"#),
    ] {
        let answer = gateway(&origin, query(), rules()).get("/v1/a", "").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let same = if status == 200 { answer.text() == shown } else { answer.code() == "answer_withheld" };
        assert!(same, "{}", answer.text());
        assert_eq!(answer.field("content-encoding"), None);
    }
    // A range could be the very field.
    let part = Origin::start(|_| Reply::new(206, "\"T\"").with("Content-Type", "application/json").with("Content-Range", "bytes 9-11/13"));
    assert_eq!(gateway(&part, query(), rules()).get("/v1/a", "Range: bytes=9-11\r\n").await.status, 502);
}

#[tokio::test]
async fn what_was_set_for_our_credential_or_says_it_back_is_dropped() {
    let fields = |reply: Reply| {
        let encoded = "https://a.example/?u=ann%20key-4f1c9d-x";
        reply.with("Set-Cookie", "vendor=1").with("X-Echo", "a ann key-4f1c9d-x b").with("X-Seen", encoded).with("X-Fine", "1")
    };
    let origin = Origin::start(move |_| fields(Reply::new(200, "media")));
    let mut config = config(&origin.url, query(), json!({}));
    config["credentials"]["key"]["secret"] = json!("ann key-4f1c9d-x");
    let gateway = Gateway::start(config.clone());
    let answer = gateway.get("/v1/a", "").await;
    let left: Vec<&str> =
        answer.fields.iter().map(|(name, _)| name.as_str()).filter(|n| n.starts_with("x-") || n.starts_with("set")).collect();
    assert_eq!(left, ["x-fine", "x-request-id"]);
    config["routes"][0]["answers"] = json!({ "keep_cookies": true });
    assert_eq!(Gateway::start(config).get("/v1/a", "").await.field("set-cookie"), Some("vendor=1"));
}

#[tokio::test]
async fn a_config_that_would_show_a_credential_is_not_taken() {
    let origin = Origin::plain();
    for (inject, more) in [
        (json!({ "into": "query" }), json!({})),
        (json!({ "into": "header", "name": "Host" }), json!({})),
        (json!({ "into": "bearer", "format": "Bearer" }), json!({})),
        (json!({ "into": "bearer", "keep_own": true }), json!({})),
        (json!({ "into": "bearer", "refused_by": [200] }), json!({})),
        (json!({ "into": "bearer", "resource": "/v/{resource}" }), json!({})),
        (json!({ "into": "bearer" }), json!({ "answers": { "marker": "a/b" } })),
        (json!({ "into": "bearer", "credential": "other" }), json!({})),
    ] {
        assert!(Gateway::try_start(config(&origin.url, inject.clone(), more)).is_err(), "{inject}");
    }
}

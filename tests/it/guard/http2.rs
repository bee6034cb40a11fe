//! The same over HTTP/2, where names and framing come apart in other places.

use http::{HeaderValue, Request};
use serde_json::json;

use crate::support::client::{H2, empty};
use crate::support::gateway::{over, public};
use crate::support::{Gateway, Origin};

fn gateway(origin: &Origin) -> Gateway {
    Gateway::start(over(public(&origin.url), json!({ "server": { "listeners": [{ "address": "127.0.0.1:0", "h2c": true }] } })))
}

fn request(target: &str) -> http::request::Builder {
    Request::get(format!("http://gate.test{target}"))
}

#[tokio::test]
async fn a_host_beside_the_authority_must_agree() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let mut h2 = H2::plain(gateway.addr()).await;
    for (host, status) in [("evil.test", 400), ("gate.test:81", 400), ("GATE.test", 200), ("gate.test", 200)] {
        let answer = h2.send(request("/a").header("host", host).body(empty()).expect("a request")).await.expect("an answer");
        assert_eq!(answer.status, status, "{host}");
    }
    let mut two = request("/a").body(empty()).expect("a request");
    two.headers_mut().append("host", HeaderValue::from_static("gate.test"));
    two.headers_mut().append("host", HeaderValue::from_static("gate.test"));
    assert_eq!(h2.send(two).await.expect("an answer").status, 400);
    assert_eq!(origin.count(), 2);
    assert_eq!(origin.last().field("x-forwarded-host"), Some("gate.test"));
}

#[tokio::test]
async fn cookie_crumbs_become_one_field() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let mut h2 = H2::plain(gateway.addr()).await;
    let crumbs = request("/a").header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
    assert_eq!(h2.send(crumbs.body(empty()).expect("a request")).await.expect("an answer").status, 200);
    assert_eq!(origin.last().all("cookie"), ["a=1; b=2; c=3"]);
}

#[tokio::test]
async fn too_much_is_refused_there_as_well() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let mut many = request("/a");
    for number in 0..150 {
        many = many.header(format!("x-{number}"), "a");
    }
    let cases = [
        ("many fields", many, 431),
        ("long target", request(&format!("/{}", "a".repeat(9000))), 414),
        ("long field", request("/a").header("x", "a".repeat(40_000)), 431),
        ("dots", request("/a/../b"), 400),
        ("slashes", request("//a"), 400),
    ];
    for (name, case, status) in cases {
        let mut h2 = H2::plain(gateway.addr()).await;
        let answer = h2.send(case.body(empty()).expect("a request")).await.expect("an answer");
        assert_eq!(answer.status, status, "{name}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn connection_fields_do_not_come_over_http_2() {
    let origin = Origin::plain();
    let gateway = gateway(&origin);
    let mut h2 = H2::plain(gateway.addr()).await;
    let answer = h2.send(request("/a").header("te", "trailers").body(empty()).expect("a request")).await.expect("an answer");
    assert_eq!((answer.status, origin.last().field("te")), (200, None));
    let trace = Request::builder().method("TRACE").uri("http://gate.test/a").body(empty()).expect("a request");
    assert_eq!(h2.send(trace).await.expect("an answer").status, 501);
    let other = h2.get("http://gate.test/b").await.expect("an answer");
    assert_eq!((other.status, other.field("connection")), (200, None));
}

//! Origins over TLS, and the `Host` that origins get.

use serde_json::json;

use super::to;
use crate::support::tls::Authority;
use crate::support::{Gateway, Origin};

#[tokio::test]
async fn an_origin_is_verified_by_its_own_ca_and_name() {
    let ca = Authority::new();
    let good = Origin::tls(ca.acceptor(&ca.issue("good", &["localhost"]), false));
    let other = Origin::tls(ca.acceptor(&ca.issue("other", &["media.test"]), false));
    let trusting = json!({ "tls": { "ca_file": ca.ca_file() } });
    assert_eq!(to(&good, trusting.clone()).get("/a", "").await.status, 200);
    for (origin, more) in [(&other, trusting), (&good, json!({})), (&good, json!({ "tls": { "ca_file": Authority::new().ca_file() } }))] {
        // The folder of the third CA is gone by now: then the config itself is refused.
        let Ok(gateway) = Gateway::try_start(config(origin, &more)) else { continue };
        let answer = gateway.get("/a", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "origin_unreachable"));
        assert!(gateway.metric("upstream_errors_total{origin=\"media\",reason=\"tls\"") >= 1.0);
    }
    assert_eq!(other.count(), 0);
    let named = json!({ "tls": { "ca_file": ca.ca_file(), "server_name": "media.test" } });
    assert_eq!(to(&other, named).get("/a", "").await.status, 200);
    assert_eq!(good.count(), 1);
}

fn config(origin: &Origin, more: &serde_json::Value) -> serde_json::Value {
    let mut config = crate::support::gateway::public(&origin.url);
    for (key, value) in more.as_object().expect("a table") {
        config["origins"]["media"][key] = value.clone();
    }
    config
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_where_asked() {
    let ca = Authority::new();
    let origin = Origin::tls(ca.acceptor(&ca.issue("server", &["localhost"]), true));
    let ours = ca.issue("client", &["gateway.test"]);
    let with = json!({ "tls": { "ca_file": ca.ca_file(), "client_cert_file": ours.cert, "client_key_file": ours.key } });
    let gateway = to(&origin, with);
    assert_eq!(gateway.get("/a", "").await.status, 200);
    assert_eq!(gateway.get("/a", "").await.status, 200);
    assert_eq!(origin.connections(), 1);
    let without = to(&origin, json!({ "tls": { "ca_file": ca.ca_file() } }));
    assert_eq!(without.get("/a", "").await.status, 502);
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn the_host_is_the_endpoint_s_or_the_caller_s_or_a_fixed_one() {
    let origin = Origin::plain();
    let endpoint = origin.addr.to_string();
    for (policy, host) in [(json!("endpoint"), endpoint.as_str()), (json!("preserve"), "gate.test:81"), (json!("media.test"), "media.test")]
    {
        let gateway = to(&origin, json!({ "host": policy }));
        assert_eq!(gateway.get("/a", "Host: Gate.Test:81\r\n").await.status, 200);
        assert_eq!(origin.last().field("host"), Some(host));
    }
}

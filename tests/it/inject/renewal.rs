//! Credentials that the origin does not take, and credentials that are not to be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{access, config, fetched, token_server};
use crate::support::client::{self, Raw};
use crate::support::{Gateway, Origin, Reply};

/// Takes tokens from number `first` on.
fn picky(first: usize) -> Origin {
    Origin::start(move |seen| {
        let number: usize = seen.field("authorization").and_then(|text| text.split('-').nth(1)?.parse().ok()).unwrap_or(0);
        if number >= first { Reply::new(200, "media") } else { Reply::new(401, "no").with("WWW-Authenticate", "Basic realm=\"vendor\"") }
    })
}

fn gateway(server: &Origin, origin: &Origin) -> Gateway {
    Gateway::start(fetched(&server.url, config(&origin.url, json!({ "into": "bearer" }), json!({}))))
}

#[tokio::test]
async fn a_refused_credential_is_renewed_and_the_request_sent_once_more() {
    for (method, body) in [("GET", &b""[..]), ("POST", b""), ("POST", b"short"), ("PUT", b"short")] {
        let (server, origin) = (token_server(), picky(2));
        let gateway = gateway(&server, &origin);
        let answer = client::request(gateway.addr(), method, "/v1/a", "", body).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "media"), "{method}");
        let shown: Vec<_> =
            origin.requests().iter().map(|seen| (seen.field("authorization").map(str::to_owned), seen.body.clone())).collect();
        let expected = [1, 2].map(|number| (Some(format!("Bearer {}", access(number))), body.to_vec()));
        assert_eq!((shown, server.count()), (expected.to_vec(), 2), "{method}");
        assert_eq!((gateway.get("/v1/b", "").await.status, origin.count()), (200, 3));
    }
}

#[tokio::test]
async fn a_short_body_without_a_length_is_sent_once_more_too() {
    let (server, origin) = (token_server(), picky(2));
    let gateway = gateway(&server, &origin);
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send("POST /v1/a HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n").await.expect("sent");
    assert_eq!(raw.answer(false).await.expect("an answer").status, 200);
    assert_eq!(origin.requests().iter().map(|seen| seen.body.clone()).collect::<Vec<_>>(), [b"short", b"short"]);
}

#[tokio::test]
async fn a_long_body_is_sent_once() {
    let (server, origin) = (token_server(), picky(2));
    let gateway = gateway(&server, &origin);
    let answer = client::request(gateway.addr(), "POST", "/v1/a", "", &vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!((answer.status, answer.code().as_str(), answer.field("retry-after")), (503, "credential_unavailable", Some("1")));
    assert_eq!(origin.count(), 1);
    // The caller's next try has another credential.
    server.wait("another token", |server| server.count() == 2).await;
    let answer = client::request(gateway.addr(), "POST", "/v1/a", "", &vec![b'x'; 64 * 1024 + 1]).await;
    assert_eq!((answer.status, origin.count()), (200, 2));
}

#[tokio::test]
async fn an_origin_that_never_takes_any_is_asked_twice_a_request_at_most() {
    let (server, origin) = (token_server(), picky(usize::MAX));
    let gateway = gateway(&server, &origin);
    for request in 1..=5 {
        let answer = gateway.get("/v1/a", "Origin: https://page.example\r\n").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "credential_unavailable"));
        assert!(answer.field("retry-after").is_some() && answer.field("access-control-allow-origin").is_some());
        assert_eq!(answer.field("www-authenticate"), None);
        assert!(origin.count() <= 2 * request, "{} calls for {request} requests", origin.count());
    }
}

#[tokio::test]
async fn a_fixed_credential_that_is_refused_is_not_sent_again() {
    let origin = Origin::start(|_| Reply::new(403, "not yours").with("WWW-Authenticate", "Bearer"));
    let gateway = super::gateway(&origin, json!({ "into": "bearer" }), json!({}));
    let answer = gateway.get("/v1/a", "").await;
    // 403 may be about the resource, so the caller is told; what he could do about it is not his to do.
    assert_eq!((answer.status, answer.text().as_str(), answer.field("www-authenticate"), origin.count()), (403, "not yours", None, 1));
    // Another status says nothing of the credential.
    let (server, origin) = (token_server(), Origin::start(|_| Reply::new(404, "none")));
    let gateway = Gateway::start(fetched(&server.url, config(&origin.url, json!({ "into": "bearer" }), json!({}))));
    assert_eq!((gateway.get("/v1/a", "").await.status, origin.count(), server.count()), (404, 1, 1));
}

#[tokio::test]
async fn without_a_credential_nothing_goes_to_the_origin() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let server = Origin::start(move |_| {
        counted.fetch_add(1, Ordering::AcqRel);
        Reply::new(503, "down").with("Retry-After", "7")
    });
    let origin = Origin::plain();
    let gateway = gateway(&server, &origin);
    server.wait("the first call", |server| server.count() > 0).await;
    let answer = gateway.get("/v1/a", "Origin: https://page.example\r\n").await;
    assert_eq!((answer.status, answer.code().as_str(), origin.count()), (503, "credential_unavailable", 0));
    assert!(answer.field("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after >= 1)));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert!(gateway.metric("refusals_total{code=\"credential_unavailable\",route=\"up\"") >= 1.0);
    // A caller who waits for leave to send is told before his body.
    let mut raw = Raw::connect(gateway.addr()).await;
    raw.send("POST /v1/a HTTP/1.1\r\nHost: gate.test\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n").await.expect("sent");
    assert_eq!((raw.head().await.expect("an answer").status, origin.count()), (503, 0));
}

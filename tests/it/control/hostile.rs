//! What attackers and slips send to the own API: each is refused with words, changes nothing, and stands in nobody's way.

use serde_json::{Value, json};

use super::own::{issuing, make_key};
use super::{ADMIN, ISSUER, Issuing, OTHER, READER};
use crate::support::{Origin, client};

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// An array in an array, so many levels deep.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_is_nested_deeply_is_kept_only_if_it_can_be_read_again() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let mut kept = 0;
    for levels in [1, 99, 100, 101, 110, 118, 120, 122, 124, 126] {
        let wanted = json!({ "scheme": "viewer", "url": "https://gate.test/a", "ttl": 60, "claims": { "deep": nested(levels) } });
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), if levels <= 100 { 201 } else { 400 }, "{levels}: {}", issued.0.text());
        kept += u32::from(issued.status() == 201);
        assert_eq!(issuing.ask(READER, "GET", "/v1/tokens", Value::Null).await.json()["total"], json!(kept), "{levels}");
    }
    // As a sweep reads it, and then its listing: one that cannot be read would hold up both for good.
    issuing.gateway.pass(61);
    assert_eq!(issuing.ask(ADMIN, "GET", "/v1/tokens", Value::Null).await.json()["total"], json!(0));
}

/// One with a policy for `/trailers` under each of these schemes, by the scheme's name.
fn with_policies(origin: &Origin, schemes: &Value) -> Issuing {
    Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["keys"]["shared"] = json!({ "by_id": { "k1": { "secret": SECRET } } });
        config["keys"]["hex"] = json!({ "secret": SECRET, "encoding": "hex" });
        config["schemes"] = schemes.clone();
        let names: Vec<&str> = schemes.as_object().expect("schemes").keys().map(String::as_str).collect();
        config["routes"][0]["accept"] = json!([names[0]]);
        for name in names {
            config["control"]["policies"][name] = json!({ "scheme": name, "paths": ["/trailers"] });
        }
    })
}

#[tokio::test]
async fn no_scheme_opens_more_than_its_policy() {
    let origin = Origin::plain();
    let schemes = json!({
        "wordless": { "type": "jwt", "keys": "viewer" },
        "jwt": { "type": "jwt", "keys": "viewer", "claims": { "paths": "paths" } },
        "in-path": { "type": "jwt", "keys": "viewer", "carriers": ["path-segment"] },
        "akamai": { "type": "akamai-edgeauth", "keys": "hex" },
        "ats": { "type": "ats-access-control", "keys": "shared" },
        "aws": { "type": "aws-smd", "keys": "shared" },
        "bunny": { "type": "bunny", "keys": "shared" },
        "cat": { "type": "cta-5007", "keys": "viewer" },
        "google": { "type": "google-media-cdn", "keys": "viewer" },
        "rfc9246": { "type": "rfc9246", "keys": "viewer" },
    });
    let issuing = with_policies(&origin, &schemes);
    make_key(&issuing).await;
    let (whole, folder, pattern) = (Value::Null, json!("/trailers/"), json!("/trailers/*"));
    for (policy, scope, status) in [
        ("wordless", &whole, 400),
        ("jwt", &whole, 201),
        ("jwt", &folder, 201),
        ("jwt", &pattern, 201),
        ("jwt", &json!("/trailers*"), 400),
        ("jwt", &json!("/trailers"), 201),
        ("in-path", &whole, 400),
        ("akamai", &whole, 201),
        ("akamai", &folder, 201),
        ("akamai", &json!("/trailers/*!/*"), 400),
        ("akamai", &json!("/trailers/*!/films/*"), 400),
        ("ats", &whole, 400),
        ("ats", &folder, 201),
        ("aws", &whole, 201),
        ("aws", &folder, 201),
        ("bunny", &whole, 201),
        ("bunny", &folder, 201),
        ("cat", &whole, 201),
        ("cat", &folder, 201),
        ("google", &whole, 201),
        ("google", &folder, 201),
        ("google", &json!("/trailers/*,/films/*"), 400),
        ("rfc9246", &whole, 201),
        ("rfc9246", &folder, 201),
    ] {
        let mut wanted = json!({ "policy": policy, "url": "https://gate.test/trailers/a.mp4", "scope": scope });
        // The one scheme that wants a subject; others have no words for one.
        if policy == "ats" {
            wanted["subject"] = json!("ann");
        }
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), status, "{policy} {scope}: {}", issued.0.text());
    }
}

#[tokio::test]
async fn urls_and_times_that_no_viewer_can_use_are_not_issued() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let now = issuing.gateway.clock.now().0;
    for (more, status) in [
        (json!({}), 201),
        (json!({ "url": "https://ann:pass@gate.test/a" }), 400),
        (json!({ "url": "https://pass@gate.test/a" }), 400),
        (json!({ "ttl": 60, "not_before": now + 59 }), 201),
        (json!({ "ttl": 60, "not_before": now + 60 }), 400),
        (json!({ "ttl": 60, "not_before": i64::MAX }), 400),
    ] {
        let wanted = crate::support::gateway::over(json!({ "scheme": "viewer", "url": "https://gate.test/a" }), more.clone());
        let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(issued.status(), status, "{more}: {}", issued.0.text());
    }
}

#[tokio::test]
async fn what_has_two_readings_is_refused() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let key = format!("Authorization: Bearer {ADMIN}\r\n");
    let wanted = json!({ "name": "n", "role": "reader" });
    for twice in [
        format!("{key}Authorization: Bearer {READER}\r\n"),
        format!("{key}{key}"),
        format!("{key}Content-Type: application/json\r\nContent-Type: text/plain\r\n"),
        format!("{key}Idempotency-Key: a\r\nIdempotency-Key: b\r\n"),
    ] {
        let reply = issuing.ask_with("POST", "/v1/api-keys", &twice, wanted.clone()).await;
        assert_eq!((reply.status(), reply.0.code().as_str()), (400, "field_twice"), "{twice}");
    }
    for kind in ["application/jsonp", "application/json+x", "application/json; charset=utf-16", "text/json"] {
        let reply = issuing.ask_with("POST", "/v1/api-keys", &format!("{key}Content-Type: {kind}\r\n"), wanted.clone()).await;
        assert_eq!((reply.status(), reply.0.code().as_str()), (415, "not_json"), "{kind}");
    }
    let json_in = format!("{key}Content-Type: APPLICATION/JSON; Charset=\"UTF-8\"\r\n");
    for (target, body) in [
        ("/v1/api-keys", r#"["n","reader",null]"#),
        ("/v1/api-keys", r#"{"name":"n","name":"m","role":"reader"}"#),
        ("/v1/tokens", r#"{"scheme":"viewer","url":"https://gate.test/a","claims":{"a":1,"a":2}}"#),
        ("/v1/explain", r#"{"url":"https://gate.test/a","headers":{"x":"1","x":"2"}}"#),
    ] {
        let answer = client::request(issuing.control, "POST", target, &json_in, body.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid"), "{target} {body}");
    }
    for query in ["limit=1&limit=2", "limit=1&l%69mit=1", "lmit=1", "LIMIT=1", "subject=a&subject=b", "name=n", "%FF=1"] {
        let reply = issuing.ask(READER, "GET", &format!("/v1/tokens?{query}"), Value::Null).await;
        assert_eq!((reply.status(), reply.0.code().as_str()), (400, "invalid"), "{query}");
    }
    for (method, target) in [("POST", "/v1/keys?limit=1"), ("GET", "/v1/policies?limit=1"), ("DELETE", "/v1/keys/x?really=no")] {
        assert_eq!(issuing.ask(ADMIN, method, target, Value::Null).await.status(), 400, "{method} {target}");
    }
    assert_eq!(issuing.ask(ADMIN, "GET", "/v1/api-keys?limit=1&", Value::Null).await.json()["total"], json!(0), "nothing was made");
}

#[tokio::test]
async fn an_idempotency_key_is_one_or_the_request_is_refused() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    let ask = async |who: &str, once: &str, target: &str, body: &Value| {
        issuing.ask_with("POST", target, &format!("Authorization: Bearer {who}\r\nIdempotency-Key: {once}\r\n"), body.clone()).await
    };
    let wanted = json!({ "name": "n" });
    for bad in ["", " ", "\u{e9}", &"x".repeat(256)] {
        let reply = ask(ADMIN, bad, "/v1/keys", &wanted).await;
        assert_eq!((reply.status(), reply.0.code().as_str()), (400, "invalid"), "{bad}");
    }
    let longest = "x".repeat(255);
    let first = ask(ADMIN, &longest, "/v1/keys", &wanted).await;
    assert_eq!((first.status(), ask(ADMIN, &longest, "/v1/keys", &wanted).await.json()), (201, first.json()));
    // For another place, body or caller it is another request.
    assert_eq!(ask(ADMIN, &longest, "/v1/api-keys", &json!({ "name": "n", "role": "reader" })).await.status(), 409);
    assert_eq!(ask(ADMIN, &longest, "/v1/keys", &json!({ "name": "m" })).await.status(), 409);
    assert_eq!(ask(ISSUER, &longest, "/v1/keys", &wanted).await.status(), 403);
    assert_ne!(ask(OTHER, &longest, "/v1/keys", &wanted).await.json()["id"], first.json()["id"]);
    assert_eq!(issuing.ask(READER, "GET", "/v1/keys", Value::Null).await.json()["total"], json!(1));
}

#[tokio::test]
async fn a_request_is_counted_once_into_its_minute() {
    let origin = Origin::plain();
    let issuing = Issuing::start(&origin.url, |config| {
        config["control"]["api_keys"]["admin"]["per_minute"] = json!(3);
        config["control"]["api_keys"]["reader"]["per_minute"] = json!(1);
    });
    let once = |name: &str| format!("Authorization: Bearer {ADMIN}\r\nIdempotency-Key: {name}\r\n");
    for name in ["a", "a", "b"] {
        let reply = issuing.ask_with("POST", "/v1/api-keys", &once(name), json!({ "name": "n", "role": "reader" })).await;
        assert_eq!(reply.status(), 201, "{name}: {}", reply.0.text());
    }
    let over = issuing.ask_with("POST", "/v1/api-keys", &once("c"), json!({ "name": "n", "role": "reader" })).await;
    assert_eq!((over.status(), over.0.field("retry-after")), (429, Some("60")));
    assert_eq!(issuing.ask(READER, "GET", "/v1/keys", Value::Null).await.status(), 200, "another key has its own minute");
    issuing.gateway.pass(60);
    assert_eq!(issuing.ask(ADMIN, "GET", "/v1/api-keys", Value::Null).await.json()["total"], json!(2));
}

#[tokio::test]
async fn a_rotation_lasts_as_long_as_it_says() {
    let origin = Origin::plain();
    let issuing = issuing(&origin);
    let first = make_key(&issuing).await["id"].as_str().expect("an id").to_owned();
    let rotate =
        async |id: &str, overlap: Value| issuing.ask(ADMIN, "POST", &format!("/v1/keys/{id}/rotate"), json!({ "overlap": overlap })).await;
    for bad in [json!("367days"), json!("1000000years"), json!(5), json!("-1s"), json!("soon")] {
        assert_eq!(rotate(&first, bad.clone()).await.status(), 400, "{bad}");
    }
    let token = super::own::issue(&issuing, "/a.mp4").await;
    let target = token["url"].as_str().expect("a URL").replacen("https://gate.test", "", 1);
    assert_eq!(issuing.gateway.get(&target, "").await.status, 200);
    let second = rotate(&first, json!(0)).await.json();
    assert_eq!(issuing.gateway.get(&target, "").await.status, 401, "no overlap: gone at once");
    assert_eq!(rotate(&first, json!(0)).await.status(), 404);
    let id = second["id"].as_str().expect("an id").to_owned();
    let third = rotate(&id, json!("366days")).await;
    assert_eq!(third.json()["replaces"]["verifies_until"], json!(issuing.gateway.clock.now().0 + 366 * 24 * 3600));
    assert_eq!(rotate(&id, json!("1h")).await.status(), 409, "it is being replaced already");
    let listed = issuing.ask(READER, "GET", "/v1/keys", Value::Null).await.json();
    assert_eq!(listed["total"], json!(2), "what was refused made no key");
}

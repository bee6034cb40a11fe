//! The gateway's own API: tokens that play and stop playing, keys, who may what, and its description.

use serde_json::{Value, json};

use super::{ADMIN, ISSUER, Issuing, OTHER, READER};
use crate::support::{Origin, Reply as Answered};

fn media() -> Origin {
    Origin::start(|_| Answered::new(200, "media"))
}

/// One whose scheme takes its keys from the ledger.
pub(super) fn issuing(origin: &Origin) -> Issuing {
    Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["schemes"]["viewer"]["claims"] =
            json!({ "paths": "paths", "concurrent": "streams", "networks": "ip", "countries": "country" });
        config["control"]["allowed_origins"] = json!(["https://admin.example.com"]);
        config["control"]["policies"] =
            json!({ "trailer": { "scheme": "viewer", "max_ttl": "1h", "paths": ["/trailers"], "concurrent": 1 } });
    })
}

pub(super) async fn make_key(issuing: &Issuing) -> Value {
    let made = issuing.ask(ADMIN, "POST", "/v1/keys", json!({ "name": "first" })).await;
    assert_eq!(made.status(), 201, "{}", made.0.text());
    made.json()
}

pub(super) async fn issue(issuing: &Issuing, path: &str) -> Value {
    let wanted = json!({ "scheme": "viewer", "url": format!("https://gate.test{path}"), "scope": path, "subject": "ann", "ttl": 600 });
    let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
    assert_eq!(issued.status(), 201, "{}", issued.0.text());
    issued.json()
}

/// Path and query of a URL.
fn target(issued: &Value) -> String {
    issued["url"].as_str().expect("a URL").replacen("https://gate.test", "", 1)
}

#[tokio::test]
async fn a_token_plays_until_it_is_withdrawn_and_stays_so() {
    let origin = media();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let issued = issue(&issuing, "/film.mp4").await;
    assert_eq!(issuing.gateway.get(&target(&issued), "").await.status, 200);
    assert_eq!(issuing.gateway.get(&target(&issued).replace("/film", "/other"), "").await.status, 403);
    let id = issued["id"].as_str().expect("an id").to_owned();
    let shown = issuing.ask(READER, "GET", &format!("/v1/tokens/{id}"), Value::Null).await.json();
    assert_eq!((&shown["subject"], &shown["revoked"], shown.get("token")), (&json!("ann"), &Value::Null, None));
    let listed = issuing.ask(READER, "GET", "/v1/tokens?order=expiry&descending=true", Value::Null).await.json();
    assert_eq!((&listed["total"], &listed["items"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(issuing.ask(ISSUER, "DELETE", &format!("/v1/tokens/{id}"), Value::Null).await.status(), 200);
    assert_eq!(issuing.gateway.get(&target(&issued), "").await.code(), "token_revoked");
    let again = issue(&issuing, "/film.mp4").await;
    assert_eq!(issuing.gateway.get(&target(&again), "").await.status, 200, "another token is not touched");
    let issuing = issuing.restart();
    assert_eq!(issuing.gateway.get(&target(&issued), "").await.code(), "token_revoked");
    assert_eq!(issuing.gateway.get(&target(&again), "").await.status, 200, "the key is still there");
}

#[tokio::test]
async fn what_a_token_holds_its_viewers_to_is_shown() {
    let origin = media();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let wanted = json!({
        "scheme": "viewer", "url": "https://gate.test/a", "scope": "/a", "client_ip": "198.51.100.7",
        "session": { "concurrent": 2 }, "claims": { "country": "SE" },
    });
    let issued = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await.json();
    let free = issue(&issuing, "/a").await;
    let limit = |most: Value| json!({ "concurrent": most, "total": null, "seconds": null, "once": false });
    for (token, session, bindings) in
        [(&issued, limit(json!(2)), json!(["Networks([198.51.100.7/32])", "Countries([SE])"])), (&free, limit(Value::Null), json!([]))]
    {
        let shown = issuing.ask(READER, "GET", &format!("/v1/tokens/{}", token["id"].as_str().expect("an id")), Value::Null).await.json();
        assert_eq!((&shown["session"], &shown["bindings"]), (&session, &bindings));
        assert_eq!((&token["session"], &token["bindings"]), (&session, &bindings), "as when it was made");
    }
}

#[tokio::test]
async fn a_token_can_be_sealed_for_a_viewer() {
    let origin = media();
    let seal = json!({ "attributes": ["network", "header.user-agent"], "secret": "known to the gateway alone" });
    let issuing = Issuing::start(&origin.url, |config| {
        config["keys"]["viewer"] = json!({ "ledger": "acme" });
        config["schemes"]["viewer"]["seal"] = seal;
    });
    make_key(&issuing).await;
    let viewer = json!({ "client_ip": "198.51.100.7", "headers": { "User-Agent": "vlc" } });
    for (change, status) in [
        (json!({}), 201),
        (json!({ "headers": {} }), 400),
        (json!({ "country": "SE" }), 400),
        (json!({ "headers": { "User-Agent": "vlc", "user-agent": "mpv" } }), 400),
        (json!({ "headers": { "User Agent": "vlc" } }), 400),
        (json!({ "headers": { "User-Agent": "vlc", "Accept": "*/*" } }), 400),
        (json!({ "system": 64512 }), 400),
    ] {
        let mut wanted = json!({ "scheme": "viewer", "url": "https://gate.test/a.mp4" });
        for (name, value) in [&viewer, &change].into_iter().flat_map(|fields| fields.as_object().expect("a table")) {
            wanted[name] = value.clone();
        }
        let answer = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(answer.status(), status, "{change}: {}", answer.0.text());
        if status == 201 {
            for (agent, address, reason) in
                [("vlc", "198.51.100.9", Value::Null), ("mpv", "198.51.100.9", json!("address")), ("vlc", "203.0.113.9", json!("address"))]
            {
                let asked = json!({ "url": answer.json()["url"], "headers": { "user-agent": agent }, "client_ip": address });
                let said = issuing.ask(READER, "POST", "/v1/explain", asked).await.json();
                assert_eq!(said["denial"].get("reason").unwrap_or(&Value::Null), &reason, "{agent} {address}: {said}");
            }
            assert_eq!(answer.json()["bindings"].as_array().map(Vec::len), Some(1), "{}", answer.json());
        }
    }
}

#[tokio::test]
async fn keys_verify_at_once_overlap_and_are_gone_at_once() {
    let origin = media();
    let issuing = issuing(&origin);
    let first = make_key(&issuing).await;
    let id = first["id"].as_str().expect("an id");
    assert!(first["private_pem"].as_str().is_some_and(|pem| pem.contains("PRIVATE KEY")));
    let shown = issuing.ask(ADMIN, "GET", &format!("/v1/keys/{id}"), Value::Null).await;
    assert!(!shown.0.text().contains("PRIVATE") && !shown.0.text().contains("\"d\""), "{}", shown.0.text());
    let old = issue(&issuing, "/a.mp4").await;
    let rotated = issuing.ask(ADMIN, "POST", &format!("/v1/keys/{id}/rotate"), json!({ "overlap": "5m" })).await.json();
    assert_eq!(rotated["replaces"]["id"], json!(id), "{rotated}");
    let new = issue(&issuing, "/a.mp4").await;
    assert_eq!((&old["key_id"], &new["key_id"]), (&json!(id), &rotated["id"]));
    for token in [&old, &new] {
        assert_eq!(issuing.gateway.get(&target(token), "").await.status, 200);
    }
    let jwks = issuing.ask_with("GET", "/.well-known/jwks.json", "", Value::Null).await.json();
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(2));
    assert!(jwks["keys"][0].get("d").is_none());
    issuing.gateway.pass(301);
    // Swept by the next listing, whatever the sweeper's second.
    assert_eq!(issuing.ask(READER, "GET", "/v1/keys", Value::Null).await.json()["total"], json!(1));
    assert_eq!(issuing.gateway.get(&target(&old), "").await.status, 401);
    let gone = format!("/v1/keys/{}", rotated["id"].as_str().expect("an id"));
    assert_eq!(issuing.ask(ADMIN, "DELETE", &gone, Value::Null).await.status(), 200);
    assert_eq!(issuing.gateway.get(&target(&new), "").await.status, 401);
    assert_eq!(issuing.ask(ADMIN, "DELETE", &gone, Value::Null).await.status(), 404);
}

#[tokio::test]
async fn pages_of_forms_and_viewers_ports_change_nothing() {
    let origin = media();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    let form = format!("Authorization: Bearer {ISSUER}\r\nContent-Type: text/plain\r\n");
    let wanted = json!({ "scheme": "viewer", "url": "https://gate.test/a", "scope": "/a" });
    assert_eq!(issuing.ask_with("POST", "/v1/tokens", &form, wanted).await.status(), 415);
    assert_eq!(issuing.gateway.get("/v1/tokens", &format!("Authorization: Bearer {ADMIN}\r\n")).await.status, 401, "not on the data port");
    assert_eq!(issuing.ask(READER, "GET", "/v1/tokens", Value::Null).await.json()["total"], json!(0));
}

#[tokio::test]
async fn listings_are_filtered_and_followed() {
    let origin = media();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    for index in 0..7 {
        let wanted = json!({ "scheme": "viewer", "url": "https://gate.test/a", "scope": "/a", "subject": if index % 3 == 0 { "ann" } else { "bob" } });
        assert_eq!(issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await.status(), 201);
    }
    let list = async |query: &str| issuing.ask(READER, "GET", &format!("/v1/tokens?{query}"), Value::Null).await.json();
    for (query, subjects) in
        [("subject=ann", 3), ("subject=bob&scheme=viewer", 4), ("subject=ann&scheme=other", 0), ("subject=", 0), ("", 7)]
    {
        let page = list(query).await;
        assert_eq!(
            (page["items"].as_array().map(Vec::len), page["total"].is_null()),
            (Some(subjects), !query.is_empty()),
            "{query}: {page}"
        );
    }
    let (mut ids, mut after) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let page = list(&format!("subject=ann&limit=1{after}")).await;
        ids.extend(page["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(ids.len(), 3, "each once, page by page");
    let first = list("limit=4").await;
    let rest = list(&format!("limit=4&after={}", first["next"].as_str().expect("more"))).await;
    assert_eq!((first["total"].clone(), rest["items"].as_array().map(Vec::len), &rest["next"]), (json!(7), Some(3), &Value::Null));
    assert_eq!(issuing.ask(READER, "GET", "/v1/tokens?subject=%FF", Value::Null).await.status(), 400);
    let policy = issuing.ask(READER, "GET", "/v1/policies/trailer", Value::Null).await.json();
    assert_eq!((&policy["name"], &policy["scheme"], &policy["session"]["concurrent"]), (&json!("trailer"), &json!("viewer"), &json!(1)));
    assert_eq!(issuing.ask(READER, "GET", "/v1/policies/none", Value::Null).await.status(), 404);
    let who = issuing.ask(ADMIN, "GET", "/v1/audit?who=issuer&action=issued.create", Value::Null).await.json();
    assert_eq!(who["items"].as_array().map(Vec::len), Some(7));
    let long = format!("/v1/keys/{}", "0".repeat(600));
    assert_eq!(issuing.ask(ADMIN, "DELETE", &long, Value::Null).await.status(), 404, "no id is that long");
}

#[tokio::test]
async fn policies_hold_what_is_asked_under_them() {
    let origin = media();
    let issuing = issuing(&origin);
    make_key(&issuing).await;
    for (more, status) in [
        (json!({}), 201),
        (json!({ "ttl": 3600 }), 201),
        (json!({ "ttl": 3601 }), 400),
        (json!({ "ttl": 0 }), 400),
        (json!({ "scope": "/films" }), 400),
        (json!({ "scope": "/trailers/../films" }), 400),
        (json!({ "scheme": "other" }), 400),
        (json!({ "claims": { "streams": 9 } }), 400),
        (json!({ "session": { "concurrent": 5 } }), 201),
        (json!({ "session": { "total": 5 } }), 400),
    ] {
        let mut wanted = json!({ "policy": "trailer", "url": "https://gate.test/trailers/a.mp4", "scope": "/trailers/a.mp4" });
        more.as_object().expect("a table").iter().for_each(|(key, value)| wanted[key] = value.clone());
        let reply = issuing.ask(ISSUER, "POST", "/v1/tokens", wanted).await;
        assert_eq!(reply.status(), status, "{more}: {}", reply.0.text());
        if status == 201 {
            let url = reply.json()["url"].clone();
            let said = issuing.ask(READER, "POST", "/v1/explain", json!({ "url": url })).await.json();
            assert_eq!((&said["decision"], &said["grant"]["session"]["concurrent"]), (&json!("allow"), &json!(1)), "{said}");
        }
    }
}

#[tokio::test]
async fn a_repeated_request_is_answered_as_before() {
    let origin = media();
    let issuing = issuing(&origin);
    let once = format!("Authorization: Bearer {ADMIN}\r\nIdempotency-Key: abc\r\n");
    let first = issuing.ask_with("POST", "/v1/keys", &once, json!({ "name": "a" })).await;
    let second = issuing.ask_with("POST", "/v1/keys", &once, json!({ "name": "a" })).await;
    assert_eq!((first.status(), first.json()), (201, second.json()));
    assert_eq!(second.0.field("idempotent-replayed"), Some("true"));
    assert_eq!(issuing.ask_with("POST", "/v1/keys", &once, json!({ "name": "b" })).await.status(), 409);
    let other = format!("Authorization: Bearer {OTHER}\r\nIdempotency-Key: abc\r\n");
    assert_eq!(issuing.ask_with("POST", "/v1/keys", &other, json!({ "name": "b" })).await.status(), 201, "another caller's key");
    assert_eq!(issuing.ask(READER, "GET", "/v1/keys", Value::Null).await.json()["total"], json!(1));
}

#[tokio::test]
async fn what_was_done_is_on_record_without_secrets() {
    let origin = media();
    let issuing = issuing(&origin);
    let key = make_key(&issuing).await;
    let issued = issue(&issuing, "/a.mp4").await;
    let made = issuing.ask(ADMIN, "POST", "/v1/api-keys", json!({ "name": "ci", "role": "reader" })).await.json();
    let log = issuing.ask(ADMIN, "GET", "/v1/audit", Value::Null).await;
    let text = log.0.text();
    let actions: Vec<String> =
        log.json()["items"].as_array().expect("items").iter().map(|it| format!("{} {}", it["who"], it["action"])).collect();
    assert_eq!(actions, ["\"admin\" \"signing_key.create\"", "\"issuer\" \"issued.create\"", "\"admin\" \"api_key.create\""]);
    for secret in [&issued["token"], &made["key"], &key["private_pem"]] {
        assert!(!text.contains(secret.as_str().expect("text")));
    }
    let reader = made["key"].as_str().expect("a key");
    assert_eq!(issuing.ask(reader, "GET", "/v1/keys", Value::Null).await.status(), 200);
    let gone = format!("/v1/api-keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(issuing.ask(ADMIN, "DELETE", &gone, Value::Null).await.status(), 200);
    assert_eq!(issuing.ask(reader, "GET", "/v1/keys", Value::Null).await.status(), 401);
}

#[tokio::test]
async fn the_description_is_true() {
    let origin = media();
    let issuing = issuing(&origin);
    let described = issuing.ask_with("GET", "/openapi.json", "", Value::Null).await.json();
    let mut operations = 0;
    for (path, item) in described["paths"].as_object().expect("paths") {
        let target = path.replace("{id}", "x").replace("{name}", "x");
        for method in ["get", "post", "put", "patch", "delete"] {
            let reply = issuing.ask_with(&method.to_uppercase(), &target, "", Value::Null).await;
            let expected = match (item.get(method), item[method]["security"].as_array().is_some_and(Vec::is_empty)) {
                (None, _) => 405,
                (Some(_), true) => 200,
                (Some(_), false) => 401,
            };
            assert_eq!(reply.status(), expected, "{method} {path}: {}", reply.0.text());
            operations += usize::from(item.get(method).is_some());
        }
    }
    assert!(operations > 15, "{operations}");
    // What it says of bodies, on one of each.
    let key = make_key(&issuing).await;
    let issued = issue(&issuing, "/a.mp4").await;
    for (name, value) in [("KeyMade", &key), ("TokenIssued", &issued)] {
        let schema = &described["components"]["schemas"][name];
        let said: Vec<&str> = schema["required"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let mut have: Vec<&str> = value.as_object().expect("a table").keys().map(String::as_str).collect();
        let mut said = said;
        have.sort_unstable();
        said.sort_unstable();
        assert_eq!(have, said, "{name}");
    }
}

#[tokio::test]
async fn odd_bodies_are_refused_with_words() {
    let origin = media();
    let issuing = issuing(&origin);
    let fields = format!("Authorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n");
    for body in [
        "[]",
        "null",
        "{",
        "\"x\"",
        "{\"url\":1}",
        "{\"url\":\"x\"}",
        "{\"url\":\"https://h/a\",\"more\":1}",
        "\u{0}",
        "{\"url\":\"\\ud800\"}",
    ] {
        let answer = crate::support::client::request(issuing.control, "POST", "/v1/tokens", &fields, body.as_bytes()).await;
        assert_eq!((answer.status, answer.field("content-type")), (400, Some("application/problem+json")), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(crate::support::client::request(issuing.control, "POST", "/v1/tokens", &fields, deep.as_bytes()).await.status, 400);
    let long = "x".repeat(2 * 1024 * 1024);
    let answer = crate::support::client::request(issuing.control, "POST", "/v1/tokens", &fields, long.as_bytes());
    assert_eq!(answer.await.status, 413);
}

//! Who may do what at the own API: no key, a wrong one, one of too small a role, one of another account, pages of other origins.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::own::{issue, issuing, make_key};
use super::{ADMIN, ISSUER, Issuing, OTHER, READER, Reply};
use crate::support::Origin;

const PAGE: &str = "https://admin.example.com";
const ROLES: [&str; 3] = [READER, ISSUER, ADMIN];

/// Method, path as described, and the least role; nobody's where a key is not asked for.
const ROUTES: [(&str, &str, Option<usize>); 18] = [
    ("GET", "/v1/tokens", Some(0)),
    ("POST", "/v1/tokens", Some(1)),
    ("GET", "/v1/tokens/{id}", Some(0)),
    ("DELETE", "/v1/tokens/{id}", Some(1)),
    ("GET", "/v1/keys", Some(0)),
    ("POST", "/v1/keys", Some(2)),
    ("GET", "/v1/keys/{id}", Some(0)),
    ("DELETE", "/v1/keys/{id}", Some(2)),
    ("POST", "/v1/keys/{id}/rotate", Some(2)),
    ("GET", "/v1/policies", Some(0)),
    ("GET", "/v1/policies/{name}", Some(0)),
    ("POST", "/v1/explain", Some(0)),
    ("GET", "/v1/api-keys", Some(2)),
    ("POST", "/v1/api-keys", Some(2)),
    ("GET", "/v1/api-keys/{id}", Some(2)),
    ("DELETE", "/v1/api-keys/{id}", Some(2)),
    ("GET", "/v1/audit", Some(2)),
    ("GET", "/openapi.json", None),
];

/// A gateway with one record of each kind, and their ids by collection.
struct Filled {
    issuing: Issuing,
    ids: [(&'static str, String); 3],
}

impl Filled {
    async fn start(origin: &Origin) -> Self {
        let issuing = issuing(origin);
        let id = |made: Value| made["id"].as_str().expect("an id").to_owned();
        let key = id(make_key(&issuing).await);
        let token = id(issue(&issuing, "/a.mp4").await);
        let api_key = id(issuing.ask(ADMIN, "POST", "/v1/api-keys", json!({ "name": "ci", "role": "reader" })).await.json());
        Self { issuing, ids: [("/v1/tokens/", token), ("/v1/keys/", key), ("/v1/api-keys/", api_key)] }
    }

    fn target(&self, path: &str) -> String {
        let id = self.ids.iter().find(|(collection, _)| path.starts_with(collection)).map_or("x", |(_, id)| id);
        path.replace("{id}", id).replace("{name}", "trailer")
    }

    async fn ask(&self, method: &str, path: &str, fields: &str) -> Reply {
        let body = match (method, path) {
            ("POST", "/v1/tokens") => json!({ "scheme": "viewer", "url": "https://gate.test/a", "scope": "/a" }),
            ("POST", "/v1/explain") => json!({ "url": "https://gate.test/a" }),
            ("POST", "/v1/api-keys") => json!({ "name": "n", "role": "reader" }),
            ("POST", _) => json!({}),
            _ => Value::Null,
        };
        self.issuing.ask_with(method, &self.target(path), fields, body).await
    }

    async fn ask_with_key(&self, method: &str, path: &str, key: &str) -> Reply {
        self.ask(method, path, &format!("Authorization: Bearer {key}\r\n")).await
    }
}

#[tokio::test]
async fn every_route_that_is_described_is_here() {
    let origin = Origin::plain();
    let described = issuing(&origin).ask_with("GET", "/openapi.json", "", Value::Null).await.json();
    let paths = described["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().expect("an item").keys().filter(|key| *key != "parameters");
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    });
    // Looked at elsewhere: one more that is for everybody.
    let operations: BTreeSet<_> = operations.filter(|(_, path)| path != "/.well-known/jwks.json").collect();
    let here: BTreeSet<_> = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(operations, here);
}

#[tokio::test]
async fn a_key_opens_what_its_role_says() {
    let origin = Origin::plain();
    for (method, path, least) in ROUTES {
        let Some(least) = least else { continue };
        let filled = Filled::start(&origin).await;
        for fields in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic Og==\r\n", "Authorization: Bearer\r\n"] {
            let reply = filled.ask(method, path, fields).await;
            assert_eq!((reply.status(), reply.0.code().as_str()), (401, "api_key_unknown"), "{method} {path} {fields}");
        }
        // The least first: what one of them deletes is gone for the next.
        for (index, key) in ROLES.into_iter().enumerate() {
            let reply = filled.ask_with_key(method, path, key).await;
            if index < least {
                assert_eq!((reply.status(), reply.0.code().as_str()), (403, "role_insufficient"), "{key} {method} {path}");
            } else if index == least {
                assert!(matches!(reply.status(), 200 | 201), "{key} {method} {path}: {}", reply.0.text());
            }
        }
    }
}

#[tokio::test]
async fn accounts_do_not_see_one_another() {
    let origin = Origin::plain();
    let filled = Filled::start(&origin).await;
    for (method, path, _) in ROUTES.into_iter().filter(|(_, path, _)| path.contains("{id}")) {
        let reply = filled.ask_with_key(method, path, OTHER).await;
        assert_eq!((reply.status(), reply.0.code().as_str()), (404, "not_found"), "{method} {path}");
    }
    for path in ["/v1/tokens", "/v1/keys", "/v1/api-keys", "/v1/audit"] {
        let seen = filled.ask_with_key("GET", path, OTHER).await.json();
        assert_eq!((&seen["items"], &seen["total"]), (&json!([]), &json!(0)), "{path}");
    }
    for (collection, id) in &filled.ids {
        let kept = filled.issuing.ask(ADMIN, "GET", &format!("{collection}{id}"), Value::Null).await.json();
        assert_eq!((kept["id"].as_str(), kept.get("revoked").is_none_or(Value::is_null)), (Some(id.as_str()), true), "{collection}");
    }
}

#[tokio::test]
async fn pages_call_where_their_origin_is_allowed() {
    let origin = Origin::plain();
    let filled = Filled::start(&origin).await;
    for (method, path, least) in ROUTES {
        let key = format!("Authorization: Bearer {ADMIN}\r\n");
        let preflight =
            format!("Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: authorization,idempotency-key\r\n");
        for foreign in ["https://evil.example", "null", "https://admin.example.com:8443"] {
            let from = format!("Origin: {foreign}\r\n");
            let called = filled.ask(method, path, &format!("{key}{from}")).await.0;
            let asked = filled.issuing.ask_with("OPTIONS", &filled.target(path), &format!("{preflight}{from}"), Value::Null).await.0;
            if least.is_none() {
                assert_eq!((called.status, called.field("access-control-allow-origin")), (200, Some("*")), "{path} is for everybody");
                continue;
            }
            for answer in [called, asked] {
                let said = (answer.status, answer.code(), answer.field("access-control-allow-origin").map(str::to_owned));
                assert_eq!(said, (403, "cross_origin".to_owned(), None), "{method} {path} {foreign}");
            }
        }
        let from = format!("Origin: {PAGE}\r\n");
        let asked = filled.issuing.ask_with("OPTIONS", &filled.target(path), &format!("{preflight}{from}"), Value::Null).await.0;
        assert_eq!(
            (asked.status, asked.field("access-control-allow-headers")),
            (204, Some("authorization,idempotency-key")),
            "{method} {path}"
        );
    }
    let answer = filled.ask("GET", "/v1/tokens", &format!("Authorization: Bearer {ADMIN}\r\nOrigin: {PAGE}\r\n")).await.0;
    assert_eq!((answer.status, answer.field("access-control-allow-origin"), answer.field("vary")), (200, Some(PAGE), Some("Origin")));
    let answer = filled.ask("GET", "/v1/tokens", &format!("Origin: {PAGE}\r\n")).await.0;
    assert_eq!((answer.status, answer.field("access-control-allow-origin")), (401, Some(PAGE)), "it may read why not");
    let unasked = filled.issuing.ask_with("OPTIONS", "/v1/tokens", "", Value::Null).await;
    assert_eq!(unasked.status(), 405, "no page asks");
}

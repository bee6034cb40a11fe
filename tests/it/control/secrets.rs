//! No secret comes out of the control listener but in the one answer that is for it: not in its log, its audit log, its metrics,
//! a refusal, or the ledger's file, wherever callers put secrets by mistake.

use serde_json::{Value, json};
use tollgate::control::gate::sha256_hex;

use crate::rig::{self, Folder, Process};
use crate::support::client::{self, Answer};

/// An API key whose text is in every secret that callers choose.
const KEY: &str = "CanaryQx7-admin-key";
const MARKER: &str = "CanaryQx7";

fn config() -> Value {
    json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 1 },
        "admin": { "address": "127.0.0.1:0" },
        "log": { "format": "json", "level": "trace" },
        "ledger": { "folder": "ledger" },
        "control": {
            "address": "127.0.0.1:0",
            "api_keys": { "admin": { "sha256": sha256_hex(KEY), "role": "admin", "per_minute": 0 } },
        },
        "keys": { "viewer": { "ledger": "default" } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer", "carriers": [{ "query": "token" }, { "header": "authorization" }] } },
        "origins": { "media": { "endpoints": ["http://127.0.0.1:9"] } },
        "routes": [{ "name": "vod", "accept": ["viewer"], "origin": "media" }],
    })
}

/// Secrets in the places that they are put in by mistake: method, target, header lines, body.
fn slips() -> Vec<(&'static str, String, String, String)> {
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let (json, token) = (format!("{key}Content-Type: application/json\r\n"), format!("eyJ.{MARKER}.sig"));
    let slip = |method, target: &str, fields: &str, body: String| (method, target.to_owned(), fields.to_owned(), body);
    let mut slips = Vec::new();
    for collection in ["tokens", "keys", "api-keys", "policies", "audit"] {
        for method in ["GET", "DELETE"] {
            slips.push(slip(method, &format!("/v1/{collection}/{token}"), &key, String::new()));
            slips.push(slip(method, &format!("/v1/{collection}/tg_abc_{MARKER}"), &key, String::new()));
            slips.push(slip(method, &format!("/v1/{collection}/{token}"), "", String::new()));
        }
    }
    slips.push(slip("POST", &format!("/v1/keys/{token}/rotate"), &json, "{}".into()));
    slips.push(slip("GET", &format!("/v1/tokens?token_sha256={token}"), &key, String::new()));
    slips.push(slip("GET", &format!("/v1/tokens?token={token}"), &key, String::new()));
    slips.push(slip("GET", &format!("/{token}"), "", String::new()));
    slips.push(slip("GET", "/v1/keys", &format!("Authorization: Bearer tg_abc_{MARKER}\r\n"), String::new()));
    slips.push(slip("GET", "/v1/keys", &format!("{key}{key}"), String::new()));
    slips.push(slip("GET", "/v1/keys", &format!("Cookie: session={MARKER}\r\nX-Api-Key: {MARKER}\r\n"), String::new()));
    slips.push(slip("POST", "/v1/keys", &format!("{json}Idempotency-Key: {}\r\n", MARKER.repeat(40)), "{}".into()));
    slips.push(slip("POST", "/v1/explain", &json, json!({ "url": format!("https://gate.test/a?token={token}") }).to_string()));
    let headers = json!({ "authorization": format!("Bearer {token}"), "cookie": MARKER });
    slips.push(slip("POST", "/v1/explain", &json, json!({ "url": "https://gate.test/a", "headers": headers }).to_string()));
    slips.push(slip(
        "POST",
        "/v1/tokens",
        &json,
        json!({ "scheme": "viewer", "url": format!("https://ann:{MARKER}@gate.test/a") }).to_string(),
    ));
    let uri = format!("/a?token={token}");
    slips.push(slip("GET", "/authz/nginx", &format!("X-Original-URI: {uri}\r\nAuthorization: Bearer {token}\r\n"), String::new()));
    slips.push(slip("GET", "/authz/forward", &format!("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {uri}\r\n"), String::new()));
    slips.push(slip("GET", &format!("/authz/envoy{uri}"), "", String::new()));
    let asked = json!({ "ip": "203.0.113.9", "action": "read", "path": "a", "query": format!("token={token}"), "password": token });
    slips.push(slip("POST", "/authz/mediamtx", "", asked.to_string()));
    slips
}

async fn ask(process: &Process, (method, target, fields, body): &(&'static str, String, String, String)) -> Answer {
    client::request(process.control(), method, target, fields, body.as_bytes()).await
}

#[tokio::test]
async fn secrets_are_in_the_one_answer_that_is_for_them() {
    let folder = Folder::new();
    let mut process = Process::serve(&folder.file("tollgate.json", &config().to_string()), &[]);
    let mut secrets = vec![MARKER.to_owned()];
    let fields = format!("Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n");
    let make = async |target: &str, body: Value| {
        let made = ask(&process, &("POST", target.to_owned(), fields.clone(), body.to_string())).await;
        assert_eq!(made.status, 201, "{}", made.text());
        serde_json::from_slice::<Value>(&made.body).expect("JSON")
    };
    let text = |made: &Value, name: &str| made[name].as_str().expect("text").to_owned();
    let key = make("/v1/keys", json!({ "name": "k" })).await;
    secrets.push(key["private_jwk"]["d"].as_str().expect("a private half").to_owned());
    secrets.push(text(&key, "private_pem").lines().nth(1).expect("a line")[20..].to_owned());
    secrets.push(text(&make("/v1/api-keys", json!({ "name": "a", "role": "reader" })).await, "key"));
    let token = text(&make("/v1/tokens", json!({ "scheme": "viewer", "url": "https://gate.test/a" })).await, "token");
    secrets.extend(token.split('.').skip(1).map(str::to_owned));

    let mut seen = Vec::new();
    for slip in slips() {
        let answer = ask(&process, &slip).await;
        seen.push((format!("{} {}", slip.0, slip.1), format!("{:?} {}", answer.fields, answer.text())));
    }
    for target in ["/v1/audit?limit=100", "/v1/keys", "/v1/api-keys", "/v1/tokens", "/.well-known/jwks.json"] {
        let shown = ask(&process, &("GET", target.to_owned(), fields.clone(), String::new())).await;
        assert_eq!(shown.status, 200, "{target}");
        seen.push((target.to_owned(), shown.text()));
    }
    seen.push(("/metrics".into(), rig::get(process.admin(), "/metrics").body));
    process.signal("TERM");
    process.ended();
    let said = process.said();
    assert!(said.contains(r#""action":"api_key.delete""#), "there is an audit log");
    seen.push(("the log".into(), said));
    let file = std::fs::read(folder.path().join("ledger/ledger.redb")).expect("the ledger");
    seen.push(("the ledger".into(), String::from_utf8_lossy(&file).into_owned()));
    let leaks = seen.iter().flat_map(|(what, text)| {
        let lines = text.lines().filter(|line| secrets.iter().any(|secret| line.contains(secret.as_str())));
        lines.map(move |line| format!("{what}: {}", line.chars().take(300).collect::<String>()))
    });
    let leaks: Vec<String> = leaks.collect();
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

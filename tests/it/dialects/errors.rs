//! Refusals that a recorder of the SDKs had to force, from a running gateway: too many requests, and a ledger that is away.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::control::gate::sha256_hex;

use super::flows::UID;
use super::sdk::{FOLDER, node, node_is_here, python, python_is_here};
use super::{ADMIN, APP, CLOUDFLARE, ENCRYPTION, Rig, basic, body};
use crate::rig::{Answer, Folder};
use crate::support::gateway::NOW;
use crate::tool;

/// A key by dialect that may ask once a minute.
const LIMITED: [(&str, &str); 3] =
    [("apivideo", "limited-apivideo-0123456"), ("ziggeo", "limited-ziggeo-0123456"), ("cloudflare", "limited-cloudflare-0123456")];

fn limited(clock: Clock) -> Rig {
    Rig::with(clock, |config| {
        for (name, key) in LIMITED {
            let key = json!({ "sha256": sha256_hex(key), "role": "admin", "account": "acme", "per_minute": 1 });
            config["control"]["api_keys"][format!("limited-{name}")] = key;
        }
    })
}

/// A call of each dialect that only reads, with a key.
fn look(rig: &Rig, dialect: &str, key: &str) -> Answer {
    let (target, authorization) = match dialect {
        "apivideo" => ("/upload-tokens".to_owned(), basic(key, "")),
        "ziggeo" => (format!("/v1/authtokens/{}", "0".repeat(32)), basic(APP, key)),
        _ => (format!("/client/v4/accounts/{CLOUDFLARE}/stream/{UID}"), format!("Bearer {key}")),
    };
    rig.call("GET", &target, &[("Authorization", &authorization)], "")
}

/// A refusal as the vendor writes it: status, media type, and a word of its own.
fn is_told(dialect: &str, answer: &Answer, status: u16, slug: &str) {
    let said = body(answer);
    let kind = if dialect == "apivideo" { "application/problem+json" } else { "application/json" };
    assert_eq!((answer.status, answer.field("content-type")), (status, kind), "{dialect}: {answer:?}");
    match dialect {
        "apivideo" => {
            assert_eq!(
                (&said["type"], &said["status"]),
                (&format!("https://docs.api.video/reference/{slug}").into(), &status.into()),
                "{said}"
            );
            assert!(said["title"].is_string() && !answer.field("x-ratelimit-limit").is_empty(), "{answer:?}");
        }
        "ziggeo" => assert!(said["error"].is_string(), "{said}"),
        _ => {
            assert_eq!((&said["success"], &said["result"], &said["messages"]), (&false.into(), &Value::Null, &json!([])), "{said}");
            assert!(said["errors"][0]["code"].is_u64() && said["errors"][0]["message"].is_string(), "{said}");
        }
    }
}

#[test]
fn a_key_over_its_minute_hears_so_in_each_vendors_words() {
    let rig = limited(Clock::manual(NOW));
    for (dialect, key) in LIMITED {
        assert_ne!(look(&rig, dialect, key).status, 429, "{dialect}");
        rig.pass(18);
        let over = look(&rig, dialect, key);
        is_told(dialect, &over, 429, "too-many-requests");
        let waits = if dialect == "apivideo" { "x-ratelimit-retry-after" } else { "retry-after" };
        // Ziggeo has no field for it.
        assert_eq!(over.field(waits), if dialect == "ziggeo" { "" } else { "42" }, "{dialect}: {over:?}");
        if dialect == "apivideo" {
            assert_eq!((over.field("x-ratelimit-limit"), over.field("x-ratelimit-remaining"), over.field("retry-after")), ("1", "0", ""));
        }
        rig.pass(42);
        assert_ne!(look(&rig, dialect, key).status, 429, "{dialect}: another minute");
    }
}

#[test]
fn without_its_ledger_each_dialect_says_to_come_again() {
    let folder = Folder::new();
    let away = Rig::without_ledger(&folder);
    // A key of the config is known; whether one of the ledger is, nobody can say.
    for key in [ADMIN, "tg_aaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"] {
        for (dialect, _) in LIMITED {
            is_told(dialect, &look(&away, dialect, key), 503, "service-unavailable");
        }
    }
    let by_access = away.call("GET", "/upload-tokens", &[("Authorization", "Bearer aaaa")], "");
    is_told("apivideo", &by_access, 503, "service-unavailable");
    let sign_in = away.call("POST", "/auth/api-key", &[], &format!("{{\"apiKey\":\"{ADMIN}\"}}"));
    is_told("apivideo", &sign_in, 503, "service-unavailable");
}

/// A script of an SDK is refused by a gateway that limits and by one without its ledger, and says so in these words.
fn surfaced(mut command: Command, wanted: &Value) {
    let (folder, limited) = (Folder::new(), limited(Clock::System));
    let away = Rig::without_ledger(&folder);
    let keys: serde_json::Map<String, Value> = LIMITED.iter().map(|(name, key)| ((*name).to_owned(), Value::from(*key))).collect();
    let order = json!({
        "control": format!("http://{}", limited.control), "away": format!("http://{}", away.control), "limited": keys, "key": ADMIN,
        "account": CLOUDFLARE, "app": APP, "encryption": ENCRYPTION,
    });
    let ended = tool::run(&mut command, &order.to_string(), Duration::from_secs(120));
    let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}\n{}", ended.stdout, ended.stderr));
    assert_eq!(said, *wanted);
    // Those that try again did, as often as they were recorded to.
    for (dialect, times) in [("apivideo", 1.0), ("ziggeo", 5.0), ("cloudflare", 3.0)] {
        let series = format!("control_requests_total{{api=\"{dialect}\",code=\"503\"}}");
        assert!((away.metric(&series) - times).abs() < 0.5, "{dialect}: {} times", away.metric(&series));
    }
}

#[test]
fn sdks_for_node_surface_refusals_as_they_were_recorded() {
    if node_is_here() {
        let wanted = json!({
            "apivideo": {
                "limited": { "code": 429, "title": "Too many requests." },
                "away": { "code": 503, "title": "The service is busy. Try again." },
            },
            // It has words for few numbers.
            "ziggeo": {
                "wrong": { "failure": "401: Unauthorized", "status": 401 },
                "limited": { "failure": "429: Unknown Error", "status": 429 },
                "away": { "failure": "503: Unknown Error", "status": 503 },
            },
            "cloudflare": { "limited": { "name": "RateLimitError", "status": 429 }, "away": { "name": "InternalServerError", "status": 503 } },
        });
        surfaced(node(&Path::new(FOLDER).join("errors.mjs")), &wanted);
    }
}

#[test]
fn sdks_for_python_surface_refusals_as_they_were_recorded() {
    if python_is_here() {
        let wanted = json!({
            "apivideo": {
                "over": { "name": "UnauthorizedException", "status": 401 },
                "limited": { "name": "ApiException", "status": 429 },
                "away": { "name": "ServiceException", "status": 503 },
            },
            "ziggeo": {
                "wrong": { "code": "401", "msg": "Unauthorized" },
                "limited": { "code": "429", "msg": "Too Many Requests" },
                "away": { "code": "503", "msg": "Service Unavailable" },
            },
            "cloudflare": { "limited": { "name": "RateLimitError", "status": 429 }, "away": { "name": "InternalServerError", "status": 503 } },
        });
        surfaced(python(&Path::new(FOLDER).join("errors.py")), &wanted);
    }
}

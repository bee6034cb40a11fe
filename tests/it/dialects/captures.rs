//! Requests recorded from the official SDKs, sent again as they were: those of SDKs that cannot run here, too.

use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use super::{ADMIN, APP, Rig, ask, basic};

const CAPTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vendors/captures");

/// The exchanges of a file, or a word that it is not here.
fn exchanges(file: &str) -> Vec<Value> {
    let Ok(text) = std::fs::read(Path::new(CAPTURES).join(file)) else {
        eprintln!("skipped: {CAPTURES}/{file} is not here");
        return Vec::new();
    };
    let file: Value = serde_json::from_slice(&text).expect("JSON");
    file["exchanges"].as_array().expect("exchanges").clone()
}

/// Sends a recorded request to the control listener, with `replace` put in place of what it names.
fn replay(rig: &Rig, request: &Value, replace: &[(&str, &str)]) -> crate::rig::Answer {
    let put = |text: &str| replace.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
    // A page of another origin has to be named in `control.allowed_origins` first.
    let left_out = ["host", "connection", "content-length", "expect", "transfer-encoding", "origin", "sec-fetch-site"];
    let headers: Vec<(String, String)> = request["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .map(|pair| (pair[0].as_str().expect("name").to_owned(), pair[1].as_str().expect("value").to_owned()))
        .filter(|(name, _)| !left_out.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| if name.eq_ignore_ascii_case("authorization") { (name, credentials(&value)) } else { (name, value) })
        .collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let method = request["method"].as_str().expect("method");
    let target = put(request["target"].as_str().expect("target"));
    ask(rig.control, method, &target, &headers, put(request["body"].as_str().unwrap_or_default()).as_bytes())
}

/// The recorded credentials, but for tokens that a vendor would have given out and application tokens, which differ by file.
fn credentials(value: &str) -> String {
    if value.starts_with("Bearer eyJ") {
        return basic(ADMIN, "");
    }
    let packed = value.strip_prefix("Basic ").and_then(|packed| base64::engine::general_purpose::STANDARD.decode(packed).ok());
    match packed.and_then(|bytes| String::from_utf8(bytes).ok()).as_deref().and_then(|text| text.split_once(':')) {
        Some((_, "priv1key")) => basic(APP, "priv1key"),
        _ => value.to_owned(),
    }
}

#[test]
fn api_video_sdks_get_what_they_were_recorded_with() {
    let mut seen = 0;
    for file in ["apivideo_nodejs_client.json", "apivideo_python_client.json", "apivideo_video_uploader.json"] {
        let rig = Rig::start();
        let made = ask(rig.control, "POST", "/upload-tokens", &[("Authorization", &basic(ADMIN, ""))], b"{\"ttl\":0}");
        let made: Value = serde_json::from_str(&made.body).expect("JSON");
        let token = made["token"].as_str().expect("a token").to_owned();
        for exchange in exchanges(file) {
            let (call, request, given) = (&exchange["call"], &exchange["request"], &exchange["response_given"]);
            let path = request["path"].as_str().unwrap_or_default();
            let ours = path.starts_with("/auth/") || path.starts_with("/upload-tokens");
            // Answers that the recording forced to see what an SDK makes of them.
            let forced = matches!(given["status"].as_u64(), Some(401 | 429 | 500));
            if !ours || forced || request["method"] == "OPTIONS" {
                continue;
            }
            let refresh = || {
                let body = format!("{{\"apiKey\":\"{ADMIN}\"}}");
                let access = ask(rig.control, "POST", "/auth/api-key", &[], body.as_bytes());
                let access: Value = serde_json::from_str(&access.body).expect("JSON");
                access["refresh_token"].as_str().expect("a token").to_owned()
            };
            let fresh = if path == "/auth/refresh" { refresh() } else { String::new() };
            let sent = request["body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok()).unwrap_or_default();
            let old = sent["refreshToken"].as_str().unwrap_or("\0").to_owned();
            let key = sent["apiKey"].as_str().unwrap_or("\0").to_owned();
            let answer = replay(&rig, request, &[("to1tcmSFHeYY5KzyhOqVKMKb", &token), (&old, &fresh), (&key, ADMIN)]);
            if call.as_str().is_some_and(|call| call.contains("page_size=101")) {
                // The recording let it pass; 100 is the most that the vendor allows.
                assert_eq!(answer.status, 400, "{file} {call}");
                continue;
            }
            assert_eq!(u64::from(answer.status), given["status"].as_u64().unwrap_or_default(), "{file} {call}: {answer:?}");
            let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            for name in given["body"].as_object().into_iter().flatten().map(|(name, _)| name) {
                // A token made without a ttl has no end, whatever the recording answered.
                assert!(body.get(name).is_some() || name == "expiresAt", "{file} {call}: no {name} in {body}");
            }
            assert!(!answer.field("x-ratelimit-remaining").is_empty(), "{file} {call}");
            seen += 1;
        }
    }
    assert!(seen >= 18 || !Path::new(CAPTURES).exists(), "{seen}");
}

#[test]
fn ziggeo_sdks_get_what_they_were_recorded_with() {
    let mut seen = 0;
    for file in ["ziggeo_node_sdk.json", "ziggeo_python_sdk.json"] {
        let rig = Rig::start();
        for exchange in exchanges(file) {
            let (call, request, given) = (&exchange["call"], &exchange["request"], &exchange["response_given"]);
            if !request["path"].as_str().is_some_and(|path| path.starts_with("/v1/authtokens")) || given["status"] != 200 {
                continue;
            }
            let made = ask(rig.control, "POST", "/v1/authtokens/", &[("Authorization", &basic(APP, ADMIN))], b"grants[read][all]=true");
            let made: Value = serde_json::from_str(&made.body).expect("JSON");
            let answer = replay(&rig, request, &[("tok123", made["token"].as_str().expect("a token"))]);
            assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"), "{file} {call}: {answer:?}");
            let body: Value = serde_json::from_str(&answer.body).expect("JSON");
            for name in given["body"].as_object().into_iter().flatten().map(|(name, _)| name) {
                assert!(body.get(name).is_some(), "{file} {call}: no {name} in {body}");
            }
            if request["body"].as_str().is_some_and(|text| text.contains("grants")) {
                assert_eq!(body["grants"]["read"]["all"], true, "{file} {call}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 12 || !Path::new(CAPTURES).exists(), "{seen}");
}

#[test]
fn cloudflare_sdks_get_what_they_were_recorded_with() {
    let rig = Rig::start();
    let mut seen = 0;
    for exchange in exchanges("cloudflare_python.json") {
        let (call, request, given) = (&exchange["call"], &exchange["request"], &exchange["response_given"]);
        let path = request["path"].as_str().unwrap_or_default();
        if path.ends_with("/direct_upload") || given["status"] != 200 {
            continue;
        }
        let (stream, _) = path.split_once("/stream").expect("a stream");
        let bearer = [("Authorization", "Bearer cf-api-token")];
        let key = ask(rig.control, "POST", &format!("{stream}/stream/keys"), &bearer, b"");
        let key: Value = serde_json::from_str(&key.body).expect("JSON");
        let (id, pem) = (key["result"]["id"].as_str().expect("id"), key["result"]["pem"].as_str().expect("pem"));
        // The recorded times are years ahead of the gateway's; a key that is none has one of ours in its place.
        let replace = [
            ("KEYID", id),
            ("LS0tLS1CRUdJTg==", pem),
            ("8f926b2b01f383510025a78a4dcbf6a", id),
            ("1893456000", "1800003600"),
            ("1893452400", "1800000000"),
        ];
        let answer = replay(&rig, request, &replace);
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"), "{call}: {answer:?}");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((&body["success"], &body["errors"]), (&true.into(), &serde_json::json!([])), "{call}");
        match &given["body"]["result"] {
            Value::Object(fields) => assert!(fields.keys().all(|name| body["result"].get(name).is_some()), "{call}: {body}"),
            Value::String(text) => assert_eq!(body["result"], *text, "{call}"),
            _ => assert!(body["result"].is_array(), "{call}"),
        }
        seen += 1;
    }
    assert!(seen >= 6 || !Path::new(CAPTURES).exists(), "{seen}");
}

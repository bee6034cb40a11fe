//! Requests recorded from the official SDKs, sent again as they were: those of SDKs that cannot run here, too.

use std::path::Path;

use base64::Engine as _;
use serde_json::Value;

use super::{ADMIN, APP, PAGE, Rig, ask, basic};

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
    let left_out = ["host", "connection", "content-length", "expect", "transfer-encoding"];
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

/// The request with another private key of the application.
fn with_key(request: &Value, key: &str) -> Value {
    let mut request = request.clone();
    for pair in request["headers"].as_array_mut().into_iter().flatten().filter(|pair| pair[0] == "Authorization") {
        pair[1] = basic(APP, key).into();
    }
    request
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
            let look = request["method"] == "GET" && path.starts_with("/videos/");
            if !look && !path.starts_with("/auth/") && !path.starts_with("/upload-tokens") {
                // Uploads: those come to data routes.
                continue;
            }
            // Answers that the recording forced to see what an SDK makes of them; ours has no reason to.
            if matches!(given["status"].as_u64(), Some(401 | 429 | 500)) {
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
            if look {
                assert!(body["assets"]["hls"].is_string(), "{file} {call}: {body}");
            }
            if let Some(page) = request["headers"].as_array().into_iter().flatten().find(|pair| pair[0] == "Origin") {
                assert_eq!(answer.field("access-control-allow-origin"), page[1], "{file} {call}: {answer:?}");
            }
            for name in given["body"].as_object().into_iter().flatten().map(|(name, _)| name) {
                // A token made without a ttl has no end, whatever the recording answered.
                assert!(body.get(name).is_some() || name == "expiresAt", "{file} {call}: no {name} in {body}");
            }
            let preflight = request["method"] == "OPTIONS";
            assert!(preflight || !answer.field("x-ratelimit-remaining").is_empty(), "{file} {call}");
            seen += 1;
        }
    }
    assert!(seen >= 21 || !Path::new(CAPTURES).exists(), "{seen}");
}

#[test]
fn ziggeo_sdks_get_what_they_were_recorded_with() {
    let mut seen = 0;
    for file in ["ziggeo_node_sdk.json", "ziggeo_python_sdk.json"] {
        let rig = Rig::start();
        for exchange in exchanges(file) {
            let (call, request, given) = (&exchange["call"], &exchange["request"], &exchange["response_given"]);
            if !request["path"].as_str().is_some_and(|path| path.starts_with("/v1/authtokens")) || given["status"] == 500 {
                continue;
            }
            if given["status"] != 200 {
                // A key that is none, a token that is not there: the SDKs look at the status.
                let key = if given["status"] == 401 { "wrong" } else { "priv1key" };
                let answer = replay(&rig, &with_key(request, key), &[("tok123", "none")]);
                assert_eq!(u64::from(answer.status), given["status"].as_u64().unwrap_or_default(), "{file} {call}: {answer:?}");
                seen += 1;
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
    assert!(seen >= 15 || !Path::new(CAPTURES).exists(), "{seen}");
}

#[test]
fn cloudflare_sdks_get_what_they_were_recorded_with() {
    let rig = Rig::start();
    let mut seen = 0;
    for exchange in exchanges("cloudflare_python.json") {
        let (call, request, given) = (&exchange["call"], &exchange["request"], &exchange["response_given"]);
        let path = request["path"].as_str().unwrap_or_default();
        if path.ends_with("/direct_upload") {
            continue;
        }
        if given["status"] == 403 {
            // What an SDK reads of a refusal: here to somebody else's account.
            let answer = replay(&rig, request, &[("023e105f4ecef8ad9ca31a8372d0c353", &"f".repeat(32))]);
            let body: Value = serde_json::from_str(&answer.body).expect("JSON");
            assert_eq!((answer.status, &body["success"], &body["result"]), (403, &false.into(), &Value::Null), "{call}");
            assert!(body["errors"][0]["code"].is_u64() && body["errors"][0]["message"].is_string(), "{call}: {body}");
            seen += 1;
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
    assert!(seen >= 7 || !Path::new(CAPTURES).exists(), "{seen}");
}

/// What Ziggeo's player in a browser sends, by the templates that were read out of it: it runs on no server.
#[test]
fn the_player_of_ziggeo_gets_what_it_asks_for() {
    let Ok(text) = std::fs::read(Path::new(CAPTURES).join("ziggeo_browser_player_wire.json")) else {
        eprintln!("skipped: {CAPTURES}/ziggeo_browser_player_wire.json is not here");
        return;
    };
    let wire: Value = serde_json::from_slice(&text).expect("JSON");
    let rig = Rig::start();
    let grants = b"session_limit=1&grants[read][all]=true&grants[create][all]=true&grants[update][all]=true&grants[destroy][all]=true";
    let made = ask(rig.control, "POST", "/v1/authtokens/", &[("Authorization", &basic(APP, ADMIN))], grants);
    let made: Value = serde_json::from_str(&made.body).expect("JSON");
    let cookie = format!("i07af2jp98rvoctt26y5egy3{APP}");
    let send = |asked: &Value, query: &str| {
        let url = asked["url"].as_str().expect("a URL").split('?').next().expect("a path");
        let path =
            url.splitn(4, '/').nth(3).expect("a path").replace("{APP_TOKEN}", APP).replace("{VIDEO}", "v1").replace("{STREAM}", "s1");
        let (form, body) =
            if asked["body"].is_null() { (vec![], "") } else { (vec![("Content-Type", "application/x-www-form-urlencoded")], "a=b") };
        let page = [form, vec![("Origin", PAGE), ("Referer", "https://app.example.com/")]].concat();
        ask(rig.data, asked["method"].as_str().expect("a method"), &format!("/{path}?{query}"), &page, body.as_bytes())
    };
    let requests = wire["requests"].as_array().expect("requests");
    let (open, others) = requests.split_first().expect("requests");
    let opened = send(open, "noauth=false");
    let said: Value = serde_json::from_str(&opened.body).expect("JSON");
    let session = said["token"].as_str().expect("a session");
    let again: Value = serde_json::from_str(&send(open, &format!("noauth=false&{cookie}={session}")).body).expect("JSON");
    assert_eq!((again["token"].as_str(), &again["testing_application"]), (Some(session), &false.into()), "the same one again");
    for asked in others {
        // Sorted by name, as the player does it.
        let query = format!("{cookie}={session}&server_auth={}", made["token"].as_str().expect("a token"));
        let answer = send(asked, &query);
        assert!(matches!(answer.status, 200 | 201), "{}: {answer:?}", asked["what"]);
        assert_eq!(answer.field("access-control-allow-origin"), "*", "{}: a page reads it", asked["what"]);
        let query = format!("{cookie}={session}");
        assert!(matches!(send(asked, &query).status, 401 | 403), "{}: without a token", asked["what"]);
    }
    assert!(others.len() >= 8, "{wire}");
}

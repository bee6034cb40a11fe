//! Credentials in whole gateways: fetched before the gateway is ready, kept over `kill -9`, withdrawn on the way out, never shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::Full;
use serde_json::{Value, json};

use tollgate::demo;

use crate::loopback::Loopback;
use crate::rig::{self, Answer, Folder, Process, ask, get};

/// Stands in every secret here.
const CANARY: &str = "CanaryZk3";

/// An OAuth 2.0 server that counts what it is asked, by path, and says what the test wants.
#[derive(Clone, Default)]
struct Issuer {
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    moved_to: Arc<Mutex<Option<String>>>,
}

impl Issuer {
    fn serve(&self) -> Loopback {
        let issuer = self.clone();
        Loopback::start(|listener, stopped| demo::serve(listener, stopped, move |head: &Parts| issuer.answer(head)))
    }

    fn answer(&self, head: &Parts) -> Response<Full<Bytes>> {
        let number = {
            let mut asked = self.asked.lock().expect("lock");
            let count = asked.entry(head.uri.path().to_owned()).or_default();
            *count += 1;
            *count
        };
        let basic = "Basic Z2F0ZXdheTpDYW5hcnlaazMtc2VjcmV0";
        let good = head.headers.get("authorization").is_some_and(|value| value == basic);
        let moved = self.moved_to.lock().expect("lock").clone();
        let (status, body) = match (good, &moved) {
            (true, Some(_)) => (307, String::new()),
            (true, None) => {
                (200, json!({ "access_token": format!("{CANARY}-{number}"), "token_type": "Bearer", "expires_in": 3600 }).to_string())
            }
            (false, _) => (401, json!({ "error": "invalid_client" }).to_string()),
        };
        let mut response = Response::builder().status(status);
        if let Some(place) = moved {
            response = response.header("location", place);
        }
        response.body(Full::new(Bytes::from(body))).expect("a response")
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().expect("lock").get(path).copied().unwrap_or(0)
    }
}

/// Asks until it is so; gives up after a while that no machine needs.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config(folder: &Folder, issuer: &Loopback) -> Value {
    let file = |name: &str, content: &str| folder.file(name, content);
    json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 1, "drain_delay": "0s", "drain_timeout": "1s" },
        "admin": { "address": "127.0.0.1:0", "token_file": file("admin", "an-admin-token-of-the-test") },
        "log": { "level": "debug" },
        "store": { "folder": folder.path().join("kept"), "key_file": file("store-key", "a-key-of-thirty-two-characters-or-more") },
        "credentials": {
            "partner": {
                "type": "oauth2",
                "token_url": format!("{}/token", issuer.base),
                "revocation_url": format!("{}/revoke", issuer.base),
                "client_id": "gateway",
                "secret_file": file("partner", "CanaryZk3-secret"),
            },
            "fixed": { "type": "static", "secret_file": file("fixed", "CanaryZk3-fixed\n") },
        },
        "origins": { "media": { "endpoints": ["http://127.0.0.1:9"] } },
        "routes": [{ "name": "vod", "public": true, "origin": "media" }],
    })
}

fn operator(admin: SocketAddr, method: &str, target: &str) -> Answer {
    ask(admin, method, target, "Authorization: Bearer an-admin-token-of-the-test\r\n")
}

fn partner(admin: SocketAddr) -> Value {
    serde_json::from_str(&operator(admin, "GET", "/credentials/partner").body).expect("JSON")
}

fn assert_not_shown(what: &str, text: &str) {
    // Base64 of the marker at each of its three places.
    for marker in [CANARY, "Q2FuYXJ5Wms", "NhbmFyeVpr", "DYW5hcnlaaz"] {
        assert!(!text.contains(marker), "{what} shows {marker}:\n{text}");
    }
}

#[test]
fn a_token_outlives_kill_9_and_is_never_shown() {
    let (folder, issuer) = (Folder::new(), Issuer::default());
    let server = issuer.serve();
    let file = folder.file("tollgate.json", &config(&folder, &server).to_string());
    let mut first = Process::serve(&file, &[]);
    let admin = first.admin();
    until("ready", || get(admin, "/ready").status == 200);
    let before = partner(admin);
    assert_eq!((&before["state"], &before["provider"], &before["fault"]), (&json!("fresh"), &json!("oauth2"), &Value::Null));
    let shown = [operator(admin, "GET", "/credentials").body, get(admin, "/metrics").body, before.to_string()].concat();
    assert!(shown.contains("tollgate_credential_renewals_total{credential=\"partner\",provider=\"oauth2\",result=\"ok\"} 1"), "{shown}");
    first.signal("KILL");
    first.ended();
    let mut second = Process::serve(&file, &[]);
    let admin = second.admin();
    assert_eq!(get(admin, "/ready").status, 200, "ready at once");
    let after = partner(admin);
    assert_eq!((&after["expires"], &after["state"]), (&before["expires"], &json!("fresh")));
    assert_eq!(issuer.asked("/token"), 1, "the vendor was not asked again");
    second.signal("TERM");
    second.ended();
    assert_eq!(issuer.asked("/revoke"), 0);
    assert_not_shown("an answer", &shown);
    assert_not_shown("a log", &[first.said(), second.said()].concat());
    let kept = std::fs::read(folder.path().join("kept/store.redb")).expect("the store");
    assert_not_shown("the store's file", &String::from_utf8_lossy(&kept));
}

#[test]
fn a_token_is_withdrawn_on_the_way_out_where_the_config_says_so() {
    let (folder, issuer) = (Folder::new(), Issuer::default());
    let server = issuer.serve();
    let mut config = config(&folder, &server);
    config["credentials"]["partner"]["keep"] = json!({ "revoke_on_shutdown": true });
    let file = folder.file("tollgate.json", &config.to_string());
    for times in 1..=2 {
        let mut process = Process::serve(&file, &[]);
        let admin = process.admin();
        until("ready", || get(admin, "/ready").status == 200);
        process.signal("TERM");
        assert_eq!(process.ended(), Some(0));
        assert_eq!((issuer.asked("/token"), issuer.asked("/revoke")), (times, times), "a withdrawn token is not taken up again");
    }
}

#[test]
fn a_reload_keeps_what_has_not_changed_and_operators_can_renew() {
    let (folder, issuer) = (Folder::new(), Issuer::default());
    let server = issuer.serve();
    let config = config(&folder, &server);
    let gateway = rig::gateway(config.clone());
    until("ready", || gateway.unready().is_empty());
    let admin = gateway.admin.expect("an admin listener");
    let load = |config: &Value| serde_json::from_value(config.clone()).expect("a config");
    folder.file("fixed", "CanaryZk3-another");
    gateway.reload(&load(&config)).expect("taken");
    assert_eq!(issuer.asked("/token"), 1);
    assert_eq!(operator(admin, "POST", "/credentials/partner/renew").status, 202);
    until("renewed", || issuer.asked("/token") == 2);
    assert_eq!(operator(admin, "POST", "/credentials/nobody/renew").status, 404);
    assert_eq!(operator(admin, "DELETE", "/credentials/partner").status, 405);
    assert_eq!(ask(admin, "POST", "/credentials/partner/renew", "").status, 401);
    folder.file("partner", "CanaryZk3-wrong");
    gateway.reload(&load(&config)).expect("taken");
    until("refused", || partner(admin)["fault"] == "the vendor refuses the account: invalid_client");
    assert_eq!((gateway.unready(), &partner(admin)["state"]), (vec!["credential partner".to_owned()], &json!("failed")));
    let mut without = config.clone();
    without["credentials"].as_object_mut().expect("a table").remove("partner");
    gateway.reload(&load(&without)).expect("taken");
    assert!(!get(admin, "/metrics").body.contains("tollgate_credential_state{credential=\"partner\""), "let go of");
}

#[test]
fn a_secret_is_not_sent_where_a_redirect_leads() {
    let (folder, issuer, thief) = (Folder::new(), Issuer::default(), Issuer::default());
    let (server, elsewhere) = (issuer.serve(), thief.serve());
    *issuer.moved_to.lock().expect("lock") = Some(format!("{}/token", elsewhere.base));
    let gateway = rig::gateway(config(&folder, &server));
    let admin = gateway.admin.expect("an admin listener");
    until("refused", || partner(admin)["fault"].is_string());
    assert_eq!((thief.asked("/token"), gateway.unready()), (0, vec!["credential partner".to_owned()]));
}

#[test]
fn a_store_has_one_gateway_and_one_key() {
    let (folder, issuer) = (Folder::new(), Issuer::default());
    let server = issuer.serve();
    let config = config(&folder, &server);
    let first = rig::gateway(config.clone());
    let start = |config: &Value| {
        let config = serde_json::from_value(config.clone()).expect("a config");
        tollgate::app::Gateway::start(&config, &tollgate::app::Surroundings::default()).map(|_| ()).expect_err("a fault")
    };
    assert!(start(&config)[0].1.contains("another gateway"), "{:?}", start(&config));
    drop(first);
    folder.file("store-key", "another-key-of-thirty-two-characters-or-more");
    let fault = &start(&config)[0];
    assert_eq!((fault.0.to_string().as_str(), fault.1.contains("not the one")), ("store.key_file", true), "{fault:?}");
}

//! Ziggeo: its SDKs for Node and Python, and its player, which runs in a browser.
//!
//! Tokens are the control listener's. Videos are the vendor's: those calls go through data routes, opened by the application's
//! key, to a stand-in that is shown the vendor's own; the file of an upload goes to the store by an address of the gateway's.

use serde_json::{Value, json};
use tollgate::clock::Clock;

use super::super::flows::{text, ziggeo};
use super::super::{ADMIN, APP, PAGE, Rig, ask, basic, body};
use super::{Exchange, Put, called, capture, exchanges};
use crate::rig::Folder;
use crate::support::gateway::NOW;
use crate::support::vendors::Simulator;
use crate::support::vendors::ziggeo::{APPLICATION, Ziggeo};

/// What the recorder gave out: a token, a video, its stream.
const TOKEN: &str = "tok123";
const VIDEO: &str = "vtok123";
const STREAM: &str = "stok456";
/// The application and its key as each SDK sent them.
const NODE: &str = "Basic cjFhcHAxdG9rZW46cHJpdjFrZXk=";
const PYTHON: &str = "Basic YXBwMXRva2VuOnByaXYxa2V5";

/// A gateway before a stand-in for the vendor, and how far its callers are.
struct Stage {
    rig: Rig,
    /// One whose ledger is away.
    away: Rig,
    vendor: Simulator<Ziggeo>,
    /// What the vendor said of the upload that is under way.
    told: Value,
    films: Vec<Vec<u8>>,
    _folder: Folder,
}

fn stage() -> Stage {
    let vendor = Simulator::plain(Ziggeo::default(), &Clock::manual(NOW));
    let store = vendor.url.replace("127.0.0.1", "localhost");
    vendor.vendor().at(&store);
    let folder = Folder::new();
    let rig = Rig::with(Clock::manual(NOW), |config| {
        config["origins"]["vendor"] = json!({ "endpoints": [vendor.url] });
        config["origins"]["store"] = json!({ "endpoints": [store] });
        config["credentials"] = json!({ "key": { "type": "static", "secret": APPLICATION.1 } });
        config["schemes"]["backend"] = json!({ "type": "api-key", "dialect": "ziggeo", "application_token": APP, "account": "acme" });
        for path in ["/v1/videos", "/v1/videos-upload-url"] {
            config["routes"].as_array_mut().expect("routes").push(json!({
                "name": &path[4..], "path": path, "methods": ["GET", "HEAD", "POST", "DELETE"], "accept": ["backend"], "origin": "vendor",
                "inject": [{ "credential": "key", "into": "basic", "name": APPLICATION.0 }], "upload": {},
                "answers": { "tokenless": true, "origins": ["store"], "json": [{ "field": "url_data.url", "action": "rewrite" }] },
            }));
        }
    });
    let video = vendor.vendor().make_video();
    let told = json!({ "video": { "token": video, "default_stream": { "token": "none" } } });
    Stage { rig, away: Rig::without_ledger(&folder), vendor, told, films: Vec::new(), _folder: folder }
}

impl Stage {
    fn put(&self) -> Put {
        let (video, key) = (&self.told["video"], basic(APP, ADMIN));
        let put =
            Put::of(&[(NODE, &key), (PYTHON, &key), (VIDEO, text(video, "token")), (STREAM, text(&video["default_stream"], "token"))]);
        let fields = self.told["url_data"]["fields"].as_object().into_iter().flatten();
        fields.filter(|(name, _)| *name == "key").fold(put, |put, (_, key)| put.and("uploads/abc", key.as_str().expect("text")))
    }

    fn replay(&mut self, exchange: &Exchange) {
        match exchange.path() {
            path if path.starts_with("/v1/authtokens") => self.ask(exchange),
            path if path.starts_with("/v1/videos") => self.call(exchange),
            "/s3/bucket" => self.store(exchange),
            _ => panic!("nobody replays {exchange}"),
        }
    }

    /// A call of the control API.
    fn ask(&self, exchange: &Exchange) {
        let made = body(&ziggeo(&self.rig, "POST", "/v1/authtokens/", "grants[read][all]=true"));
        let put = self.put().and(TOKEN, text(&made, "token"));
        match exchange.status() {
            200 => {
                let answer = exchange.send(self.rig.control, &put);
                exchange.matches(&answer);
                exchange.names("", &body(&answer));
                if exchange.request["body"].as_str().is_some_and(|text| text.contains("grants")) {
                    assert_eq!(body(&answer)["grants"]["read"]["all"], true, "{exchange}");
                }
            }
            401 => exchange
                .matches(&exchange.send(self.rig.control, &Put::of(&[(NODE, &basic(APP, "wrong")), (PYTHON, &basic(APP, "wrong"))]))),
            404 => exchange.matches(&exchange.send(self.rig.control, &self.put().and(TOKEN, "none"))),
            // The recorder failed on purpose, with another number: SDKs try again with each of its kind.
            500 => {
                let answer = exchange.send(self.away.control, &put);
                assert_eq!((answer.status, answer.field("content-type")), (503, "application/json"), "{exchange}");
                exchange.names("", &body(&answer));
            }
            other => panic!("{exchange}: {other}"),
        }
    }

    /// A call of the vendor's API.
    fn call(&mut self, exchange: &Exchange) {
        let wrong = exchange.send(self.rig.data, &Put::of(&[(NODE, &basic(APP, "wrong")), (PYTHON, &basic(APP, "wrong"))]));
        assert_eq!((wrong.status, body(&wrong)), (401, json!({ "error": "unauthorized" })), "{exchange}");
        let answer = exchange.send(self.rig.data, &self.put());
        if exchange.path().ends_with("/video") {
            assert_eq!((answer.status, answer.field("content-type")), (200, "video/mp4"), "{exchange}: {}", answer.head);
            return;
        }
        exchange.matches(&answer);
        let said = body(&answer);
        match &said {
            Value::Array(list) => list.iter().for_each(|one| exchange.names("", one)),
            one => exchange.names("", one),
        }
        if exchange.path() == "/v1/videos-upload-url" {
            assert!(text(&said["url_data"], "url").starts_with(&format!("http://{}/", self.rig.data)), "{exchange}: {said}");
            self.told = said;
        }
    }

    /// The gateway's key was shown to nobody.
    fn kept_secrets(&self) {
        let key = basic(APP, ADMIN);
        assert!(!self.vendor.calls().iter().any(|call| call.field("authorization") == Some(&key)));
    }

    /// The file goes to the store by the address that was handed out, which needs nothing else.
    fn store(&mut self, exchange: &Exchange) {
        let address = text(&self.told["url_data"], "url");
        let target = address.strip_prefix(&format!("http://{}", self.rig.data)).expect("at the gateway");
        let answer = exchange.send_to(self.rig.data, target, &self.put());
        exchange.matches(&answer);
        self.films.push(exchange.file());
    }
}

fn replayed(file: &'static str) {
    let mut stage = stage();
    let all = exchanges(file);
    for exchange in &all {
        stage.replay(exchange);
    }
    let stored: Vec<Vec<u8>> =
        stage.vendor.vendor().videos().into_iter().filter(|video| video.confirmed).filter_map(|video| video.file).collect();
    assert!(stored == stage.films && (all.is_empty() || stored.len() == 1), "{file}: {} files", stored.len());
    stage.kept_secrets();
}

#[test]
fn its_sdk_for_node_gets_what_it_was_recorded_with() {
    replayed("ziggeo_node_sdk.json");
}

#[test]
fn its_sdk_for_python_gets_what_it_was_recorded_with() {
    replayed("ziggeo_python_sdk.json");
}

/// The recorded calls for videos, by the SDK itself.
#[test]
fn its_sdk_for_node_makes_a_video_with_a_key_of_ours() {
    let stage = stage();
    let Some((said, film)) = called("ziggeo", &stage.rig, 40_000) else { return };
    let videos = stage.vendor.vendor().videos();
    assert!(videos.iter().any(|video| video.confirmed && video.file.as_ref() == Some(&film)), "{said}");
    assert_eq!((said["listed"].as_array().map(Vec::len), &said["got"]), (Some(2), &said["video"]), "{said}");
    stage.kept_secrets();
}

/// What Ziggeo's player in a browser sends, by the templates that were read out of it: it runs on no server.
#[test]
fn the_player_of_ziggeo_gets_what_it_asks_for() {
    let Some(wire) = capture("ziggeo_browser_player_wire.json") else { return };
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

//! api.video: its clients for Node and Python, and the uploader of browsers, which runs in none here.
//!
//! The control API is the control listener's. Uploads go through data routes to a stand-in for the vendor: by an upload token
//! that the control API made, or with the API's own credentials, which are the gateway's and not the vendor's.

use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};

use super::super::flows::{apivideo, text};
use super::super::{ADMIN, Rig, ask, body};
use super::{Exchange, Put, called, exchanges};
use crate::rig::{Answer, Folder};
use crate::support::gateway::NOW;
use crate::support::vendors::Simulator;

/// What the recorder gave out: an upload token, an access token, a refresh token, a video.
const TOKEN: &str = "to1tcmSFHeYY5KzyhOqVKMKb";
const ACCESS: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.sig";
const REFRESH: [&str; 2] = ["def50200a28d88fb9aaa921be78eeb56", "RT1"];
const VIDEO: &str = "vi4k0jvEUuaTdRAEjQ4Jfrgz";

/// The recorder let it pass; 100 is the most that the vendor allows.
const TOO_LARGE_A_PAGE: &str = "list(page_size=101)";

/// A gateway before a stand-in for the vendor, and how far its callers are.
struct Stage {
    rig: Rig,
    vendor: Simulator<Apivideo>,
    clock: Clock,
    /// An upload token of ours, and one that is over.
    token: String,
    over: String,
    access: Value,
    upload: Upload,
    files: usize,
    _folder: Folder,
}

/// What has come of a file so far.
#[derive(Default)]
struct Upload {
    call: String,
    video: Option<String>,
    film: Vec<u8>,
}

fn stage() -> Stage {
    const KEY: &str = "the-vendors-key";
    let clock = Clock::manual(NOW);
    let vendor = Simulator::plain(Apivideo::new(Settings::new(KEY)), &clock);
    let folder = Folder::new();
    let credential =
        |issue: &str| json!({ "type": "apivideo", "base_url": vendor.url, "api_key_file": folder.file("key", KEY), "issue": issue });
    let rig = Rig::with(clock.clone(), |config| {
        config["origins"]["vendor"] = json!({ "endpoints": [vendor.url] });
        config["credentials"] = json!({ "token": credential("upload-token"), "key": credential("basic") });
        config["schemes"]["backend"] = json!({ "type": "api-key", "dialect": "apivideo", "account": "acme" });
        config["routes"][0]["origin"] = "vendor".into();
        config["routes"][0]["inject"] = json!([{ "credential": "token", "into": "query", "name": "token" }]);
        config["routes"][0]["upload"] = json!({});
        config["routes"].as_array_mut().expect("routes").push(json!({
            "name": "videos", "path": "/videos", "methods": ["POST"], "accept": ["backend"], "origin": "vendor",
            "inject": [{ "credential": "key", "into": "basic" }], "upload": {},
        }));
    });
    let made = |ttl: u32| text(&body(&apivideo(&rig, "POST", "/upload-tokens", &format!("{{\"ttl\":{ttl}}}"))), "token").to_owned();
    let (token, over) = (made(0), made(1));
    clock.set(NOW.plus(1));
    let access = body(&ask(rig.control, "POST", "/auth/api-key", &[], format!("{{\"apiKey\":\"{ADMIN}\"}}").as_bytes()));
    Stage { rig, vendor, clock, token, over, access, upload: Upload::default(), files: 0, _folder: folder }
}

impl Stage {
    fn put(&self) -> Put {
        let (access, refresh) = (text(&self.access, "access_token"), text(&self.access, "refresh_token"));
        Put::of(&[(TOKEN, &self.token), ("toExpired", &self.over), (ACCESS, access), (REFRESH[0], refresh), (REFRESH[1], refresh)])
    }

    fn replay(&mut self, exchange: &Exchange) {
        let path = exchange.path();
        let api = path.starts_with("/auth/")
            || path.starts_with("/upload-tokens")
            || (exchange.method() == "GET" && path.starts_with("/videos/"));
        let upload = path == "/upload" || (path.starts_with("/videos/") && path.ends_with("/source"));
        assert!(api != upload, "nobody replays {exchange}");
        if exchange.method() == "OPTIONS" {
            let to = if api { self.rig.control } else { self.rig.data };
            exchange.is_allowed(&exchange.send(to, &self.put()));
        } else if api {
            self.ask(exchange);
        } else {
            self.send(exchange);
        }
    }

    /// A call of the control API.
    fn ask(&mut self, exchange: &Exchange) {
        if exchange.status() == 401 {
            // An access token is good for an hour.
            self.clock.set(self.clock.now().plus(3600));
        }
        let answer = exchange.send(self.rig.control, &self.put());
        assert!(!answer.field("x-ratelimit-remaining").is_empty(), "{exchange}");
        if exchange.call == TOO_LARGE_A_PAGE {
            assert_eq!((answer.status, &body(&answer)["range"]["max"]), (400, &json!(100)), "{exchange}");
            return;
        }
        exchange.matches(&answer);
        match exchange.status() {
            200 => self.understood(exchange, &answer),
            204 => {
                assert_eq!(answer.body, "", "{exchange}");
                // The next exchanges are about a token of this name, too.
                self.token = text(&body(&apivideo(&self.rig, "POST", "/upload-tokens", "{}")), "token").to_owned();
            }
            _ => same_problem(exchange, &answer),
        }
    }

    fn understood(&mut self, exchange: &Exchange, answer: &Answer) {
        let mut said = body(answer);
        if exchange.path().starts_with("/auth/") {
            self.access = said.clone();
        }
        if exchange.path().starts_with("/videos/") {
            assert!(said["assets"]["hls"].is_string(), "{exchange}: {said}");
        }
        if exchange.request["body"].as_str().is_some_and(|sent| !sent.contains("3600")) && said["ttl"] == 0 {
            // A token made without a ttl has no end, whatever the recorder answered.
            said["expiresAt"] = Value::Null;
        }
        exchange.names("", &said);
        if let Some(page) = exchange.header("Origin") {
            assert_eq!(answer.field("access-control-allow-origin"), page, "{exchange}: {answer:?}");
        }
    }

    /// An upload, or a part of one.
    fn send(&mut self, exchange: &Exchange) {
        if exchange.header("content-range").is_none_or(|range| range.starts_with("part 1/")) {
            self.arrived();
            // Parts go to the video that the first one made; where the first one names a video, that was made before.
            let named = exchange.path() != "/upload" || exchange.parts().iter().any(|part| part["value"] == VIDEO);
            let video = named.then(|| self.vendor.vendor().make_video("a title", NOW));
            self.upload = Upload { call: exchange.call.clone(), video, film: Vec::new() };
        }
        let put = self.put().and(VIDEO, self.upload.video.as_deref().unwrap_or_default());
        let answer = exchange.send(self.rig.data, &put);
        exchange.matches(&answer);
        let page = exchange.header("Origin");
        assert_eq!(page.is_some(), !answer.field("access-control-allow-origin").is_empty(), "{exchange}: {answer:?}");
        if answer.status == 401 {
            return same_problem(exchange, &answer);
        }
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-retry-after"] {
            assert!(!answer.field(name).is_empty(), "{exchange}: {name} in {answer:?}");
        }
        let video = text(&body(&answer), "videoId").to_owned();
        assert!(self.upload.video.get_or_insert_with(|| video.clone()) == &video, "{exchange}: another video");
        self.upload.film.extend(exchange.file());
    }

    /// The vendor has the file that is under way, as one video.
    fn arrived(&mut self) {
        let Upload { call, video, film } = std::mem::take(&mut self.upload);
        if film.is_empty() {
            return;
        }
        self.files += 1;
        let uploads = self.vendor.vendor().uploads();
        assert_eq!(uploads.len(), self.files, "{call}: as many videos as files");
        let came = uploads.iter().find(|upload| Some(&upload.video) == video.as_ref()).unwrap_or_else(|| panic!("{call}: {video:?}"));
        assert!(came.whole && came.bytes == film, "{call}: {} of {} bytes", came.bytes.len(), film.len());
    }

    /// Nothing that opens anything here was shown to the vendor.
    fn kept_secrets(&self) {
        let (key, access) = (super::super::basic(ADMIN, ""), text(&self.access, "access_token"));
        for call in self.vendor.calls() {
            let shown = call.headers.get("authorization").map_or("", |value| value.to_str().expect("text"));
            let seen = format!("{shown} {}", call.target);
            assert!(![key.as_str(), access, &self.token].iter().any(|secret| seen.contains(secret)), "{} {seen}", call.method);
        }
    }
}

/// The refusal in the recorded words.
fn same_problem(exchange: &Exchange, answer: &Answer) {
    assert_eq!(answer.field("content-type"), "application/problem+json", "{exchange}");
    let said = body(answer);
    // For what is not there the vendor's pages have two titles.
    let told = ["type", "status", "title"].into_iter().take(if answer.status == 404 { 2 } else { 3 });
    for name in told.filter(|name| exchange.given["body"].get(name).is_some()) {
        assert_eq!(said[name], exchange.given["body"][name], "{exchange}");
    }
}

fn replayed(file: &'static str) {
    let mut stage = stage();
    for exchange in exchanges(file) {
        stage.replay(&exchange);
    }
    stage.arrived();
    stage.kept_secrets();
}

#[test]
fn its_client_for_node_gets_what_it_was_recorded_with() {
    replayed("apivideo_nodejs_client.json");
}

#[test]
fn its_client_for_python_gets_what_it_was_recorded_with() {
    replayed("apivideo_python_client.json");
}

/// With the access token that is over, refreshed and tried again.
#[test]
fn its_uploader_in_browsers_gets_what_it_was_recorded_with() {
    replayed("apivideo_video_uploader.json");
}

/// The recorded calls with the API's key, by the client itself.
#[test]
fn its_client_for_node_makes_a_video_and_uploads_with_a_key_of_ours() {
    let stage = stage();
    let Some((said, film)) = called("apivideo", &stage.rig, 6_000_000) else { return };
    let uploads = stage.vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].whole && uploads[0].bytes == film, "{said}");
    assert_eq!(said, json!({ "video": uploads[0].video }));
    stage.kept_secrets();
}

//! Real players of a recorded film that know nothing of tickets; those of live streams are next door.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tollgate::app::Gateway;
use tollgate::clock::Clock;
use tollgate::demo::origin;
use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{KeySet, KeySource, SignRequest};

use crate::browser::{browser_is_here, plays, refused, run_browser};
use crate::ffmpeg::{assert_whole_film, ffmpegs, played_by};
use crate::loopback::Loopback;
use crate::peer::free_port;
use crate::{rig, tool};

/// A gateway with one route for each way, in front of an origin.
pub(super) struct Site {
    gateway: Gateway,
    key: Generated,
    /// Where the page of a browser stands that may send cookies.
    page_port: u16,
}

impl Site {
    pub(super) fn new(origin: &str, session: &Value) -> Self {
        let (key, page_port) = (generate(Kind::Ed25519).expect("a key"), free_port().port());
        let route = |way: &str| {
            let mut session = session.clone();
            session["propagation"] = json!(way);
            session["cookie"] = json!({ "secure": false });
            let mut route = json!({
                "name": way, "path": format!("/{way}"), "accept": ["viewer"], "origin": "media", "rewrite_prefix": "", "session": session,
            });
            if way == "cookie" {
                route["cors"] = json!({ "allow_origins": [format!("http://127.0.0.1:{page_port}")], "allow_credentials": true });
            }
            route
        };
        let gateway = rig::gateway(json!({
            "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 2 },
            "admin": { "enabled": false },
            "keys": { "jwt": { "inline": key.jwk.expose() } },
            "schemes": { "viewer": scheme() },
            "origins": { "media": { "endpoints": [origin] } },
            "routes": [route("path"), route("query"), route("cookie")],
        }));
        Self { gateway, key, page_port }
    }

    /// Runs cases in browsers, some at once; all must go as they say.
    pub(super) fn run(&self, cases: &[Value], at_once: usize) {
        let answer = run_browser(&json!({ "cases": cases, "at_once": at_once, "page_port": self.page_port }));
        let bad: Vec<_> = answer["results"].as_array().expect("results").iter().filter(|result| result["ok"] != true).collect();
        assert!(bad.is_empty() && answer["ok"] == true, "{bad:#?}");
    }

    /// A URL of its own token for `path` by this way.
    pub(super) fn url(&self, way: &str, path: &str) -> String {
        let table: SchemeConfig = serde_json::from_value(scheme()).expect("a scheme");
        let keys = KeySet::parse(self.key.jwk.expose().as_bytes(), None, None).expect("a key");
        let scheme = table.build(KeySource::new(keys)).expect("a scheme");
        let expires = Some(Clock::System.now().plus(600));
        let claims = [("jti".to_owned(), json!(uuid()))].into_iter().collect();
        let path = format!("/{way}{path}");
        let request = SignRequest { host: "127.0.0.1".into(), path, expires, claims, ..SignRequest::default() };
        let signed = scheme.sign(&request).expect("a token");
        format!("http://{}{}?{}", self.gateway.addresses[0], signed.path, signed.query.expect("a query"))
    }

    pub(super) fn refusals(&self) -> BTreeMap<String, u64> {
        self.gateway.metrics.refusals_by_code().into_iter().filter(|(_, count)| *count > 0).map(|(code, n)| (code.to_string(), n)).collect()
    }
}

/// Tokens that have the same claims are one token; each viewer here has one of its own.
fn uuid() -> String {
    tollgate::session::SessionId::new(Clock::System.now()).to_string()
}

/// A port that nobody has at the moment.
fn scheme() -> Value {
    json!({ "type": "jwt", "keys": "jwt", "carriers": [{ "query": "token" }] })
}

/// A row of the matrix of clients: each plays HLS and DASH by [`WAYS`], recorded here and live next door. A cell that no machine
/// can fill says why.
struct Client {
    /// Its name in these suites, for each format.
    hls: Result<&'static str, &'static str>,
    dash: Result<&'static str, &'static str>,
    /// Whether it goes from one rendition to another when it is told to.
    switches: Result<(), &'static str>,
    /// Whether it runs in a page; the others have tests of their own.
    in_page: bool,
}

const fn in_page(hls: Result<&'static str, &'static str>, dash: Result<&'static str, &'static str>) -> Client {
    Client { hls, dash, switches: Ok(()), in_page: true }
}

const fn program(name: &'static str, why_it_stays: &'static str) -> Client {
    Client { hls: Ok(name), dash: Ok(name), switches: Err(why_it_stays), in_page: false }
}

const MATRIX: [Client; 8] = [
    in_page(Ok("hlsjs"), Err("hls.js plays HLS only")),
    in_page(Ok("shaka-hls"), Ok("shaka-dash")),
    in_page(Ok("videojs-hls"), Ok("videojs-dash")),
    in_page(Err("dash.js plays DASH only"), Ok("dashjs")),
    Client {
        hls: Ok("native"),
        dash: Err("Chromium has no player of its own for DASH"),
        switches: Err("pages cannot tell Chromium's own player which rendition to take"),
        in_page: true,
    },
    program("ffmpeg of Debian", "ffmpeg keeps the rendition that it chose when it opened"),
    program("ffmpeg of PyPI", "ffmpeg keeps the rendition that it chose when it opened"),
    program("GStreamer", "GStreamer changes by bandwidth only, and gst-launch cannot link what a change brings"),
];

/// The ways that every client plays by. Cookies are played by beside them, where a client keeps any.
pub(super) const WAYS: [&str; 2] = ["path", "query"];

/// Players in pages, each with what it is asked to play.
pub(super) fn players_in_pages(hls: &'static str, dash: &'static str) -> Vec<(&'static str, &'static str)> {
    let of = |client: &Client| [client.hls.map(|player| (player, hls)), client.dash.map(|player| (player, dash))];
    MATRIX.iter().filter(|client| client.in_page).flat_map(of).filter_map(Result::ok).collect()
}

#[test]
fn the_matrix_says_what_no_machine_can_play() {
    let mut cannot = Vec::new();
    for client in &MATRIX {
        cannot.extend([client.hls.err(), client.dash.err(), client.switches.err()].into_iter().flatten());
    }
    let played = MATRIX.iter().flat_map(|client| [client.hls, client.dash]).flatten().count() * WAYS.len() * 2;
    eprintln!("{played} cells are played; not played: {cannot:#?}");
    assert_eq!((played, cannot.len()), (52, 7), "of eight clients, two formats, two ways, recorded and live");
}

/// A case that plays and, where the player can be told to, goes from one rendition to the other.
pub(super) fn plays_both_renditions(player: &str, url: &str) -> Value {
    let mut case = plays(player, url);
    let client = MATRIX.iter().find(|client| [client.hls, client.dash].contains(&Ok(player))).expect("a client of the matrix");
    case["switches"] = json!(client.switches.is_ok());
    (case["rate"], case["timeout"]) = (json!(2), json!(60));
    case
}

#[test]
fn browsers_play_by_tickets_and_change_renditions() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::origin();
    let site = Site::new(&origin.base, &json!({ "concurrent_per_token": 1 }));
    let mut cases = Vec::new();
    for way in WAYS.into_iter().chain(["cookie"]) {
        for (player, path) in players_in_pages(origin::HLS, origin::DASH) {
            let mut case = plays_both_renditions(player, &site.url(way, path));
            case["name"] = json!(format!("{player} by {way}"));
            case["credentials"] = json!(way == "cookie");
            cases.push(case);
        }
    }
    site.run(&cases, 4);
    assert_eq!(site.refusals(), BTreeMap::new());
}

#[test]
fn ffmpeg_plays_by_tickets() {
    for program in ffmpegs("playing by tickets") {
        let origin = Loopback::origin();
        let site = Site::new(&origin.base, &json!({ "concurrent_per_token": 1 }));
        for (way, path) in [
            ("path", origin::HLS),
            ("path", origin::DASH),
            ("path", origin::DOWNLOAD),
            ("query", origin::HLS),
            ("query", origin::DASH),
            ("query", origin::DOWNLOAD),
            ("cookie", origin::HLS),
            ("cookie", origin::DASH),
        ] {
            assert_whole_film(&played_by(&program, &site.url(way, path), &[]), &format!("{} {way} {path}", program.display()));
        }
        assert_eq!(site.refusals(), BTreeMap::new());
    }
}

/// Whether GStreamer is here, with what it needs; skips aloud, or fails with `TOLLGATE_TESTS=all`.
pub(super) fn gstreamer_is_here() -> bool {
    let elements = ["hlsdemux", "dashdemux", "souphttpsrc", "avdec_h264", "qtdemux"];
    let has = |element: &&str| {
        tool::find("gst-inspect-1.0")
            .is_some_and(|program| tool::run(Command::new(program).arg(element), "", Duration::from_secs(30)).well())
    };
    tool::here("playing with GStreamer", elements.iter().find(|element| !has(element)).map(|_| "gst-launch-1.0 with its plugins"))
}

/// GStreamer on its way to the end of `url`, as fast as it decodes. Told how quick its network is, it stays with one rendition:
/// gst-launch cannot link what a change brings.
pub(super) fn gstreamer(url: &str, hurry: bool) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    let sync = format!("sync={}", !hurry);
    command.args(["uridecodebin", &format!("uri={url}"), "connection-speed=100000", "name=film"]);
    for kind in ["video/x-raw", "audio/x-raw"] {
        command.args(["film.", "!", kind, "!", "queue", "!", "fakesink", &sync]);
    }
    command
}

#[test]
fn gstreamer_plays_by_tickets() {
    if !gstreamer_is_here() {
        return;
    }
    let media = super::film();
    let site = Site::new(&media.url, &json!({ "concurrent_per_token": 1 }));
    for way in WAYS {
        for path in [origin::HLS, origin::DASH] {
            let before = media.count();
            let ended = tool::run(&mut gstreamer(&site.url(way, path), true), "", Duration::from_secs(120));
            assert!(ended.well() && ended.stdout.contains("EOS"), "{way} {path}: {ended:?}");
            let seen: Vec<String> = media.requests().split_off(before).into_iter().map(|seen| seen.target).collect();
            let has = |name: &str| seen.iter().any(|target| target.contains(name));
            assert!((has("seg-0-12") || has("seg-1-12")) && has("seg-2-12"), "{way} {path}: to the end: {seen:?}");
        }
    }
    assert_eq!(site.refusals(), BTreeMap::new());
}

#[test]
fn a_second_browser_on_a_token_is_told_why_it_may_not() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::origin();
    let site = Site::new(&origin.base, &json!({ "concurrent_per_token": 1 }));
    let cases: Vec<Value> = ["path", "query"]
        .iter()
        .map(|way| {
            let url = site.url(way, origin::HLS);
            let mut first = plays("hlsjs", &url);
            let second = |player: &str| over_there(refused(player, &url, 403, "session_concurrent_token"));
            (first["rate"], first["seconds"]) = (json!(1), json!(2));
            first["meanwhile"] = json!([second("hlsjs"), second("shaka-hls"), second("videojs-hls")]);
            first
        })
        .collect();
    site.run(&cases, 2);
}

/// The same case on another machine, as far as the gateway can see.
fn over_there(mut case: Value) -> Value {
    case["user_agent"] = json!("Mozilla/5.0 (another machine)");
    case
}

#[test]
fn a_second_browser_takes_the_first_ones_place_where_that_is_the_policy() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::origin();
    let site = Site::new(&origin.base, &json!({ "concurrent_per_token": 1, "on_full": "evict-oldest" }));
    let cases: Vec<Value> = ["path", "query"]
        .iter()
        .map(|way| {
            let url = site.url(way, origin::HLS);
            let mut first = plays("hlsjs", &url);
            (first["rate"], first["seconds"]) = (json!(1), json!(2));
            // Little in hand, so that it has to ask again.
            first["options"] = json!({ "maxBufferLength": 2, "maxMaxBufferLength": 2, "maxBufferSize": 1 });
            first["meanwhile"] = json!([over_there(plays("hlsjs", &url))]);
            first["afterwards"] = json!({ "status": 403, "code": "session_evicted" });
            first
        })
        .collect();
    site.run(&cases, 2);
}

#[test]
fn a_browser_that_is_closed_gives_its_place_back_within_the_idle_time() {
    if !browser_is_here() {
        return;
    }
    const IDLE: Duration = Duration::from_secs(6);
    let origin = Loopback::origin();
    let site = Site::new(&origin.base, &json!({ "concurrent_per_token": 1, "idle_timeout": "6s" }));
    let url = site.url("path", origin::HLS);
    let mut first = plays("hlsjs", &url);
    (first["rate"], first["seconds"]) = (json!(1), json!(1));
    // Little in hand, so that it asks until it is closed.
    first["options"] = json!({ "maxBufferLength": 2, "maxMaxBufferLength": 2, "maxBufferSize": 1 });
    first["meanwhile"] = json!([over_there(refused("hlsjs", &url, 403, "session_concurrent_token"))]);
    site.run(&[first], 1);
    let closed = Instant::now();
    assert_eq!(rig::get_url(&url).status, 403, "it may only have lost its network");
    // Asked until it is free; the clock is the real one.
    while rig::get_url(&url).status == 403 {
        assert!(closed.elapsed() < IDLE + Duration::from_secs(2), "still taken after {:?}", closed.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    eprintln!("a closed browser's place was free {:?} after its end; idle time is {IDLE:?}", closed.elapsed());
    assert_eq!(rig::get_url(&url).status, 302);
}

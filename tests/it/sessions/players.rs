//! Real players, in front of the demo origin, that know nothing of tickets.

use std::time::Duration;

use serde_json::{Value, json};

use tollgate::app::Gateway;
use tollgate::clock::Clock;
use tollgate::demo::origin;
use tollgate::keygen::{Generated, Kind, generate};
use tollgate::token::scheme::config::SchemeConfig;
use tollgate::token::{KeySet, KeySource, SignRequest};

use crate::browser::{PLAYERS, browser_is_here, path_for, plays, refused, run_browser};
use crate::ffmpeg::{assert_whole_film, ffmpeg_is_here, ffmpeg_plays};
use crate::loopback::Loopback;
use crate::rig;

/// A gateway with one route for each way, in front of the demo origin.
struct Site {
    gateway: Gateway,
    key: Generated,
    _origin: Loopback,
}

impl Site {
    fn new(session: &Value) -> Self {
        let (key, origin) = (generate(Kind::Ed25519).expect("a key"), Loopback::origin());
        let route = |way: &str| {
            let mut session = session.clone();
            session["propagation"] = json!(way);
            session["cookie"] = json!({ "secure": false });
            json!({
                "name": way, "path": format!("/{way}"), "accept": ["viewer"], "origin": "media", "rewrite_prefix": "", "session": session,
            })
        };
        let gateway = rig::gateway(json!({
            "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 2 },
            "admin": { "enabled": false },
            "keys": { "jwt": { "inline": key.jwk.expose() } },
            "schemes": { "viewer": scheme() },
            "origins": { "media": { "endpoints": [origin.base] } },
            "routes": [route("path"), route("query"), route("cookie")],
        }));
        Self { gateway, key, _origin: origin }
    }

    /// A URL of its own token for `path` by this way.
    fn url(&self, way: &str, path: &str) -> String {
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

    fn refusals(&self) -> std::collections::BTreeMap<String, u64> {
        self.gateway.metrics.refusals_by_code().into_iter().filter(|(_, count)| *count > 0).map(|(code, n)| (code.to_string(), n)).collect()
    }
}

/// Tokens that have the same claims are one token; each viewer here has one of its own.
fn uuid() -> String {
    tollgate::session::SessionId::new(Clock::System.now()).to_string()
}

fn scheme() -> Value {
    json!({ "type": "jwt", "keys": "jwt", "carriers": [{ "query": "token" }] })
}

#[test]
fn browsers_play_by_tickets() {
    if !browser_is_here() {
        return;
    }
    let site = Site::new(&json!({ "concurrent_per_token": 1 }));
    let ways = ["path", "query"];
    let mut cases: Vec<Value> = Vec::new();
    for way in ways {
        cases.extend(PLAYERS.iter().map(|player| plays(player, &site.url(way, path_for(player)))));
    }
    let answer = run_browser(&json!({ "cases": cases }));
    assert_eq!(answer["ok"], true, "{answer:#}");
    assert_eq!(site.refusals(), std::collections::BTreeMap::new());
}

#[test]
fn ffmpeg_plays_by_tickets() {
    if !ffmpeg_is_here() {
        return;
    }
    let site = Site::new(&json!({ "concurrent_per_token": 1 }));
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
        assert_whole_film(&ffmpeg_plays(&site.url(way, path), &[]), &format!("{way} {path}"));
    }
    assert_eq!(site.refusals(), std::collections::BTreeMap::new());
}

#[test]
fn a_second_browser_on_a_token_is_told_why_it_may_not() {
    if !browser_is_here() || !ffmpeg_is_here() {
        return;
    }
    let site = Site::new(&json!({ "concurrent_per_token": 1 }));
    for way in ["path", "query"] {
        let url = site.url(way, origin::HLS);
        // Another program watches.
        assert_eq!(rig::get_url(&url).status, if way == "path" { 302 } else { 200 });
        let cases = [refused("hlsjs", &url, 403, "session_concurrent_token"), refused("shaka-hls", &url, 403, "session_concurrent_token")];
        let answer = run_browser(&json!({ "cases": cases }));
        assert_eq!(answer["ok"], true, "{way} {answer:#}");
    }
}

/// A packager that writes a live stream into a folder while this lives.
struct Packager(std::process::Child);

impl Packager {
    fn start(folder: &std::path::Path) -> Self {
        let mut command = std::process::Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=25"]);
        command.args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            "25",
            "-t",
            "60",
            "-f",
            "hls",
            "-hls_time",
            "1",
            "-hls_list_size",
            "5",
        ]);
        command.args(["-hls_flags", "delete_segments+temp_file", "-hls_delete_threshold", "5", "live.m3u8"]);
        Self(command.current_dir(folder).spawn().expect("ffmpeg"))
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An origin that serves a folder.
fn folder_origin(folder: std::path::PathBuf) -> crate::support::Origin {
    use crate::support::{Origin, Reply};
    Origin::start(move |seen| {
        let name = seen.target.split('?').next().unwrap_or("").trim_start_matches("/live/").to_owned();
        let kind = if name.ends_with(".m3u8") { "application/vnd.apple.mpegurl" } else { "video/mp2t" };
        match std::fs::read(folder.join(name)) {
            Ok(bytes) => Reply::new(200, bytes).with("Content-Type", kind).with("Cache-Control", "no-cache"),
            Err(_) => Reply::new(404, "none"),
        }
    })
}

#[test]
fn a_live_stream_goes_on_by_tickets() {
    if !ffmpeg_is_here() {
        return;
    }
    let folder = rig::Folder::new();
    let _packager = Packager::start(folder.path());
    let media = folder_origin(folder.path().to_owned());
    let ready = std::time::Instant::now();
    while !folder.path().join("live.m3u8").exists() && ready.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut site = Site::new(&json!({ "concurrent_per_token": 1 }));
    let (key, scheme_table) = (&site.key, scheme());
    let session = |way: &str| json!({ "propagation": way, "concurrent_per_token": 1 });
    let route = |way: &str| json!({ "name": way, "path": format!("/{way}"), "accept": ["viewer"], "origin": "media", "rewrite_prefix": "", "session": session(way) });
    site.gateway = rig::gateway(json!({
        "server": { "listeners": [{ "address": "127.0.0.1:0" }], "workers": 2 },
        "admin": { "enabled": false },
        "keys": { "jwt": { "inline": key.jwk.expose() } },
        "schemes": { "viewer": scheme_table },
        "origins": { "media": { "endpoints": [media.url] } },
        "routes": [route("path"), route("query")],
    }));
    std::thread::scope(|scope| {
        for way in ["path", "query"] {
            let url = site.url(way, "/live/live.m3u8");
            // Ten seconds of media: twice what the first playlist holds.
            scope.spawn(move || {
                let played = ffmpeg_plays(&url, &["-t", "10"]).unwrap_or_else(|complaint| panic!("{way}: {complaint}"));
                assert!(played.seconds > 9.0 && !played.complaints.contains("HTTP error"), "{way}: {played:?}");
            });
        }
    });
    assert_eq!(site.refusals(), std::collections::BTreeMap::new());
    assert!(media.requests().iter().all(|seen| !seen.head.contains("tg~") && !seen.head.contains("tg=")));
}

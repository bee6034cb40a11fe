//! Real players of a live stream that know nothing of tickets. A packager writes HLS and DASH of two renditions into a folder, as
//! it would for an origin; all players watch the same stream.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::players::{Site, WAYS, gstreamer, gstreamer_is_here, players_in_pages, plays_both_renditions};
use crate::browser::browser_is_here;
use crate::ffmpeg::{ffmpeg_is_here, ffmpegs, played_by};
use crate::support::{Origin, Reply};
use crate::{rig, tool};

const HLS: &str = "/live/master.m3u8";
const DASH: &str = "/live/manifest.mpd";

/// ffmpeg at work on a live stream while this lives.
struct Packager(Child);

impl Packager {
    /// Returns when there is something to play.
    fn start(folder: &Path) -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=192x108:rate=10"]);
        command.args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args(["-filter_complex", "[0:v]format=yuv420p,split=2[a][b];[b]scale=96:54[low]", "-map", "[a]", "-map", "[low]"]);
        command.args(["-map", "1:a", "-t", "600", "-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", "10"]);
        command.args([
            "-keyint_min",
            "10",
            "-sc_threshold",
            "0",
            "-b:v:0",
            "100k",
            "-b:v:1",
            "40k",
            "-c:a",
            "aac",
            "-ac",
            "1",
            "-b:a",
            "32k",
        ]);
        command.args(["-f", "dash", "-seg_duration", "1", "-use_template", "1", "-use_timeline", "1", "-window_size", "8"]);
        command.args(["-extra_window_size", "20", "-adaptation_sets", "id=0,streams=0,1 id=1,streams=2", "-hls_playlist", "1"]);
        command.args(["-init_seg_name", "init-$RepresentationID$.mp4", "-media_seg_name", "seg-$RepresentationID$-$Number$.m4s"]);
        command.args(["-hls_master_name", "master.m3u8", "-utc_timing_url", "", "manifest.mpd"]);
        let child = command.current_dir(folder).stdout(Stdio::null()).spawn().expect("ffmpeg");
        let began = Instant::now();
        while !(folder.join("master.m3u8").exists() && folder.join("seg-2-4.m4s").exists()) {
            assert!(began.elapsed() < Duration::from_secs(30), "no live stream");
            std::thread::sleep(Duration::from_millis(100));
        }
        Self(child)
    }
}

impl Drop for Packager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An origin that serves a folder as `/live/`.
fn folder_origin(folder: &Path) -> Origin {
    let folder = folder.to_owned();
    Origin::start(move |seen| {
        let name = seen.target.split('?').next().unwrap_or("").trim_start_matches("/live/").to_owned();
        let kind = match name.rsplit('.').next() {
            Some("m3u8") => "application/vnd.apple.mpegurl",
            Some("mpd") => "application/dash+xml",
            _ => "video/mp4",
        };
        match std::fs::read(folder.join(name)) {
            Ok(bytes) => Reply::new(200, short_headed(bytes)).with("Content-Type", kind).with("Cache-Control", "no-cache"),
            Err(_) => Reply::new(404, "none"),
        }
    })
}

/// GStreamer takes an MPD for one only when its first tag is short, wherever it comes from.
fn short_headed(bytes: Vec<u8>) -> Vec<u8> {
    let Some((before, rest)) = std::str::from_utf8(&bytes).ok().and_then(|text| text.split_once("xsi:schemaLocation=\"")) else {
        return bytes;
    };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}").into_bytes()
}

/// What every viewer here is bound by: tickets shorter than he watches.
fn terms() -> Value {
    json!({ "concurrent_per_token": 1, "ticket_lifetime": "3s" })
}

fn browsers(site: &Site) {
    let mut cases = Vec::new();
    for way in WAYS.into_iter().chain(["cookie"]) {
        for (player, path) in players_in_pages(HLS, DASH) {
            // Two that do not share a loader will do for cookies.
            if way == "cookie" && !["hlsjs", "dashjs"].contains(&player) {
                continue;
            }
            let mut case = plays_both_renditions(player, &site.url(way, path));
            case["name"] = json!(format!("{player} by {way}, live"));
            case["credentials"] = json!(way == "cookie");
            (case["rate"], case["seconds"], case["live"], case["timeout"]) = (json!(1), json!(7), json!(true), json!(60));
            if player == "dashjs" {
                // It would ask a server of the internet for the time.
                case["options"] = json!({ "streaming": { "utcSynchronization": { "enabled": false } } });
            }
            cases.push(case);
        }
    }
    site.run(&cases, 4);
}

fn ffmpegs_watch(site: &Site) {
    std::thread::scope(|scope| {
        for program in ffmpegs("a live stream") {
            for (way, path) in WAYS.into_iter().flat_map(|way| [(way, HLS), (way, DASH)]) {
                let (url, program) = (site.url(way, path), program.clone());
                // More than a playlist holds, though its DASH reader loses segments, and the more the busier the machine is.
                scope.spawn(move || {
                    let what = format!("{} {way} {path}", program.display());
                    let played = played_by(&program, &url, &["-t", "16"]).unwrap_or_else(|complaint| panic!("{what}: {complaint}"));
                    // Its DASH reader asks for segments that have left the window; a refusal would be 401 or 403.
                    let refused = ["HTTP error 401", "HTTP error 403"].iter().any(|error| played.complaints.contains(error));
                    assert!(played.seconds > 8.0 && !refused, "{what}: {played:?}");
                });
            }
        }
    });
}

/// GStreamer does not end by itself, so what counts is what it asked for.
fn gstreamers_watch(site: &Site, media: &Origin) {
    std::thread::scope(|scope| {
        for (way, path) in WAYS.into_iter().flat_map(|way| [(way, HLS), (way, DASH)]) {
            let url = site.url(way, path);
            scope.spawn(move || {
                let ended = tool::run(&mut gstreamer(&url, false), "", Duration::from_secs(20));
                assert!(ended.status.is_none() && !ended.stderr.contains("ERROR"), "{way} {path}: {ended:?}");
            });
        }
    });
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    for seen in media.requests().iter().filter(|seen| seen.field("user-agent").is_some_and(|agent| agent.contains("GStreamer"))) {
        let number = seen.target.split('?').next().and_then(|path| path.strip_suffix(".m4s")?.rsplit('-').next()?.parse().ok());
        number.into_iter().for_each(|number| *numbers.entry(number).or_default() += 1);
    }
    // More than a playlist holds, and four of them by all four viewers, however busy the machine is.
    let by_all = numbers.values().filter(|times| **times >= 4).count();
    assert!(numbers.len() > 8 && by_all >= 4, "four viewers: {numbers:?}");
}

#[test]
fn a_live_stream_goes_on_by_tickets() {
    if !ffmpeg_is_here() {
        return;
    }
    let folder = rig::Folder::new();
    let _packager = Packager::start(folder.path());
    let media = folder_origin(folder.path());
    let site = Site::new(&media.url, &terms());
    if browser_is_here() {
        browsers(&site);
    }
    let gstreamer = gstreamer_is_here();
    std::thread::scope(|scope| {
        scope.spawn(|| ffmpegs_watch(&site));
        if gstreamer {
            scope.spawn(|| gstreamers_watch(&site, &media));
        }
    });
    assert_eq!(site.refusals(), BTreeMap::new());
    let told: Vec<_> = media.requests().into_iter().filter(|seen| seen.head.contains("tg~") || seen.head.contains("tg=")).collect();
    assert!(told.is_empty(), "{} requests, such as {}", told.len(), told[0].head);
}

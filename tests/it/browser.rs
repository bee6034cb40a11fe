//! Real players in headless Chromium, through `tests/browser/play.mjs` (see its head for orders and answers).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::demo::origin;
use tollgate::demo::page::{Links, Page, Status};

use crate::loopback::Loopback;
use crate::tool;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");

/// Whether a browser and the players are here; skips aloud, or fails with `TOLLGATE_TESTS=all`.
pub(crate) fn browser_is_here() -> bool {
    let missing = ["chromium", "node"].into_iter().find(|program| tool::find(program).is_none());
    let players = Path::new(FOLDER).join("node_modules").exists();
    tool::here("playing in a browser", missing.or_else(|| (!players).then_some("tests/browser/node_modules")))
}

/// Browsers of several tests would only slow each other down.
static BROWSER: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Runs the order; panics where the browser could not run at all. `answer["ok"]` says whether all went as expected.
pub(crate) fn run_browser(order: &Value) -> Value {
    let _one_at_a_time = BROWSER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cases = order["cases"].as_array().map_or(1, Vec::len) as u64;
    let limit = Duration::from_secs(60 + 40 * cases);
    let mut command = Command::new("node");
    command.arg("play.mjs").current_dir(FOLDER).envs(tool::find("chromium").map(|path| ("CHROMIUM", path)));
    let ended = tool::run(&mut command, &order.to_string(), limit);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr))
}

/// A case that must play ten seconds of media without one refusal.
pub(crate) fn plays(player: &str, url: &str) -> Value {
    json!({ "player": player, "url": url })
}

/// A case that must be refused so that page script of another origin reads both status and code.
pub(crate) fn refused(player: &str, url: &str, status: u16, code: &str) -> Value {
    json!({ "name": format!("{player}, refused"), "player": player, "url": url, "expect": { "status": status, "code": code } })
}

/// The path of what a player wants: DASH for those that play it, HLS for the others.
pub(crate) fn path_for(player: &str) -> &'static str {
    if player.contains("dash") { origin::DASH } else { origin::HLS }
}

/// The players of the suite.
pub(crate) const PLAYERS: [&str; 5] = ["hlsjs", "dashjs", "shaka-hls", "shaka-dash", "native"];

#[test]
fn players_play_and_read_refusals_across_origins() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::open_origin();
    let cases = PLAYERS.iter().flat_map(|player| {
        let path = path_for(player);
        let denied = path.replace("/vod/", "/denied/");
        [plays(player, &format!("{}{path}", origin.base)), refused(player, &format!("{}{denied}", origin.base), 403, "token_expired")]
    });
    let answer = run_browser(&json!({ "cases": cases.collect::<Vec<_>>() }));
    assert_eq!(answer["ok"], true, "{answer:#}");
}

#[test]
fn a_refusal_in_mid_play_is_seen_after_what_was_allowed() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::open_origin();
    // The browser's own player stops at the refusal, however much it has in hand, so how far it comes is chance.
    let cases = PLAYERS.iter().filter(|player| **player != "native").map(|player| {
        let file = path_for(player).trim_start_matches("/vod");
        let mut case = refused(player, &format!("{}/late{file}", origin.base), 403, "token_expired");
        case["seconds"] = json!(8);
        case
    });
    let answer = run_browser(&json!({ "cases": cases.collect::<Vec<_>>() }));
    assert_eq!(answer["ok"], true, "{answer:#}");
}

#[test]
fn without_cors_a_page_learns_nothing_of_a_refusal() {
    if !browser_is_here() {
        return;
    }
    let origin = Loopback::origin();
    let case = refused("hlsjs", &format!("{}/vod/none.m3u8", origin.base), 404, "not_found");
    let answer = run_browser(
        &json!({ "cases": [{ "timeout": 4, "name": case["name"], "player": "hlsjs", "url": case["url"], "expect": case["expect"] }] }),
    );
    assert_eq!((&answer["ok"], &answer["results"][0]["codes"]), (&json!(false), &json!([])), "{answer:#}");
}

#[test]
fn the_demo_page_plays_both_ways_and_shows_refusals() {
    if !browser_is_here() {
        return;
    }
    let media = Loopback::open_origin();
    let bad = format!("{}/denied/master.m3u8", media.base);
    let links = Links {
        signed_hls: format!("{}{}", media.base, origin::HLS),
        expired_hls: bad.clone(),
        tampered_hls: bad.clone(),
        bare_hls: bad,
        signed_dash: format!("{}{}", media.base, origin::DASH),
        metrics: String::new(),
    };
    let status = Status { requests: 41, cache_hits: 38, origin_requests: 39, refusals: [("token_expired".to_owned(), 2)].into() };
    let page = Page::new(&links, &media.base, move || json!(status)).expect("a page");
    let server = Loopback::start(|listener, stopped| async move { page.serve(listener, stopped).await });
    let answer = run_browser(&json!({ "cases": [plays("demo-page", &server.base), plays("demo-page-mse", &server.base)] }));
    assert_eq!(answer["ok"], true, "{answer:#}");
    let panel = json!({ "requests": "41", "refused": "2", "cache_hits": "38", "origin_requests": "39" });
    assert_eq!(answer["results"][0]["panel"], panel);
}

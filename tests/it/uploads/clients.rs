//! The clients that people use: api.video's uploader and the demo's recorder in Chromium, tus-js-client in node.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings};

use super::link;
use crate::rig::{self, Folder, Process};
use crate::support::vendors::Simulator;
use crate::support::{Gateway, gateway::NOW};
use crate::tool;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");

/// Whether what `what` needs is here.
fn is_here(what: &str, programs: &[&'static str]) -> bool {
    let missing = programs.iter().copied().find(|program| tool::find(program).is_none());
    let client = Path::new(FOLDER).join("node_modules/tus-js-client").exists();
    tool::here(what, missing.or_else(|| (!client).then_some("tests/browser/node_modules")))
}

fn runs(order: &Value) -> Value {
    let mut command = Command::new("node");
    command.arg("upload.mjs").current_dir(FOLDER).envs(tool::find("chromium").map(|path| ("CHROMIUM", path)));
    let ended = tool::run(&mut command, &order.to_string(), Duration::from_secs(90));
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr))
}

/// What upload.mjs calls noise.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for at in (0..size).step_by(4) {
        let word = u32::try_from((at as u64).wrapping_mul(2_654_435_761) & 0xffff_ffff).expect("masked");
        let from = at.min(size - 4);
        bytes[from..from + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// api.video behind a gateway that puts its upload token in; over TLS as well.
fn apivideo(folder: &Folder, upload: Value) -> (Simulator<Apivideo>, String, Gateway) {
    let vendor = Simulator::plain(Apivideo::new(Settings::new("an-api-key")), &Clock::manual(NOW));
    let token = vendor.vendor().make_upload_token(3600, NOW);
    crate::media::certificate(folder);
    let tls = json!({ "certificates": [{ "cert_file": folder.path().join("cert.pem"), "key_file": folder.path().join("key.pem") }] });
    let mut config = super::config(&vendor.url, upload);
    config["server"] = json!({ "listeners": [{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tls": tls }] });
    config["credentials"] = json!({ "provider": { "type": "static", "secret": token } });
    config["routes"][0]["inject"] = json!([{ "credential": "provider", "into": "query", "name": "token" }]);
    (vendor, token, Gateway::start(config))
}

#[test]
fn api_videos_uploader_uploads_in_parts_from_a_page() {
    if !is_here("uploading from a browser", &["node", "chromium"]) {
        return;
    }
    let folder = Folder::new();
    let (vendor, token, gateway) = apivideo(&folder, json!({ "concurrent_per_token": 1, "max_bytes": "20MiB" }));
    let ours = link(&gateway, "/upload", 3600, json!({}));
    let ours = ours.split_once("token=").expect("a token").1;
    let (size, chunk) = (12 * 1024 * 1024, 5 * 1024 * 1024);
    let done = runs(&json!({
        "client": "uploader", "host": gateway.inner.addresses[1].to_string(), "token": ours, "size": size, "chunk": chunk,
    }));
    assert_eq!(done["ok"], true, "{done:#}");
    let uploads = vendor.vendor().uploads();
    assert_eq!((uploads.len(), uploads[0].whole, uploads[0].token.as_deref()), (1, true, Some(token.as_str())));
    assert!(uploads[0].bytes == noise(size), "byte for byte");
    assert!(!done.to_string().contains(&token), "the provider's token is nowhere in what the page got");
    assert_eq!(gateway.metric("uploads_ended_total{result=\"whole\""), 1.0);
}

#[test]
fn tus_js_client_uploads_and_resumes() {
    if !is_here("uploading by tus", &["node"]) {
        return;
    }
    let (origin, files) = super::tus::server("absolute");
    let gateway = Gateway::start(super::config(&origin.url, json!({ "concurrent_per_token": 1 })));
    let token = link(&gateway, "/make", 3600, json!({}));
    let headers = json!({ "Authorization": format!("Bearer {}", token.split_once("token=").expect("a token").1) });
    for pause in [false, true] {
        let done = runs(&json!({
            "client": "tus", "url": format!("http://{}/store/files", gateway.addr()), "headers": headers,
            "size": 900_000, "chunk": 300_000, "pause": pause,
        }));
        assert_eq!(done["ok"], true, "{done:#}");
        let path = format!("/store/files/{}", usize::from(pause));
        assert!(files.lock().expect("no panics inside")[&path].1 == noise(900_000), "byte for byte");
        let heads = done["answer"]["statuses"].as_array().expect("statuses").iter().filter(|status| *status == "HEAD 200").count();
        assert_eq!(heads, usize::from(pause), "{done:#}");
    }
    assert!(origin.requests().iter().all(|seen| seen.field("authorization").is_none()), "the token stays at the gateway");
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 2.0));
}

#[test]
fn the_demo_records_and_shows_no_token_of_the_providers() {
    if !is_here("recording in a browser", &["node", "chromium"]) {
        return;
    }
    let folder = Folder::new();
    let ports = ["--address", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--page", "127.0.0.1:0"];
    let demo = Process::start(&mut rig::program(&[&["demo", "--uploads"], &ports[..]].concat(), folder.path()));
    let said = demo.wait_for("shown to nobody");
    let page = said.split_once("Open this page:").expect("a page").1.split_whitespace().next().expect("a URL").to_owned();
    let done = runs(&json!({ "client": "recorder", "url": page }));
    assert_eq!(done["ok"], true, "{done:#}");
    assert!(done["answer"]["files"].as_str().is_some_and(|files| files.contains("bytes, whole")), "{done:#}");
    // The stand-in's upload tokens are `to` and 22 more.
    let token = regex::Regex::new(r"\bto[0-9A-Za-z]{22}\b").expect("a pattern");
    assert!(!token.is_match(&done.to_string()) && !token.is_match(&demo.said()), "{done:#}");
}

//! tus 1.0.0, and other uploads that have a place of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{at, begin, gateway, link, noise};
use crate::inject::{access, fetched, token_answers};
use crate::sdk;
use crate::support::{Answer, Gateway, Origin, Reply, Seen, client};

const TUS: &str = "Tus-Resumable: 1.0.0\r\n";

pub(super) type Files = Arc<Mutex<HashMap<String, (u64, Vec<u8>)>>>;

/// A tus server that calls its places `https://…` or by path, as `style` says.
pub(super) fn server(style: &'static str) -> (Origin, Files) {
    let files = Files::default();
    let kept = files.clone();
    (Origin::start(move |seen| answer(style, &kept, seen)), files)
}

fn answer(style: &str, files: &Files, seen: &Seen) -> Reply {
    let mut files = files.lock().expect("no panics inside");
    let number = |name: &str| seen.field(name).and_then(|text| text.parse::<u64>().ok());
    let path = seen.target.split('?').next().unwrap_or("").to_owned();
    if seen.method == "POST" {
        let path = format!("/store/files/{}", files.len());
        files.insert(path.clone(), (number("upload-length").unwrap_or(0), seen.body.clone()));
        let host = seen.field("host").expect("a host");
        let location = match style {
            "absolute" => format!("http://{host}{path}"),
            "relative" => path.trim_start_matches("/store/").to_owned(),
            _ => path,
        };
        return Reply::new(201, "").with("Location", &location).with("Tus-Resumable", "1.0.0");
    }
    let Some((length, file)) = files.get_mut(&path) else { return Reply::new(404, "") };
    if seen.method == "DELETE" {
        files.remove(&path);
        return Reply::new(204, "").with("Tus-Resumable", "1.0.0");
    }
    if seen.method == "PATCH" {
        if number("upload-offset") != Some(file.len() as u64) {
            return Reply::new(409, "");
        }
        file.extend_from_slice(&seen.body);
    }
    let (length, offset) = (length.to_string(), file.len().to_string());
    Reply::new(if seen.method == "HEAD" { 200 } else { 204 }, "")
        .with("Upload-Offset", &offset)
        .with("Upload-Length", &length)
        .with("Tus-Resumable", "1.0.0")
        .with("Cache-Control", "no-store")
}

async fn create(gateway: &Gateway, link: &str, length: usize) -> Answer {
    let fields = format!("{TUS}Upload-Length: {length}\r\nUpload-Metadata: filetype dmlkZW8vbXA0\r\n");
    client::request(gateway.addr(), "POST", link, &fields, b"").await
}

async fn patch(gateway: &Gateway, place: &str, offset: usize, content: &[u8]) -> Answer {
    let fields = format!("{TUS}Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n");
    client::request(gateway.addr(), "PATCH", place, &fields, content).await
}

async fn head(gateway: &Gateway, place: &str) -> Answer {
    client::request(gateway.addr(), "HEAD", place, TUS, b"").await
}

/// The place as the client would ask for it, under the token of `link`.
fn place(answer: &Answer, link: &str) -> String {
    let location = answer.field("location").expect("a location");
    let path = location.strip_prefix(&format!("http://{}", client::HOST)).map_or_else(|| format!("/{location}"), str::to_owned);
    at(link, &path)
}

#[tokio::test]
async fn an_upload_is_made_cut_resumed_and_finished() {
    for style in ["absolute", "path", "relative"] {
        let (origin, files) = server(style);
        let mut config = super::config(&origin.url, json!({ "concurrent_per_token": 1 }));
        config["routes"][0]["rewrite_prefix"] = "/store".into();
        let gateway = Gateway::start(config);
        let link = link(&gateway, "/files", 60, json!({}));
        let film = noise(300_000, 7);
        let made = create(&gateway, &link, film.len()).await;
        assert_eq!((made.status, made.field("tus-resumable")), (201, Some("1.0.0")), "{style}: {}", made.text());
        let place = place(&made, &link);
        assert!(place.starts_with("/files/0?"), "{style}: {place}");
        assert_eq!(patch(&gateway, &place, 0, &film[..100_000]).await.status, 204);
        assert_eq!(create(&gateway, &link, 10).await.code(), "session_concurrent_token", "one at a time");
        let asked = head(&gateway, &place).await;
        assert_eq!((asked.status, asked.field("upload-offset"), asked.field("upload-length")), (200, Some("100000"), Some("300000")));
        assert_eq!(patch(&gateway, &place, 5, b"x").await.status, 409, "the origin's own word");
        let done = patch(&gateway, &place, 100_000, &film[100_000..]).await;
        assert_eq!((done.status, done.field("upload-offset")), (204, Some("300000")));
        assert!(files.lock().expect("no panics inside")["/store/files/0"].1 == film, "byte for byte");
        assert_eq!((gateway.metric("sessions_active"), gateway.metric("sessions_admitted_total")), (0.0, 1.0));
        assert_eq!(head(&gateway, &place).await.status, 200, "and is still asked for");
        assert_eq!(create(&gateway, &link, 10).await.status, 201, "its place is free");
        assert!(origin.requests().iter().all(|seen| !seen.head.contains("token=")));
    }
}

#[tokio::test]
async fn a_known_upload_never_hears_401_or_403_while_it_may_go_on() {
    let (origin, _) = server("path");
    let gateway = gateway(&origin.url, json!({ "outlive": "10m", "idle_timeout": "60s", "concurrent_per_token": 1 }));
    // The token names the creation only: its place is bound to the upload.
    let link = link(&gateway, "/make", 60, json!({ "paths": "/make" }));
    let made = create(&gateway, &link, 100).await;
    let place = place(&made, &link);
    assert_eq!(head(&gateway, &place).await.status, 200, "the token does not name this path");
    assert_eq!(head(&gateway, &at(&link, "/store/files/1")).await.status, 403, "nor any other");
    gateway.pass(61);
    assert_eq!(head(&gateway, &place).await.status, 200, "ended, and may go on");
    assert_eq!(patch(&gateway, &place, 0, b"half").await.status, 204);
    gateway.pass(600);
    assert_eq!(head(&gateway, &place).await.status, 403, "over what it may outlive");
}

#[tokio::test]
async fn a_silent_upload_whose_place_is_taken_is_locked_and_not_gone() {
    let (origin, _) = server("path");
    let gateway = gateway(&origin.url, json!({ "idle_timeout": "60s", "concurrent_per_token": 1 }));
    let link = link(&gateway, "/make", 3600, json!({}));
    let first = place(&create(&gateway, &link, 100).await, &link);
    gateway.pass(61);
    let second = place(&create(&gateway, &link, 100).await, &link);
    let locked = head(&gateway, &first).await;
    assert_eq!((locked.status, locked.field("retry-after")), (423, Some("1")));
    assert_eq!(patch(&gateway, &first, 0, b"x").await.code(), "upload_locked");
    let gone = client::request(gateway.addr(), "DELETE", &second, TUS, b"").await;
    assert_eq!(gone.status, 204);
    assert_eq!(patch(&gateway, &first, 0, b"half").await.status, 204, "the other was given up");
    assert_eq!(gateway.metric("uploads_ended_total{result=\"given_up\""), 1.0);
}

#[tokio::test]
async fn what_the_origin_says_of_our_credential_is_not_said_to_the_recorder() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => Reply::new(201, "").with("Location", "/files/1"),
        "HEAD" => Reply::new(401, ""),
        _ => Reply::new(403, ""),
    });
    let gateway = gateway(&origin.url, json!({}));
    let link = link(&gateway, "/make", 60, json!({}));
    let place = place(&create(&gateway, &link, 100).await, &link);
    assert_eq!(head(&gateway, &place).await.status, 423);
    assert_eq!(patch(&gateway, &place, 0, b"x").await.status, 423);
    assert_eq!(gateway.metric("sessions_active"), 1.0);
}

#[tokio::test]
async fn somebody_elses_upload_stays_his() {
    let (origin, files) = server("path");
    let gateway = gateway(&origin.url, json!({}));
    let (ann, bob) = (link(&gateway, "/make", 60, json!({ "sub": "ann" })), link(&gateway, "/make", 61, json!({ "sub": "bob" })));
    let hers = place(&create(&gateway, &ann, 100).await, &ann);
    let tried = patch(&gateway, &at(&bob, hers.split('?').next().expect("a path")), 0, b"bob was here").await;
    assert_eq!((tried.status, tried.code().as_str()), (403, "upload_foreign"));
    let again = link(&gateway, "/make", 62, json!({ "sub": "ann" }));
    assert_eq!(patch(&gateway, &at(&again, hers.split('?').next().expect("a path")), 0, b"hers").await.status, 204);
    assert_eq!(files.lock().expect("no panics inside").values().next().expect("a file").1, b"hers");
}

#[tokio::test]
async fn limits_hold_at_the_creation_and_on_the_way() {
    let (origin, files) = server("path");
    let gateway = gateway(&origin.url, json!({ "max_bytes": 100, "content_types": ["video/*"] }));
    let link = link(&gateway, "/make", 60, json!({}));
    assert_eq!(create(&gateway, &link, 101).await.code(), "upload_too_large");
    let typed = format!("{TUS}Upload-Length: 10\r\nUpload-Metadata: filetype aW1hZ2UvcG5n\r\n");
    assert_eq!(client::request(gateway.addr(), "POST", &link, &typed, b"").await.code(), "upload_type");
    let place = place(&create(&gateway, &link, 100).await, &link);
    assert_eq!(patch(&gateway, &place, 0, &[b'x'; 60]).await.status, 204);
    assert_eq!(patch(&gateway, &place, 60, &[b'x'; 41]).await.code(), "upload_too_large");
    assert_eq!(patch(&gateway, &place, 60, &[b'x'; 40]).await.status, 204);
    assert_eq!(files.lock().expect("no panics inside").len(), 1);
}

#[tokio::test]
async fn a_cut_on_the_way_is_resumed_where_the_origin_is() {
    let (origin, files) = server("path");
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1 }));
    let link = link(&gateway, "/make", 60, json!({}));
    let place = place(&create(&gateway, &link, 100).await, &link);
    let fields = format!("{TUS}Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n");
    let raw = begin(&gateway, "PATCH", &place, &fields, (100, b"some")).await;
    origin.wait("the beginning", |origin| origin.last().body_length == 4).await;
    drop(raw);
    origin.wait("the cut", |origin| origin.open() == 0 || !origin.last().whole).await;
    assert_eq!(head(&gateway, &place).await.field("upload-offset"), Some("0"));
    assert_eq!(patch(&gateway, &place, 0, &[b'x'; 100]).await.status, 204);
    assert_eq!(files.lock().expect("no panics inside").values().next().expect("a file").1.len(), 100);
    assert_eq!(gateway.metric("sessions_active"), 0.0);
}

#[tokio::test]
async fn what_a_server_can_do_is_told_to_those_who_may_upload() {
    let origin = Origin::start(|seen| {
        assert_eq!(seen.method, "OPTIONS");
        Reply::new(204, "").with("Tus-Version", "1.0.0").with("Tus-Extension", "creation").with("Tus-Max-Size", "5")
    });
    let gateway = gateway(&origin.url, json!({}));
    let link = link(&gateway, "/make", 60, json!({}));
    let told = client::request(gateway.addr(), "OPTIONS", &link, "", b"").await;
    assert_eq!((told.field("tus-extension"), told.field("tus-max-size")), (Some("creation"), Some("5")));
    assert_eq!(client::request(gateway.addr(), "OPTIONS", "/make", "", b"").await.status, 204);
    let fields = "Origin: https://a.example\r\nAccess-Control-Request-Method: PATCH\r\n";
    assert_eq!(client::request(gateway.addr(), "OPTIONS", &link, fields, b"").await.field("tus-version"), None, "a preflight is ours");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_live_recording_holds_its_place_until_it_says_goodbye() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "POST" => Reply::new(201, "answer").with("Location", "/whip/1").with("ETag", "\"x\""),
        _ => Reply::new(200, ""),
    });
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "content_types": ["video/*"] }));
    let link = link(&gateway, "/whip", 60, json!({}));
    let offer = async || client::request(gateway.addr(), "POST", &link, "Content-Type: application/sdp\r\n", b"offer").await;
    let first = offer().await;
    assert_eq!((first.status, first.field("etag")), (201, Some("\"x\"")));
    assert_eq!(offer().await.code(), "session_concurrent_token");
    let goodbye = client::request(gateway.addr(), "DELETE", &place(&first, &link), "", b"").await;
    assert_eq!(goodbye.status, 200);
    assert_eq!(offer().await.status, 201);
}

#[tokio::test]
async fn ranges_by_put_are_one_upload() {
    let (seen_last, total) = ("bytes 4-7/8", 8);
    let origin = Origin::start(move |seen| match seen.field("content-range") {
        Some(range) if range == seen_last => Reply::new(200, ""),
        _ => Reply::new(308, "").with("Range", "bytes=0-3"),
    });
    let gateway = gateway(&origin.url, json!({ "concurrent_per_token": 1, "max_bytes": total }));
    let link = link(&gateway, "/u", 60, json!({}));
    let put = async |path: &str, range: &str, content: &[u8]| {
        let fields = format!("Content-Range: {range}\r\n");
        client::request(gateway.addr(), "PUT", &at(&link, path), &fields, content).await
    };
    assert_eq!(put("/u", "bytes 0-3/8", b"1234").await.status, 308);
    assert_eq!(put("/v", "bytes 0-3/8", b"1234").await.code(), "session_concurrent_token");
    assert_eq!(put("/u", "bytes 4-7/8", b"5678").await.status, 200);
    assert_eq!((gateway.metric("sessions_active"), gateway.metric("uploads_ended_total{result=\"whole\"")), (0.0, 1.0));
    assert_eq!(put("/v", "bytes 0-3/9", b"1234").await.code(), "upload_too_large");
}

/// A tus server that takes one access token, by its number; the next one when the first `PATCH` has come, if it is to be so.
fn guarded_server(takes: &Arc<AtomicUsize>, moves_on: bool) -> (Origin, Files) {
    let (files, takes) = (Files::default(), takes.clone());
    let kept = files.clone();
    let origin = Origin::start(move |seen| {
        if seen.field("authorization") != Some(&format!("Bearer {}", access(takes.load(Ordering::Acquire)))) {
            return Reply::new(401, "");
        }
        if moves_on && seen.method == "PATCH" {
            takes.store(2, Ordering::Release);
        }
        answer("path", &kept, seen)
    });
    (origin, files)
}

/// A gateway that puts the token server's tokens on what goes to the tus server.
fn with_tokens(server: &Origin, origin: &Origin) -> Gateway {
    let mut config = super::config(&origin.url, json!({ "concurrent_per_token": 1 }));
    config["routes"][0]["inject"] = json!([{ "credential": "key", "into": "bearer" }]);
    config["credentials"] = json!({ "key": {} });
    let mut config = fetched(&server.url, config);
    config["credentials"]["key"]["keep"]["wait"] = "1s".into();
    Gateway::start(config)
}

#[tokio::test]
async fn an_upload_waits_for_a_credential_that_is_not_there() {
    let (takes, down) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicBool::new(false)));
    let (origin, _) = guarded_server(&takes, false);
    let (answers, is_down) = (token_answers(), down.clone());
    let server = Origin::start(move |seen| if is_down.load(Ordering::Acquire) { Reply::new(503, "") } else { answers(seen) });
    let gateway = with_tokens(&server, &origin);
    let link = link(&gateway, "/make", 3600, json!({}));
    let place = place(&create(&gateway, &link, 100).await, &link);
    down.store(true, Ordering::Release);
    takes.store(2, Ordering::Release);
    for _ in 0..2 {
        let (asked, sent) = (head(&gateway, &place).await, patch(&gateway, &place, 0, b"x").await);
        assert_eq!((asked.status, asked.field("retry-after")), (423, Some("1")));
        assert_eq!((sent.status, sent.code().as_str()), (423, "upload_locked"));
    }
    let unknown = head(&gateway, &at(&link, "/store/files/9")).await;
    assert_eq!(unknown.status, 423, "one of before a restart may go on as well");
    assert_eq!(create(&gateway, &at(&link, "/make"), 100).await.code(), "session_concurrent_token");
}

#[test]
fn tus_js_client_waits_for_a_credential_that_is_renewed() {
    let (origin, files) = guarded_server(&Arc::new(AtomicUsize::new(1)), true);
    // The second token is not given at once.
    let (answers, asked) = (token_answers(), AtomicUsize::new(0));
    let server = Origin::start(move |seen| match asked.fetch_add(1, Ordering::AcqRel) {
        1 => Reply::new(503, ""),
        _ => answers(seen),
    });
    let gateway = with_tokens(&server, &origin);
    let token = link(&gateway, "/make", 3600, json!({}));
    let film = sdk::Film::new(700_000);
    let order = json!({
        "endpoint": format!("http://{}/make", gateway.addr()), "file": film.path(), "chunk": 262_144, "stopAfter": 262_144,
        "fields": { "Authorization": format!("Bearer {}", token.split_once("token=").expect("a token").1) }, "delays": vec![200; 20],
    });
    let Some(result) = sdk::run("tus.mjs", &order, &[]) else { return };
    assert_eq!(result["error"], serde_json::Value::Null, "{result:#}");
    let files = files.lock().expect("no panics inside");
    assert!(files.len() == 1 && files.values().all(|(_, came)| *came == film.bytes), "begun once: {result:#}");
    assert!(result["seen"].as_array().is_some_and(|seen| seen.contains(&json!("HEAD 423"))), "{result:#}");
}

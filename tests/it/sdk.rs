//! The clients that vendors publish, talking straight to the stand-ins: what they send is taken, and what they
//! do wrong is wrong here too. And through a gateway that puts the vendor's token in the place of its own.
//! (Scripts and pinned versions are in `tests/sdk`.)

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::Clock;
use tollgate::demo::apivideo::{Apivideo, Settings, Uploaded};
use tollgate::demo::vendor::Fault;

use crate::support::Gateway;
use crate::support::gateway::{NOW, key};
use crate::support::tls::Authority;
use crate::support::vendors::{Simulator, cloudflare, ziggeo};
use crate::tool;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/sdk-python");
const KEY: &str = "9VxMaPgsaFg7EBqmuspSzF7";
/// What the clients of api.video cut files into at least.
const PART: usize = 5 * 1024 * 1024;
/// Longest run of a client.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a script of `tests/sdk` with an order; `None` where its client is not here.
pub(crate) fn run(script: &str, order: &Value, environment: &[(&str, &Path)]) -> Option<Value> {
    let (program, installed) =
        if script.ends_with(".py") { ("python3", PathBuf::from(PYTHON)) } else { ("node", Path::new(FOLDER).join("node_modules")) };
    let missing = tool::find(program).is_none().then_some(program);
    if !tool::here("the vendors' clients", missing.or_else(|| (!installed.exists()).then_some("tests/sdk/node_modules or target/sdk"))) {
        return None;
    }
    let mut command = Command::new(program);
    command.arg(script).current_dir(FOLDER).env("PYTHONPATH", PYTHON).env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied());
    let ended = tool::run(&mut command, &order.to_string(), LIMIT);
    let result = serde_json::from_str(&ended.stdout);
    Some(result.unwrap_or_else(|_| panic!("{script}: {:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr)))
}

/// A file of so many bytes, no two parts of it alike.
pub(crate) struct Film {
    folder: tempfile::TempDir,
    pub(crate) bytes: Vec<u8>,
}

impl Film {
    pub(crate) fn new(length: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes: Vec<u8> = (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        std::fs::write(folder.path().join("film.mp4"), &bytes).expect("written");
        Self { folder, bytes }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("film.mp4")
    }

    /// The file cut into files.
    fn cut(&self, size: usize) -> Vec<PathBuf> {
        let write = |(number, bytes): (usize, &[u8])| {
            let path = self.folder.path().join(format!("part-{number}"));
            std::fs::write(&path, bytes).expect("written");
            path
        };
        self.bytes.chunks(size).enumerate().map(write).collect()
    }
}

fn apivideo() -> Simulator<Apivideo> {
    Simulator::plain(Apivideo::new(Settings::new(KEY)), &Clock::manual(NOW))
}

fn whole(uploads: &[Uploaded]) -> Vec<bool> {
    uploads.iter().map(|upload| upload.whole).collect()
}

#[test]
fn apivideo_for_node_keeps_tokens_and_uploads() {
    let (vendor, film) = (apivideo(), Film::new(300_000));
    let token = vendor.vendor().make_upload_token(0, NOW);
    let order = json!({ "base": vendor.url, "key": KEY, "token": token, "file": film.path() });
    let Some(result) = run("apivideo.mjs", &order, &[]) else { return };
    assert_eq!((&result["got"], &result["after"], &result["bearer"]), (&json!(3600), &json!(404), &json!("Bearer")), "{result:#}");
    assert_eq!(result["listed"], json!([result["made"], token]), "{result:#}");
    let uploads = vendor.vendor().uploads();
    assert_eq!((uploads.len(), result["video"].as_str()), (1, Some(uploads[0].video.as_str())), "{result:#}");
    assert!(uploads[0].whole && uploads[0].bytes == film.bytes && uploads[0].name == "film.mp4");
}

#[test]
fn apivideo_for_node_loses_the_video_between_parts_and_keeps_it_in_sessions() {
    let (vendor, film) = (apivideo(), Film::new(2 * PART + 1000));
    let token = vendor.vendor().make_upload_token(0, NOW);
    let order = json!({ "base": vendor.url, "token": token, "file": film.path(), "chunk": PART });
    let Some(result) = run("apivideo.mjs", &order, &[]) else { return };
    assert_eq!(whole(&vendor.vendor().uploads()), [false; 3], "{result:#}");
    let order = json!({ "base": vendor.url, "token": token, "progressive": film.cut(PART) });
    let result = run("apivideo.mjs", &order, &[]).expect("it is here");
    let uploads = vendor.vendor().uploads();
    assert_eq!(whole(&uploads), [false, false, false, true], "{result:#}");
    assert!(uploads[3].bytes == film.bytes);
    let order = json!({ "base": vendor.url, "key": KEY, "file": film.path(), "chunk": PART });
    let result = run("apivideo.mjs", &order, &[]).expect("it is here");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 5 && uploads[4].whole && uploads[4].bytes == film.bytes, "{result:#}");
}

#[test]
fn apivideo_for_node_reads_refusals() {
    let (vendor, film) = (apivideo(), Film::new(1000));
    let order = json!({ "base": vendor.url, "token": "toNone", "file": film.path() });
    let Some(result) = run("apivideo.mjs", &order, &[]) else { return };
    assert_eq!((&result["error"]["code"], vendor.vendor().uploads().len()), (&json!(401), 0), "{result:#}");
    assert!(
        result["error"]["problem"]["type"].as_str().is_some_and(|kind| kind.ends_with("/authentication-invalid-upload-token")),
        "{result:#}"
    );
    vendor.fail("POST /upload", 1, Fault::Status(429));
    let token = vendor.vendor().make_upload_token(0, NOW);
    let result = run("apivideo.mjs", &json!({ "base": vendor.url, "token": token, "file": film.path() }), &[]).expect("it is here");
    assert_eq!(result["error"]["code"], 429, "{result:#}");
}

#[test]
fn apivideo_for_python_signs_in_and_uploads() {
    let (vendor, film) = (apivideo(), Film::new(PART + 1000));
    let token = vendor.vendor().make_upload_token(0, NOW);
    let order = json!({ "base": vendor.url, "key": KEY, "token": token, "file": film.path() });
    let Some(result) = run("video.py", &order, &[]) else { return };
    assert_eq!((&result["listed"], &result["refreshed"]), (&json!([result["made"], token]), &json!([token])), "{result:#}");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].whole && uploads[0].bytes == film.bytes, "{result:#}");
    let order = json!({ "base": vendor.url, "token": token, "file": film.path(), "chunk": PART });
    let result = run("video.py", &order, &[]).expect("it is here");
    assert_eq!(whole(&vendor.vendor().uploads()), [true, false, false], "{result:#}");
}

#[test]
fn apivideo_for_python_reads_bad_credentials() {
    let vendor = apivideo();
    let Some(result) = run("video.py", &json!({ "base": vendor.url, "key": "wrong" }), &[]) else { return };
    assert_eq!(result["error"]["status"], 400, "{result:#}");
}

#[test]
fn cloudflare_for_python_keeps_keys_and_uploads_once() {
    let film = Film::new(100_000);
    let vendor = Simulator::plain(cloudflare::Cloudflare::new(), &Clock::System);
    vendor.vendor().at(&vendor.url);
    let base = format!("{}/client/v4", vendor.url);
    let order = json!({ "base": base, "account": cloudflare::ACCOUNT, "token": cloudflare::API_TOKEN, "file": film.path() });
    let Some(result) = run("stream.py", &order, &[]) else { return };
    assert_eq!(
        (&result["keys"], &result["revoked"], &result["uses"]),
        (&json!([result["key"]]), &json!("Revoked"), &json!([200, 409])),
        "{result:#}"
    );
    assert!(result["token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{result:#}");
    assert!(vendor.vendor().uploads()[0].1.bytes == film.bytes && vendor.vendor().keys().is_empty());
    let refused = run("stream.py", &json!({ "base": base, "account": cloudflare::ACCOUNT, "token": "x", "file": film.path() }), &[]);
    assert_eq!(refused.expect("it is here")["error"]["status"], 403);
}

/// One upload in chunks whose first one breaks off, with what the next `HEAD` is answered.
fn tus(head: u16, stop_after: usize) -> Option<(Film, Simulator<cloudflare::Cloudflare>, Value)> {
    let film = Film::new(2 * PART + 1000);
    let vendor = Simulator::plain(cloudflare::Cloudflare::new(), &Clock::System);
    vendor.vendor().at(&vendor.url);
    let endpoint = format!("{}/client/v4/accounts/{}/stream", vendor.url, cloudflare::ACCOUNT);
    let fields = json!({ "Authorization": format!("Bearer {}", cloudflare::API_TOKEN) });
    let order = json!({ "endpoint": endpoint, "fields": fields, "file": film.path(), "chunk": PART, "stopAfter": stop_after });
    vendor.fail("PATCH /upload", 1, Fault::CutBody(1_000_000));
    vendor.fail("HEAD /upload", 1, Fault::Status(head));
    let result = run("tus.mjs", &order, &[])?;
    Some((film, vendor, result))
}

#[test]
fn tus_goes_on_after_a_break_a_lock_and_a_stop() {
    let Some((film, vendor, result)) = tus(423, PART) else { return };
    assert_eq!(result["error"], Value::Null, "{result:#}");
    let uploads = vendor.vendor().uploads();
    assert!(uploads.len() == 1 && uploads[0].1.whole && uploads[0].1.bytes == film.bytes, "{result:#}");
    assert_eq!(result["media"].as_str(), Some(uploads[0].0.as_str()));
    assert!(result["seen"].as_array().is_some_and(|seen| seen.contains(&json!("HEAD 423"))), "{result:#}");
    // The client sends the API token to the host of uploads too.
    assert!(vendor.calls().iter().filter(|call| call.method == "PATCH").all(|call| call.field("authorization").is_some()));
}

/// The reason why a gateway must answer nothing but 423 to the `HEAD` of an upload it cannot reach for now.
#[test]
fn tus_begins_anew_when_a_head_is_answered_503() {
    let Some((film, vendor, result)) = tus(503, 0) else { return };
    let uploads: Vec<usize> = vendor.vendor().uploads().iter().map(|(_, upload)| upload.bytes.len()).collect();
    assert_eq!(uploads, [1_000_000, film.bytes.len()], "{result:#}");
}

#[test]
fn ziggeo_for_python_keeps_tokens_and_uploads_in_three_steps() {
    let film = Film::new(100_000);
    let authority = Authority::new();
    let vendor = Simulator::secure(ziggeo::Ziggeo::default(), &Clock::System, &authority);
    vendor.vendor().at(&vendor.url);
    let (application, private, encryption) = ziggeo::APPLICATION;
    let order =
        json!({ "base": vendor.url, "application": application, "private": private, "encryption": encryption, "file": film.path() });
    let Some(result) = run("recorder.py", &order, &[("SSL_CERT_FILE", &authority.ca_file())]) else { return };
    assert_eq!((&result["made"]["volatile"], &result["updated"]["session_limit"]), (&json!(true), &json!(5)), "{result:#}");
    assert_eq!(
        (&result["got"]["grants"]["create"]["session_owned"], &result["after"]["code"]),
        (&json!(true), &json!("404")),
        "{result:#}"
    );
    assert!(vendor.vendor().tokens().is_empty(), "{result:#}");
    let videos = vendor.vendor().videos();
    assert!(videos.len() == 1 && videos[0].confirmed && videos[0].file.as_ref() == Some(&film.bytes), "{result:#}");
    let client = result["client"].as_str().expect("a token");
    let claims = tollgate::token::ziggeo::Cipher::new(encryption).expect("a cipher").open(client).expect("one of ours");
    assert_eq!(claims["application_token"], application);
    let mut refused = order;
    refused["private"] = "wrong".into();
    let refused = run("recorder.py", &refused, &[("SSL_CERT_FILE", &authority.ca_file())]).expect("it is here");
    assert_eq!(refused["made"]["code"], "401");
}

/// A gateway before the stand-in: its own token in, an upload token of the vendor out. The folder holds the API key.
fn recorder_gateway(vendor: &Simulator<Apivideo>) -> (Gateway, crate::rig::Folder) {
    let folder = crate::rig::Folder::new();
    let file = folder.file("api-key", KEY);
    let gateway = Gateway::start(json!({
        "keys": { "viewer": { "inline": key(tollgate::keygen::Kind::Ed25519) } },
        "schemes": { "viewer": { "type": "jwt", "keys": "viewer" } },
        "credentials": { "recorder": { "type": "apivideo", "base_url": vendor.url, "api_key_file": file } },
        "origins": { "api": { "endpoints": [vendor.url] } },
        "routes": [{
            "name": "upload", "path": "/upload", "methods": ["POST"], "accept": ["viewer"], "origin": "api",
            "inject": [{ "credential": "recorder", "into": "query", "name": "token" }],
        }],
    }));
    (gateway, folder)
}

#[test]
fn apivideo_clients_upload_through_a_gateway_with_a_token_they_never_see() {
    let (vendor, film) = (apivideo(), Film::new(300_000));
    let (gateway, _folder) = recorder_gateway(&vendor);
    let token = gateway.sign("viewer", "/upload").token;
    let base = format!("http://{}", gateway.addr());
    let order = json!({ "base": base, "token": token, "file": film.path() });
    let mut uploads = 0;
    for script in ["apivideo.mjs", "video.py"] {
        let Some(result) = run(script, &order, &[]) else { return };
        uploads += 1;
        let came = vendor.vendor().uploads();
        assert!(came.len() == uploads && came[uploads - 1].whole && came[uploads - 1].bytes == film.bytes, "{result:#}");
        let injected = came[uploads - 1].token.clone().expect("an upload token");
        assert_eq!(vendor.vendor().upload_tokens(), std::slice::from_ref(&injected), "one token serves both");
        assert!(!result.to_string().contains(&injected), "{result:#}");
    }
    assert!(vendor.calls().iter().all(|call| !call.target.to_string().contains(&token)), "the caller's token stays here");
    let refused = run("apivideo.mjs", &json!({ "base": base, "token": "toNone", "file": film.path() }), &[]).expect("it is here");
    assert!(refused["error"].is_object() && vendor.vendor().uploads().len() == uploads, "{refused:#}");
}

//! The vendors' own SDKs, unmodified, against a running gateway: made, listed, used, taken back, refused.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ADMIN, APP, CLOUDFLARE, ENCRYPTION, Rig};
use crate::tool;

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/sdk-python");

/// Whether Node and its SDKs are here.
pub(crate) fn node_is_here() -> bool {
    let packages = Path::new(FOLDER).join("node_modules/cloudflare").exists();
    let missing = tool::find("node").is_none().then_some("node").or_else(|| (!packages).then_some("tests/sdk/node_modules"));
    tool::here("SDKs for Node", missing)
}

/// Whether Python and its SDKs are here.
pub(crate) fn python_is_here() -> bool {
    let packages = Path::new(PYTHON).join("cloudflare").exists();
    let missing = tool::find("python3").is_none().then_some("python3").or_else(|| (!packages).then_some("target/sdk-python"));
    tool::here("SDKs for Python", missing)
}

/// Node with nothing of our environment, in the folder that has the SDKs.
pub(crate) fn node(script: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(script).current_dir(FOLDER).env("NODE_PATH", Path::new(FOLDER).join("node_modules"));
    command
}

/// Python with the SDKs.
pub(crate) fn python(script: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg(script).env("PYTHONPATH", PYTHON).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A small file to upload.
pub(crate) fn media(folder: &Path) -> PathBuf {
    let file = folder.join("small.mp4");
    std::fs::write(&file, vec![7; 2048]).expect("written");
    file
}

fn said(command: &mut Command, rig: &Rig) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let order = json!({
        "control": format!("http://{}", rig.control),
        "data": format!("http://{}", rig.data),
        "key": ADMIN, "account": CLOUDFLARE, "app": APP, "encryption": ENCRYPTION,
        "file": media(folder.path()),
    });
    let ended = tool::run(command, &order.to_string(), Duration::from_secs(120));
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr))
}

/// What `said` has of `wanted`, field by field, so that a failure names the field.
fn same(said: &Value, wanted: Value) {
    for (name, value) in wanted.as_object().expect("a table") {
        assert_eq!(&said[name], value, "{name} in {said:#}");
    }
}

#[test]
fn sdks_for_node_work_unmodified() {
    if !node_is_here() {
        return;
    }
    let rig = Rig::live();
    let said = said(&mut node(&Path::new(FOLDER).join("flow.mjs")), &rig);
    same(
        &said["apivideo"],
        json!({
            "access": ["accessToken", "expiresIn", "refreshToken", "tokenType"],
            "created": [{ "ttl": 300, "ends": true, "id": "to" }, { "ttl": 0, "ends": false, "id": "to" }, { "ttl": 100, "ends": true, "id": "to" }],
            "listed": [100, 300], "pages": 2, "got": 0, "uploaded": "vi4k0jvEUuaTdRAEjQ4Jfrgz", "played": [200, 404],
            "live": "/private/TOKEN/li4pqNqGUkhKfWcBGpZVLRY5.m3u8",
        }),
    );
    let title = |name: &str| (said["apivideo"][name]["code"].clone(), said["apivideo"][name]["title"].clone());
    assert_eq!(title("refused"), (json!(401), json!("The upload token is invalid or expired.")), "{said:#}");
    assert_eq!(title("missing"), (json!(404), json!("The requested resource was not found.")));
    assert_eq!(title("bad"), (json!(400), json!("An attribute is invalid.")));
    assert_eq!(title("wrong"), (json!(401), json!("The API key is invalid.")));
    same(
        &said["ziggeo"],
        json!({
            "created": { "length": 32, "limit": 2, "volatile": true, "grants": { "read": { "all": true } } },
            "got": true, "played": 200, "updated": 5, "refused": 401, "missing": "404: Not found", "client": [200, 403],
        }),
    );
    same(
        &said["cloudflare"],
        json!({
            "minted": 200, "key": [32, "-----BEGIN RSA PRIVATE KEY-----", true], "listed": [true], "played": 200,
            "edited": [true, ["example.com"]], "elsewhere": 403, "deleted": "Revoked", "refused": [401, 200], "classic": "string",
        }),
    );
    assert_eq!((&said["cloudflare"]["long"]["code"], &said["cloudflare"]["wrong"]["code"]), (&json!(400), &json!(401)), "{said:#}");
}

#[test]
fn sdks_for_python_work_unmodified() {
    if !python_is_here() {
        return;
    }
    let rig = Rig::live();
    let said = said(&mut python(&Path::new(FOLDER).join("flow.py")), &rig);
    same(
        &said["apivideo"],
        json!({
            "created": [{ "ttl": 300, "ends": true, "id": "to" }, { "ttl": 0, "ends": false, "id": "to" }, { "ttl": 100, "ends": true, "id": "to" }],
            "listed": [100, 300], "pages": 2, "got": 0, "uploaded": "vi4k0jvEUuaTdRAEjQ4Jfrgz", "played": [200, 404],
            "live": "/private/TOKEN/li4pqNqGUkhKfWcBGpZVLRY5.m3u8",
        }),
    );
    let status = |name: &str| said["apivideo"][name]["status"].clone();
    assert_eq!((status("refused"), status("missing"), status("wrong")), (json!(401), json!(404), json!(400)), "{said:#}");
    same(
        &said["ziggeo"],
        json!({
            "created": { "length": 32, "limit": 2, "volatile": true, "grants": { "read": { "all": true } } },
            "dumped": { "read": { "all": true } }, "got": true, "played": 200, "updated": 5, "deleted": "{}", "refused": 401,
            "missing": { "code": "404", "msg": "Not Found" }, "client": [200, 403],
        }),
    );
    same(
        &said["cloudflare"],
        json!({
            "minted": 200, "key": [32, "-----BEGIN RSA PRIVATE KEY-----"], "listed": [true], "played": 200, "deleted": "Revoked", "refused": [401, 200],
            "long": { "name": "BadRequestError", "status": 400 }, "wrong": { "name": "AuthenticationError", "status": 401 },
        }),
    );
}

const README: &str = include_str!("../../../README.md");

/// The snippets of "Point your SDK at it": the language, and the code.
fn snippets() -> Vec<(&'static str, String)> {
    let section = README.split("\n## Point your SDK at it\n").nth(1).expect("the section").split("\n## ").next().unwrap_or_default();
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, code)| (language.trim(), code.to_owned()))
        .filter(|(l, _)| ["js", "python"].contains(l))
        .collect()
}

#[test]
fn snippets_of_the_readme_work() {
    let rig = Rig::live();
    let folder = tempfile::tempdir().expect("a folder");
    let file = media(folder.path());
    let all = snippets();
    assert_eq!(all.len(), 6, "one a vendor and language");
    for (index, (language, code)) in all.into_iter().enumerate() {
        if !(if language == "js" { node_is_here() } else { python_is_here() }) {
            continue;
        }
        let code = code
            .replace("https://tokens.example.com", &format!("http://{}", rig.control))
            .replace("https://media.example.com", &format!("http://{}", rig.data))
            .replace("API_KEY", ADMIN)
            .replace("APPLICATION_TOKEN", APP)
            .replace("ENCRYPTION_KEY", ENCRYPTION)
            .replace("ACCOUNT_ID", CLOUDFLARE)
            .replace("holiday.mp4", file.to_str().expect("UTF-8"));
        let script = folder.path().join(format!("snippet{index}.{}", if language == "js" { "cjs" } else { "py" }));
        std::fs::write(&script, &code).expect("written");
        let mut command = if language == "js" { node(&script) } else { python(&script) };
        let ended = tool::run(&mut command, "", Duration::from_secs(60));
        let last = ended.stdout.lines().last().unwrap_or_default().to_owned();
        assert!(ended.well() && !last.is_empty(), "{code}\n{:?}\n{}\n{}", ended.status, ended.stdout, ended.stderr);
        // What the Ziggeo and Cloudflare snippets print opens media; those of api.video have uploaded.
        if let Some(target) = last.strip_prefix(&format!("http://{}", rig.data)) {
            assert_eq!(rig.play("GET", target).status, 200, "{last}");
        } else {
            assert_eq!(last, "vi4k0jvEUuaTdRAEjQ4Jfrgz", "{code}");
        }
    }
}

//! The command line as operators use it: the program itself, its output and its exit codes.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use tollgate::demo::origin;

use crate::loopback::Loopback;
use crate::rig::{self, Folder, Process};
use crate::tool::Ended;

/// A config around a shared secret, on ports of the system's choice.
fn config(origin: &str) -> String {
    format!(
        r#"
[server]
listeners = [{{ address = "127.0.0.1:0" }}]
[admin]
address = "127.0.0.1:0"
[keys.main]
secret = "a-shared-secret-of-thirty-two-bytes-and-more"
[schemes.viewer]
type = "jwt"
keys = "main"
carriers = [{{ path_prefix = "t=" }}, {{ query = "token" }}]
claims = {{ countries = "countries" }}
[origins.media]
endpoints = ["{origin}"]
[[routes]]
name = "vod"
hosts = ["video.example.com"]
path = "/vod"
accept = ["viewer"]
origin = "media"
"#
    )
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("tollgate.toml", &config("http://127.0.0.1:9"));
    folder
}

fn code(ended: &Ended) -> Option<i32> {
    ended.status.and_then(|status| status.code())
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|fault| panic!("{fault}: {ended:?}"))
}

fn sign(folder: &Folder, url: &str, arguments: &[&str]) -> String {
    let ended = rig::run(&[&["sign", url], arguments].concat(), folder.path());
    assert!(ended.well(), "{ended:?}");
    ended.stdout.lines().next().expect("a line").to_owned()
}

#[test]
fn check_says_what_it_found() {
    let folder = folder();
    let good = rig::run(&["check"], folder.path());
    assert_eq!((code(&good), good.stdout.trim()), (Some(0), "ok: 1 routes, 1 schemes, 1 origins"), "{good:?}");
    let good = rig::run(&["check", "--output", "json"], folder.path());
    assert_eq!((code(&good), &json(&good)["ok"]), (Some(0), &true.into()));

    folder.file("bad.toml", &config("http://127.0.0.1:9").replace("accept", "acept"));
    let bad = rig::run(&["check", "--config", "bad.toml"], folder.path());
    assert_eq!(code(&bad), Some(1));
    assert!(bad.stdout.is_empty() && bad.stderr.contains("bad.toml:") && bad.stderr.contains("did you mean `accept`?"), "{bad:?}");
    let bad = rig::run(&["check", "--config", "bad.toml", "--output", "json"], folder.path());
    assert_eq!((code(&bad), &json(&bad)["ok"]), (Some(1), &false.into()));
    assert!(!json(&bad)["faults"].as_array().expect("a list").is_empty());
    assert_eq!(code(&rig::run(&["check", "--no-such-flag"], folder.path())), Some(2));
}

#[test]
fn check_finds_what_only_use_would_show() {
    let folder = folder();
    folder.file("bad.toml", &config("http://127.0.0.1:9").replace("a-shared-secret-of-thirty-two-bytes-and-more", "short"));
    let bad = rig::run(&["check", "--config", "bad.toml"], folder.path());
    assert_eq!(code(&bad), Some(1));
    assert!(bad.stderr.contains("32 bytes") && !bad.stderr.contains("\"short\""), "{bad:?}");
}

#[test]
fn what_is_signed_is_explained_as_allowed() {
    let folder = folder();
    for carrier in ["t=", "token="] {
        if carrier == "token=" {
            let other = config("http://127.0.0.1:9").replace(r#"{ path_prefix = "t=" }, "#, "");
            folder.file("tollgate.toml", &other);
        }
        let url = sign(&folder, "https://video.example.com/vod/master.m3u8", &["--subject", "viewer-7", "--expires-in", "10m"]);
        assert!(url.starts_with("https://video.example.com/vod/") && url.contains(carrier), "{url}");
        let answer = rig::run(&["explain", &url], folder.path());
        assert_eq!(code(&answer), Some(0), "{answer:?}");
        let answer = json(&answer);
        let parts = [&answer["decision"], &answer["route"], &answer["scheme"], &answer["grant"]["subject"], &answer["upstream_path"]];
        assert_eq!(parts, ["allow", "vod", "viewer", "viewer-7", "/vod/master.m3u8"], "{answer:#}");
    }
}

#[test]
fn the_scheme_that_matched_is_in_log_metric_and_explain() {
    let (media, folder) = (Loopback::origin(), Folder::new());
    let second = "[schemes.partner]\ntype = \"akamai-edgeauth\"\nkeys = \"main\"\n[origins.media]";
    let both =
        config(&media.base).replace("[origins.media]", second).replace("accept = [\"viewer\"]", "accept = [\"viewer\", \"partner\"]");
    let file = folder.file("tollgate.toml", &both.replace("path = \"/vod\"\n", "").replace("hosts = [\"video.example.com\"]\n", ""));
    let gateway = Process::serve(&file, &[]);
    let base = format!("http://{}{}", gateway.addresses()[0], origin::HLS);
    for (times, scheme, kind) in [(1, "viewer", "jwt"), (2, "partner", "akamai-edgeauth")] {
        let url = sign(&folder, &base, &["--scheme", scheme]);
        assert_eq!(rig::get_url(&url).status, 200, "{url}");
        gateway.wait_for_times("\"message\":\"request\"", times);
        let line = gateway.logged("request").pop().expect("a line");
        assert_eq!((&line["scheme"], &line["status"]), (&scheme.into(), &200.into()), "{line}");
        let metrics = rig::get(gateway.admin(), "/metrics").body;
        let series = format!("tollgate_token_validations_total{{result=\"ok\",route=\"vod\",scheme=\"{scheme}\"}} 1");
        assert!(metrics.contains(&series), "{series}");
        let said = json(&rig::run(&["explain", &url], folder.path()));
        assert_eq!((&said["scheme"], &said["scheme_type"]), (&scheme.into(), &kind.into()), "{said:#}");
    }
}

#[test]
fn explain_says_why_not() {
    let folder = folder();
    let late = sign(&folder, "https://video.example.com/vod/a", &["--expires", "1000", "--now", "1"]);
    let abroad = sign(&folder, "https://video.example.com/vod/a", &["--claim", "countries=[\"FR\"]"]);
    let cases: [(&[&str], &str, &str); 8] = [
        (&[&late], "token_expired", "vod"),
        (&[&late, "--now", "999"], "", "vod"),
        (&[&abroad, "--country", "DE"], "token_country", "vod"),
        (&[&abroad, "--country", "FR"], "", "vod"),
        (&["https://video.example.com/vod/a"], "token_missing", "vod"),
        (&["https://video.example.com/vod/%2e%2e/a"], "bad_path", ""),
        (&["https://video.example.com/live/a"], "route_not_found", ""),
        (&["https://video.example.com/vod/a", "-X", "DELETE"], "method_not_allowed", "vod"),
    ];
    for (arguments, denial, route) in cases {
        let ended = rig::run(&[&["explain"], arguments].concat(), folder.path());
        let answer = json(&ended);
        let found = (answer["denial"]["code"].as_str().unwrap_or(""), answer["route"].as_str().unwrap_or(""));
        assert_eq!((code(&ended), found), (Some(0), (denial, route)), "{arguments:?}: {answer:#}");
        let decision = if denial.is_empty() { "allow" } else { "deny" };
        assert_eq!(answer["decision"], decision, "{answer:#}");
    }
    let line = rig::run(&["explain", &late, "--output", "text"], folder.path()).stdout;
    assert_eq!(line.trim(), "deny: route vod, token_expired (expired), status 403");
}

/// A link that is bound to nobody is not handed out where one was asked for that is.
#[test]
fn what_a_scheme_cannot_say_is_not_signed() {
    let folder = Folder::new();
    let schemes = r#"
[schemes.cat]
type = "cta-5007"
keys = "main"
[schemes.key]
type = "digest-url"
keys = "main"
preset = "keycdn"
[schemes.endless]
type = "digest-url"
keys = "main"
preset = "nginx-secure-link-secret"
[origins.media]"#;
    folder.file("tollgate.toml", &config("http://127.0.0.1:9").replace("[origins.media]", schemes));
    let cases: [(&str, &[&str], &str); 7] = [
        ("cat", &["--client-ip", "198.51.100.7"], "client_ip"),
        ("cat", &["--subject", "ann", "--not-before", "5"], ""),
        ("key", &["--scope", "/vod/"], "scope"),
        ("key", &["--subject", "ann"], "subject"),
        ("key", &["--country", "SE"], "country"),
        ("endless", &[], "expires"),
        ("endless", &["--forever"], ""),
    ];
    for (scheme, arguments, field) in cases {
        let ended = rig::run(&[&["sign", "https://video.example.com/vod/a", "--scheme", scheme], arguments].concat(), folder.path());
        if field.is_empty() {
            assert!(ended.well() && ended.stdout.starts_with("https://video.example.com/"), "{scheme} {arguments:?}: {ended:?}");
        } else {
            let says = format!("the scheme has no words for `{field}`");
            let refused = code(&ended) == Some(1) && ended.stdout.is_empty() && ended.stderr.contains(&says);
            assert!(refused, "{scheme} {arguments:?}: {ended:?}");
        }
    }
}

/// The gateway holds the ledger's file, so that what is in it cannot be known beside the gateway, and is not guessed.
#[test]
fn what_is_in_the_ledger_is_left_to_the_gateway() {
    let folder = Folder::new();
    let more = r#"
[ledger]
folder = "ledger"
[keys.made]
ledger = "acme"
[schemes.made]
type = "jwt"
keys = "made"
[schemes.uploads]
type = "apivideo-upload"
[[routes]]
name = "upload"
path = "/upload"
methods = ["POST"]
accept = ["uploads"]
origin = "media"
[[routes]]
name = "made"
path = "/made"
accept = ["made"]
origin = "media"
"#;
    folder.file("tollgate.toml", &format!("{}{more}", config("http://127.0.0.1:9")));
    for (scheme, says) in [("made", "POST /v1/tokens"), ("uploads", "the control listener issues them")] {
        let ended = rig::run(&["sign", "https://video.example.com/made/a", "--scheme", scheme], folder.path());
        assert!(code(&ended) == Some(1) && ended.stderr.contains(says) && ended.stderr.contains("ledger"), "{scheme}: {ended:?}");
    }
    let asked: [(&[&str], &str); 3] = [
        (&["https://video.example.com/upload?token=to1", "-X", "POST"], "what was issued by the scheme \"uploads\" is in the ledger"),
        (&["https://video.example.com/made/a?token=a.b.c"], "the key set \"made\" of the scheme \"made\" is in the ledger"),
        (&["https://video.example.com/vod/a"], ""),
    ];
    for (arguments, says) in asked {
        let answer = json(&rig::run(&[&["explain"], arguments].concat(), folder.path()));
        let notes: Vec<&str> = answer["notes"].as_array().expect("notes").iter().filter_map(Value::as_str).collect();
        assert_eq!(notes.len(), usize::from(!says.is_empty()), "{answer:#}");
        assert!(notes.iter().all(|note| note.starts_with(says) && note.contains("POST /v1/explain")), "{answer:#}");
    }
    assert!(!folder.path().join("ledger").exists(), "nothing was opened, nothing was made");
}

#[test]
fn generated_keys_are_private_and_never_written_over() {
    let folder = Folder::new();
    for kind in ["ed25519", "p-256", "p-384", "rsa-2048", "hmac-256", "hmac-512"] {
        let made = rig::run(&["keys", "generate", kind, "--out", kind, "--output", "json"], folder.path());
        let answer = json(&made);
        let files = answer["files"].as_array().expect("a list");
        assert!(!files.is_empty());
        for file in files.iter().filter_map(Value::as_str) {
            let mode = std::fs::metadata(folder.path().join(file)).expect("written").permissions().mode() & 0o777;
            assert_eq!(mode, if file.contains(".public.") { 0o644 } else { 0o600 }, "{file}");
        }
    }
    let named = ["keys", "generate", "--out", "named", "--name", "viewers"];
    assert!(rig::run(&named, folder.path()).well());
    let before = std::fs::read_to_string(folder.path().join("named/viewers.pem")).expect("written");
    assert_eq!(code(&rig::run(&named, folder.path())), Some(1), "the name is taken");
    assert_eq!(std::fs::read_to_string(folder.path().join("named/viewers.pem")).expect("there"), before);
    assert_eq!(code(&rig::run(&["keys", "generate", "--out", "named", "--name", "../viewers"], folder.path())), Some(2));
    folder.file("taken", "a file");
    let refused = rig::run(&["keys", "generate", "--out", "taken"], folder.path());
    assert_eq!(code(&refused), Some(1), "{refused:?}");
    assert_eq!(std::fs::read_to_string(folder.path().join("taken")).expect("there"), "a file");
    let printed = json(&rig::run(&["keys", "generate", "hmac-256", "--output", "json"], folder.path()));
    assert!(printed["public_jwk"].is_null() && printed["jwk"]["k"].is_string(), "the kinds of {printed}");
}

#[test]
fn generated_keys_can_be_used_at_once() {
    let folder = Folder::new();
    for kind in ["ed25519", "p-256", "rsa-2048", "hmac-256"] {
        let made = json(&rig::run(&["keys", "generate", kind, "--out", kind, "--output", "json"], folder.path()));
        let file = made["files"][0].as_str().expect("a file");
        let text = config("http://127.0.0.1:9")
            .replace("secret = \"a-shared-secret-of-thirty-two-bytes-and-more\"", &format!("file = \"{file}\""));
        folder.file("tollgate.toml", &text);
        let url = sign(&folder, "https://video.example.com/vod/a", &[]);
        let answer = json(&rig::run(&["explain", &url], folder.path()));
        assert_eq!((&answer["decision"], &answer["grant"]["key_id"]), (&"allow".into(), &made["kid"]), "{kind}: {answer:#}");
    }
}

#[test]
fn conformance_judges_a_folder_by_its_exit_code() {
    let folder = Folder::new();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vectors");
    let passed = rig::run(&["conformance", vectors], folder.path());
    assert_eq!(code(&passed), Some(0), "{passed:?}");
    let passed = json(&rig::run(&["conformance", vectors, "--output", "json"], folder.path()));
    assert_eq!(passed["passed"], true);

    let text = std::fs::read_to_string(format!("{vectors}/mux.json")).expect("vectors");
    folder.file("wrong/mux.json", &text.replacen("\"expected\": \"allow\"", "\"expected\": \"deny\"", 1));
    let failed = rig::run(&["conformance", "wrong"], folder.path());
    assert_eq!(code(&failed), Some(1), "{failed:?}");
    folder.file("broken/mux.json", "{");
    assert_eq!(code(&rig::run(&["conformance", "broken"], folder.path())), Some(1));
    assert_eq!(code(&rig::run(&["conformance", "nowhere"], folder.path())), Some(1));
}

#[test]
fn what_describes_the_program_is_well_formed() {
    let folder = Folder::new();
    let schema = json(&rig::run(&["config", "schema"], folder.path()));
    assert!(schema["properties"]["routes"].is_object(), "{schema:#}");
    for shell in ["bash", "zsh", "fish"] {
        let script = rig::run(&["completions", shell], folder.path());
        assert!(script.well() && script.stdout.contains("explain"), "{shell}");
    }
    let version = rig::run(&["--version"], folder.path());
    assert_eq!(version.stdout.trim(), concat!("tollgate ", env!("CARGO_PKG_VERSION")));
    assert_eq!(code(&rig::run(&["no-such-command"], folder.path())), Some(2));
    assert_eq!(code(&rig::run::<&str>(&[], folder.path())), Some(2));
}

#[test]
fn a_changed_config_is_taken_and_a_broken_one_is_not() {
    let media = Loopback::origin();
    let folder = Folder::new();
    let first = config(&media.base);
    let file = folder.file("tollgate.toml", &first);
    let gateway = Process::serve(&file, &[]);
    let (address, admin) = (gateway.addresses()[0], gateway.admin());
    assert_eq!(rig::get(address, origin::HLS).code(), "token_missing");
    assert_eq!(rig::get(admin, "/ready").status, 200);

    folder.file("tollgate.toml", &first.replace("accept = [\"viewer\"]", "public = true"));
    gateway.wait_for("config taken");
    assert_eq!(rig::get(address, origin::HLS).status, 200, "a changed file is taken");

    folder.file("tollgate.toml", &first.replace("accept", "acept"));
    gateway.wait_for("config not taken");
    assert_eq!(rig::get(address, origin::HLS).status, 200, "a broken one changes nothing");
    assert!(rig::get(admin, "/metrics").body.contains("tollgate_config_last_reload_successful 0"));
    assert_eq!(rig::get(admin, "/ready").status, 200);

    folder.file("tollgate.toml", &first);
    gateway.wait_for_times("config taken", 2);
    assert_eq!(rig::get(address, origin::HLS).code(), "token_missing");
    gateway.signal("HUP");
    gateway.wait_for_times("config taken", 3);
    assert!(gateway.said().contains("SIGHUP"));
    assert!(rig::get(admin, "/metrics").body.contains("tollgate_config_last_reload_successful 1"));
}

#[test]
fn a_stop_signal_drains_and_ends_well() {
    let media = Loopback::origin();
    let folder = Folder::new();
    let file = folder.file("tollgate.toml", &config(&media.base));
    for signal in ["TERM", "INT"] {
        let mut gateway = Process::serve(&file, &[]);
        assert_eq!(rig::get(gateway.addresses()[0], origin::HLS).status, 401);
        gateway.signal(signal);
        assert_eq!(gateway.ended(), Some(0), "{}", gateway.said());
        gateway.wait_for("stopped");
    }
}

#[test]
fn while_it_leaves_it_serves_and_says_that_it_is_not_ready() {
    let folder = folder();
    let mut gateway = Process::serve(&folder.path().join("tollgate.toml"), &["--set", "server.drain_delay=1h"]);
    gateway.signal("TERM");
    gateway.wait_for("\"stopping\"");
    // The line comes first, the flag right after it.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let ready = || rig::get(gateway.admin(), "/ready");
    while ready().status == 200 && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert_eq!((ready().status, ready().body.trim()), (503, "not ready: draining"));
    assert_eq!(rig::get(gateway.addresses()[0], origin::HLS).code(), "token_missing");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0), "a second signal ends the wait: {}", gateway.said());
}

#[test]
fn serve_does_not_start_on_what_it_cannot_serve() {
    let folder = folder();
    let refused = rig::run(&["serve", "--set", "admin.address=nowhere"], folder.path());
    assert_eq!(code(&refused), Some(1), "{refused:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("admin.address={}", taken.local_addr().expect("bound"));
    let refused = rig::run(&["serve", "--set", &address], folder.path());
    assert_eq!(code(&refused), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("admin.address"), "{refused:?}");
}

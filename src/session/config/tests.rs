//! What routes say of sessions: what opens one, what makes no sense, where keys come from.

use http::Method;

use super::*;

fn read(text: &str) -> Result<RouteSessionConfig, String> {
    toml::from_str(text).map_err(|fault| fault.to_string())
}

#[test]
fn entries_open_sessions_and_probes_do_not() {
    let config = read("probes.paths = [\"/**/storyboard*\"]").expect("config");
    for (method, path, opens) in [
        (Method::GET, "/v/master.m3u8", true),
        (Method::GET, "/v/MASTER.M3U8", true),
        (Method::GET, "/v/manifest.mpd", true),
        (Method::GET, "/v/film.mp4", true),
        (Method::HEAD, "/v/film.mp4", false),
        (Method::GET, "/v/seg1.m4s", false),
        (Method::GET, "/v/seg1.ts", false),
        (Method::GET, "/v/poster.jpg", false),
        (Method::GET, "/v/en.vtt", false),
        (Method::GET, "/v/1.key", false),
        (Method::GET, "/v/storyboard.m3u8", false),
        (Method::GET, "/v.m3u8/segment", false),
        (Method::GET, "/m3u8", false),
    ] {
        assert_eq!(config.opens(&method, path), opens, "{method} {path}");
    }
    let all = read("entries = [\"*\"]").expect("config");
    assert!(all.opens(&Method::POST, "/upload") && !all.opens(&Method::HEAD, "/upload") && !all.opens(&Method::GET, "/a.jpg"));
}

#[test]
fn what_makes_no_sense_is_named() {
    for (text, key) in [
        ("parameter = \"a b\"", "parameter"),
        ("parameter = \"\"", "parameter"),
        ("cookie = { same_site = \"none\", secure = false }", "cookie"),
        ("ticket_hosts = [\"https://a.example\"]", "ticket_hosts"),
        ("entries = [\".m3u8\"]", "entries"),
        ("entries = [\"m3*\"]", "entries"),
        ("probes.methods = [\"A B\"]", "probes"),
        ("probes.paths = [\"thumbs\"]", "probes"),
        ("idle_timeout = \"0s\"", "idle_timeout"),
        ("max_duration = \"500ms\"", "max_duration"),
    ] {
        assert_eq!(read(text).expect("read").faults().first().map(|fault| fault.0), Some(key), "{text}");
    }
    assert!(RouteSessionConfig::default().faults().is_empty());
    assert!(read("ticket_hosts = [\"*.example.com\", \"cdn.example.net:8443\"]").expect("read").faults().is_empty());
}

#[test]
fn refusals_are_403_or_429() {
    assert_eq!(read("refusal_status = 429").expect("read").refusal_status, RefusalStatus::TooMany);
    assert_eq!(u16::from(RefusalStatus::default()), 403);
    assert!(read("refusal_status = 404").is_err() && read("refusal = 403").is_err());
}

#[test]
fn stores_are_told_apart() {
    let store = |text: &str| toml::from_str::<SessionsConfig>(text).map(|config| config.store);
    assert!(matches!(store("store = \"memory\""), Ok(StoreConfig::Memory)) && matches!(store(""), Ok(StoreConfig::Memory)));
    let valkey = store("[store.valkey]\nurl = \"rediss://a:6379\"\ncluster = true");
    assert!(matches!(valkey, Ok(StoreConfig::Valkey(config)) if config.cluster && config.prefix == "tollgate:"));
    assert!(store("[store.valkey]\nurl = \"redis://a\"\nsentinel = true").is_err());
}

#[test]
fn ticket_keys_come_from_one_place() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("ticket.key");
    std::fs::write(&file, format!("{}\n", "f".repeat(32))).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
    }
    let key = |secret_file: Option<&std::path::Path>, secret_env: Option<&str>, secret: Option<&str>| TicketKeyConfig {
        secret_file: secret_file.map(Into::into),
        secret_env: secret_env.map(Into::into),
        secret: secret.map(|text| Secret::new(text.to_owned())),
    };
    let long = "s".repeat(32);
    let variable = |name: &str| (name == "SET").then(|| "e".repeat(40));
    let secrets = |keys: Vec<TicketKeyConfig>| {
        let config = SessionsConfig { ticket_keys: keys, ..SessionsConfig::default() };
        config.ticket_secrets(&variable).map(|all| all.iter().map(|key| key.expose().len()).collect::<Vec<_>>())
    };
    assert_eq!(
        secrets(vec![key(Some(&file), None, None), key(None, Some("SET"), None), key(None, None, Some(&long))]),
        Ok(vec![32, 40, 32])
    );
    assert_eq!(secrets(vec![]), Ok(vec![]));
    for bad in [
        key(None, None, None),
        key(Some(&file), None, Some(&long)),
        key(None, Some("UNSET"), None),
        key(None, None, Some("canary")),
        key(Some(&folder.path().join("none")), None, None),
    ] {
        let fault = secrets(vec![bad]).expect_err("a fault");
        assert!(fault.starts_with("sessions.ticket_keys[0]: ") && !fault.contains("canary"), "{fault}");
    }
}

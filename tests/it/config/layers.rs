//! Defaults, files, environment and flags, each over the last.

use super::{Folder, GOOD, load_toml, load_with, pairs};
use tollgate::config::{Sources, load};
use tollgate::units::Size;

#[test]
fn the_higher_source_wins() {
    let file = format!("{GOOD}\n[server.limits]\nmax_head = \"1KiB\"\nmax_headers = 1\nmax_h2_streams = 1\n");
    let env = [("TOLLGATE_SERVER__LIMITS__MAX_HEADERS", "2"), ("TOLLGATE_SERVER__LIMITS__MAX_H2_STREAMS", "2")];
    let loaded = load_with("gw.toml", &file, &env, &[("server.limits.max_h2_streams", "3")]).expect("loads");
    let limits = loaded.config.server.limits;
    assert_eq!(limits.max_connections, 10_000, "default");
    assert_eq!(limits.max_head, Size::kib(1), "file over default");
    assert_eq!(limits.max_headers, 2, "environment over file");
    assert_eq!(limits.max_h2_streams, 3, "flag over environment");
}

#[test]
fn later_files_win_in_any_format() {
    let folder = Folder::new();
    let files = vec![
        folder.file("a.toml", GOOD),
        folder.file("b.yaml", "server:\n  workers: 2\n  limits: {max_headers: 7}\n"),
        folder.file("c.json", "{\"server\": {\"workers\": 3,\n\t\"drain_delay\": \"5s\"}}"),
    ];
    let loaded = load(&Sources { files, ..Sources::default() }).expect("loads");
    assert_eq!(loaded.config.server.workers, 3);
    assert_eq!(loaded.config.server.limits.max_headers, 7);
    assert_eq!(loaded.config.routes.len(), 1);
}

#[test]
fn variables_reach_lists_names_and_defaults() {
    let env = [
        ("TOLLGATE_ROUTES__0__PATH", "/v"),
        ("TOLLGATE_ROUTES__0__CORS__MAX_AGE", "5m"),
        ("TOLLGATE_ROUTES__1__NAME", "more"),
        ("TOLLGATE_ROUTES__1__ORIGIN", "media"),
        ("TOLLGATE_ROUTES__1__PUBLIC", "true"),
        ("TOLLGATE_SERVER__LISTENERS__0__ADDRESS", "0.0.0.0:80"),
        ("TOLLGATE_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
        ("TOLLGATE_KEYS__MAIN__SECRET", "12345"),
        ("TOLLGATE_KEYS__OTHER__SECRET", "x"),
        ("TOLLGATE_ORIGINS__MEDIA__ENDPOINTS", "[\"http://a\", \"http://b\"]"),
        ("TOLLGATE_SERVICE_HOST", "10.1.2.3"),
        ("TOLLGATE_PORT_8080_TCP_ADDR", "10.1.2.3"),
        ("TOLLGATE_CONFIG", "/etc/tollgate"),
        ("HOME", "/root"),
    ];
    let config = load_with("gw.toml", GOOD, &env, &[]).expect("loads").config;
    assert_eq!(config.routes[0].path, "/v");
    assert_eq!(config.routes[0].accept[0].as_str(), "player", "what the file says of the entry stays");
    assert_eq!(config.routes[1].name.as_str(), "more");
    assert_eq!(config.server.listeners[0].address.to_string(), "0.0.0.0:80", "the default's entry");
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.origins["media"].endpoints, ["http://a", "http://b"]);
    assert_eq!(config.keys["main"].secret.as_ref().expect("secret").expose(), "12345", "text stays text");
    assert!(config.keys.contains_key("other"), "new names are lower case");
}

#[test]
fn names_are_found_whatever_their_case() {
    let file = GOOD.replace("[origins.media]", "[origins.Media-1]").replace("origin = \"media\"", "origin = \"Media-1\"");
    let config = load_with("gw.toml", &file, &[("TOLLGATE_ORIGINS__MEDIA_1__RETRIES", "0")], &[]).expect("loads").config;
    assert_eq!(config.origins["Media-1"].retries, 0);
}

#[test]
fn nothing_at_all_is_the_defaults() {
    let loaded = load(&Sources::default()).expect("loads");
    assert_eq!(loaded.config.server.listeners.len(), 1);
    assert!(loaded.warnings.to_string().contains("no route"));
}

#[test]
fn relative_files_start_at_the_file_that_names_them() {
    let folder = Folder::new();
    let file = GOOD.replace("secret = \"canary-in-the-keys\"", "file = \"keys/a.pem\"");
    let files = vec![folder.file("conf/gw.toml", &file), folder.file("more/b.yaml", "verifier:\n  geoip_file: g.mmdb\n")];
    let loaded = load(&Sources { files, env: pairs(&[]), flags: pairs(&[]) }).expect("loads");
    let root = folder.0.path();
    assert_eq!(loaded.config.keys["main"].file.as_deref(), Some(root.join("conf/keys/a.pem").as_path()));
    assert_eq!(loaded.config.verifier.geoip_file.as_deref(), Some(root.join("more/g.mmdb").as_path()));
    assert_eq!(loaded.base, root.join("conf"));
    assert_eq!(loaded.watched_files().len(), 4);
}

#[test]
fn yaml_and_toml_say_the_same() {
    let yaml = "
keys: {main: {secret: canary-in-the-keys}}
schemes: {player: {type: jwt, keys: main}}
origins:
  media: {endpoints: [\"http://127.0.0.1:3000\"]}
routes:
  - {name: media, accept: [player], origin: media}
";
    let yaml = load_with("gw.yaml", yaml, &[], &[]).expect("loads").config;
    let toml = load_toml(GOOD).expect("loads").config;
    assert_eq!(format!("{yaml:?}"), format!("{toml:?}"));
}

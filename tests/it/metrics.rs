//! Metrics as a scrape gives them: well-formed, bounded, and the ones that alerts and the README speak of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use tollgate::app::Gateway;
use tollgate::demo::origin;

use crate::loopback::Loopback;
use crate::rig::{self, Folder, ask, get};
use crate::tool;

/// A gateway in which every family has a series.
pub(crate) struct Scraped {
    gateway: Gateway,
    _origin: Loopback,
    _folder: Folder,
}

impl Scraped {
    pub(crate) fn new() -> Self {
        let (origin, folder) = (Loopback::origin(), Folder::new());
        crate::media::certificate(&folder);
        let tls = json!({ "certificates": [{ "cert_file": folder.path().join("cert.pem"), "key_file": folder.path().join("key.pem") }] });
        let gateway = rig::gateway(json!({
            "server": {
                "listeners": [{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tls": tls }],
                "limits": { "refusal_burst": 1000 },
                "workers": 1,
            },
            "admin": { "address": "127.0.0.1:0" },
            "log": { "access": { "enabled": false } },
            "keys": {
                "main": { "secret": "a-shared-secret-of-thirty-two-bytes-and-more" },
                // Nobody listens there: a set that cannot be fetched.
                "remote": { "url": "http://127.0.0.1:9/jwks.json" },
            },
            "credentials": {
                "fixed": { "type": "static", "secret": "canary" },
                "partner": { "type": "oauth2", "token_url": "http://127.0.0.1:9/token", "client_id": "gateway", "secret": "canary" },
            },
            "schemes": { "viewer": { "type": "jwt", "keys": "main", "carriers": [{ "path_prefix": "t=" }, { "query": "token" }] } },
            "origins": { "media": { "endpoints": [origin.base] }, "down": { "endpoints": ["http://127.0.0.1:9"] } },
            "routes": [
                { "name": "vod", "hosts": ["video.example.com"], "accept": ["viewer"], "origin": "media" },
                { "name": "open", "hosts": ["video.example.com"], "path": "/vod", "public": true, "origin": "media" },
                { "name": "down", "hosts": ["video.example.com"], "path": "/down", "public": true, "origin": "down" },
                { "name": "shadow", "hosts": ["video.example.com"], "path": "/shadow", "accept": ["viewer"], "mode": "shadow", "origin": "media" },
                { "name": "watch", "hosts": ["video.example.com"], "path": "/watch", "accept": ["viewer"], "mode": "dual", "compare": ["viewer"],
                  "origin": "media", "session": {} },
                { "name": "record", "hosts": ["video.example.com"], "path": "/record", "methods": ["POST"], "accept": ["viewer"], "origin": "media", "upload": {} },
            ],
        }));
        let scraped = Self { gateway, _origin: origin, _folder: folder };
        for (target, status) in [(origin::HLS, 200), ("/down/a", 502), ("/a?token=x", 401), ("/a", 401)] {
            assert_eq!(get(scraped.address(), target).status, status, "{target}");
        }
        scraped
    }

    fn address(&self) -> SocketAddr {
        self.gateway.addresses[0]
    }

    /// The page as Prometheus gets it.
    pub(crate) fn page(&self) -> String {
        let answer = get(self.gateway.admin.expect("an admin listener"), "/metrics");
        assert_eq!((answer.status, answer.field("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
        answer.body
    }
}

/// Families by name: kind, help, labels of its own (without `le`).
pub(crate) fn families(page: &str) -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let mut found: BTreeMap<String, (String, String, BTreeSet<String>)> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().1 = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, labels) = parse_series(series);
            let family =
                ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end)).filter(|name| found.contains_key(*name));
            let entry = found.entry(family.unwrap_or(&name).to_owned()).or_default();
            entry.2.extend(labels.into_keys().filter(|label| label != "le"));
        }
    }
    found
}

/// `name{label="value",…}` taken apart.
fn parse_series(series: &str) -> (String, BTreeMap<String, String>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
    (name.to_owned(), pairs.map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned())).collect())
}

#[test]
fn promtool_finds_nothing_wrong() {
    let page = Scraped::new().page();
    if !tool::here("checking metrics", tool::find("promtool").is_none().then_some("promtool")) {
        return;
    }
    let ended = tool::run(Command::new("promtool").args(["check", "metrics"]), &page, Duration::from_secs(30));
    assert!(ended.well(), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn every_family_has_a_series_and_a_help_text() {
    let page = Scraped::new().page();
    let all = families(&page);
    assert!(all.len() > 30, "{all:#?}");
    for (name, (kind, help, _)) in &all {
        assert!(!kind.is_empty() && !help.is_empty(), "{name}");
        assert!(name.starts_with("tollgate_") || name.starts_with("process_"), "{name}");
    }
    // As the code makes them, so that a family without a series cannot hide from this file and the README.
    let made = regex::Regex::new(r#"make\.\w+\(\s*"(\w+)""#).expect("a pattern");
    let made = made.captures_iter(include_str!("../../src/metrics.rs")).map(|one| format!("tollgate_{}", &one[1]));
    let hidden: Vec<String> = made.filter(|name| !all.contains_key(name)).collect();
    assert!(hidden.is_empty(), "made, and without a series: {hidden:?}");
}

/// Metric selectors of an expression: name and matchers as (label, whether it is `=`, value).
fn selectors(expression: &str) -> Vec<(String, Vec<(String, bool, String)>)> {
    let name = regex::Regex::new(r#"\btollgate_\w+(\{[^}]*\})?"#).expect("a pattern");
    let matcher = regex::Regex::new(r#"(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)""#).expect("a pattern");
    let of = |text: &str| {
        let found = matcher.captures_iter(text);
        found.map(|one| (one[1].to_owned(), &one[2] == "=" || &one[2] == "!=", one[3].to_owned())).collect()
    };
    name.find_iter(expression).map(|found| (found.as_str().split('{').next().unwrap_or("").to_owned(), of(found.as_str()))).collect()
}

#[test]
fn alerts_speak_of_series_that_there_are() {
    let page = Scraped::new().page();
    let series: Vec<_> =
        page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).map(|(s, _)| parse_series(s)).collect();
    let text = include_str!("../../deploy/prometheus/alerts.yaml");
    let alerts: Value = serde_saphyr::from_str(text).expect("YAML");
    let rules = alerts["groups"].as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    let grouping = regex::Regex::new(r"\bby \(([^)]*)\)").expect("a pattern");
    let mut seen = 0;
    for rule in rules {
        let expression = rule["expr"].as_str().expect("an expression");
        let selected = selectors(expression);
        let mut known: BTreeSet<&str> = ["job", "instance", "le"].into();
        for (name, matchers) in &selected {
            seen += 1;
            let of: Vec<_> = series.iter().filter(|(series, _)| series == name).collect();
            assert!(!of.is_empty(), "no series {name}: {expression}");
            known.extend(of.iter().flat_map(|(_, labels)| labels.keys().map(String::as_str)));
            for (label, exact, value) in matchers {
                let values: BTreeSet<_> = of.iter().filter_map(|(_, labels)| labels.get(label)).collect();
                assert!(!values.is_empty(), "{name} has no label {label}: {expression}");
                assert!(!exact || values.contains(value), "{name} never has {label}=\"{value}\": {expression}");
            }
        }
        let labels =
            grouping.captures_iter(expression).flat_map(|by| by[1].split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>());
        labels.filter(|_| !selected.is_empty()).for_each(|label| assert!(known.contains(label.as_str()), "no label {label}: {expression}"));
    }
    assert!(seen > 10);
    let families = families(&page);
    for name in regex::Regex::new(r"\btollgate_\w+").expect("a pattern").find_iter(text) {
        let name = name.as_str().trim_end_matches("_bucket");
        assert!(families.contains_key(name), "a text of the alerts speaks of {name}");
    }
}

/// Series without the values of labels that come from closed lists.
fn shapes(page: &str) -> BTreeSet<String> {
    let shape = |series: &str| {
        let (name, mut labels) = parse_series(series);
        labels.remove("code");
        if let Some(method) = labels.remove("method") {
            assert!(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"].contains(&method.as_str()), "{method}");
        }
        format!("{name} {labels:?}")
    };
    page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| shape(series)).collect()
}

#[test]
fn callers_cannot_make_series() {
    let scraped = Scraped::new();
    for method in ["GET", "HEAD", "PUT", "BREW", "CONNECT"] {
        ask(scraped.address(), method, "/warm", "");
        ask(scraped.address(), method, "/vod/warm", "");
        let foreign = format!("{method} / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n");
        rig::send(scraped.address(), foreign.as_bytes());
    }
    let before = shapes(&scraped.page());
    let mut random = fastrand::Rng::with_seed(7);
    let mut word = || (0..random.usize(1..24)).map(|_| random.alphanumeric()).collect::<String>();
    for round in 0..2000 {
        let (a, b, c, method) = (word(), word(), word(), word().to_ascii_uppercase());
        let method = if round % 3 == 0 { method.as_str() } else { "GET" };
        let host = if round % 4 == 0 { format!("{a}.example") } else { "video.example.com".to_owned() };
        let target = match round % 5 {
            0 => format!("/t={a}.{b}.{c}/{a}"),
            1 => format!("/{a}?token={b}.{c}.{a}"),
            2 => format!("/vod/{a}.m4s"),
            3 => format!("/{a}/../{b}"),
            _ => format!("/{a}/{b}?{c}={a}"),
        };
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {c}\r\nUser-Agent: {a}\r\nConnection: close\r\n\r\n");
        assert!(rig::send(scraped.address(), request.as_bytes()).is_some(), "{request}");
    }
    let page = scraped.page();
    let after = shapes(&page);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(page.lines().count() < 1000, "{} lines", page.lines().count());
}

//! The README, held against the product: its tables say what the code says, its first steps work as written.

use std::collections::BTreeSet;

use serde_json::Value;

use tollgate::config::Config;
use tollgate::demo::origin;
use tollgate::proxy::error::catalogue;

use crate::loopback::Loopback;
use crate::metrics::{Scraped, families};
use crate::rig::{self, Folder, Process};

const README: &str = include_str!("../../README.md");

/// What stands under a heading, up to the next one of its kind.
fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section \"{heading}\""));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The content of the first block of this language.
fn block(text: &'static str, language: &str) -> &'static str {
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no block of {language}"));
    rest.split_once("```").map_or(rest, |(inside, _)| inside)
}

/// The lines of the section's table without its head.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()).collect()
}

fn assert_rows(heading: &str, expected: &[String]) {
    let have: BTreeSet<&str> = section(heading).lines().filter(|line| line.starts_with("| `")).collect();
    let want: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let missing: Vec<_> = expected.iter().filter(|row| !have.contains(row.as_str())).map(String::as_str).collect();
    let wrong: Vec<_> = have.difference(&want).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "under \"{heading}\" are missing:\n{}\nand wrong: {wrong:#?}", missing.join("\n"));
}

#[test]
fn every_refusal_has_its_row() {
    let rows: Vec<String> = catalogue().into_iter().map(|(code, status, title)| format!("| `{code}` | {status} | {title} |")).collect();
    assert_rows("Refusals", &rows);
}

#[test]
fn every_metric_has_its_row() {
    let all = families(&Scraped::new().page());
    let ours = all.iter().filter(|(name, _)| name.starts_with("tollgate_"));
    let row = |(name, (kind, help, labels)): (&String, &(String, String, BTreeSet<String>))| {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{name}` | {kind} | {labels} | {help} |")
    };
    assert_rows("Metrics", &ours.map(row).collect::<Vec<_>>());
}

#[test]
fn every_limit_has_its_row_and_its_default() {
    let config = Config::default();
    let origin: tollgate::proxy::origin::OriginConfig =
        serde_json::from_value(serde_json::json!({ "endpoints": ["http://127.0.0.1:3000"] })).expect("an origin");
    let tables = [
        ("server.limits", serde_json::to_value(&config.server.limits)),
        ("server", serde_json::to_value(&config.server)),
        ("origins.NAME", serde_json::to_value(&origin)),
        ("verifier", serde_json::to_value(&config.verifier)),
    ];
    let mut wanted = BTreeSet::new();
    for (table, value) in tables {
        for (key, value) in value.expect("a table").as_object().expect("a table") {
            let limit =
                matches!(value, Value::Number(_)) || value.as_str().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()));
            if limit && key != "workers" {
                let kib = |bytes: u64| format!("{}KiB", bytes / 1024);
                let text = match value {
                    Value::String(text) => text.clone(),
                    size if ["max_head", "max_uri"].contains(&key.as_str()) => kib(size.as_u64().expect("bytes")),
                    other => other.to_string(),
                };
                wanted.insert(format!("{table}.{key} = {text}"));
            }
        }
    }
    let told = rows(section("Limits, and why")).into_iter().map(|row| format!("{} = {}", row[0], row[1])).collect();
    let told: BTreeSet<String> = told;
    let (missing, wrong): (Vec<_>, Vec<_>) = (wanted.difference(&told).collect(), told.difference(&wanted).collect());
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:#?}\nwrong: {wrong:#?}");
}

#[test]
fn every_session_option_has_its_row_and_its_default() {
    let config = serde_json::to_value(tollgate::session::RouteSessionConfig::default()).expect("a table");
    let mut wanted = BTreeSet::new();
    for (key, value) in config.as_object().expect("a table") {
        match value.as_object() {
            Some(table) => wanted.extend(table.iter().map(|(below, value)| format!("{key}.{below} = {}", in_words(value)))),
            None => _ = wanted.insert(format!("{key} = {}", in_words(value))),
        }
    }
    let (table, _) = section("One viewer is one viewer").split_once("\n\nA limit of").expect("the table's end");
    let told: BTreeSet<String> = rows(table).into_iter().map(|row| format!("{} = {}", row[0], row[1])).collect();
    let (missing, wrong): (Vec<_>, Vec<_>) = (wanted.difference(&told).collect(), told.difference(&wanted).collect());
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:#?}\nwrong: {wrong:#?}");
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(list) if list.is_empty() => "empty".to_owned(),
        Value::Array(list) => list.iter().map(in_words).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn the_first_steps_work_as_written() {
    let (media, folder) = (Loopback::origin(), Folder::new());
    let steps = section("Protect your own origin in five minutes");
    let config = block(steps, "toml");
    assert!(config.lines().count() <= 15, "longer than promised");
    let config = config.replace("http://127.0.0.1:3000", &media.base);
    let file = folder.file("tollgate.toml", &config);
    let commands: Vec<&str> = block(steps, "sh").lines().filter_map(|line| line.strip_prefix("tollgate ")).collect();
    let (serving, others): (Vec<&str>, Vec<&str>) = commands.iter().partition(|command| command.starts_with("serve"));
    assert_eq!((serving.len(), others.len()), (1, 2), "{commands:?}");
    for command in others {
        let ended = rig::run(&command.split_whitespace().collect::<Vec<_>>(), folder.path());
        assert!(ended.well(), "{command}: {ended:?}");
    }
    // Ports of our own; all else is as in the file.
    let gateway = Process::serve(&file, &["--set", "server.listeners.0.address=127.0.0.1:0", "--set", "admin.address=127.0.0.1:0"]);
    let base = format!("http://{}", gateway.addresses()[0]);
    let signed = rig::run(&["sign", &format!("{base}{}", origin::HLS)], folder.path());
    let url = signed.stdout.lines().next().expect("a URL");
    let answer = rig::get_url(url);
    assert_eq!((answer.status, answer.field("cache-control")), (200, "private, max-age=10"), "{answer:?}");
    assert!(answer.body.starts_with("#EXTM3U"));
    let bare = rig::get_url(&format!("{base}{}", origin::HLS));
    assert_eq!((bare.status, bare.code()), (401, "token_missing".to_owned()));
    // What explain says has the shape that the README shows.
    let said: Value = serde_json::from_str(&rig::run(&["explain", url, "--now", "4000000000"], folder.path()).stdout).expect("JSON");
    let shown: Value = serde_json::from_str(block(section("Command line"), "json")).expect("JSON");
    for (key, value) in shown.as_object().expect("a table") {
        let varies = ["now", "host"].contains(&key.as_str());
        assert!(said.get(key).is_some_and(|said| varies || said == value), "{key}: {shown:#}\n{said:#}");
    }
}

#[test]
fn every_scheme_room_and_command_is_named() {
    let schema = tollgate::config::schema::json_schema();
    let forms = schema["$defs"]["SchemeConfig"]["oneOf"].as_array().expect("one form a scheme");
    assert!(forms.len() > 2);
    for form in forms {
        let kind = form["properties"]["type"]["const"].as_str().expect("a word");
        let row = rows(section("Schemes")).into_iter().find(|row| row[0] == kind).unwrap_or_else(|| panic!("no row for `{kind}`"));
        // That it loads is asked of every example.
        let example = row.last().expect("an example").trim_matches('`');
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/").to_owned() + example;
        let example = std::fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{file}: {fault}"));
        assert!(example.contains(&format!("type = \"{kind}\"")), "{file} is no example of `{kind}`");
    }
    let kinds = schema["$defs"]["CredentialConfig"]["oneOf"].as_array().expect("one form a credential");
    for kind in kinds.iter().map(|form| form["properties"]["type"]["const"].as_str().expect("a word")) {
        assert!(section("Credentials").contains(&format!("| `{kind}` |")), "no row for the credential `{kind}`");
    }
    let rooms = include_str!("../../src/lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for room in rooms {
        assert!(section("The house").contains(&format!("`{room}`")), "the room {room} is not in the house");
    }
    let folder = Folder::new();
    let help = rig::run(&["--help"], folder.path()).stdout;
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help") {
        assert!(section("Command line").contains(&format!("`{command}")), "the command {command} is not named");
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    let links = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let (mut seen, root) = (0, std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
        assert!(root.join(link).exists(), "{link}");
        seen += 1;
    }
    assert!(seen > 5);
}

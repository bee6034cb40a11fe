//! The floor plan, held against the code: every file of `src/` imports floors below its own only.
//!
//! To add a room, give it a floor in [`FLOORS`]. An import that has to break a rule stands in
//! [`EXCEPTIONS`] with its reason; one that is no longer needed there fails as well.

use std::collections::BTreeSet;
use std::path::Path;

/// Rooms by floor, lowest first, and what else than `std` a floor may use (`None`: whatever `Cargo.toml` has).
const FLOORS: &[(&str, &[&str], Option<&[&str]>)] = &[
    ("ground", &["clock", "name", "path", "query", "secret", "units"], Some(GROUND)),
    ("token", &["token", "manifest", "form"], Some(TOKEN)),
    ("store", &["files", "store"], None),
    ("keepers", &["geo", "metrics", "verifier", "session", "upload", "credential", "ledger", "revocation", "keygen"], None),
    ("route", &["route"], None),
    ("proxy", &["proxy"], None),
    ("edges", &["server", "admin", "telemetry", "control"], None),
    ("config", &["config"], None),
    ("app", &["app", "demo"], None),
    ("command line", &["cli", "conformance", "main"], None),
];

const GROUND: &[&str] = &["serde", "thiserror", "zeroize", "schemars", "humantime", "bytesize", "aws_lc_rs"];

/// Beside the ground's: shapes of requests and tokens, crypto, and parsers. `arc_swap` is how a key set is replaced under a scheme.
const TOKEN: &[&str] = &[
    "serde",
    "thiserror",
    "zeroize",
    "schemars",
    "humantime",
    "bytesize",
    "aws_lc_rs",
    "serde_json",
    "http",
    "ipnet",
    "base64",
    "pem",
    "subtle",
    "regex",
    "ciborium",
    "arc_swap",
    "quick_xml",
    "flate2",
    "brotli",
    "bytes",
];

/// What rules must not reach for, so that they replay exactly: the clock, files, sockets, threads, the environment.
const IMPURE: &[&str] = &["SystemTime", "Instant", "std::fs", "std::net::Tcp", "std::net::Udp", "std::env", "std::thread", "std::process"];

/// (file, what it uses, why).
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("clock.rs", "SystemTime", "the one reader of the wall clock"),
    ("store/valkey/settings.rs", "rustls", "the store's client takes its crypto from the process, which has to be told"),
];

const LONGEST_FILE: usize = 600;

/// What a file breaks, one sentence each, without its name.
fn faults(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push("does not begin with `//!`".to_owned());
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("has {lines} lines; {LONGEST_FILE} are the most"));
    }
    if Path::new(file).file_name().is_some_and(|name| name == "mod.rs") {
        faults.push("is a mod.rs; a door is room.rs beside room/".to_owned());
    }
    let whole = code_of(text);
    if words(&whole).any(|(_, word)| word == "unsafe") {
        faults.push("uses `unsafe`".to_owned());
    }
    let Some(floor) = floor_of(room_of(file)) else {
        // The map names every room; that is its work.
        if file != "lib.rs" {
            faults.push(format!("is in the room `{}`, which is on no floor", room_of(file)));
        }
        return faults;
    };
    faults.extend(upward(file, floor, &whole));
    // Tests may use whatever they like to prove their point.
    let code =
        if file.ends_with("tests.rs") || file.contains("/tests/") || file.ends_with("testkit.rs") { "" } else { without_tests(&whole) };
    faults.extend(foreign(floor, code, crates));
    faults.extend(impure(floor, code));
    faults
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, rooms, _)| rooms.contains(&room))
}

/// Imports of rooms above, and of what lies inside a neighbour on the same floor.
fn upward(file: &str, floor: usize, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for path in crate_paths(file, code) {
        let mut steps = path.split("::");
        let Some(room) = steps.next() else { continue };
        match floor_of(room) {
            Some(other) if other > floor => {
                faults.push(format!("imports `crate::{path}`: the floor {} is above {}", FLOORS[other].0, FLOORS[floor].0));
            }
            Some(other) if other == floor && room != room_of(file) && is_inside(steps) => {
                faults.push(format!("imports `crate::{path}`: a neighbour is asked at its door, not inside"));
            }
            _ => {}
        }
    }
    faults
}

/// Whether the steps below a room lead through a module; those through a type (`Kind::Variant`) stay at the door.
fn is_inside<'p>(mut steps: impl Iterator<Item = &'p str>) -> bool {
    let through = steps.next().is_some_and(|step| step.starts_with(char::is_lowercase));
    through && steps.next().is_some()
}

/// Paths from the crate's root without `crate::`, groups taken apart; `super::` chains that climb to the root too.
fn crate_paths(file: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(is_word)) {
        take_tree(&code[at + "crate::".len()..], "", &mut found);
    }
    let depth = file.trim_end_matches(".rs").matches('/').count() + 1;
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with(|c| is_word(c) || c == ':')) {
        let mut rest = &code[at..];
        let mut climbed = 0;
        while let Some(shorter) = rest.strip_prefix("super::") {
            (rest, climbed) = (shorter, climbed + 1);
        }
        if climbed == depth {
            take_tree(rest, "", &mut found);
        }
    }
    found
}

/// The paths of a use tree that begins at `text`.
fn take_tree(text: &str, before: &str, found: &mut Vec<String>) {
    let joined = |step: &str| if before.is_empty() { step.to_owned() } else { format!("{before}::{step}") };
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        for branch in branches(group) {
            take_tree(branch, before, found);
        }
        return;
    }
    let step = &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())];
    match text[step.len()..].strip_prefix("::") {
        Some(rest) if !step.is_empty() && rest.starts_with(|c| is_word(c) || c == '{') => take_tree(rest, &joined(step), found),
        _ if step.is_empty() => {}
        _ => found.push(joined(step)),
    }
}

/// The branches of a group whose opening brace has been taken.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut all) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                all.push(&group[from..at]);
                return all;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    all
}

/// Crates that the floor may not use. The server side of hyper belongs to the edges and above.
fn foreign(floor: usize, code: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let keepers = floor_of("verifier").unwrap_or(0);
    let proxy = floor_of("proxy").unwrap_or(0);
    let named: BTreeSet<&str> = words(code)
        .filter(|(at, word)| code[at + word.len()..].starts_with("::") && !code[..*at].ends_with("::") && crates.contains(*word))
        .map(|(_, word)| word)
        .collect();
    let forbidden = |name: &&&str| match FLOORS[floor].2 {
        Some(allowed) => !allowed.contains(*name),
        None if floor <= keepers => {
            ["hyper", "hyper_util", "tower", "rustls", "tokio_rustls", "socket2", "figment", "clap"].contains(*name)
        }
        None => false,
    };
    let mut faults: Vec<String> = named
        .iter()
        .filter(forbidden)
        .map(|name| format!("uses the crate `{name}`, which the floor {} does without", FLOORS[floor].0))
        .collect();
    if floor <= proxy && code.contains("hyper::server") {
        faults.push("uses `hyper::server`, which belongs to the edges".to_owned());
    }
    faults
}

fn impure(floor: usize, code: &str) -> Vec<String> {
    let token = floor_of("token").unwrap_or(0);
    let mut faults = Vec::new();
    for word in IMPURE.iter().filter(|_| floor <= token) {
        let used = code.match_indices(word).any(|(at, _)| !code[..at].ends_with(is_word));
        if used {
            faults.push(format!("uses `{word}`: rules take the time and the world as arguments"));
        }
    }
    if floor > token && code.contains("SystemTime::now") {
        faults.push("uses `SystemTime::now`: clock.rs is the one reader of the wall clock".to_owned());
    }
    faults
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Words of the code with their places.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let from = rest + code[rest..].find(is_word)?;
        let to = code[from..].find(|c| !is_word(c)).map_or(code.len(), |length| from + length);
        rest = to;
        Some((from, &code[from..to]))
    })
}

/// The code up to its unit tests, which stand last.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |at| &code[..at])
}

/// The text without comments and without what stands in string and character literals.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_length(rest),
            'r' if !code.ends_with(is_word) => raw_string_length(rest),
            '\'' => char_length(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            rest = &rest[skipped..];
        }
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            _ => escaped = letter == '\\' && !escaped,
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, …; 0 when it is none.
fn raw_string_length(text: &str) -> usize {
    let marks = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + marks..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(marks));
    text[marks + 2..].find(&end).map_or(text.len(), |at| marks + 2 + at + end.len())
}

/// A character literal; 0 for a lifetime.
fn char_length(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 3),
        Some(_) => letters.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// The crates of `Cargo.toml`, as code names them.
fn crates() -> BTreeSet<String> {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("Cargo.toml");
    let names = |table: &str| manifest[table].as_table().into_iter().flat_map(|table| table.keys().map(|name| name.replace('-', "_")));
    names("dependencies").chain(names("dev-dependencies")).collect()
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn every_file_keeps_to_its_floor() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let (mut files, crates, mut broken) = (Vec::new(), crates(), Vec::new());
    sources(root, &mut files);
    let mut unused: BTreeSet<_> = EXCEPTIONS.iter().collect();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("UTF-8");
        let name = file.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        // A module that is declared and not written yet has nothing to be judged.
        for fault in faults(&name, &text, &crates).into_iter().filter(|_| !text.trim().is_empty()) {
            let excused = EXCEPTIONS.iter().find(|(file, what, _)| *file == name && fault.contains(&format!("`{what}`")));
            match excused {
                Some(exception) => _ = unused.remove(exception),
                None => broken.push(format!("src/{name} {fault}")),
            }
        }
    }
    assert!(files.len() > 100, "only {} files found", files.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(unused.is_empty(), "exceptions that nobody needs: {unused:?}");
}

#[test]
fn every_room_has_a_floor_and_every_listed_room_is_one() {
    let rooms = include_str!("../../src/lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let rooms: Vec<&str> = rooms.collect();
    assert!(rooms.len() > 15 && rooms.iter().all(|room| floor_of(room).is_some()), "{rooms:?}");
}

/// The faults of a made-up file, joined.
fn found(file: &str, code: &str) -> String {
    faults(file, &format!("//! Made up.\n\n{code}\n"), &crates()).join("; ")
}

#[test]
fn imports_from_above_are_found() {
    for (file, code) in [
        ("token/grant.rs", "use crate::verifier::Verifier;"),
        ("token/grant.rs", "use crate::{clock::UnixTime, verifier::{Verdict, Verifier}};"),
        ("token.rs", "fn f() { crate::proxy::walk(); }"),
        ("token.rs", "use super::proxy::Error;"),
        ("token/grant.rs", "use super::super::proxy::Error;"),
        ("proxy/door.rs", "use crate::server::worker::Shared;"),
        ("clock.rs", "#[cfg(test)]\nmod tests {\n use crate::token::Grant;\n}"),
        ("config.rs", "use crate::app::Gateway;"),
    ] {
        assert!(found(file, code).contains("is above"), "{file}: {code}: {}", found(file, code));
    }
    assert!(found("server.rs", "use crate::telemetry::access::AccessLog;").contains("at its door"));
}

#[test]
fn what_a_floor_does_without_is_found() {
    for (file, code, word) in [
        ("path.rs", "use regex::Regex;", "`regex`"),
        ("token/key.rs", "use tokio::sync::Mutex;", "`tokio`"),
        ("token/key.rs", "fn f() { tracing::info!(\"x\"); }", "`tracing`"),
        ("manifest/hls.rs", "let now = std::time::Instant::now();", "`Instant`"),
        ("token.rs", "use std::time::SystemTime;", "`SystemTime`"),
        ("token.rs", "let text = std::fs::read(path);", "`std::fs`"),
        ("verifier/keys.rs", "use tower::Service;", "`tower`"),
        ("verifier/jwks.rs", "use hyper::client::conn::http1;", "`hyper`"),
        ("proxy/forward.rs", "use hyper::server::conn::http1;", "`hyper::server`"),
        ("app.rs", "let now = SystemTime::now();", "`SystemTime::now`"),
        ("app.rs", "unsafe { f() }", "`unsafe`"),
        ("proxy/mod.rs", "", "mod.rs"),
        ("attic.rs", "", "no floor"),
    ] {
        assert!(found(file, code).contains(word), "{file}: {code}: {}", found(file, code));
    }
    assert!(faults("app.rs", "use std::fmt;\n", &crates()).join("").contains("//!"));
    assert!(found("app.rs", &"\n".repeat(LONGEST_FILE)).contains("lines"));
}

#[test]
fn what_is_allowed_is_let_be() {
    for (file, code) in [
        ("token/grant.rs", "use crate::clock::UnixTime; use super::Denial; use super::super::clock::Clock;"),
        ("token/key.rs", "use aws_lc_rs::hmac; // tokio::spawn and crate::app\nconst A: &str = \"crate::app unsafe\";"),
        ("query.rs", "use crate::path::percent_decode;\n#[cfg(test)]\nmod tests {\n use proptest::prelude::*;\n}"),
        ("path.rs", "const A: char = '\"'; const B: &str = r#\"use \"tokio::x\"\"#; fn f<'a>(a: &'a str) -> char { '\\'' }"),
        ("verifier.rs", "use crate::metrics::Metrics; use tokio::sync::watch; use std::time::Instant;"),
        ("revocation.rs", "use crate::session::Gone; fn f() { crate::session::Gone::Ended(1); crate::metrics::make(); }"),
        ("cli.rs", "use crate::conformance::run; use crate::app::Gateway;"),
        ("app.rs", "let at = std::time::Instant::now(); #[allow(unsafe_code)] fn f() {}"),
        ("manifest/text.rs", "use super::super::unknown;"),
        ("manifest/tests/oracles.rs", "use proptest::prelude::*;"),
    ] {
        assert_eq!(found(file, code), "", "{file}: {code}");
    }
}

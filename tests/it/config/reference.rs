//! `config/tollgate.toml` against the code, and the examples.
//!
//! A key that is in the code and not in the file fails with its path: add `#: key = value` (or
//! `key = value` where the table stands by default) with a comment. A new scheme needs one
//! `#: [schemes.NAME]` with its `type`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tollgate::config::{Config, Sources, load, load_checked, schema};
use tollgate::units::{Period, Size};

use super::Folder;

fn reference() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tollgate.toml")).expect("config/tollgate.toml")
}

/// The reference with the lines that are off switched on.
fn switched_on() -> String {
    reference().lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_loads_and_says_the_defaults() {
    let folder = Folder::new();
    let files = vec![folder.file("tollgate.toml", &reference())];
    let loaded = load(&Sources { files, ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}"));
    let defaults = load(&Sources::default()).expect("defaults").config;
    assert_eq!(format!("{:#?}", loaded.config), format!("{defaults:#?}"));
    assert_eq!(format!("{:#?}", loaded.config), format!("{:#?}", Config::default()));
}

#[test]
fn every_key_of_the_reference_is_a_key() {
    let folder = Folder::new();
    let files = vec![folder.file("tollgate.toml", &switched_on())];
    let Err(faults) = load(&Sources { files, ..Sources::default() }) else { return };
    // All ways to name keys and secrets at once are faults of rules; there is no other.
    let ways = ["keys come from one place", "may be set", "uses no key", "begins without a refresh token", "takes out before it signs"];
    let shape: Vec<_> = faults.0.iter().filter(|fault| !ways.iter().any(|way| fault.message.contains(way))).collect();
    assert!(shape.is_empty(), "{faults}");
}

#[test]
fn every_key_is_in_the_reference_with_its_default() {
    let schema = schema::json_schema();
    let tree: Value = toml::from_str(&switched_on()).expect("TOML");
    let mut cover = Cover { root: &schema, faults: Vec::new(), open: BTreeSet::new(), shared: BTreeSet::new() };
    cover.table(&schema, &[&tree], "");
    assert!(cover.faults.is_empty(), "config/tollgate.toml and the code differ:\n{}", cover.faults.join("\n"));
}

struct Cover<'s> {
    root: &'s Value,
    faults: Vec<String>,
    /// References being followed, so that a table within itself ends.
    open: BTreeSet<String>,
    /// Tables that all vendors share and that have been found once.
    shared: BTreeSet<&'s str>,
}

/// Tables that stand below every `[credentials.NAME]` and need to be told once.
const SHARED: [&str; 2] = ["#/$defs/KeepConfig", "#/$defs/EndpointConfig"];

impl<'s> Cover<'s> {
    fn table(&mut self, schema: &'s Value, found: &[&Value], path: &str) {
        if let Some(reference) = schema["$ref"].as_str() {
            if !self.open.insert(reference.to_owned()) {
                return;
            }
            let target = self.root.pointer(reference.trim_start_matches('#')).expect("reference");
            self.table(target, found, path);
            self.open.remove(reference);
            return;
        }
        for forms in ["anyOf", "oneOf"].iter().filter_map(|word| schema[*word].as_array()) {
            forms.iter().for_each(|form| self.form(form, found, path));
        }
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let values: Vec<&Value> = found.iter().filter_map(|table| table.get(key)).collect();
            let shared = below["$ref"].as_str().filter(|reference| SHARED.contains(reference));
            if values.is_empty() && shared.is_some_and(|reference| self.shared.contains(reference)) {
                continue;
            }
            self.shared.extend(shared.filter(|_| !values.is_empty()));
            if values.is_empty() {
                self.faults.push(format!("  {path}: not in the file"));
                continue;
            }
            self.default(below, &values, &path);
            self.table(below, &values, &path);
        }
        let named = schema["patternProperties"].as_object().and_then(|all| all.values().next());
        if let Some(below) = named.or_else(|| Some(&schema["additionalProperties"]).filter(|it| it.is_object())) {
            let values: Vec<&Value> = found.iter().filter_map(|table| table.as_object()).flat_map(|table| table.values()).collect();
            self.table(below, &values, &format!("{path}.NAME"));
        }
        if schema["items"].is_object() {
            let values: Vec<&Value> = found.iter().filter_map(|list| list.as_array()).flatten().collect();
            self.table(&schema["items"], &values, &format!("{path}[]"));
        }
    }

    /// One form of a union; of those told apart by a `type`, only the values of that type count.
    fn form(&mut self, form: &'s Value, found: &[&Value], path: &str) {
        let tag = form["properties"].as_object().and_then(|all| all.iter().find(|(_, it)| it["const"].is_string()));
        match tag {
            Some((key, it)) => {
                let values: Vec<&Value> = found.iter().filter(|value| value[key] == it["const"]).copied().collect();
                self.table(form, &values, &format!("{path}({key} = {})", it["const"]));
            }
            None => {
                let values: Vec<&Value> = found
                    .iter()
                    .filter(|value| value.is_object() == (form["type"] == "object" || form["$ref"].is_string()))
                    .copied()
                    .collect();
                if !values.is_empty() || form["$ref"].is_string() {
                    self.table(form, &values, path);
                }
            }
        }
    }

    fn default(&mut self, schema: &Value, values: &[&Value], path: &str) {
        let default = &schema["default"];
        let example = EXAMPLES.contains(&path);
        if default.is_null() || default.is_object() || example {
            return;
        }
        let list_of_tables = default.as_array().is_some_and(|list| list.iter().any(Value::is_object)) || path == "routes";
        for value in values.iter().filter(|_| !list_of_tables) {
            if self.plain(schema, value) != self.plain(schema, default) {
                self.faults.push(format!("  {path}: the file says {value}, the default is {default}"));
            }
        }
    }

    /// Durations and sizes by what they are, not by how they are written.
    fn plain(&self, schema: &Value, value: &Value) -> String {
        match schema["$ref"].as_str() {
            Some("#/$defs/Duration") => format!("{:?}", serde_json::from_value::<Period>(value.clone())),
            Some("#/$defs/Size") => format!("{:?}", serde_json::from_value::<Size>(value.clone())),
            _ => value.to_string(),
        }
    }
}

/// Keys whose line shows an example, though they have a default.
const EXAMPLES: [&str; 6] = [
    "credentials.NAME(type = \"cloudflare-stream\").access_rules",
    "routes[].accept",
    "routes[].answers.json",
    "routes[].compare",
    "routes[].inject",
    "schemes.NAME(type = \"rfc9246\").unsigned",
];

#[test]
fn every_example_loads_with_its_files() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples"));
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("examples") {
        let file = entry.expect("entry").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("name").to_owned();
        let home = Folder::new();
        let files: Vec<PathBuf> = vec![home.file(&name, &std::fs::read_to_string(&file).expect("read"))];
        let sources = Sources { files, ..Sources::default() };
        let first = load(&sources).unwrap_or_else(|faults| panic!("{name}\n{faults}"));
        for named in &first.named_files {
            let relative = named.file.strip_prefix(home.0.path()).expect("below the example's folder");
            if !named.path.to_string().ends_with("folder") {
                home.file(relative.to_str().expect("name"), "a stand-in");
            }
        }
        let loaded = load_checked(&sources, &|_, _| Vec::new()).unwrap_or_else(|faults| panic!("{name}\n{faults}"));
        assert!(loaded.warnings.0.is_empty(), "{name}\n{}", loaded.warnings);
        assert!(!loaded.config.routes.is_empty(), "{name}");
        seen.insert(name);
    }
    for job in [
        "minimal.toml",
        "minimal.yaml",
        "cloudflare-stream.toml",
        "cloudflare-upload.toml",
        "mux.toml",
        "jwt-jwks.toml",
        "tls-sni.toml",
        "behind-a-proxy.toml",
        "public-and-protected.toml",
        "sidecar.toml",
        "akamai-edgeauth.toml",
        "amazon-ivs.toml",
        "ats-access-control.toml",
        "ats-url-sig.toml",
        "aws-smd.toml",
        "bunny.toml",
        "cloudfront.toml",
        "cta-5007.toml",
        "digest-url.toml",
        "google-cloud-cdn.toml",
        "google-media-cdn.toml",
        "rfc9246.toml",
        "sessions.toml",
        "wowza.toml",
    ] {
        assert!(seen.contains(job), "config/examples/{job} is missing");
    }
    let minimal = std::fs::read_to_string(folder.join("minimal.toml")).expect("minimal.toml");
    assert!(minimal.lines().filter(|line| !line.trim().is_empty()).count() <= 15, "minimal.toml has grown");
}

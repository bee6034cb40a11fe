//! Whether a tree has the shape of the config: all faults of it in one run.
//!
//! First the schema is walked: unknown keys, missing keys, wrong kinds, unknown words. What is wrong
//! is put right with a stand-in, so that what is left can go through the types, which know what the
//! schema cannot say (durations, addresses, names). What they refuse gets a stand-in too, until they
//! take the rest. A fault at a stand-in is not the operator's, and is not told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Config;
use super::fault::{Finding, did_you_mean};
use super::key_path::{KeyPath, Step};
use super::schema::{self, Schema};
use super::secrets;

type Form<'s> = &'s Map<String, Value>;

/// What became of a tree.
pub(super) struct Settled {
    /// The config, with stand-ins where something was wrong. `None` where no stand-in could be found.
    pub(super) config: Option<Config>,
    pub(super) findings: Vec<Finding>,
    /// Where the config does not say what the operator wrote.
    pub(super) untrue: BTreeSet<KeyPath>,
}

/// Finds all that is wrong in the shape of a tree.
pub(super) fn settle(mut tree: Value) -> Settled {
    let mut walk = Walk { schema: Schema::get(), findings: Vec::new(), stand_ins: BTreeSet::new() };
    walk.visit(&mut tree, walk.schema.root(), &KeyPath::default());
    let config = refine(&mut walk, tree);
    let mut untrue = walk.stand_ins;
    untrue.extend(walk.findings.iter().map(|finding| finding.path.clone()));
    Settled { config, findings: walk.findings, untrue }
}

struct Walk {
    schema: &'static Schema,
    findings: Vec<Finding>,
    stand_ins: BTreeSet<KeyPath>,
}

impl Walk {
    fn visit(&mut self, value: &mut Value, schema: &'static Value, path: &KeyPath) {
        let forms = self.schema.forms(schema);
        if forms.is_empty() {
            return;
        }
        if let Some((key, by_word)) = schema::tagged(&forms) {
            return self.visit_tagged(value, (key, &by_word), path, schema);
        }
        if let Some(wrong) = wrong_kind(&forms, value) {
            self.findings.push(Finding::value(path.clone(), format!("`{path}` must be {wrong}, not {}", kind_of(value))));
            return self.stand_in(value, schema, path);
        }
        if value.is_string() {
            return self.visit_text(value, &forms, path, schema);
        }
        let fitting: Vec<Form<'static>> = forms.iter().copied().filter(|form| schema::takes(form, json_kind(value))).collect();
        match (value, fitting.as_slice()) {
            (Value::Object(table), [form]) => self.visit_table(table, form, path),
            (Value::Array(items), [form]) => {
                let Some(schema) = form.get("items") else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.visit(item, schema, &path.at(index));
                }
            }
            (value @ Value::Object(_), several) => match schema::keyed(several) {
                Some(by_key) => self.visit_keyed(value, &by_key, path, schema),
                None => self.visit_best(value, several, path),
            },
            (value, _) => self.visit_number(value, &forms, path, schema),
        }
    }

    /// A table that may have one of several forms: the one with the fewest faults is taken as meant.
    fn visit_best(&mut self, value: &mut Value, forms: &[Form<'static>], path: &KeyPath) {
        let mut best: Option<(Value, Vec<Finding>, BTreeSet<KeyPath>)> = None;
        for form in forms {
            let mut trial = Self { schema: self.schema, findings: Vec::new(), stand_ins: BTreeSet::new() };
            let mut copy = value.clone();
            if let Value::Object(table) = &mut copy {
                trial.visit_table(table, form, path);
            }
            if best.as_ref().is_none_or(|(_, findings, _)| trial.findings.len() < findings.len()) {
                best = Some((copy, trial.findings, trial.stand_ins));
            }
        }
        if let Some((copy, findings, stand_ins)) = best {
            *value = copy;
            self.findings.extend(findings);
            self.stand_ins.extend(stand_ins);
        }
    }

    /// A table whose one key says which variant it is.
    fn visit_keyed(&mut self, value: &mut Value, by_key: &BTreeMap<&str, Form<'static>>, path: &KeyPath, schema: &'static Value) {
        let Value::Object(table) = value else { return };
        if let Some(form) = table.keys().find_map(|key| by_key.get(key.as_str())) {
            return self.visit_table(table, form, path);
        }
        let keys: Vec<&str> = by_key.keys().copied().collect();
        match table.keys().next() {
            Some(key) => self.findings.push(unknown_key(path, key, &keys)),
            None => self.findings.push(Finding::value(path.clone(), format!("`{path}` says nothing")).hint(one_of(&keys))),
        }
        self.stand_in(value, schema, path);
    }

    fn visit_tagged(&mut self, value: &mut Value, union: (&str, &BTreeMap<&str, Form<'static>>), path: &KeyPath, schema: &'static Value) {
        let (tag, by_word) = union;
        let Value::Object(table) = value else {
            self.findings.push(Finding::value(path.clone(), format!("`{path}` must be a table, not {}", kind_of(value))));
            return self.stand_in(value, schema, path);
        };
        let words: Vec<&str> = by_word.keys().copied().collect();
        match table.get(tag).map(Value::as_str) {
            Some(Some(word)) => match by_word.get(word) {
                Some(form) => return self.visit_table(table, form, path),
                None => self.findings.push(unknown_word(path.key(tag), tag, word, &words)),
            },
            Some(None) => self.findings.push(Finding::value(path.key(tag), format!("`{path}.{tag}` must be text")).hint(one_of(&words))),
            None => self.findings.push(Finding::key(path.clone(), format!("`{path}` needs the key `{tag}`")).hint(one_of(&words))),
        }
        self.stand_in(value, schema, path);
    }

    fn visit_table(&mut self, table: &mut Map<String, Value>, form: Form<'static>, path: &KeyPath) {
        table.retain(|key, value| !value.is_null() || schema::properties(form).is_some_and(|all| !all.contains_key(key)));
        if let Some(properties) = schema::properties(form) {
            let unknown: Vec<String> = table.keys().filter(|key| !properties.contains_key(*key)).cloned().collect();
            for key in unknown {
                self.findings.push(unknown_key(path, &key, &properties.keys().map(String::as_str).collect::<Vec<_>>()));
                table.remove(&key);
            }
            for key in schema::required(form) {
                if !table.contains_key(key) {
                    self.findings.push(Finding::key(path.clone(), missing(path, key)).hint(about(properties.get(key), key)));
                    let mut value = Value::Null;
                    self.stand_in(&mut value, &properties[key], &path.key(key));
                    table.insert(key.to_owned(), value);
                }
            }
            for (key, value) in table.iter_mut() {
                if let Some(schema) = properties.get(key).filter(|_| !self.stand_ins.contains(&path.key(key))) {
                    self.visit(value, schema, &path.key(key));
                }
            }
        } else if let Some(schema) = schema::map_values(form) {
            self.visit_names(table, form, path);
            for (key, value) in table.iter_mut() {
                self.visit(value, schema, &path.key(key));
            }
        }
    }

    fn visit_names(&mut self, table: &mut Map<String, Value>, form: Form<'static>, path: &KeyPath) {
        let Some(pattern) = schema::map_pattern(form).and_then(|pattern| regex::Regex::new(pattern).ok()) else { return };
        let bad: Vec<String> = table.keys().filter(|key| !pattern.is_match(key)).cloned().collect();
        for key in bad {
            let finding = Finding::key(path.key(&key), format!("`{key}` is not a name"));
            self.findings.push(finding.hint("a name is 1 to 64 letters, digits, '-', '_' or '.', the first one a letter or digit"));
            table.remove(&key);
        }
    }

    fn visit_text(&mut self, value: &mut Value, forms: &[Form<'static>], path: &KeyPath, schema: &'static Value) {
        let Some(text) = value.as_str() else { return };
        let mut words = Vec::new();
        for form in forms.iter().filter(|form| schema::takes(form, "string")) {
            match schema::words(form) {
                Some(more) => words.extend(more),
                None => return,
            }
        }
        if !words.contains(&text) {
            let name = path.last_key().unwrap_or_default();
            self.findings.push(unknown_word(path.clone(), name, text, &words));
            self.stand_in(value, schema, path);
        }
    }

    fn visit_number(&mut self, value: &mut Value, forms: &[Form<'static>], path: &KeyPath, schema: &'static Value) {
        let Some(number) = value.as_f64() else { return };
        let limit = |word: &str| forms.iter().find_map(|form| form.get(word).and_then(Value::as_f64));
        let message = match (limit("minimum"), limit("maximum")) {
            (Some(least), _) if number < least => format!("`{path}` must be {least} or more"),
            (_, Some(most)) if number > most => format!("`{path}` must be {most} or less"),
            _ => return,
        };
        self.findings.push(Finding::value(path.clone(), message));
        self.stand_in(value, schema, path);
    }

    fn stand_in(&mut self, value: &mut Value, schema: &'static Value, path: &KeyPath) {
        *value = sample(self.schema, schema, 0);
        self.stand_ins.insert(path.clone());
    }

    fn is_stand_in(&self, path: &KeyPath) -> bool {
        self.stand_ins.iter().any(|stand_in| path.is_under(stand_in))
    }
}

/// A value that the schema allows.
fn sample(schema: &Schema, of: &Value, depth: usize) -> Value {
    if let Some(default) = of.get("default").filter(|default| !default.is_null()) {
        return default.clone();
    }
    let forms = schema.forms(of);
    let Some(form) = forms.first().filter(|_| depth < 8) else { return Value::Null };
    let example = form.get("examples").and_then(|all| all.get(0));
    if let Some(value) = form.get("const").or_else(|| form.get("enum").and_then(|all| all.get(0))).or(example) {
        return value.clone();
    }
    if let Some(properties) = schema::properties(form) {
        let needed = schema::required(form);
        return needed.into_iter().filter_map(|key| Some((key.to_owned(), sample(schema, properties.get(key)?, depth + 1)))).collect();
    }
    match () {
        () if schema::takes(form, "object") => Value::Object(Map::new()),
        () if schema::takes(form, "string") => Value::from("x"),
        () if schema::takes(form, "integer") => form.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
        () if schema::takes(form, "array") => Value::Array(Vec::new()),
        () if schema::takes(form, "boolean") => Value::Bool(false),
        () => Value::Null,
    }
}

fn wrong_kind(forms: &[Form<'_>], value: &Value) -> Option<String> {
    if forms.iter().any(|form| schema::takes(form, json_kind(value))) {
        return None;
    }
    let described = forms.iter().find_map(|form| form.get("description").and_then(Value::as_str)).filter(|text| text.starts_with("a "));
    if let Some(text) = described {
        return Some(text.split(';').next().unwrap_or(text).to_owned());
    }
    let mut kinds: Vec<&str> = Vec::new();
    for (kind, word) in [
        ("string", "text"),
        ("integer", "a whole number"),
        ("number", "a number"),
        ("boolean", "true or false"),
        ("array", "a list"),
        ("object", "a table"),
    ] {
        let exact = |form: &Form<'_>| match form.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|it| it == kind),
            other => other.is_some_and(|it| it == kind),
        };
        if forms.iter().any(exact) {
            kinds.push(word);
        }
    }
    Some(kinds.join(" or "))
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match json_kind(value) {
        "null" => "nothing",
        "boolean" => "true or false",
        "number" => "a fraction",
        "integer" => "a number",
        "string" => "text",
        "array" => "a list",
        _ => "a table",
    }
}

fn unknown_key(path: &KeyPath, key: &str, keys: &[&str]) -> Finding {
    let place = if path.0.is_empty() { String::new() } else { format!(" in `{path}`") };
    let finding = Finding::key(path.key(key), format!("unknown key `{key}`{place}"));
    let elsewhere: Vec<String> = Schema::get().tables_with(key).iter().map(table_name).collect();
    match did_you_mean(key, keys.iter().copied()) {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None if !elsewhere.is_empty() => finding.hint(format!("`{key}` is a key of {}", elsewhere.join(", "))),
        None if keys.len() <= 14 => finding.hint(one_of(keys)),
        None => finding,
    }
}

fn table_name(path: &KeyPath) -> String {
    if path.0.is_empty() { "the config itself, in no table".into() } else { format!("`{path}`") }
}

fn unknown_word(path: KeyPath, key: &str, word: &str, known: &[&str]) -> Finding {
    let shown = if secrets::is_secret(key) { "this value" } else { &format!("\"{word}\"") };
    let finding = Finding::value(path, format!("`{key}` cannot be {shown}"));
    match did_you_mean(word, known.iter().copied()) {
        Some(meant) => finding.hint(format!("did you mean \"{meant}\"?")),
        None => finding.hint(one_of(known)),
    }
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
}

fn missing(path: &KeyPath, key: &str) -> String {
    if path.0.is_empty() { format!("the key `{key}` is missing") } else { format!("`{path}` needs the key `{key}`") }
}

fn about(schema: Option<&Value>, key: &str) -> String {
    let text = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str).unwrap_or_default();
    let sentence = text.split(['\n', ';']).next().unwrap_or_default().trim_end_matches('.');
    if sentence.is_empty() { format!("add `{key} = …`") } else { format!("add `{key} = …`: {sentence}") }
}

/// Stand-ins for what the types refuse, tried one after the other.
fn candidates(at: &KeyPath) -> Vec<Value> {
    let schema = Schema::get();
    let mut all: Vec<Value> = schema.at(at).map(|below| sample(schema, below, 0)).into_iter().collect();
    all.extend(["x", "1s", "127.0.0.1:1", "127.0.0.1", "127.0.0.0/8", "/", "GET", "http://localhost"].map(Value::from));
    all.extend([Value::from(1), Value::Bool(true), Value::Array(Vec::new()), Value::Object(Map::new())]);
    all
}

/// Puts the tree through the types until they take it.
fn refine(walk: &mut Walk, mut tree: Value) -> Option<Config> {
    let mut tried: BTreeMap<KeyPath, std::vec::IntoIter<Value>> = BTreeMap::new();
    // More rounds than any file has faults worth reading; a round never adds one twice.
    for _ in 0..2000 {
        let refusal = match take(&tree) {
            Ok(config) => return Some(config),
            Err(refusal) => refusal,
        };
        let path = blame(&tree, &refusal);
        if !walk.is_stand_in(&path) {
            let known = walk.findings.iter().any(|finding| finding.path == path);
            if !known {
                walk.findings.push(refused(&path, &refusal.message));
            }
            walk.stand_ins.insert(path.clone());
        }
        let next = tried.entry(path.clone()).or_insert_with(|| candidates(&path).into_iter()).next();
        match (lookup_mut(&mut tree, &path), next) {
            (Some(value), Some(next)) => *value = next,
            (Some(_), None) => remove(&mut tree, &path)?,
            (None, _) => return None,
        }
    }
    None
}

fn refused(path: &KeyPath, message: &str) -> Finding {
    // The types may quote what they refuse.
    let message = match path.last_key() {
        Some(key) if secrets::is_secret(key) => "this value cannot be taken".to_owned(),
        _ => message.trim_end_matches('.').to_owned(),
    };
    let finding = Finding::value(path.clone(), format!("`{path}`: {message}"));
    match message.as_str() {
        "invalid socket address syntax" => finding.hint("write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\""),
        "invalid IP address syntax" => finding.hint("such as \"10.0.0.0/8\" or \"fd00::/8\""),
        _ => finding,
    }
}

/// Why the types refuse a tree, as they say it.
#[derive(PartialEq)]
struct Refusal {
    path: KeyPath,
    message: String,
}

fn take(tree: &Value) -> Result<Config, Refusal> {
    use serde_path_to_error::Segment;
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let steps = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::At(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let path = KeyPath(steps.collect());
        Refusal { path, message: error.into_inner().to_string() }
    })
}

/// The key that a refusal is about. Unions are read whole before they are taken, so that the types
/// name the union only: then it is the one key without which they say something else.
fn blame(tree: &Value, refusal: &Refusal) -> KeyPath {
    let mut path = refusal.path.clone();
    while lookup(tree, &path).is_none() {
        match path.parent() {
            Some(parent) => path = parent,
            None => return path,
        }
    }
    while let Some(culprit) = blame_below(tree, &path, refusal) {
        path = culprit;
    }
    path
}

/// The one of the keys in a table, or of the entries of a list. A key that must be there is the last to be suspected: keys of
/// a part that several tables share are read after it was missed, and without it nothing is heard of them.
fn blame_below(tree: &Value, path: &KeyPath, refusal: &Refusal) -> Option<KeyPath> {
    let mut needed = None;
    for step in steps_below(lookup(tree, path)) {
        let below = path.with(step);
        // The key that tells a union's variants apart is right by now, and without it all else is refused.
        if tag_of(path).is_some_and(|tag| below == path.key(tag)) {
            continue;
        }
        let mut without = tree.clone();
        remove(&mut without, &below)?;
        match take(&without) {
            Err(other) if other == *refusal => {}
            Err(other) if other.message.starts_with("missing field") => needed = needed.or(Some(below)),
            _ => return Some(below),
        }
    }
    needed
}

fn tag_of(path: &KeyPath) -> Option<&'static str> {
    let schema = Schema::get();
    schema::tagged(&schema.forms(schema.at(path)?)).map(|(tag, _)| tag)
}

fn steps_below(value: Option<&Value>) -> Vec<Step> {
    match value {
        Some(Value::Object(table)) => table.keys().cloned().map(Step::Key).collect(),
        Some(Value::Array(items)) => (0..items.len()).map(Step::At).collect(),
        _ => Vec::new(),
    }
}

fn lookup<'v>(tree: &'v Value, path: &KeyPath) -> Option<&'v Value> {
    path.0.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::At(index) => value.get(index),
    })
}

fn lookup_mut<'v>(tree: &'v mut Value, path: &KeyPath) -> Option<&'v mut Value> {
    path.0.iter().try_fold(tree, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::At(index) => value.get_mut(index),
    })
}

fn remove(tree: &mut Value, path: &KeyPath) -> Option<()> {
    let parent = lookup_mut(tree, &path.parent()?)?;
    match (parent, path.0.last()?) {
        (Value::Object(table), Step::Key(key)) => table.remove(key).map(drop),
        (Value::Array(items), Step::At(index)) if *index < items.len() => {
            items.remove(*index);
            Some(())
        }
        _ => None,
    }
}

//! The config's JSON Schema, and what the checks ask it: which keys a table has, which values a key takes.
//!
//! The schema is made from the config types, so nothing here knows a key by name.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::Config;
use super::key_path::{KeyPath, Step};

/// The JSON Schema (draft 2020-12) of the whole config, for editors and for `tollgate config schema`.
#[must_use]
pub fn json_schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The schema, with its references resolved on the way.
pub(super) struct Schema {
    root: Value,
}

impl Schema {
    /// The one schema of this build.
    pub(super) fn get() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Self { root: json_schema() })
    }

    /// The schema of the whole config.
    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// The forms that a value may take, references followed and `null` left out.
    pub(super) fn forms<'s>(&'s self, schema: &'s Value) -> Vec<&'s Map<String, Value>> {
        let mut forms = Vec::new();
        self.collect_forms(schema, 0, &mut forms);
        forms
    }

    fn collect_forms<'s>(&'s self, schema: &'s Value, depth: usize, forms: &mut Vec<&'s Map<String, Value>>) {
        let Value::Object(map) = schema else { return };
        // Deeper than any type nests references without a table between: a circle.
        if depth > 16 {
            return;
        }
        if let Some(target) = map.get("$ref").and_then(Value::as_str).and_then(|at| self.root.pointer(at.trim_start_matches('#'))) {
            return self.collect_forms(target, depth + 1, forms);
        }
        let several = ["anyOf", "oneOf"].iter().find_map(|word| map.get(*word).and_then(Value::as_array));
        match several {
            Some(several) => several.iter().for_each(|one| self.collect_forms(one, depth + 1, forms)),
            None if map.get("type").and_then(Value::as_str) == Some("null") => {}
            None => forms.push(map),
        }
    }

    /// What a key of a table of one of `forms` may hold.
    pub(super) fn below<'s>(&'s self, forms: &[&'s Map<String, Value>], key: &str) -> Option<&'s Value> {
        forms
            .iter()
            .find_map(|form| properties(form).and_then(|all| all.get(key)))
            .or_else(|| forms.iter().find_map(|form| map_values(form)))
    }

    /// What the items of a list of one of `forms` may hold.
    pub(super) fn items<'s>(&'s self, forms: &[&'s Map<String, Value>]) -> Option<&'s Value> {
        forms.iter().find_map(|form| form.get("items"))
    }

    /// What stands at `path` may hold. `None` where the schema has no such key.
    pub(super) fn at(&self, path: &KeyPath) -> Option<&Value> {
        path.0.iter().try_fold(self.root(), |schema, step| match step {
            Step::Key(key) => self.below(&self.forms(schema), key),
            Step::At(_) => self.items(&self.forms(schema)),
        })
    }

    /// The tables with fixed places (none below a list or a name) that have a key called `key`.
    pub(super) fn tables_with(&self, key: &str) -> Vec<KeyPath> {
        let mut found = Vec::new();
        self.look_for(key, self.root(), &KeyPath::default(), &mut found);
        found
    }

    fn look_for(&self, key: &str, schema: &Value, path: &KeyPath, found: &mut Vec<KeyPath>) {
        // Deeper than any fixed table: a type within itself.
        if path.0.len() > 8 {
            return;
        }
        for all in self.forms(schema).into_iter().filter_map(properties) {
            if all.contains_key(key) {
                found.push(path.clone());
            }
            all.iter().for_each(|(below, schema)| self.look_for(key, schema, &path.key(below), found));
        }
    }

    /// Every key of every table: its name, whether it is marked `writeOnly`, and whether it can hold text.
    pub(super) fn every_key(&self) -> Vec<(String, bool, bool)> {
        let mut found = Vec::new();
        self.gather(&self.root, &mut found);
        found
    }

    fn gather(&self, schema: &Value, found: &mut Vec<(String, bool, bool)>) {
        match schema {
            Value::Object(map) => {
                for (key, value) in properties(map).into_iter().flatten() {
                    let marked = value.get("writeOnly").and_then(Value::as_bool) == Some(true);
                    let text = self.forms(value).iter().any(|form| ["string", "array", "object"].iter().any(|kind| takes(form, kind)));
                    found.push((key.clone(), marked, text));
                }
                // Defaults and examples hold keys, not schemas.
                map.iter().filter(|(word, _)| !matches!(word.as_str(), "default" | "examples" | "const" | "enum")).for_each(
                    |(_, below)| {
                        self.gather(below, found);
                    },
                );
            }
            Value::Array(items) => items.iter().for_each(|item| self.gather(item, found)),
            _ => {}
        }
    }
}

/// The keys of a table with fixed keys.
pub(super) fn properties(form: &Map<String, Value>) -> Option<&Map<String, Value>> {
    form.get("properties").and_then(Value::as_object)
}

/// What the values of a table with free keys hold.
pub(super) fn map_values(form: &Map<String, Value>) -> Option<&Value> {
    let by_pattern = form.get("patternProperties").and_then(Value::as_object).and_then(|all| all.values().next());
    by_pattern.or_else(|| form.get("additionalProperties").filter(|value| value.is_object()))
}

/// The pattern that the keys of a table with free keys follow.
pub(super) fn map_pattern(form: &Map<String, Value>) -> Option<&str> {
    form.get("patternProperties").and_then(Value::as_object).and_then(|all| all.keys().next()).map(String::as_str)
}

/// The keys that a table must have.
pub(super) fn required(form: &Map<String, Value>) -> Vec<&str> {
    form.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The words that a value must be one of, when it must.
pub(super) fn words(form: &Map<String, Value>) -> Option<Vec<&str>> {
    if let Some(word) = form.get("const") {
        return word.as_str().map(|word| vec![word]);
    }
    form.get("enum").and_then(Value::as_array).map(|all| all.iter().filter_map(Value::as_str).collect())
}

/// Whether a form is open to values of the JSON type `kind`; a form that names no type takes all.
pub(super) fn takes(form: &Map<String, Value>, kind: &str) -> bool {
    let one = |name: &Value| name.as_str().is_some_and(|name| name == kind || (name == "number" && kind == "integer"));
    match form.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(one),
        Some(name) => one(name),
        None => true,
    }
}

/// A union told apart by a key: the key, and each form by its word.
pub(super) type Tagged<'s> = (&'s str, BTreeMap<&'s str, &'s Map<String, Value>>);

/// Tells whether `forms` are the variants of a union told apart by a key that all of them have.
pub(super) fn tagged<'s>(forms: &[&'s Map<String, Value>]) -> Option<Tagged<'s>> {
    let word = |form: &'s Map<String, Value>, key: &str| properties(form)?.get(key)?.get("const")?.as_str();
    let first = properties(forms.first()?)?;
    let (key, _) = first.iter().find(|(key, _)| forms.iter().all(|form| word(form, key).is_some()))?;
    Some((key, forms.iter().filter_map(|form| Some((word(form, key)?, *form))).collect()))
}

/// Tells whether `forms` are the variants of a union told apart by the one key that each has.
pub(super) fn keyed<'s>(forms: &[&'s Map<String, Value>]) -> Option<BTreeMap<&'s str, &'s Map<String, Value>>> {
    let one = |form: &&'s Map<String, Value>| {
        let all = properties(form)?;
        let (key, _) = all.iter().next().filter(|(key, _)| all.len() == 1 && required(form) == [key.as_str()])?;
        Some((key.as_str(), *form))
    };
    forms.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_apart_by_type() {
        let schema = Schema::get();
        let schemes = schema.below(&schema.forms(schema.root()), "schemes").expect("schemes");
        let one = map_values(schema.forms(schemes)[0]).expect("values");
        let (key, forms) = tagged(&schema.forms(one)).map(|(key, forms)| (key.to_owned(), forms.len())).expect("tagged");
        assert_eq!(key, "type");
        assert!(forms >= 3);
    }

    #[test]
    fn unions_by_their_one_key_are_told_apart() {
        let form = |key: &str| serde_json::json!({ "properties": { key: {} }, "required": [key] });
        let (header, cookie) = (form("header"), form("cookie"));
        let forms: Vec<_> = [&header, &cookie].into_iter().filter_map(Value::as_object).collect();
        assert_eq!(keyed(&forms).map(|by_key| by_key.into_keys().collect()), Some(vec!["cookie", "header"]));
        assert!(tagged(&forms).is_none());
    }

    #[test]
    fn tables_are_found_by_their_keys() {
        assert_eq!(Schema::get().tables_with("max_head"), [KeyPath::top("server").key("limits")]);
        assert!(Schema::get().tables_with("endpoints").is_empty());
    }

    #[test]
    fn every_table_is_closed() {
        fn closed(schema: &Value) {
            if let Value::Object(map) = schema {
                if properties(map).is_some() {
                    assert_eq!(map.get("additionalProperties"), Some(&Value::Bool(false)), "a table takes unknown keys: {map:?}");
                }
                map.values().for_each(closed);
            } else if let Value::Array(items) = schema {
                items.iter().for_each(closed);
            }
        }
        closed(Schema::get().root());
    }
}

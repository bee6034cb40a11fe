//! The fields of an auth token as Ziggeo's SDKs send them, over the server API and inside client tokens.
//!
//! Each language has its own way to write a boolean, a number and an object (`true`, `True`, `1`, nothing; JSON,
//! JSON in a text, a printed dict). What cannot be read is refused, never guessed: a limit that is dropped is
//! no limit.

use serde_json::{Map, Value};

use super::repr;
use crate::token::issued::{AuthToken, Grants, Reach};

/// Most videos that one grant may list.
const MOST_RESOURCES: usize = 1000;

/// Names of the fields, in both spellings that the vendor's documents have.
pub const NAMES: [&str; 8] =
    ["volatile", "hidden", "expiration_date", "usage_expiration_time", "usage_experitation_time", "session_limit", "grants", "key"];

/// Puts what `fields` say over `token`; what they do not mention stays.
///
/// # Errors
/// The name of the first field that cannot be read.
pub fn apply(token: &mut AuthToken, fields: &Map<String, Value>) -> Result<(), &'static str> {
    for name in NAMES {
        let Some(value) = fields.get(name) else { continue };
        let read = match name {
            "volatile" => truth(value).map(|truth| token.volatile = truth),
            "hidden" => truth(value).map(|truth| token.hidden = truth),
            "expiration_date" => number(value).map(|seconds| token.expiration_date = seconds),
            "usage_expiration_time" | "usage_experitation_time" => small(value).map(|seconds| token.usage_expiration_time = seconds),
            "session_limit" => small(value).map(|sessions| token.session_limit = sessions),
            "grants" => grants(value).map(|grants| token.grants = grants),
            _ => name_of(value).map(|key| token.key = key),
        };
        read.ok_or(name)?;
    }
    Ok(())
}

/// A boolean: `true`, `True`, `1`; `false`, `False`, `0`, nothing.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim() {
            "true" | "True" | "TRUE" | "1" => Some(true),
            "false" | "False" | "FALSE" | "0" | "" | "None" | "null" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number of seconds, or none where nothing is said.
fn number(value: &Value) -> Option<Option<i64>> {
    match value {
        Value::Null => Some(None),
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)).map(Some),
        Value::String(text) => match text.trim() {
            "" | "None" | "null" => Some(None),
            text => text.parse().ok().or_else(|| whole(text.parse().ok()?)).map(Some),
        },
        _ => None,
    }
    .filter(|number| number.is_none_or(|number| (0..=LAST).contains(&number)))
}

/// The last second of the year 9999.
const LAST: i64 = 253_402_300_799;

/// Java's `String.valueOf(double)` writes whole numbers as `1.7E9`.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= 9e15).then_some(number as i64)
}

fn small(value: &Value) -> Option<Option<u32>> {
    match number(value)? {
        None => Some(None),
        Some(number) => u32::try_from(number).ok().map(Some),
    }
}

fn name_of(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) if text.is_empty() => Some(None),
        Value::String(text) if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) => {
            Some(Some(text.clone()))
        }
        _ => None,
    }
}

/// Whether every verb of grants that can be read is one that the vendor has: a changed token must not lose one unnoticed.
#[must_use]
pub fn knows_verbs(value: &Value) -> bool {
    let known = |name: &String| ["read", "create", "update", "destroy", "write", "index"].contains(&name.as_str());
    object_of(value).flatten().is_none_or(|object| object.keys().all(known))
}

/// Grants, as an object or a text of one. Verbs that are not known allow nothing and are passed over.
#[must_use]
pub fn grants(value: &Value) -> Option<Grants> {
    let Some(object) = object_of(value)? else { return Some(Grants::default()) };
    let verb = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => reach(value).map(Some),
    };
    Some(Grants { read: verb("read")?, create: verb("create")?, update: verb("update")?, destroy: verb("destroy")? })
}

/// The object of grants; inside, none where nothing is said.
fn object_of(value: &Value) -> Option<Option<Map<String, Value>>> {
    match value {
        Value::Null => Some(None),
        Value::Object(object) => Some(Some(object.clone())),
        Value::String(text) if text.trim().is_empty() => Some(None),
        Value::String(text) => match serde_json::from_str::<Value>(text).ok().or_else(|| repr::parse(text))? {
            Value::Object(object) => Some(Some(object)),
            // A text inside a text: encoded twice.
            Value::String(inner) => match serde_json::from_str::<Value>(&inner).ok()? {
                Value::Object(object) => Some(Some(object)),
                _ => None,
            },
            _ => None,
        },
        // PHP's empty array.
        Value::Array(list) if list.is_empty() => Some(None),
        _ => None,
    }
}

fn reach(value: &Value) -> Option<Reach> {
    match value {
        Value::String(word) => match word.as_str() {
            "all" => Some(Reach { all: true, ..Reach::default() }),
            "session_owned" => Some(Reach { session_owned: true, ..Reach::default() }),
            text => match serde_json::from_str::<Value>(text).ok().or_else(|| repr::parse(text))? {
                object @ Value::Object(_) => reach(&object),
                _ => None,
            },
        },
        Value::Object(object) => {
            let flag = |name: &str| object.get(name).map_or(Some(false), truth);
            let resources = object.get("resources").map_or(Some(Vec::new()), resources)?;
            Some(Reach { all: flag("all")?, session_owned: flag("session_owned")?, resources })
        }
        _ => None,
    }
}

/// A list, one text, or a form's `resources[0]=…`.
fn resources(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty() && text.len() <= 128).map(str::to_owned);
    let list = match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.iter().map(text).collect::<Option<Vec<_>>>()?,
        Value::Object(by_index) => by_index.values().map(text).collect::<Option<Vec<_>>>()?,
        Value::String(one) => match serde_json::from_str::<Value>(one).ok().or_else(|| repr::parse(one)) {
            Some(Value::Array(list)) => list.iter().map(text).collect::<Option<Vec<_>>>()?,
            _ => one.split(',').map(|part| text(&Value::from(part.trim()))).collect::<Option<Vec<_>>>()?,
        },
        _ => return None,
    };
    (list.len() <= MOST_RESOURCES).then_some(list)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "cases are written as literals")]
    fn read(fields: Value) -> Result<AuthToken, &'static str> {
        let mut token = AuthToken::default();
        apply(&mut token, fields.as_object().expect("object")).map(|()| token)
    }

    #[test]
    fn every_way_to_write_a_scalar_is_read() {
        for yes in [json!(true), json!(1), json!("true"), json!("True"), json!("1")] {
            assert_eq!(read(json!({ "volatile": yes })).map(|t| t.volatile), Ok(true), "{yes}");
        }
        for no in [json!(false), json!(0), json!("false"), json!("False"), json!("0"), json!(""), json!(null)] {
            assert_eq!(read(json!({ "hidden": no })).map(|t| t.hidden), Ok(false), "{no}");
        }
        for limit in [json!(5), json!("5"), json!(5.0), json!("5.0")] {
            assert_eq!(read(json!({ "session_limit": limit })).map(|t| t.session_limit), Ok(Some(5)), "{limit}");
        }
        for name in ["usage_expiration_time", "usage_experitation_time"] {
            assert_eq!(read(json!({ name: "60" })).map(|t| t.usage_expiration_time), Ok(Some(60)));
        }
        assert_eq!(read(json!({ "expiration_date": "1.893456E9" })).map(|t| t.expiration_date), Ok(Some(1_893_456_000)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (fields, name) in [
            (json!({ "volatile": "maybe" }), "volatile"),
            (json!({ "hidden": [] }), "hidden"),
            (json!({ "session_limit": -1 }), "session_limit"),
            (json!({ "session_limit": 4_294_967_296_i64 }), "session_limit"),
            (json!({ "session_limit": "x" }), "session_limit"),
            (json!({ "expiration_date": 1.5 }), "expiration_date"),
            (json!({ "expiration_date": "99999999999999" }), "expiration_date"),
            (json!({ "grants": "read" }), "grants"),
            (json!({ "grants": { "read": "some" } }), "grants"),
            (json!({ "grants": { "read": { "resources": [1] } } }), "grants"),
            (json!({ "key": "a b" }), "key"),
        ] {
            assert_eq!(read(fields), Err(name));
        }
    }

    #[test]
    fn every_way_to_write_grants_is_read() {
        let all = Grants { read: Some(Reach { all: true, ..Reach::default() }), ..Grants::default() };
        for value in [
            json!({ "read": { "all": true } }),
            json!({ "read": { "all": "true" } }),
            json!({ "read": "all", "write": "all" }),
            json!("{\"read\":{\"all\":true}}"),
            json!("{\"read\": \"all\"}"),
            json!("\"{\\\"read\\\":\\\"all\\\"}\""),
            json!("{'read': {'all': True}}"),
        ] {
            assert_eq!(grants(&value), Some(all.clone()), "{value}");
        }
        let some = |list: Value| grants(&json!({ "update": { "resources": list } })).and_then(|g| g.update).map(|r| r.resources);
        for list in [json!(["a", "b"]), json!({ "0": "a", "1": "b" }), json!("a,b"), json!("[\"a\",\"b\"]"), json!("['a', 'b']")] {
            assert_eq!(some(list), Some(vec!["a".to_owned(), "b".to_owned()]));
        }
        for nothing in [json!(null), json!(""), json!([]), json!({}), json!({ "write": "all" }), json!({ "read": null })] {
            assert_eq!(grants(&nothing), Some(Grants::default()), "{nothing}");
        }
    }

    #[test]
    fn what_is_not_mentioned_stays() {
        let mut token = AuthToken { session_limit: Some(3), hidden: true, ..AuthToken::default() };
        apply(&mut token, json!({ "volatile": true }).as_object().expect("object")).expect("read");
        assert_eq!((token.volatile, token.hidden, token.session_limit), (true, true, Some(3)));
        apply(&mut token, json!({ "session_limit": "" }).as_object().expect("object")).expect("read");
        assert_eq!(token.session_limit, None);
    }
}

//! JSON objects read so that they have one reading only.
//!
//! Two members of one name make an object that two readers understand differently, so they are
//! refused (RFC 7515 §4, RFC 7519 §4 leave it to the reader). Depth is held by serde_json (128),
//! length by the caller's limit.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are not an object with one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Longer than the limit.
    #[error("longer than allowed")]
    TooLarge,
    /// Not JSON, not an object, nested too deeply, or a member that comes twice.
    #[error("not a JSON object, or one with a member twice")]
    NotAnObject,
}

/// Reads one object of at most `limit` bytes.
///
/// # Errors
/// [`JsonFault`].
pub fn object(bytes: &[u8], limit: usize) -> Result<Map<String, Value>, JsonFault> {
    if bytes.len() > limit {
        return Err(JsonFault::TooLarge);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(JsonFault::NotAnObject),
    }
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element_seed(Strict)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            let value = from.next_value_seed(Strict)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member comes twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn objects_with_one_reading_pass() {
        for text in ["{}", " {\"a\":1} ", r#"{"a":{"a":1},"b":[{"a":null},true,-1,1.5,"x"]}"#] {
            let strict = object(text.as_bytes(), 100).expect(text);
            assert_eq!(Value::Object(strict), serde_json::from_str::<Value>(text).expect("json"), "{text}");
        }
    }

    #[test]
    fn others_do_not() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for text in [
            "",
            "1",
            "[]",
            "null",
            "\"a\"",
            "{",
            "{}{}",
            "{} x",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"a":1,}"#,
            r#"{"a":1e999}"#,
            "\u{feff}{}",
            &deep,
        ] {
            assert_eq!(object(text.as_bytes(), 1000), Err(JsonFault::NotAnObject), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}", 100), Err(JsonFault::NotAnObject));
        assert_eq!(object(b"{\"a\":1}", 6), Err(JsonFault::TooLarge));
    }

    /// Cases of JSONTestSuite that are JSON and refused all the same: a member comes twice.
    const TWICE: [&str; 2] = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];

    #[test]
    fn the_json_test_suite() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/security/corpora/json-test-suite/test_parsing");
        let Ok(files) = std::fs::read_dir(folder) else {
            eprintln!("skipped: {folder} is not here");
            return;
        };
        let mut seen = 0;
        for path in files.map(|file| file.expect("entry").path()) {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            let wrapped = [b"{\"a\":", &std::fs::read(&path).expect("read")[..], b"}"].concat();
            let read = object(&wrapped, 1 << 20);
            match name.as_bytes()[0] {
                b'y' => assert_eq!(read.is_ok(), !TWICE.contains(&name.as_str()), "{name}"),
                b'n' => assert!(read.is_err(), "{name}"),
                _ => {}
            }
            seen += 1;
        }
        assert!(seen > 300);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes, 100);
        }

        #[test]
        fn what_passes_reads_as_serde_json_reads_it(text in r#"\{("[ab]":([0-9]{1,3}|\{"[ab]":"x"\}|\[1,2\]),?){0,3}\}"#) {
            if let Ok(map) = object(text.as_bytes(), 1000) {
                prop_assert_eq!(Value::Object(map), serde_json::from_str::<Value>(&text).expect("json"));
            }
        }
    }
}

//! Python's way to print a dict, read back.
//!
//! Ziggeo's Python SDK sends a dict that was not dumped as JSON as `str(dict)`: single quotes, `True`,
//! `None`. Only literals are read; nothing is ever run.

use serde_json::{Map, Number, Value};

/// Levels of dicts and lists at most.
const DEPTH: usize = 16;

/// The literal that `text` is; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text.trim() };
    let value = reader.value(0)?;
    reader.rest.trim().is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        self.skip();
        match self.rest.chars().next()? {
            '{' => self.dict(depth),
            '[' => self.list(depth, ']'),
            '(' => self.list(depth, ')'),
            'u' | 'b' if self.rest[1..].starts_with(['\'', '"']) => {
                self.rest = &self.rest[1..];
                self.text().map(Value::String)
            }
            '\'' | '"' => self.text().map(Value::String),
            _ => self.word(),
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.skip();
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn dict(&mut self, depth: usize) -> Option<Value> {
        self.take('{')?;
        let mut map = Map::new();
        loop {
            self.skip();
            if self.take('}').is_some() {
                return Some(Value::Object(map));
            }
            let Value::String(name) = self.value(depth + 1)? else { return None };
            self.take(':')?;
            let value = self.value(depth + 1)?;
            if map.insert(name, value).is_some() {
                return None;
            }
            if self.take(',').is_none() {
                self.take('}')?;
                return Some(Value::Object(map));
            }
        }
    }

    fn list(&mut self, depth: usize, end: char) -> Option<Value> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            if self.take(end).is_some() {
                return Some(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            if self.take(',').is_none() {
                self.take(end)?;
                return Some(Value::Array(items));
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next()?;
        let mut out = String::new();
        while let Some((at, char)) = chars.next() {
            match char {
                _ if char == quote => {
                    self.rest = &self.rest[at + char.len_utf8()..];
                    return Some(out);
                }
                '\\' => out.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    plain @ ('\\' | '\'' | '"') => plain,
                    // Python's other escapes stand for characters that no token or field name has.
                    _ => return None,
                }),
                _ => out.push(char),
            }
        }
        None
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_'))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ => word.parse::<i64>().ok().map(Value::from).or_else(|| Number::from_f64(word.parse().ok()?).map(Value::Number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn printed_dicts_are_read() {
        for (text, value) in [
            ("{'read': {'all': True}}", json!({"read": {"all": true}})),
            ("{'a': None, 'b': [1, -2, 0.5], \"c\": ('x',), }", json!({"a": null, "b": [1, -2, 0.5], "c": ["x"]})),
            ("{u'a': 'it\\'s', 'b': \"it's\"}", json!({"a": "it's", "b": "it's"})),
            ("{}", json!({})),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for bad in
            ["", "{", "{'a'}", "{'a': }", "{'a': 1} x", "{'a': 1, 'a': 2}", "{1: 2}", "print(1)", "{'a': '\\x00'}", "'a", &"[".repeat(99)]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[\\[\\](){}'\",:\\\\uTrueNone0-9 é]{0,60}") {
            let _ = parse(&text);
        }
    }
}

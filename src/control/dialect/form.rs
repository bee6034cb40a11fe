//! Bodies as Ziggeo's SDKs encode them: six languages, six ways.
//!
//! Node nests brackets raw, Python prints dicts, PHP sends multipart, C# encodes nothing and ends in `&`,
//! Ruby and others send JSON. Whatever comes becomes one object of texts, objects and JSON scalars; names that
//! come twice keep the last value, as PHP has it. Pure; depth, fields and sizes are bounded.

use serde_json::{Map, Value};

use crate::path::percent_decode;
use crate::token::json;

/// Fields of one body at most.
const MOST_FIELDS: usize = 4096;
/// Levels of brackets at most.
const DEPTH: usize = 8;

/// The fields of a body with this `Content-Type`; `None` when it is none of the encodings.
#[must_use]
pub fn decode(kind: Option<&str>, body: &[u8]) -> Option<Map<String, Value>> {
    let kind = kind.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(Map::new());
    }
    if essence == "multipart/form-data" {
        return multipart(boundary(kind)?, body);
    }
    let text = std::str::from_utf8(body).ok()?;
    if essence == "application/json" || text.trim_start().starts_with('{') {
        return json::object(body, body.len()).ok();
    }
    urlencoded(text)
}

/// `a=1&b[c][d]=2&`, encoded or not.
fn urlencoded(text: &str) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    for (count, pair) in text.trim().split('&').filter(|pair| !pair.is_empty()).enumerate() {
        if count >= MOST_FIELDS {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        put(&mut fields, &plain(name), Value::String(plain(value)))?;
    }
    Some(fields)
}

/// A value decoded; where it was never encoded, as it is.
fn plain(raw: &str) -> String {
    let spaced = raw.replace('+', " ");
    percent_decode(&spaced).unwrap_or_else(|| raw.to_owned())
}

/// Puts `a[b][]` where it belongs.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    let (first, rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut steps = vec![first];
    let mut rest = rest;
    while let Some(inner) = rest.strip_prefix('[') {
        let (step, after) = inner.split_once(']')?;
        steps.push(step);
        rest = after;
    }
    if !rest.is_empty() || steps.len() > DEPTH {
        return None;
    }
    place(fields, &steps, value)
}

fn place(fields: &mut Map<String, Value>, steps: &[&str], value: Value) -> Option<()> {
    let (step, below) = steps.split_first()?;
    // `[]` counts up.
    let name = if step.is_empty() { fields.len().to_string() } else { (*step).to_owned() };
    if below.is_empty() {
        fields.insert(name, value);
        return Some(());
    }
    let inner = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    place(inner.as_object_mut()?, below, value)
}

fn boundary(kind: &str) -> Option<&str> {
    let parameter = kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    // RFC 2046 §5.1.1: 1 to 70 characters.
    Some(parameter.trim_matches('"')).filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// RFC 7578: parts with a name; files among them are passed over.
fn multipart(boundary: &str, body: &[u8]) -> Option<Map<String, Value>> {
    let delimiter = format!("--{boundary}");
    let mut fields = Map::new();
    let mut rest = after(body, delimiter.as_bytes())?;
    for _ in 0..MOST_FIELDS {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        let part = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
        let end = find(part, delimiter.as_bytes())?;
        let (content, next) = part.split_at(end);
        let (head, value) = split_head(content)?;
        if let Some(name) = field_name(head) {
            let value = value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value);
            put(&mut fields, &name, Value::String(std::str::from_utf8(value).ok()?.to_owned()))?;
        }
        rest = &next[delimiter.len()..];
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn after<'b>(body: &'b [u8], delimiter: &[u8]) -> Option<&'b [u8]> {
    find(body, delimiter).map(|at| &body[at + delimiter.len()..])
}

fn split_head(part: &[u8]) -> Option<(&str, &[u8])> {
    let (at, length) = find(part, b"\r\n\r\n").map(|at| (at, 4)).or_else(|| find(part, b"\n\n").map(|at| (at, 2)))?;
    Some((std::str::from_utf8(&part[..at]).ok()?, &part[at + length..]))
}

/// The name of a part that is no file.
fn field_name(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let parameter = |name: &str| {
        line.split(';').skip(1).find_map(|parameter| {
            let (key, value) = parameter.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    if parameter("filename").is_some() { None } else { parameter("name") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::token::issued::AuthToken;
    use crate::token::ziggeo::fields;

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn every_encoding_of_the_sdks_says_the_same() {
        let multipart = "--X\r\nContent-Disposition: form-data; name=\"volatile\"\r\n\r\n1\r\n\
            --X\r\nContent-Disposition: form-data; name=\"hidden\"\r\n\r\n\r\n\
            --X\r\nContent-Disposition: form-data; name=\"session_limit\"\r\n\r\n2\r\n\
            --X\r\nContent-Disposition: form-data; name=\"grants\"\r\n\r\n{\"read\":{\"all\":true}}\r\n--X--\r\n";
        let mut all: Vec<AuthToken> = Vec::new();
        for (kind, body) in [
            (FORM, "volatile=true&hidden=false&session_limit=2&grants[read][all]=true"),
            (FORM, "volatile=true&session_limit=2&grants=%7B%22read%22%3A%7B%22all%22%3Atrue%7D%7D"),
            (FORM, "volatile=True&hidden=False&session_limit=2&grants=%7B%22read%22%3A+%7B%22all%22%3A+true%7D%7D"),
            (FORM, "volatile=True&session_limit=2&grants=%7B%27read%27%3A+%7B%27all%27%3A+True%7D%7D"),
            (FORM, "volatile=true&session_limit=2&grants={\"read\":{\"all\": true}}&"),
            (FORM, "volatile=1&session_limit=2&grants%5Bread%5D%5Ball%5D=1"),
            ("application/json; charset=utf-8", r#"{"volatile":true,"session_limit":2,"grants":{"read":{"all":true}}}"#),
            ("multipart/form-data; boundary=X", multipart),
            ("multipart/form-data; charset=x; Boundary=\"X\"", multipart),
        ] {
            let read = decode(Some(kind), body.as_bytes()).unwrap_or_else(|| panic!("{body}"));
            let mut token = AuthToken::default();
            fields::apply(&mut token, &read).unwrap_or_else(|name| panic!("{body}: {name}"));
            all.push(token);
        }
        assert!(all.iter().all(|token| *token == all[0]), "{all:#?}");
        assert!(all[0].volatile && all[0].session_limit == Some(2) && all[0].grants.read.as_ref().is_some_and(|read| read.all));
    }

    #[test]
    fn nothing_is_no_field() {
        for (kind, body) in [(None, ""), (Some(FORM), ""), (Some("multipart/form-data; boundary=X"), ""), (Some("application/json"), " ")] {
            assert_eq!(decode(kind, body.as_bytes()), Some(Map::new()));
        }
    }

    #[test]
    fn brackets_nest() {
        let read = decode(Some(FORM), b"a[b][]=1&a[b][]=2&a[c]=3&d=4&d=5").expect("fields");
        assert_eq!(Value::Object(read), json!({ "a": { "b": { "0": "1", "1": "2" }, "c": "3" }, "d": "5" }));
        for bad in ["a=1&a[b]=2", "a[b=1", "a[b]c=1", "a[b][c][d][e][f][g][h][i]=1"] {
            assert_eq!(decode(Some(FORM), bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for (kind, body) in [
            ("application/json", &b"[]"[..]),
            ("application/json", b"{\"a\":1,\"a\":2}"),
            (FORM, b"\xff=1"),
            ("multipart/form-data", b"--X--"),
            ("multipart/form-data; boundary=X", b"--X\r\n"),
            ("multipart/form-data; boundary=X", b"no part"),
        ] {
            assert_eq!(decode(Some(kind), body), None, "{kind} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..120), form in "[a-c\\[\\]=&%+{}\"':0-9]{0,60}") {
            for kind in [FORM, "application/json", "multipart/form-data; boundary=X"] {
                let _ = (decode(Some(kind), &bytes), decode(Some(kind), form.as_bytes()));
            }
        }
    }
}

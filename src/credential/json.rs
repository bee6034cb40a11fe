//! Fields of a JSON answer, found and replaced without touching another byte.
//!
//! The text is not written anew: numbers keep their digits, keys their order. A key that stands twice is found twice, because a
//! reader may take either.

use std::ops::Range;

use serde::de::IgnoredAny;

/// Deepest nesting that is followed.
const DEEPEST: usize = 128;

/// One field, or all of a kind: `/result/uploadURL` (RFC 6901), `result.uploadURL`, with `*` for any key or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Any,
}

/// The text is not JSON, or nests too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON that can be read")]
pub struct NotJson;

impl Field {
    /// Reads a pointer or a dotted name.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let step = |text: String| if text == "*" { Step::Any } else { Step::Key(text) };
        let steps: Vec<Step> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|key| step(key.replace("~1", "/").replace("~0", "~"))).collect(),
            None => text.split('.').map(|key| step(key.to_owned())).collect(),
        };
        if text.is_empty() || text.ends_with(['.', '/']) {
            return Err(format!("\"{text}\" is not a field; write /result/url or result.url"));
        }
        Ok(Self(steps))
    }

    fn is(&self, path: &[String]) -> bool {
        self.0.len() == path.len()
            && self.0.iter().zip(path).all(|(step, key)| match step {
                Step::Any => true,
                Step::Key(meant) => meant == key,
            })
    }
}

/// `text` with every value that one of `fields` names replaced by what `replace` gives: it gets the number of the field and the value,
/// decoded where it is a string, and gives JSON. `None` when nothing is named.
///
/// # Errors
/// [`NotJson`].
pub fn edit(text: &str, fields: &[&Field], mut replace: impl FnMut(usize, Option<&str>) -> String) -> Result<Option<String>, NotJson> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| NotJson)?;
    let mut walk = Walk { text, at: 0, path: Vec::new(), fields, found: Vec::new() };
    walk.value()?;
    if walk.found.is_empty() {
        return Ok(None);
    }
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for (span, field) in walk.found {
        out.push_str(&text[from..span.start]);
        let value: Option<String> = serde_json::from_str(&text[span.clone()]).ok();
        out.push_str(&replace(field, value.as_deref()));
        from = span.end;
    }
    out.push_str(&text[from..]);
    Ok(Some(out))
}

/// Goes once over a text that is known to be JSON.
struct Walk<'t, 'f> {
    text: &'t str,
    at: usize,
    path: Vec<String>,
    fields: &'f [&'f Field],
    found: Vec<(Range<usize>, usize)>,
}

impl Walk<'_, '_> {
    fn peek(&mut self) -> Result<u8, NotJson> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied().ok_or(NotJson)
    }

    /// Passes a value; notes it when it is named, and looks into it when it is not.
    fn value(&mut self) -> Result<(), NotJson> {
        if self.path.len() > DEEPEST {
            return Err(NotJson);
        }
        let first = self.peek()?;
        let (from, noted) = (self.at, self.found.len());
        match first {
            b'{' => self.members(b'}')?,
            b'[' => self.members(b']')?,
            b'"' => self.string()?,
            _ => self.at += self.text.as_bytes()[self.at..].iter().take_while(|b| !b",]} \t\r\n".contains(b)).count(),
        }
        if let Some(field) = self.fields.iter().position(|field| field.is(&self.path)) {
            // What is replaced whole takes what lies in it along.
            self.found.truncate(noted);
            self.found.push((from..self.at, field));
        }
        Ok(())
    }

    fn members(&mut self, end: u8) -> Result<(), NotJson> {
        self.at += 1;
        let mut index = 0_usize;
        while self.peek()? != end {
            if self.peek()? == b',' {
                self.at += 1;
                self.peek()?;
            }
            let key = if end == b'}' { self.key()? } else { index.to_string() };
            self.path.push(key);
            self.value()?;
            self.path.pop();
            index += 1;
        }
        self.at += 1;
        Ok(())
    }

    fn key(&mut self) -> Result<String, NotJson> {
        let from = self.at;
        self.string()?;
        let key = serde_json::from_str(&self.text[from..self.at]).map_err(|_| NotJson)?;
        if self.peek()? != b':' {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(key)
    }

    fn string(&mut self) -> Result<(), NotJson> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(NotJson),
            }
        }
        self.at = at + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, fields: &[&str]) -> Result<Option<String>, NotJson> {
        let fields: Vec<Field> = fields.iter().map(|text| Field::parse(text).expect("a field")).collect();
        edit(text, &fields.iter().collect::<Vec<_>>(), |field, value| format!("\"{field}{}\"", value.unwrap_or("?").to_uppercase()))
    }

    #[test]
    fn named_fields_are_replaced_and_nothing_else() {
        for (text, field, left) in [
            (r#"{"a":"x","n":1.10e2}"#, "a", r#"{"a":"0X","n":1.10e2}"#),
            (r#" { "r" : { "u" : "x" } , "z":[ ] } "#, "/r/u", r#" { "r" : { "u" : "0X" } , "z":[ ] } "#),
            (r#"{"r":{"u":"x"}}"#, "r.u", r#"{"r":{"u":"0X"}}"#),
            (r#"{"d":[{"t":"x"},{"t":"y","t":"z"}]}"#, "d.*.t", r#"{"d":[{"t":"0X"},{"t":"0Y","t":"0Z"}]}"#),
            (r#"["x","y"]"#, "/1", r#"["x","0Y"]"#),
            (r#"{"a/b":"x\"\\","c":2}"#, "/a~1b", r#"{"a/b":"0X"\","c":2}"#),
            (r#"{"\u0061":"x"}"#, "a", r#"{"a":"0X"}"#),
            (r#"{"a":{"deep":[1,"]}"]},"b":0}"#, "a", r#"{"a":"0?","b":0}"#),
            (r#"{"a":null}"#, "a", r#"{"a":"0?"}"#),
        ] {
            let left = left.replace(r#"{"a":"0X"}"#, if text.contains("u0061") { r#"{"\u0061":"0X"}"# } else { r#"{"a":"0X"}"# });
            assert_eq!(edited(text, &[field]), Ok(Some(left)), "{text}");
        }
        assert_eq!(edited(r#"{"a":{"a":"x"}}"#, &["b", "a.b"]), Ok(None));
        assert_eq!(edited(r#"{"a":{"b":"x"}}"#, &["a.b", "a"]), Ok(Some(r#"{"a":"1?"}"#.into())));
    }

    #[test]
    fn what_is_not_json_is_told() {
        for text in ["", "{", "{\"a\":}", "{'a':1}", "[1,]", "{} {}", "nul"] {
            assert_eq!(edited(text, &["a"]), Err(NotJson), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        assert_eq!(edited(&deep, &["a"]), Err(NotJson));
    }

    #[test]
    fn fields_that_are_none_are_refused() {
        for text in ["", "a.", "/a/", "/"] {
            assert!(Field::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_json_it_stays_json(text in r#"[\[\]{}:,"\\a1u0 .-]{0,40}"#) {
            if let Ok(Some(text)) = edited(&text, &["a", "*"]) {
                proptest::prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
            }
        }
    }
}

//! YAML, and JSON as the part of YAML that it is, as a tree with places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::{Entry, Node, Shape, SyntaxFault};

/// Parses a file, or says where it breaks.
pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    let only_comments = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#') || line.trim() == "---");
    if only_comments {
        return Ok(Node::table());
    }
    match serde_saphyr::from_str::<Spanned<Yaml>>(text) {
        Ok(root) => Ok(node(root, text)),
        Err(error) => {
            let span = error.location().map(|location| span(&location, text));
            Err(vec![SyntaxFault { message: sentence(&error), span }])
        }
    }
}

/// Parses a JSON file: its syntax by the JSON parser, its places by the YAML parser.
pub(super) fn parse_json(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = before + error.column().saturating_sub(1);
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or("not JSON").to_owned();
        return Err(vec![SyntaxFault { message, span: Some(at..at + 1) }]);
    }
    parse(text)
}

/// What the parser says, without the lines it quotes: those could hold a secret.
fn sentence(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or("not YAML");
    let line = line.trim_start_matches("error: ");
    // The place is shown below, and the parser's options are not the operator's.
    let ends = [" at line ", ", set DuplicateKeyPolicy"];
    ends.iter().filter_map(|end| line.find(end)).min().map_or(line, |end| &line[..end]).to_owned()
}

fn span(location: &Location, text: &str) -> std::ops::Range<usize> {
    let span = location.span();
    let number = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
    let start = match span.byte_offset() {
        Some(at) => number(at),
        None => {
            let before: usize = text.split_inclusive('\n').take(number(location.line()).saturating_sub(1)).map(str::len).sum();
            before + number(location.column()).saturating_sub(1)
        }
    };
    start..start.saturating_add(span.byte_len().map_or(1, number))
}

fn node(value: Spanned<Yaml>, text: &str) -> Node {
    let at = span(&value.referenced, text);
    let shape = match value.value {
        Yaml::Plain(shape) => shape,
        Yaml::List(items) => Shape::List(items.into_iter().map(|item| node(item, text)).collect()),
        Yaml::Table(entries) => Shape::Table(
            entries
                .into_iter()
                .map(|(key, value)| Entry { key_span: span(&key.referenced, text), key: key.value, value: node(value, text) })
                .collect(),
        ),
    };
    Node::new(at, shape)
}

enum Yaml {
    Plain(Shape),
    List(Vec<Spanned<Yaml>>),
    Table(Vec<(Spanned<String>, Spanned<Yaml>)>),
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Null))
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(from)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Bool(it)))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Int(it.into())))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Int(it.into())))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Float(it)))
    }

    fn visit_str<E>(self, it: &str) -> Result<Yaml, E> {
        Ok(Yaml::Plain(Shape::Text(it.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Yaml::Table(entries))
    }
}

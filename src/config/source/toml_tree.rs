//! TOML as a tree with places.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, Node, Shape, SyntaxFault};

/// Parses a file, or names all syntax faults.
pub(super) fn parse(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(Node::new(span, entries(table.into_inner())));
    }
    Err(errors.into_iter().map(|error| SyntaxFault { message: error.message().to_owned(), span: error.span() }).collect())
}

/// Parses one value, as an environment variable or a flag holds it. `None` when it is not TOML.
pub(in crate::config) fn parse_value(text: &str) -> Option<Shape> {
    DeValue::parse(text).ok().map(|value| node(value).shape)
}

fn entries(table: DeTable<'_>) -> Shape {
    let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| Entry {
        key_span: key.span(),
        key: key.into_inner().into_owned(),
        value: node(value),
    };
    Shape::Table(table.into_iter().map(entry).collect())
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let shape = match value.into_inner() {
        DeValue::String(text) => Shape::Text(text.into_owned()),
        DeValue::Integer(it) => match i128::from_str_radix(it.as_str(), it.radix()) {
            Ok(it) => Shape::Int(it),
            Err(_) => Shape::Text(it.as_str().to_owned()),
        },
        DeValue::Float(it) => it.as_str().parse().map_or_else(|_| Shape::Text(it.as_str().to_owned()), Shape::Float),
        DeValue::Boolean(it) => Shape::Bool(it),
        DeValue::Datetime(it) => Shape::Text(it.to_string()),
        DeValue::Array(items) => Shape::List(items.into_iter().map(node).collect()),
        DeValue::Table(table) => entries(table),
    };
    Node::new(span, shape)
}

//! One source of config (a file, the environment, the flags) as a tree in which every key and value
//! knows where it stands.
//!
//! The text of a source holds secrets. It leaves this page only as a [`Place`], with secrets blanked.

mod text;
mod toml_tree;
mod yaml_tree;

use std::ops::Range;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Empty, Map, Value};

use super::fault::{Fault, Finding, Place, Point};
use super::key_path::{KeyPath, Step};
use super::{named, secrets};

pub(super) use toml_tree::parse_value;

/// A value and where it stands, in bytes of its source's text.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) shape: Shape,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Shape {
    /// Nothing: the key is as good as not there.
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Some positions of a list that a lower source holds (environment and flags).
    Patch(Vec<(usize, Node)>),
}

/// A key with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

/// Where a text came from.
#[derive(Clone)]
pub(super) enum Origin {
    File(PathBuf),
    /// The environment or the flags: each stretch of the text and what it is called in faults.
    Named(Vec<(Range<usize>, String)>),
}

/// One source, read.
pub(super) struct Layer {
    pub(super) origin: Origin,
    text: String,
    pub(super) root: Node,
    /// Where secrets stand in `text`.
    secrets: Vec<Range<usize>>,
}

impl Layer {
    /// Takes a tree in, and looks up where its secrets stand.
    pub(super) fn new(origin: Origin, text: String, root: Node) -> Self {
        // A block of YAML ends where the next line begins; that line's indent is no secret.
        let trim = |Range { start, end }: Range<usize>| start..start + text[start..end].trim_end().len();
        let secrets = secrets::spans(&root).into_iter().map(trim).collect();
        Self { origin, text, root, secrets }
    }

    /// Reads and parses a file; its format goes by its extension.
    ///
    /// # Errors
    /// Every syntax fault that the parser of the format can name in one run.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<Fault>> {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![Fault::of_source(source.clone(), format!("this file cannot be read: {error}"))])?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let root = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => toml_tree::parse(&text),
            Some("yaml" | "yml") => yaml_tree::parse(&text),
            Some("json") => yaml_tree::parse_json(&text),
            _ => {
                let fault = Fault::of_source(source, "this file's format is not known");
                return Err(vec![Fault { hint: Some("name it .toml, .yaml, .yml or .json".into()), ..fault }]);
            }
        };
        match root {
            Ok(root) => Ok(Self::new(Origin::File(path.to_owned()), text, root)),
            Err(faults) => Err(faults.into_iter().map(|fault| fault.place_in(&source, &text)).collect()),
        }
    }

    /// The fault that `finding` becomes when `span` of this source is to blame.
    pub(super) fn fault(&self, mut finding: Finding, span: Range<usize>) -> Fault {
        let (source, place) = match &self.origin {
            Origin::File(path) => (path.display().to_string(), text::place(&self.text, span, &self.secrets)),
            Origin::Named(names) => {
                let name = names.iter().find(|(at, _)| at.contains(&span.start)).map(|(_, name)| name.clone());
                let place = text::place(&self.text, span, &self.secrets);
                if let Some(hint) = name.as_deref().and_then(|name| named::hint(name, &finding)) {
                    finding.hint = Some(hint);
                }
                (name.unwrap_or_default(), Place { line: None, column: None, ..place })
            }
        };
        let Finding { path, severity, message, hint, .. } = finding;
        Fault {
            severity,
            message: self.scrub(message),
            source: Some(source),
            place: Some(place),
            key: path,
            hint: hint.map(|h| self.scrub(h)),
        }
    }

    /// `text` without any secret of this source, should a parser have quoted one.
    pub(super) fn scrub(&self, mut text: String) -> String {
        for span in &self.secrets {
            let secret = self.text[span.clone()].trim_matches(['"', '\'', '\n', ' ']);
            if secret.len() >= 4 && text.contains(secret) {
                text = text.replace(secret, "[redacted]");
            }
        }
        text
    }

    /// Where `path` stands here, if it does.
    pub(super) fn find(&self, path: &KeyPath, point: Point) -> Option<Range<usize>> {
        let mut node = &self.root;
        let mut key_span = None;
        for step in &path.0 {
            (key_span, node) = node.step(step)?;
        }
        match (point, key_span) {
            (Point::Value, _) if node.is_leaf() => Some(node.span.clone()),
            (_, Some(span)) => Some(span),
            _ => Some(node.span.clone()),
        }
    }
}

impl Node {
    pub(super) fn new(span: Range<usize>, shape: Shape) -> Self {
        Self { span, shape }
    }

    /// An empty table.
    pub(super) fn table() -> Self {
        Self::new(0..0, Shape::Table(Vec::new()))
    }

    fn is_leaf(&self) -> bool {
        !matches!(self.shape, Shape::Table(_) | Shape::Patch(_))
    }

    fn step(&self, step: &Step) -> Option<(Option<Range<usize>>, &Self)> {
        match (&self.shape, step) {
            (Shape::Table(entries), Step::Key(key)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| (Some(entry.key_span.clone()), &entry.value))
            }
            (Shape::List(items), Step::At(index)) => items.get(*index).map(|item| (None, item)),
            (Shape::Patch(items), Step::At(index)) => items.iter().find(|(at, _)| at == index).map(|(_, item)| (None, item)),
            _ => None,
        }
    }

    /// The tree as figment takes it, positions of [`Shape::Patch`] set into the list that lies below.
    pub(super) fn to_value(&self, below: Option<&serde_json::Value>) -> Value {
        match &self.shape {
            Shape::Null => Value::from(Empty::None),
            Shape::Bool(it) => Value::from(*it),
            Shape::Int(it) => integer(*it),
            Shape::Float(it) if it.is_finite() => Value::from(*it),
            // No key takes it; as text it is refused with its key.
            Shape::Float(it) => Value::from(it.to_string()),
            Shape::Text(it) => Value::from(it.as_str()),
            Shape::List(items) => Value::from(items.iter().map(|item| item.to_value(None)).collect::<Vec<_>>()),
            Shape::Table(entries) => Value::from(table(entries, below)),
            Shape::Patch(items) => patched(items, below),
        }
    }
}

fn integer(it: i128) -> Value {
    if let Ok(it) = i64::try_from(it) {
        Value::from(it)
    } else if let Ok(it) = u64::try_from(it) {
        Value::from(it)
    } else {
        // No key takes a number that large; as text it is refused with its key.
        Value::from(it.to_string())
    }
}

fn table(entries: &[Entry], below: Option<&serde_json::Value>) -> Dict {
    let pick = |key: &str| below.and_then(|below| below.get(key));
    entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value(pick(&entry.key)))).collect()
}

fn patched(items: &[(usize, Node)], below: Option<&serde_json::Value>) -> Value {
    let mut list: Vec<Value> = match below {
        Some(serde_json::Value::Array(list)) => list.iter().filter_map(|item| Value::serialize(item).ok()).collect(),
        _ => Vec::new(),
    };
    let mut items: Vec<_> = items.iter().collect();
    items.sort_by_key(|(index, _)| *index);
    for (index, node) in items {
        let value = node.to_value(below.and_then(|below| below.get(*index)));
        match (list.get_mut(*index), value) {
            (Some(Value::Dict(_, old)), Value::Dict(_, new)) => overlay(old, new),
            (Some(old), new) => *old = new,
            (None, new) => list.push(new),
        }
    }
    Value::from(list)
}

fn overlay(old: &mut Map<String, Value>, new: Map<String, Value>) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(Value::Dict(_, old)), Value::Dict(_, new)) => overlay(old, new),
            (_, value) => {
                old.insert(key, value);
            }
        }
    }
}

/// A syntax fault, before the text around it is looked up.
pub(super) struct SyntaxFault {
    message: String,
    span: Option<Range<usize>>,
}

impl SyntaxFault {
    fn place_in(self, source: &str, text: &str) -> Fault {
        let place = self.span.map(|span| text::place_unparsed(text, span));
        Fault { place, ..Fault::of_source(source.to_owned(), self.message) }
    }
}

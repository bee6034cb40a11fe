//! Config by name and value: environment variables and flags, as one more source each.
//!
//! The name leads through the schema, so that `TOLLGATE_SERVER__LIMITS__MAX_HEAD` finds
//! `server.limits.max_head`, and a name from the config is found whatever its case.

use serde_json::Value;

use super::fault::{Fault, Finding, Point};
use super::schema::{self, Schema};
use super::source::{Entry, Layer, Node, Origin, Shape, parse_value};

/// Before the name of every environment variable that sets a key.
pub const ENV_PREFIX: &str = "TOLLGATE_";

/// Variables with [`ENV_PREFIX`] that the command line reads itself, and that set no key.
pub const ENV_RESERVED: [&str; 4] = ["TOLLGATE_CONFIG", "TOLLGATE_LOG", "TOLLGATE_OUTPUT", "TOLLGATE_COLOR"];

/// What faults call a variable, before its name.
const ENV_LABEL: &str = "environment variable ";

/// One setting by name.
pub(super) struct Setting<'a> {
    /// What faults call it.
    label: String,
    segments: Vec<&'a str>,
    value: &'a str,
    /// `NAME=value`, as shown.
    line: String,
}

/// The settings among the variables of an environment.
pub(super) fn environment(env: &[(String, String)]) -> Vec<Setting<'_>> {
    let settings = env.iter().filter_map(|(name, value)| {
        let rest = name.strip_prefix(ENV_PREFIX)?;
        if rest.is_empty() || ENV_RESERVED.contains(&name.as_str()) || is_service_link(rest) {
            return None;
        }
        Some(Setting { label: format!("{ENV_LABEL}{name}"), segments: rest.split("__").collect(), value, line: format!("{name}={value}") })
    });
    settings.collect()
}

/// The settings of the flags.
pub(super) fn flags(flags: &[(String, String)]) -> Vec<Setting<'_>> {
    let settings = flags.iter().map(|(key, value)| Setting {
        label: format!("flag --set {key}"),
        segments: key.split('.').collect(),
        value,
        line: format!("{key}={value}"),
    });
    settings.collect()
}

/// The hint of a mistyped key in the words of the variable called `label`: the whole variable to write instead.
pub(super) fn hint(label: &str, finding: &Finding) -> Option<String> {
    let rest = label.strip_prefix(ENV_LABEL)?.strip_prefix(ENV_PREFIX)?;
    let meant = finding.hint.as_deref()?.strip_prefix("did you mean `")?.strip_suffix("`?")?;
    let mut segments: Vec<&str> = rest.split("__").collect();
    let meant = meant.to_ascii_uppercase();
    *segments.get_mut(finding.path.0.len().checked_sub(1)?).filter(|_| finding.point == Point::Key)? = &meant;
    Some(format!("did you mean `{ENV_PREFIX}{}`?", segments.join("__")))
}

/// Whether it is one of the variables that Kubernetes and container links add for a service named
/// `tollgate…`: `TOLLGATE_SERVICE_HOST`, `TOLLGATE_PORT_8080_TCP_ADDR`. They are not ours and no fault.
fn is_service_link(rest: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let words: Vec<&str> = rest.split('_').collect();
    let service = words.windows(2).any(|pair| pair[0] == "SERVICE" && matches!(pair[1], "HOST" | "PORT"));
    let port = words.iter().position(|word| *word == "PORT").is_some_and(|at| match words.get(at + 1..) {
        Some([]) => true,
        Some([number, proto, ..]) => number.bytes().all(|b| b.is_ascii_digit()) && matches!(*proto, "TCP" | "UDP" | "SCTP"),
        _ => false,
    });
    service || port
}

/// Settings as a source. `below` is what the lower sources hold: names and lists are looked up in it.
/// The faults are of settings that lead nowhere.
pub(super) fn layer(settings: &[Setting<'_>], below: &Value) -> (Layer, Vec<Fault>) {
    let schema = Schema::get();
    let mut text = String::new();
    let mut names = Vec::new();
    let mut root = Node::table();
    let mut faults = Vec::new();
    for setting in settings {
        let start = text.len();
        text.push_str(&setting.line);
        let end = text.len();
        text.push('\n');
        let value_at = end - setting.value.len();
        names.push((start..end, setting.label.clone()));
        let before = root.clone();
        let mut walk = Walk { setting, schema, name_span: start..value_at.saturating_sub(1), value_span: value_at..end };
        if let Err(message) = walk.set(&mut root, &setting.segments, schema.root(), Some(below)) {
            faults.push(Fault::of_source(setting.label.clone(), message));
            root = before;
        }
    }
    (Layer::new(Origin::Named(names), text, root), faults)
}

struct Walk<'w> {
    setting: &'w Setting<'w>,
    schema: &'w Schema,
    name_span: std::ops::Range<usize>,
    value_span: std::ops::Range<usize>,
}

impl Walk<'_> {
    /// Sets the value at `segments` below `node`.
    fn set(&mut self, node: &mut Node, segments: &[&str], schema: &Value, below: Option<&Value>) -> Result<(), String> {
        let forms = self.schema.forms(schema);
        let Some((segment, rest)) = segments.split_first() else {
            *node = Node::new(self.value_span.clone(), value(&forms, self.setting.value));
            return Ok(());
        };
        if let Some(items) = self.schema.items(&forms) {
            return self.set_item(node, segment, rest, (items, below));
        }
        let key = key_name(&forms, segment, below);
        let next = self.schema.below(&forms, &key).unwrap_or(&Value::Null);
        let below = below.and_then(|below| below.get(&key));
        if !matches!(node.shape, Shape::Table(_)) {
            node.shape = Shape::Table(Vec::new());
        }
        let Shape::Table(entries) = &mut node.shape else { return Ok(()) };
        let at = match entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None => {
                entries.push(Entry { key, key_span: self.name_span.clone(), value: Node::new(self.name_span.clone(), Shape::Null) });
                entries.len() - 1
            }
        };
        self.set(&mut entries[at].value, rest, next, below)
    }

    fn set_item(&mut self, node: &mut Node, segment: &str, rest: &[&str], list: (&Value, Option<&Value>)) -> Result<(), String> {
        let (schema, below) = list;
        let index: usize = segment.parse().map_err(|_| format!("`{segment}` stands where a list position is needed: 0 is the first"))?;
        if !matches!(node.shape, Shape::Patch(_)) {
            node.shape = Shape::Patch(Vec::new());
        }
        let held = below.and_then(Value::as_array).map_or(0, Vec::len);
        let Shape::Patch(items) = &mut node.shape else { return Ok(()) };
        let at = match items.iter().position(|(at, _)| *at == index) {
            Some(at) => at,
            None if (held..index).all(|before| items.iter().any(|(at, _)| *at == before)) => {
                items.push((index, Node::new(self.name_span.clone(), Shape::Null)));
                items.len() - 1
            }
            None => return Err(format!("the list has {held} entries, so position {index} would leave a gap; the next one is {held}")),
        };
        self.set(&mut items[at].1, rest, schema, below.and_then(|below| below.get(index)))
    }
}

/// The key that a segment means: one of the table's own keys, or a name already in the config
/// (letters of any case, `_` for `-` and `.`), or a new name in lower case.
fn key_name(forms: &[&serde_json::Map<String, Value>], segment: &str, below: Option<&Value>) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.'], "_");
    let wanted = plain(segment);
    let own = forms.iter().filter_map(|form| schema::properties(form)).flat_map(|all| all.keys()).find(|key| plain(key) == wanted);
    let named = || below.and_then(Value::as_object).into_iter().flat_map(|all| all.keys()).find(|key| plain(key) == wanted);
    own.or_else(named).cloned().unwrap_or_else(|| segment.to_ascii_lowercase())
}

/// The value of a variable: as it is where the key takes text only, else as TOML, else as text.
/// A list also takes values parted by commas.
fn value(forms: &[&serde_json::Map<String, Value>], text: &str) -> Shape {
    let text_only = !forms.is_empty() && forms.iter().all(|form| is_text(form));
    if text_only {
        return Shape::Text(text.to_owned());
    }
    match parse_value(text.trim()) {
        Some(shape) if !is_list(forms) || matches!(shape, Shape::List(_)) => shape,
        _ if is_list(forms) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Shape::List(items.map(|item| Node::new(0..0, Shape::Text(item.to_owned()))).collect())
        }
        _ => Shape::Text(text.to_owned()),
    }
}

/// Whether a form takes text and nothing else, but for being left out.
fn is_text(form: &serde_json::Map<String, Value>) -> bool {
    match form.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().all(|kind| kind == "string" || kind == "null"),
        other => other.is_some_and(|kind| kind == "string"),
    }
}

fn is_list(forms: &[&serde_json::Map<String, Value>]) -> bool {
    !forms.is_empty() && forms.iter().all(|form| form.contains_key("items"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_not_ours() {
        for link in
            ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR", "ADMIN_SERVICE_HOST"]
        {
            assert!(is_service_link(link), "{link}");
        }
        for ours in ["SERVER__WORKERS", "SERVR__WORKERS", "WORKERS", "PORTS", "KEYS__SERVICE_HOST__SECRET"] {
            assert!(!is_service_link(ours), "{ours}");
        }
    }
}

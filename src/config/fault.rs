//! What is wrong in a config, and where: said as a compiler says it, or as JSON.
//!
//! A fault never holds the value of a secret: lines are blanked where secrets stand before they
//! come in here, and nothing is printed raw that could steer a terminal.

use std::fmt;

use serde::Serialize;

use super::key_path::KeyPath;

/// Whether a config is refused for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The config is refused.
    Error,
    /// The config is taken; something in it is likely not what was meant.
    Warning,
}

/// Which half of `key = value` a finding points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Something to say about a key, before its place in a file has been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key.
    pub path: KeyPath,
    /// Which half of it.
    pub point: Point,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop, lower case.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    /// An error at the value of `path`.
    #[must_use]
    pub fn value(path: KeyPath, message: impl Into<String>) -> Self {
        Self { path, point: Point::Value, severity: Severity::Error, message: message.into(), hint: None }
    }

    /// An error at the key of `path`.
    #[must_use]
    pub fn key(path: KeyPath, message: impl Into<String>) -> Self {
        Self { point: Point::Key, ..Self::value(path, message) }
    }

    /// A warning at the key of `path`.
    #[must_use]
    pub fn warning(path: KeyPath, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::key(path, message) }
    }

    /// The same, with a word on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A place in a source: the line as it may be shown, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line, from 1. `None` for environment variables and flags.
    pub line: Option<usize>,
    /// The column in characters, from 1. `None` for environment variables and flags.
    pub column: Option<usize>,
    /// The line's text, secrets blanked.
    pub text: String,
    /// Characters of `text` before the mark.
    #[serde(skip)]
    pub mark_at: usize,
    /// Characters of the mark.
    #[serde(skip)]
    pub mark_len: usize,
}

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// A file's path, `environment variable NAME` or `flag --set KEY`; `None` when no one place says it.
    pub source: Option<String>,
    /// Where in it.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The key, as `server.limits.max_head`; empty for a file that cannot be read.
    pub key: KeyPath,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of a whole source.
    #[must_use]
    pub fn of_source(source: String, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), source: Some(source), place: None, key: KeyPath::default(), hint: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}", printable(&self.message))?;
        let gutter = self.place.as_ref().and_then(|place| place.line).map_or(0, |line| line.to_string().len());
        if let Some(source) = &self.source {
            write!(f, "\n{:gutter$} --> {}", "", printable(source))?;
        } else if !self.key.0.is_empty() {
            write!(f, "\n{:gutter$} --> {}", "", printable(&self.key.to_string()))?;
        }
        let hint = self.hint.as_deref().map(printable).unwrap_or_default();
        let Some(place) = &self.place else {
            return if hint.is_empty() { Ok(()) } else { write!(f, "\n{:gutter$}  = {hint}", "") };
        };
        let number = place.line.map(|line| line.to_string()).unwrap_or_default();
        if let (Some(line), Some(column)) = (place.line, place.column) {
            write!(f, ":{line}:{column}")?;
        }
        writeln!(f, "\n{:gutter$}  |", "")?;
        writeln!(f, " {number:>gutter$} | {}", printable(&place.text))?;
        let mark = "^".repeat(place.mark_len.max(1));
        write!(f, "{:gutter$}  | {:before$}{mark}", "", "", before = place.mark_at)?;
        if hint.is_empty() { Ok(()) } else { write!(f, " {hint}") }
    }
}

/// All that is wrong in a config, in the order of the sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// How many of them refuse the config.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|fault| fault.severity == Severity::Error).count()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// `text` with every control character replaced, one for one, so that marks stay below their words.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The one of `known` that `word` was likely meant to be.
#[must_use]
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let best = known
        .into_iter()
        .map(|key| {
            let plain = key.to_ascii_lowercase().replace('-', "_");
            let near = strsim::normalized_damerau_levenshtein(&word, &plain);
            let starts = if word.len() >= 3 && (plain.starts_with(&word) || word.starts_with(&plain)) { 0.7 } else { 0.0 };
            (near.max(starts), key)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.6).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_like_a_compilers() {
        let place = Place { line: Some(3), column: Some(1), text: "listner = \"0.0.0.0:80\"".into(), mark_at: 0, mark_len: 7 };
        let fault = Fault {
            place: Some(place),
            hint: Some("did you mean `listeners`?".into()),
            key: KeyPath::top("server").key("listner"),
            ..Fault::of_source("gw.toml".into(), "unknown key `listner` in `server`")
        };
        let expected = "error: unknown key `listner` in `server`\n  --> gw.toml:3:1\n   |\n 3 | listner = \"0.0.0.0:80\"\n   | ^^^^^^^ did you mean `listeners`?";
        assert_eq!(fault.to_string(), expected);
        let json = serde_json::to_value(&fault).expect("json");
        assert_eq!((json["line"].as_u64(), json["key"].as_str()), (Some(3), Some("server.listner")));
    }

    #[test]
    fn hints_come_only_when_close() {
        assert_eq!(did_you_mean("listner", ["listeners", "limits"]), Some("listeners"));
        assert_eq!(did_you_mean("cloudflare_steam", ["cloudflare-stream", "mux"]), Some("cloudflare-stream"));
        assert_eq!(did_you_mean("colour", ["listeners", "limits"]), None);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let fault = Fault::of_source("gw.toml".into(), "unknown key `\u{1b}[2J`");
        assert!(!fault.to_string().contains('\u{1b}'));
    }
}

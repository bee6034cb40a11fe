//! Which keys hold secrets, so that no fault ever shows their values.
//!
//! It errs towards hiding: a value is shown when the schema has its key and the key does not hold
//! secrets, or when the key is nearly such a one. A mistyped key must not show what it was meant to hide.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use super::schema::Schema;
use super::source::{Node, Shape};

/// Parts of a key that make it sound secret.
const WORDS: [&str; 7] = ["secret", "password", "passphrase", "inline", "private_key", "credential", "token"];
/// Ends of a key that say that its value only names where the secret is.
const NAMES_ONLY: [&str; 3] = ["_file", "_env", "_url"];
/// Tables in which every value is hidden but those of known keys.
const GUARDED: &str = "keys";

/// Whether the value of `key` is never shown.
pub(super) fn is_secret(key: &str) -> bool {
    let known = known();
    if known.shown.contains(key) {
        return false;
    }
    if known.hidden.contains(key) {
        return true;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    if NAMES_ONLY.iter().any(|end| key.ends_with(end)) {
        return false;
    }
    WORDS.iter().any(|word| key.contains(word) || strsim::normalized_damerau_levenshtein(&key, word) >= 0.6)
}

/// Where the secrets of a tree stand.
pub(super) fn spans(root: &Node) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    collect(root, false, false, &mut found);
    found
}

fn collect(node: &Node, hidden: bool, guarded: bool, found: &mut Vec<Range<usize>>) {
    match &node.shape {
        Shape::Table(entries) => {
            for entry in entries {
                let guards = guarded || is_guarded(&entry.key);
                let harmless = known().shown.contains(entry.key.as_str());
                // Half a key is as bad as a mistyped one: its other half may have been `secret`.
                let strange = !harmless && (guarded || hidden || !is_near_a_key(&entry.key));
                collect(&entry.value, is_secret(&entry.key) || strange, guards, found);
            }
        }
        Shape::List(items) if !hidden => items.iter().for_each(|item| collect(item, hidden, guarded, found)),
        Shape::Patch(items) => items.iter().for_each(|(_, item)| collect(item, hidden, guarded, found)),
        // A password in an address, or a key in its query, is a secret whatever its key.
        Shape::Text(text) if text.contains("://") && text.contains(['@', '?']) => found.push(node.span.clone()),
        _ if hidden && !node.span.is_empty() => found.push(node.span.clone()),
        _ => {}
    }
}

/// Whether it is likely a key that may be shown, mistyped.
fn is_near_a_key(key: &str) -> bool {
    known().shown.iter().any(|shown| strsim::normalized_damerau_levenshtein(key, shown) >= 0.6)
}

fn is_guarded(key: &str) -> bool {
    strsim::normalized_damerau_levenshtein(&key.to_ascii_lowercase(), GUARDED) >= 0.7
}

/// From which byte on something stands that is set to a key that sounds secret, whatever the text's syntax.
pub(super) fn sounds_secret(line: &str) -> Option<usize> {
    let mut word_start = None;
    let mut last_word = None;
    for (at, c) in line.char_indices() {
        match c {
            c if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') => {
                word_start.get_or_insert(at);
            }
            '=' | ':' => {
                let word = word_start.take().map(|from| &line[from..at]).or(last_word);
                if word.is_some_and(|word| word.split('.').any(|part| is_secret(part) || part == GUARDED)) {
                    return Some(at + 1 + line[at + 1..].bytes().take_while(|b| *b == b' ').count());
                }
            }
            _ => {
                if let Some(from) = word_start.take() {
                    last_word = Some(&line[from..at]);
                }
            }
        }
    }
    None
}

/// From which byte on a line of a text that does not parse is hidden.
pub(super) fn hidden_from(line: &str) -> Option<usize> {
    if let Some(from) = sounds_secret(line) {
        return Some(from);
    }
    let plain = line.trim_start();
    if let Some(at) = line.find(['=', ':']) {
        let key = line[..at].trim_matches([' ', '"', '\'', '{', '-', '\t']);
        let shown = known().shown.contains(key.rsplit('.').next().unwrap_or(key));
        return if shown { None } else { Some(at + 1) };
    }
    let is_header = plain.starts_with('[') && plain.chars().all(|c| c.is_ascii_alphanumeric() || "[]._- ".contains(c));
    let is_bracket = plain.chars().all(|c| "[]{}, \t".contains(c));
    if is_header || is_bracket { None } else { Some(line.len() - plain.len()) }
}

struct Known {
    shown: BTreeSet<String>,
    hidden: BTreeSet<String>,
}

/// Every key of the schema, by whether its values may be shown.
fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut known = Known { shown: BTreeSet::new(), hidden: BTreeSet::new() };
        for (key, marked, text) in Schema::get().every_key() {
            let key_is_secret = WORDS.iter().any(|word| key.contains(word) && *word != "token" && *word != "credential");
            let names_only = NAMES_ONLY.iter().any(|end| key.ends_with(end));
            if marked || (text && key_is_secret && !names_only) {
                known.hidden.insert(key);
            } else {
                known.shown.insert(key);
            }
        }
        // A name that holds a secret anywhere is hidden everywhere.
        known.shown = known.shown.difference(&known.hidden).cloned().collect();
        known
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_secret_is_secret() {
        for key in ["secret", "inline", "secrets", "sercet", "passwrd", "client_secret", "Secret", "SECRET"] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["secret_file", "secret_env", "encoding", "url", "forward_token", "workers", "allow_credentials"] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn lines_that_do_not_parse_hide_what_may_be_secret() {
        for line in [
            "secret = \"canary",
            "  secret: canary",
            "a = { secret = \"canary\" ]",
            "\"secret\" = 'canary",
            "keys.a.sekret = \"canary",
            "se\"ret = \"canary",
            "secret \"canary",
        ] {
            let from = hidden_from(line).unwrap_or_else(|| panic!("{line} is shown"));
            assert!(!line[..from].contains("canary"), "{line}");
        }
        assert_eq!(hidden_from("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"), Some(0));
        assert_eq!(hidden_from("address = 0.0.0.0:80"), None);
        assert_eq!(hidden_from("[server"), None);
    }
}

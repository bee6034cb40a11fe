//! `EXT-X-DEFINE` variables: enough of them to know where a link leads.
//!
//! Names whose value stands in the playlist are put in. Values that come from elsewhere (`QUERYPARAM`,
//! which whoever made the player's address chooses; `IMPORT`, which the multivariant playlist holds)
//! stay as `{$name}`: such a link is judged only where no value could move it to another host.

use std::collections::HashMap;

use super::super::splice::Expanded;

/// Longest value: values may name earlier variables, and doubling is quick to explode.
const MAX_VALUE: usize = 4096;
/// Most variables kept.
const MAX_NAMES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Variables {
    known: HashMap<String, String>,
}

impl Variables {
    /// Sets `name`; a value too long, or `None`, makes it unknown.
    pub(super) fn define(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) if value.len() <= MAX_VALUE && (self.known.len() < MAX_NAMES || self.known.contains_key(name)) => {
                self.known.insert(name.to_owned(), value.to_owned());
            }
            _ => {
                self.known.remove(name);
            }
        }
    }

    /// `text` with known variables put in; `None` when an unknown one may decide on the host.
    pub(super) fn expand<'t>(&self, text: &'t str) -> Option<Expanded<'t>> {
        if !text.contains("{$") {
            return Some(Expanded::plain(text));
        }
        let mut out = Expanded::pieces();
        let mut rest = text;
        while let Some(start) = rest.find("{$") {
            let (before, reference) = rest.split_at(start);
            out.push_literal(before);
            let Some(end) = reference.find('}') else {
                out.push_literal(reference);
                return Some(out);
            };
            let (reference, after) = reference.split_at(end + 1);
            match self.known.get(&reference[2..end]) {
                Some(value) => out.push_meaning(value, reference.len()),
                None if may_decide_host(out.text()) => return None,
                None => out.push_literal(reference),
            }
            rest = after;
            if out.text().len() > MAX_VALUE * 4 {
                return None;
            }
        }
        out.push_literal(rest);
        Some(out)
    }
}

/// Whether something put in after `before` could still change scheme or host.
fn may_decide_host(before: &str) -> bool {
    let after_scheme = match before.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => return !rest.contains('/'),
        _ => before,
    };
    // "/" may become "//host"; "seg" may become "seg:…", which is no web address unless it begins one.
    let lower = after_scheme.to_ascii_lowercase();
    after_scheme.is_empty() || after_scheme == "/" || "https:/".starts_with(&lower) || "http:/".starts_with(&lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Option<String> {
        let mut variables = Variables::default();
        variables.define("base", Some("https://gw.example/vod/"));
        variables.define("id", Some("7"));
        variables.define("gone", None);
        variables.expand(text).map(|expanded| expanded.text().to_owned())
    }

    #[test]
    fn known_names_are_put_in() {
        assert_eq!(expand("{$base}s{$id}.ts").as_deref(), Some("https://gw.example/vod/s7.ts"));
        assert_eq!(expand("x{$id}").as_deref(), Some("x7"));
        assert_eq!(expand("x{$id").as_deref(), Some("x{$id"));
        assert_eq!(expand("{$id}{$id").as_deref(), Some("7{$id"));
        assert_eq!(expand("x").as_deref(), Some("x"));
    }

    #[test]
    fn an_unknown_name_must_not_choose_the_host() {
        for hostile in [
            "{$gone}x",
            "/{$gone}",
            "//{$gone}/x",
            "https://{$gone}/x",
            "https://gw.example{$gone}/x",
            "http{$gone}",
            "H{$gone}",
            "https:/{$gone}",
        ] {
            assert_eq!(expand(hostile), None, "{hostile}");
        }
        for harmless in ["a/{$gone}.ts", "seg{$gone}.ts", "https://gw.example/{$gone}", "x?token={$gone}", "/vod/{$gone}", "./{$gone}"] {
            assert_eq!(expand(harmless).as_deref(), Some(harmless));
        }
    }

    #[test]
    fn doubling_stops() {
        let mut variables = Variables::default();
        variables.define("a", Some("0123456789"));
        for _ in 0..64 {
            let value = variables.expand("{$a}{$a}").map(|expanded| expanded.text().to_owned());
            variables.define("a", value.as_deref());
        }
        assert!(variables.expand("{$a}").is_none());
    }
}

//! POSIX extended regular expressions (IEEE 1003.1 §9.4) run by a linear-time engine.
//!
//! Inside brackets a backslash is a plain character in POSIX and not in the engine; that and the
//! engine's own extensions (`(?…)`, set operations) are translated or refused, so that a pattern means
//! what its author's standard says. `\d`, `\w` and `\s`, which POSIX leaves undefined, mean what every
//! other engine takes them for.

use regex::{Regex, RegexBuilder};

use crate::token::Denial;

/// The longest pattern in bytes.
const MAX: usize = 2 * 1024;

/// Compiles `pattern`; with `whole`, it must match a text from end to end.
///
/// # Errors
/// [`Denial::Unsupported`] when it is not a pattern, or too large.
pub(crate) fn compile(pattern: &str, whole: bool) -> Result<Regex, Denial> {
    if pattern.len() > MAX {
        return Err(Denial::Unsupported);
    }
    let inner = translate(pattern).ok_or(Denial::Unsupported)?;
    let text = if whole { format!(r"\A(?:{inner})\z") } else { inner };
    RegexBuilder::new(&text).size_limit(1 << 20).dot_matches_new_line(true).build().map_err(|_| Denial::Unsupported)
}

fn translate(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next()?;
                if escaped.is_alphanumeric() && !matches!(escaped, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'b' | 'B') {
                    return None;
                }
                if escaped.is_alphanumeric() { out.extend(['\\', escaped]) } else { out.push_str(&regex::escape(&escaped.to_string())) }
            }
            '[' => bracket(&mut chars, &mut out)?,
            '(' if chars.peek() == Some(&'?') => return None,
            '*' | '+' | '?' if matches!(chars.peek(), Some('*' | '+' | '?')) => return None,
            _ => out.push(c),
        }
    }
    Some(out)
}

/// A bracket expression, the opening bracket being read.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Option<()> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        match chars.next()? {
            ']' if !first => {
                out.push(']');
                return Some(());
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                loop {
                    let c = chars.next()?;
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' if matches!(chars.peek(), Some('.' | '=')) => return None,
            c @ ('[' | ']' | '\\' | '&' | '~' | '^') => out.extend(['\\', c]),
            '-' if first || chars.peek() == Some(&']') => out.push_str("\\-"),
            c => out.push(c),
        }
        first = false;
    }
}

/// `text` as a pattern that matches it alone.
#[must_use]
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if ".[]{}()\\*+?|^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_patterns_match_from_end_to_end() {
        let pattern = compile("/vid1|/vid2", true).expect("pattern");
        assert!(pattern.is_match("/vid1") && pattern.is_match("/vid2"));
        assert!(!pattern.is_match("/vid10") && !pattern.is_match("x/vid2") && !pattern.is_match("/vid1\n"));
    }

    #[test]
    fn brackets_are_posix() {
        for (pattern, hit, miss) in [
            (r"[\d]", "\\", "5"),
            ("[]a]", "]", "b"),
            ("[^]]", "a", "]"),
            ("[a-]", "-", "b"),
            ("[[:digit:]]", "7", "x"),
            ("[a&&b]", "&", "c"),
        ] {
            let pattern = compile(pattern, true).expect("pattern");
            assert!(pattern.is_match(hit) && !pattern.is_match(miss), "{pattern}");
        }
    }

    #[test]
    fn extensions_are_refused() {
        for bad in ["(?i)a", "a*?", "a++", r"\x41", r"\p{L}", "a\\", "[a", "(", "[[.a.]]", "a{99999}"] {
            assert!(compile(bad, true).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn compiling_never_panics(pattern in "\\PC{0,30}") {
            let _ = compile(&pattern, true);
        }

        #[test]
        fn literals_match_themselves_alone(text in "[ -~]{0,20}", other in "[ -~]{0,20}") {
            let pattern = compile(&literal(&text), true).expect("pattern");
            prop_assert!(pattern.is_match(&text));
            prop_assert_eq!(pattern.is_match(&other), text == other);
        }
    }
}

//! One canonical path, or none.
//!
//! A [`CleanPath`] is what is matched, verified **and** forwarded. Whatever one decoder could read
//! otherwise than another (dot segments, doubled or encoded slashes, backslashes, double encoding,
//! control characters, overlong or broken encodings) is refused, never repaired: the proxies that
//! repaired paths are the ones with the advisories.

use std::fmt;

/// A path with exactly one reading: `/`-separated segments, none of them empty (but for one
/// trailing `/`), `.` or `..`, percent-encoding only where it is needed, UTF-8 when decoded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CleanPath {
    raw: String,
    decoded: Option<String>,
}

/// Why a path has more than one reading. One word each, for the log; the caller sees `bad_path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Does not begin with `/`.
    #[error("path does not begin with a slash")]
    NotAbsolute,
    /// `//`: an empty segment.
    #[error("empty segment")]
    EmptySegment,
    /// A `.` or `..` segment, plain or encoded.
    #[error("dot segment")]
    DotSegment,
    /// `%` without two hex digits.
    #[error("broken percent-encoding")]
    BrokenEncoding,
    /// An encoded `/`, `\`, `%`, `?`, `#`, `;` or a character that needs no encoding.
    #[error("ambiguous percent-encoding")]
    AmbiguousEncoding,
    /// A byte that may not stand raw in a path: controls, space, `\`, `"`, `<`, `>`, `^`, `` ` ``,
    /// `{`, `|`, `}`, non-ASCII.
    #[error("character not allowed in a path")]
    BadCharacter,
    /// Decodes to bytes that are not UTF-8 (overlong forms among them) or to a control character.
    #[error("decodes to a control character or to bytes that are not UTF-8")]
    NotText,
    /// Longer than [`CleanPath::MAX`].
    #[error("path too long")]
    TooLong,
}

impl CleanPath {
    /// Longest path in bytes; the URI limit of the server is the tighter one by default.
    pub const MAX: usize = 16 * 1024;

    /// Takes `raw`, the path as received (no query), if it has one reading only.
    ///
    /// # Errors
    /// The first [`PathFault`] met.
    pub fn parse(raw: &str) -> Result<Self, PathFault> {
        if raw.len() > Self::MAX {
            return Err(PathFault::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathFault::NotAbsolute);
        }
        let encoded = check_bytes(raw.as_bytes())?;
        let decoded = if encoded { Some(decode(raw)?) } else { None };
        check_segments(decoded.as_deref().unwrap_or(raw))?;
        Ok(Self { raw: raw.to_owned(), decoded })
    }

    /// As [`CleanPath::parse`], and where that refuses, as [`CleanPath::parse_with_tokens`].
    ///
    /// # Errors
    /// The first [`PathFault`] met.
    pub fn parse_or_with_tokens<T: AsRef<str>>(raw: &str, tokens: &[T]) -> Result<Self, PathFault> {
        match Self::parse(raw) {
            Err(_) if !tokens.is_empty() => Self::parse_with_tokens(raw, tokens),
            read => read,
        }
    }

    /// As [`CleanPath::parse`], where a segment that begins with one of `tokens` (`bcdn_token=`) may
    /// hold any percent-encoding of text. Such a segment is never decoded, so an encoded slash in it
    /// ends no segment here; it is taken out before the path goes upstream, and what is left must be
    /// clean by itself: parse it again.
    ///
    /// # Errors
    /// The first [`PathFault`] met.
    pub fn parse_with_tokens<T: AsRef<str>>(raw: &str, tokens: &[T]) -> Result<Self, PathFault> {
        let is_token = |segment: &str| tokens.iter().map(AsRef::as_ref).any(|token| !token.is_empty() && segment.starts_with(token));
        if !raw.starts_with('/') || raw.len() > Self::MAX || !raw[1..].split('/').any(is_token) {
            return Self::parse(raw);
        }
        let mut decoded = String::with_capacity(raw.len());
        for segment in raw[1..].split('/') {
            decoded.push('/');
            if is_token(segment) {
                check_token(segment)?;
                decoded.push_str(segment);
            } else if check_bytes(segment.as_bytes())? {
                decoded.push_str(&decode(segment)?);
            } else {
                decoded.push_str(segment);
            }
        }
        check_segments(&decoded)?;
        Ok(Self { raw: raw.to_owned(), decoded: Some(decoded) })
    }

    /// The path as received and as forwarded, percent-encoded.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path decoded once: what routes and scopes are matched on.
    #[must_use]
    pub fn decoded(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.raw)
    }

    /// Whether a segment carries path parameters (`;name=value`), which some origins cut off.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        self.raw.contains(';')
    }

    /// The segments of the raw path: `/a/b/` gives `a`, `b`, and an empty last one.
    pub fn segments(&self) -> std::str::Split<'_, char> {
        self.raw[1..].split('/')
    }

    /// Whether the decoded path is `prefix` or lies below it, on a segment boundary: `/v/abc`
    /// holds `/v/abc` and `/v/abc/x`, not `/v/abcd`. A prefix that ends in `/` holds what is below it only.
    #[must_use]
    pub fn is_under(&self, prefix: &str) -> bool {
        is_under(self.decoded(), prefix)
    }
}

/// [`CleanPath::is_under`] on decoded texts.
#[must_use]
pub fn is_under(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// `path` without its first segment that begins with `token`; `/` when nothing is left.
#[must_use]
pub fn without_segment<'p>(path: &'p str, token: &str) -> std::borrow::Cow<'p, str> {
    let mut at = 0;
    for segment in path.split('/') {
        if segment.starts_with(token) && at > 0 {
            let rest = &path[at + segment.len()..];
            let kept = format!("{}{rest}", &path[..at - 1]);
            return if kept.is_empty() { "/".into() } else { kept.into() };
        }
        at += segment.len() + 1;
    }
    path.into()
}

impl fmt::Display for CleanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl fmt::Debug for CleanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// Checks every byte and every triplet; tells whether there was a triplet at all.
fn check_bytes(raw: &[u8]) -> Result<bool, PathFault> {
    let mut encoded = false;
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'%' {
            let byte = triplet(raw, at).ok_or(PathFault::BrokenEncoding)?;
            check_encoded(byte)?;
            encoded = true;
            at += 3;
        } else if plain(raw[at]) {
            at += 1;
        } else {
            return Err(PathFault::BadCharacter);
        }
    }
    Ok(encoded)
}

/// A token's segment: visible characters and triplets of text.
fn check_token(segment: &str) -> Result<(), PathFault> {
    let bytes = segment.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => match triplet(bytes, at).ok_or(PathFault::BrokenEncoding)? {
                0..=0x1f | 0x7f => return Err(PathFault::NotText),
                _ => {}
            },
            byte if plain(*byte) => {}
            _ => return Err(PathFault::BadCharacter),
        }
    }
    decode(segment).map(|_| ())
}

/// RFC 3986 §3.3 `pchar`, plus the slash.
const fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

/// A byte that was percent-encoded: refused when a second decoding, or none, would give another path.
const fn check_encoded(byte: u8) -> Result<(), PathFault> {
    match byte {
        b'/' | b'\\' | b'%' | b'?' | b'#' | b';' => Err(PathFault::AmbiguousEncoding),
        0..=0x1f | 0x7f => Err(PathFault::NotText),
        // RFC 3986 §2.3: unreserved characters are equal to their encoded form, so a reader that
        // does not decode sees another path. `~` is let be: older URL encoders write it as %7E.
        b'-' | b'.' | b'_' => Err(PathFault::AmbiguousEncoding),
        _ if byte.is_ascii_alphanumeric() => Err(PathFault::AmbiguousEncoding),
        _ => Ok(()),
    }
}

fn triplet(raw: &[u8], at: usize) -> Option<u8> {
    let high = hex_digit(*raw.get(at + 1)?)?;
    let low = hex_digit(*raw.get(at + 2)?)?;
    Some(high << 4 | low)
}

const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn decode(raw: &str) -> Result<String, PathFault> {
    let text = percent_decode(raw).ok_or(PathFault::NotText)?;
    // C1 controls arrive as two UTF-8 bytes, so the byte check above does not see them.
    if text.chars().any(char::is_control) {
        return Err(PathFault::NotText);
    }
    Ok(text)
}

/// Decodes `%XX` once; `None` when a triplet is broken or the result is not UTF-8.
#[must_use]
pub fn percent_decode(raw: &str) -> Option<String> {
    let raw = raw.as_bytes();
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'%' {
            bytes.push(triplet(raw, at)?);
            at += 3;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Encodes what may not stand raw in a path, so that [`CleanPath::parse`] takes the result back.
/// Slashes stay; `;`, `%`, `\`, `?` and `#` cannot be carried and are encoded all the same.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) && byte != b';' {
            out.push(char::from(byte));
        } else {
            push_escaped(&mut out, byte);
        }
    }
    out
}

/// Appends the escape of a byte (RFC 3986 §2.1), in capitals.
pub(crate) fn push_escaped(out: &mut String, byte: u8) {
    out.push('%');
    out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
    out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
}

fn check_segments(decoded: &str) -> Result<(), PathFault> {
    let mut segments = decoded[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && (segments.peek().is_some()) {
            return Err(PathFault::EmptySegment);
        }
        // `..;x` is a dot segment to the servers that cut parameters off before they resolve dots.
        let name = segment.split(';').next().unwrap_or(segment);
        if name == "." || name == ".." {
            return Err(PathFault::DotSegment);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn clean_paths_pass_unchanged() {
        for path in
            ["/", "/a", "/a/", "/a/b.m3u8", "/a%20b", "/%C3%A9/x", "/a~b", "/a%7Eb", "/a,b:c@d=e", "/..a", "/a..", "/...", "/a;x=1/b"]
        {
            let clean = CleanPath::parse(path).unwrap_or_else(|fault| panic!("{path}: {fault}"));
            assert_eq!(clean.raw(), path);
        }
        assert_eq!(CleanPath::parse("/%C3%A9").expect("clean").decoded(), "/é");
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        use PathFault::{AmbiguousEncoding, BadCharacter, BrokenEncoding, DotSegment, EmptySegment, NotAbsolute, NotText};
        for (path, fault) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("a", NotAbsolute),
            ("//", EmptySegment),
            ("//a", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/..;x/b", DotSegment),
            ("/a/.;/b", DotSegment),
            ("/%2e%2e/a", AmbiguousEncoding),
            ("/.%2E/a", AmbiguousEncoding),
            ("/a%2fb", AmbiguousEncoding),
            ("/a%2Fb", AmbiguousEncoding),
            ("/a%5cb", AmbiguousEncoding),
            ("/a%252fb", AmbiguousEncoding),
            ("/a%3fb", AmbiguousEncoding),
            ("/a%23b", AmbiguousEncoding),
            ("/a%3bb", AmbiguousEncoding),
            ("/%61dmin", AmbiguousEncoding),
            ("/a\\b", BadCharacter),
            ("/a b", BadCharacter),
            ("/é", BadCharacter),
            ("/a%", BrokenEncoding),
            ("/a%2", BrokenEncoding),
            ("/a%zz", BrokenEncoding),
            ("/a%u002f", BrokenEncoding),
            ("/a%00", NotText),
            ("/a%0d%0a", NotText),
            ("/a%7f", NotText),
            ("/%c0%ae%c0%ae/", NotText),
            ("/%c0%af", NotText),
            ("/%e0%80%af", NotText),
            ("/%ff", NotText),
            ("/%C2%85", NotText),
        ] {
            assert_eq!(CleanPath::parse(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn token_segments_may_be_encoded_and_are_not_decoded() {
        let path = CleanPath::parse_with_tokens("/t=a%2Fb%20/v/x%20y", &["t="]).expect("clean");
        assert_eq!(path.decoded(), "/t=a%2Fb%20/v/x y");
        assert_eq!(without_segment(path.decoded(), "t="), "/v/x y");
        assert_eq!(without_segment("/t=a", "t="), "/");
        assert_eq!(without_segment("/v/at=a/b", "t="), "/v/at=a/b");
        for bad in ["/t=a/../b", "/t=a/b%2Fc", "/t=%zz/a", "/t=%0a/a", "/t=%ff/a", "/t=a//b", "/u=a%2Fb", "t=a%2Fb"] {
            assert!(CleanPath::parse_with_tokens(bad, &["t="]).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_hold_on_segment_boundaries() {
        let path = |text| CleanPath::parse(text).expect("clean");
        assert!(path("/v/abc").is_under("/v/abc"));
        assert!(path("/v/abc/x").is_under("/v/abc"));
        assert!(path("/v/abc/x").is_under("/v/abc/"));
        assert!(!path("/v/abcd").is_under("/v/abc"));
        assert!(!path("/v/abc").is_under("/v/abc/"));
        assert!(path("/anything").is_under("/"));
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_never_changes(text in "\\PC*") {
            if let Ok(clean) = CleanPath::parse(&text) {
                prop_assert_eq!(clean.raw(), text.as_str());
            }
        }

        #[test]
        fn no_decoder_climbs_out(text in "/v/[a./%2eEfF5cC;\\\\]{0,24}") {
            if let Ok(clean) = CleanPath::parse(&text) {
                let once = percent_decode(clean.raw()).expect("clean paths decode");
                // A clean path holds no encoded percent sign, so decoding twice changes nothing.
                prop_assert_eq!(percent_decode(&once), Some(once.clone()));
                for reading in [clean.raw(), once.as_str()] {
                    prop_assert!(reading.split('/').all(|segment| segment != ".." && segment != "."));
                    prop_assert!(reading.starts_with("/v/"));
                }
            }
        }

        #[test]
        fn what_is_encoded_is_taken_back(text in "[a-zA-Z0-9 éü~'()@:-]{1,20}") {
            let raw = format!("/{}", percent_encode(&text));
            let clean = CleanPath::parse(&raw).expect("clean");
            prop_assert_eq!(clean.decoded(), format!("/{text}"));
        }
    }
}

//! Web addresses and references to them (RFC 3986), read so that every player's reading is covered.
//!
//! Players resolve links with RFC 3986 code or with the WHATWG URL parser. Where the two differ on
//! the host (backslashes, controls, `http:x`, `///x`, user information) the reference is refused:
//! a ticket must not hang on which of them is right.

use std::borrow::Cow;

/// An `http` or `https` address taken apart. Two of them are equal when they name the same resource byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Absolute {
    https: bool,
    host: String,
    port: u16,
    path: String,
    query: Option<String>,
}

/// A reference split as in RFC 3986 appendix B; nothing is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'u> {
    /// Before `:`, where that comes before any `/`, `?` or `#`.
    pub scheme: Option<&'u str>,
    /// After `//`.
    pub authority: Option<&'u str>,
    /// May be empty.
    pub path: &'u str,
    /// After `?`.
    pub query: Option<&'u str>,
    /// After `#`.
    pub fragment: Option<&'u str>,
}

impl<'u> Reference<'u> {
    /// Splits `uri`; every text is a reference.
    #[must_use]
    pub fn split(uri: &'u str) -> Self {
        let (rest, fragment) = cut(uri, '#');
        let (rest, query) = cut(rest, '?');
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                (Some(&after[..end]), &after[end..])
            }
            None => (None, rest),
        };
        Self { scheme, authority, path, query, fragment }
    }

    /// Puts the parts together again (RFC 3986 §5.3).
    #[must_use]
    pub fn join(&self) -> String {
        let mut out = String::with_capacity(self.path.len() + self.query.map_or(0, str::len) + 32);
        if let Some(scheme) = self.scheme {
            out.push_str(scheme);
            out.push(':');
        }
        if let Some(authority) = self.authority {
            out.push_str("//");
            out.push_str(authority);
        }
        out.push_str(self.path);
        if let Some(query) = self.query {
            out.push('?');
            out.push_str(query);
        }
        if let Some(fragment) = self.fragment {
            out.push('#');
            out.push_str(fragment);
        }
        out
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Whether two parsers may read `uri` differently for its bytes alone.
fn is_ambiguous(uri: &str) -> bool {
    // WHATWG URL: backslash is a slash, tab and line ends vanish, spaces and controls at the ends are cut off.
    uri.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'\\') || uri.starts_with(' ') || uri.ends_with(' ')
}

impl Absolute {
    /// Takes `uri` apart, dot segments resolved, fragment dropped. `None`: not http or https, no host, user
    /// information, or bytes that parsers disagree on.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        if is_ambiguous(uri) {
            return None;
        }
        let split = Reference::split(uri);
        let https = https_of(split.scheme?)?;
        Self::from_authority(https, &split)
    }

    fn from_authority(https: bool, split: &Reference<'_>) -> Option<Self> {
        let (host, port) = host_and_port(split.authority?)?;
        let path = if split.path.is_empty() { "/".into() } else { remove_dots(split.path).into_owned() };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host, port, path, query: split.query.map(str::to_owned) })
    }

    /// What a player fetches for `reference` standing in a document of this address (RFC 3986 §5.2).
    /// `None` as in [`Absolute::parse`].
    #[must_use]
    pub fn join(&self, reference: &str) -> Option<Self> {
        if is_ambiguous(reference) {
            return None;
        }
        let split = Reference::split(reference);
        if let Some(scheme) = split.scheme {
            return Self::from_authority(https_of(scheme)?, &split);
        }
        if split.authority.is_some() {
            return Self::from_authority(self.https, &split);
        }
        // RFC 3986 §4.2: a colon in the first segment makes it no relative reference; lenient parsers find a scheme there.
        if split.path.split('/').next().is_some_and(|first| first.contains(':')) {
            return None;
        }
        let query = if split.path.is_empty() { split.query.or(self.query.as_deref()) } else { split.query };
        Some(self.at(self.resolve_path(split.path), query))
    }

    fn resolve_path(&self, path: &str) -> String {
        if path.is_empty() {
            self.path.clone()
        } else if path.starts_with('/') {
            remove_dots(path).into_owned()
        } else {
            let folder = self.path.rfind('/').map_or("/", |end| &self.path[..=end]);
            remove_dots(&format!("{folder}{path}")).into_owned()
        }
    }

    fn at(&self, path: String, query: Option<&str>) -> Self {
        Self { https: self.https, host: self.host.clone(), port: self.port, path, query: query.map(str::to_owned) }
    }

    /// The same address with another path.
    #[must_use]
    pub fn with_path(&self, path: String) -> Self {
        self.at(path, self.query.as_deref())
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host in lower case, without port; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the port is the scheme's own.
    #[must_use]
    pub fn has_default_port(&self) -> bool {
        self.port == if self.https { 443 } else { 80 }
    }

    /// The path, from its first `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

fn https_of(scheme: &str) -> Option<bool> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(true)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(false)
    } else {
        None
    }
}

/// Host and port of an authority that every parser reads alike: a plain ASCII name, an IPv4 address or a
/// bracketed IPv6 address. Percent-encoded and non-ASCII hosts may be mapped by the player, so they are nobody's.
pub(crate) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(inner) => inner.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_end);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    fits.then(|| (host.to_ascii_lowercase(), port))
}

/// Removes dot segments (RFC 3986 §5.2.4) of a path that begins with `/`. Encoded dots count, as in the WHATWG URL parser.
pub(crate) fn remove_dots(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|segment| dots(segment) > 0) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let dots = dots(segment);
        if dots == 2 {
            kept.pop();
        }
        if dots == 0 {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

/// 1 for `.`, 2 for `..`, encoded or not; 0 for any other segment.
fn dots(segment: &str) -> usize {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(after) => after,
            None => match rest.get(..3) {
                Some(triplet) if triplet.eq_ignore_ascii_case("%2e") => &rest[3..],
                _ => return 0,
            },
        };
        count += 1;
    }
    if count > 2 { 0 } else { count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Absolute {
        Absolute::parse("https://GW.example:443/a/b/c.m3u8?q=1").expect("base")
    }

    #[test]
    fn references_resolve_as_in_rfc_3986() {
        let base = Absolute::parse("http://a/b/c/d;p?q").expect("RFC 3986 §5.4 base");
        let cases = [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("", "/b/c/d;p"),
            (".", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("...", "/b/c/..."),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g;x=1/../y", "/b/c/y"),
            ("%2E%2e/g", "/b/g"),
        ];
        for (reference, path) in cases {
            assert_eq!(base.join(reference).expect(reference).path(), path, "{reference}");
        }
        assert_eq!(base.join("?y").expect("query").query(), Some("y"));
        assert_eq!(base.join("g?y#s").expect("query").query(), Some("y"));
        assert_eq!(base.join("//g").expect("host").host(), "g");
    }

    #[test]
    fn hosts_are_compared_without_case_and_default_port() {
        assert_eq!(base().host(), "gw.example");
        assert!(base().has_default_port());
        assert_eq!(Absolute::parse("http://[::1]:8080/x").map(|a| (a.host().to_owned(), a.port())), Some(("[::1]".into(), 8080)));
    }

    #[test]
    fn what_parsers_disagree_on_is_nobody() {
        let refused = [
            "https:x",
            "https:/x",
            "https:///x",
            "///evil.example/x",
            "/\\evil.example",
            "\\\\evil.example/x",
            "https://user@gw.example/",
            "//u:p@gw.example/x",
            "ht\ttps://gw.example/",
            "https://gw.example/\r\nx",
            " https://evil.example/",
            "https://gw%2eexample/",
            "https://ｇｗ.example/",
            "https://gw.example:x/",
            "https://gw.example:99999/",
            "https://[::1/",
            "data:text/plain,x",
            "skd://x",
            "urn:x",
            "blob:https://gw.example/x",
            "x\u{7f}",
            "h ttps://evil.example/",
            "1:b",
        ];
        for reference in refused {
            assert_eq!(base().join(reference), None, "{reference}");
        }
    }

    #[test]
    fn splitting_loses_nothing() {
        for uri in ["a", "", "?", "#", "a?b?c#d#e?f", "//h", "//h?x", "s://h/p", "a:b", "1:b", "/a:b", "a/b:c"] {
            assert_eq!(Reference::split(uri).join(), uri);
        }
    }
}

//! The URI that RFC 9246 matches: without the token, normalised (RFC 3986 §6.2.2, §6.2.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::Regex;

use crate::query;
use crate::token::scheme::digest::{Hash, same};
use crate::token::scheme::pattern;
use crate::token::{Denial, RequestFacts};

/// Which URIs a token opens (`cdniuc`, RFC 9246 §2.1.15).
pub(super) enum Container {
    /// `regex:`: a POSIX extended regular expression, matched from end to end.
    Regex(Regex),
    /// `hash:`: the digest of one URI, as the segment of an `ni` URL (RFC 6920 §3).
    Hash(Vec<u8>),
}

impl Container {
    /// # Errors
    /// [`Denial::Unsupported`] for other containers, hash functions and broken patterns.
    pub(super) fn parse(text: &str) -> Result<Self, Denial> {
        if let Some(regex) = text.strip_prefix("regex:") {
            return pattern::compile(regex, true).map(Self::Regex);
        }
        let hash = text.strip_prefix("hash:").and_then(|rest| rest.strip_prefix("sha-256;")).ok_or(Denial::Unsupported)?;
        let digest = URL_SAFE_NO_PAD.decode(hash).map_err(|_| Denial::Unsupported)?;
        if digest.len() == 32 { Ok(Self::Hash(digest)) } else { Err(Denial::Unsupported) }
    }

    pub(super) fn holds(&self, uri: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(uri),
            Self::Hash(digest) => same(&Hash::Sha256.of(&[uri.as_bytes()]), digest),
        }
    }
}

/// The request's URI without the parameter `name`.
pub(super) fn of(facts: &RequestFacts<'_>, name: &str) -> String {
    let authority = match facts.port {
        Some(port) if port != if facts.https { 443 } else { 80 } => format!("{}:{port}", facts.host),
        _ => facts.host.to_owned(),
    };
    normalised(facts.https, &authority, facts.path.raw(), facts.query, name)
}

/// The normal form of a URI of these parts, the parameter `name` taken out.
pub(super) fn normalised(https: bool, authority: &str, path: &str, query: Option<&str>, name: &str) -> String {
    let mut out = format!("{}://{}", if https { "https" } else { "http" }, authority.to_ascii_lowercase());
    push_normal(&mut out, &without_parameter(path, name));
    if let Some(kept) = query.and_then(|query| query::without(query, |have| have == name)) {
        out.push('?');
        push_normal(&mut out, &kept);
    }
    out
}

/// `path` without the path parameter `name`, wherever it stands.
pub(super) fn without_parameter(path: &str, name: &str) -> String {
    let is_it = |part: &&str| part.split_once('=').is_some_and(|(have, _)| have == name);
    let clean = |segment: &str| {
        let mut parts = segment.split(';');
        let first = parts.next().unwrap_or("").to_owned();
        parts.filter(|part| !is_it(part)).fold(first, |out, part| out + ";" + part)
    };
    path.split('/').map(clean).collect::<Vec<_>>().join("/")
}

/// Percent-encoding in its normal form: unreserved characters plain, hex digits upper case.
pub(in crate::token::scheme) fn push_normal(out: &mut String, raw: &str) {
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let triplet = rest.get(at..at + 3).filter(|t| t[1..].bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(triplet) = triplet else {
            out.push('%');
            rest = &rest[at + 1..];
            continue;
        };
        match u8::from_str_radix(&triplet[1..], 16) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&triplet.to_ascii_uppercase()),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uris_have_one_form() {
        let uri = |path, query| normalised(true, "Media.Example.com", path, query, "T");
        assert_eq!(uri("/a;T=x/b%c3%a9%7E", Some("a=1&T=y&b=%2f%41")), "https://media.example.com/a/b%C3%A9~?a=1&b=%2FA");
        assert_eq!(uri("/a;x=1;T=x;y", Some("T=y")), "https://media.example.com/a;x=1;y");
        assert_eq!(uri("/a", Some("%zz")), "https://media.example.com/a?%zz");
    }

    proptest! {
        #[test]
        fn the_form_is_stable(text in "[a-zA-Z0-9%~/é]{0,30}") {
            let mut once = String::new();
            push_normal(&mut once, &text);
            // A second pass may decode what `%25` hid only if the first one decoded a percent sign, which it never does.
            if !text.contains("%%") && !text.contains("%25") {
                let mut twice = String::new();
                push_normal(&mut twice, &once);
                prop_assert!(once.len() <= text.len() && twice.len() <= once.len());
            }
        }
    }
}

//! Query strings read without rewriting them.
//!
//! Pairs keep their raw bytes, so that what a signature covered and what goes upstream is what came
//! in. Taking a parameter out leaves every other byte where it was.

use crate::path::{percent_decode, push_escaped};

/// The `name[=value]` pairs of a raw query, in order, undecoded. Empty pairs (`a&&b`) are skipped.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A name or value decoded: `+` is a space (form encoding), then `%XX`. `None` when broken or not UTF-8.
#[must_use]
pub fn decode(raw: &str) -> Option<String> {
    if raw.contains('+') { percent_decode(&raw.replace('+', " ")) } else { percent_decode(raw) }
}

/// The raw values of parameter `name`, compared after decoding, so that `t%6Fken` is `token`.
pub fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = &'q str> {
    pairs(query).filter(move |(raw, _)| same_name(raw, name)).map(|(_, value)| value)
}

/// The query without the parameters that `drop` names; `None` when nothing is left.
#[must_use]
pub fn without(query: &str, drop: impl Fn(&str) -> bool) -> Option<String> {
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            !decode(name).is_some_and(|name| drop(&name))
        })
        .collect();
    if kept.iter().all(|pair| pair.is_empty()) { None } else { Some(kept.join("&")) }
}

/// Adds `name=value`, both encoded, at the end of `query`.
pub fn push(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    encode_into(query, name);
    query.push('=');
    encode_into(query, value);
}

/// Encodes all but RFC 3986 unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            push_escaped(out, byte);
        }
    }
}

fn same_name(raw: &str, name: &str) -> bool {
    raw == name || (raw.contains(['%', '+']) && decode(raw).as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_under_any_spelling_of_the_name() {
        let query = "a=1&t%6Fken=x&token=y&tokens=z&token";
        assert_eq!(values(query, "token").collect::<Vec<_>>(), ["x", "y", ""]);
    }

    #[test]
    fn taking_out_leaves_the_rest_as_it_was() {
        assert_eq!(without("a=%2f&token=x&b", |n| n == "token").as_deref(), Some("a=%2f&b"));
        assert_eq!(without("t%6fken=x", |n| n == "token"), None);
        assert_eq!(without("", |_| true), None);
    }

    #[test]
    fn pushed_values_come_back() {
        let mut query = String::from("a=1");
        push(&mut query, "né", "x y&z");
        assert_eq!(query, "a=1&n%C3%A9=x%20y%26z");
        assert_eq!(values(&query, "né").next().and_then(decode).as_deref(), Some("x y&z"));
    }
}

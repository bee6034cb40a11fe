//! Path segments below a route's prefix. Paths here are clean, so a segment has one spelling.

use std::cmp::Ordering;

use super::PlaceFault;
use crate::path::push_escaped;

/// How many segments of `below` begin with `prefix`.
pub(super) fn count(below: &str, prefix: &str) -> usize {
    below.split('/').filter(|segment| begins(segment, prefix)).count()
}

fn begins(segment: &str, prefix: &str) -> bool {
    let same = |text: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    // `%3D` for `=`: clean paths may hold encoded delimiters.
    same(segment) || crate::path::percent_decode(segment).is_some_and(|decoded| same(&decoded))
}

/// `below` without them; `None` when there are none.
pub(super) fn without(below: &str, prefix: &str) -> Option<String> {
    if count(below, prefix) == 0 {
        return None;
    }
    let kept: Vec<&str> = below.split('/').filter(|segment| !begins(segment, prefix)).collect();
    let kept = kept.join("/");
    Some(if kept.starts_with('/') { kept } else { format!("/{kept}") })
}

/// `below` with `value` as its segment `index`, in place of the one there or in front of it.
pub(super) fn with_segment(below: &str, index: usize, replaces: bool, value: &str) -> Result<String, PlaceFault> {
    if value.is_empty() || value == "." || value == ".." {
        return Err(PlaceFault::Value);
    }
    let value = encoded(value);
    let below = below.strip_prefix('/').unwrap_or(below);
    let mut segments: Vec<&str> = if below.is_empty() { Vec::new() } else { below.split('/').collect() };
    match index.cmp(&segments.len()) {
        Ordering::Less if replaces => segments[index] = &value,
        Ordering::Less | Ordering::Equal => segments.insert(index, &value),
        Ordering::Greater => return Err(PlaceFault::Short),
    }
    Ok(format!("/{}", segments.join("/")))
}

/// As one segment: what may stand raw in one does (RFC 3986 §3.3), the rest is encoded, slashes and `;` with it.
fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            push_escaped(&mut out, byte);
        }
    }
    out
}

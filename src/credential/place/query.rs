//! Query parameters, under every spelling that some origin takes for the same name.

use std::borrow::Cow;

/// Whether some origin could take a parameter that came as `raw` for the one called `name`.
///
/// Told apart by none of these: case (IIS and ASP.NET), percent-encoding (once or twice), blanks around it, `.` and blanks for `_`
/// and an index in brackets (PHP, Rack), what stands behind a NUL.
#[must_use]
pub fn could_be(raw: &str, name: &str) -> bool {
    if raw == name {
        return true;
    }
    let came = fold(&decoded(raw));
    let meant = fold(name);
    let bare = came.find('[').filter(|at| *at > 0).map_or(came.as_str(), |at| &came[..at]);
    came == meant || bare == meant
}

fn fold(name: &str) -> String {
    let name = name.split('\0').next().unwrap_or(name).trim();
    name.chars().map(|letter| if matches!(letter, '.' | ' ' | '+') { '_' } else { letter.to_ascii_lowercase() }).collect()
}

/// Decoded until nothing changes: a name that has to be decoded twice is not an honest one.
fn decoded(raw: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(raw);
    for _ in 0..3 {
        if !text.contains(['%', '+']) {
            break;
        }
        text = Cow::Owned(lossy(&text));
    }
    text
}

/// Decoded as a lenient origin does: broken triplets stay as they are, bytes that are not UTF-8 become U+FFFD.
fn lossy(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| raw.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The raw pairs; `;` parts them too, for origins that still take it so (HTML 4.01 B.2.2).
fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split(['&', ';'])
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// How many pairs could be it.
pub(super) fn count(query: &str, name: &str) -> usize {
    pairs(query).filter(|pair| could_be(name_of(pair), name)).count()
}

/// The query without them, every other byte where it was; `None` when nothing is left.
pub(super) fn without(query: &str, name: &str) -> Option<String> {
    if count(query, name) == 0 {
        return Some(query.to_owned());
    }
    let mut out = String::with_capacity(query.len());
    for part in query.split_inclusive(['&', ';']) {
        let pair = part.trim_end_matches(['&', ';']);
        if !could_be(name_of(pair), name) {
            out.push_str(part);
        }
    }
    let kept = out.trim_end_matches(['&', ';']);
    (!kept.is_empty()).then(|| kept.to_owned())
}

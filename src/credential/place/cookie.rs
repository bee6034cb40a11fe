//! Cookies, under every spelling that some origin takes for the same name.

use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::PlaceFault;
use super::query::could_be;

/// The pairs of a line. Old servers part at commas too (RFC 2109 §4.3.4).
fn is_twin(pair: &str, name: &str) -> bool {
    pair.split(',').any(|part| {
        let came = part.split_once('=').map_or(part, |(came, _)| came);
        could_be(came.trim().trim_matches('"'), name)
    })
}

pub(super) fn count(headers: &HeaderMap, name: &str) -> usize {
    let lines = headers.get_all(COOKIE).iter().map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    lines.map(|line| line.split(';').filter(|pair| is_twin(pair, name)).count()).sum()
}

/// Takes them out; a line without any stays byte for byte.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    if count(headers, name) == 0 {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let pieces = line.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_twin(&String::from_utf8_lossy(pair), name));
        let kept: Vec<&[u8]> = pieces.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).collect();
        if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept.join(&b"; "[..]))) {
            headers.append(COOKIE, value);
        }
    }
}

/// Adds the pair to the one `Cookie` line: HTTP/1.1 has a single one (RFC 6265 §5.4).
pub(super) fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), PlaceFault> {
    // RFC 6265 §4.1.1, cookie-octet.
    let fine = |b: u8| matches!(b, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if !value.bytes().all(fine) {
        return Err(PlaceFault::Value);
    }
    let ours = format!("{name}={value}");
    let before: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).chain([ours.as_bytes()]).collect();
    let mut line = HeaderValue::from_bytes(&before.join(&b"; "[..])).map_err(|_| PlaceFault::Value)?;
    line.set_sensitive(true);
    headers.insert(COOKIE, line);
    Ok(())
}

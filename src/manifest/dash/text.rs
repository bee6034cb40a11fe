//! XML character data as written and as meant, and `xs:duration`.

use std::time::Duration;

use super::super::ManifestFault;
use super::super::splice::Expanded;

/// Undoes references. Only the five predefined entities and character references are known (XML 1.0 §4.6).
///
/// # Errors
/// [`ManifestFault::Malformed`] for any other.
pub(super) fn unescape(raw: &str) -> Result<Expanded<'_>, ManifestFault> {
    if !raw.contains('&') {
        return Ok(Expanded::plain(raw));
    }
    let mut out = Expanded::pieces();
    let mut rest = raw;
    while let Some(start) = rest.find('&') {
        let (before, reference) = rest.split_at(start);
        out.push_literal(before);
        let end = reference.find(';').ok_or(ManifestFault::Malformed)?;
        let meant = meaning(&reference[1..end]).ok_or(ManifestFault::Malformed)?;
        out.push_meaning(meant.encode_utf8(&mut [0; 4]), end + 1);
        rest = &reference[end + 1..];
    }
    out.push_literal(rest);
    Ok(out)
}

fn meaning(name: &str) -> Option<char> {
    let code = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => name.strip_prefix('#')?,
    };
    let (digits, radix) = code.strip_prefix('x').map_or((code, 10), |hex| (hex, 16));
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|code| plain && *code != 0).and_then(char::from_u32)
}

/// `text` fit to stand in an attribute of either quote, or in text.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}

/// An `xs:duration`; a year is 365 days and a month 30. `None` for a negative or broken one.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (date, time) = text.trim().strip_prefix('P').map(|rest| rest.split_once('T').map_or((rest, ""), |(d, t)| (d, t)))?;
    let date = fields(date, &[('Y', 365.0 * 86400.0), ('M', 30.0 * 86400.0), ('D', 86400.0)])?;
    let time = fields(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(date + time).ok()
}

fn fields(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = text[end..].chars().next()?;
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        let digits = &text[..end];
        let count: f64 = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| digits.parse().ok())??;
        seconds += count * worth;
        text = &text[end + 1..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases =
            [("PT4S", 4.0), ("PT0H1M30.5S", 90.5), ("P1DT1S", 86401.0), ("P1Y", 31_536_000.0), ("P1M", 2_592_000.0), ("PT1M", 60.0)];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Duration::try_from_secs_f64(seconds).ok(), "{text}");
        }
        for broken in ["", "4", "-PT4S", "PT4", "PT4X", "PTS", "PT1S1M", "P1S", "PT-1S", "PT1e9S", "PTéS"] {
            assert_eq!(duration(broken), None, "{broken}");
        }
        assert_eq!(duration("PT99999999999999999999999999S"), None);
    }

    #[test]
    fn references_are_undone_and_made() {
        assert_eq!(unescape("a?x=1&amp;y=&#x32;&#51;").expect("known").text(), "a?x=1&y=23");
        assert_eq!(escape("a&<>\"'"), "a&amp;&lt;&gt;&quot;&apos;");
        for broken in ["&", "&x;", "&amp", "&#;", "&#x;", "&#0;", "&#xD800;", "&#+1;", "& amp;"] {
            assert_eq!(unescape(broken).err(), Some(ManifestFault::Malformed), "{broken}");
        }
    }
}

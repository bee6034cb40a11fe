//! Moments as URL schemes write them, to seconds since 1970 and back.
//!
//! Every form has one spelling for a moment but [`Form::Any`], where the text itself is signed.

use schemars::JsonSchema;
use serde::Deserialize;

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Decimal seconds since 1970.
    #[default]
    Unix,
    /// The same in hex, of either case.
    Hex,
    /// Seconds since 1970, in decimal or, with eight digits, in hex.
    UnixOrHex,
    /// `YYYYMMDDHHMM`.
    Minute,
    /// `M/D/YYYY h:mm:ss AM`, as Nimble Streamer writes it.
    UsDate,
    /// Decimal seconds, ISO 8601 (`2025-10-09T08:52:20Z`, `…+02:00`) or an HTTP date (RFC 9110 §5.6.7),
    /// plain or percent-encoded, as the nginx HMAC module takes them.
    Any,
}

impl Form {
    /// The moment in `text`. Decimal numbers have at most ten digits and no leading zero, so that a
    /// moment lies before the year 2287 and has one spelling.
    #[must_use]
    pub fn read(self, text: &str) -> Option<i64> {
        match self {
            Self::Unix => decimal(text),
            Self::Hex => hex(text),
            Self::UnixOrHex if text.len() == 8 => hex(text),
            Self::UnixOrHex => decimal(text),
            Self::Minute => minute(text),
            Self::UsDate => us_date(text),
            Self::Any => any(text),
        }
    }

    /// `moment` in this form.
    #[must_use]
    pub fn write(self, moment: i64) -> String {
        let (year, month, day) = civil(moment.div_euclid(86_400));
        let (hour, minute, second) = (moment.rem_euclid(86_400) / 3600, moment.rem_euclid(3600) / 60, moment.rem_euclid(60));
        match self {
            Self::Unix | Self::UnixOrHex | Self::Any => moment.to_string(),
            Self::Hex => format!("{moment:X}"),
            Self::Minute => format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}"),
            Self::UsDate => {
                let half = if hour < 12 { "AM" } else { "PM" };
                format!("{month}/{day}/{year} {}:{minute:02}:{second:02} {half}", (hour + 11) % 12 + 1)
            }
        }
    }

    /// How many bytes a moment of our time always has in this form, where it has a fixed width.
    #[must_use]
    pub const fn width(self) -> Option<usize> {
        match self {
            Self::Unix => Some(10),
            Self::Hex => Some(8),
            Self::Minute => Some(12),
            Self::UnixOrHex | Self::UsDate | Self::Any => None,
        }
    }
}

fn decimal(text: &str) -> Option<i64> {
    let one_spelling = text == "0" || !text.starts_with('0');
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if one_spelling && digits { text.parse().ok() } else { None }
}

fn hex(text: &str) -> Option<i64> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { i64::from_str_radix(text, 16).ok() } else { None }
}

fn digits(text: &str, from: usize, len: usize) -> Option<i64> {
    let part = text.get(from..from + len)?;
    part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
}

fn minute(text: &str) -> Option<i64> {
    if text.len() != 12 {
        return None;
    }
    let at = |from, len| digits(text, from, len);
    seconds((at(0, 4)?, at(4, 2)?, at(6, 2)?), (at(8, 2)?, at(10, 2)?, 0))
}

fn us_date(text: &str) -> Option<i64> {
    let mut words = text.split(' ');
    let (date, time, half) = (words.next()?, words.next()?, words.next()?);
    let (date, time) = (numbers(date, '/')?, numbers(time, ':')?);
    let hour = match (half, time.0) {
        ("AM", 12) => 0,
        ("PM", 12) => 12,
        ("AM", 1..=11) => time.0,
        ("PM", 1..=11) => time.0 + 12,
        _ => return None,
    };
    if words.next().is_some() { None } else { seconds((date.2, date.0, date.1), (hour, time.1, time.2)) }
}

fn numbers(text: &str, by: char) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(by).map(|part| if part.len() <= 4 { digits(part, 0, part.len()) } else { None });
    let all = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(all)
}

fn any(text: &str) -> Option<i64> {
    let text = crate::path::percent_decode(text)?;
    decimal(&text).or_else(|| iso(&text)).or_else(|| http_date(&text)).or_else(|| http_date(&text.replace('+', " ")))
}

fn iso(text: &str) -> Option<i64> {
    let at = |from, len| digits(text, from, len);
    let signs = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !signs.iter().all(|(at, sign)| text.get(*at..at + 1) == Some(sign)) {
        return None;
    }
    let local = seconds((at(0, 4)?, at(5, 2)?, at(8, 2)?), (at(11, 2)?, at(14, 2)?, at(17, 2)?))?;
    let zone = text.get(19..)?;
    if zone == "Z" {
        return Some(local);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    let whole = zone.len() == 6 && zone.get(3..4) == Some(":") && hours <= 14 && minutes < 60;
    whole.then(|| local - sign * (hours * 3600 + minutes * 60))
}

fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = text.get(3..)?.strip_prefix(", ")?;
    let month = MONTHS.iter().position(|name| rest.get(3..6) == Some(*name))?;
    let at = |from, len| digits(rest, from, len);
    let signs = [(2, " "), (6, " "), (11, " "), (14, ":"), (17, ":")];
    let formed = signs.iter().all(|(at, sign)| rest.get(*at..at + 1) == Some(sign)) && rest.get(20..) == Some(" GMT");
    let month = i64::try_from(month).ok()? + 1;
    if formed { seconds((at(7, 4)?, month, at(0, 2)?), (at(12, 2)?, at(15, 2)?, at(18, 2)?)) } else { None }
}

/// Seconds since 1970 of a UTC date and time; `None` when there is no such day or hour.
fn seconds((year, month, day): (i64, i64, i64), (hour, minute, second): (i64, i64, i64)) -> Option<i64> {
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !in_range || day < 1 {
        return None;
    }
    let days = days_of(year, month, day);
    (civil(days) == (year, month, day)).then(|| days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a day of the Gregorian calendar, years counted from March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The day of the Gregorian calendar that is so many days after 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_760_000_000; // 2025-10-09T08:53:20Z

    #[test]
    fn every_form_reads_the_same_moment() {
        for (form, text, want) in [
            (Form::Unix, "1760000000", NOW),
            (Form::Hex, "68E77800", NOW),
            (Form::UnixOrHex, "68e77800", NOW),
            (Form::UnixOrHex, "1760000000", NOW),
            (Form::Minute, "202510090853", NOW - 20),
            (Form::UsDate, "10/09/2025 08:53:20 AM", NOW),
            (Form::UsDate, "10/9/2025 8:53:20 PM", NOW + 12 * 3600),
            (Form::Any, "2025-10-09T08:53:20Z", NOW),
            (Form::Any, "2025-10-09T10:53:20+02:00", NOW),
            (Form::Any, "2025-10-09T10:53:20%2B02:00", NOW),
            (Form::Any, "Thu,%2009%20Oct%202025%2008:53:20%20GMT", NOW),
            (Form::Any, "Thu%2C+09+Oct+2025+08%3A53%3A20+GMT", NOW),
        ] {
            assert_eq!(form.read(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "-5", "+5", "abc", "01760000000", "17600000000", "1e9", " 1", "1760000000 "] {
            assert_eq!(Form::Unix.read(text), None, "{text}");
        }
        for text in ["202513090853", "202502300853", "20251009085", "2025100908530"] {
            assert_eq!(Form::Minute.read(text), None, "{text}");
        }
        for text in ["13/09/2025 08:53:20 AM", "10/09/2025 13:53:20 AM", "10/09/2025 08:53:20", "10/09/2025 08:53:20 AM x"] {
            assert_eq!(Form::UsDate.read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(moment in 1_000_000_000_i64..9_999_999_999) {
            for form in [Form::Unix, Form::Hex, Form::UsDate, Form::Any] {
                prop_assert_eq!(form.read(&form.write(moment)), Some(moment));
            }
            prop_assert_eq!(Form::Minute.read(&Form::Minute.write(moment)), Some(moment - moment % 60));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            for form in [Form::Unix, Form::Hex, Form::UnixOrHex, Form::Minute, Form::UsDate, Form::Any] {
                let _ = form.read(&text);
            }
        }
    }
}

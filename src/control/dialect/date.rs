//! Dates as the vendors write them.

use crate::clock::UnixTime;

/// Days from 1970-01-01 to 0000-03-01, where the count of years begins: leap days then stand at the end of a year.
const EPOCH: i64 = 719_468;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let era = days.div_euclid(ERA);
    let day = days.rem_euclid(ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + turn, month, date)
}

fn written(time: UnixTime, end: &str) -> String {
    // Years of four digits only.
    let seconds = time.0.clamp(-62_167_219_200, 253_402_300_799);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{end}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// `2020-12-02T10:13:19+00:00`, as api.video writes it (PHP's `DATE_ATOM`).
#[must_use]
pub fn atom(time: UnixTime) -> String {
    written(time, "+00:00")
}

/// `2020-12-02T10:13:19Z` (RFC 3339), as Cloudflare writes it.
#[must_use]
pub fn zulu(time: UnixTime) -> String {
    written(time, "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_606_903_999, "2020-12-02T10:13:19Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(zulu(UnixTime(seconds)), text);
        }
        assert_eq!(atom(UnixTime(1_606_903_999)), "2020-12-02T10:13:19+00:00");
    }
}

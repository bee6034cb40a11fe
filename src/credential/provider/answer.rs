//! What the answers of all vendors have in common: when to come again, and JSON.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

use super::Refused;
use crate::clock::UnixTime;

/// Seconds to wait before the next call, where the answer says so: `X-RateLimit-Retry-After` or `Retry-After` (RFC 9110
/// §10.2.3), of which the longer one holds.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<u64> {
    let said = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        text.parse::<u64>().ok().or_else(|| u64::try_from(http_date(text)?.since(now)).ok())
    };
    said("retry-after").max(said("x-ratelimit-retry-after"))
}

/// An IMF-fixdate (RFC 9110 §5.6.7), the one form of dates that is sent.
fn http_date(text: &str) -> Option<UnixTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let clock: Vec<i64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hour, minute, second] = clock[..] else { return None };
    if !(1..=31).contains(&day) || !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years begin in March, so that the leap day is the last one of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(UnixTime(days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// What every vendor means by these statuses: 429 too many calls; 408, 425 and 5xx later. `None` for all others.
#[must_use]
pub fn refusal(response: &Response<Bytes>, now: UnixTime) -> Option<Refused> {
    let status = response.status();
    let wait = retry_after(response.headers(), now);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Refused::Limited(wait)),
        _ if status.is_server_error() && wait.is_some() => Some(Refused::Limited(wait)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Some(Refused::Transient(format!("status {}", status.as_u16()))),
        _ if status.is_server_error() => Some(Refused::Transient(format!("status {}", status.as_u16()))),
        _ => None,
    }
}

/// The body as an object.
///
/// # Errors
/// [`Refused::Malformed`]; the body is not quoted, it could hold a secret.
pub fn object(response: &Response<Bytes>) -> Result<Map<String, Value>, Refused> {
    serde_json::from_slice(response.body()).map_err(|_| Refused::Malformed("the answer is not a JSON object".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_wait_holds() {
        let now = UnixTime(784_111_777 - 60);
        for (fields, wait) in [
            (&[("retry-after", "7")][..], Some(7)),
            (&[("retry-after", "7"), ("x-ratelimit-retry-after", "9")], Some(9)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(60)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            let headers: HeaderMap =
                fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))).collect();
            assert_eq!(retry_after(&headers, now), wait, "{fields:?}");
        }
    }

    #[test]
    fn dates_are_counted_over_leap_years() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(http_date(text), Some(UnixTime(seconds)), "{text}");
        }
        for bad in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }
}

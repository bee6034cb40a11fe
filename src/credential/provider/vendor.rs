//! What the vendors' providers share: calls in JSON and in forms, what answers hold, and what a refusal means.
//!
//! A reason given to the operator holds words of the vendor's error code only, never a body: bodies
//! repeat what was sent.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::{Map, Value};

use super::Refused;
use crate::clock::UnixTime;
use crate::credential::base_url::BaseUrl;
use crate::credential::config::{Around, SecretIn};
use crate::token::carrier::field_value;
use crate::token::{Key, KeySet, json};

/// Largest answer that is read as JSON, as the trait says.
const MOST: usize = 1024 * 1024;

/// Longest word of a vendor's that is shown.
const LONGEST_WORD: usize = 64;

/// Longest wait that a vendor may ask for, in seconds: a day.
const LONGEST_WAIT: u64 = 86_400;

/// What is wrong with a table: the key and a sentence for the operator, one after the other.
#[derive(Debug, Default)]
pub struct Faults(pub Vec<(&'static str, String)>);

impl Faults {
    /// Notes `sentence` at `key` where it is so.
    pub fn when(&mut self, key: &'static str, is: bool, sentence: impl Into<String>) {
        if is {
            self.0.push((key, sentence.into()));
        }
    }
}

/// The address that the key `key` says, where a vendor is asked.
///
/// # Errors
/// A sentence for the operator.
pub fn base(key: &str, url: &str) -> Result<BaseUrl, String> {
    BaseUrl::parse(url).map_err(|fault| format!("{key}: {fault}"))
}

/// An id that may stand in a path: 1 to 128 letters, digits, `-` and `_`.
///
/// # Errors
/// [`Refused::Malformed`] when it is absent or anything else.
pub fn id<'a>(what: &str, text: Option<&'a str>) -> Result<&'a str, Refused> {
    let good = |text: &&str| {
        (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.filter(good).ok_or_else(|| Refused::Malformed(format!("{what} is missing or not one")))
}

/// Signs a vendor's tokens here, as the config `C` says.
#[derive(Debug)]
pub struct LocalSigner<C> {
    /// A private RSA key.
    pub key: Arc<Key>,
    /// What it signs.
    pub config: C,
}

impl<C> LocalSigner<C> {
    /// Takes its config, and reads the key with the id `id`.
    ///
    /// # Errors
    /// A sentence for the operator, without the key.
    pub fn new(config: &C, (id, key): (Option<&str>, &SecretIn<'_>), around: &Around<'_>) -> Result<Self, String>
    where
        C: Clone,
    {
        let key = around.secret(key)?;
        let id = id.ok_or("signing_key_id is missing")?;
        let keys = KeySet::parse(key.expose().as_bytes(), Some(id), None).map_err(|fault| fault.to_string())?;
        let key = keys.signing(None).filter(|key| key.algorithm().jose_name() == Some("RS256"));
        Ok(Self { key: key.cloned().ok_or("signing_key is no private RSA key")?, config: config.clone() })
    }
}

/// `Basic` for a user and a password (RFC 7617).
pub fn basic(user: &str, password: &str) -> HeaderValue {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// `Bearer` (RFC 6750).
pub fn bearer(token: &str) -> HeaderValue {
    sensitive(&format!("Bearer {token}"))
}

/// A field's value that no formatter shows. What cannot be one becomes empty, which every vendor refuses.
pub fn sensitive(text: &str) -> HeaderValue {
    field_value(text).unwrap_or(HeaderValue::from_static(""))
}

/// A call; `body` goes as JSON.
pub fn call(method: Method, uri: Uri, fields: &[(HeaderName, HeaderValue)], body: Option<&Value>) -> Request<Bytes> {
    let sent = body.map(|body| (HeaderValue::from_static("application/json"), Bytes::from(body.to_string())));
    with_body(method, uri, fields, sent)
}

/// A call with a form (`application/x-www-form-urlencoded`).
pub fn form_call(method: Method, uri: Uri, fields: &[(HeaderName, HeaderValue)], form: String) -> Request<Bytes> {
    with_body(method, uri, fields, Some((HeaderValue::from_static("application/x-www-form-urlencoded"), Bytes::from(form))))
}

fn with_body(method: Method, uri: Uri, fields: &[(HeaderName, HeaderValue)], body: Option<(HeaderValue, Bytes)>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    let writes = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.extend(fields.iter().cloned());
    headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
    if writes {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.as_ref().map_or(0, |(_, bytes)| bytes.len())));
    }
    if let Some((kind, bytes)) = body {
        headers.insert(CONTENT_TYPE, kind);
        *request.body_mut() = bytes;
    }
    request
}

/// `Authorization` with this value.
pub fn authorized(value: HeaderValue) -> (HeaderName, HeaderValue) {
    (AUTHORIZATION, value)
}

/// The object of a good answer, whatever its `Content-Type` (vendors and what stands before them disagree on it).
///
/// # Errors
/// [`refusal`] of any other status; [`Refused::Malformed`] when the body is no object.
pub fn object(ask_time: UnixTime, response: &Response<Bytes>) -> Result<Map<String, Value>, Refused> {
    if !response.status().is_success() {
        return Err(refusal(ask_time, response));
    }
    json::object(response.body(), MOST).map_err(|_| Refused::Malformed("the answer is no JSON object".into()))
}

/// A text member.
///
/// # Errors
/// [`Refused::Malformed`] when it is not there, or empty.
pub fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<&'m str, Refused> {
    let text = members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| Refused::Malformed(format!("the answer has no {name}")))
}

/// Seconds of a member that is a whole or broken number, or text of digits; fractions are cut off.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
pub fn seconds(members: &Map<String, Value>, name: &str) -> Option<i64> {
    match members.get(name)? {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|seconds| (0.0..1e15).contains(seconds)).map(|seconds| seconds.floor() as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What an answer other than 2xx means. Whether 400 is about the account is for the vendor's own file to say.
pub fn refusal(now: UnixTime, response: &Response<Bytes>) -> Refused {
    let status = response.status();
    let reason = reason(response);
    match status {
        StatusCode::TOO_MANY_REQUESTS => Refused::Limited(wait(response.headers(), now)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Refused::Account { reason, renewal: false },
        // RFC 9110 §10.2.3: 503 may say when to come back, and that is worth more than a guess.
        StatusCode::SERVICE_UNAVAILABLE if response.headers().contains_key(RETRY_AFTER) => Refused::Limited(wait(response.headers(), now)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => Refused::Transient(reason),
        _ if status.is_server_error() => Refused::Transient(reason),
        _ => Refused::Malformed(reason),
    }
}

/// The status, and the vendor's word for the fault where it has one.
pub fn reason(response: &Response<Bytes>) -> String {
    let status = response.status().as_u16();
    let members = json::object(response.body(), MOST).unwrap_or_default();
    match word(&members) {
        Some(word) => format!("the vendor answers {status} ({word})"),
        None => format!("the vendor answers {status}"),
    }
}

/// api.video has a `type` that ends in a slug, OAuth 2.0 an `error`, Mux an `error.type`, Cloudflare `errors[0].code`.
fn word(members: &Map<String, Value>) -> Option<String> {
    let first = |list: &Value| list.get(0).and_then(|error| error.get("code")).map(ToString::to_string);
    let slug = members.get("type").and_then(Value::as_str).and_then(|kind| kind.rsplit('/').next()).map(str::to_owned);
    let error = members.get("error").and_then(|error| error.as_str().or_else(|| error.get("type")?.as_str())).map(str::to_owned);
    let word = slug.or(error).or_else(|| members.get("errors").and_then(first))?;
    // A code is a word. Anything longer or odder may repeat what was sent.
    let plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    // Hex and base62 that look like tokens have digits all over; slugs of vendors are words or one number.
    let wordy = word.bytes().all(|byte| byte.is_ascii_digit()) || word.split(['-', '_']).all(|part| part.len() <= 16);
    (plain && wordy && (1..=LONGEST_WORD).contains(&word.len())).then_some(word)
}

/// Seconds to wait: `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), else api.video's `X-RateLimit-Retry-After`.
pub fn wait(headers: &HeaderMap, now: UnixTime) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = |text: &str| {
        let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        u64::try_from(i64::try_from(at).ok()?.saturating_sub(now.0)).ok().or(Some(0))
    };
    let standard = text("retry-after").and_then(|text| text.parse().ok().or_else(|| date(text)));
    let seconds = standard.or_else(|| text("x-ratelimit-retry-after").and_then(|text| text.parse().ok()));
    seconds.map(|seconds: u64| seconds.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime(784_111_770);

    fn answer(status: u16, fields: &[(&'static str, &str)], body: &Value) -> Response<Bytes> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(Bytes::from(body.to_string())).expect("an answer")
    }

    #[test]
    fn refusals_say_when_to_come_back() {
        for (status, fields, expected) in [
            (429, &[("Retry-After", "7")][..], Refused::Limited(Some(7))),
            (429, &[("X-RateLimit-Retry-After", "60")], Refused::Limited(Some(60))),
            (429, &[("Retry-After", "2"), ("X-RateLimit-Retry-After", "60")], Refused::Limited(Some(2))),
            // RFC 9110 §5.6.7's date is 1994-11-06 08:49:37, seven seconds from now.
            (429, &[("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")], Refused::Limited(Some(7))),
            (429, &[("Retry-After", "Sun, 06 Nov 1994 08:49:00 GMT")], Refused::Limited(Some(0))),
            (429, &[("Retry-After", "soon")], Refused::Limited(None)),
            (429, &[("Retry-After", "999999999")], Refused::Limited(Some(86_400))),
            (429, &[], Refused::Limited(None)),
            (503, &[("Retry-After", "9")], Refused::Limited(Some(9))),
            (503, &[], Refused::Transient("the vendor answers 503".into())),
            (401, &[], Refused::Account { reason: "the vendor answers 401".into(), renewal: false }),
            (404, &[], Refused::Malformed("the vendor answers 404".into())),
        ] {
            assert_eq!(refusal(NOW, &answer(status, fields, &json!({}))), expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn a_reason_holds_a_code_and_nothing_that_was_sent() {
        for (body, shown) in [
            (json!({ "type": "https://docs.api.video/reference/resource-not-found" }), "the vendor answers 400 (resource-not-found)"),
            (json!({ "success": false, "errors": [{ "code": 10000, "message": "x" }] }), "the vendor answers 400 (10000)"),
            (json!({ "error": "invalid_client" }), "the vendor answers 400 (invalid_client)"),
            (json!({ "error": { "type": "not_found", "messages": ["x"] } }), "the vendor answers 400 (not_found)"),
            (json!({ "error": "no such key: 9VxMaPgsaFg7EBqmuspSzF7" }), "the vendor answers 400"),
            (json!({ "error": "cab807e0c477d01baf20f66c3d1dfc26" }), "the vendor answers 400"),
            (json!({ "type": "x".repeat(65) }), "the vendor answers 400"),
            (json!([]), "the vendor answers 400"),
        ] {
            assert_eq!(reason(&answer(400, &[], &body)), shown, "{body}");
        }
    }
}

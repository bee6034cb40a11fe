//! JWS in its compact form (RFC 7515), and the claims of a JWT in it (RFC 7519).
//!
//! The bytes that came are the bytes that are verified: nothing is decoded and encoded again. The
//! algorithm is the key's, and the header may only agree with it (RFC 8725 §3.1). Keys and
//! addresses of keys in a header are never looked at (RFC 8725 §3.10).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::key::{Key, KeySet};
use super::scheme::SignError;
use super::{Denial, Window};
use crate::clock::UnixTime;

/// Longest token in bytes, checked before anything is decoded: what other gateways take at most.
pub const MAX: usize = 8192;

/// Longest key id in bytes. An id is only ever compared; never a path, an address or a query.
pub const MAX_KEY_ID: usize = 128;

/// The last second of the year 9999. Later "dates" are mistakes (milliseconds) or tricks.
const LAST_DATE: i64 = 253_402_300_799;

/// The members of a header that change what the token means. None is understood here, so each is refused:
/// RFC 7515 §4.1.11 (`crit`), RFC 7516 §4.1.2 and §4.1.3 (`enc`, `zip`), RFC 7797 §3 (`b64`).
const NOT_UNDERSTOOD: [&str; 4] = ["crit", "enc", "zip", "b64"];

/// A token taken apart; nothing of it is verified until [`Jws::verify`] says so.
pub struct Jws<'t> {
    signed: &'t str,
    header: Map<String, Value>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a compact JWS of at most [`MAX`] bytes apart.
    ///
    /// # Errors
    /// [`Denial::TooLarge`], [`Denial::Malformed`], or [`Denial::Unsupported`] for headers that are not understood.
    pub fn parse(token: &'t str) -> Result<Self, Denial> {
        Self::parse_within(token, MAX)
    }

    /// [`Jws::parse`] with another limit.
    ///
    /// # Errors
    /// As there.
    pub fn parse_within(token: &'t str, limit: usize) -> Result<Self, Denial> {
        if token.len() > limit {
            return Err(Denial::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Denial::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Denial::Malformed)?;
        if payload.contains('.') {
            return Err(Denial::Malformed);
        }
        let header = json::object(&decode(header)?, limit).map_err(|_| Denial::Malformed)?;
        check_header(&header)?;
        Ok(Self { signed, header, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// What is signed, as received, and the signature, for keys that are made from a secret by a scheme's own rule.
    #[must_use]
    pub fn signed(&self) -> (&'t str, &[u8]) {
        (self.signed, &self.signature)
    }

    /// The header's members.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The payload's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The header's `kid`.
    ///
    /// # Errors
    /// [`Denial::Malformed`] when it is not a text of 1 to [`MAX_KEY_ID`] bytes.
    pub fn key_id(&self) -> Result<Option<&str>, Denial> {
        key_id(&self.header)
    }

    /// The payload as an object. Before [`Jws::verify`] nothing but a key id may be read from it.
    ///
    /// # Errors
    /// [`Denial::Malformed`] when it is not one, or holds a member twice.
    pub fn claims(&self) -> Result<Map<String, Value>, Denial> {
        json::object(&self.payload, MAX).map_err(|_| Denial::Malformed)
    }

    /// Whether `key` signed exactly these bytes, by its own algorithm.
    ///
    /// # Errors
    /// [`Denial::WrongAlgorithm`] when the header names another algorithm; [`Denial::BadSignature`].
    pub fn verify(&self, key: &Key) -> Result<(), Denial> {
        let named = self.header.get("alg").and_then(Value::as_str);
        if named.is_none() || named != key.algorithm().jose_name() {
            return Err(Denial::WrongAlgorithm);
        }
        if key.verify(self.signed.as_bytes(), &self.signature) { Ok(()) } else { Err(Denial::BadSignature) }
    }
}

/// Whether a path segment was meant as a JWS, good or not. File names of three parts are not.
#[must_use]
pub fn looks_like_one(segment: &str) -> bool {
    let base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // The base64url of `{` begins with `e`, that of `{"` with `eyJ`.
    let three = || segment.starts_with('e') && segment.split('.').count() == 3 && segment.split('.').all(base64url);
    segment.starts_with("eyJ") || three()
}

/// Base64url without padding, of the one canonical spelling: no padding, spaces or line ends, and unused bits zero.
fn decode(part: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::Malformed)
}

fn check_header(header: &Map<String, Value>) -> Result<(), Denial> {
    if NOT_UNDERSTOOD.iter().any(|name| header.contains_key(*name)) {
        return Err(Denial::Unsupported);
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Denial::Malformed),
    };
    // RFC 7519 §5.2: `cty: JWT` says that another token lies inside; one signature is verified here, not two.
    if text("cty")?.is_some_and(|cty| strip_application(cty).eq_ignore_ascii_case("jwt")) {
        return Err(Denial::Unsupported);
    }
    text("typ")?;
    text("alg")?.map(|_| ()).ok_or(Denial::Malformed)
}

/// RFC 7515 §4.1.9: `application/` may be left out.
#[must_use]
pub fn strip_application(media_type: &str) -> &str {
    match media_type.get(..12) {
        Some(start) if start.eq_ignore_ascii_case("application/") => &media_type[12..],
        _ => media_type,
    }
}

/// `kid` of a header or, where a vendor has it there, of a payload.
///
/// # Errors
/// [`Denial::Malformed`] when it is not a text of 1 to [`MAX_KEY_ID`] bytes.
pub fn key_id(members: &Map<String, Value>) -> Result<Option<&str>, Denial> {
    match members.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if (1..=MAX_KEY_ID).contains(&id.len()) => Ok(Some(id)),
        Some(_) => Err(Denial::Malformed),
    }
}

/// The key of `keys` that a token with this key id is to be checked with. A token that names none
/// is checked with the only key of a set of one, as is any token when that key has no id.
///
/// # Errors
/// [`Denial::UnknownKey`].
pub fn choose<'k>(keys: &'k KeySet, id: Option<&str>) -> Result<&'k std::sync::Arc<Key>, Denial> {
    let only = || keys.only().filter(|key| id.is_none() || key.id().is_none());
    id.and_then(|id| keys.get(id)).or_else(only).ok_or(Denial::UnknownKey)
}

/// The one key id of a token that may have it in the header, in the payload, or in both.
///
/// # Errors
/// [`Denial::UnknownKey`] when both are there and differ: it cannot be told which key is meant.
pub fn one_key_id<'t>(header: Option<&'t str>, payload: Option<&'t str>) -> Result<Option<&'t str>, Denial> {
    match (header, payload) {
        (Some(header), Some(payload)) if header != payload => Err(Denial::UnknownKey),
        (header, payload) => Ok(header.or(payload)),
    }
}

/// How dates are written in a scheme's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// JSON numbers (RFC 7519 §2 `NumericDate`).
    Numbers,
    /// JSON numbers, or strings of digits.
    NumbersOrText,
}

/// A date claim; a fraction of a second counts as a whole one, so that at every whole second the
/// verdict is that of the fraction. A claim of another type is refused, never taken as absent.
///
/// # Errors
/// [`Denial::Claim`] when it is there and not a date between 1970 and 9999.
pub fn date(claims: &Map<String, Value>, name: &str, dates: Dates) -> Result<Option<UnixTime>, Denial> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_i64().or_else(|| number.as_f64().and_then(whole_seconds)),
        Some(Value::String(text)) if dates == Dates::NumbersOrText => digits(text),
        Some(_) => None,
    };
    seconds.filter(|seconds| (0..=LAST_DATE).contains(seconds)).map(UnixTime).map(Some).ok_or(Denial::Claim)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked first and is exact in an f64")]
fn whole_seconds(seconds: f64) -> Option<i64> {
    (0.0..=LAST_DATE as f64).contains(&seconds).then(|| seconds.ceil() as i64)
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// A text claim.
///
/// # Errors
/// [`Denial::Claim`] when it is there and not a text.
pub fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Denial::Claim),
    }
}

/// What a scheme asks of the dates in its claims.
#[derive(Debug, Clone, Copy)]
pub struct TimeRules {
    /// How they are written.
    pub dates: Dates,
    /// Whether there must be an `exp`.
    pub require_expiry: bool,
    /// Seconds that clocks may differ: added to the end, taken from the start.
    pub leeway: i64,
    /// Most seconds from `iat` (or `nbf`) to `exp`.
    pub max_lifetime: Option<i64>,
    /// What to do under `max_lifetime` with a token that has neither `iat` nor `nbf`: let it pass, or refuse it.
    pub pass_without_start: bool,
}

impl TimeRules {
    /// The window that the claims `nbf`, `iat` and `exp` leave.
    ///
    /// # Errors
    /// [`Denial::Claim`], [`Denial::NoExpiry`], [`Denial::Lifetime`].
    pub fn window(&self, claims: &Map<String, Value>) -> Result<Window, Denial> {
        let of = |name| date(claims, name, self.dates);
        self.between(of("exp")?, of("nbf")?, of("iat")?)
    }

    /// The same of dates that have been read.
    ///
    /// # Errors
    /// [`Denial::NoExpiry`], [`Denial::Lifetime`].
    pub fn between(&self, expires: Option<UnixTime>, starts: Option<UnixTime>, issued: Option<UnixTime>) -> Result<Window, Denial> {
        if expires.is_none() && (self.require_expiry || self.max_lifetime.is_some()) {
            return Err(Denial::NoExpiry);
        }
        if let (Some(most), Some(end)) = (self.max_lifetime, expires) {
            let fits = issued.or(starts).map_or(self.pass_without_start, |start| end.since(start) <= most);
            if !fits {
                return Err(Denial::Lifetime);
            }
        }
        // RFC 7519 §4.1.4: not accepted "on or after" `exp`; §4.1.5: accepted from `nbf` on.
        let from = starts.map_or(UnixTime::MIN, |start| start.plus(-self.leeway));
        let until = expires.map_or(UnixTime::MAX, |end| end.plus(self.leeway));
        Ok(Window { from, until })
    }
}

/// Signs `claims` under `header`; `alg` is set to the key's own algorithm.
///
/// # Errors
/// [`SignError::CannotSign`] when the key's algorithm has no JOSE name, [`SignError::Crypto`] when the
/// library refuses, [`SignError::CannotExpress`] when the token would be too long to be taken back.
pub fn sign(key: &Key, mut header: Map<String, Value>, claims: &Map<String, Value>) -> Result<String, SignError> {
    let algorithm = key.algorithm().jose_name().ok_or(SignError::CannotSign)?;
    header.insert("alg".into(), algorithm.into());
    let encode = |map: &Map<String, Value>| serde_json::to_vec(map).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| SignError::Crypto);
    let mut token = format!("{}.{}", encode(&header)?, encode(claims)?);
    let signature = key.sign(token.as_bytes()).ok_or(SignError::Crypto)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    if token.len() > MAX {
        return Err(SignError::CannotExpress(format!("the token would be {} bytes long; {MAX} are the most", token.len())));
    }
    Ok(token)
}

/// Reads a claim list of texts: one text counts as a list of one.
///
/// # Errors
/// [`Denial::Claim`] for anything else.
pub fn texts(value: &Value) -> Result<Vec<&str>, Denial> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) => list.iter().map(|item| item.as_str().ok_or(Denial::Claim)).collect(),
        _ => Err(Denial::Claim),
    }
}

#[cfg(test)]
mod tests;

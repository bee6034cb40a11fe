//! Strict reading of compact JWS (RFC 7515 §7.1) with JSON claims.
//!
//! What is verified is the bytes received. A name that comes twice, an extension that must be
//! understood, or a spelling of base64url other than the one of RFC 7515 is refused.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::SignError;
use crate::token::{Algorithm, Denial, Key, KeySet};

/// The longest token in bytes.
pub(crate) const MAX: usize = 8 * 1024;

/// A compact JWS, read and not yet verified.
#[derive(Debug)]
pub(crate) struct Compact<'t> {
    /// Header and payload as received: what is signed.
    pub(crate) signed: &'t str,
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Compact<'t> {
    /// # Errors
    /// [`Denial::TooLarge`], [`Denial::Malformed`], [`Denial::Unsupported`].
    pub(crate) fn parse(token: &'t str) -> Result<Self, Denial> {
        if token.len() > MAX {
            return Err(Denial::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Denial::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Denial::Malformed)?;
        let header = object(header)?;
        if ["crit", "zip", "b64", "enc"].iter().any(|name| header.contains_key(*name)) {
            return Err(Denial::Unsupported);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Denial::Malformed)?;
        Ok(Self { signed, header, claims: object(claims)?, signature })
    }

    pub(crate) fn algorithm(&self) -> Result<Algorithm, Denial> {
        let name = self.header.get("alg").and_then(Value::as_str).ok_or(Denial::Malformed)?;
        Algorithm::from_jose(name).ok_or(Denial::WrongAlgorithm)
    }

    pub(crate) fn key_id(&self) -> Result<Option<&str>, Denial> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(id)) if id.len() <= 128 => Ok(Some(id)),
            Some(_) => Err(Denial::Malformed),
        }
    }

    /// The key that signed it: the one it names, or, when it names none, any of its algorithm.
    ///
    /// # Errors
    /// [`Denial::UnknownKey`], [`Denial::WrongAlgorithm`], [`Denial::BadSignature`].
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<Arc<Key>, Denial> {
        let algorithm = self.algorithm()?;
        let good = |key: &Key| key.verify(self.signed.as_bytes(), &self.signature);
        match self.key_id()? {
            Some(id) => {
                let key = keys.get(id).ok_or(Denial::UnknownKey)?;
                if key.algorithm() != algorithm {
                    return Err(Denial::WrongAlgorithm);
                }
                if good(key) { Ok(key.clone()) } else { Err(Denial::BadSignature) }
            }
            None => {
                let mut candidates = keys.iter().filter(|key| key.algorithm() == algorithm).peekable();
                if candidates.peek().is_none() {
                    return Err(Denial::WrongAlgorithm);
                }
                candidates.find(|key| good(key)).cloned().ok_or(Denial::BadSignature)
            }
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Denial> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::Malformed)?;
    strict_object(&bytes)
}

/// A JSON object in which no name comes twice.
///
/// # Errors
/// [`Denial::Malformed`].
pub(crate) fn strict_object(bytes: &[u8]) -> Result<Map<String, Value>, Denial> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut map = Map::new();
            while let Some((name, value)) = from.next_entry::<String, Value>()? {
                if map.insert(name, value).is_some() {
                    return Err(serde::de::Error::custom("a name comes twice"));
                }
            }
            Ok(map)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let map = reader.deserialize_map(Names).map_err(|_| Denial::Malformed)?;
    reader.end().map_err(|_| Denial::Malformed)?;
    Ok(map)
}

/// A compact JWS over `claims` by `key`, which names itself in the header.
///
/// # Errors
/// [`SignError`] when the key cannot sign.
pub(crate) fn sign(claims: &Map<String, Value>, key: &Key) -> Result<String, SignError> {
    let algorithm = key.algorithm().jose_name().ok_or_else(|| SignError::NoKey(key.id().map(ToString::to_string)))?;
    let mut header = Map::new();
    header.insert("alg".into(), algorithm.into());
    if let Some(id) = key.id() {
        header.insert("kid".into(), id.to_string().into());
    }
    let encode = |map: &Map<String, Value>| serde_json::to_vec(map).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| SignError::Crypto);
    let signed = format!("{}.{}", encode(&header)?, encode(claims)?);
    let signature = key.sign(signed.as_bytes()).ok_or_else(|| SignError::NoKey(key.id().map(ToString::to_string)))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A `NumericDate` (RFC 7519 §2): seconds, with a fraction or without, rounded up, so that a token is
/// neither good before its start nor cut short of its end by less than a second.
///
/// # Errors
/// [`Denial::Claim`] when it is there and not a number of our era.
pub(crate) fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Denial> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(whole) = value.as_i64() {
        return Ok(Some(whole));
    }
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation, reason = "bounded just before")]
        Some(number) if number.is_finite() && number.abs() < 1e15 => Ok(Some(number.ceil() as i64)),
        _ => Err(Denial::Claim),
    }
}

/// A text claim.
///
/// # Errors
/// [`Denial::Claim`] when it is there and not a text.
pub(crate) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<Option<&'c str>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Denial::Claim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_once() {
        assert_eq!(strict_object(br#"{"a":1,"a":2}"#), Err(Denial::Malformed));
        assert_eq!(strict_object(br#"{"a":1} x"#), Err(Denial::Malformed));
        assert!(strict_object(br#"{"a":1,"b":2}"#).is_ok());
    }

    #[test]
    fn dates_are_numbers() {
        let claims = strict_object(br#"{"a":1.5,"b":"1","c":1e300,"d":7}"#).expect("object");
        assert_eq!(numeric_date(&claims, "a"), Ok(Some(2)));
        assert_eq!(numeric_date(&claims, "b"), Err(Denial::Claim));
        assert_eq!(numeric_date(&claims, "c"), Err(Denial::Claim));
        assert_eq!(numeric_date(&claims, "d"), Ok(Some(7)));
        assert_eq!(numeric_date(&claims, "e"), Ok(None));
    }

    proptest! {
        #[test]
        fn reading_never_panics(token in "[A-Za-z0-9_.=-]{0,80}") {
            let _ = Compact::parse(&token);
        }
    }
}

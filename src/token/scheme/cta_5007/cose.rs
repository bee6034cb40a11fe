//! COSE_Mac0 and COSE_Sign1 (RFC 9052 §4.2, §6.2) around a CWT (RFC 8392), in bytes.
//!
//! What is verified is the bytes received. The algorithm comes from the protected header only and must
//! be the key's; a tag, where there is one, must agree with it; nothing may follow the item.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;

use crate::token::scheme::SignError;
use crate::token::{Algorithm, Denial, Key, KeySet};

const MAX: usize = 8 * 1024;
const CWT: u64 = 61;
const MAC0: u64 = 17;
const SIGN1: u64 = 18;

/// The claims of a CWT, in order.
pub(super) type Claims = Vec<(Value, Value)>;

/// A token, read and not yet verified.
struct Message {
    protected: Vec<u8>,
    key_id: Option<String>,
    algorithm: Algorithm,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Verifies `token` and reads its claims.
///
/// # Errors
/// Why it is not a good one.
pub(super) fn open(token: &str, keys: &KeySet, require_tag: bool) -> Result<(Claims, Arc<Key>), Denial> {
    if token.len() > MAX {
        return Err(Denial::TooLarge);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Denial::Malformed)?;
    let message = Message::read(whole(&bytes)?, require_tag)?;
    let key = message.verify(keys)?;
    Ok((claims(whole(&message.payload)?)?, key))
}

/// The one CBOR item that `bytes` are.
fn whole(mut bytes: &[u8]) -> Result<Value, Denial> {
    let value = ciborium::from_reader(&mut bytes).map_err(|_| Denial::Malformed)?;
    if bytes.is_empty() { Ok(value) } else { Err(Denial::Malformed) }
}

/// A map in which no label comes twice.
pub(super) fn claims(value: Value) -> Result<Claims, Denial> {
    let Value::Map(entries) = value else { return Err(Denial::Malformed) };
    let twice = |at: usize| entries[..at].iter().any(|(label, _)| *label == entries[at].0);
    if (1..entries.len()).any(twice) { Err(Denial::Malformed) } else { Ok(entries) }
}

pub(super) fn label(value: &Value) -> Option<i64> {
    value.as_integer().and_then(|n| i64::try_from(n).ok())
}

fn header(map: &Claims, wanted: i64) -> Option<&Value> {
    map.iter().find(|(key, _)| label(key) == Some(wanted)).map(|(_, value)| value)
}

impl Message {
    fn read(value: Value, require_tag: bool) -> Result<Self, Denial> {
        let (value, tagged) = untag(value, CWT);
        if require_tag && !tagged {
            return Err(Denial::Malformed);
        }
        let (tag, value) = match value {
            Value::Tag(tag @ (MAC0 | SIGN1), inner) => (Some(tag), *inner),
            other => (None, other),
        };
        let Value::Array(parts) = value else { return Err(Denial::Malformed) };
        let Ok([Value::Bytes(protected), unprotected, Value::Bytes(payload), Value::Bytes(signature)]) = <[Value; 4]>::try_from(parts)
        else {
            return Err(Denial::Malformed);
        };
        let (inner, outer) = (claims(whole(&protected)?)?, claims(unprotected)?);
        // RFC 9052 §3.1: what is called critical must be understood, and nothing here is.
        if header(&inner, 2).is_some() {
            return Err(Denial::Unsupported);
        }
        // What no signature covers may name the key and say nothing else: otherwise one token could be
        // spelt in many ways, and a revocation by its bytes walked around.
        if outer.iter().any(|(key, _)| label(key) != Some(4)) {
            return Err(Denial::Unsupported);
        }
        let algorithm = header(&inner, 1).and_then(label).and_then(algorithm).ok_or(Denial::WrongAlgorithm)?;
        let kind = if algorithm == Algorithm::HS256 { MAC0 } else { SIGN1 };
        if tag.is_some_and(|tag| tag != kind) {
            return Err(Denial::WrongAlgorithm);
        }
        let key_id = match (header(&inner, 4), header(&outer, 4)) {
            (None, None) => None,
            (Some(Value::Bytes(id)), None) | (None, Some(Value::Bytes(id))) if id.len() <= 128 => {
                Some(String::from_utf8(id.clone()).map_err(|_| Denial::UnknownKey)?)
            }
            _ => return Err(Denial::Malformed),
        };
        Ok(Self { protected, key_id, algorithm, payload, signature })
    }

    fn verify(&self, keys: &KeySet) -> Result<Arc<Key>, Denial> {
        let signed = signed_bytes(self.algorithm, &self.protected, &self.payload).ok_or(Denial::Malformed)?;
        let good = |key: &Key| key.verify(&signed, &self.signature);
        let Some(id) = &self.key_id else {
            return keys.iter().find(|key| key.algorithm() == self.algorithm && good(key)).cloned().ok_or(Denial::BadSignature);
        };
        let key = keys.get(id).ok_or(Denial::UnknownKey)?;
        match (key.algorithm() == self.algorithm, good(key)) {
            (false, _) => Err(Denial::WrongAlgorithm),
            (true, false) => Err(Denial::BadSignature),
            (true, true) => Ok(key.clone()),
        }
    }
}

fn untag(value: Value, wanted: u64) -> (Value, bool) {
    match value {
        Value::Tag(tag, inner) if tag == wanted => (*inner, true),
        other => (other, false),
    }
}

/// The algorithms of the COSE registry that tokens are signed with (RFC 9053).
const fn algorithm(id: i64) -> Option<Algorithm> {
    Some(match id {
        5 => Algorithm::HS256,
        -7 => Algorithm::ES256,
        -8 => Algorithm::EdDSA,
        -37 => Algorithm::PS256,
        _ => return None,
    })
}

const fn algorithm_id(algorithm: Algorithm) -> Option<i64> {
    Some(match algorithm {
        Algorithm::HS256 => 5,
        Algorithm::ES256 => -7,
        Algorithm::EdDSA => -8,
        Algorithm::PS256 => -37,
        _ => return None,
    })
}

/// `MAC_structure` or `Sig_structure` (RFC 9052 §6.3, §4.4) without external data.
fn signed_bytes(algorithm: Algorithm, protected: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let context = if algorithm == Algorithm::HS256 { "MAC0" } else { "Signature1" };
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    encode(&Value::Array(vec![Value::Text(context.into()), bytes(protected), bytes(&[]), bytes(payload)]))
}

fn encode(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).ok()?;
    Some(out)
}

/// A token over `claims` by `key`, with the CWT tag.
///
/// # Errors
/// [`SignError`] when the key cannot sign, or its algorithm has no place in COSE.
pub(super) fn sign(claims: Claims, key: &Key) -> Result<String, SignError> {
    let no_key = || SignError::NoKey(key.id().map(ToString::to_string));
    let id = algorithm_id(key.algorithm()).ok_or_else(no_key)?;
    let protected = encode(&Value::Map(vec![(1.into(), id.into())])).ok_or(SignError::Crypto)?;
    let payload = encode(&Value::Map(claims)).ok_or(SignError::Crypto)?;
    let signed = signed_bytes(key.algorithm(), &protected, &payload).ok_or(SignError::Crypto)?;
    let signature = key.sign(&signed).ok_or_else(no_key)?;
    let unprotected = key.id().map(|id| (4.into(), Value::Bytes(id.as_bytes().to_vec()))).into_iter().collect();
    let parts = Value::Array(vec![Value::Bytes(protected), Value::Map(unprotected), Value::Bytes(payload), Value::Bytes(signature)]);
    let tag = if key.algorithm() == Algorithm::HS256 { MAC0 } else { SIGN1 };
    let token = Value::Tag(CWT, Box::new(Value::Tag(tag, Box::new(parts))));
    Ok(URL_SAFE_NO_PAD.encode(encode(&token).ok_or(SignError::Crypto)?))
}

//! Compact JWS with JSON claims as the vendors' schemes have it: [`jws`] with the key chosen by id or by algorithm.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::SignError;
pub(crate) use crate::token::jws::text;
use crate::token::jws::{self, Jws};
use crate::token::{Algorithm, Denial, Key, KeySet};

/// A compact JWS, read and not yet verified.
pub(crate) struct Compact<'t> {
    jws: Jws<'t>,
    pub(crate) claims: Map<String, Value>,
}

impl<'t> Compact<'t> {
    /// # Errors
    /// [`Denial::TooLarge`], [`Denial::Malformed`], [`Denial::Unsupported`].
    pub(crate) fn parse(token: &'t str) -> Result<Self, Denial> {
        let jws = Jws::parse(token)?;
        let claims = jws.claims()?;
        Ok(Self { jws, claims })
    }

    /// What is signed, as received, and the signature.
    pub(crate) fn signed(&self) -> (&'t str, &[u8]) {
        self.jws.signed()
    }

    /// The key id that the header names.
    ///
    /// # Errors
    /// [`Denial::Malformed`].
    pub(crate) fn key_id(&self) -> Result<Option<&str>, Denial> {
        self.jws.key_id()
    }

    pub(crate) fn algorithm(&self) -> Result<Algorithm, Denial> {
        let name = self.jws.header().get("alg").and_then(Value::as_str).ok_or(Denial::Malformed)?;
        Algorithm::from_jose(name).ok_or(Denial::WrongAlgorithm)
    }

    /// The key that signed it: the one it names, or, when it names none, any of its algorithm.
    ///
    /// # Errors
    /// [`Denial::UnknownKey`], [`Denial::WrongAlgorithm`], [`Denial::BadSignature`].
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<Arc<Key>, Denial> {
        let algorithm = self.algorithm()?;
        if let Some(id) = self.key_id()? {
            let key = keys.get(id).ok_or(Denial::UnknownKey)?;
            return self.jws.verify(key).map(|()| key.clone());
        }
        let mut candidates = keys.iter().filter(|key| key.algorithm() == algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(Denial::WrongAlgorithm);
        }
        candidates.find(|key| self.jws.verify(key).is_ok()).cloned().ok_or(Denial::BadSignature)
    }
}

/// A compact JWS over `claims` by `key`, which names itself in the header.
///
/// # Errors
/// [`SignError`] when the key cannot sign.
pub(crate) fn sign(claims: &Map<String, Value>, key: &Key) -> Result<String, SignError> {
    let mut header = Map::new();
    if let Some(id) = key.id() {
        header.insert("kid".into(), id.to_string().into());
    }
    jws::sign(key, header, claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_never_panics(token in "[A-Za-z0-9_.=-]{0,80}") {
            let _ = Compact::parse(&token);
        }
    }
}

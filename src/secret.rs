//! Values that must never be shown.
//!
//! A [`Secret`] prints `[redacted]` in every formatter, is not `Serialize`, and is wiped when
//! dropped. What a caller presented may be named in logs only by its [`Fingerprint`].

pub mod random;

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::hmac;
use zeroize::Zeroize;

/// A value that is redacted when printed and zeroed when dropped; read with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Every call is a place to look at when auditing.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de, T: Zeroize + serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self)
    }
}

/// The name a token goes by in logs and the admin API: 8 hex digits of a MAC under a key made at
/// start, so that a log does not let anyone test guesses of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 4]);

impl Fingerprint {
    /// The fingerprint of `value`; stable while this process lives.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let tag = hmac::sign(process_key(), value);
        let bytes = tag.as_ref();
        Self([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

fn process_key() -> &'static hmac::Key {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let mut bytes = [0_u8; 32];
        // Without randomness the key stays zero: fingerprints are then guessable, never wrong.
        let _ = aws_lc_rs::rand::SecureRandom::fill(&random, &mut bytes);
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    })
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)).matches("hunter2").count(), 0);
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn fingerprints_tell_tokens_apart() {
        assert_eq!(Fingerprint::of(b"a"), Fingerprint::of(b"a"));
        assert_ne!(Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        assert_eq!(Fingerprint::of(b"a").to_string().len(), 8);
    }
}

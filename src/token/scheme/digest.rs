//! Digests and MACs of the URL schemes, old ones among them, and comparison in constant time.
//!
//! MD5 and SHA-1 are here because the schemes that live in URLs are defined with them; nothing else
//! may use them.

use aws_lc_rs::digest;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};
use schemars::JsonSchema;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

/// base64url with the padding there or not. Bits that no byte has are refused.
pub(crate) const BASE64URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    /// MD5 (RFC 1321).
    Md5,
    /// SHA-1 (FIPS 180-4).
    Sha1,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
}

impl Hash {
    /// The digest of `parts`, one after the other.
    #[must_use]
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let Some(algorithm) = self.algorithm() else {
            let mut md5 = Md5::new();
            parts.iter().for_each(|part| md5.update(part));
            return md5.finalize().to_vec();
        };
        let mut context = digest::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// HMAC of `message` under `key` (RFC 2104); keys of any length.
    #[must_use]
    pub fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let block = self.block();
        let mut padded = if key.len() > block { self.of(&[key]) } else { key.to_vec() };
        padded.resize(block, 0);
        let inner: Vec<u8> = padded.iter().map(|byte| byte ^ 0x36).collect();
        let outer: Vec<u8> = padded.iter().map(|byte| byte ^ 0x5c).collect();
        self.of(&[&outer, &self.of(&[&inner, message])])
    }

    const fn algorithm(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::Md5 => None,
            Self::Sha1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => Some(&digest::SHA256),
            Self::Sha384 => Some(&digest::SHA384),
            Self::Sha512 => Some(&digest::SHA512),
        }
    }

    /// How many bytes a digest has.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a digest is never empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    const fn block(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
}

/// Whether both are the same bytes, in a time that depends on their lengths only.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// Bytes of lower-case hex; `None` for anything else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        // RFC 1321 A.5, RFC 2202 (test case 2), RFC 4231 (test case 2).
        assert_eq!(hex(&Hash::Md5.of(&[b"a", b"bc"])), "900150983cd24fb0d6963f7d28e17f72");
        let (key, text) = (b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&Hash::Md5.mac(key, text)), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(hex(&Hash::Sha1.mac(key, text)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hex(&Hash::Sha256.mac(key, text)), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn long_keys_are_hashed_first() {
        // RFC 2202, HMAC-MD5 test case 6.
        assert_eq!(
            hex(&Hash::Md5.mac(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(unhex("00ff"), Some(vec![0, 255]));
        for bad in ["0", "0F", "0g", "é"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}

//! Digests and MACs of the URL schemes, old ones among them, and comparison in constant time.
//!
//! MD5 and SHA-1 are here because the schemes that live in URLs are defined with them; nothing else
//! may use them.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use schemars::JsonSchema;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

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

    /// HMAC (RFC 2104) of `parts`, one after the other, under `key`; keys of any length.
    #[must_use]
    pub fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => return mac_md5(key, parts),
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().to_vec()
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
}

fn mac_md5(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    let short = if key.len() > BLOCK { Md5::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let mut inner = Md5::new_with_prefix(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    Md5::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().to_vec()
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

/// Base64url, padded or not; other spellings of the same bytes are refused.
#[must_use]
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    if text.ends_with('=') { URL_SAFE.decode(text) } else { URL_SAFE_NO_PAD.decode(text) }.ok()
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
        let (key, text): (&[u8], [&[u8]; 2]) = (b"Jefe", [b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&Hash::Md5.mac(key, &text)), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(hex(&Hash::Sha1.mac(key, &text)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(hex(&Hash::Sha256.mac(key, &text)), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn long_keys_are_hashed_first() {
        // RFC 2202, HMAC-MD5 test case 6.
        assert_eq!(
            hex(&Hash::Md5.mac(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64url("aA=="), Some(b"h".to_vec()));
        assert_eq!(base64url("aA"), Some(b"h".to_vec()));
        for bad in ["aB", "aA=", "a+A", "a", "aA==="] {
            assert_eq!(base64url(bad), None, "{bad}");
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(unhex("00ff"), Some(vec![0, 255]));
        for bad in ["0", "0F", "0g", "é"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}

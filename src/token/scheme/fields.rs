//! What the schemes of signed URLs read and write alike: times, hex, base64, digests, key choice.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};

use super::SignError;
use crate::clock::UnixTime;
use crate::token::{Denial, Key, KeySource};

/// Whole seconds, digits only. Signs, spaces and numbers beyond a signed 64-bit second are refused.
pub(super) fn seconds(text: &str) -> Result<UnixTime, Denial> {
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Denial::Malformed);
    }
    text.parse().map(UnixTime).map_err(|_| Denial::Malformed)
}

/// Comparison in constant time, for digests of one length.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Base64url, padded or not; other spellings of the same bytes are refused.
pub(super) fn base64url(text: &str) -> Option<Vec<u8>> {
    if text.ends_with('=') { URL_SAFE.decode(text) } else { URL_SAFE_NO_PAD.decode(text) }.ok()
}

/// A hash of these schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The digest of `parts`, one after the other.
    pub(super) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self {
            Self::Md5 => {
                let mut md5 = Md5::new();
                parts.iter().for_each(|part| md5.update(part));
                return md5.finalize().to_vec();
            }
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        let mut context = digest::Context::new(algorithm);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// The HMAC (RFC 2104) of `parts`, one after the other, under `key`.
    pub(super) fn mac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
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

/// The first shared secret of a set under which `fits` holds; every secret is tried, so that the
/// time taken does not tell which one it was.
pub(super) fn matching_secret(keys: &KeySource, fits: impl Fn(&[u8]) -> bool) -> Option<Arc<Key>> {
    let mut found = None;
    for key in keys.load().iter() {
        if key.octets().is_some_and(&fits) && found.is_none() {
            found = Some(Arc::clone(key));
        }
    }
    found
}

/// The secret to sign with.
pub(super) fn signing_secret(keys: &KeySource, id: Option<&str>) -> Result<Arc<Key>, SignError> {
    let set = keys.load();
    let key = match id {
        Some(id) => set.get(id).filter(|key| key.octets().is_some()),
        None => set.iter().find(|key| key.octets().is_some()),
    };
    key.cloned().ok_or_else(|| SignError::NoKey(id.map(str::to_owned)))
}

/// The expiry that a request to sign must bring.
pub(super) fn expiry(request: &super::SignRequest) -> Result<UnixTime, SignError> {
    request.expires.filter(|at| at.0 >= 0).ok_or_else(|| SignError::CannotExpress("this scheme needs an expiry".into()))
}

/// `path` with `segment` put in front of what follows its first `mount` bytes.
pub(super) fn insert_segment(path: &str, mount: usize, segment: &str) -> Result<String, SignError> {
    match (path.get(..mount), path.get(mount..)) {
        (Some(before), Some(after)) if after.starts_with('/') => Ok(format!("{before}/{segment}{after}")),
        _ => Err(SignError::CannotExpress("the path does not begin with the route's prefix".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_digits() {
        assert_eq!(seconds("1760000000"), Ok(UnixTime(1_760_000_000)));
        for bad in ["", "+1", "-1", " 1", "1.0", "1e9", "0x1", "18446744073709551615", "٣"] {
            assert_eq!(seconds(bad), Err(Denial::Malformed), "{bad}");
        }
    }

    #[test]
    fn md5_as_in_the_rfcs() {
        // RFC 1321 A.5, RFC 2202 §2 cases 2 and 6.
        assert_eq!(hex(&Hash::Md5.digest(&[b"a", b"bc"])), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(&Hash::Md5.mac(b"Jefe", &[b"what do ya want ", b"for nothing?"])), "750c783e6ab0b503eaa86e310a5db738");
        let long = Hash::Md5.mac(&[0xaa; 80], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex(&long), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(base64url("aA=="), Some(b"h".to_vec()));
        assert_eq!(base64url("aA"), Some(b"h".to_vec()));
        for bad in ["aB", "aA=", "a+A", "a", "aA==="] {
            assert_eq!(base64url(bad), None, "{bad}");
        }
    }
}

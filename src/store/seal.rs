//! How records are sealed: AES-256-GCM under a random nonce, bound to their place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::StoreFault;
use crate::secret::Secret;

/// Seals records with one key.
pub struct Seal(RandomizedNonceKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// Fewest characters of a key.
    pub const KEY_MIN: usize = 32;

    /// The seal of a key.
    ///
    /// # Errors
    /// [`StoreFault::ShortKey`].
    pub fn new(key: &Secret<String>) -> Result<Self, StoreFault> {
        if key.expose().len() < Self::KEY_MIN {
            return Err(StoreFault::ShortKey);
        }
        // A label of its own, so that one text can be the key of several things (NIST SP 800-108 §4.1).
        let sealing = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()), b"tollgate store records v1");
        RandomizedNonceKey::new(&AES_256_GCM, sealing.as_ref()).map(Self).map_err(|_| StoreFault::ShortKey)
    }

    /// Seals `value` for a place, whose parts together name it.
    ///
    /// # Errors
    /// [`StoreFault::Io`] when the crypto library refuses.
    pub fn seal(&self, place: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let mut body = Zeroizing::new(value.to_vec());
        let sealed = self.0.seal_in_place_separate_tag(Aad::from(bound(place)), &mut body);
        let (nonce, tag) = sealed.map_err(|_| StoreFault::Io("a record cannot be sealed".into()))?;
        Ok([&nonce.as_ref()[..], body.as_slice(), tag.as_ref()].concat())
    }

    /// What was sealed for this place.
    ///
    /// # Errors
    /// [`StoreFault::Changed`] when it was not, or with another key.
    pub fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreFault> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(StoreFault::Changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| StoreFault::Changed)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(bound(place)), &mut body).map_err(|_| StoreFault::Changed)?.len();
        body.truncate(length);
        Ok(body)
    }
}

/// Every part has its length in front, so that no two places read the same.
fn bound(place: &[&[u8]]) -> Vec<u8> {
    place.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect()
}

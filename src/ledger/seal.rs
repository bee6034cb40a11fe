//! How records are written down: sealed, and found by digests.
//!
//! Everything in a record is sealed with AES-256-GCM under a random nonce, bound to its place in the
//! file. Ids are found by a MAC of them, so that the file of a stolen disk holds no token in the
//! clear, not even as a key of a table. What stays readable is what pages are sorted by: kind, a
//! digest of the account, times, numbers.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;

use super::record::{Account, Kind, Record};
use super::{Fault, book::Place, layout};
use crate::secret::Secret;

/// Bytes of the key file, decoded.
const KEY: usize = 32;

/// What seals and finds records.
pub(super) struct Seal {
    cipher: LessSafeKey,
    finder: hmac::Key,
}

impl Seal {
    /// The seal of a key of 32 bytes, as hexadecimal or base64.
    ///
    /// # Errors
    /// A sentence that does not show the key.
    pub(super) fn new(key: &Secret<String>) -> Result<Self, String> {
        let master = decode(key.expose())
            .ok_or("the ledger's key must be 32 bytes in hexadecimal or base64; make one with `openssl rand -hex 32`")?;
        let master = hmac::Key::new(hmac::HMAC_SHA256, &master);
        // Two uses, two keys (NIST SP 800-108 §4.1: one label for each).
        let cipher = hmac::sign(&master, b"tollgate ledger records v1");
        let finder = hmac::sign(&master, b"tollgate ledger places v1");
        let cipher = UnboundKey::new(&AES_256_GCM, cipher.as_ref()).map_err(|_| "the crypto library refused the key")?;
        Ok(Self { cipher: LessSafeKey::new(cipher), finder: hmac::Key::new(hmac::HMAC_SHA256, finder.as_ref()) })
    }

    /// A new key, as it stands in a key file.
    pub(super) fn new_key() -> Result<Secret<String>, String> {
        let mut bytes = zeroize::Zeroizing::new([0_u8; KEY]);
        rand::fill(&mut *bytes).map_err(|_| "the system gives no random numbers")?;
        Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Where the record of this kind and id lies.
    pub(super) fn place(&self, kind: Kind, id: &str) -> Place {
        let tag = self.digest(&[b"id", &[kind as u8], id.as_bytes()]);
        let mut place = [0; 17];
        place[0] = kind as u8;
        place[1..].copy_from_slice(&tag.as_ref()[..16]);
        Place(place)
    }

    /// What stands for an id where the id itself must not be shown.
    pub(super) fn name(&self, kind: Kind, id: &str) -> String {
        self.place(kind, id).0[1..].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What stands for an account in the file.
    pub(super) fn account(&self, account: &Account) -> [u8; 8] {
        let tag = self.digest(&[b"account", account.as_str().as_bytes()]);
        let mut short = [0; 8];
        short.copy_from_slice(&tag.as_ref()[..8]);
        short
    }

    fn digest(&self, fields: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.finder);
        for field in fields {
            // Each behind its length: no two lists of fields have the same input.
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field);
        }
        context.sign()
    }

    /// `record`, sealed for `place`.
    pub(super) fn seal(&self, record: &Record, place: &Place) -> Result<Vec<u8>, Fault> {
        self.seal_bytes(layout::write(record)?, &place.0)
    }

    /// The record that was sealed for `place`.
    pub(super) fn open(&self, sealed: &[u8], place: &Place) -> Result<Record, Fault> {
        layout::read(&zeroize::Zeroizing::new(self.open_bytes(sealed, &place.0)?))
    }

    /// Bytes sealed under a context.
    pub(super) fn seal_bytes(&self, mut bytes: Vec<u8>, context: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| Fault::Broken("the system gives no random numbers".into()))?;
        let sealed = self.cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut bytes);
        sealed.map_err(|_| Fault::Broken("a record cannot be sealed".into()))?;
        let mut out = Vec::with_capacity(NONCE_LEN + bytes.len());
        out.extend_from_slice(&nonce);
        out.append(&mut bytes);
        Ok(out)
    }

    /// What was sealed under the same context.
    pub(super) fn open_bytes(&self, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, Fault> {
        let other = || Fault::Broken("a record cannot be opened: another key, or the file was changed".into());
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(other)?;
        let mut bytes = sealed.to_vec();
        let length =
            self.cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut bytes).map_err(|_| other())?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn decode(text: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let text = text.trim();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let hex = || text.as_bytes().chunks(2).map(|pair| if let [a, b] = *pair { Some(digit(a)? << 4 | digit(b)?) } else { None }).collect();
    let base64 = || base64::engine::general_purpose::STANDARD.decode(text).ok();
    let bytes: Option<Vec<u8>> = if text.len() == 2 * KEY { hex() } else { base64() };
    bytes.map(zeroize::Zeroizing::new).filter(|bytes| bytes.len() == KEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::ledger::record::{Body, UploadToken};

    fn seal(byte: &str) -> Seal {
        Seal::new(&Secret::new(byte.repeat(32))).expect("a key")
    }

    #[test]
    fn a_record_comes_back_from_its_own_place_only() {
        let seal_a = seal("a1");
        let record = Record::new(&Account::new("acme"), "toSecret", UnixTime(7), Body::UploadToken(UploadToken { ttl: 5 }));
        let record = record.with_secret(Secret::new("private".into()));
        let place = seal_a.place(Kind::UploadToken, "toSecret");
        let sealed = seal_a.seal(&record, &place).expect("sealed");
        let back = seal_a.open(&sealed, &place).expect("opened");
        assert_eq!((&*back.id, back.secret.as_ref().map(|s| s.expose().as_str())), ("toSecret", Some("private")));
        assert!(!sealed.windows(8).any(|bytes| bytes == b"toSecret"));
        assert!(seal_a.open(&sealed, &seal_a.place(Kind::UploadToken, "toOther")).is_err());
        assert!(seal("b2").open(&sealed, &place).is_err());
        assert!(!format!("{record:?}").contains("toSecret"));
    }

    #[test]
    fn keys_have_32_bytes() {
        for (text, good) in [("ab".repeat(32), true), ("ab".repeat(31), false), (String::new(), false), ("x".repeat(64), false)] {
            assert_eq!(Seal::new(&Secret::new(text.clone())).is_ok(), good, "{text}");
        }
        assert!(Seal::new(&Seal::new_key().expect("a key")).is_ok());
    }
}

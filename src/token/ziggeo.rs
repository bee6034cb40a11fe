//! Ziggeo's client tokens: a JSON object under AES-256-CBC, as its SDKs' `generate` makes them.
//!
//! There is no MAC: who has a token can change its first block in known places. What is decrypted is
//! therefore a claim, never a proof, and a reader must check all of it. Bytes after Ziggeo's server SDKs
//! (Node, Python, PHP), which agree.

pub mod fields;
pub mod repr;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use serde_json::{Map, Value};

use super::scheme::digest::{Hash, hex, unhex};
use super::{Denial, json};

/// Longest token in hex digits.
pub const MAX: usize = 8192;

/// Hex digits of the initialisation vector.
const IV: usize = 16;

/// The cipher of one application, with its keys made.
pub struct Cipher {
    encrypting: PaddedBlockEncryptingKey,
    decrypting: PaddedBlockDecryptingKey,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    /// The cipher of the application with this encryption key (any text; it is hashed).
    ///
    /// # Errors
    /// A sentence for the operator when the key is empty or the library refuses.
    pub fn new(encryption_key: &str) -> Result<Self, String> {
        if encryption_key.is_empty() {
            return Err("the encryption key is empty".into());
        }
        // The key is the *text* of the hash, 32 ASCII bytes.
        let key = zeroize::Zeroizing::new(hex(&Hash::Md5.of(&[encryption_key.as_bytes()])));
        let unbound = || UnboundCipherKey::new(&AES_256, key.as_bytes());
        let refused = |_| "the encryption key is refused".to_owned();
        Ok(Self {
            encrypting: unbound().and_then(PaddedBlockEncryptingKey::cbc_pkcs7).map_err(refused)?,
            decrypting: unbound().and_then(PaddedBlockDecryptingKey::cbc_pkcs7).map_err(refused)?,
        })
    }

    /// The token of `plaintext`. `seed` must be random and never used twice.
    ///
    /// # Errors
    /// A sentence when the library refuses.
    pub fn encrypt(&self, plaintext: &[u8], seed: [u8; 8]) -> Result<String, String> {
        let iv = hex(&seed);
        let mut block = [0; IV];
        block.copy_from_slice(iv.as_bytes());
        let mut bytes = plaintext.to_vec();
        let context = EncryptionContext::Iv128(FixedLength::from(block));
        self.encrypting.less_safe_encrypt(&mut bytes, context).map_err(|_| "the token cannot be encrypted".to_owned())?;
        Ok(iv + &hex(&bytes))
    }

    /// What a token holds, unread. Nothing in it is proven.
    ///
    /// # Errors
    /// [`Denial::TooLarge`]; [`Denial::Malformed`] for all else, so that nobody can feel their way to the padding.
    pub fn decrypt(&self, token: &str) -> Result<Vec<u8>, Denial> {
        if token.len() > MAX {
            return Err(Denial::TooLarge);
        }
        let (iv, text) = token.split_at_checked(IV).ok_or(Denial::Malformed)?;
        // The vector is used as text, so that another spelling would be another vector.
        unhex(iv).ok_or(Denial::Malformed)?;
        let mut bytes = unhex(text).filter(|bytes| !bytes.is_empty() && bytes.len().is_multiple_of(16)).ok_or(Denial::Malformed)?;
        let mut block = [0; IV];
        block.copy_from_slice(iv.as_bytes());
        let context = DecryptionContext::Iv128(FixedLength::from(block));
        let plain = self.decrypting.decrypt(&mut bytes, context).map_err(|_| Denial::Malformed)?;
        Ok(plain.to_vec())
    }

    /// The object that a token holds, each member once. Nothing in it is proven: the application, the nonce and
    /// the dates are for the caller to check.
    ///
    /// # Errors
    /// As [`Cipher::decrypt`]; [`Denial::Malformed`] too when it is no object of UTF-8 text.
    pub fn open(&self, token: &str) -> Result<Map<String, Value>, Denial> {
        json::object(&self.decrypt(token)?, MAX).map_err(|_| Denial::Malformed)
    }
}

/// Whether a text is written as a token: 16 lower-case hex digits, then one or more blocks of 32.
#[must_use]
pub fn looks_like_one(text: &str) -> bool {
    text.len() > IV && (text.len() - IV).is_multiple_of(32) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What an SDK would put under the cipher: `options`, the application and a nonce.
#[must_use]
pub fn plaintext(options: &Map<String, Value>, application_token: &str, nonce: &str) -> Vec<u8> {
    let mut all = options.clone();
    // Over what the options say: a token for another application is not ours to make.
    all.insert("application_token".into(), application_token.into());
    all.insert("nonce".into(), nonce.into());
    Value::Object(all).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vectors() -> Value {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/vendors/ziggeo_generate.json"));
        serde_json::from_str(text).expect("JSON")
    }

    fn text<'v>(value: &'v Value, name: &str) -> &'v str {
        value[name].as_str().expect(name)
    }

    fn cipher(vector: &Value) -> Cipher {
        Cipher::new(text(vector, "encryption_key")).expect("a cipher")
    }

    #[test]
    fn tokens_of_the_sdks_are_made_and_read() {
        let vectors = vectors();
        let all = vectors["positive"].as_array().expect("a list");
        assert!(all.len() >= 14);
        for vector in all {
            let (name, token) = (format!("{} {}", vector["sdk"], vector["name"]), text(vector, "token"));
            let bytes = cipher(vector).decrypt(token).expect(&name);
            match vector["plaintext_hex"].as_str() {
                Some(plain) => assert_eq!(hex(&bytes), plain, "{name}"),
                None => assert_eq!(String::from_utf8_lossy(&bytes), text(vector, "plaintext_utf8"), "{name}"),
            }
            let seed: [u8; 8] = unhex(&token[..IV]).expect("hex").try_into().expect("eight");
            assert_eq!(cipher(vector).encrypt(&bytes, seed).expect("made"), token, "{name}");
            assert!(looks_like_one(token), "{name}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_alike() {
        let vectors = vectors();
        for vector in vectors["negative"].as_array().expect("a list") {
            let opened = cipher(vector).open(text(vector, "token"));
            // A changed vector is felt only where the text no longer is what it should be.
            match opened {
                Err(denial) => assert_eq!(denial, Denial::Malformed, "{}", vector["name"]),
                Ok(_) => assert!(text(vector, "name").starts_with("bit flipped"), "{}", vector["name"]),
            }
        }
        let cipher = Cipher::new("k").expect("a cipher");
        for bad in ["", "0", "0123456789abcdef", "é123456789abcde", &"0".repeat(16 + 16)] {
            assert_eq!(cipher.open(bad), Err(Denial::Malformed), "{bad}");
        }
        assert_eq!(cipher.open(&"0".repeat(MAX + 1)), Err(Denial::TooLarge));
        assert!(Cipher::new("").is_err());
    }

    #[test]
    fn text_that_is_not_utf8_is_no_object() {
        let vectors = vectors();
        let broken = vectors["positive"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|vector| text(vector, "name").starts_with("non-ascii option value"));
        let broken = broken.expect("the vector of the SDK that cuts letters");
        assert_eq!(cipher(broken).open(text(broken, "token")), Err(Denial::Malformed));
    }

    #[test]
    fn options_cannot_name_another_application() {
        let options = serde_json::json!({ "application_token": "evil", "nonce": "x", "volatile": true });
        let made = plaintext(options.as_object().expect("object"), "app", "17");
        assert_eq!(
            serde_json::from_slice::<Value>(&made).expect("JSON"),
            serde_json::json!({ "application_token": "app", "nonce": "17", "volatile": true })
        );
    }

    proptest! {
        #[test]
        fn what_was_encrypted_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..200), seed: [u8; 8], key in "[a-z0-9]{1,40}") {
            let cipher = Cipher::new(&key).expect("a cipher");
            let token = cipher.encrypt(&plain, seed).expect("made");
            prop_assert!(looks_like_one(&token));
            prop_assert_eq!(token.len(), 16 + 32 * (plain.len() / 16 + 1));
            prop_assert_eq!(cipher.decrypt(&token).expect("ours"), plain);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,200}") {
            let _ = Cipher::new("k").expect("a cipher").open(&text);
        }
    }
}

//! Compact JWE (RFC 7516 §7.1) with a shared key used directly: what `cdniip` and a private `sub` are.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::token::{Algorithm, Denial, KeySet, json, jws};

/// The text inside, by a key of `keys` that is a plain secret: a key that signs does not also encrypt.
///
/// # Errors
/// [`Denial::Unsupported`] for other ways to encrypt, [`Denial::Claim`] when it does not decrypt.
pub(super) fn open(token: &str, keys: &KeySet) -> Result<String, Denial> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, "", nonce, text, tag] = parts[..] else { return Err(Denial::Unsupported) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::Claim);
    let fields = json::object(&decode(header)?, jws::MAX).map_err(|_| Denial::Malformed)?;
    let is = |name: &str, value: &str| fields.get(name).and_then(Value::as_str) == Some(value);
    if !is("alg", "dir") || fields.contains_key("crit") || fields.contains_key("zip") {
        return Err(Denial::Unsupported);
    }
    let algorithm = match fields.get("enc").and_then(Value::as_str) {
        Some("A128GCM") => &AES_128_GCM,
        Some("A256GCM") => &AES_256_GCM,
        _ => return Err(Denial::Unsupported),
    };
    let named = fields.get("kid").and_then(Value::as_str);
    let mut sealed = decode(text)?;
    sealed.extend(decode(tag)?);
    let nonce = decode(nonce)?;
    for key in keys.iter().filter(|key| key.algorithm() == Algorithm::Secret && (named.is_none() || key.id().map(|id| &**id) == named)) {
        let Ok(key) = UnboundKey::new(algorithm, key.octets().unwrap_or_default()) else { continue };
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| Denial::Claim)?;
        let mut sealed = sealed.clone();
        if let Ok(plain) = LessSafeKey::new(key).open_in_place(nonce, Aad::from(header.as_bytes()), &mut sealed) {
            return String::from_utf8(plain.to_vec()).map_err(|_| Denial::Claim);
        }
    }
    Err(Denial::Claim)
}

/// Whether `text` has the shape of a compact JWE.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.split('.').count() == 5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Key;

    fn seal(header: &str, key: &[u8; 32], plain: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(header);
        let mut text = plain.as_bytes().to_vec();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("key"));
        let tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key([7; 12]), Aad::from(header.as_bytes()), &mut text).expect("sealed");
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{header}..{}.{}.{}", part(&[7; 12]), part(&text), part(tag.as_ref()))
    }

    #[test]
    fn only_the_right_key_opens() {
        let keys = KeySet::new(vec![Key::secret(Some("ip"), vec![1; 32])]);
        let token = seal(r#"{"alg":"dir","enc":"A256GCM","kid":"ip"}"#, &[1; 32], "192.0.2.0/24");
        assert_eq!(open(&token, &keys).as_deref(), Ok("192.0.2.0/24"));
        assert_eq!(open(&token, &KeySet::new(vec![Key::secret(Some("ip"), vec![2; 32])])), Err(Denial::Claim));
        assert_eq!(open(&token.replace("..", ".x."), &keys), Err(Denial::Unsupported));
        let zipped = seal(r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#, &[1; 32], "x");
        assert_eq!(open(&zipped, &keys), Err(Denial::Unsupported));
    }
}

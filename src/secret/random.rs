//! Texts that nobody can guess.

use zeroize::Zeroizing;

/// Digits and letters.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// So many digits and letters, each of the 62 as likely as any other.
///
/// # Errors
/// A sentence, when the system gives no random numbers.
pub fn base62(length: usize) -> Result<String, String> {
    let mut text = String::with_capacity(length);
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while text.len() < length {
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| NONE)?;
        // 248 is the last multiple of 62 in a byte: what lies above would make some letters likelier.
        let letters = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        let missing = length - text.len();
        text.extend(letters.take(missing));
    }
    Ok(text)
}

/// So many random bytes in hexadecimal.
///
/// # Errors
/// A sentence, when the system gives no random numbers.
pub fn hex(bytes: usize) -> Result<String, String> {
    let mut filled = Zeroizing::new(vec![0_u8; bytes]);
    aws_lc_rs::rand::fill(&mut filled).map_err(|_| NONE)?;
    Ok(filled.iter().map(|byte| format!("{byte:02x}")).collect())
}

const NONE: &str = "the system gives no random numbers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_have_their_length_and_alphabet() {
        let text = base62(1000).expect("text");
        assert!(text.len() == 1000 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(text.bytes().collect::<std::collections::BTreeSet<_>>().len() > 55);
    }
}

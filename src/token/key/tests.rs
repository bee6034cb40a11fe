//! Keys are read from every form they are handed out in, and weak or foreign ones are not.

use super::*;

fn pkcs8_pem(der: &[u8]) -> String {
    ::pem::encode(&::pem::Pem::new("PRIVATE KEY", der))
}

fn key_of(text: &str) -> Arc<Key> {
    KeySet::parse(text.as_bytes(), Some("k"), None).expect("a key").only().expect("one").clone()
}

#[test]
fn pairs_sign_and_their_public_halves_verify() {
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("rsa");
    let ec = EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).expect("ec");
    let ed = Ed25519KeyPair::generate().expect("ed");
    let rsa_der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).expect("der");
    let ders =
        [rsa_der.as_ref().to_vec(), ec.to_pkcs8v1().expect("der").as_ref().to_vec(), ed.to_pkcs8v1().expect("der").as_ref().to_vec()];
    for der in ders {
        let private = key_of(&pkcs8_pem(&der));
        let public = key_of(&::pem::encode(&::pem::Pem::new("PUBLIC KEY", private.public_der())));
        assert!(!public.can_sign());
        let signature = private.sign(b"message").expect("signs");
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"massage", &signature));
        assert!(!public.verify(b"message", &[]));
    }
}

#[test]
fn secrets_shorter_than_their_hash_are_weak() {
    let short = r#"{"kty":"oct","k":"c2hvcnQ","alg":"HS256"}"#;
    assert!(matches!(KeySet::parse(short.as_bytes(), None, None), Err(KeyFault::Weak(_))));
}

#[test]
fn keys_for_other_uses_are_refused() {
    let secret = "Kh_RkUMj-fzbD37qBnDf_3e_RvQ3RP9PaSmVEpE24AM";
    for extra in [r#""use":"enc""#, r#""key_ops":["encrypt","decrypt"]"#, r#""alg":"A128KW""#] {
        let jwk = format!(r#"{{"kty":"oct","k":"{secret}",{extra}}}"#);
        assert!(matches!(KeySet::parse(jwk.as_bytes(), None, None), Err(KeyFault::WrongUse(_))), "{extra}");
    }
    let good = format!(r#"{{"keys":[{{"kty":"oct","k":"{secret}","use":"enc","kid":"a"}},{{"kty":"oct","k":"{secret}","kid":"b"}}]}}"#);
    let set = KeySet::parse(good.as_bytes(), None, None).expect("one is usable");
    assert!(set.get("a").is_none() && set.get("b").is_some());
}

#[test]
fn two_keys_of_one_id_are_refused() {
    let secret = "Kh_RkUMj-fzbD37qBnDf_3e_RvQ3RP9PaSmVEpE24AM";
    let set = format!(r#"{{"keys":[{{"kty":"oct","k":"{secret}","kid":"a"}},{{"kty":"oct","k":"{secret}","kid":"a"}}]}}"#);
    assert!(matches!(KeySet::parse(set.as_bytes(), None, None), Err(KeyFault::NotAKey(_))));
}

#[test]
fn a_public_key_is_never_a_secret() {
    // The classic confusion: HS256 keyed with the PEM of an RSA key.
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("rsa");
    let spki = ::pem::encode(&::pem::Pem::new("PUBLIC KEY", rsa.public_key().as_der().expect("der").as_ref()));
    assert!(matches!(KeySet::parse(spki.as_bytes(), None, Some(Algorithm::HS256)), Err(KeyFault::Mismatch { .. })));
}

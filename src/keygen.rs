//! New keys: for signing tokens, and the public half to hand out.
//!
//! Pure: keys come back as text and are written by nobody here. A key's id is its thumbprint
//! (RFC 7638), so that two keys never share one and anyone can check which key an id means.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaPair, KeySize};
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, encoding, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::secret::Secret;
use crate::token::Algorithm;

/// Which kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Kind {
    /// RSA of 2048 bits, RS256: what Cloudflare Stream and Mux use.
    #[serde(rename = "rsa-2048", alias = "rsa")]
    Rsa2048,
    /// RSA of 3072 bits, RS256.
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    /// Elliptic curve P-256, ES256.
    #[serde(rename = "p-256", alias = "ec")]
    P256,
    /// Elliptic curve P-384, ES384.
    #[serde(rename = "p-384")]
    P384,
    /// Ed25519, EdDSA: the shortest signatures.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// A shared secret of 32 bytes, HS256.
    #[serde(rename = "hmac-256", alias = "hmac")]
    Hmac256,
    /// A shared secret of 64 bytes, HS512.
    #[serde(rename = "hmac-512")]
    Hmac512,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [Self::Rsa2048, Self::Rsa3072, Self::P256, Self::P384, Self::Ed25519, Self::Hmac256, Self::Hmac512];

    /// Its word, and a second one that is taken for it.
    #[must_use]
    pub const fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Rsa2048 => ("rsa-2048", Some("rsa")),
            Self::Rsa3072 => ("rsa-3072", None),
            Self::P256 => ("p-256", Some("ec")),
            Self::P384 => ("p-384", None),
            Self::Ed25519 => ("ed25519", None),
            Self::Hmac256 => ("hmac-256", Some("hmac")),
            Self::Hmac512 => ("hmac-512", None),
        }
    }

    /// What it is good for, in a line.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA of 2048 bits, RS256: what Cloudflare Stream and Mux use",
            Self::Rsa3072 => "RSA of 3072 bits, RS256",
            Self::P256 => "Elliptic curve P-256, ES256",
            Self::P384 => "Elliptic curve P-384, ES384",
            Self::Ed25519 => "Ed25519, EdDSA: the shortest signatures",
            Self::Hmac256 => "A shared secret of 32 bytes, HS256",
            Self::Hmac512 => "A shared secret of 64 bytes, HS512",
        }
    }

    /// The algorithm that goes with it.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa2048 | Self::Rsa3072 => Algorithm::RS256,
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::Ed25519 => Algorithm::EdDSA,
            Self::Hmac256 => Algorithm::HS256,
            Self::Hmac512 => Algorithm::HS512,
        }
    }
}

/// A new key, in the forms it is used in.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Its id: the base64url of its SHA-256 thumbprint.
    pub kid: String,
    /// The private key as PKCS#8 PEM; shared secrets have none.
    pub pem: Option<Secret<String>>,
    /// The public key as PEM.
    pub public_pem: Option<String>,
    /// The private key or secret as JWK.
    pub jwk: Secret<String>,
    /// The public key as JWK.
    pub public_jwk: Option<String>,
}

/// Makes a key.
///
/// # Errors
/// A sentence, when the crypto library has none to give.
pub fn generate(kind: Kind) -> Result<Generated, String> {
    let made = match kind {
        Kind::Rsa2048 => rsa(KeySize::Rsa2048),
        Kind::Rsa3072 => rsa(KeySize::Rsa3072),
        Kind::P256 => ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
        Kind::P384 => ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
        Kind::Ed25519 => ed(),
        Kind::Hmac256 => octets(32),
        Kind::Hmac512 => octets(64),
    };
    made.and_then(|made| made.finish(kind.algorithm())).ok_or_else(|| "no key could be made: the crypto library refused".to_owned())
}

/// The parts of a key before its id is known. `thumb` holds the members of RFC 7638 §3.2 and no others.
struct Made {
    thumb: Map<String, Value>,
    private: Map<String, Value>,
    pkcs8: Option<Vec<u8>>,
    spki: Option<Vec<u8>>,
}

impl Made {
    fn finish(self, algorithm: Algorithm) -> Option<Generated> {
        // Members in the order of their names and no spaces (RFC 7638 §3.3): as serde_json writes a sorted map.
        let canonical = serde_json::to_vec(&self.thumb).ok()?;
        let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &canonical));
        let mut public = self.thumb;
        public.insert("kid".into(), kid.clone().into());
        public.insert("use".into(), "sig".into());
        public.insert("alg".into(), algorithm.jose_name()?.into());
        let public_jwk = if self.spki.is_some() { Some(serde_json::to_string(&public).ok()?) } else { None };
        public.extend(self.private);
        let pem = |label: &str, der: Vec<u8>| pem::encode(&pem::Pem::new(label, der));
        Some(Generated {
            kid,
            pem: self.pkcs8.map(|der| Secret::new(pem("PRIVATE KEY", der))),
            public_pem: self.spki.map(|der| pem("PUBLIC KEY", der)),
            jwk: Secret::new(serde_json::to_string(&public).ok()?),
            public_jwk,
        })
    }
}

fn text(bytes: &[u8]) -> Value {
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn rsa(size: KeySize) -> Option<Made> {
    let pair = RsaPair::generate(size).ok()?;
    let pkcs8 = AsDer::<encoding::Pkcs8V1Der<'_>>::as_der(&pair).ok()?.as_ref().to_vec();
    let spki = pair.public_key().as_der().ok()?.as_ref().to_vec();
    let [n, e, d, p, q, dp, dq, qi] = rsa_numbers(&pkcs8)?;
    let thumb = members([("kty", json!("RSA")), ("n", text(n)), ("e", text(e))]);
    let private = members([("d", text(d)), ("p", text(p)), ("q", text(q)), ("dp", text(dp)), ("dq", text(dq)), ("qi", text(qi))]);
    Some(Made { thumb, private, pkcs8: Some(pkcs8), spki: Some(spki) })
}

/// The eight numbers of an RSA key (RFC 8017 §A.1.2) inside PKCS#8 (RFC 5208 §5), without leading zeros.
fn rsa_numbers(pkcs8: &[u8]) -> Option<[&[u8]; 8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const OCTETS: u8 = 0x04;
    let mut info = element(&mut &*pkcs8, SEQUENCE)?;
    element(&mut info, INTEGER)?;
    element(&mut info, SEQUENCE)?;
    let mut key = element(&mut element(&mut info, OCTETS)?, SEQUENCE)?;
    element(&mut key, INTEGER)?;
    let mut numbers = [&[][..]; 8];
    for number in &mut numbers {
        let bytes = element(&mut key, INTEGER)?;
        *number = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    }
    Some(numbers)
}

/// The content of the next DER element, which must have this tag.
fn element<'d>(rest: &mut &'d [u8], tag: u8) -> Option<&'d [u8]> {
    let [have, first, after @ ..] = *rest else { return None };
    let (length, after) = match usize::from(*first) {
        short @ 0..=0x7f => (short, after),
        long => {
            let (digits, after) = after.split_at_checked(long - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), after)
        }
    };
    let (content, after) = after.split_at_checked(length).filter(|_| *have == tag)?;
    *rest = after;
    Some(content)
}

fn ec(algorithm: &'static sig::EcdsaSigningAlgorithm, curve: &str, size: usize) -> Option<Made> {
    let pair = EcdsaKeyPair::generate(algorithm).ok()?;
    let secret = encoding::AsBigEndian::<encoding::EcPrivateKeyBin<'_>>::as_be_bytes(&pair.private_key()).ok()?;
    // The uncompressed point: 4, then both coordinates in full length (SEC 1 §2.3.3).
    let (x, y) = pair.public_key().as_ref().get(1..).filter(|point| point.len() == 2 * size)?.split_at(size);
    Some(Made {
        thumb: members([("kty", json!("EC")), ("crv", curve.into()), ("x", text(x)), ("y", text(y))]),
        private: members([("d", text(secret.as_ref()))]),
        pkcs8: Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
        spki: Some(pair.public_key().as_der().ok()?.as_ref().to_vec()),
    })
}

fn ed() -> Option<Made> {
    let pair = Ed25519KeyPair::generate().ok()?;
    let seed = encoding::AsBigEndian::<encoding::Curve25519SeedBin<'_>>::as_be_bytes(&pair.seed().ok()?).ok()?;
    Some(Made {
        thumb: members([("kty", json!("OKP")), ("crv", json!("Ed25519")), ("x", text(pair.public_key().as_ref()))]),
        private: members([("d", text(seed.as_ref()))]),
        pkcs8: Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec()),
        spki: Some(pair.public_key().as_der().ok()?.as_ref().to_vec()),
    })
}

/// The id is a hash of the whole secret, which says nothing of a secret this long (RFC 7638 §7).
fn octets(length: usize) -> Option<Made> {
    let mut octets = zeroize::Zeroizing::new(vec![0; length]);
    rand::fill(&mut octets).ok()?;
    Some(Made { thumb: members([("kty", json!("oct")), ("k", text(&octets))]), private: Map::new(), pkcs8: None, spki: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Key, KeySet};

    fn read(text: &str, id: &str) -> Key {
        let set = KeySet::parse(text.as_bytes(), Some(id), None).unwrap_or_else(|fault| panic!("{fault}"));
        let key = set.only().expect("one key");
        key.pinned(key.algorithm()).expect("key")
    }

    #[test]
    fn every_form_of_a_key_is_the_same_key() {
        for kind in Kind::ALL {
            let made = generate(kind).expect("a key");
            let jwk = read(made.jwk.expose(), "x");
            let mut verifiers = vec![read(made.jwk.expose(), "x")];
            let mut signers = vec![read(made.jwk.expose(), "x")];
            signers.extend(made.pem.as_ref().map(|pem| read(pem.expose(), &made.kid)));
            verifiers.extend([&made.public_pem, &made.public_jwk].into_iter().flatten().map(|text| read(text, &made.kid)));
            assert_eq!((jwk.id().map(|id| &**id), jwk.algorithm()), (Some(&*made.kid), kind.algorithm()), "{kind:?}");
            let hmac = kind.algorithm().family() == crate::token::key::Family::Octets;
            assert_eq!((signers.len(), verifiers.len()), if hmac { (1, 1) } else { (2, 3) }, "{kind:?}");
            for signer in &signers {
                let signature = signer.sign(b"message").expect("signs");
                for verifier in &verifiers {
                    assert!(verifier.verify(b"message", &signature), "{kind:?}");
                    assert_eq!(verifier.id().map(|id| &**id), Some(&*made.kid));
                }
            }
            assert!(verifiers.iter().skip(1).all(|public| !public.can_sign()), "{kind:?}");
        }
    }

    #[test]
    fn keys_differ_and_do_not_print() {
        let (one, two) = (generate(Kind::Hmac256).expect("key"), generate(Kind::Hmac256).expect("key"));
        assert_ne!(one.kid, two.kid);
        let secret: Value = serde_json::from_str(one.jwk.expose()).expect("json");
        assert!(!format!("{one:?}").contains(secret["k"].as_str().expect("k")));
    }

    #[test]
    fn the_thumbprint_is_that_of_the_standard() {
        // RFC 7638 §3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let thumb = members([("kty", json!("RSA")), ("n", n.into()), ("e", json!("AQAB"))]);
        let made = Made { thumb, private: Map::new(), pkcs8: None, spki: None }.finish(Algorithm::RS256).expect("finished");
        assert_eq!(made.kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}

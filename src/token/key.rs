//! Keys: what signs and verifies, with the algorithm pinned to the key.
//!
//! A key is parsed once and kept parsed. Its algorithm comes from the config or from the JWK, never
//! from a token. Keys too weak for their algorithm, or meant for another use, never become a [`Key`].

mod jwk;
mod pem;

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};
use aws_lc_rs::{constant_time, hmac};
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// A signature algorithm, by its JOSE name where it has one (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-1, which CloudFront's URLs still use; verified only.
    #[serde(rename = "RSA-SHA1")]
    RsaSha1,
    /// ECDSA P-256 with SHA-256, the signature in ASN.1 DER as CloudFront has it.
    #[serde(rename = "ECDSA-DER")]
    Es256Der,
    /// The same with SHA-1, which CloudFront takes when the URL names no hash; verified only.
    #[serde(rename = "ECDSA-SHA1-DER")]
    Es256DerSha1,
    /// A shared secret whose use the scheme lays down (digest and HMAC URL schemes).
    #[serde(rename = "secret")]
    Secret,
}

impl Algorithm {
    /// The name in a JOSE header, or `None` for the algorithms that have none.
    #[must_use]
    pub const fn jose_name(self) -> Option<&'static str> {
        Some(match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RsaSha1 | Self::Es256Der | Self::Es256DerSha1 | Self::Secret => return None,
        })
    }

    /// The algorithm of a JOSE name; `none` and unknown names give `None`.
    #[must_use]
    pub fn from_jose(name: &str) -> Option<Self> {
        [
            Self::RS256,
            Self::RS384,
            Self::RS512,
            Self::PS256,
            Self::PS384,
            Self::PS512,
            Self::ES256,
            Self::ES384,
            Self::ES512,
            Self::EdDSA,
            Self::HS256,
            Self::HS384,
            Self::HS512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.jose_name() == Some(name))
    }

    /// The kind of key it wants.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 | Self::RsaSha1 => Family::Rsa,
            Self::ES256 | Self::Es256Der | Self::Es256DerSha1 => Family::P256,
            Self::ES384 => Family::P384,
            Self::ES512 => Family::P521,
            Self::EdDSA => Family::Ed25519,
            Self::HS256 | Self::HS384 | Self::HS512 | Self::Secret => Family::Octets,
        }
    }
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    Octets,
}

impl Family {
    /// The algorithm a key of this family gets when the config names none.
    #[must_use]
    pub const fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::RS256,
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::P521 => Algorithm::ES512,
            Self::Ed25519 => Algorithm::EdDSA,
            Self::Octets => Algorithm::HS256,
        }
    }
}

/// Why something is not a key that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not PEM, JWK, JWKS, nor base64 of one of them.
    #[error("not a key: {0}")]
    NotAKey(String),
    /// The algorithm wants another kind of key.
    #[error("algorithm {algorithm:?} does not go with this kind of key")]
    Mismatch {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// RSA below 2048 bits, or a secret shorter than the hash it keys (RFC 7518 §3.2, §3.3).
    #[error("the key is too weak: {0}")]
    Weak(&'static str),
    /// `use`, `key_ops` or `alg` say that it is not for signatures, or for another algorithm.
    #[error("the key is not for verifying signatures: {0}")]
    WrongUse(String),
    /// The library does not take it.
    #[error("the key is rejected: {0}")]
    Rejected(String),
}

/// The bytes of a key, in one form for each family.
#[derive(Clone)]
pub struct Material {
    family: Family,
    /// SubjectPublicKeyInfo; empty for octets.
    public: Vec<u8>,
    /// PKCS#8, or the octets.
    private: Option<Secret<Vec<u8>>>,
}

#[allow(clippy::large_enum_variant, reason = "one per key, and reached through an Arc")]
enum Verifier {
    Public(ParsedPublicKey),
    Mac(hmac::Key),
    None,
}

#[allow(clippy::large_enum_variant, reason = "one per key, and reached through an Arc")]
enum Signer {
    Rsa(RsaKeyPair, &'static dyn sig::RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// One key with its id and its one algorithm. Signing keys also verify.
pub struct Key {
    id: Option<Arc<str>>,
    algorithm: Algorithm,
    material: Material,
    verifier: Verifier,
    signer: Option<Signer>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("signs", &self.can_sign())
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Pins `algorithm` (the family's default when `None`) to a key.
    ///
    /// # Errors
    /// [`KeyFault`] when the two do not go together or the key is too weak.
    pub fn new(material: Material, id: Option<&str>, algorithm: Option<Algorithm>) -> Result<Self, KeyFault> {
        let algorithm = algorithm.unwrap_or_else(|| material.family.default_algorithm());
        if algorithm.family() != material.family {
            return Err(KeyFault::Mismatch { algorithm });
        }
        let verifier = verifier(&material, algorithm)?;
        let signer = signer(&material, algorithm)?;
        Ok(Self { id: id.map(Into::into), algorithm, material, verifier, signer })
    }

    /// A shared secret for a scheme that lays down its use.
    #[must_use]
    pub fn secret(id: Option<&str>, octets: Vec<u8>) -> Self {
        let material = Material::octets(octets);
        Self { id: id.map(Into::into), algorithm: Algorithm::Secret, material, verifier: Verifier::None, signer: None }
    }

    /// The same key under another algorithm of its family.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn pinned(&self, algorithm: Algorithm) -> Result<Self, KeyFault> {
        Self::new(self.material.clone(), self.id.as_deref(), Some(algorithm))
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> Option<&Arc<str>> {
        self.id.as_ref()
    }

    /// The one algorithm it is used with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The octets of a shared secret; `None` for other families.
    #[must_use]
    pub fn octets(&self) -> Option<&[u8]> {
        match (self.material.family, &self.material.private) {
            (Family::Octets, Some(secret)) => Some(secret.expose()),
            _ => None,
        }
    }

    /// The public half as SubjectPublicKeyInfo; empty for shared secrets.
    #[must_use]
    pub fn public_der(&self) -> &[u8] {
        &self.material.public
    }

    /// The private half as PKCS#8, if it is here.
    #[must_use]
    pub fn private_der(&self) -> Option<&Secret<Vec<u8>>> {
        self.material.private.as_ref().filter(|_| self.material.family != Family::Octets)
    }

    /// Whether it can sign.
    #[must_use]
    pub const fn can_sign(&self) -> bool {
        self.signer.is_some() || matches!(self.verifier, Verifier::Mac(_))
    }

    /// Whether `signature` is this key's over `message`, by its own algorithm. MACs are compared in
    /// constant time and in full length.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Public(public) => public.verify_sig(message, signature).is_ok(),
            Verifier::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::None => false,
        }
    }

    /// As [`Key::verify`], by another algorithm of the same family: for schemes whose tokens choose
    /// the hash themselves. The caller decides which choices it takes.
    #[must_use]
    pub fn verify_as(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm == self.algorithm {
            return self.verify(message, signature);
        }
        match verifier(&self.material, algorithm) {
            Ok(Verifier::Public(public)) => algorithm.family() == self.material.family && public.verify_sig(message, signature).is_ok(),
            _ => false,
        }
    }

    /// The kind of key.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.material.family
    }

    /// This key's signature over `message`, or `None` when it cannot sign.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match (&self.signer, &self.verifier) {
            (Some(Signer::Rsa(pair, encoding)), _) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut out).ok()?;
                Some(out)
            }
            (Some(Signer::Ec(pair)), _) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            (Some(Signer::Ed(pair)), _) => Some(pair.sign(message).as_ref().to_vec()),
            (None, Verifier::Mac(key)) => Some(hmac::sign(key, message).as_ref().to_vec()),
            (None, _) => None,
        }
    }
}

fn verifier(material: &Material, algorithm: Algorithm) -> Result<Verifier, KeyFault> {
    let mac = |algorithm, least| {
        let octets = material.private.as_ref().map_or(&[][..], |secret| secret.expose());
        if octets.len() < least {
            // RFC 7518 §3.2: a key of the same size as the hash output or larger MUST be used.
            return Err(KeyFault::Weak("an HMAC secret must be at least as long as its hash"));
        }
        Ok(Verifier::Mac(hmac::Key::new(algorithm, octets)))
    };
    let public =
        |algorithm| ParsedPublicKey::new(algorithm, &material.public).map(Verifier::Public).map_err(|e| KeyFault::Rejected(e.to_string()));
    match algorithm {
        Algorithm::RS256 => public(&sig::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => public(&sig::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => public(&sig::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => public(&sig::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => public(&sig::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => public(&sig::RSA_PSS_2048_8192_SHA512),
        Algorithm::RsaSha1 => public(&sig::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::ES256 => public(&sig::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => public(&sig::ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => public(&sig::ECDSA_P521_SHA512_FIXED),
        Algorithm::Es256Der => public(&sig::ECDSA_P256_SHA256_ASN1),
        Algorithm::Es256DerSha1 => public(&sig::ECDSA_P256_SHA1_ASN1),
        Algorithm::EdDSA => public(&sig::ED25519),
        Algorithm::HS256 => mac(hmac::HMAC_SHA256, 32),
        Algorithm::HS384 => mac(hmac::HMAC_SHA384, 48),
        Algorithm::HS512 => mac(hmac::HMAC_SHA512, 64),
        Algorithm::Secret => Ok(Verifier::None),
    }
}

fn signer(material: &Material, algorithm: Algorithm) -> Result<Option<Signer>, KeyFault> {
    let Some(private) = &material.private else { return Ok(None) };
    let rejected = |e: aws_lc_rs::error::KeyRejected| KeyFault::Rejected(e.to_string());
    let rsa = |encoding| Ok(Some(Signer::Rsa(RsaKeyPair::from_pkcs8(private.expose()).map_err(rejected)?, encoding)));
    let ec = |algorithm| Ok(Some(Signer::Ec(EcdsaKeyPair::from_pkcs8(algorithm, private.expose()).map_err(rejected)?)));
    match algorithm {
        Algorithm::RS256 => rsa(&sig::RSA_PKCS1_SHA256),
        Algorithm::RS384 => rsa(&sig::RSA_PKCS1_SHA384),
        Algorithm::RS512 => rsa(&sig::RSA_PKCS1_SHA512),
        Algorithm::PS256 => rsa(&sig::RSA_PSS_SHA256),
        Algorithm::PS384 => rsa(&sig::RSA_PSS_SHA384),
        Algorithm::PS512 => rsa(&sig::RSA_PSS_SHA512),
        Algorithm::ES256 => ec(&sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::ES512 => ec(&sig::ECDSA_P521_SHA512_FIXED_SIGNING),
        Algorithm::Es256Der => ec(&sig::ECDSA_P256_SHA256_ASN1_SIGNING),
        Algorithm::EdDSA => Ok(Some(Signer::Ed(Ed25519KeyPair::from_pkcs8(private.expose()).map_err(rejected)?))),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | Algorithm::RsaSha1 | Algorithm::Es256DerSha1 | Algorithm::Secret => {
            Ok(None)
        }
    }
}

impl Material {
    /// A shared secret.
    #[must_use]
    pub fn octets(octets: Vec<u8>) -> Self {
        Self { family: Family::Octets, public: Vec::new(), private: Some(Secret::new(octets)) }
    }

    /// A public key in SubjectPublicKeyInfo form.
    ///
    /// # Errors
    /// [`KeyFault::NotAKey`] when no known family takes it, [`KeyFault::Weak`] when it is a short RSA key.
    pub fn public(spki: &[u8]) -> Result<Self, KeyFault> {
        let family = [
            (Family::Rsa, &sig::RSA_PKCS1_2048_8192_SHA256 as &'static dyn sig::VerificationAlgorithm),
            (Family::P256, &sig::ECDSA_P256_SHA256_FIXED),
            (Family::P384, &sig::ECDSA_P384_SHA384_FIXED),
            (Family::P521, &sig::ECDSA_P521_SHA512_FIXED),
            (Family::Ed25519, &sig::ED25519),
        ]
        .into_iter()
        .find(|(_, algorithm)| ParsedPublicKey::new(*algorithm, spki).is_ok())
        .map(|(family, _)| family);
        let Some(family) = family else {
            return Err(if ParsedPublicKey::new(&sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, spki).is_ok() {
                KeyFault::Weak("RSA keys need 2048 bits or more")
            } else {
                KeyFault::NotAKey("neither RSA (2048 bits or more), P-256, P-384, P-521 nor Ed25519".into())
            });
        };
        Ok(Self { family, public: spki.to_vec(), private: None })
    }

    /// A private key in PKCS#8 form.
    ///
    /// # Errors
    /// [`KeyFault::NotAKey`] when no known family takes it.
    pub fn private(pkcs8: &[u8]) -> Result<Self, KeyFault> {
        let (family, public) = private_family(pkcs8).ok_or_else(|| KeyFault::NotAKey("no known kind of private key".into()))?;
        if family == Family::Rsa {
            // The public half is parsed under the 2048-bit rule, so a weak private key stops here.
            Self::public(&public)?;
        }
        Ok(Self { family, public, private: Some(Secret::new(pkcs8.to_vec())) })
    }

    /// The kind of key.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }
}

fn private_family(pkcs8: &[u8]) -> Option<(Family, Vec<u8>)> {
    if let Ok(pair) = RsaKeyPair::from_pkcs8(pkcs8) {
        return Some((Family::Rsa, pair.public_key().as_der().ok()?.as_ref().to_vec()));
    }
    for (family, algorithm) in [
        (Family::P256, &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        (Family::P384, &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        (Family::P521, &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8) {
            return Some((family, pair.public_key().as_der().ok()?.as_ref().to_vec()));
        }
    }
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
    Some((Family::Ed25519, pair.public_key().as_der().ok()?.as_ref().to_vec()))
}

/// The keys of one source, looked up by id. Order is the order of the source.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// More keys than this in one set are refused: a key set is not a database.
    pub const MAX: usize = 1000;

    /// A set of these keys.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys: keys.into_iter().map(Arc::new).collect() }
    }

    /// A set of keys that are parsed and held already.
    #[must_use]
    pub const fn shared(keys: Vec<Arc<Key>>) -> Self {
        Self { keys }
    }

    /// Reads PEM (one or more blocks), a JWK, a JWKS, or base64 of one of them (as Cloudflare and
    /// Mux hand keys out). `id` and `algorithm` apply to keys that do not bring their own. Keys of
    /// a JWKS that are not for verifying signatures are left out; a set left empty is a fault.
    ///
    /// # Errors
    /// The first [`KeyFault`] of a single key, or of a whole set in which no key is usable.
    pub fn parse(text: &[u8], id: Option<&str>, algorithm: Option<Algorithm>) -> Result<Self, KeyFault> {
        let text = std::str::from_utf8(text).map_err(|_| KeyFault::NotAKey("not text".into()))?.trim();
        if text.starts_with('{') {
            return jwk::parse(text, id, algorithm).map(Self::new);
        }
        if text.contains("-----BEGIN") {
            return pem::parse(text, id, algorithm).map(Self::new);
        }
        let inner = unwrap_base64(text).ok_or_else(|| KeyFault::NotAKey("neither PEM nor JSON nor base64 of one".into()))?;
        match inner.trim_start().as_bytes() {
            [b'{', ..] => jwk::parse(&inner, id, algorithm).map(Self::new),
            [b'-', ..] => pem::parse(&inner, id, algorithm).map(Self::new),
            _ => Err(KeyFault::NotAKey("base64 of something that is neither PEM nor JSON".into())),
        }
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.iter().find(|key| key.id().is_some_and(|have| constant_time_text(have, id)))
    }

    /// The only key of a set of one; tokens that name no key can be checked against that only.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<Key>> {
        if let [key] = &self.keys[..] { Some(key) } else { None }
    }

    /// The first key that can sign, or the one with this id if it can.
    #[must_use]
    pub fn signing(&self, id: Option<&str>) -> Option<&Arc<Key>> {
        match id {
            Some(id) => self.get(id).filter(|key| key.can_sign()),
            None => self.keys.iter().find(|key| key.can_sign()),
        }
    }

    /// All keys, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Key>> {
        self.keys.iter()
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Key ids are public; comparing them plainly is fine. Kept apart so that nobody "optimises" secrets the same way.
fn constant_time_text(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

fn unwrap_base64(text: &str) -> Option<String> {
    use base64::Engine as _;
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(&compact).ok()?;
    String::from_utf8(bytes).ok()
}

/// A key set that can be replaced while in use (file reload, JWKS refresh).
#[derive(Debug, Clone, Default)]
pub struct KeySource(Arc<Source>);

#[derive(Debug, Default)]
struct Source {
    keys: ArcSwap<KeySet>,
    generation: std::sync::atomic::AtomicU64,
}

impl KeySource {
    /// A source that holds `keys` until [`KeySource::replace`] is called.
    #[must_use]
    pub fn new(keys: KeySet) -> Self {
        Self(Arc::new(Source { keys: ArcSwap::from_pointee(keys), generation: 0.into() }))
    }

    /// The keys now.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.0.keys.load()
    }

    /// Puts other keys in place; verdicts remembered under the old ones are void.
    pub fn replace(&self, keys: KeySet) {
        self.0.keys.store(Arc::new(keys));
        self.0.generation.fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    /// Counts the replacements.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whether both are the same source.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests;

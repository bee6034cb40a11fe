//! Keys from PEM: SubjectPublicKeyInfo, PKCS#1 and PKCS#8, SEC 1.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};

use super::{Algorithm, Family, Key, KeyFault, Material};
use crate::secret::Secret;

pub(super) fn parse(text: &str, id: Option<&str>, algorithm: Option<Algorithm>) -> Result<Vec<Key>, KeyFault> {
    let blocks = ::pem::parse_many(text).map_err(|e| KeyFault::NotAKey(e.to_string()))?;
    // `EC PARAMETERS` stands before the key in files that OpenSSL writes; it says nothing the key does not.
    let keys: Vec<_> = blocks.iter().filter(|block| block.tag() != "EC PARAMETERS").collect();
    if keys.is_empty() {
        return Err(KeyFault::NotAKey("no PEM block".into()));
    }
    keys.into_iter().map(|block| Key::new(material(block)?, id, algorithm)).collect()
}

fn material(block: &::pem::Pem) -> Result<Material, KeyFault> {
    let der = block.contents();
    match block.tag() {
        "PUBLIC KEY" => Material::public(der),
        "RSA PUBLIC KEY" => rsa_public(der),
        "PRIVATE KEY" => Material::private(der),
        "RSA PRIVATE KEY" => rsa_private(der),
        "EC PRIVATE KEY" => ec_private(der),
        "ENCRYPTED PRIVATE KEY" => Err(KeyFault::NotAKey("the private key is encrypted; give it decrypted, mode 0600".into())),
        other => Err(KeyFault::NotAKey(format!("PEM block \"{}\" is not a key that can be used", other.escape_default()))),
    }
}

fn rsa_public(pkcs1: &[u8]) -> Result<Material, KeyFault> {
    // aws-lc reads PKCS#1 as well; it is kept as SubjectPublicKeyInfo so that there is one form.
    let parsed =
        ParsedPublicKey::new(&sig::RSA_PKCS1_2048_8192_SHA256, pkcs1).map_err(|_| KeyFault::Weak("RSA keys need 2048 bits or more"))?;
    let spki = parsed.as_der().map_err(|_| KeyFault::NotAKey("RSA public key".into()))?;
    Material::public(spki.as_ref())
}

fn rsa_private(pkcs1: &[u8]) -> Result<Material, KeyFault> {
    let pair = RsaKeyPair::from_der(pkcs1).map_err(|e| KeyFault::Rejected(e.to_string()))?;
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyFault::NotAKey("RSA private key".into()))?;
    Material::private(pkcs8.as_ref())
}

fn ec_private(sec1: &[u8]) -> Result<Material, KeyFault> {
    for (family, algorithm) in [
        (Family::P256, &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        (Family::P384, &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        (Family::P521, &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm, sec1) else { continue };
        return ec_material(family, &pair);
    }
    Err(KeyFault::NotAKey("EC private key of another curve than P-256, P-384, P-521".into()))
}

/// The material of a pair, whatever form it was read from.
pub(super) fn ec_material(family: Family, pair: &EcdsaKeyPair) -> Result<Material, KeyFault> {
    let unreadable = |_| KeyFault::NotAKey("EC key".into());
    let public = pair.public_key().as_der().map_err(unreadable)?.as_ref().to_vec();
    let pkcs8 = pair.to_pkcs8v1().map_err(unreadable)?;
    Ok(Material { family, public, private: Some(Secret::new(pkcs8.as_ref().to_vec())) })
}

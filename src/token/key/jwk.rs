//! Keys from JWK and JWKS (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Algorithm, Family, Key, KeyFault, KeySet, Material, pem};

/// The members that are read. Private members are read for signing keys; others are let be (RFC 7517 §4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    k: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

pub(super) fn parse(text: &str, id: Option<&str>, algorithm: Option<Algorithm>) -> Result<Vec<Key>, KeyFault> {
    let not_a_key = |e: serde_json::Error| KeyFault::NotAKey(format!("not a JWK or JWKS: line {} column {}", e.line(), e.column()));
    if let Ok(set) = serde_json::from_str::<Jwks>(text) {
        return parse_set(set, algorithm);
    }
    let jwk: Jwk = serde_json::from_str(text).map_err(not_a_key)?;
    key(&jwk, id, algorithm).map(|key| vec![key])
}

/// Of a set, what is not for us is left out (RFC 7517 §5: "implementations SHOULD ignore JWKs … not understood").
fn parse_set(set: Jwks, algorithm: Option<Algorithm>) -> Result<Vec<Key>, KeyFault> {
    if set.keys.len() > KeySet::MAX {
        return Err(KeyFault::NotAKey(format!("more than {} keys in one set", KeySet::MAX)));
    }
    let mut last = KeyFault::NotAKey("the set holds no key".into());
    let mut keys: Vec<Key> = Vec::new();
    for value in set.keys {
        let parsed = serde_json::from_value::<Jwk>(value).map_err(|_| KeyFault::NotAKey("a member has the wrong type".into()));
        match parsed.and_then(|jwk| key(&jwk, None, algorithm)) {
            // Two keys under one id: which one verifies would depend on order.
            Ok(key) if key.id().is_some() && keys.iter().any(|have| have.id() == key.id()) => {
                return Err(KeyFault::NotAKey("two keys of the set have the same kid".into()));
            }
            Ok(key) => keys.push(key),
            Err(fault) => last = fault,
        }
    }
    if keys.is_empty() { Err(last) } else { Ok(keys) }
}

fn key(jwk: &Jwk, id: Option<&str>, algorithm: Option<Algorithm>) -> Result<Key, KeyFault> {
    check_use(jwk)?;
    let named =
        jwk.alg.as_deref().map(|alg| Algorithm::from_jose(alg).ok_or_else(|| KeyFault::WrongUse(format!("alg {}", alg.escape_default()))));
    let algorithm = match (named.transpose()?, algorithm) {
        (Some(own), Some(asked)) if own != asked && own.family() != asked.family() => return Err(KeyFault::Mismatch { algorithm: asked }),
        (Some(own), _) => Some(own),
        (None, asked) => asked,
    };
    Key::new(material(jwk)?, jwk.kid.as_deref().or(id), algorithm)
}

fn check_use(jwk: &Jwk) -> Result<(), KeyFault> {
    // RFC 7517 §4.2, §4.3: a key that says it is for something else is not ours to verify with.
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(KeyFault::WrongUse("use is not sig".into()));
    }
    let for_signatures = |ops: &Vec<String>| ops.iter().any(|op| op == "verify" || op == "sign");
    if jwk.key_ops.as_ref().is_some_and(|ops| !for_signatures(ops)) {
        return Err(KeyFault::WrongUse("key_ops has neither verify nor sign".into()));
    }
    Ok(())
}

fn material(jwk: &Jwk) -> Result<Material, KeyFault> {
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => rsa_material(jwk),
        ("EC", Some("P-256")) => ec(jwk, Family::P256, 32, &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("EC", Some("P-384")) => ec(jwk, Family::P384, 48, &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        ("EC", Some("P-521")) => ec(jwk, Family::P521, 66, &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
        ("OKP", Some("Ed25519")) => ed(jwk),
        ("oct", _) => Ok(Material::octets(octets(jwk.k.as_ref(), "k")?)),
        (kty, crv) => Err(KeyFault::NotAKey(format!("kty {} crv {}", kty.escape_default(), crv.unwrap_or("-").escape_default()))),
    }
}

fn octets(member: Option<&String>, name: &str) -> Result<Vec<u8>, KeyFault> {
    let text = member.ok_or_else(|| KeyFault::NotAKey(format!("member {name} is missing")))?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| KeyFault::NotAKey(format!("member {name} is not base64url")))
}

fn unsigned(member: Option<&String>, name: &str) -> Result<Vec<u8>, KeyFault> {
    let bytes = octets(member, name)?;
    let lead = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes[lead..].to_vec())
}

fn rsa_material(jwk: &Jwk) -> Result<Material, KeyFault> {
    let public_key = RsaPublicKeyComponents { n: unsigned(jwk.n.as_ref(), "n")?, e: unsigned(jwk.e.as_ref(), "e")? };
    if public_key.n.len() < 256 {
        return Err(KeyFault::Weak("RSA keys need 2048 bits or more"));
    }
    if jwk.d.is_none() {
        let spki =
            AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(&public_key).map_err(|_| KeyFault::NotAKey("RSA key".into()))?;
        return Material::public(spki.as_ref());
    }
    let components = rsa::KeyPairComponents {
        public_key,
        d: octets(jwk.d.as_ref(), "d")?,
        p: octets(jwk.p.as_ref(), "p")?,
        q: octets(jwk.q.as_ref(), "q")?,
        dP: octets(jwk.dp.as_ref(), "dp")?,
        dQ: octets(jwk.dq.as_ref(), "dq")?,
        qInv: octets(jwk.qi.as_ref(), "qi")?,
    };
    let pair = rsa::KeyPair::from_components(&components).map_err(|e| KeyFault::Rejected(e.to_string()))?;
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyFault::NotAKey("RSA key".into()))?;
    Material::private(pkcs8.as_ref())
}

fn ec(jwk: &Jwk, family: Family, size: usize, signing: &'static EcdsaSigningAlgorithm) -> Result<Material, KeyFault> {
    // RFC 7518 §6.2.1.2: the full size of a coordinate, leading zeros included.
    let (x, y) = (octets(jwk.x.as_ref(), "x")?, octets(jwk.y.as_ref(), "y")?);
    if x.len() != size || y.len() != size {
        return Err(KeyFault::NotAKey("a coordinate has the wrong length".into()));
    }
    let point = [&[4_u8][..], &x, &y].concat();
    if jwk.d.is_some() {
        let pair = EcdsaKeyPair::from_private_key_and_public_key(signing, &octets(jwk.d.as_ref(), "d")?, &point)
            .map_err(|e| KeyFault::Rejected(e.to_string()))?;
        return pem::ec_material(family, &pair);
    }
    Material::public(&spki(family, &point)?)
}

fn ed(jwk: &Jwk) -> Result<Material, KeyFault> {
    let public = octets(jwk.x.as_ref(), "x")?;
    if public.len() != 32 {
        return Err(KeyFault::NotAKey("member x has the wrong length".into()));
    }
    if jwk.d.is_none() {
        return Material::public(&spki(Family::Ed25519, &public)?);
    }
    let pair =
        Ed25519KeyPair::from_seed_and_public_key(&octets(jwk.d.as_ref(), "d")?, &public).map_err(|e| KeyFault::Rejected(e.to_string()))?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyFault::NotAKey("Ed25519 key".into()))?;
    Material::private(pkcs8.as_ref())
}

/// SubjectPublicKeyInfo (RFC 5280 §4.1.2.7): the fixed DER head of each curve (RFC 5480, RFC 8410), then the point.
fn spki(family: Family, point: &[u8]) -> Result<Vec<u8>, KeyFault> {
    let head: &[u8] = match family {
        Family::P256 => &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
            0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        Family::P384 => &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03,
            0x62, 0x00,
        ],
        Family::P521 => &[
            0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23,
            0x03, 0x81, 0x86, 0x00,
        ],
        Family::Ed25519 => &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00],
        Family::Rsa | Family::Octets => return Err(KeyFault::NotAKey("no curve".into())),
    };
    Ok([head, point].concat())
}

//! Vectors of the scheme `google-media-cdn`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use crate::token::key::Material;
use crate::token::scheme::google_media_cdn::GoogleMediaCdn;
use crate::token::{Algorithm, Key, KeySet, KeySource, Scheme};

/// SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410 §4).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = vector.get("key")?.as_object()?;
    Some(scheme(vector, keys).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

/// The keyset's hash is not a field of the vectors: it is said in `reason`, or else is that of the
/// vendor's token.
fn hash(vector: &Value) -> &'static str {
    let url = vector["input"]["url"].as_str().unwrap_or("");
    let short = url.rsplit_once("~hmac=").is_some_and(|(_, hmac)| hmac.len() == 40);
    let other = vector["reason"].as_str().is_some_and(|reason| reason.contains("sha256 is configured"));
    if short && !other { "sha1" } else { "sha256" }
}

fn scheme(vector: &Value, keys: &serde_json::Map<String, Value>) -> Result<GoogleMediaCdn, String> {
    let mut set = Vec::new();
    // Signed requests have keys by name, tokens a bare keyset.
    if keys.contains_key("ed25519_pub_b64url") || keys.contains_key("hmac_secret_b64url") {
        push(&mut set, None, keys)?;
    } else {
        for (name, key) in keys {
            push(&mut set, Some(name), key.as_object().ok_or("a key is an object")?)?;
        }
    }
    let config = super::table(json!({ "keys": "vectors", "hmac": hash(vector) }), vector)?;
    GoogleMediaCdn::new(&config, KeySource::new(KeySet::new(set)))
}

fn push(set: &mut Vec<Key>, name: Option<&str>, key: &serde_json::Map<String, Value>) -> Result<(), String> {
    let bytes = |field: &str| key.get(field).and_then(Value::as_str).map(|text| URL_SAFE.decode(text).map_err(|fault| fault.to_string()));
    if let Some(public) = bytes("ed25519_pub_b64url") {
        let material = Material::public(&[&ED25519[..], &public?].concat()).map_err(|fault| fault.to_string())?;
        set.push(Key::new(material, name, Some(Algorithm::EdDSA)).map_err(|fault| fault.to_string())?);
    }
    if let Some(secret) = bytes("hmac_secret_b64url") {
        set.push(Key::secret(name, secret?));
    }
    Ok(())
}

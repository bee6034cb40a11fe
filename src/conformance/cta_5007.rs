//! `cta-5007` from its vectors: one HS256 key with issuer and audience, or one key of each algorithm.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::key::Material;
use crate::token::scheme::cta_5007::{Config, Cta5007};
use crate::token::scheme::digest::unhex;
use crate::token::{Algorithm, Key, KeyFault, KeySet, KeySource, Scheme};

pub(super) fn build(file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    // The COSE file's tokens begin a second after its clock; its verifier allows a minute.
    let leeway = if file["scheme"] == "cta5007_cat_cose" { "60s" } else { "0s" };
    Some(make(vector, leeway))
}

fn make(vector: &Value, leeway: &str) -> Result<Arc<dyn Scheme>, String> {
    let key = &vector["key"];
    let keys = keys(key).map_err(|fault| fault.to_string())?;
    let config = json!({
        "keys": "keys",
        "leeway": leeway,
        "issuers": key["issuer"].as_str().into_iter().collect::<Vec<_>>(),
        "audiences": key["audience"].as_array().cloned().unwrap_or_default(),
    });
    let config: Config = super::table(config, vector)?;
    Ok(Arc::new(Cta5007::new(&config, KeySource::new(KeySet::new(keys)))?))
}

fn keys(key: &Value) -> Result<Vec<Key>, KeyFault> {
    let hmac = |id: &str, hex: &str| Key::new(Material::octets(unhex(hex).unwrap_or_default()), Some(id), Some(Algorithm::HS256));
    if let Some(hex) = key["hex"].as_str() {
        return Ok(vec![hmac(key["kid"].as_str().unwrap_or(""), hex)?]);
    }
    let mut keys = vec![hmac("hs", key["hs"].as_str().unwrap_or(""))?];
    for (id, algorithm) in [("es", Algorithm::ES256), ("ps", Algorithm::PS256), ("ed", Algorithm::EdDSA)] {
        let set = KeySet::parse(key[id].as_str().unwrap_or("").as_bytes(), Some(id), Some(algorithm))?;
        keys.extend(set.iter().map(|key| key.pinned(algorithm)).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(keys)
}

//! Vectors of Cloudflare Stream: `key` is an object of key id to PEM.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::cloudflare_stream::{CloudflareStream, Config};
use crate::token::{Key, KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    Some(scheme(vector))
}

fn scheme(vector: &Value) -> Result<Arc<dyn Scheme>, String> {
    let config: Config = super::table(json!({"keys": "vector"}), vector)?;
    Ok(Arc::new(CloudflareStream::new(&config, keys_by_id(vector)?)?))
}

/// The keys of an object of key id to PEM, as a source.
pub(super) fn keys_by_id(vector: &Value) -> Result<KeySource, String> {
    let texts = vector.get("key").and_then(Value::as_object).ok_or("key is not an object of key id to PEM")?;
    let mut keys: Vec<Key> = Vec::new();
    for (id, text) in texts {
        let text = text.as_str().ok_or("a key is not a text")?;
        let set = KeySet::parse(text.as_bytes(), Some(id), None).map_err(|fault| format!("key {id}: {fault}"))?;
        for key in set.iter() {
            keys.push(key.pinned(key.algorithm()).map_err(|fault| format!("key {id}: {fault}"))?);
        }
    }
    Ok(KeySource::new(KeySet::new(keys)))
}

//! Vectors of the scheme `cloudfront`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::cloudfront::CloudFront;
use crate::token::{KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = vector.get("key")?.as_object()?;
    Some(scheme(vector, keys).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(vector: &Value, keys: &serde_json::Map<String, Value>) -> Result<CloudFront, String> {
    let mut group = Vec::new();
    for (id, pem) in keys {
        let set = KeySet::parse(pem.as_str().unwrap_or("").as_bytes(), Some(id), None).map_err(|fault| fault.to_string())?;
        let key = set.only().ok_or("one key each")?;
        group.push(key.pinned(key.algorithm()).map_err(|fault| fault.to_string())?);
    }
    let config = super::table(json!({ "keys": "vectors" }), vector)?;
    CloudFront::new(&config, KeySource::new(KeySet::new(group)))
}

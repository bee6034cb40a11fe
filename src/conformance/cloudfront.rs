//! Vectors of the scheme `cloudfront`.

use std::sync::Arc;

use serde_json::Value;

use crate::name::Name;
use crate::token::scheme::cloudfront::{CloudFront, Config, Place, PolicyHash};
use crate::token::{KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = vector.get("key")?.as_object()?;
    Some(scheme(keys).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(keys: &serde_json::Map<String, Value>) -> Result<CloudFront, String> {
    let mut group = Vec::new();
    for (id, pem) in keys {
        let set = KeySet::parse(pem.as_str().unwrap_or("").as_bytes(), Some(id), None).map_err(|fault| fault.to_string())?;
        let key = set.only().ok_or("one key each")?;
        group.push(key.pinned(key.algorithm()).map_err(|fault| fault.to_string())?);
    }
    let config = Config {
        keys: Name::new("vectors").map_err(|_| "name")?,
        hashes: vec![PolicyHash::Sha1, PolicyHash::Sha256],
        places: vec![Place::Query, Place::Cookies],
        sign_into: Place::Query,
    };
    CloudFront::new(&config, KeySource::new(KeySet::new(group)))
}

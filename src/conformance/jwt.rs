//! Vectors of the scheme `jwt`: `key` is a JWK Set, or an object of key id to PEM.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cloudflare_stream::keys_by_id;
use crate::token::scheme::jwt::{Config, Jwt};
use crate::token::{KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    Some(scheme(vector))
}

fn scheme(vector: &Value) -> Result<Arc<dyn Scheme>, String> {
    let key = &vector["key"];
    let keys = match key.get("keys") {
        Some(_) => KeySource::new(KeySet::parse(key.to_string().as_bytes(), None, None).map_err(|fault| fault.to_string())?),
        None => keys_by_id(vector)?,
    };
    let config: Config = super::table(json!({ "keys": "vector" }), vector)?;
    Ok(Arc::new(Jwt::new(&config, keys)?))
}

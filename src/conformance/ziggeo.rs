//! Vectors of the scheme `ziggeo`: `key` is `{encryption_key, application_token}`; no server token was given out.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::ziggeo::{Config, Ziggeo};
use crate::token::{NothingIssued, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    Some(scheme(vector))
}

fn scheme(vector: &Value) -> Result<Arc<dyn Scheme>, String> {
    let key = &vector["key"];
    let config: Config = super::table(json!({ "keys": "vector", "application_token": key["application_token"] }), vector)?;
    let keys = super::secret(None, key["encryption_key"].as_str().unwrap_or("").as_bytes());
    Ok(Arc::new(Ziggeo::new(&config, keys, Arc::new(NothingIssued))?))
}

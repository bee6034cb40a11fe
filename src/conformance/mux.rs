//! Vectors of Mux: keys as with Cloudflare Stream, and the file's `restrictions` by id.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cloudflare_stream::keys_by_id;
use crate::token::Scheme;
use crate::token::scheme::mux::{Config, Mux};

pub(super) fn build(file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    Some(scheme(file, vector))
}

fn scheme(file: &Value, vector: &Value) -> Result<Arc<dyn Scheme>, String> {
    let restrictions = file.get("restrictions").cloned().unwrap_or_else(|| json!({}));
    let config: Config = super::table(json!({"keys": "vector", "restrictions": restrictions}), vector)?;
    Ok(Arc::new(Mux::new(&config, keys_by_id(vector)?)?))
}

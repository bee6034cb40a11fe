//! Vectors of the scheme `bunny`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::bunny::Bunny;
use crate::token::{Key, KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let key = vector.get("key")?.as_str()?;
    Some(scheme(vector, key).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(vector: &Value, key: &str) -> Result<Bunny, String> {
    let config = super::table(json!({ "keys": "vectors" }), vector)?;
    Bunny::new(&config, KeySource::new(KeySet::new(vec![Key::secret(None, key.as_bytes().to_vec())])))
}

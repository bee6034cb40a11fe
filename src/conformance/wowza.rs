//! Vectors of the scheme `wowza`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::wowza::Wowza;
use crate::token::{Key, KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let key = vector.get("key")?;
    let secret = key["secret"].as_str()?;
    Some(scheme(vector, key, secret).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(vector: &Value, key: &Value, secret: &str) -> Result<Wowza, String> {
    let mut config = json!({ "keys": "vectors" });
    for field in ["prefix", "algorithm", "client_ip_in_hash"] {
        if let Some(value) = key.get(field) {
            config[field] = value.clone();
        }
    }
    let config = super::table(config, vector)?;
    Wowza::new(&config, KeySource::new(KeySet::new(vec![Key::secret(None, secret.as_bytes().to_vec())])))
}

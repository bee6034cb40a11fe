//! Vectors of the scheme `google-cloud-cdn`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};

use crate::token::scheme::google_cloud_cdn::GoogleCloudCdn;
use crate::token::{Key, KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = vector.get("key")?.as_object()?;
    Some(scheme(vector, keys).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(vector: &Value, keys: &serde_json::Map<String, Value>) -> Result<GoogleCloudCdn, String> {
    let mut set = Vec::new();
    for (name, key) in keys {
        let octets = URL_SAFE.decode(key["hmac_b64url"].as_str().unwrap_or("?")).map_err(|fault| fault.to_string())?;
        set.push(Key::secret(Some(name), octets));
    }
    let config = super::table(json!({ "keys": "vectors" }), vector)?;
    GoogleCloudCdn::new(&config, KeySource::new(KeySet::new(set)))
}

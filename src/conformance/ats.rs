//! `ats-url-sig` and `ats-access-control` from their vectors: secrets by id.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::ats_access_control::AtsAccessControl;
use crate::token::scheme::ats_url_sig::AtsUrlSig;
use crate::token::{Key, KeySet, KeySource, Scheme};

fn keys(vector: &Value) -> Option<KeySource> {
    let key = |(id, secret): (&String, &Value)| Some(Key::secret(Some(id), secret.as_str()?.as_bytes().to_vec()));
    Some(KeySource::new(KeySet::new(vector["key"].as_object()?.iter().filter_map(key).collect())))
}

pub(super) fn url_sig(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = keys(vector)?;
    let config = json!({ "keys": "keys", "exclude": [r"/(crossdomain|clientaccesspolicy)\.xml"] });
    Some(super::table(config, vector).and_then(|config| Ok(Arc::new(AtsUrlSig::new(&config, keys)?) as Arc<dyn Scheme>)))
}

pub(super) fn access_control(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let keys = keys(vector)?;
    Some(
        super::table(json!({ "keys": "keys" }), vector)
            .and_then(|config| Ok(Arc::new(AtsAccessControl::new(&config, keys)?) as Arc<dyn Scheme>)),
    )
}

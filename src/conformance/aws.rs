//! `aws-smd` and `amazon-ivs` from their vectors.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::amazon_ivs::AmazonIvs;
use crate::token::scheme::aws_smd::AwsSmd;
use crate::token::{Algorithm, Key, KeySet, KeySource, Scheme};

pub(super) fn smd(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let key = |(id, secret): (&String, &Value)| Some(Key::secret(Some(id), secret.as_str()?.as_bytes().to_vec()));
    let keys = KeySource::new(KeySet::new(vector["key"].as_object()?.iter().filter_map(key).collect()));
    let config = json!({
        "keys": "keys",
        // The vectors stand behind CloudFront, which sets these.
        "country_header": "cloudfront-viewer-country",
        "region_header": "cloudfront-viewer-country-region",
    });
    Some(super::table(config, vector).and_then(|config| Ok(Arc::new(AwsSmd::new(&config, keys)?) as Arc<dyn Scheme>)))
}

pub(super) fn ivs(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    Some(make_ivs(vector))
}

fn make_ivs(vector: &Value) -> Result<Arc<dyn Scheme>, String> {
    let key = &vector["key"];
    let pem = key["es384_pub"].as_str().unwrap_or("");
    let keys = KeySet::parse(pem.as_bytes(), None, Some(Algorithm::ES384)).map_err(|fault| fault.to_string())?;
    let config = json!({ "keys": "keys", "channels": [key["channel_arn"]] });
    let config = super::table(config, vector)?;
    Ok(Arc::new(AmazonIvs::new(&config, KeySource::new(keys))?))
}

//! Vectors of the scheme `akamai-edgeauth`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::akamai_edgeauth::{AkamaiEdgeauth, Config};
use crate::token::{Key, KeySet, KeySource, Scheme};

/// Every name that Akamai's products give the token.
const NAMES: [&str; 5] = ["hdnts", "hdnea", "hdntl", "__hdnea__", "__token__"];

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let key = vector.get("key")?;
    Some(scheme(vector, key).map(|scheme| Arc::new(scheme) as Arc<dyn Scheme>))
}

fn scheme(vector: &Value, key: &Value) -> Result<AkamaiEdgeauth, String> {
    let algorithm = key["algorithm"].as_str().unwrap_or("sha256");
    let mut config = json!({ "keys": "vectors", "algorithm": algorithm, "names": NAMES });
    if let Some(salt) = key["salt"].as_str() {
        config["salt"] = salt.into();
    }
    let config: Config = super::table(config, vector)?;
    let hex = ["hex", "transition_hex", "transition_key"].iter().filter_map(|name| key[*name].as_str());
    let keys = hex.map(|hex| octets(hex).map(|octets| Key::secret(None, octets))).collect::<Option<Vec<_>>>();
    AkamaiEdgeauth::new(&config, KeySource::new(KeySet::new(keys.ok_or("not hex")?)))
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

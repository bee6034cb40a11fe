//! `rfc9246` from its vectors: one key set an issuer, as the ATS plugin's config has them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::token::scheme::rfc9246::{Config, Rfc9246};
use crate::token::{KeySet, KeySource, Scheme};

pub(super) fn build(_file: &Value, vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    let (issuer, settings) = vector["key"].as_object()?.iter().next()?;
    Some(make(vector, issuer, settings))
}

fn make(vector: &Value, issuer: &str, settings: &Value) -> Result<Arc<dyn Scheme>, String> {
    let set = json!({ "keys": settings["keys"] }).to_string();
    let keys = KeySource::new(KeySet::parse(set.as_bytes(), None, None).map_err(|fault| fault.to_string())?);
    let config = json!({
        "keys": "keys",
        "issuers": [issuer],
        "audiences": settings["id"].as_str().into_iter().collect::<Vec<_>>(),
        "renewal_key": settings["renewal_kid"],
        // What the files' note says of the plugin's auth_directives.
        "unsigned": [
            { "allow": r".*crossdomain\.xml" },
            { "deny": r".*/public/secret\.xml" },
            { "allow": r".*/public/.*" },
        ],
    });
    let config: Config = super::table(config, vector)?;
    Ok(Arc::new(Rfc9246::new(&config, keys)?))
}

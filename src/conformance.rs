//! Schemes built from test vectors of the published format, so that outside vectors can be run
//! against the very code that serves requests.
//!
//! A builder reads a vector's `key` (and what its file says for all vectors); it never reads what is
//! expected.

use std::sync::Arc;

use serde_json::Value;

use crate::token::{Key, KeySet, KeySource, Scheme};

mod ats;
mod aws;
mod cta_5007;
mod digest_url;
mod rfc9246;

/// Makes the scheme of one vector from its file and itself; `None` when the vector is of no scheme.
pub type Builder = fn(&Value, &Value) -> Option<Result<Arc<dyn Scheme>, String>>;

/// The builder for the vectors of `scheme`.
#[must_use]
pub fn builder(scheme: &str) -> Option<Builder> {
    Some(match scheme {
        "nginx_secure_link" | "nginx_secure_link_hmac" | "fastly" | "misc_cdn_recipes" | "digest_url" => digest_url::build,
        "rfc9246_uri_signing" => rfc9246::build,
        "cta5007_cat" | "cta5007_cat_cose" => cta_5007::build,
        "ats_url_sig" => ats::url_sig,
        "ats_access_control" => ats::access_control,
        "aws_secure_media_delivery" => aws::smd,
        "amazon_ivs" => aws::ivs,
        _ => return None,
    })
}

/// One shared secret as a key source.
fn secret(id: Option<&str>, octets: &[u8]) -> KeySource {
    KeySource::new(KeySet::new(vec![Key::secret(id, octets.to_vec())]))
}

#[cfg(test)]
mod tests;

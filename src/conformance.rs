//! Published test vectors of the schemes, decided by our own verifiers.

mod akamai_edgeauth;
mod bunny;
mod cloudfront;
mod google_cloud_cdn;
mod google_media_cdn;
mod wowza;

use std::sync::Arc;

use serde_json::Value;

use crate::token::Scheme;

/// Makes the scheme of one vector; `None` when the vector is not for it.
pub type Builder = fn(&Value, &Value) -> Option<Result<Arc<dyn Scheme>, String>>;

/// The builder for a vector file's `scheme`.
#[must_use]
pub fn builder(scheme: &str) -> Option<Builder> {
    Some(match scheme {
        "akamai_edgeauth2" => akamai_edgeauth::build,
        "bunny_v2" => bunny::build,
        "cloudfront" => cloudfront::build,
        "google_cloud_cdn" => google_cloud_cdn::build,
        "google_media_cdn" => google_media_cdn::build,
        "wowza_securetoken2" => wowza::build,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

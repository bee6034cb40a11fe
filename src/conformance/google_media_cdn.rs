//! Vectors of the scheme `google_media_cdn`.

use std::sync::Arc;

use serde_json::Value;

use crate::token::Scheme;

pub(super) fn build(_file: &Value, _vector: &Value) -> Option<Result<Arc<dyn Scheme>, String>> {
    None
}

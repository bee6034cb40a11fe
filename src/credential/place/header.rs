//! Headers, under every spelling that some origin folds into the same name.

use http::header::{HeaderMap, HeaderName};

use super::PlaceFault;
use crate::token::carrier::field_value;

/// The names in `headers` that could be `name`. CGI, WSGI and some frameworks fold `_` and `.` into `-`; case is gone already.
pub(super) fn twins(headers: &HeaderMap, name: &HeaderName) -> Vec<HeaderName> {
    headers.keys().filter(|came| same(came.as_str(), name.as_str())).cloned().collect()
}

fn same(came: &str, name: &str) -> bool {
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte };
    came.len() == name.len() && came.bytes().map(fold).eq(name.bytes().map(fold))
}

pub(super) fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    // Nothing is gathered where nothing is to be taken out but the name itself.
    headers.remove(name);
    if headers.keys().any(|came| same(came.as_str(), name.as_str())) {
        for twin in twins(headers, name) {
            headers.remove(twin);
        }
    }
}

pub(super) fn add(headers: &mut HeaderMap, name: &HeaderName, value: &str) -> Result<(), PlaceFault> {
    headers.append(name, field_value(value).map_err(|_| PlaceFault::Value)?);
    Ok(())
}

//! What the schemes of signed URLs read and write alike: times, key choice, a segment more.

use std::sync::Arc;

use super::SignError;
use crate::clock::UnixTime;
use crate::token::{Denial, Key, KeySource};

/// Whole seconds, digits only. Signs, spaces and numbers beyond a signed 64-bit second are refused.
pub(super) fn seconds(text: &str) -> Result<UnixTime, Denial> {
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Denial::Malformed);
    }
    text.parse().map(UnixTime).map_err(|_| Denial::Malformed)
}

/// The first shared secret of a set under which `fits` holds; every secret is tried, so that the
/// time taken does not tell which one it was.
pub(super) fn matching_secret(keys: &KeySource, fits: impl Fn(&[u8]) -> bool) -> Option<Arc<Key>> {
    let mut found = None;
    for key in keys.load().iter() {
        if key.octets().is_some_and(&fits) && found.is_none() {
            found = Some(Arc::clone(key));
        }
    }
    found
}

/// The secret to sign with.
pub(super) fn signing_secret(keys: &KeySource, id: Option<&str>) -> Result<Arc<Key>, SignError> {
    let set = keys.load();
    let key = match id {
        Some(id) => set.get(id).filter(|key| key.octets().is_some()),
        None => set.iter().find(|key| key.octets().is_some()),
    };
    key.cloned().ok_or_else(|| SignError::NoKey(id.map(str::to_owned)))
}

/// The expiry that a request to sign must bring.
pub(super) fn expiry(request: &super::SignRequest) -> Result<UnixTime, SignError> {
    request.expires.filter(|at| at.0 >= 0).ok_or_else(|| SignError::CannotExpress("this scheme needs an expiry".into()))
}

/// `path` with `segment` put in front of what follows its first `mount` bytes.
pub(super) fn insert_segment(path: &str, mount: usize, segment: &str) -> Result<String, SignError> {
    match (path.get(..mount), path.get(mount..)) {
        (Some(before), Some(after)) if after.starts_with('/') => Ok(format!("{before}/{segment}{after}")),
        _ => Err(SignError::CannotExpress("the path does not begin with the route's prefix".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_digits() {
        assert_eq!(seconds("1760000000"), Ok(UnixTime(1_760_000_000)));
        for bad in ["", "+1", "-1", " 1", "1.0", "1e9", "0x1", "18446744073709551615", "٣"] {
            assert_eq!(seconds(bad), Err(Denial::Malformed), "{bad}");
        }
    }
}

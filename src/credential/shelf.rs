//! Values on the disk, so that a restart asks no vendor for what is there already.
//!
//! A value is kept with what its credential was made of: another account, another scope or another secret under the
//! same name does not find it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::provider::Issued;
use crate::clock::UnixTime;
use crate::name::Name;
use crate::secret::Secret;
use crate::store::{Room, StoreFault};

/// The name of the room that credentials are kept in.
pub const ROOM: &str = "credentials";

/// How long a value is kept for the sake of what the next one is got with, in seconds: 90 days.
const RENEWAL_LIFE: i64 = 90 * 24 * 3600;

/// Where the values of one credential are kept.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The records.
    pub room: Room,
    /// What the credential is made of, as a digest.
    pub identity: Vec<u8>,
}

/// The form on the disk; inside a sealed record.
#[derive(Serialize, Deserialize)]
struct Written {
    identity: Vec<u8>,
    value: String,
    since: UnixTime,
    expires: Option<UnixTime>,
    renewal: Option<String>,
    handle: Option<String>,
    details: Vec<(String, String)>,
}

impl Drop for Written {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.value.zeroize();
        self.renewal.zeroize();
        self.handle.zeroize();
        self.details.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl Shelf {
    /// Writes a value down, over the one before it.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn put(&self, name: &Name, key: Option<&str>, issued: &Issued) -> Result<(), StoreFault> {
        let text = |secret: &Secret<String>| secret.expose().clone();
        let written = Written {
            identity: self.identity.clone(),
            value: text(&issued.value),
            since: issued.since,
            expires: issued.expires,
            renewal: issued.renewal.as_ref().map(text),
            handle: issued.handle.as_ref().map(text),
            details: issued.details.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        };
        let json = serde_json::to_vec(&written).map(Zeroizing::new).map_err(|fault| StoreFault::Io(fault.to_string()))?;
        let end = issued.expires.unwrap_or(UnixTime::MAX);
        let end = if issued.renewal.is_some() { end.max(issued.since.plus(RENEWAL_LIFE)) } else { end };
        self.room.put(&place(name, key), &json, end)
    }

    /// Takes a value out.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn remove(&self, name: &Name, key: Option<&str>) -> Result<(), StoreFault> {
        self.room.remove(&place(name, key))
    }

    /// The values of a credential that may still be of use, each with its session or resource.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn all(&self, name: &Name, now: UnixTime) -> Result<Vec<(Option<String>, Issued)>, StoreFault> {
        let records = self.room.all(now)?.into_iter();
        Ok(records.filter_map(|(at, json)| Some((key_of(name, &at)?, self.read(&json)?))).collect())
    }

    fn read(&self, json: &[u8]) -> Option<Issued> {
        let written: Written = serde_json::from_slice(json).ok()?;
        if written.identity != self.identity {
            return None;
        }
        let secret = |text: &String| Secret::new(text.clone());
        Some(Issued {
            value: secret(&written.value),
            since: written.since,
            expires: written.expires,
            renewal: written.renewal.as_ref().map(secret),
            handle: written.handle.as_ref().map(secret),
            details: written.details.iter().map(|(name, value)| (name.clone(), secret(value))).collect(),
        })
    }
}

/// Names hold no zero byte, so no two places read the same.
fn place(name: &Name, key: Option<&str>) -> Vec<u8> {
    let mut place = name.as_str().as_bytes().to_vec();
    if let Some(key) = key {
        place.push(0);
        place.extend(key.as_bytes());
    }
    place
}

fn key_of(name: &Name, place: &[u8]) -> Option<Option<String>> {
    match place.strip_prefix(name.as_str().as_bytes())? {
        [] => Some(None),
        [0, key @ ..] => Some(Some(String::from_utf8(key.to_vec()).ok()?)),
        _ => None,
    }
}

//! Durable records: small values by name, each with an end, kept over restarts and crashes.
//!
//! What is acknowledged is on the disk. What is in a record is sealed; only its key and its end can be read
//! from the file. Nothing here knows what records mean.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod embedded;
mod seal;
pub mod valkey;

pub use embedded::{Embedded, Room};
pub use seal::Seal;

/// The `[store]` table: what is kept over restarts. Without a folder nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The folder that the file `store.redb` lies in; made when it is not there. One gateway at a time. Needs a restart to change.
    pub folder: Option<PathBuf>,
    /// File with the key that seals all records: 32 characters or more, readable by its owner only. With a shared session
    /// store it also seals the credentials that a fleet shares.
    pub key_file: Option<PathBuf>,
}

/// Why a store does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The file cannot be opened, read or written.
    #[error("{0}")]
    Io(String),
    /// Another process has it open.
    #[error("another gateway has this file open")]
    InUse,
    /// Its records were sealed with another key.
    #[error("the key is not the one that this file was made with")]
    WrongKey,
    /// A record is not what was written: the file was changed by somebody else, or is broken.
    #[error("a record cannot be opened with the key: the file was changed or is broken")]
    Changed,
    /// The key cannot be used.
    #[error("a key of the store needs {} characters or more", Seal::KEY_MIN)]
    ShortKey,
}

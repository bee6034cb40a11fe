//! Durable records: small values by name, each with an end, kept over restarts and crashes.
//!
//! What is acknowledged is on the disk. What is in a record is sealed; only its key and its end can be read
//! from the file. Nothing here knows what records mean.

mod embedded;

pub use embedded::{Embedded, Room};

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
    #[error("a key of the store needs {} characters or more", Embedded::KEY_MIN)]
    ShortKey,
}

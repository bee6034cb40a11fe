//! Credentials towards origins and providers: what this gateway shows of its own once the token of the caller is out.

pub mod base_url;
pub mod budget;
pub mod config;
pub mod fleet;
pub mod format;
pub mod json;
pub mod keeper;
pub mod mapping;
pub mod place;
pub mod provider;
pub mod shelf;
pub mod sign_head;
pub mod signed;
pub mod state;

pub use self::config::{CredentialConfig, Scope};
pub use self::format::Format;
pub use self::keeper::{Client, Credential, Held, KeeperParts, Status, Unavailable};
pub use self::place::{Mode, Place};
pub use self::provider::{Ask, Issued, Mint, Provider, Refused, Serves};
pub use self::signed::{SignConfig, SignScope, Signer};

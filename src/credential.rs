//! Credentials towards origins and providers: what this gateway shows of its own once the token of the caller is out.

pub mod base_url;
pub mod budget;
pub mod config;
pub mod keeper;
pub mod provider;
pub mod signed;
pub mod state;

pub use self::config::{CredentialConfig, Scope};
pub use self::keeper::{Client, Credential, Held, KeeperParts, Status, Unavailable};
pub use self::provider::{Ask, Issued, Mint, Provider, Refused};
pub use self::signed::{SignConfig, SignScope, Signer};

//! Credentials towards origins and providers: what this gateway shows of its own once the token of the caller is out.

pub mod format;
pub mod json;
pub mod mapping;
pub mod place;
pub mod provider;
pub mod signed;

pub use self::format::Format;
pub use self::place::{Mode, Place};
pub use self::provider::{Ask, Issued, Mint, Provider, Refused};
pub use self::signed::{SignConfig, SignScope, Signer};

//! Credentials towards origins and providers: what this gateway shows of its own once the token of the caller is out.

pub mod provider;
pub mod signed;

pub use self::provider::{Ask, Issued, Mint, Provider, Refused};
pub use self::signed::{SignConfig, SignScope, Signer};

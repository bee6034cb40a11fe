//! Credentials towards origins: what this gateway shows of its own once the viewer's token is out.

pub mod signed;

pub use self::signed::{SignConfig, SignScope, Signer};

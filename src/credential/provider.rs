//! Vendors that issue credentials. Each is two pure functions, what to ask and how to read the answer;
//! a vendor's quirks stop there.
//!
//! Nothing here does I/O or reads the clock: the keeper sends what [`Provider::request`] says and hands
//! the answer to [`Provider::parse`].

pub mod apivideo;
pub mod aws_sigv4;
pub mod cloudflare;
pub mod fixed;
pub mod mux;
pub mod oauth2;
#[cfg(test)]
mod testing;
pub mod vendor;
pub mod ziggeo;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Request, Response};

use super::base_url::BaseUrl;
use crate::clock::UnixTime;
use crate::secret::Secret;

/// What was issued: the value that is injected, and what is known of its life.
#[derive(Debug, Clone)]
pub struct Issued {
    /// What is put on upstream requests.
    pub value: Secret<String>,
    /// When it was got.
    pub since: UnixTime,
    /// When it ends; `None` where it has no end.
    pub expires: Option<UnixTime>,
    /// What the next one is got with, where the vendor gives such a thing (a refresh token).
    pub renewal: Option<Secret<String>>,
    /// What the vendor calls it when it is to be withdrawn, where that is not the value.
    pub handle: Option<Secret<String>>,
    /// What came along, by the vendor's own names: an upload URL, an id.
    pub details: BTreeMap<String, Secret<String>>,
}

impl Issued {
    /// A value without anything beside it.
    #[must_use]
    pub fn new(value: String, since: UnixTime, expires: Option<UnixTime>) -> Self {
        Self { value: Secret::new(value), since, expires, renewal: None, handle: None, details: BTreeMap::new() }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The time.
    pub now: UnixTime,
    /// What it is for, where it is for one thing: a video's id, a path.
    pub resource: Option<&'a str>,
    /// The one before it, whatever its state. Without its `renewal` where the vendor has refused that.
    pub previous: Option<&'a Issued>,
    /// A number that no other call has, for what must be unlike every other request (`jti`, RFC 7519 §4.1.7).
    pub nonce: u128,
}

impl Ask<'_> {
    /// A first value for the whole route.
    #[must_use]
    pub const fn first(now: UnixTime) -> Self {
        Self { now, resource: None, previous: None, nonce: 0 }
    }
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The vendor is overloaded, down or unreachable: later it may work.
    #[error("{0}")]
    Transient(String),
    /// Too many calls; seconds to wait, where the vendor says so (`Retry-After`, `X-RateLimit-Retry-After`).
    #[error("too many calls")]
    Limited(Option<u64>),
    /// The account's own key is not taken. `renewal` says that it was the refresh token: the key may still work.
    #[error("the vendor refuses the account: {reason}")]
    Account {
        /// A word of the vendor's, without secrets.
        reason: String,
        /// Whether the refresh token was refused, and the account's key has not been tried.
        renewal: bool,
    },
    /// The answer cannot be understood, or the request cannot be made.
    #[error("{0}")]
    Malformed(String),
}

impl Refused {
    /// Its word in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Transient(_) => "transient",
            Self::Limited(_) => "limited",
            Self::Account { .. } => "account",
            Self::Malformed(_) => "malformed",
        }
    }
}

/// What one value of a vendor's can be shown for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Serves {
    /// Any request: another value would do as well.
    #[default]
    Requests,
    /// Uploads, each of which has to go with one value from its first request to its last.
    Uploads,
}

/// A vendor, as one credential asks it.
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Its word in the config and in metrics.
    fn kind(&self) -> &'static str;

    /// What one of its values can be shown for.
    fn serves(&self) -> Serves {
        Serves::Requests
    }

    /// Where it is asked. Its requests go to the scheme, host and port of one of these and nowhere else, whatever they say.
    fn bases(&self) -> Vec<BaseUrl>;

    /// What to send, with an absolute URI. Sent with [`Ask::previous`] as it stands.
    ///
    /// # Errors
    /// [`Refused`] when what is asked for cannot be put into words.
    fn request(&self, ask: &Ask<'_>) -> Result<Request<Bytes>, Refused>;

    /// What the answer says. The body is whole, and at most 1 MiB.
    ///
    /// # Errors
    /// [`Refused`], told apart so that the keeper knows whether and when to try again.
    fn parse(&self, ask: &Ask<'_>, response: &Response<Bytes>) -> Result<Issued, Refused>;

    /// What to send next, where one call does not make it whole (a session for a token). Asked after each
    /// [`Provider::parse`], with what it gave.
    ///
    /// # Errors
    /// [`Refused`] when the call cannot be put into words.
    fn next(&self, ask: &Ask<'_>, issued: &Issued) -> Result<Option<Request<Bytes>>, Refused> {
        let _ = (ask, issued);
        Ok(None)
    }

    /// What the answer to [`Provider::next`] makes of `issued`.
    ///
    /// # Errors
    /// As [`Provider::parse`].
    fn complete(&self, ask: &Ask<'_>, issued: Issued, response: &Response<Bytes>) -> Result<Issued, Refused> {
        let _ = (ask, response);
        Ok(issued)
    }

    /// What withdraws `issued` at the vendor, where the vendor can. `ask` has the time of this call and what it was for.
    fn revoke(&self, ask: &Ask<'_>, issued: &Issued) -> Option<Request<Bytes>> {
        let _ = (ask, issued);
        None
    }
}

/// A credential made here, without a call: a local signature, a fixed value.
pub trait Mint: Send + Sync + std::fmt::Debug {
    /// Its word in the config and in metrics.
    fn kind(&self) -> &'static str;

    /// The credential.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    fn mint(&self, ask: &Ask<'_>) -> Result<Issued, String>;

    /// Whether another one would be unlike the one before: a fixed value that the upstream rejects is the best there is.
    fn renews(&self) -> bool {
        true
    }
}

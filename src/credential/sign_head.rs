//! Requests that are signed as a whole, for origins that want to see a signature over the host, the path and some fields.

use http::request::Parts;

use super::place::Place;
use crate::clock::UnixTime;

/// Signs a request as it goes out, last of all: nothing touches the head between this and the wire. It is asked for every try.
pub trait SignHead: Send + Sync + std::fmt::Debug {
    /// Signs a head whose URI is absolute and names the host that is asked for, as `Host` does. What a caller, or an earlier
    /// signature, left in the places of a signature has to go. The body is not there to be signed: it passes as it comes.
    ///
    /// # Errors
    /// A sentence for the operator, without secrets.
    fn sign(&self, head: &mut Parts, now: UnixTime) -> Result<(), String>;

    /// Its word, and where the signature stands.
    fn told(&self) -> (&'static str, Place);
}

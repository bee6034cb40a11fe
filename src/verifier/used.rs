//! Tokens for one use that have been used.
//!
//! Kept in this process, under a hash of scheme and token, for as long as the token would be good.
//! Several gateways beside each other know of each other's where they share a store, which is asked last ([`Claims`]).

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::UnixTime;
use crate::name::Name;
use crate::token::Grant;
use crate::token::scheme::digest::hex;

/// Most tokens remembered, about 150 bytes each. Beyond it the one used longest ago is forgotten.
const MOST: u64 = 200_000;

type Id = [u8; 32];

/// Uses over a fleet, in the store that it shares.
pub trait Claims: Send + Sync {
    /// Notes that the token of this name is used, for so long (`None`: for good). Whether this is the first use; of two at once,
    /// one is. An error is why the store does not answer.
    fn claim<'c>(&'c self, name: &'c str, life: Option<Duration>) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'c>>;
}

/// A use of a token that is good for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    id: Id,
    life: Option<Duration>,
}

impl Use {
    /// Notes it for the whole fleet. Whether it is the first one.
    ///
    /// # Errors
    /// Why the store does not answer.
    pub async fn claim(&self, claims: &dyn Claims) -> Result<bool, String> {
        claims.claim(&hex(&self.id), self.life).await
    }
}

/// The memory. It outlives a reload, or every reload would let each token in once more.
pub struct Used {
    entries: Cache<Id, Option<Duration>>,
}

struct UntilItsEnd;

impl Expiry<Id, Option<Duration>> for UntilItsEnd {
    fn expire_after_create(&self, _: &Id, left: &Option<Duration>, _: Instant) -> Option<Duration> {
        *left
    }
}

impl Default for Used {
    fn default() -> Self {
        // By age alone: the common policy would rather turn away new entries than often-read ones.
        let entries = Cache::builder().max_capacity(MOST).eviction_policy(EvictionPolicy::lru()).expire_after(UntilItsEnd).build();
        Self { entries }
    }
}

impl Used {
    /// Whether the token has been used. Does not use it.
    #[must_use]
    pub fn has(&self, scheme: &Name, token: &str) -> bool {
        self.entries.contains_key(&id(scheme, token))
    }

    /// Uses the token under `grant`; `None` when it has been used before. Of two at once, one is first.
    #[must_use]
    pub fn first_use(&self, (scheme, token): (&Name, &str), grant: &Grant, now: UnixTime) -> Option<Use> {
        let left = (grant.window.until != UnixTime::MAX).then(|| grant.window.until.since(now));
        // A second more, because the clock of this memory and that of the window tick apart.
        let left = left.map(|left| Duration::from_secs(u64::try_from(left).unwrap_or(0).saturating_add(1)));
        let id = id(scheme, token);
        self.entries.entry(id).or_insert(left).is_fresh().then_some(Use { id, life: left })
    }

    /// Takes a use back, for a fleet that could not be told of it.
    pub fn take_back(&self, used: &Use) {
        self.entries.invalidate(&used.id);
    }
}

fn id(scheme: &Name, token: &str) -> Id {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(scheme.as_str().as_bytes());
    // A name holds no NUL, so scheme and token cannot run into each other.
    context.update(&[0]);
    context.update(token.as_bytes());
    let mut id = Id::default();
    id.copy_from_slice(context.finish().as_ref());
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Window;

    #[test]
    fn a_token_is_used_once_a_scheme() {
        let (used, grant) = (Used::default(), Grant { window: Window::until(UnixTime(100)), ..Grant::default() });
        let (a, b) = (Name::new("a").expect("name"), Name::new("b").expect("name"));
        assert!(!used.has(&a, "t"));
        assert!(used.first_use((&a, "t"), &grant, UnixTime(50)).is_some());
        assert!(used.has(&a, "t"));
        assert!(used.first_use((&a, "t"), &grant, UnixTime(60)).is_none());
        assert!(used.first_use((&b, "t"), &grant, UnixTime(60)).is_some());
        assert!(used.first_use((&a, "u"), &Grant::default(), UnixTime(60)).is_some());
    }
}

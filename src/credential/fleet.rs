//! One call for a value over all gateways that share a store.
//!
//! Who wants a value looks whether another gateway has put a newer one down; if not, it takes the lease and calls, and the
//! others wait for what it puts down. The lease ends by itself, so that a gateway that dies holds nobody up for long. What is
//! put down is sealed, under a name that says nothing. Where the store does not answer, each gateway calls for itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;

use super::provider::{Issued, Refused};
use super::shelf::{read, written};
use crate::clock::UnixTime;
use crate::name::Name;
use crate::store::Seal;

/// How long a lease holds, should its gateway not give it back.
const LEASE: Duration = Duration::from_secs(15);

/// Longest that a gateway waits for another one's call.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// Longest that a value stays with the store, where it has no end of its own.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What a shared store answers; the sentence says why it does not.
pub type Told<'t, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 't>>;

/// A store that gateways share.
pub trait SharedPlaces: Send + Sync {
    /// What was put down in a place.
    fn read<'t>(&'t self, place: &'t str) -> Told<'t, Option<Vec<u8>>>;

    /// Puts something down, for so long.
    fn write<'t>(&'t self, place: &'t str, sealed: &'t [u8], life: Duration) -> Told<'t, ()>;

    /// Takes the lease of a place for `holder`, for so long; whether it is now `holder`'s.
    fn lease<'t>(&'t self, place: &'t str, holder: &'t str, life: Duration) -> Told<'t, bool>;

    /// Gives the lease back, if it still is `holder`'s.
    fn release<'t>(&'t self, place: &'t str, holder: &'t str) -> Told<'t, ()>;
}

/// A credential's part in its fleet.
#[derive(Clone)]
pub struct Fleet {
    /// The store.
    pub places: Arc<dyn SharedPlaces>,
    /// What seals values in it; the same on all gateways.
    pub seal: Arc<Seal>,
    /// What the credential is made of, as a digest: the same on all gateways that say the same of it.
    pub identity: Vec<u8>,
    /// This gateway.
    pub holder: String,
}

/// A value's place in the store.
struct Place<'f> {
    fleet: &'f Fleet,
    name: String,
}

impl Fleet {
    /// Does `call`, unless another gateway has done it or is doing it.
    ///
    /// # Errors
    /// Those of `call`; [`Refused::Transient`] when another gateway's call has brought nothing.
    pub async fn call<F>(&self, at: (&Name, Option<&str>), previous: Option<Issued>, now: UnixTime, call: F) -> Result<Issued, Refused>
    where
        F: Future<Output = Result<Issued, Refused>>,
    {
        let place = Place { fleet: self, name: self.place(at) };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match place.turn(previous.as_ref(), now).await {
                Ok(Turn::Take(issued)) => return Ok(*issued),
                Ok(Turn::Ours) => break,
                Ok(Turn::Wait) if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                Ok(Turn::Wait) => return Err(Refused::Transient("another gateway's call has brought nothing".into())),
                Err(fault) => {
                    tracing::warn!(credential = %at.0, %fault, "the shared store does not answer; this gateway calls by itself");
                    return call.await;
                }
            }
        }
        let outcome = call.await;
        place.done(outcome.as_ref().ok(), now).await;
        outcome
    }

    /// A digest of all that tells values apart: neither names nor sessions are the store's business.
    fn place(&self, (name, key): (&Name, Option<&str>)) -> String {
        let mut all = digest::Context::new(&digest::SHA256);
        for part in [&self.identity, name.as_str().as_bytes(), &[u8::from(key.is_some())], key.unwrap_or_default().as_bytes()] {
            all.update(&(part.len() as u64).to_be_bytes());
            all.update(part);
        }
        all.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

enum Turn {
    /// Another gateway has put this down.
    Take(Box<Issued>),
    /// It is for this gateway to call.
    Ours,
    /// Another gateway is calling.
    Wait,
}

impl Place<'_> {
    async fn turn(&self, previous: Option<&Issued>, now: UnixTime) -> Result<Turn, String> {
        if let Some(issued) = self.newer(previous, now).await? {
            return Ok(Turn::Take(Box::new(issued)));
        }
        if !self.fleet.places.lease(&self.name, &self.fleet.holder, LEASE).await? {
            return Ok(Turn::Wait);
        }
        // What was put down between the look and the lease.
        let newer = self.newer(previous, now).await?;
        if newer.is_some() {
            self.fleet.places.release(&self.name, &self.fleet.holder).await?;
        }
        Ok(newer.map_or(Turn::Ours, |issued| Turn::Take(Box::new(issued))))
    }

    /// What was put down, if it is not what this gateway wants to replace, nor older.
    async fn newer(&self, previous: Option<&Issued>, now: UnixTime) -> Result<Option<Issued>, String> {
        let Some(sealed) = self.fleet.places.read(&self.name).await? else { return Ok(None) };
        // What cannot be opened is another key's: as good as nothing.
        let Ok(json) = self.fleet.seal.open(&[b"fleet", self.name.as_bytes()], &sealed) else { return Ok(None) };
        let fresh = |issued: &Issued| {
            let other = previous.is_none_or(|before| before.value != issued.value && before.since <= issued.since);
            other && issued.expires.is_none_or(|end| now < end)
        };
        Ok(read(&self.fleet.identity, &json).filter(fresh))
    }

    async fn done(&self, issued: Option<&Issued>, now: UnixTime) {
        let Fleet { places, seal, identity, holder } = self.fleet;
        if let Some(issued) = issued {
            let life = issued.expires.and_then(|end| u64::try_from(end.since(now)).ok()).map_or(KEPT, Duration::from_secs);
            let sealed = written(identity, issued).and_then(|json| seal.seal(&[b"fleet", self.name.as_bytes()], &json));
            let put = match sealed {
                Ok(sealed) => places.write(&self.name, &sealed, life).await,
                Err(fault) => Err(fault.to_string()),
            };
            if let Err(fault) = put {
                tracing::warn!(%fault, "a credential cannot be shared with the fleet");
            }
        }
        // Not given back, it ends by itself.
        let _ = places.release(&self.name, holder).await;
    }
}

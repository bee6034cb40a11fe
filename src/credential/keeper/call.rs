//! Calls to the vendor: begun when the machine says so and the budget allows, run as tasks that own what they need.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use super::super::config::Source;
use super::super::provider::{Ask, Issued, Refused};
use super::super::state::{Rejection, Step};
use super::{Client, Keeper, Slot, lock};
use crate::clock::UnixTime;
use crate::credential::SEARCHED_FROM;
use crate::credential::config::Scope;

/// Longest that one call may take, whatever the client's own limits are.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// What was done for a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Poked {
    /// A call has begun, or what is made here has been made.
    Begun,
    /// Nothing is to be done, for so long; `None`: until something happens.
    Rest(Option<Duration>),
}

/// A call under way. Dropped before it is settled (a thread that ends, a panic), it counts as failed.
struct Flight {
    keeper: Arc<Keeper>,
    slot: Arc<Slot>,
    begun: Instant,
    settled: bool,
}

impl Flight {
    fn settle(mut self, outcome: Result<Issued, Refused>) {
        self.settled = true;
        self.keeper.settle(&self.slot, outcome, self.begun);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.settled {
            self.keeper.settle(&self.slot, Err(Refused::Transient("the call was cut off".into())), self.begun);
        }
    }
}

impl Keeper {
    /// Does what is to be done for a value now; gives when to look again. `waited_for`: somebody waits, so that what can be
    /// made here is made at once.
    pub(super) fn poke(self: &Arc<Self>, slot: &Arc<Slot>, waited_for: bool) -> Poked {
        let now = self.now();
        let step = {
            let mut machine = slot.lock();
            match machine.tick(now) {
                Step::Call => match lock(&self.budget).take(now.run) {
                    Ok(()) => Step::Call,
                    Err(wait) => {
                        machine.postponed(wait, now);
                        Step::Rest(Some(wait))
                    }
                },
                rest => rest,
            }
        };
        if let Step::Rest(rest) = step {
            return Poked::Rest(rest);
        }
        let flight = Flight { keeper: self.clone(), slot: slot.clone(), begun: Instant::now(), settled: false };
        match (&self.source, waited_for) {
            (Source::Mint(_), true) => flight.run_here(),
            (Source::Mint(_), false) => (self.parts.spawn)(Box::pin(async move { flight.run_here() })),
            (Source::Vendor(_), _) => (self.parts.spawn)(Box::pin(flight.run())),
        }
        Poked::Begun
    }

    fn settle(&self, slot: &Slot, outcome: Result<Issued, Refused>, begun: Instant) {
        let now = self.now();
        let kept = outcome.as_ref().ok().cloned();
        if kept.as_ref().is_some_and(|issued| issued.value.expose().len() < SEARCHED_FROM) {
            tracing::warn!(credential = %self.name, "a credential shorter than {SEARCHED_FROM} bytes is not searched for in answers");
        }
        let outcome = slot.settle(outcome, now, fastrand::f64());
        if let (Ok(()), Some(issued)) = (&outcome, kept) {
            self.put_down(slot, &issued);
        }
        lock(&self.budget).ended(outcome.as_ref().err(), now.run);
        *lock(&self.fault) = outcome.as_ref().err().map(ToString::to_string);
        self.report(outcome.as_ref().err(), begun.elapsed());
        self.nudge.notify_one();
    }

    fn report(&self, refused: Option<&Refused>, took: Duration) {
        let (name, kind, metrics) = (self.name.as_str(), self.source.kind(), &self.parts.metrics);
        metrics.credential_renewals.with_label_values(&[name, kind, refused.map_or("ok", Refused::word)]).inc();
        metrics.credential_renewal_seconds.with_label_values(&[name, kind]).observe(took.as_secs_f64());
        match refused {
            None => tracing::debug!(credential = %self.name, provider = self.source.kind(), "credential renewed"),
            Some(fault) => tracing::warn!(credential = %self.name, provider = self.source.kind(), %fault, "credential not renewed"),
        }
    }

    pub(super) fn count_rejection(&self, said: Rejection) {
        if said == Rejection::Invalidated {
            self.parts.metrics.credential_rejections.with_label_values(&[self.name.as_str()]).inc();
            tracing::warn!(credential = %self.name, "the upstream does not take the credential");
        }
    }

    /// What is made here is made again after a restart; what a vendor gave is kept.
    fn put_down(&self, slot: &Slot, issued: &Issued) {
        let (Some(shelf), Source::Vendor(_)) = (&self.parts.shelf, &self.source) else { return };
        if let Err(fault) = shelf.put(&self.name, slot.key.as_deref(), issued) {
            tracing::warn!(credential = %self.name, %fault, "the credential cannot be kept over a restart");
        }
    }

    fn resource<'s>(&self, slot: &'s Slot) -> Option<&'s str> {
        slot.key.as_deref().filter(|_| self.scope == Scope::Resource)
    }

    /// Withdraws a value, in a task of its own.
    pub(super) fn withdraw(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (keeper, slot) = (self.clone(), slot.clone());
        (self.parts.spawn)(Box::pin(async move { keeper.withdraw_now(&slot).await }));
    }

    pub(super) async fn withdraw_all(&self) {
        self.withdraw_now(&self.route).await;
        for (_, slot) in &self.slots {
            self.withdraw_now(&slot).await;
        }
    }

    async fn withdraw_now(&self, slot: &Slot) {
        let (Some(issued), Source::Vendor(provider), Some(client)) = (slot.take(), &self.source, &self.parts.client) else { return };
        if let Some(Err(fault)) = self.parts.shelf.as_ref().map(|shelf| shelf.remove(&self.name, slot.key.as_deref())) {
            tracing::warn!(credential = %self.name, %fault, "the credential cannot be taken out of the store");
        }
        let ask = Ask { resource: self.resource(slot), nonce: nonce(), ..Ask::first(self.parts.clock.now()) };
        let Some(request) = provider.revoke(&ask, &issued) else { return };
        let answer = tokio::time::timeout(CALL_LIMIT, client.send(request)).await;
        match answer {
            Ok(Ok(response)) if response.status().is_success() => {
                tracing::info!(credential = %self.name, "credential withdrawn");
            }
            // What was used up, or has ended, cannot be withdrawn.
            Ok(Ok(response)) if response.status().is_client_error() => {
                tracing::info!(credential = %self.name, status = response.status().as_u16(), "nothing to withdraw of the credential");
            }
            Ok(Ok(response)) => tracing::warn!(credential = %self.name, status = response.status().as_u16(), "credential not withdrawn"),
            Ok(Err(fault)) => tracing::warn!(credential = %self.name, %fault, "credential not withdrawn"),
            Err(_) => tracing::warn!(credential = %self.name, "credential not withdrawn: no answer in time"),
        }
    }
}

impl Flight {
    fn ask<'a>(&'a self, now: UnixTime, previous: Option<&'a Issued>) -> Ask<'a> {
        Ask { now, resource: self.keeper.resource(&self.slot), length: self.slot.length.get().copied(), previous, nonce: nonce() }
    }

    fn run_here(self) {
        let Source::Mint(mint) = &self.keeper.source else { return };
        let previous = self.slot.previous();
        let now = self.keeper.parts.clock.now();
        let ask = self.ask(now, previous.as_ref());
        let made = mint.mint(&ask).map_err(Refused::Malformed);
        self.settle(made);
    }

    async fn run(self) {
        let Some(fleet) = self.keeper.parts.fleet.clone() else {
            let outcome = self.call_or_begin_anew().await;
            return self.settle(outcome);
        };
        let at = (&self.keeper.name, self.slot.key.as_deref());
        let now = self.keeper.parts.clock.now();
        let outcome = fleet.call(at, self.slot.previous(), now, self.call_or_begin_anew()).await;
        self.settle(outcome);
    }

    async fn call_or_begin_anew(&self) -> Result<Issued, Refused> {
        let outcome = self.call().await;
        if matches!(outcome, Err(Refused::Account { renewal: true, .. })) {
            // The account's own key has not been tried.
            self.slot.forget_renewal();
            return self.call().await;
        }
        outcome
    }

    async fn call(&self) -> Result<Issued, Refused> {
        let keeper = &self.keeper;
        let (Source::Vendor(provider), Some(client)) = (&keeper.source, &keeper.parts.client) else {
            return Err(Refused::Malformed("there is nobody to ask".into()));
        };
        let previous = self.slot.previous();
        // The time of the question: what an answer calls a lifetime begins then, however long the answer takes.
        let now = keeper.parts.clock.now();
        let ask = self.ask(now, previous.as_ref());
        let issued = provider.parse(&ask, &send(client, provider.request(&ask)?).await?)?;
        match provider.next(&ask, &issued)? {
            Some(request) => provider.complete(&ask, issued, &send(client, request).await?),
            None => Ok(issued),
        }
    }
}

async fn send(client: &Arc<dyn Client>, request: Request<Bytes>) -> Result<Response<Bytes>, Refused> {
    let sent = tokio::time::timeout(CALL_LIMIT, client.send(request)).await;
    sent.map_err(|_| Refused::Transient("no answer in time".into()))?.map_err(Refused::Transient)
}

/// A number that nobody can guess; without randomness of the system, one that is at least another each time.
fn nonce() -> u128 {
    let mut bytes = [0_u8; 16];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u128::from_le_bytes(bytes),
        Err(_) => fastrand::u128(..),
    }
}

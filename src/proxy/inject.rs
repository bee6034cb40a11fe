//! The route's credentials put on what goes to the origin, and kept out of what comes back.
//!
//! [`Forward`](super::forward::Forward) takes only a [`Credentialed`], and only this room makes one, so no request
//! passes it by. A route without credentials costs a move. Values are read ready; what has to be waited for is the
//! first one, and the one after a rejection. An origin that does not take a credential makes it renew, and gets the request once
//! more where its body had not begun or is kept: two calls at most, whatever it answers.

mod answer;
mod body;
mod head;
mod sign;
mod trail;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use tower::Service;

use super::body::RequestBody;
use super::filter::{Answered, Around, Either};
use super::origin::Origin;
use super::record::Shared;
use super::request::Outbound;
use super::{Body, Error, Route};
use crate::clock::UnixTime;
use crate::credential::{Held, Scope, Unavailable};

pub use trail::{Trail, opens_alone, take_ticket};

/// A request that shows what its origin wants to see, where its route says so.
pub struct Credentialed {
    pub(super) head: Parts,
    pub(super) body: RequestBody,
    pub(super) record: Shared,
    /// Where it goes: the route's origin, or one that a mapping ticket leads to.
    pub(super) origin: Arc<Origin>,
    /// `host[:port]` as the caller asked.
    pub(super) authority: String,
    pub(super) private: bool,
    pub(super) pace: Option<u64>,
    pub(super) signing: Option<sign::Signing>,
    _by: ThisRoom,
}

/// Nobody else can write this down.
struct ThisRoom;

impl Credentialed {
    fn bare(outbound: Outbound) -> Self {
        let Outbound { head, body, record, route, authority, state, private, pace, .. } = outbound;
        let body = RequestBody::new(body, state.limits.body_silence.0, record.clone());
        let (origin, signing) = (route.origin.clone(), sign::Signing::of(&route, &state));
        Self { head, body, record, origin, authority, private, pace, signing, _by: ThisRoom }
    }
}

/// Puts the credentials on.
#[derive(Debug, Clone)]
pub struct Inject;

impl Around<Outbound> for Inject {
    type Next = Credentialed;

    fn send<S>(&self, inner: &mut S, mut outbound: Outbound) -> Either<S::Future, Answered>
    where
        S: Service<Credentialed, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static,
    {
        match outbound.trail.take() {
            None => Either::Left { future: inner.call(Credentialed::bare(outbound)) },
            Some(trail) => Either::Right { future: Box::pin(injected(inner.clone(), outbound, trail)) },
        }
    }
}

async fn injected<S>(mut inner: S, outbound: Outbound, trail: Box<Trail>) -> Result<Response<Body>, Error>
where
    S: Service<Credentialed, Response = Response<Body>, Error = Error>,
{
    let Outbound { mut head, body, record, route, authority, state, private, pace, .. } = outbound;
    let now = state.clock.now();
    let mut held = head::gather(&mut head, &route, &trail, now).await?;
    if let Some(created) = head::created(&route, &held) {
        let shown = answer::Shown { route: &route, state: &state, trail: &trail, held: &held, target: &head.uri };
        return answer::finish(created, &shown).await;
    }
    let may_be_refused = may_be_refused(&route, &held);
    let mut source = body::Source::new(body, &head, (state.limits.body_silence.0, &record), may_be_refused).await?;
    let bare = (may_be_refused && source.may_come_twice()).then(|| head.clone());
    let make = |mut head: Parts, held: &[Option<Held>], source: &mut body::Source| {
        let fields = head::inject(&mut head, &route, &trail, held)?;
        answer::prepare(&mut head, &route);
        let body = source.body(&mut head, fields)?;
        let (record, authority) = (record.clone(), authority.clone());
        let mut origin = trail.origin.clone().unwrap_or_else(|| route.origin.clone());
        if let Some((at, target)) = head::address(&route, held)? {
            (origin, head.uri) = (at, target);
        }
        let shown = head.uri.clone();
        let signing = if trail.is_foreign() { None } else { sign::Signing::of(&route, &state) };
        Ok::<_, Error>((Credentialed { head, body, record, origin, authority, private, pace, signing, _by: ThisRoom }, shown))
    };
    let (request, mut target) = make(head, &held, &mut source)?;
    let mut response = inner.call(request).await?;
    let refused = refusing(&route, &held, response.status());
    if refused.iter().filter_map(|at| held[*at].as_ref()).any(|held| trail.is_bound_to(held)) {
        // No other value would do for this upload; those who share it are to have a better one.
        let shared: Vec<usize> = refused.into_iter().filter(|at| route.inject[*at].credential.scope() != Scope::Session).collect();
        renew_all(&route, &mut held, (&shared, response.status()), (now, false)).await;
        return Err(Error::UploadCredentialEnded);
    }
    if !refused.is_empty() {
        let again = bare.filter(|_| source.has_another());
        let renewed = renew_all(&route, &mut held, (&refused, response.status()), (now, again.is_some())).await;
        if let Some(head) = again.filter(|_| renewed) {
            record.retries.set(record.retries.get() + 1);
            // Its place at the origin is free before the next one is taken.
            drop(response);
            let request;
            (request, target) = make(head, &held, &mut source)?;
            response = inner.call(request).await?;
        }
    }
    if response.status() == StatusCode::UNAUTHORIZED && !refusing(&route, &held, StatusCode::UNAUTHORIZED).is_empty() {
        // It speaks of our credential, and would tell the caller that his own token is bad.
        return Err(Error::CredentialUnavailable(Duration::from_secs(1)));
    }
    let status = response.status();
    let taken = route.inject.iter().zip(&held).filter(|(injection, _)| !injection.refused_by.contains(&status));
    trail.bind_to(taken.filter_map(|(_, held)| held.as_ref()));
    answer::finish(response, &answer::Shown { route: &route, state: &state, trail: &trail, held: &held, target: &target }).await
}

/// Whether an answer could say that a credential is not good.
fn may_be_refused(route: &Route, held: &[Option<Held>]) -> bool {
    route.inject.iter().zip(held).any(|(injection, held)| held.is_some() && !injection.refused_by.is_empty())
}

/// Which credentials an answer of this status refuses.
fn refusing(route: &Route, held: &[Option<Held>], status: StatusCode) -> Vec<usize> {
    if !status.is_client_error() {
        return Vec::new();
    }
    let refuses = |at: &usize| held[*at].is_some() && route.inject[*at].refused_by.contains(&status);
    (0..held.len()).filter(refuses).collect()
}

/// Rejects the credentials at these places; says whether there is another value of any.
async fn renew_all(
    route: &Route,
    held: &mut [Option<Held>],
    (refused, status): (&[usize], StatusCode),
    (now, waits): (UnixTime, bool),
) -> bool {
    let mut renewed = false;
    for at in refused {
        let Some(old) = &held[*at] else { continue };
        let better = renew(old, now, waits).await;
        let credential = route.inject[*at].credential.name();
        if better.is_some() || status == StatusCode::UNAUTHORIZED {
            tracing::warn!(route = %route.name, %credential, status = status.as_u16(), "the origin does not take a credential");
        } else {
            // A 403 may be about the resource, and come with every request.
            tracing::debug!(route = %route.name, %credential, status = status.as_u16(), "the origin may not take a credential");
        }
        if better.is_some() {
            (held[*at], renewed) = (better, true);
        }
    }
    renewed
}

/// Another value than the one that was rejected. Where it could not be used any more the renewal is only begun.
async fn renew(old: &Held, now: UnixTime, waits: bool) -> Option<Held> {
    let mut renewal = pin!(old.rejected(now));
    if waits {
        return renewal.await.ok();
    }
    // Whoever waits for a renewal may go away: the call goes on.
    let _ = poll_fn(|cx| Poll::Ready(renewal.as_mut().poll(cx))).await;
    None
}

impl From<Unavailable> for Error {
    fn from(none: Unavailable) -> Self {
        Self::CredentialUnavailable(none.retry_after)
    }
}

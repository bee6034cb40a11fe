//! A session's ticket on a request: found, taken out, opened.
//!
//! A ticket in the path is taken out before anything else looks at the path: routes, scopes and the
//! origin know nothing of it.

use std::sync::Arc;

use super::request::Routed;
use super::{Error, State};
use crate::ledger::{Ledger, lookups};
use crate::path::CleanPath;
use crate::route::RouteMode;
use crate::secret::Fingerprint;
use crate::session::fleet::{EntryFault, Fleet};
use crate::session::ticket::{Bound, Opened as Ticket};
use crate::session::{End, Gone, Key, OnStoreError, Propagation, ResumeFault, Seen, Session};
use crate::token::RequestFacts;
use crate::token::carrier::{Carrier, Strip};

/// A ticket as found.
pub struct Found {
    /// Its text.
    pub text: String,
    /// What takes it out of query or cookie; in a path it is out already.
    pub strip: Vec<Strip>,
}

/// Finds the ticket of a request to a route with sessions, and takes it out of the path.
///
/// # Errors
/// [`Error::TicketInvalid`] when there are several, or the path without it has more than one reading.
pub fn take(routed: &mut Routed) -> Result<Option<Found>, Error> {
    let Some(session) = &routed.route.session else { return Ok(None) };
    let name = session.config.parameter.clone();
    let carrier = match session.config.propagation {
        Propagation::Path => return take_from_path(routed),
        Propagation::Query => Carrier::Query(name),
        Propagation::Cookie => Carrier::Cookie(name),
        Propagation::Inherit | Propagation::None => return Ok(None),
    };
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let found = carrier.find(&facts).map_err(|_| Error::TicketInvalid)?;
    Ok(found.map(|presented| Found { text: presented.token.into_owned(), strip: presented.strip }))
}

fn take_from_path(routed: &mut Routed) -> Result<Option<Found>, Error> {
    let Some(session) = &routed.route.session else { return Ok(None) };
    let raw = routed.request.settled.path.raw();
    let (prefix, below) = raw.split_at(routed.mount);
    let Some(rest) = below.strip_prefix('/').and_then(|below| below.strip_prefix(session.marker.as_str())) else { return Ok(None) };
    let (ticket, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let without = format!("{prefix}{}", if rest.is_empty() { "/" } else { rest });
    let path = CleanPath::parse(&without).map_err(Error::BadPath)?;
    let found = Found { text: ticket.to_owned(), strip: Vec::new() };
    let component = format!("{}{ticket}", session.marker);
    let came = std::mem::replace(&mut routed.request.settled.path, path);
    routed.ticketed = Some((came.raw().to_owned(), component));
    Ok(Some(found))
}

/// A ticket of ours, and the session that it stands for.
pub enum Opened {
    /// It lives here.
    Here(Arc<Session>),
    /// It is paused, or lives on another gateway: somebody has to be asked.
    Asked {
        /// What the ticket says.
        ticket: Ticket,
        /// Why it cannot go on as it is.
        gone: Gone,
    },
}

/// The session that a ticket stands for. Costs no lock but that of the table's shard, for reading. A late ticket is good
/// where its session vouches for it, here or on another gateway.
///
/// # Errors
/// Why the ticket, or its session, cannot be used.
pub fn open(routed: &Routed, found: &Found) -> Result<Opened, Error> {
    let state = &*routed.request.state;
    let now = state.clock.now();
    let ticket = state.tickets.read(&found.text, bound(routed)).map_err(Error::from)?;
    if ticket.is_late(now) && !state.sessions.vouches(ticket.session, now) {
        // What ended here by silence may go on elsewhere.
        let elsewhere = state.fleet.is_some() && state.sessions.get(ticket.session).is_none_or(|session| session.is_silent(now));
        return if elsewhere { Ok(Opened::Asked { ticket, gone: Gone::Unknown }) } else { Err(Error::TicketExpired) };
    }
    match state.sessions.touch(ticket.session, now, 0) {
        Ok(session) => {
            fits(routed, &session, &ticket, &found.strip)?;
            Ok(Opened::Here(session))
        }
        Err(gone @ Gone::Ended(End::Idle)) => Ok(Opened::Asked { ticket, gone }),
        Err(gone @ Gone::Unknown) if state.fleet.is_some() => Ok(Opened::Asked { ticket, gone }),
        Err(gone) => Err(Error::SessionGone(gone)),
    }
}

/// Brings a paused session back by this gateway's own word.
///
/// # Errors
/// Why it stays away.
pub fn resume(routed: &Routed, ticket: &Ticket, strip: &[Strip]) -> Result<Arc<Session>, Error> {
    let state = &*routed.request.state;
    let resumed = state.sessions.resume(ticket.session, state.clock.now(), network(routed));
    let session = resumed.map_err(|fault| resume_error(&fault, &routed.route))?.session;
    fits(routed, &session, ticket, strip)?;
    Ok(session)
}

/// The same when all that the rules of its scheme ask for is at hand.
///
/// # Errors
/// As [`resume`]; [`Error::LedgerAway`] when it cannot be fetched.
pub async fn resume_informed(routed: &Routed, ticket: &Ticket, strip: &[Strip]) -> Result<Arc<Session>, Error> {
    let resumed = lookups::informed(routed.request.state.ledger.as_ref(), || resume(routed, ticket, strip)).await;
    resumed.map_err(|_| Error::LedgerAway)?
}

/// The same with a fleet: a paused session comes back by the store's word, an unknown one is taken in.
///
/// # Errors
/// Why it stays away.
pub async fn ask_fleet(routed: &Routed, (ticket, gone): (&Ticket, Gone), strip: &[Strip], fleet: &Fleet) -> Result<Arc<Session>, Error> {
    let state = &*routed.request.state;
    let now = state.clock.now();
    let policy = routed.route.session.as_ref().map_or(OnStoreError::Deny, |session| session.config.on_store_error);
    let session = match gone {
        Gone::Unknown => {
            let agent = routed.request.head.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
            let seen = Seen::new(Fingerprint::of(ticket.session.as_bytes()), routed.request.settled.client_ip, agent);
            let taken = fleet.take_in(ticket.session, now, seen).await;
            if ticket.is_late(now) && matches!(taken, Err(EntryFault::Gone(Gone::Unknown))) {
                return Err(Error::TicketExpired);
            }
            taken
        }
        _ => fleet.resume(ticket.session, now, network(routed), policy).await.map(|admission| admission.session),
    };
    let session = session.map_err(|fault| Error::entry(&fault, &routed.route))?;
    let fits = lookups::informed(state.ledger.as_ref(), || fits(routed, &session, ticket, strip)).await;
    fits.map_err(|_| Error::LedgerAway)??;
    Ok(session)
}

fn resume_error(fault: &ResumeFault, route: &super::Route) -> Error {
    match fault {
        ResumeFault::Gone(gone) => Error::SessionGone(*gone),
        ResumeFault::Refused(refusal) => Error::session(refusal.limit, route),
    }
}

/// Whether the session covers this request, as its token would be asked.
fn fits(routed: &Routed, session: &Session, ticket: &Ticket, strip: &[Strip]) -> Result<(), Error> {
    let state = &*routed.request.state;
    // The ticket was made for this grant; a table that lost its mind must not widen it.
    if session.scope != ticket.scope || session.route != routed.route.name {
        return Err(Error::TicketInvalid);
    }
    check(routed, strip, session, state)?;
    let now = state.clock.now();
    state.sessions.roam(session, network(routed), now).map_err(|refusal| Error::session(refusal.limit, &routed.route))
}

/// What a ticket of this request is bound to: its route, and its host unless other hosts take it as well.
#[must_use]
pub fn bound(routed: &Routed) -> Bound<'_> {
    let alone = routed.route.session.as_ref().is_none_or(|session| session.hosts.is_empty());
    Bound { route: routed.route.name.as_str(), host: if alone { &routed.request.settled.host } else { "" } }
}

/// What the token would be asked, but for its window.
fn check(routed: &Routed, strip: &[Strip], session: &Session, state: &State) -> Result<(), Error> {
    let came = routed.facts(&*state.geo);
    // The rules know the URL without its ticket; some refuse parameters that they do not know.
    let ours = |name: &str| strip.iter().any(|s| matches!(s, Strip::Query(taken) if taken == name));
    let query = came.query.filter(|_| !strip.is_empty()).map(|query| crate::query::without(query, ours));
    let query = query.as_ref().map_or(came.query, Option::as_deref);
    let facts = RequestFacts { query, ..came };
    session.grant.covers(&facts, state.clock.now())?;
    // A scheme that a reload took off the route lets nobody in any more.
    let scheme = routed.route.schemes.iter().find(|scheme| scheme.name == session.scheme).ok_or(Error::SessionGone(Gone::Unknown))?;
    // Whether its key was withdrawn meanwhile is not known: what began under it waits for the ledger, as what begins does.
    let is_forgotten = || scheme.scheme.key_sources().iter().any(|keys| keys.load().is_empty());
    if state.ledger.as_ref().is_some_and(Ledger::is_lapsed) && is_forgotten() && routed.route.mode != RouteMode::Shadow {
        return Err(Error::LedgerAway);
    }
    scheme.scheme.fits(&session.grant, &facts)?;
    scheme.scheme.lasts(&session.grant, &facts, state.clock.now())?;
    if state.revocations.is_revoked(&session.into(), state.clock.now()) {
        return Err(Error::Denied(crate::token::Denial::Revoked));
    }
    Ok(())
}

/// The network that a request comes from, as its route counts networks.
#[must_use]
pub fn network(routed: &Routed) -> Key {
    let (v4, v6) = routed.route.session.as_ref().map_or((24, 56), |s| (s.config.ipv4_prefix, s.config.ipv6_prefix));
    Key::network(routed.request.settled.client_ip, v4, v6)
}

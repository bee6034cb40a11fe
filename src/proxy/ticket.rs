//! A session's ticket on a request: found, taken out, opened.
//!
//! A ticket in the path is taken out before anything else looks at the path: routes, scopes and the
//! origin know nothing of it.

use std::sync::Arc;

use super::request::Routed;
use super::{Error, State};
use crate::path::CleanPath;
use crate::session::ticket::Bound;
use crate::session::{Gone, Key, Propagation, ResumeFault, Session};
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

/// The session that a ticket stands for, alive, or brought back from a pause. Costs no lock but that
/// of the table's shard, for reading.
///
/// # Errors
/// Why the ticket, or its session, cannot be used.
pub fn open(routed: &Routed, found: &Found) -> Result<Arc<Session>, Error> {
    let state = &*routed.request.state;
    let now = state.clock.now();
    let opened = state.tickets.open(&found.text, bound(routed), now).map_err(Error::from)?;
    let network = network(routed);
    let session = match state.sessions.touch(opened.session, now, 0) {
        Ok(session) => session,
        Err(Gone::Ended(crate::session::End::Idle)) => {
            state.sessions.resume(opened.session, now, network).map_err(|fault| resume_error(&fault))?.session
        }
        Err(gone) => return Err(Error::SessionGone(gone)),
    };
    // The ticket was made for this grant; a table that lost its mind must not widen it.
    if session.scope != opened.scope || session.route != routed.route.name {
        return Err(Error::TicketInvalid);
    }
    check(routed, found, &session, state)?;
    state.sessions.roam(&session, network, now).map_err(|refusal| Error::session(refusal.limit, &routed.route))?;
    Ok(session)
}

fn resume_error(fault: &ResumeFault) -> Error {
    match fault {
        ResumeFault::Gone(gone) => Error::SessionGone(*gone),
        ResumeFault::Refused(refusal) => Error::SessionRefused(refusal.limit, http::StatusCode::FORBIDDEN),
    }
}

/// What a ticket of this request is bound to: its route, and its host unless other hosts take it as well.
#[must_use]
pub fn bound(routed: &Routed) -> Bound<'_> {
    let alone = routed.route.session.as_ref().is_none_or(|session| session.hosts.is_empty());
    Bound { route: routed.route.name.as_str(), host: if alone { &routed.request.settled.host } else { "" } }
}

/// What the token would be asked, but for its window.
fn check(routed: &Routed, found: &Found, session: &Session, state: &State) -> Result<(), Error> {
    let came = routed.request.facts(routed.mount, &*state.geo);
    // The rules know the URL without its ticket; some refuse parameters that they do not know.
    let ours = |name: &str| found.strip.iter().any(|strip| matches!(strip, Strip::Query(taken) if taken == name));
    let query = came.query.filter(|_| !found.strip.is_empty()).map(|query| crate::query::without(query, ours));
    let query = query.as_ref().map_or(came.query, Option::as_deref);
    let facts = RequestFacts { query, ..came };
    session.grant.covers(&facts, state.clock.now())?;
    // A scheme that a reload took off the route lets nobody in any more.
    let scheme = routed.route.schemes.iter().find(|scheme| scheme.name == session.scheme).ok_or(Error::SessionGone(Gone::Unknown))?;
    scheme.scheme.fits(&session.grant, &facts)?;
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

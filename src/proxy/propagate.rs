//! Every child request carries the ticket, with no change to the player.
//!
//! `path`: the entry is answered by a redirect to the same URL under the ticket's segment; playlists
//! stay as they are unless they hold links that would leave that segment. `query`: every link of a
//! playlist gets the ticket. `cookie`: the entry's answer sets it. Other answers pass untouched.

mod playlist;

use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE, VARY};
use http::{HeaderValue, Method, Response, StatusCode};
use tower::Service;

use super::filter::{Answer, Answered, Around, Either};
use super::request::{Admitted, Proof};
use super::{Body, Error};
use crate::session::ticket::TicketClaims;
use crate::session::{Propagation, Session};

/// Longest life of a cookie in seconds: browsers keep none for more than 400 days (RFC 6265bis §5.5).
const LONGEST: i64 = 400 * 24 * 3600;

/// Answers entries with the redirect under their ticket.
#[derive(Debug, Clone)]
pub struct Redirect;

impl Answer<Admitted> for Redirect {
    fn answer(&self, admitted: &Admitted) -> Option<Response<Body>> {
        let routed = &admitted.routed;
        let (session, of_route) = (admitted.session.as_ref()?, routed.route.session.as_ref()?);
        let by_token = matches!(admitted.proof, Proof::Token(_)) && routed.request.head.method == Method::GET;
        if of_route.config.propagation != Propagation::Path || !by_token || !of_route.is_entry(routed.request.settled.path.decoded()) {
            return None;
        }
        let component = format!("{}{}", of_route.marker, ticket(admitted, session));
        let location = HeaderValue::from_str(&under(admitted, &component)).ok()?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }
}

/// The URL of the entry, without its token, under the ticket's segment.
fn under(admitted: &Admitted, component: &str) -> String {
    let routed = &admitted.routed;
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let (strip, grant) = admitted.proof.strip_and_grant();
    let none = crate::token::Grant::default();
    // What the token adds for the origin is added on each request, so it does not stand in the URL.
    let bare = grant.map(|grant| crate::token::Grant { upstream_query: Vec::new(), ..grant.clone() });
    let (path, query) = crate::token::carrier::target(&facts, strip, bare.as_ref().unwrap_or(&none));
    let (prefix, rest) = path.split_at(routed.mount.min(path.len()));
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    format!("{prefix}/{component}{rest}{query}")
}

/// A ticket for `session`, good by itself for as long as its route says.
pub(super) fn ticket(admitted: &Admitted, session: &Session) -> String {
    let request = &admitted.routed.request;
    let state = &request.state;
    let lifetime = admitted.routed.route.session.as_ref().map_or(0, |session| session.config.ticket_lifetime.as_unix());
    let expires = session.ticket_until(state.clock.now(), lifetime);
    let bound = super::ticket::bound(&admitted.routed);
    state.tickets.issue(&TicketClaims { session: session.id, expires, scope: session.scope, bound })
}

/// Carries tickets on in answers.
#[derive(Debug, Clone)]
pub struct Propagate;

impl Around<Admitted> for Propagate {
    type Next = Admitted;

    fn send<S>(&self, inner: &mut S, mut admitted: Admitted) -> Either<S::Future, Answered>
    where
        S: Service<Admitted, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static,
    {
        let Some(session) = admitted.session.clone().filter(|_| admitted.routed.route.session.as_ref().is_some_and(|s| s.has_tickets()))
        else {
            return Either::Left { future: inner.call(admitted) };
        };
        let cookie = cookie(&admitted, &session);
        let plan = playlist::Plan::new(&mut admitted, session);
        if plan.is_none() && cookie.is_none() {
            return Either::Left { future: inner.call(admitted) };
        }
        let answer = inner.call(admitted);
        let carried = async move {
            let mut response = answer.await?;
            if let Some(cookie) = cookie {
                response.headers_mut().append(SET_COOKIE, cookie);
                response.headers_mut().append(VARY, HeaderValue::from_static("Cookie"));
            }
            match plan {
                Some(plan) => plan.apply(response).await,
                None => Ok(response),
            }
        };
        Either::Right { future: Box::pin(carried) }
    }
}

/// The cookie of an entry that a token let in, bound to the entry's folder. It stays as long as the session may: who comes
/// back with a ticket that is late is told so.
fn cookie(admitted: &Admitted, session: &Session) -> Option<HeaderValue> {
    let of_route = admitted.routed.route.session.as_ref()?;
    let config = &of_route.config;
    let path = &admitted.routed.request.settled.path;
    if config.propagation != Propagation::Cookie || !matches!(admitted.proof, Proof::Token(_)) || !of_route.is_entry(path.decoded()) {
        return None;
    }
    // A `;` ends the attribute, whatever stands behind it: the cookie then belongs to the folder above.
    let plain = path.raw().split(';').next().unwrap_or("");
    let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
    let age = session.ends.since(admitted.routed.request.state.clock.now()).clamp(0, LONGEST);
    let secure = if config.cookie.secure { "; Secure" } else { "" };
    let text = format!(
        "{}={}; Path={folder}/; Max-Age={age}; HttpOnly; SameSite={}{secure}",
        config.parameter,
        ticket(admitted, session),
        config.cookie.same_site.word(),
    );
    HeaderValue::from_str(&text).ok()
}

//! Requests that are for the gateway itself: a player asks for a session token.
//!
//! Schemes of vendors whose players do that say so ([`Scheme::reply`](crate::token::Scheme::reply)). Some ask before
//! they have a token, some with one; neither kind goes on to an origin or takes a place in the session table.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};

use super::Body;
use super::filter::Answer;
use super::request::{Proof, Routed, Verified};
use crate::token::{NoGeo, Reply};

/// The room before any token is asked for.
#[derive(Debug, Clone)]
pub struct BeforeToken;

/// The room for callers whose token was found good, now or when their session began.
#[derive(Debug, Clone)]
pub struct WithToken;

impl Answer<Routed> for BeforeToken {
    fn answer(&self, routed: &Routed) -> Option<Response<Body>> {
        let request = &routed.request;
        // Every such question is a `POST`; others need not be looked at.
        if request.head.method != Method::POST {
            return None;
        }
        let facts = request.facts(routed.mount, &NoGeo);
        let now = request.state.clock.now();
        routed.route.schemes.iter().find_map(|named| named.scheme.reply(None, &facts, now)).map(respond)
    }
}

impl Answer<Verified> for WithToken {
    fn answer(&self, verified: &Verified) -> Option<Response<Body>> {
        let (scheme, grant) = match &verified.proof {
            Proof::Token(verdict) => (&verdict.scheme, &verdict.grant),
            Proof::Session { session, .. } => (&session.scheme, &session.grant),
            _ => return None,
        };
        let routed = &verified.routed;
        let named = routed.route.schemes.iter().find(|named| named.name == *scheme)?;
        let facts = routed.request.facts(routed.mount, &NoGeo);
        named.scheme.reply(Some(grant), &facts, routed.request.state.clock.now()).map(respond)
    }
}

/// The reply as an answer that nobody keeps.
pub(super) fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::full(reply.body));
    *response.status_mut() = reply.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

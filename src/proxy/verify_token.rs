//! Whether the request's token, or its session's ticket, opens the route.

use super::request::{Proof, Routed, Verified};
use super::ticket::Opened;
use super::{Error, Filter, ticket, upload};
use crate::name::Name;
use crate::revocation::RevocationFacts;
use crate::secret::Fingerprint;
use crate::session::Key;
use crate::token::{Denial, Strip};
use crate::verifier::{Refusal, Verdict};

/// The room.
#[derive(Debug, Clone)]
pub struct VerifyToken;

impl Filter<Routed> for VerifyToken {
    type Out = Verified;

    fn check(&self, mut routed: Routed) -> Result<Verified, Error> {
        if routed.route.is_public() {
            return Ok(Verified { routed, proof: Proof::Public });
        }
        if let Some(found) = ticket::take(&mut routed)? {
            let by_cookie = found.strip.iter().any(|s| matches!(s, Strip::Cookie(_)));
            // A cookie comes along by itself: a token beside it asks for another viewing.
            if !(by_cookie && has_token(&routed)) {
                let opened = ticket::open(&routed, &found)?;
                let strip = found.strip.into_iter().chain(token_places(&routed)).collect();
                let proof = match opened {
                    Opened::Here(session) => Proof::Session { session, strip },
                    Opened::Asked { ticket, gone } => Proof::Ticket { ticket, gone, strip },
                };
                return Ok(Verified { routed, proof });
            }
        }
        let proof = verify(&routed)?;
        Ok(Verified { routed, proof })
    }
}

fn verify(routed: &Routed) -> Result<Proof, Error> {
    let Routed { request, route, mount, .. } = routed;
    let (state, record) = (&request.state, &request.record);
    let facts = request.facts(*mount, &*state.geo);
    let now = state.clock.now();
    let decided = match state.slow.wait(request.settled.client_ip) {
        None => state.verifier.decide(&route.schemes, &facts, now),
        // Somebody at this address guesses tokens. Who watches there with a token that is remembered
        // costs no signature check, and goes on.
        Some(wait) => match state.verifier.recall(&route.schemes, &facts, now) {
            Some(verdict) => Ok(verdict),
            None => return goes_on(routed).ok_or(Error::Slowed(wait)),
        },
    };
    let decided = decided.and_then(|verdict| not_revoked(routed, verdict));
    match decided {
        Ok(verdict) => {
            let counter = if verdict.remembered { &state.metrics.cache_hits } else { &state.metrics.cache_misses };
            counter.inc();
            route.metrics.validated(verdict.scheme.as_str());
            record.remembered.set(verdict.remembered);
            let _ = record.scheme.set(verdict.scheme.clone());
            if record.wanted {
                record.fingerprint.set(Some(verdict.fingerprint()));
            }
            Ok(Proof::Token(verdict))
        }
        Err((denial, scheme)) => {
            // The upload was let in by this very token, for longer than the token lasts and for its own place.
            if let Some(proof) = goes_on(routed).filter(|_| matches!(denial, Denial::Expired | Denial::Path)) {
                return Ok(proof);
            }
            route.metrics.denied(scheme.as_ref().map(Name::as_str), denial);
            state.slow.refused(request.settled.client_ip);
            note_token(routed);
            if let Some(scheme) = scheme {
                let _ = record.scheme.set(scheme);
            }
            Err(Error::Denied(denial))
        }
    }
}

/// An upload under way that this request belongs to by the bytes of its token.
fn goes_on(routed: &Routed) -> Option<Proof> {
    let session = upload::goes_on(routed)?;
    Some(Proof::Session { session, strip: token_places(routed) })
}

/// Revocations are asked on every request, remembered verdicts included.
fn not_revoked(routed: &Routed, verdict: Verdict) -> Result<Verdict, Refusal> {
    let state = &routed.request.state;
    if state.revocations.is_empty() {
        return Ok(verdict);
    }
    let facts =
        RevocationFacts { token: Key::token(&verdict.scheme, verdict.token(), &verdict.grant), grant: &verdict.grant, session: None };
    if state.revocations.is_revoked(&facts, state.clock.now()) { Err((Denial::Revoked, Some(verdict.scheme))) } else { Ok(verdict) }
}

pub(super) fn has_token(routed: &Routed) -> bool {
    !token_places(routed).is_empty()
}

/// Where tokens stand that nobody asked for: they are not verified, and do not reach the origin.
pub(super) fn token_places(routed: &Routed) -> Vec<Strip> {
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let found = routed.route.schemes.iter().filter_map(|s| s.scheme.present(&facts).ok().flatten());
    // A path that was made free of its ticket holds no token; an id in its place is the asset's.
    let in_path = |s: &Strip| matches!(s, Strip::Segment(_) | Strip::SegmentToResource(_));
    found.flat_map(|presented| presented.strip).filter(|s| routed.ticketed.is_none() || !in_path(s)).collect()
}

/// Names the first token of a refused request in the record.
fn note_token(routed: &Routed) {
    let Routed { request, route, mount, .. } = routed;
    let facts = request.facts(*mount, &crate::token::NoGeo);
    let first = route.schemes.iter().find_map(|s| s.scheme.present(&facts).ok().flatten());
    if let Some(presented) = first {
        request.record.fingerprint.set(Some(Fingerprint::of(presented.token.as_bytes())));
    }
}

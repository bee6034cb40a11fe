//! Whether the request's token opens the route.

use super::request::{Routed, Verified};
use super::{Error, Filter};
use crate::secret::Fingerprint;

/// The room.
#[derive(Debug, Clone)]
pub struct VerifyToken;

impl Filter<Routed> for VerifyToken {
    type Out = Verified;

    fn check(&self, routed: Routed) -> Result<Verified, Error> {
        let Routed { request, route, mount } = &routed;
        if route.is_public() {
            return Ok(Verified { routed, verdict: None });
        }
        let state = &request.state;
        if let Some(wait) = state.slow.wait(request.settled.client_ip) {
            return Err(Error::Slowed(wait));
        }
        let facts = request.facts(*mount, &*state.geo);
        match state.verifier.decide(&route.schemes, &facts, state.clock.now()) {
            Ok(verdict) => {
                let counter = if verdict.remembered { &state.metrics.cache_hits } else { &state.metrics.cache_misses };
                counter.inc();
                route.metrics.validated(verdict.scheme.as_str());
                request.record.remembered.set(verdict.remembered);
                let _ = request.record.scheme.set(verdict.scheme.clone());
                if request.record.wanted {
                    request.record.fingerprint.set(Some(verdict.fingerprint()));
                }
                Ok(Verified { routed, verdict: Some(verdict) })
            }
            Err((denial, scheme)) => {
                route.metrics.denied(scheme.as_ref().map(crate::name::Name::as_str), denial);
                state.slow.refused(request.settled.client_ip);
                note_token(&routed);
                if let Some(scheme) = scheme {
                    let _ = request.record.scheme.set(scheme);
                }
                Err(Error::Denied(denial))
            }
        }
    }
}

/// Names the first token of a refused request in the record.
fn note_token(routed: &Routed) {
    let Routed { request, route, mount } = routed;
    let facts = request.facts(*mount, &crate::token::NoGeo);
    let first = route.schemes.iter().find_map(|s| s.scheme.present(&facts).ok().flatten());
    if let Some(presented) = first {
        request.record.fingerprint.set(Some(Fingerprint::of(presented.token.as_bytes())));
    }
}

//! Whether the request's token, or its session's ticket, opens the route.
//!
//! It waits only where a fleet shares its ledger and something is not at hand, and where a token for one use is used up over
//! a fleet.

use super::filter::{Decide, Decision};
use super::inject::opens_alone;
use super::request::{Proof, Routed, Verified};
use super::ticket::{Found, Opened};
use super::{Error, ticket, upload};
use crate::ledger::Ledger;
use crate::ledger::lookups::Asked;
use crate::name::Name;
use crate::revocation::RevocationFacts;
use crate::route::RouteMode;
use crate::secret::Fingerprint;
use crate::session::Key;
use crate::token::{Denial, Strip};
use crate::verifier::{ClaimFault, Refusal, Verdict};

/// The room.
#[derive(Debug, Clone)]
pub struct VerifyToken;

impl Decide<Routed> for VerifyToken {
    type Out = Verified;

    fn decide(&self, routed: Routed) -> Decision<Verified> {
        if let Some(ledger) = shared_ledger(&routed) {
            return Decision::Later(Box::pin(async move { claimed(informed(routed, &ledger).await?).await }));
        }
        match check(routed) {
            Ok(verified) if has_to_claim(&verified) => Decision::Later(Box::pin(claimed(verified))),
            decided => Decision::Now(decided),
        }
    }
}

/// The ledger that a fleet shares, where this route's tokens are looked up in it.
fn shared_ledger(routed: &Routed) -> Option<Ledger> {
    let ledger = routed.request.state.ledger.as_ref().filter(|ledger| ledger.is_shared())?;
    // Where the address is enough, no token is looked at.
    if matches!(opens_alone(routed), Ok(true)) {
        return None;
    }
    let mut schemes = routed.route.schemes.iter().chain(&routed.route.compare);
    schemes.any(|scheme| scheme.scheme.looks_up()).then(|| ledger.clone())
}

fn check(mut routed: Routed) -> Result<Verified, Error> {
    let found = find_ticket(&mut routed)?;
    let proof = judge(&routed, found)?;
    Ok(Verified { routed, proof })
}

/// The same when all that rules ask for is at hand.
async fn informed(mut routed: Routed, ledger: &Ledger) -> Result<Verified, Error> {
    let found = find_ticket(&mut routed)?;
    let mut asked = Asked::default();
    loop {
        asked.ask(|| look(&routed, found.as_ref()));
        match asked.fetch(ledger).await {
            Ok(true) => {}
            Ok(false) => break,
            // In shadow mode nobody is refused, and an upload under way goes on.
            Err(_) if routed.route.mode == RouteMode::Shadow => break,
            Err(fault) => {
                tracing::debug!(%fault, "what was issued cannot be looked up");
                let proof = goes_on(&routed).ok_or(Error::LedgerAway)?;
                return Ok(Verified { routed, proof });
            }
        }
    }
    let proof = asked.ask(|| judge(&routed, found))?;
    Ok(Verified { routed, proof })
}

/// Has the rules ask what they will ask, and changes nothing.
fn look(routed: &Routed, found: Option<&Found>) {
    let Routed { request, route, mount, .. } = routed;
    let state = &request.state;
    if let Some(found) = found.filter(|found| is_meant(routed, found)) {
        let _ = ticket::open(routed, found);
    } else if !route.is_public() && state.slow.wait(request.settled.client_ip).is_none() {
        let (facts, now) = (request.facts(*mount, &*state.geo), state.clock.now());
        let _ = state.verifier.look(&route.schemes, &facts, now);
        let _ = state.verifier.look(&route.compare, &facts, now);
    }
}

fn has_to_claim(verified: &Verified) -> bool {
    matches!(&verified.proof, Proof::Token(verdict) if verified.routed.request.state.verifier.has_to_claim(verdict))
}

/// Uses a token for one use up over the fleet.
async fn claimed(verified: Verified) -> Result<Verified, Error> {
    let routed = &verified.routed;
    let state = &routed.request.state;
    if let Proof::Token(verdict) = &verified.proof {
        match state.verifier.claim(&routed.route.schemes, verdict, state.clock.now()).await {
            Ok(()) => {}
            Err(ClaimFault::Refused(refusal)) => return refused(routed, refusal).map(|proof| Verified { proof, ..verified }),
            Err(ClaimFault::Away(why)) => {
                tracing::warn!(why, "a token for one use cannot be used up over the fleet");
                return Err(Error::StoreAway);
            }
        }
    }
    Ok(verified)
}

/// The ticket that came with the request.
fn find_ticket(routed: &mut Routed) -> Result<Option<Found>, Error> {
    if routed.route.is_public() { Ok(None) } else { ticket::take(routed) }
}

/// Whether the request goes by this ticket. A cookie comes along by itself: a token beside it asks for another viewing,
/// unless it was used up for this one.
fn is_meant(routed: &Routed, found: &Found) -> bool {
    let by_cookie = found.strip.iter().any(|strip| matches!(strip, Strip::Cookie(_)));
    !by_cookie || !has_token(routed) || comes_back(routed, found)
}

/// Whether the token beside a ticket is the one for one use that began the ticket's viewing.
fn comes_back(routed: &Routed, found: &Found) -> bool {
    let session = match ticket::open(routed, found) {
        Ok(Opened::Here(session)) => Some(session),
        Ok(Opened::Asked { ticket, .. }) => routed.request.state.sessions.get(ticket.session),
        Err(_) => None,
    };
    let Some(session) = session.filter(|session| session.grant.single_use) else { return false };
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let scheme = routed.route.schemes.iter().find(|named| named.name == session.scheme);
    let presented = scheme.and_then(|named| named.scheme.present(&facts).ok().flatten());
    presented.is_some_and(|presented| Fingerprint::of(presented.token.as_bytes()) == session.seen.fingerprint)
}

fn judge(routed: &Routed, found: Option<Found>) -> Result<Proof, Error> {
    if routed.route.is_public() {
        return Ok(Proof::Public);
    }
    if opens_alone(routed)? {
        return Ok(Proof::Address { strip: token_places(routed) });
    }
    let Some(found) = found.filter(|found| is_meant(routed, found)) else { return verify(routed) };
    let opened = ticket::open(routed, &found)?;
    let strip = found.strip.into_iter().chain(token_places(routed)).collect();
    Ok(match opened {
        Opened::Here(session) => Proof::Session { session, strip },
        Opened::Asked { ticket, gone } => Proof::Ticket { ticket, gone, strip },
    })
}

fn verify(routed: &Routed) -> Result<Proof, Error> {
    let shadow = routed.route.mode == RouteMode::Shadow;
    let other = compare(routed);
    let decided = match decide(routed) {
        Ok(decided) => decided,
        // In shadow mode a viewer who is slowed passes like everybody, and costs no signature check.
        Err(_) if shadow => return Ok(Proof::Shadow { strip: token_places(routed) }),
        Err(slowed) => return goes_on(routed).ok_or(slowed),
    };
    note_difference(routed, decided.as_ref(), other.as_ref().map(Result::as_ref));
    match decided {
        Ok(mut verdict) => {
            note_verdict(routed, &verdict);
            if !routed.route.compare.is_empty() {
                verdict.strip_also(&token_places(routed));
            }
            Ok(Proof::Token(verdict))
        }
        Err(refusal) => {
            // The upload was let in by this very token, for longer than the token lasts and for its own place.
            let outlived = matches!(refusal.denial, Denial::Expired | Denial::Path);
            if let Some(proof) = outlived.then(|| goes_on(routed)).flatten() {
                return Ok(proof);
            }
            let state = &routed.request.state;
            // Keys of the ledger are forgotten while it is not heard: which one this was cannot be told.
            if refusal.denial == Denial::UnknownKey && state.ledger.as_ref().is_some_and(Ledger::is_lapsed) && !shadow {
                return goes_on(routed).ok_or(Error::LedgerAway);
            }
            refused(routed, refusal)
        }
    }
}

/// Turns a request away, or lets it pass in shadow mode.
fn refused(routed: &Routed, refusal: Refusal) -> Result<Proof, Error> {
    note_refusal(routed, &refusal);
    if routed.route.mode == RouteMode::Shadow {
        return Ok(Proof::Shadow { strip: token_places(routed) });
    }
    routed.request.state.slow.refused(routed.request.settled.client_ip);
    Err(refusal.into())
}

/// # Errors
/// [`Error::Slowed`] for somebody who has been refused too often, and has no token that is remembered.
fn decide(routed: &Routed) -> Result<Result<Verdict, Refusal>, Error> {
    let Routed { request, route, .. } = routed;
    let state = &request.state;
    let facts = routed.facts(&*state.geo);
    let now = state.clock.now();
    let decided = match state.slow.wait(request.settled.client_ip) {
        None => state.verifier.decide(&route.schemes, &facts, now),
        // Somebody at this address guesses tokens. Who watches there with a token that is remembered
        // costs no signature check, and goes on.
        Some(wait) => Ok(state.verifier.recall(&route.schemes, &facts, now).ok_or(Error::Slowed(wait))?),
    };
    Ok(decided.and_then(|verdict| not_revoked(routed, verdict)))
}

/// What the second list of schemes would decide. Asked first, so that a token for one use is not used up before.
fn compare(routed: &Routed) -> Option<Result<Verdict, Refusal>> {
    let Routed { request, route, .. } = routed;
    let state = &request.state;
    if route.compare.is_empty() || state.slow.wait(request.settled.client_ip).is_some() {
        return None;
    }
    let decided = state.verifier.look(&route.compare, &routed.facts(&*state.geo), state.clock.now());
    Some(decided.and_then(|verdict| not_revoked(routed, verdict)))
}

fn note_difference(routed: &Routed, ours: Result<&Verdict, &Refusal>, other: Option<Result<&Verdict, &Refusal>>) {
    let Some(other) = other else { return };
    let taken_by = match (ours, other) {
        (Ok(_), Ok(_)) => "both",
        (Err(_), Err(_)) => "neither",
        (Ok(_), Err(_)) => "accept",
        (Err(_), Ok(_)) => "compare",
    };
    routed.route.metrics.compared(taken_by);
    let record = &routed.request.record;
    if ours.is_ok() != other.is_ok() {
        record.compared.set(Some(taken_by));
    }
    if let (Ok(_), Err(refusal)) = (ours, other) {
        *record.cause.borrow_mut() = Some(refusal.denial.reason().to_owned());
    }
}

fn note_verdict(routed: &Routed, verdict: &Verdict) {
    let Routed { request, route, .. } = routed;
    let (state, record) = (&request.state, &request.record);
    let counter = if verdict.remembered { &state.metrics.cache_hits } else { &state.metrics.cache_misses };
    counter.inc();
    route.metrics.validated(verdict.scheme.as_str());
    if route.mode == RouteMode::Shadow {
        route.metrics.shadowed(None);
    }
    record.remembered.set(verdict.remembered);
    let _ = record.scheme.set(verdict.scheme.clone());
    if record.wanted || record.compared.get().is_some() {
        record.fingerprint.set(Some(verdict.fingerprint()));
    }
}

fn note_refusal(routed: &Routed, refusal: &Refusal) {
    let Routed { request, route, .. } = routed;
    route.metrics.denied(refusal.scheme.as_ref().map(Name::as_str), refusal.denial);
    note_token(routed);
    if let Some(scheme) = &refusal.scheme {
        let _ = request.record.scheme.set(scheme.clone());
    }
    if route.mode == RouteMode::Shadow {
        route.metrics.shadowed(Some(refusal.denial));
        request.record.shadow.set(Some(refusal.denial.reason()));
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
    if state.revocations.is_revoked(&facts, state.clock.now()) {
        Err(Refusal { denial: Denial::Revoked, scheme: Some(verdict.scheme), answer: None })
    } else {
        Ok(verdict)
    }
}

pub(super) fn has_token(routed: &Routed) -> bool {
    !token_places(routed).is_empty()
}

/// Where tokens stand that nobody asked for: they are not verified, and do not reach the origin.
pub(super) fn token_places(routed: &Routed) -> Vec<Strip> {
    let facts = routed.request.facts(routed.mount, &crate::token::NoGeo);
    let schemes = routed.route.schemes.iter().chain(&routed.route.compare);
    let found = schemes.filter_map(|s| s.scheme.present(&facts).ok().flatten());
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

//! A place for every viewing, or none.
//!
//! A request that a token let in, on a route with sessions, gets the session that its viewer has, or a
//! new one if there is room. Looks (`HEAD`, posters, captions) open none. A request that a ticket let in has its session already.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::USER_AGENT;

use super::filter::{Decide, Decision};
use super::request::{Admitted, Proof, Routed, Verified};
use super::{Error, ticket};
use crate::clock::UnixTime;
use crate::ledger::{Claim, Ledger};
use crate::name::Name;
use crate::path::{self, CleanPath};
use crate::session::fleet::Fleet;
use crate::session::{Admission, Ask, Keys, Limit, OnFull, OnStoreError, Seen, Session, Terms, Viewer, Viewing};
use crate::token::{Binding, Country, Denial, Geo, Grant, NoGeo, PathRule, RequestFacts, Scheme, Scope, Strip, carrier};
use crate::verifier::Verdict;

/// The room. It waits only where a fleet's store has to be asked: at entries, and once for a ticket that another gateway gave.
#[derive(Debug, Clone)]
pub struct AdmitSession;

impl Decide<Verified> for AdmitSession {
    type Out = Admitted;

    fn decide(&self, verified: Verified) -> Decision<Admitted> {
        let Routed { request, route, .. } = &verified.routed;
        let by_ticket = matches!(verified.proof, Proof::Ticket { .. });
        let waits = route.session.is_some() && (by_ticket || matches!(verified.proof, Proof::Token(_)));
        if let Some(fleet) = request.state.fleet.clone().filter(|_| waits) {
            return Decision::Later(Box::pin(by_fleet(verified, fleet)));
        }
        if let Some(ledger) = request.state.ledger.clone().filter(|ledger| ledger.is_shared() && (by_ticket || is_counted(&verified))) {
            return Decision::Later(Box::pin(by_ledger(verified, ledger)));
        }
        Decision::Now(check(verified))
    }
}

/// Decides by what this gateway knows.
fn check(verified: Verified) -> Result<Admitted, Error> {
    let Verified { routed, proof } = verified;
    match proof {
        proof @ (Proof::Public | Proof::Shadow { .. } | Proof::Address { .. }) => Ok(admitted(routed, proof, None)),
        Proof::Session { session, strip } => Ok(in_session(routed, session, strip)),
        Proof::Ticket { ticket, strip, .. } => {
            let session = ticket::resume(&routed, &ticket, &strip)?;
            Ok(in_session(routed, session, strip))
        }
        Proof::Token(verdict) => {
            let session = match ask(&routed, &verdict) {
                Some(ask) => {
                    let given = routed.request.state.sessions.admit(&ask);
                    Some(given_to(&routed, given.map_err(|refusal| Error::session(refusal.limit, &routed.route))?))
                }
                None => None,
            };
            Ok(admitted(routed, Proof::Token(verdict), session))
        }
    }
}

/// Whether a token says itself how many viewings it opens.
fn is_counted(verified: &Verified) -> bool {
    let counts = |verdict: &Verdict| verdict.grant.session.total.is_some();
    verified.routed.route.session.is_some() && matches!(&verified.proof, Proof::Token(verdict) if counts(verdict))
}

/// The same where what its rules ask for may have to be fetched, or a use be noted.
async fn by_ledger(verified: Verified, ledger: Ledger) -> Result<Admitted, Error> {
    match verified {
        Verified { routed, proof: Proof::Ticket { ticket, strip, .. } } => {
            let session = ticket::resume_informed(&routed, &ticket, &strip).await?;
            Ok(in_session(routed, session, strip))
        }
        Verified { routed, proof: Proof::Token(verdict) } => {
            claimed(&routed, &verdict, &ledger).await?;
            check(Verified { routed, proof: Proof::Token(verdict) })
        }
        other => check(other),
    }
}

/// A token that says how many viewings it opens opens no more to others over gateways that share no sessions, but a ledger.
async fn claimed(routed: &Routed, verdict: &Verdict, ledger: &Ledger) -> Result<(), Error> {
    let state = &routed.request.state;
    let Some((ask, session)) = ask(routed, verdict).zip(routed.route.session.as_ref()) else { return Ok(()) };
    let Some(most) = ask.terms.total.filter(|_| ask.terms.on_full != OnFull::Observe && state.sessions.own(&ask).is_none()) else {
        return Ok(());
    };
    let until = ask.grant.window.until;
    let left = u64::try_from(until.plus(i64::from(ask.terms.outlive)).since(ask.now)).unwrap_or(0);
    // A second more, because the store's clock and ours tick apart.
    let life = (until != UnixTime::MAX).then(|| Duration::from_secs(left.saturating_add(1)));
    let claim = Claim { name: ask.keys.token.to_string(), life, among: Some((ask.viewer.key.to_string(), most)) };
    match ledger.claim(claim).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            let limit = Limit::TotalToken;
            state.metrics.sessions_refused.with_label_values(&[routed.route.name.as_str(), limit.word()]).inc();
            Err(Error::session(limit, &routed.route))
        }
        Err(_) if session.config.on_store_error != OnStoreError::Deny => Ok(()),
        Err(fault) => {
            tracing::warn!(%fault, "a viewing cannot be counted over the fleet");
            Err(Error::StoreAway)
        }
    }
}

/// The same by the word of a fleet's store, for what this gateway cannot decide by itself.
async fn by_fleet(verified: Verified, fleet: Fleet) -> Result<Admitted, Error> {
    let Verified { routed, proof } = verified;
    match proof {
        Proof::Ticket { ticket, gone, strip } => {
            let session = ticket::ask_fleet(&routed, (&ticket, gone), &strip, &fleet).await?;
            Ok(in_session(routed, session, strip))
        }
        Proof::Token(verdict) => {
            let policy = routed.route.session.as_ref().map(|session| session.config.on_store_error);
            let session = match (ask(&routed, &verdict), policy) {
                (Some(ask), Some(policy)) => {
                    let given = fleet.admit(&ask, policy).await.map_err(|fault| Error::entry(&fault, &routed.route))?;
                    Some(given_to(&routed, given))
                }
                _ => None,
            };
            Ok(admitted(routed, Proof::Token(verdict), session))
        }
        other => check(Verified { routed, proof: other }),
    }
}

fn admitted(routed: Routed, proof: Proof, session: Option<Arc<Session>>) -> Admitted {
    if let Some(session) = &session {
        let record = &routed.request.record;
        let _ = record.session.set(session.clone());
        // An upload's session ends with its last byte, before its answer has passed.
        if super::upload::kind(&routed).is_none() {
            let state = &routed.request.state;
            let _ = record.viewing.set(Viewing::new(session.clone(), state.sessions.clone(), state.clock.clone()));
        }
    }
    Admitted { routed, proof, session, upload: None }
}

fn in_session(routed: Routed, session: Arc<Session>, strip: Vec<Strip>) -> Admitted {
    admitted(routed, Proof::Session { session: session.clone(), strip }, Some(session))
}

/// Notes what an admission did to others.
fn given_to(routed: &Routed, admission: Admission) -> Arc<Session> {
    let Admission { session, evicted, over, .. } = admission;
    if let Some(limit) = over {
        tracing::info!(route = %routed.route.name, session = %session.id, limit = limit.word(), "over a limit that is only observed");
    }
    for evicted in &evicted {
        tracing::info!(route = %routed.route.name, session = %evicted, by = %session.id, "session evicted");
    }
    session
}

/// The ask of a request; `None` when it opens no session.
#[must_use]
pub fn ask(routed: &Routed, verdict: &Verdict) -> Option<Ask> {
    let Routed { request, route, .. } = routed;
    let session = route.session.as_ref()?;
    // An upload has a session of its own kind.
    if super::upload::kind(routed).is_some() {
        return None;
    }
    if session.is_probe(&request.head.method, request.settled.path.decoded()) {
        return None;
    }
    let upload = !matches!(request.head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let grant = for_children(routed, verdict);
    let keys = Keys::of(&route.name, &verdict.scheme, verdict.token(), &grant);
    let network = ticket::network(routed);
    let agent = request.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    Some(Ask {
        now: request.state.clock.now(),
        route: route.name.clone(),
        scheme: verdict.scheme.clone(),
        viewer: Viewer::of(&keys, said(routed, &verdict.scheme).as_deref(), network, agent),
        terms: Terms::of(&session.config, &grant, upload),
        keys,
        network,
        grant,
        seen: Seen::new(verdict.fingerprint(), request.settled.client_ip, agent),
    })
}

/// The grant of the session: what the token allows, and what it was only good for because the request is under its
/// signature, said in rules, so that a ticket opens no more than that.
///
/// A token that is good for its own URL only (a canned policy, a hash over the path) opens a playlist whose segments it
/// does not name; its session reaches what lies in the entry's folder. An entry in the route's own folder gets
/// nothing more: that would be the whole route. A token whose signature covers the address is bound to it.
fn for_children(routed: &Routed, verdict: &Verdict) -> Arc<Grant> {
    let Some(named) = routed.route.schemes.iter().find(|named| named.name == verdict.scheme) else { return verdict.grant.clone() };
    let opens = |facts: &RequestFacts<'_>| would_open(&*named.scheme, verdict, facts);
    let geo = Here { ip: routed.request.settled.client_ip, geo: &*routed.request.state.geo };
    let facts = routed.request.facts(routed.mount, &geo);
    let resource = below_resource(&facts, verdict);
    let scope = if resource.is_some() || reaches_siblings(&facts, verdict, opens) { resource } else { Some(folder_of(&facts, verdict)) };
    let elsewhere = RequestFacts { client_ip: NOBODY, ..facts };
    let named_network = verdict.grant.bindings.iter().any(|binding| matches!(binding, Binding::Networks(_)));
    let tied = !named.scheme.remembers() && !named_network && !opens(&elsewhere);
    if scope.is_none() && !tied {
        return verdict.grant.clone();
    }
    let mut grant = Grant::clone(&verdict.grant);
    if let Some(scope) = scope {
        grant.scope = scope;
    }
    if tied {
        grant.bindings.push(Binding::Networks(vec![facts.client_ip.to_canonical().into()]));
    }
    Arc::new(grant)
}

/// Every address lies where the viewer's does, so that of a signature only what covers the address itself ends elsewhere.
struct Here<'g> {
    ip: IpAddr,
    geo: &'g dyn Geo,
}

impl Geo for Here<'_> {
    fn country(&self, _: IpAddr) -> Option<Country> {
        self.geo.country(self.ip)
    }

    fn asn(&self, _: IpAddr) -> Option<u32> {
        self.geo.asn(self.ip)
    }
}

/// An address that no viewer has (RFC 5737 §3).
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Whether the same token is good for these facts as well, as far as its signature goes.
fn would_open(scheme: &dyn Scheme, verdict: &Verdict, facts: &RequestFacts<'_>) -> bool {
    match scheme.present(facts) {
        // Nothing but the token's bytes counts, and they were found good.
        Ok(Some(presented)) if scheme.remembers() && *presented.token == *verdict.token() => true,
        // A token for one use is used up by this very request, whether or not that is written down yet.
        Ok(Some(presented)) => match scheme.open(&presented, facts) {
            Err(Denial::Replayed) => verdict.grant.single_use,
            opened => opened.is_ok(),
        },
        _ => false,
    }
}

fn reaches_siblings(facts: &RequestFacts<'_>, verdict: &Verdict, opens: impl Fn(&RequestFacts<'_>) -> bool) -> bool {
    let sibling = |raw: &str| {
        let folder = raw.rsplit_once('/').map_or("", |(folder, _)| folder);
        CleanPath::parse(&format!("{folder}/tollgate-sibling")).ok()
    };
    let reaches = match verdict.grant.scope {
        Scope::Route => sibling(facts.path.raw()).map(|path| opens(&RequestFacts { path: &path, ..*facts })),
        // Rules on paths know nothing of a token in one.
        _ => sibling(&carrier::target(facts, &verdict.strip, &verdict.grant).0)
            .map(|path| verdict.grant.reaches(&RequestFacts { path: &path, query: None, ..*facts })),
    };
    reaches.unwrap_or(false)
}

/// What a token opens that stood in the place of its resource's id: nothing else in the URL of a child says which one.
fn below_resource(facts: &RequestFacts<'_>, verdict: &Verdict) -> Option<Scope> {
    let place = |strip: &Strip| if let Strip::SegmentToResource(index) = strip { Some(*index) } else { None };
    let index = verdict.strip.iter().find_map(place)?;
    let (raw, _) = carrier::target(facts, &verdict.strip, &verdict.grant);
    let end = raw.get(facts.mount..)?.match_indices('/').nth(index + 1).map_or(raw.len(), |(at, _)| facts.mount + at);
    Some(Scope::Paths(vec![PathRule::Under(path::percent_decode(&raw[..end])?)]))
}

/// The folder of the entry as its children will name it: without a token in the path.
fn folder_of(facts: &RequestFacts<'_>, verdict: &Verdict) -> Scope {
    let (raw, _) = carrier::target(facts, &verdict.strip, &verdict.grant);
    let path = path::percent_decode(&raw).unwrap_or_default();
    let in_root = raw.rfind('/').is_none_or(|at| at <= facts.mount);
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Scope::Paths(vec![if in_root { PathRule::Exact(path.clone()) } else { PathRule::Under(format!("{folder}/")) }])
}

/// What the player calls its playback: in the words of the token's scheme, `X-Playback-Session-Id` (AVFoundation), or `sid`
/// of CMCD (CTA-5004 §3), in its header or its query parameter. Used to tell viewers apart, never to let more in.
fn said(routed: &Routed, scheme: &Name) -> Option<String> {
    const LONGEST: usize = 64;
    let head = &routed.request.head;
    let by_scheme = || {
        let named = routed.route.schemes.iter().find(|named| named.name == *scheme)?;
        named.scheme.playback(&routed.request.facts(routed.mount, &NoGeo)).map(std::borrow::Cow::into_owned)
    };
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let in_query = || {
        let raw = crate::query::values(head.uri.query()?, "CMCD").next()?;
        sid(&crate::query::decode(raw)?)
    };
    let said = by_scheme().or_else(|| header("x-playback-session-id")).or_else(|| sid(&header("cmcd-session")?)).or_else(in_query)?;
    (!said.is_empty() && said.len() <= LONGEST).then_some(said)
}

/// `sid="…"` in a CMCD list.
fn sid(list: &str) -> Option<String> {
    let value = list.split(',').find_map(|pair| pair.trim().strip_prefix("sid="))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixTime;
    use crate::token::Issue;
    use crate::token::issued::{FixedIssued, PrivateToken};
    use crate::token::scheme::apivideo_private::{ApivideoPrivate, Config};
    use crate::token::scheme::testkit::{NOW, Request};
    use crate::verifier::{RouteScheme, Verifier, VerifierConfig};

    #[test]
    fn a_token_that_this_request_uses_up_opens_what_lies_beside() {
        let scheme = |spent| -> Arc<dyn Scheme> {
            let (account, video, secret) = ("ours".into(), "vi1".into(), "secret".into());
            let token = PrivateToken { account, video, secret, created: UnixTime(NOW), until: UnixTime(NOW + 60), spent };
            let issued = FixedIssued::default().with("p1", Issue::PrivateToken(token));
            Arc::new(ApivideoPrivate::new(&Config::default(), Arc::new(issued)))
        };
        let request = Request::get("/vi1?token=p1");
        let accepted = [RouteScheme { name: Name::new("private").expect("a name"), scheme: scheme(false) }];
        let verdict = Verifier::new(&VerifierConfig::default()).decide(&accepted, &request.facts(), UnixTime(NOW)).expect("good");
        assert!(would_open(&*scheme(false), &verdict, &request.facts()));
        assert!(would_open(&*scheme(true), &verdict, &request.facts()), "its use is written down already");
    }

    #[test]
    fn a_playback_id_is_read_out_of_cmcd() {
        assert_eq!(
            sid("bl=2000,sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",mtp=1").as_deref(),
            Some("6e2fb550-c457-11e9-bb97-0800200c9a66")
        );
        assert_eq!(sid("bl=2000"), None);
    }
}

//! A place for every viewing, or none.
//!
//! A request that a token let in, on a route with sessions, gets the session that its viewer has, or a
//! new one if there is room. Looks (`HEAD`, posters, captions) open none. A request that a ticket let in has its session already.

use std::sync::Arc;

use http::Method;
use http::header::USER_AGENT;

use super::request::{Admitted, Proof, Routed, Verified};
use super::{Error, Filter, ticket};
use crate::path::CleanPath;
use crate::session::{Ask, Keys, Seen, Session, Terms, Viewer};
use crate::token::{Grant, NoGeo, PathRule, RequestFacts, Scope, carrier};
use crate::verifier::Verdict;

/// The room.
#[derive(Debug, Clone)]
pub struct AdmitSession;

impl Filter<Verified> for AdmitSession {
    type Out = Admitted;

    fn check(&self, verified: Verified) -> Result<Admitted, Error> {
        let Verified { routed, proof } = verified;
        let session = match &proof {
            Proof::Public => None,
            Proof::Session { session, .. } => Some(session.clone()),
            Proof::Token(verdict) => admit(&routed, verdict)?,
        };
        if let Some(session) = &session {
            let _ = routed.request.record.session.set(session.clone());
        }
        Ok(Admitted { routed, proof, session })
    }
}

fn admit(routed: &Routed, verdict: &Verdict) -> Result<Option<Arc<Session>>, Error> {
    let Some(ask) = ask(routed, verdict) else { return Ok(None) };
    let sessions = &routed.request.state.sessions;
    let admission = sessions.admit(&ask).map_err(|refusal| Error::session(refusal.limit, &routed.route))?;
    if let Some(limit) = admission.over {
        tracing::info!(route = %routed.route.name, session = %admission.session.id, limit = limit.word(), "over a limit that is only observed");
    }
    for evicted in &admission.evicted {
        tracing::info!(route = %routed.route.name, session = %evicted, by = %admission.session.id, "session evicted");
    }
    Ok(Some(admission.session))
}

/// The ask of a request; `None` when it opens no session.
#[must_use]
pub fn ask(routed: &Routed, verdict: &Verdict) -> Option<Ask> {
    let Routed { request, route, .. } = routed;
    let session = route.session.as_ref()?;
    if session.is_probe(&request.head.method, request.settled.path.decoded()) {
        return None;
    }
    let upload = !matches!(request.head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let grant = for_ticket(routed, verdict);
    let keys = Keys::of(&route.name, &verdict.scheme, verdict.token(), &grant);
    let network = ticket::network(routed);
    let agent = request.head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    Some(Ask {
        now: request.state.clock.now(),
        route: route.name.clone(),
        scheme: verdict.scheme.clone(),
        viewer: Viewer::of(&keys, said(routed).as_deref(), network, agent),
        terms: Terms::of(&session.config, &grant, upload),
        keys,
        network,
        grant,
        seen: Seen::new(verdict.fingerprint(), request.settled.client_ip, agent),
    })
}

/// The grant for what a ticket opens; the ticket's URLs are the entry's without its token.
fn for_ticket(routed: &Routed, verdict: &Verdict) -> Arc<Grant> {
    let facts = routed.request.facts(routed.mount, &NoGeo);
    let (bare, _) = carrier::target(&facts, &verdict.strip, &verdict.grant);
    let Ok(bare) = CleanPath::parse(&bare) else { return verdict.grant.clone() };
    let scheme = routed.route.schemes.iter().find(|scheme| scheme.name == verdict.scheme);
    let by_url = scheme.is_none_or(|scheme| !scheme.scheme.remembers());
    if by_url && matches!(verdict.grant.scope, Scope::Route) {
        return within_folder(&verdict.grant, facts.path, &bare);
    }
    reaching_children(&verdict.grant, &facts, &bare)
}

/// A signature over the URL itself opens that URL and says nothing of its scope; a ticket is not tied
/// to the URL, so it opens the folder that the entry lies in and no more.
fn within_folder(grant: &Arc<Grant>, path: &CleanPath, bare: &CleanPath) -> Arc<Grant> {
    // With a token in the path, children may stand beside it or under it.
    let rules = [path, bare].map(|path| PathRule::Under(format!("{}/", folder(path.decoded()))));
    Arc::new(Grant { scope: Scope::Paths(rules.to_vec()), ..Grant::clone(grant) })
}

/// A token that is good for its own URL only (a canned policy, a claim with one path) opens a playlist
/// whose segments it does not name; its session then reaches what lies in the entry's folder. An entry
/// in the route's own folder gets nothing more: that would be the whole route.
fn reaching_children(grant: &Arc<Grant>, facts: &RequestFacts<'_>, bare: &CleanPath) -> Arc<Grant> {
    let raw = folder(bare.raw());
    let Ok(sibling) = CleanPath::parse(&format!("{raw}/tollgate-sibling")) else { return grant.clone() };
    if raw.len() <= facts.mount || grant.reaches(&RequestFacts { path: &sibling, query: None, ..*facts }) {
        return grant.clone();
    }
    let rule = PathRule::Under(format!("{}/", folder(bare.decoded())));
    Arc::new(Grant { scope: Scope::Paths(vec![rule]), ..Grant::clone(grant) })
}

/// A path up to its last slash, that one left out.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// What the player calls its playback: `X-Playback-Session-Id` (AVFoundation), or `sid` of CMCD
/// (CTA-5004 §3), in its header or its query parameter. Used to tell viewers apart, never to let more in.
fn said(routed: &Routed) -> Option<String> {
    const LONGEST: usize = 64;
    let head = &routed.request.head;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let in_query = || {
        let raw = crate::query::values(head.uri.query()?, "CMCD").next()?;
        sid(&crate::query::decode(raw)?)
    };
    let said = header("x-playback-session-id").or_else(|| sid(&header("cmcd-session")?)).or_else(in_query)?;
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

    #[test]
    fn a_playback_id_is_read_out_of_cmcd() {
        assert_eq!(
            sid("bl=2000,sid=\"6e2fb550-c457-11e9-bb97-0800200c9a66\",mtp=1").as_deref(),
            Some("6e2fb550-c457-11e9-bb97-0800200c9a66")
        );
        assert_eq!(sid("bl=2000"), None);
    }
}

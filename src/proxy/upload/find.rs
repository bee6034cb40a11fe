//! Which upload a request belongs to, and whose it is.

use std::sync::Arc;

use http::header::USER_AGENT;

use crate::proxy::request::{Admitted, Proof, Routed};
use crate::proxy::{ticket, verify_token};
use crate::session::{Key, Keys, Session};
use crate::token::{NoGeo, Strip};
use crate::upload::{Kind, Owner, Parts, Upload};

/// The session of an upload under way that the very bytes of this request's token began, if it is for no other place and may
/// outlive its token by so much.
#[must_use]
pub fn goes_on(routed: &Routed) -> Option<Arc<Session>> {
    let kind = super::kind(routed)?;
    let state = &routed.request.state;
    let now = state.clock.now();
    let upload = known(routed, kind)?;
    let session = upload.session();
    let facts = routed.facts(&*state.geo);
    let may = session.ends > now && session.grant.covers(&facts, now).is_ok();
    if !may || state.revocations.is_revoked(&(&*session).into(), now) {
        return None;
    }
    state.metrics.uploads_outlived.with_label_values(&[routed.route.name.as_str()]).inc();
    Some(session)
}

/// The upload that the bytes of this request's token began.
pub(super) fn known(routed: &Routed, kind: Kind) -> Option<Arc<Upload>> {
    let uploads = &routed.request.state.uploads;
    let presented = presented(routed);
    match kind {
        Kind::Place => {
            let upload = uploads.at_place(&routed.route.name, &place(routed))?;
            presented.contains(&upload.owner.presented).then_some(upload)
        }
        Kind::Part(piece) if !piece.is_first() => presented.iter().find_map(|presented| {
            let owner = Owner { token: *presented, subject: None, presented: *presented };
            uploads.of_parts(&owner, parts(routed), piece).pop()
        }),
        _ => None,
    }
}

/// The tokens of the request by their bytes, good ones or not.
fn presented(routed: &Routed) -> Vec<Key> {
    let facts = routed.request.facts(routed.mount, &NoGeo);
    let found = routed.route.schemes.iter().filter_map(|scheme| scheme.scheme.present(&facts).ok().flatten());
    found.map(|presented| Owner::presented(&presented.token)).collect()
}

/// Whose the request is.
pub(super) fn owner(admitted: &Admitted, kind: Kind) -> Owner {
    let routed = &admitted.routed;
    match &admitted.proof {
        Proof::Token(verdict) => {
            let keys = Keys::of(&routed.route.name, &verdict.scheme, verdict.token(), &verdict.grant);
            Owner { token: keys.token, subject: keys.subject, presented: Owner::presented(verdict.token()) }
        }
        Proof::Session { session, .. } => match known(routed, kind) {
            Some(upload) => upload.owner,
            None => Owner { token: session.keys.token, subject: session.keys.subject, presented: session.keys.token },
        },
        // Without tokens, who comes from one network counts as one.
        Proof::Public | Proof::Shadow { .. } | Proof::Ticket { .. } => {
            let network = ticket::network(routed);
            Owner { token: network, subject: None, presented: network }
        }
    }
}

/// What tells the recorder's parts from those of others.
pub(super) fn parts(routed: &Routed) -> Parts<'_> {
    let headers = &routed.request.head.headers;
    let said = headers.get("av-origin-client").or_else(|| headers.get(USER_AGENT)).and_then(|value| value.to_str().ok());
    Parts {
        route: &routed.route.name,
        path: routed.request.settled.path.raw(),
        network: ticket::network(routed),
        client: said.unwrap_or_default(),
    }
}

/// The place that a request is about: its path, and its query without tokens. A mapped address is its ticket.
pub(super) fn place(routed: &Routed) -> String {
    if let Some(ticket) = &routed.mapped {
        return mapped(ticket);
    }
    let path = routed.ticketed.as_ref().map_or_else(|| routed.request.settled.path.raw(), |(came, _)| came);
    place_of(path, routed.request.head.uri.query(), &verify_token::token_places(routed))
}

/// A place that a mapping ticket leads to. No path begins so.
pub(super) fn mapped(ticket: &str) -> String {
    format!("~{ticket}")
}

/// The same of any path and query.
pub(super) fn place_of(path: &str, query: Option<&str>, strip: &[Strip]) -> String {
    let taken = |name: &str| strip.iter().any(|strip| matches!(strip, Strip::Query(taken) if taken == name));
    match query.and_then(|query| crate::query::without(query, taken)) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

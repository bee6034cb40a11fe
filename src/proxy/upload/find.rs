//! Which upload a request belongs to, and whose it is.

use std::collections::VecDeque;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, USER_AGENT};

use super::body::VIDEO_ID;
use crate::form::Boundary;
use crate::form::multipart::Multipart;
use crate::proxy::request::{Admitted, Proof, Request, Routed};
use crate::proxy::{Error, ticket, verify_token};
use crate::session::{Key, Keys, Session};
use crate::token::{Binding, NoGeo, RequestFacts, Strip};
use crate::upload::{Kind, Owner, Parts, Piece, Upload};

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
    let may = session.ends > now && session.grant.covers(&facts, now).is_ok() && is_sealed_for(routed, &session, &facts);
    if !may || state.revocations.is_revoked(&(&*session).into(), now) {
        return None;
    }
    state.metrics.uploads_outlived.with_label_values(&[routed.route.name.as_str()]).inc();
    Some(session)
}

/// Whether the caller is whom the token was sealed for, where it was: only its scheme can tell. Rules of other schemes are on the
/// URL, and the upload is known by its own place.
fn is_sealed_for(routed: &Routed, session: &Session, facts: &RequestFacts<'_>) -> bool {
    let sealed = session.grant.bindings.iter().any(|binding| matches!(binding, Binding::Sealed(_)));
    let mut schemes = routed.route.schemes.iter().filter(|named| named.name == session.scheme);
    !sealed || schemes.any(|named| named.scheme.fits(&session.grant, facts).is_ok())
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
        // Whoever has the address of an upload goes on with it.
        Proof::Address { .. } => {
            let begun = routed.request.state.uploads.at_place(&routed.route.name, &place(routed));
            begun.map_or_else(|| by_network(routed), |upload| upload.owner)
        }
        Proof::Public | Proof::Shadow { .. } | Proof::Ticket { .. } => by_network(routed),
    }
}

/// Without tokens, who comes from one network counts as one.
fn by_network(routed: &Routed) -> Owner {
    let network = ticket::network(routed);
    Owner { token: network, subject: None, presented: network }
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

/// Longest beginning of a form that is waited for to know whose part it is.
const LONGEST_LOOK: usize = 64 * 1024;

/// Which of several uploads of one recorder a part is of, where they go with values of their own: those are put on the head, so that
/// the form's beginning has to tell.
///
/// # Errors
/// [`Error::UploadUnclear`] when it does not; [`Error::BodyTimeout`] and [`Error::BodyBroken`].
pub(super) async fn told_apart(request: &mut Request, mut found: Vec<Arc<Upload>>, piece: Piece) -> Result<Vec<Arc<Upload>>, Error> {
    if found.len() < 2 || !found.iter().any(|upload| upload.is_bound()) {
        return Ok(found);
    }
    let said = request.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(Ok(boundary)) = Boundary::of(said) else { return Err(Error::UploadUnclear) };
    let mut form = Multipart::looking(&boundary).wanting(&[VIDEO_ID]);
    let (mut passed, mut seen) = (VecDeque::new(), 0);
    let looking = request.body.peek(|data| {
        seen += data.len();
        passed.clear();
        form.push(data.clone(), &mut passed).is_err() || seen > LONGEST_LOOK || form.parts().iter().any(|part| part.filename.is_some())
    });
    let looked = tokio::time::timeout(request.state.limits.body_silence.0, looking).await;
    looked.map_err(|_| Error::BodyTimeout)?.map_err(|_| Error::BodyBroken)?;
    let file = form.parts().iter().find_map(|part| part.filename.as_deref());
    let video = form.parts().iter().find(|part| part.name == VIDEO_ID).and_then(|part| part.value.as_deref());
    found.retain(|upload| match video {
        Some(id) => upload.video().is_some_and(|own| own.as_bytes() == id),
        None => file.is_none_or(|file| upload.file().is_none_or(|own| own == file)),
    });
    if found.len() > 1 {
        found.retain(|upload| upload.expects(piece));
    }
    if found.len() == 1 { Ok(found) } else { Err(Error::UploadUnclear) }
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

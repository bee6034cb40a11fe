//! A playlist on its way to the caller: read whole, links rewritten, sent with its own length and tag.

use std::sync::Arc;

use aws_lc_rs::digest;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};

use crate::clock::UnixTime;
use crate::manifest::{self, Absolute, Kind, Limits, ManifestFault, Mode, Resolver};
use crate::proxy::request::Admitted;
use crate::proxy::{Body, Error};
use crate::session::{Propagation, Session};

/// What is to be done with the answer, if it is a playlist.
pub(super) struct Plan {
    resolver: Resolver,
    session: Arc<Session>,
    now: UnixTime,
    path: String,
    head_only: bool,
    /// The caller's own condition, which is answered here: the origin knows another body.
    if_none_match: Option<HeaderValue>,
    rewrites_all: bool,
}

impl Plan {
    /// A plan for a request, and the request made ready for it. `None` for cookies, which leave playlists alone.
    pub(super) fn new(admitted: &mut Admitted, session: Arc<Session>) -> Option<Self> {
        let resolver = resolver(admitted, &session)?;
        let rewrites_all = admitted.routed.route.session.as_ref()?.config.propagation == Propagation::Query;
        let request = &mut admitted.routed.request;
        let path = request.settled.path.decoded().to_owned();
        let head_only = request.head.method == Method::HEAD;
        let mut if_none_match = None;
        if manifest::kind_of(None, &path).is_some() {
            let headers = &mut request.head.headers;
            if_none_match = headers.remove(IF_NONE_MATCH);
            for name in [RANGE, IF_RANGE, IF_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
                headers.remove(name);
            }
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let now = request.state.clock.now();
        Some(Self { resolver, session, now, path, head_only, if_none_match, rewrites_all })
    }

    /// The answer, rewritten where it is a playlist.
    ///
    /// # Errors
    /// [`Error::PlaylistBroken`] when it is one that cannot be read.
    pub(super) async fn apply(self, response: Response<Body>) -> Result<Response<Body>, Error> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(kind) = manifest::kind_of(kind, &self.path).filter(|_| response.status() == StatusCode::OK) else { return Ok(response) };
        if self.head_only {
            return Ok(self.head(response));
        }
        let (mut head, body) = response.into_parts();
        let limits = Limits::default();
        let body = Limited::new(body, limits.input).collect().await.map_err(|_| Error::PlaylistBroken)?.to_bytes();
        let plain = match head.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) {
            None | Some("identity") => None,
            Some(encoding) => Some(manifest::encoding::decode(&body, encoding, limits.input).map_err(|_| Error::PlaylistBroken)?),
        };
        let text = plain.as_deref().unwrap_or(&body);
        let rewritten = match self.rewrite(kind, text, limits)? {
            Some(rewritten) => rewritten,
            // As it came: encoded, with its own tag.
            None => return Ok(conditional(Response::from_parts(head, Body::full(body)), self.if_none_match.as_ref())),
        };
        own_headers(&mut head.headers, &rewritten);
        Ok(conditional(Response::from_parts(head, Body::full(rewritten)), self.if_none_match.as_ref()))
    }

    /// The new text; `None` when nothing changes.
    fn rewrite(&self, kind: Kind, text: &[u8], limits: Limits) -> Result<Option<Vec<u8>>, Error> {
        match manifest::rewrite(kind, text, &self.resolver, limits) {
            Ok(rewritten) => {
                self.session.follow(&rewritten.facts, self.now);
                Ok((rewritten.changed > 0).then(|| rewritten.body.into_owned()))
            }
            // A file that only has the name of a playlist is none of our business.
            Err(ManifestFault::NotAManifest) => Ok(None),
            Err(fault) => {
                tracing::warn!(%fault, path = %self.path, "playlist cannot be rewritten");
                Err(Error::PlaylistBroken)
            }
        }
    }

    /// The length and tag of a body that was not read cannot be told (RFC 9110 §9.3.2).
    fn head(&self, mut response: Response<Body>) -> Response<Body> {
        if self.rewrites_all {
            for name in [CONTENT_LENGTH, ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
                response.headers_mut().remove(name);
            }
        }
        response
    }
}

fn resolver(admitted: &Admitted, session: &Session) -> Option<Resolver> {
    let routed = &admitted.routed;
    let of_route = routed.route.session.as_ref()?;
    let ticket = super::ticket(admitted, session);
    let mode = match of_route.config.propagation {
        Propagation::Path => Mode::Path { component: routed.ticketed.as_ref()?.1.clone(), marker: of_route.marker.clone() },
        Propagation::Query => Mode::Query { name: of_route.config.parameter.clone(), ticket },
        Propagation::Cookie | Propagation::Inherit | Propagation::None => return None,
    };
    let settled = &routed.request.settled;
    let scheme = if settled.https { "https" } else { "http" };
    // Some DASH clients resolve segments against the address before the redirect, where there is no
    // ticket. Judged from there, every link of an MPD is written out under the ticket.
    let is_dash = manifest::kind_of(None, settled.path.decoded()) == Some(Kind::Dash);
    let raw = routed.ticketed.as_ref().filter(|_| !is_dash).map_or_else(|| settled.path.raw(), |(came, _)| came);
    let document = Absolute::parse(&format!("{scheme}://{}{raw}", settled.authority))?;
    let mount = settled.path.raw().get(..routed.mount).unwrap_or("");
    let resolver = Resolver::new(document, mount, mode).allow(of_route.hosts.clone()).leave(of_route.config.leave.clone());
    Some(match &routed.route.rewrite_prefix {
        Some(prefix) => resolver.origin_prefix(prefix),
        None => resolver,
    })
}

/// The fields that told of the body as the origin had it.
fn own_headers(headers: &mut HeaderMap, body: &[u8]) {
    for name in [CONTENT_ENCODING, CONTENT_LENGTH, LAST_MODIFIED, ACCEPT_RANGES, ETAG] {
        headers.remove(name);
    }
    let hash = digest::digest(&digest::SHA256, body);
    let tag: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"tg-{tag}\"")) {
        headers.insert(ETAG, tag);
    }
}

/// RFC 9110 §13.1.2: a 304 when the caller has this body already.
fn conditional(mut response: Response<Body>, condition: Option<&HeaderValue>) -> Response<Body> {
    let matches = |condition: &HeaderValue| {
        let (Ok(list), Some(tag)) = (condition.to_str(), response.headers().get(ETAG).and_then(|tag| tag.to_str().ok())) else {
            return false;
        };
        let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        list.trim() == "*" || list.split(',').any(|one| plain(one) == plain(tag))
    };
    if condition.is_some_and(matches) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

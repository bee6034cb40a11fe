//! The scheme `apivideo-private`: api.video's private videos, with private tokens given out by this gateway.
//!
//! A private token stands in the path (`/vod/{video}/token/{token}/…`, live `/private/{token}/{stream}.m3u8`) or, for
//! the player page, in the query. It is good for one use; a session token beside it (`avh`, or the header
//! `X-Token-Session` of the Android player) opens the same video for 24 hours more. Rules after the pages
//! "Private videos" and "Private video sessions"; they answer a spent token with 404.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HeaderName;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::apivideo_upload::{is_id, problem};
use super::{Due, Reply, Scheme, SignError};
use crate::clock::UnixTime;
use crate::path;
use crate::token::issued::PrivateToken;
use crate::token::{
    Denial, Details, Grant, Issue, Issued, Kind, PathRule, Presented, Renewal, RenewalCarrier, Renewed, RequestFacts, Scope, Strip, Where,
    Window, carrier,
};

/// api.video private videos: one-time tokens of our own in the path, then session tokens.
///
/// ```toml
/// [schemes.private]
/// type = "apivideo-private"
/// ```
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Only tokens of this account. Unset: of every account.
    #[serde(default)]
    pub account: Option<String>,
}

/// Longest text that is looked up: the vendor's are UUIDs.
const MAX: usize = 64;
/// What stands before the token of a live stream.
const LIVE: &str = "private";
/// The query parameter of session tokens.
const SESSION: &str = "avh";
/// The header of session tokens, asked and answered (Android player, older players).
const HEADER: HeaderName = HeaderName::from_static("x-token-session");

/// The scheme with what it looks tokens up in.
#[derive(Debug)]
pub struct ApivideoPrivate {
    config: Config,
    issued: Arc<dyn Issued>,
}

/// What is kept of an opened token: its record, and whether it came without a session.
struct Opened {
    record: Arc<Issue>,
    begins: bool,
}

/// A private token in a request.
struct Place<'r> {
    token: Cow<'r, str>,
    video: &'r str,
    strip: Vec<Strip>,
    /// The folder of the video, where there is one.
    folder: Option<String>,
    /// Whether this asks for a session token.
    asks_session: bool,
}

impl ApivideoPrivate {
    /// Takes its config and where tokens are looked up.
    #[must_use]
    pub fn new(config: &Config, issued: Arc<dyn Issued>) -> Self {
        Self { config: config.clone(), issued }
    }

    fn record(&self, token: &str) -> Option<Arc<Issue>> {
        let issue = self.issued.find(Kind::PrivateToken, token).filter(|_| is_id(token, MAX))?;
        let ours = self.config.account.as_ref().is_none_or(|account| account == issue.account());
        ours.then_some(issue)
    }
}

fn private(issue: &Issue) -> Option<&PrivateToken> {
    match issue {
        Issue::PrivateToken(token) => Some(token),
        _ => None,
    }
}

/// The place of a token, by where the vendor's players put it.
fn place<'r>(facts: &RequestFacts<'r>) -> Result<Option<Place<'r>>, Denial> {
    let below = facts.below_mount().strip_prefix('/').unwrap_or_default();
    let segments: Vec<&str> = below.split('/').collect();
    let at = |index: usize| segments.get(index).copied().filter(|segment| !segment.is_empty());
    let strip = |first: usize| vec![Strip::Segment(first), Strip::Segment(first + 1)];
    if let Some(index) = segments.iter().position(|segment| *segment == "token").filter(|index| *index > 0)
        && let (Some(video), Some(token)) = (at(index - 1), at(index + 1))
    {
        let asks_session = segments.len() == index + 3 && at(index + 2) == Some("session");
        let folder = folder(facts, index - 1);
        return Ok(Some(Place { token: token.into(), video, strip: strip(index), folder, asks_session }));
    }
    let word = segments.iter().position(|segment| *segment == LIVE);
    if let Some(index) = word.map(|index| index + 1).or_else(|| is_below(facts, LIVE).then_some(0))
        && let (Some(token), Some(stream)) = (at(index), at(index + 1))
    {
        let asks_session = segments.len() == index + 3 && at(index + 2) == Some("session");
        let video = stream.split_once('.').map_or(stream, |(id, _)| id);
        let strip = word.into_iter().chain([index]).map(Strip::Segment).collect();
        return Ok(Some(Place { token: token.into(), video, strip, folder: None, asks_session }));
    }
    let Some(found) = carrier::query_parameter(facts, "token")?.filter(|presented| !presented.token.is_empty()) else { return Ok(None) };
    let last = segments.iter().rev().find(|segment| !segment.is_empty()).copied().unwrap_or_default();
    Ok(Some(Place { token: found.token, video: last, strip: found.strip, folder: None, asks_session: false }))
}

/// Whether the route's own prefix ends in this segment.
fn is_below(facts: &RequestFacts<'_>, word: &str) -> bool {
    facts.path.raw()[..facts.mount].rsplit('/').next() == Some(word)
}

/// The decoded path up to the segment with this index below the route's prefix.
fn folder(facts: &RequestFacts<'_>, index: usize) -> Option<String> {
    let below = facts.below_mount();
    let end = below.match_indices('/').nth(index + 1).map_or(below.len(), |(at, _)| at);
    path::percent_decode(&facts.path.raw()[..facts.mount + end])
}

/// The session token of a request: of query and header, both may say it, but not two.
fn session<'r>(facts: &RequestFacts<'r>) -> Result<Option<Cow<'r, str>>, Denial> {
    let by_query = carrier::query_parameter(facts, SESSION)?.map(|presented| presented.token).filter(|text| !text.is_empty());
    let by_header = facts.single_header(HEADER.as_str())?.filter(|text| !text.is_empty());
    match (by_query, by_header) {
        (Some(one), Some(other)) if one != other => Err(Denial::Ambiguous),
        (Some(one), _) => Ok(Some(one)),
        (None, other) => Ok(other.map(Cow::from)),
    }
}

impl Scheme for ApivideoPrivate {
    fn kind(&self) -> &'static str {
        "apivideo-private"
    }

    fn reads(&self, place: Where<'_>) -> bool {
        match place {
            Where::Query(name) => name == SESSION || name == "token",
            Where::Header(name) => *name == HEADER,
            _ => false,
        }
    }

    fn present<'r>(&self, facts: &RequestFacts<'r>) -> Result<Option<Presented<'r>>, Denial> {
        let Some(Place { token, mut strip, .. }) = place(facts)? else { return Ok(None) };
        strip.push(Strip::Query(SESSION.to_owned()));
        strip.push(Strip::Header(HEADER));
        Ok(Some(Presented { token, strip }))
    }

    fn open(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>) -> Result<Grant, Denial> {
        let issue = self.record(&presented.token).ok_or(Denial::NotIssued)?;
        let record = private(&issue).ok_or(Denial::NotIssued)?;
        let resource = Some(record.video.as_str().into());
        let folder = place(facts)?.and_then(|place| place.folder);
        let scope = folder.map_or(Scope::Route, |folder| Scope::Paths(vec![PathRule::Under(folder)]));
        let base = Grant { token_id: Some((&*presented.token).into()), resource, scope, ..Grant::default() };
        if let Some(session) = session(facts)? {
            let until = record.session_until(&session).ok_or(Denial::NotIssued)?;
            let details = Details::new(Opened { record: issue.clone(), begins: false });
            return Ok(Grant { window: Window::until(until), details, ..base });
        }
        if record.spent {
            return Err(Denial::Replayed);
        }
        // Players that cannot ask for a session token read one from the answer's header.
        let by = RenewalCarrier::Header { name: HEADER, parameters: Vec::new() };
        let renewal = Some(Renewal { within: None, seconds: PrivateToken::SESSION, by });
        let details = Details::new(Opened { record: issue.clone(), begins: true });
        Ok(Grant { window: Window::until(record.until), single_use: true, renewal, details, ..base })
    }

    fn remembers(&self) -> bool {
        false
    }

    fn looks_up(&self) -> bool {
        true
    }

    fn fits(&self, grant: &Grant, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        if !matches!(*facts.method, Method::GET | Method::HEAD) {
            return Err(Denial::Method);
        }
        let id = grant.token_id.as_deref().unwrap_or_default();
        self.issued.find(Kind::PrivateToken, id).ok_or(Denial::Revoked)?;
        // Children of a session come without the token; where a video stands in their path, it must be this one.
        let video = grant.resource.as_deref();
        match place(facts)? {
            None => names(facts, video.unwrap_or_default()),
            Some(place) if Some(place.video) == video => Ok(()),
            // Below the word alone, a stream's folder stands where its token would.
            Some(place) if place.folder.is_none() && is_below(facts, LIVE) && Some(&*place.token) == video => Ok(()),
            Some(_) => Err(Denial::Path),
        }
    }

    fn spend(&self, grant: &Grant) {
        self.issued.spend(Kind::PrivateToken, grant.token_id.as_deref().unwrap_or_default());
    }

    fn reply(&self, grant: Option<&Grant>, facts: &RequestFacts<'_>, now: UnixTime) -> Option<Reply> {
        let opened = grant?.details.get::<Opened>()?;
        if !place(facts).ok().flatten()?.asks_session {
            return None;
        }
        let session = private(&opened.record)?.session(now.plus(PrivateToken::SESSION));
        Some(Reply { status: StatusCode::OK, kind: "application/json", body: json!({ "session_token": session }).to_string() })
    }

    fn renew(&self, due: &Due<'_>) -> Result<Option<Renewed>, SignError> {
        let Due { grant, now, .. } = *due;
        let Some(opened) = grant.details.get::<Opened>().filter(|opened| opened.begins) else { return Ok(None) };
        let until = now.plus(PrivateToken::SESSION);
        let Some(token) = private(&opened.record).map(|record| record.session(until)) else { return Ok(None) };
        let headers = vec![(HEADER, token.clone())];
        Ok(Some(Renewed { token, cookies: Vec::new(), headers, redirect: None, until }))
    }

    fn refusal(&self, denial: Denial) -> Option<Reply> {
        // "The same URL in another browser fails" with 404, which does not tell that the video is there.
        let title = "The requested resource was not found.";
        (denial != Denial::Duplicate).then(|| problem(StatusCode::NOT_FOUND, ("resource-not-found", title), "videoId"))
    }
}

/// Whether the path goes through the video's own segment.
fn names(facts: &RequestFacts<'_>, video: &str) -> Result<(), Denial> {
    let found = facts.path.segments().any(|segment| segment.split('.').next() == Some(video));
    if found { Ok(()) } else { Err(Denial::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::issued::FixedIssued;
    use crate::token::scheme::testkit::{Judged, NOW, Request, decide, route};

    fn record(spent: bool) -> PrivateToken {
        let (account, video, secret) = ("ours".into(), "viABC".into(), "secret".into());
        PrivateToken { account, video, secret, created: UnixTime(NOW), until: UnixTime(NOW + 3600), spent }
    }

    fn scheme() -> Arc<dyn Scheme> {
        let issued = FixedIssued::default().with("p1", Issue::PrivateToken(record(false))).with("p2", Issue::PrivateToken(record(true)));
        route(ApivideoPrivate::new(&Config::default(), Arc::new(issued)))
    }

    fn get(target: &str, now: i64) -> Result<Judged, Denial> {
        decide(&scheme(), &Request::get(target), now)
    }

    #[test]
    fn a_token_is_found_where_players_put_it() {
        for target in ["/vod/viABC/token/p1/hls/manifest.m3u8", "/private/p1/viABC.m3u8", "/vod/viABC?token=p1"] {
            let judged = get(target, NOW).expect(target);
            assert!(judged.grant.single_use, "{target}");
        }
        let judged = get("/vod/viABC/token/p1/mp4/source.mp4", NOW).expect("good");
        assert_eq!(judged.strip[..2], [Strip::Segment(2), Strip::Segment(3)]);
        // A route of its own for live streams begins with the word.
        let live = |target: &str| Request { mount: "/private".len(), ..Request::get(target) };
        let judged = decide(&scheme(), &live("/private/p1/viABC.m3u8"), NOW).expect("good");
        assert_eq!(judged.strip[..1], [Strip::Segment(0)]);
        for (child, fits) in [
            ("/private/viABC/480p.m3u8", Ok(())),
            ("/private/viOTHER/480p.m3u8", Err(Denial::Path)),
            ("/private/viOTHER/token/viABC/a.ts", Err(Denial::Path)),
        ] {
            assert_eq!(scheme().fits(&judged.grant, &live(child).facts()), fits, "{child}");
        }
        for (target, denial) in [
            ("/vod/viABC/hls/manifest.m3u8", Denial::Missing),
            ("/vod/viOTHER/token/p1/hls/manifest.m3u8", Denial::Path),
            ("/vod/viABC/token/p2/hls/manifest.m3u8", Denial::Replayed),
            ("/vod/viABC/token/p3/hls/manifest.m3u8", Denial::NotIssued),
            ("/vod/viABC/token/p1/thumbnail.jpg?avh=forged", Denial::NotIssued),
        ] {
            assert_eq!(get(target, NOW).map(|_| ()), Err(denial), "{target}");
        }
        assert_eq!(get("/vod/viABC/token/p1/a.mp4", NOW + 3600).map(|_| ()), Err(Denial::Expired));
    }

    #[test]
    fn a_session_token_opens_a_spent_token_for_a_day() {
        let session = record(false).session(UnixTime(NOW + 86_400));
        let target = format!("/vod/viABC/token/p2/hls/480p/seg1.ts?avh={session}");
        assert!(!get(&target, NOW + 86_399).expect("good").grant.single_use);
        assert_eq!(get(&target, NOW + 86_400).map(|_| ()), Err(Denial::Expired));
        let by_header = Request::get("/vod/viABC/token/p2/mp4/source.mp4").with("x-token-session", &session);
        assert!(decide(&scheme(), &by_header, NOW).is_ok());
        let two = Request::get(&target).with("x-token-session", "other");
        assert_eq!(decide(&scheme(), &two, NOW).map(|_| ()), Err(Denial::Ambiguous));
    }

    #[test]
    fn sessions_are_given_for_the_asking() {
        for target in ["/vod/viABC/token/p1/session", "/private/p1/viABC/session"] {
            let request = Request::get(target);
            let judged = decide(&scheme(), &request, NOW).expect("good");
            assert!(judged.grant.single_use);
            let reply = scheme().reply(Some(&judged.grant), &request.facts(), UnixTime(NOW)).expect("a reply");
            let said: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
            let session = said["session_token"].as_str().expect("text");
            assert_eq!(record(false).session_until(session), Some(UnixTime(NOW + 86_400)));
        }
        let judged = get("/vod/viABC/token/p1/session", NOW).expect("good");
        let other = Request::get("/vod/viABC/token/p1/session.mp4");
        assert_eq!(scheme().reply(Some(&judged.grant), &other.facts(), UnixTime(NOW)), None);
    }
}

//! What a verified token allows.
//!
//! A [`Grant`] is all that is known of a token above its scheme. It can be kept and used again for
//! as long as its bytes stay the same, because [`Grant::check`] asks everything that depends on the
//! request or on the time anew, on every request.

mod written;

use std::sync::Arc;

use http::Method;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::access::{self, AccessRule, Country};
use super::browser::{Referrers, UserAgents};
use super::url_rule::{self, UrlRule};
use super::{Denial, Presented, Renewal, RequestFacts};
use crate::clock::UnixTime;
use crate::path;

/// What a verified token allows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Grant {
    /// Who holds it (`sub` of a user token; a device).
    pub subject: Option<Arc<str>>,
    /// The device it was made for, where a claim says so.
    pub device: Option<Arc<str>>,
    /// Which asset it is for: a video uid, a playback id.
    pub resource: Option<Arc<str>>,
    /// The token's own id (`jti`), for revocation and one-time use.
    pub token_id: Option<Arc<str>>,
    /// The key that signed it.
    pub key_id: Option<Arc<str>>,
    /// When it is good.
    pub window: Window,
    /// Which paths it opens.
    pub scope: Scope,
    /// To whom it is bound.
    pub bindings: Vec<Binding>,
    /// How many viewings it allows, and how long.
    pub session: SessionTerms,
    /// What it lets be uploaded, where it lets anything.
    #[serde(default)]
    pub upload: UploadTerms,
    /// What kind of resource it opens, as the scheme words it (Mux `aud`); `None` when it has no kinds.
    pub kind: Option<Arc<str>>,
    /// Whether downloads are allowed, where the scheme has a word on it.
    pub downloads: Option<bool>,
    /// Bytes a second at which answers shall be sent, where the token limits it.
    pub pace: Option<u64>,
    /// Parameters that the token carries for the origin, added to the upstream query.
    pub upstream_query: Vec<(String, String)>,
    /// Whether the token is good for one use; [`Grant::token_id`] then names it.
    pub single_use: bool,
    /// The version of the subject's viewing, for revocation of every version up to one.
    pub session_version: Option<u64>,
    /// The token's own word on its renewal. Stays with the gateway that saw the token.
    #[serde(skip)]
    pub renewal: Option<Renewal>,
    /// What the scheme keeps for its own questions to each request.
    #[serde(serialize_with = "written::no_details", skip_deserializing)]
    pub details: Details,
    /// Sets of further grants of which some, or none, must hold as well.
    #[serde(serialize_with = "written::no_combinations", skip_deserializing)]
    pub combined: Vec<Combination>,
    /// What the token wants answered when one of its rules does not hold. Stays with the gateway that saw the token.
    #[serde(skip)]
    pub answers: Vec<Answer>,
}

/// Grants inside a grant (CTA-5007 `or` and `nor`).
#[derive(Debug, Clone)]
pub enum Combination {
    /// At least one of them must hold.
    AnyOf(Vec<Grant>),
    /// None of them may hold.
    NoneOf(Vec<Grant>),
}

impl Combination {
    fn check(&self, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(), Denial> {
        match self {
            Self::AnyOf(grants) => {
                let mut last = Denial::Claim;
                for grant in grants {
                    match grant.check(facts, now) {
                        Ok(()) => return Ok(()),
                        Err(denial) => last = denial,
                    }
                }
                Err(last)
            }
            Self::NoneOf(grants) if grants.iter().any(|grant| grant.check(facts, now).is_ok()) => Err(Denial::Claim),
            Self::NoneOf(_) => Ok(()),
        }
    }
}

/// A token's own answer to a refusal (CTA-5007 `catif`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The refusals it is for.
    pub on: Vec<Denial>,
    /// The status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: Vec<(http::HeaderName, String)>,
}

/// A rule of a scheme's own on the request.
pub trait Condition: std::fmt::Debug + Send + Sync {
    /// Whether the request keeps it.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial>;
}

/// What a scheme has worked out while opening a token and wants back in
/// [`Scheme::fits`](super::Scheme::fits). Opaque to everyone else.
#[derive(Clone, Default)]
pub struct Details(Option<Arc<dyn std::any::Any + Send + Sync>>);

impl Details {
    fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps `details`.
    #[must_use]
    pub fn new<T: std::any::Any + Send + Sync>(details: T) -> Self {
        Self(Some(Arc::new(details)))
    }

    /// What was kept, if it is a `T`.
    #[must_use]
    pub fn get<T: std::any::Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Details {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Details(..)" } else { "Details" })
    }
}

/// When a token is good: from its first second up to, not including, its end. Leeway and the
/// scheme's own boundary ("good until" or "good through") are already in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first second that is let in.
    pub from: UnixTime,
    /// The first second that is refused again.
    pub until: UnixTime,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: UnixTime::MIN, until: UnixTime::MAX }
    }
}

impl Window {
    /// Refused at `end` and later.
    #[must_use]
    pub fn until(end: UnixTime) -> Self {
        Self { from: UnixTime::MIN, until: end }
    }

    /// The window wider by `seconds` at both ends, for clocks that differ.
    #[must_use]
    pub fn with_leeway(self, seconds: i64) -> Self {
        Self { from: self.from.plus(seconds.saturating_neg()), until: self.until.plus(seconds) }
    }

    /// Whether `now` lies inside.
    ///
    /// # Errors
    /// [`Denial::NotYetValid`] before it, [`Denial::Expired`] from its end on.
    pub fn check(&self, now: UnixTime) -> Result<(), Denial> {
        if now >= self.until {
            Err(Denial::Expired)
        } else if now < self.from {
            Err(Denial::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Which paths a grant opens.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum Scope {
    /// Every path of the route; the scheme has tied the token to the request by other means.
    #[default]
    Route,
    /// Paths that match one of these rules; an empty list opens nothing.
    Paths(Vec<PathRule>),
    /// The same, matched on the path without the segment that begins with this text: for tokens that
    /// ride in a segment of their own (`/hdntl=…/vid1/seg1.ts`) but were made for the path without it.
    Beside(String, Vec<PathRule>),
    /// URLs that match one of these rules; an empty list opens nothing.
    Urls(Vec<UrlRule>),
}

/// One rule on the canonical, decoded path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathRule {
    /// This path only.
    Exact(String),
    /// This path and what is below it, on a segment boundary.
    Under(String),
    /// A glob: `*` stands for any characters but `/`, `**` for any characters, `?` for one but `/`.
    Glob(String),
    /// A pattern as the CDN vendors have it: `*` stands for any characters, slashes too; `?` for any one.
    Wild(String),
}

impl PathRule {
    /// Whether the decoded `path` fits.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Under(prefix) => path::is_under(path, prefix),
            Self::Glob(glob) => glob_matches(glob.as_bytes(), path.as_bytes()),
            Self::Wild(pattern) => url_rule::wildcard(pattern, path),
        }
    }
}

/// To whom, or to what kind of request, a grant is bound. All must hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Binding {
    /// The viewer comes from one of these networks ([`RequestFacts::comes_from`]).
    Networks(Vec<IpNet>),
    /// The viewer's country is one of these; an unknown country is none of them.
    Countries(Vec<Country>),
    /// The viewer's country is known, and none of these.
    NotCountries(Vec<Country>),
    /// The request's method is one of these.
    Methods(#[serde(with = "written::methods")] Vec<Method>),
    /// The viewer's network is of one of these autonomous systems.
    Systems(Vec<u32>),
    /// The host asked for is one of these (lower case; `*.` stands for one or more labels).
    Hosts(Vec<String>),
    /// Cloudflare Stream's ordered rules.
    AccessRules(Vec<AccessRule>),
    /// A header has exactly this value.
    Header(#[serde(with = "written::header")] http::HeaderName, String),
    /// The referring page is one of these.
    Referrers(Arc<Referrers>),
    /// The program is not one of these.
    UserAgents(Arc<UserAgents>),
    /// The connection's application protocol has one of these ALPN ids; an unknown protocol has none.
    Protocols(Vec<String>),
    /// A MAC over attributes of the viewer. Whoever has its secret asks it, in [`Scheme::fits`](super::Scheme::fits).
    Sealed(Arc<str>),
    /// A rule of the scheme's own. It cannot be written down, and a grant that has one stays where it is.
    #[serde(skip)]
    Own(Arc<dyn Condition>),
}

impl Binding {
    /// Whether the request keeps it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let (holds, denial) = match self {
            Self::Networks(nets) => (facts.comes_from(nets), Denial::Address),
            Self::Countries(list) => (facts.country().is_some_and(|c| list.contains(&c)), Denial::Country),
            Self::NotCountries(list) => (facts.country().is_some_and(|c| !list.contains(&c)), Denial::Country),
            Self::Methods(methods) => (methods.contains(facts.method), Denial::Method),
            Self::Systems(list) => (facts.geo.asn(facts.client_ip).is_some_and(|asn| list.contains(&asn)), Denial::Address),
            Self::Hosts(hosts) => (hosts.iter().any(|host| host_matches(host, facts.host)), Denial::Host),
            Self::Referrers(referrers) => return referrers.check(facts),
            Self::UserAgents(agents) => return agents.check(facts),
            Self::AccessRules(rules) => return access::decide(rules, facts.client_ip, || facts.country()),
            Self::Protocols(list) => (facts.alpn.is_some_and(|alpn| list.iter().any(|have| have == alpn)), Denial::Protocol),
            Self::Sealed(_) => return Ok(()),
            Self::Own(condition) => return condition.check(facts),
            Self::Header(name, value) => (facts.single_header(name.as_str())?.is_some_and(|have| have == value), Denial::Header),
        };
        if holds { Ok(()) } else { Err(denial) }
    }
}

/// How many viewings a grant allows, and how long. `None` leaves it to the route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTerms {
    /// Sessions at the same time.
    pub concurrent: Option<u32>,
    /// Sessions over the token's whole life.
    pub total: Option<u32>,
    /// Seconds that one session may last.
    pub seconds: Option<u32>,
    /// Whether a viewer whose `seconds` are over gets no other session for the same token.
    #[serde(default)]
    pub once: bool,
}

/// What a grant lets be uploaded. Unset leaves it to the route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadTerms {
    /// Bytes of one upload, all its parts together.
    pub bytes: Option<u64>,
    /// Media types of files (`video/mp4`, `video/*`); empty: every type.
    pub content_types: Vec<String>,
}

impl Grant {
    /// Whether it is the same when it is written down and read again, for what another gateway decides by it.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        self.details.is_none() && self.combined.is_empty() && !self.bindings.iter().any(|binding| matches!(binding, Binding::Own(_)))
    }

    /// Asks everything that depends on the request or the time.
    ///
    /// # Errors
    /// The first [`Denial`] met: window, then scope, then bindings, then combinations.
    pub fn check(&self, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(), Denial> {
        self.window.check(now)?;
        self.covers(facts, now)
    }

    /// The same for the very request that the token came with: a token in the path is no part of the paths that it says.
    ///
    /// # Errors
    /// As [`Grant::check`], and as [`Presented::bare_path`].
    pub fn check_presented(&self, presented: &Presented<'_>, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(), Denial> {
        let path = if matches!(self.scope, Scope::Paths(_)) { presented.bare_path(facts)? } else { None };
        self.check(&RequestFacts { path: path.as_ref().unwrap_or(facts.path), ..*facts }, now)
    }

    /// Asks everything but the token's own window: what a session's children are asked.
    ///
    /// # Errors
    /// The first [`Denial`] met: scope, then bindings, then combinations.
    pub fn covers(&self, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(), Denial> {
        self.check_scope(facts)?;
        self.bindings.iter().try_for_each(|binding| binding.check(facts))?;
        self.combined.iter().try_for_each(|combination| combination.check(facts, now))
    }

    /// Whether the path of `facts` lies in its scope, whatever else it asks.
    #[must_use]
    pub fn reaches(&self, facts: &RequestFacts<'_>) -> bool {
        self.check_scope(facts).is_ok()
    }

    fn check_scope(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let any = |rules: &[PathRule], path: &str| rules.iter().any(|rule| rule.holds(path));
        let holds = match &self.scope {
            Scope::Route => true,
            Scope::Paths(rules) => any(rules, facts.path.decoded()),
            Scope::Beside(token, rules) => any(rules, &path::without_segment(facts.path.decoded(), token)),
            Scope::Urls(rules) => rules.iter().any(|rule| rule.holds(facts)),
        };
        if holds { Ok(()) } else { Err(Denial::Path) }
    }
}

/// Whether `host` is `pattern`, or below it when the pattern is `*.name` (one label or more; not the name itself).
#[must_use]
pub fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

/// Linear-time glob match: on a mismatch only the last star is tried again, one byte further.
#[must_use]
pub fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    // (position after the star in the glob, position in the text, star crosses slashes)
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match glob.get(g) {
            Some(b'*') if glob.get(g + 1) == Some(&b'*') => {
                g += 2;
                double = Some((g, t));
                single = None;
                continue;
            }
            Some(b'*') => {
                g += 1;
                single = Some((g, t));
                continue;
            }
            Some(b'?') if text.get(t).is_some_and(|b| *b != b'/') => {
                (g, t) = (g + 1, t + 1);
                continue;
            }
            Some(byte) if text.get(t) == Some(byte) => {
                (g, t) = (g + 1, t + 1);
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        // Mismatch: let the nearest star that may still grow swallow one byte more.
        if let Some((after, from)) = single
            && text.get(from).is_some_and(|b| *b != b'/')
        {
            single = Some((after, from + 1));
            (g, t) = (after, from + 1);
        } else if let Some((after, from)) = double
            && from < text.len()
        {
            single = None;
            double = Some((after, from + 1));
            (g, t) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_half_open() {
        let window = Window { from: UnixTime(10), until: UnixTime(20) };
        for (now, verdict) in
            [(9, Err(Denial::NotYetValid)), (10, Ok(())), (19, Ok(())), (20, Err(Denial::Expired)), (21, Err(Denial::Expired))]
        {
            assert_eq!(window.check(UnixTime(now)), verdict, "{now}");
        }
    }

    #[test]
    fn globs() {
        for (glob, text, fits) in [
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/a/**", "/a/b/c", true),
            ("/a/*.ts", "/a/x.ts", true),
            ("/a/*.ts", "/a/x.tsx", false),
            ("/**/seg_*.ts", "/v/1/seg_9.ts", true),
            ("/**/seg_*.ts", "/v/1/seg_9/x.ts", false),
            ("/?.ts", "/a.ts", true),
            ("/?.ts", "//.ts", false),
            ("**", "", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("/a**b*c", "/a/x/b1c2b3c", true),
        ] {
            assert_eq!(glob_matches(glob.as_bytes(), text.as_bytes()), fits, "{glob} {text}");
        }
    }

    #[test]
    fn wildcard_hosts_want_a_label() {
        assert!(host_matches("*.example.com", "a.example.com"));
        assert!(host_matches("*.example.com", "a.b.example.com"));
        assert!(!host_matches("*.example.com", "example.com"));
        assert!(!host_matches("*.example.com", ".example.com"));
        assert!(!host_matches("*.example.com", "badexample.com"));
        assert!(host_matches("example.com", "example.com"));
    }
}

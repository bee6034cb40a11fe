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
use super::{Denial, RequestFacts};
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
    /// What kind of resource it opens, as the scheme words it (Mux `aud`); `None` when it has no kinds.
    pub kind: Option<Arc<str>>,
    /// Whether downloads are allowed, where the scheme has a word on it.
    pub downloads: Option<bool>,
    /// Parameters that the token carries for the origin, added to the upstream query.
    pub upstream_query: Vec<(String, String)>,
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
}

impl PathRule {
    /// Whether the decoded `path` fits.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Under(prefix) => path::is_under(path, prefix),
            Self::Glob(glob) => glob_matches(glob.as_bytes(), path.as_bytes()),
        }
    }
}

/// To whom, or to what kind of request, a grant is bound. All must hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Binding {
    /// The viewer's address lies in one of these ranges.
    Networks(Vec<IpNet>),
    /// The viewer's country is one of these; an unknown country is none of them.
    Countries(Vec<Country>),
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
}

impl Binding {
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        let (holds, denial) = match self {
            Self::Networks(nets) => (access::contains(nets, facts.client_ip), Denial::Address),
            Self::Countries(list) => (facts.country().is_some_and(|c| list.contains(&c)), Denial::Country),
            Self::Methods(methods) => (methods.contains(facts.method), Denial::Method),
            Self::Systems(list) => (facts.geo.asn(facts.client_ip).is_some_and(|asn| list.contains(&asn)), Denial::Address),
            Self::Hosts(hosts) => (hosts.iter().any(|host| host_matches(host, facts.host)), Denial::Host),
            Self::Referrers(referrers) => return referrers.check(facts),
            Self::UserAgents(agents) => return agents.check(facts),
            Self::AccessRules(rules) => return access::decide(rules, facts.client_ip, || facts.country()),
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
}

impl Grant {
    /// Asks everything that depends on the request or the time.
    ///
    /// # Errors
    /// The first [`Denial`] met: window, then scope, then bindings.
    pub fn check(&self, facts: &RequestFacts<'_>, now: UnixTime) -> Result<(), Denial> {
        self.window.check(now)?;
        self.covers(facts)
    }

    /// Asks everything that depends on the request, whatever the time: what a session's children are asked.
    ///
    /// # Errors
    /// The first [`Denial`] met: scope, then bindings.
    pub fn covers(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        self.check_scope(facts)?;
        self.bindings.iter().try_for_each(|binding| binding.check(facts))
    }

    fn check_scope(&self, facts: &RequestFacts<'_>) -> Result<(), Denial> {
        match &self.scope {
            Scope::Route => Ok(()),
            Scope::Paths(rules) if rules.iter().any(|rule| rule.holds(facts.path.decoded())) => Ok(()),
            Scope::Paths(_) => Err(Denial::Path),
        }
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

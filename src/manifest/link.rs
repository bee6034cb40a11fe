//! The mapper that carries a session's ticket, and the one place that decides who may see it.
//!
//! A ticket goes on a link only when **every** address the link may resolve to is this gateway below the
//! route's prefix, or an allow-listed host, and never from https down to http. Anything two parsers may
//! read differently counts as somebody else's.

use std::borrow::Cow;

use super::uri::{Reference, host_and_port};
use super::{Absolute, Link, Links, Place};
use crate::query;

/// How the ticket travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// As the first path segment below the route's prefix. Links that stay below it by themselves are not touched.
    Path {
        /// The whole segment, such as `t~TICKET~`; URL-safe.
        component: String,
        /// How every ticket segment begins, such as `t~`: an older one is replaced. Empty: none is recognised.
        marker: String,
    },
    /// As a query parameter, at the end of the query; an older one of that name is taken out.
    Query {
        /// The parameter's name.
        name: String,
        /// Its value; encoded when written.
        ticket: String,
    },
}

/// A host that may see tickets: `cdn.example.com`, `*.example.com` (any depth below, not the name itself),
/// with `:port` where that is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    host: String,
    below: bool,
    port: Option<u16>,
}

impl HostRule {
    /// Reads a rule; `None` when it is no plain host name or address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let (host, port) = host_and_port(name)?;
        Some(Self { host, below, port })
    }

    /// Whether `address` is meant.
    #[must_use]
    pub fn allows(&self, address: &Absolute) -> bool {
        let host = if self.below {
            address.host().strip_suffix(self.host.as_str()).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
        } else {
            address.host() == self.host
        };
        host && self.port.map_or(address.has_default_port(), |port| port == address.port())
    }
}

/// Puts one session's ticket on the links of one playlist.
#[derive(Debug, Clone)]
pub struct Resolver {
    document: Absolute,
    mount: String,
    mode: Mode,
    allowed: Vec<HostRule>,
    origin_prefix: Option<String>,
    left_alone: Vec<Place>,
    /// `name=ticket` as written; empty in path mode.
    parameter: String,
    document_is_ours: bool,
    document_is_ticketed: bool,
}

impl Resolver {
    /// `document`: the playlist's address as the player sees it, ticket segment and all. `mount`: the
    /// route's raw path prefix, with or without a slash at its end.
    #[must_use]
    pub fn new(document: Absolute, mount: &str, mode: Mode) -> Self {
        let mount = mount.trim_end_matches('/').to_owned();
        let parameter = match &mode {
            Mode::Query { name, ticket } => format!("{}={}", query::encode(name), query::encode(ticket)),
            Mode::Path { .. } => String::new(),
        };
        let mut new = Self {
            document,
            mount,
            mode,
            allowed: Vec::new(),
            origin_prefix: None,
            left_alone: Vec::new(),
            parameter,
            document_is_ours: false,
            document_is_ticketed: false,
        };
        new.document_is_ours = new.below_mount(new.document.path()).is_some();
        new.document_is_ticketed = new.has_current_ticket(new.document.path());
        new
    }

    /// Hosts beside this gateway that take the same tickets. In path mode a link to one must lie below the same prefix.
    #[must_use]
    pub fn allow(mut self, hosts: Vec<HostRule>) -> Self {
        self.allowed = hosts;
        self
    }

    /// The path prefix that stands at the origin in place of the route's: a root-relative link that the
    /// origin wrote below it is moved below the route's. Unset: a link outside the route's prefix is left alone.
    #[must_use]
    pub fn origin_prefix(mut self, prefix: &str) -> Self {
        self.origin_prefix = Some(prefix.trim_end_matches('/').to_owned());
        self
    }

    /// Places whose links are left byte for byte.
    #[must_use]
    pub fn leave(mut self, places: Vec<Place>) -> Self {
        self.left_alone = places;
        self
    }

    /// The path below the mount, empty or from its `/`.
    fn below_mount<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.mount.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn has_current_ticket(&self, path: &str) -> bool {
        match (&self.mode, self.below_mount(path)) {
            (Mode::Path { component, .. }, Some(rest)) => {
                rest.strip_prefix('/').and_then(|rest| rest.strip_prefix(component.as_str())).is_some_and(|rest| rest.starts_with('/'))
            }
            _ => false,
        }
    }

    /// `path` without a ticket segment.
    fn without_ticket<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let Mode::Path { component, marker } = &self.mode else { return Cow::Borrowed(path) };
        let Some(below) = self.below_mount(path).and_then(|rest| rest.strip_prefix('/')) else { return Cow::Borrowed(path) };
        let Some((first, rest)) = below.split_once('/') else { return Cow::Borrowed(path) };
        if first == component || (!marker.is_empty() && first.starts_with(marker.as_str())) {
            Cow::Owned(format!("{}/{rest}", self.mount))
        } else {
            Cow::Borrowed(path)
        }
    }

    fn is_gateway(&self, address: &Absolute) -> bool {
        let same = address.is_https() == self.document.is_https() && address.port() == self.document.port();
        // The same name over TLS is the same gateway seen more safely.
        let upgraded = address.is_https() && !self.document.is_https() && address.has_default_port() && self.document.has_default_port();
        address.host() == self.document.host() && (same || upgraded)
    }

    fn is_allowed(&self, address: &Absolute) -> bool {
        let downgrade = self.document.is_https() && !address.is_https();
        !downgrade && self.allowed.iter().any(|rule| rule.allows(address))
    }

    /// Judges `reference` against one base.
    fn judge(&self, base: &Absolute, reference: &str) -> Verdict {
        // A reference means what it meant at the origin, where no ticket segment stands in the path.
        let moved = match self.without_ticket(base.path()) {
            Cow::Owned(path) => Some(base.with_path(path)),
            Cow::Borrowed(_) => None,
        };
        let Some(target) = moved.as_ref().unwrap_or(base).join(reference) else { return Verdict::Foreign };
        let gateway = self.is_gateway(&target);
        if !gateway && !self.is_allowed(&target) {
            return Verdict::Foreign;
        }
        let target_path = self.without_ticket(target.path());
        let seen = if moved.is_some() { base.join(reference) } else { None };
        let seen = seen.as_ref().unwrap_or(&target).path();
        let outside = if gateway { self.moved_from_origin(&target_path) } else { None };
        let mounted = match (self.below_mount(&target_path), outside) {
            (Some(_), _) => target_path,
            (None, Some(moved)) => Cow::Owned(moved),
            (None, None) => return self.outside(gateway, &target_path, seen),
        };
        let wanted = match &self.mode {
            Mode::Path { component, .. } => {
                let below = self.below_mount(&mounted).unwrap_or("");
                format!("{}/{component}{}", self.mount, if below.is_empty() { "/" } else { below })
            }
            Mode::Query { .. } => mounted.into_owned(),
        };
        Verdict::Ours { ticket: true, path: (wanted != seen).then_some(wanted) }
    }

    /// A link that leaves the route gets no ticket, but must not come to lie elsewhere for the ticket segment
    /// in front of it. An allow-listed host need not know the prefix in query mode.
    fn outside(&self, gateway: bool, path: &str, seen: &str) -> Verdict {
        let ticket = !gateway && matches!(self.mode, Mode::Query { .. });
        Verdict::Ours { ticket, path: (path != seen).then(|| path.to_owned()) }
    }

    fn moved_from_origin(&self, path: &str) -> Option<String> {
        let prefix = self.origin_prefix.as_deref()?;
        let rest = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{}{rest}", self.mount))
    }

    /// The verdict that holds for every base; alternatives that need different texts cannot share one.
    fn judge_all(&self, link: &Link<'_>) -> Verdict {
        if link.bases.is_empty() {
            return self.judge(&self.document, link.uri);
        }
        let mut all: Option<Verdict> = None;
        for base in link.bases {
            // Without a base only a reference that names its own host can be judged.
            let verdict = match base {
                Some(base) => self.judge(base, link.uri),
                None if Reference::split(link.uri).scheme.is_some() => self.judge(&self.document, link.uri),
                None => Verdict::Foreign,
            };
            match &all {
                _ if verdict == Verdict::Foreign => return Verdict::Foreign,
                Some(before) if *before != verdict => return Verdict::Foreign,
                _ => all = Some(verdict),
            }
        }
        all.unwrap_or(Verdict::Foreign)
    }

    /// The query with the ticket at its end, once.
    fn with_ticket(&self, raw: &str) -> String {
        let Mode::Query { name, .. } = &self.mode else { return raw.to_owned() };
        let mut found = query::values(raw, name);
        let kept = match (found.next(), found.next()) {
            (None, _) => Cow::Borrowed(raw),
            (Some(_), None) if raw.strip_suffix(self.parameter.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('&')) => {
                return raw.to_owned();
            }
            _ => Cow::Owned(query::without(raw, |found| found == name).unwrap_or_default()),
        };
        let mut out = String::with_capacity(kept.len() + 1 + self.parameter.len());
        out.push_str(&kept);
        if !out.is_empty() && !out.ends_with('&') {
            out.push('&');
        }
        out.push_str(&self.parameter);
        out
    }

    fn takes_ticket(&self, place: Place) -> bool {
        // A query on a text that others are resolved against or glued to would be lost or land in the middle.
        matches!(self.mode, Mode::Path { .. }) || !matches!(place, Place::BaseUrl | Place::Define)
    }
}

/// What a link is, seen from one base.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Somebody else's, or not to be known.
    Foreign,
    /// This gateway's or an ally's: whether the ticket goes on, and the path it must be written with if it
    /// does not get there by itself.
    Ours { ticket: bool, path: Option<String> },
}

impl Links for Resolver {
    fn document(&self) -> &Absolute {
        &self.document
    }

    fn map(&self, link: &Link<'_>) -> Option<String> {
        if self.left_alone.contains(&link.place) || link.uri.is_empty() || link.uri.starts_with('#') {
            return None;
        }
        let (ticket, path) = if link.bases.is_empty() && self.document_is_ours && stays_below(link.uri) {
            match self.mode {
                Mode::Path { .. } if self.document_is_ticketed => return None,
                Mode::Path { .. } => self.judge_all(link).ours()?,
                Mode::Query { .. } => (true, None),
            }
        } else {
            self.judge_all(link).ours()?
        };
        let split = Reference::split(link.uri);
        if link.place == Place::Define && self.below_mount(split.path).is_none_or(|below| !below.starts_with('/')) {
            return None;
        }
        if link.place == Place::BaseUrlMedia && split.path.ends_with('/') && matches!(self.mode, Mode::Query { .. }) {
            return None;
        }
        let ticketed =
            (ticket && self.takes_ticket(link.place) && !self.parameter.is_empty()).then(|| self.with_ticket(split.query.unwrap_or("")));
        let new = Reference { path: path.as_deref().unwrap_or(split.path), query: ticketed.as_deref().or(split.query), ..split }.join();
        (new != link.uri).then_some(new)
    }
}

impl Verdict {
    fn ours(self) -> Option<(bool, Option<String>)> {
        match self {
            Self::Foreign => None,
            Self::Ours { ticket, path } => Some((ticket, path)),
        }
    }
}

/// Whether `uri` is plainly a file below the document's own folder: the common case, judged without resolving.
fn stays_below(uri: &str) -> bool {
    let bytes = uri.as_bytes();
    let plain = |b: u8| b > 0x20 && b < 0x7f && !matches!(b, b'\\' | b':' | b'%');
    let end = bytes.iter().position(|&b| matches!(b, b'?' | b'#')).unwrap_or(bytes.len());
    let path = &uri[..end];
    end > 0
        && !path.starts_with('/')
        && path.bytes().all(plain)
        && bytes[end..].iter().all(|&b| b > 0x20 && b != 0x7f && b != b'\\')
        && !path.contains("..")
        && !path.contains("/.")
        && !path.starts_with('.')
}

#[cfg(test)]
mod tests;

//! Where a request came in, for the tickets that its answer may need, and where its own ticket leads.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;

use crate::credential::Held;
use crate::credential::mapping::{Bound, Mapped, MappingFault};
use crate::manifest::Absolute;
use crate::path::CleanPath;
use crate::proxy::origin::{HostPolicy, Origin};
use crate::proxy::request::{Proof, Routed};
use crate::proxy::{Error, Route, State};
use crate::secret::Secret;
use crate::session::{Key, Session};
use crate::token::Strip;
use crate::upload::Upload;

/// The holder of what is anybody's who has it.
const NOBODY: &str = "";

/// What is known of a request on a route with credentials, beside its head.
pub struct Trail {
    /// Bytes of the upstream path that are the prefix.
    pub mount: usize,
    /// What a credential of scope `session` is kept under.
    pub session_key: Option<String>,
    /// The upload that it is of.
    pub upload: Option<Arc<Upload>>,
    /// Where it goes, if a ticket says so.
    pub origin: Option<Arc<Origin>>,
    /// Its target there.
    pub target: Option<Uri>,
    foreign: bool,
    way_back: Option<WayBack>,
}

/// What a ticket in the answer is made of.
struct WayBack {
    /// `https://host:port`.
    web_origin: String,
    /// `host[:port]` as asked for.
    authority: String,
    /// The path as it came, tokens and session ticket in it.
    path: String,
    /// The parameters that carry the caller's token.
    query: String,
    /// The host asked for.
    host: String,
    holder: String,
}

/// Takes a mapping ticket, the last segment of a path that begins with `marker`, out of it. A second `~` says that the path went on with a
/// slash: tokens may be made for the path with or without.
///
/// # Errors
/// [`Error::MappingInvalid`] when there are several, or something stands behind it.
pub fn take_ticket(path: &mut CleanPath, marker: &str, tokens: &[String]) -> Result<Option<String>, Error> {
    if !path.segments().any(|segment| segment.starts_with(marker)) {
        return Ok(None);
    }
    let (before, last) = path.raw().rsplit_once('/').ok_or(Error::MappingInvalid)?;
    let ticket = last.strip_prefix(marker).filter(|_| !before.split('/').any(|segment| segment.starts_with(marker)));
    let ticket = ticket.ok_or(Error::MappingInvalid)?;
    let (ticket, slash) = ticket.strip_prefix('~').map_or((ticket, ""), |ticket| (ticket, "/"));
    let before = if before.is_empty() { "/".to_owned() } else { format!("{before}{slash}") };
    let ticket = ticket.to_owned();
    *path = CleanPath::parse_or_with_tokens(&before, tokens)?;
    Ok(Some(ticket))
}

/// Whether a request comes to an address that opens by itself.
///
/// # Errors
/// [`Error::MappingExpired`] for one that did.
pub fn opens_alone(routed: &Routed) -> Result<bool, Error> {
    let tokenless = routed.route.answers.as_ref().is_some_and(|answers| answers.tokenless);
    let Some(ticket) = routed.mapped.as_ref().filter(|_| tokenless) else { return Ok(false) };
    let state = &routed.request.state;
    let bound = Bound { route: routed.route.name.as_str(), host: &routed.request.settled.host, holder: NOBODY };
    match state.mappings.open(ticket, bound, state.clock.now()) {
        Ok(_) => Ok(true),
        Err(MappingFault::Invalid) => Ok(false),
        Err(MappingFault::Expired) => Err(Error::MappingExpired),
    }
}

impl Trail {
    /// The trail of a request; `None` on routes that need none.
    ///
    /// # Errors
    /// [`Error::MappingInvalid`] or [`Error::MappingExpired`], for its ticket.
    pub fn of(
        routed: &Routed,
        (proof, session): (&Proof, Option<&Session>),
        upload: Option<Arc<Upload>>,
    ) -> Result<Option<Box<Self>>, Error> {
        let route = &routed.route;
        if route.inject.is_empty() && route.answers.is_none() {
            return Ok(None);
        }
        let way_back = route.answers.as_ref().map(|_| WayBack::of(routed, proof, session));
        let mut trail = Self {
            mount: route.rewrite_prefix.as_ref().map_or(routed.mount, String::len),
            session_key: session_key(proof, session),
            upload,
            origin: None,
            target: None,
            foreign: false,
            way_back,
        };
        if let Some(ticket) = &routed.mapped {
            trail.follow(ticket, route, &routed.request.state)?;
        }
        Ok(Some(Box::new(trail)))
    }

    /// Whether it goes to another origin than the route's: no credential of the route's goes there.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Whether it is of an upload that goes with this value since an earlier request.
    pub(super) fn is_bound_to(&self, held: &Held) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.is_bound_like(held))
    }

    /// The origin has taken a request with these values: what is for uploads stays with the upload from now on.
    pub(super) fn bind_to<'h>(&self, taken: impl Iterator<Item = &'h Held>) {
        if let Some(upload) = &self.upload {
            taken.filter(|held| held.serves().binds()).for_each(|held| upload.hold(held));
        }
    }

    fn follow(&mut self, ticket: &str, route: &Route, state: &State) -> Result<(), Error> {
        let back = self.way_back.as_ref().ok_or(Error::MappingInvalid)?;
        let mapped = state.mappings.open(ticket, back.bound(route), state.clock.now()).map_err(|fault| match fault {
            MappingFault::Invalid => Error::MappingInvalid,
            MappingFault::Expired => Error::MappingExpired,
        })?;
        // An origin that a reload took off the list is led to no more.
        let origin = named(route).find(|origin| origin.name.as_str() == mapped.origin).ok_or(Error::MappingInvalid)?;
        let target = PathAndQuery::try_from(mapped.target.expose().as_str()).map_err(|_| Error::MappingInvalid)?;
        self.foreign = origin.name != route.origin.name;
        self.origin = Some(origin.clone());
        self.target = Some(Uri::from(target));
        Ok(())
    }

    /// The address at the gateway that stands for `address`, which the origin gave in an answer to a request for `asked`. `None`
    /// when it leads to an origin that is not listed, is no address, or is too long.
    #[must_use]
    pub fn ticket_for(&self, address: &str, asked: &Uri, route: &Route, state: &State) -> Option<String> {
        let (back, answers) = (self.way_back.as_ref()?, route.answers.as_ref()?);
        let here = self.origin.as_ref().unwrap_or(&route.origin);
        let endpoint = here.endpoints.first()?;
        let base = Absolute::parse(&format!("{}{asked}", endpoint.label.trim_end_matches('/')))?;
        let meant = base.join(address)?;
        let mut known = [here, &route.origin].into_iter().chain(&answers.origins);
        let origin = known.find(|origin| is_of(origin, &meant, &back.authority))?;
        let target = Secret::new(target_of(&meant));
        let mapped = Mapped { origin: origin.name.to_string(), target, expires: state.clock.now().plus(answers.lifetime) };
        let ticket = state.mappings.seal(&mapped, back.bound(route))?;
        Some(back.with(&answers.marker, &ticket))
    }
}

impl WayBack {
    fn of(routed: &Routed, proof: &Proof, session: Option<&Session>) -> Self {
        let settled = &routed.request.settled;
        let (strip, grant) = proof.strip_and_grant();
        let tokenless = routed.route.answers.as_ref().is_some_and(|answers| answers.tokenless);
        let ours = |name: &str| !tokenless && strip.iter().any(|s| matches!(s, Strip::Query(taken) if taken == name));
        let query = routed.request.head.uri.query().unwrap_or("");
        let carried: Vec<String> = crate::query::pairs(query)
            .filter(|(name, _)| crate::query::decode(name).is_some_and(|name| ours(&name)))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let subject = grant.and_then(|grant| grant.subject.as_deref());
        let holder = match (subject, session) {
            _ if tokenless => NOBODY.to_owned(),
            // A recorder that comes back with a new token, or in a new session, goes on with its upload.
            (Some(subject), _) => format!("subject {subject}"),
            // Each upload has a session of its own; whoever asked for the address had another one, or none.
            (None, _) if routed.route.upload.is_some() => token_key(proof, session).map_or_else(String::new, |key| format!("token {key}")),
            (None, Some(session)) => format!("session {}", session.id),
            (None, None) => String::new(),
        };
        Self {
            web_origin: format!("{}://{}", if settled.https { "https" } else { "http" }, settled.authority),
            authority: settled.authority.clone(),
            path: routed.ticketed.as_ref().map_or_else(|| settled.path.raw(), |(came, _)| came).to_owned(),
            query: carried.join("&"),
            host: settled.host.clone(),
            holder,
        }
    }

    fn bound<'t>(&'t self, route: &'t Route) -> Bound<'t> {
        Bound { route: route.name.as_str(), host: &self.host, holder: &self.holder }
    }

    fn with(&self, marker: &str, ticket: &str) -> String {
        let (slash, mark) = if self.path.ends_with('/') { ("", "~") } else { ("/", "") };
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        format!("{}{}{slash}{marker}{mark}{ticket}{query}", self.web_origin, self.path)
    }
}

fn session_key(proof: &Proof, session: Option<&Session>) -> Option<String> {
    session.map(|session| session.id.to_string()).or_else(|| token_key(proof, None).map(|key| key.to_string()))
}

/// The token that let the request in, or its session; `None` where no token was asked for.
fn token_key(proof: &Proof, session: Option<&Session>) -> Option<Key> {
    match proof {
        Proof::Token(verdict) => Some(Key::token(&verdict.scheme, verdict.token(), &verdict.grant)),
        Proof::Session { session, .. } => Some(session.keys.token),
        Proof::Ticket { .. } => session.map(|session| session.keys.token),
        Proof::Public | Proof::Shadow { .. } | Proof::Address { .. } => None,
    }
}

/// The origins that a route names: its own first.
fn named(route: &Route) -> impl Iterator<Item = &Arc<Origin>> {
    std::iter::once(&route.origin).chain(route.answers.iter().flat_map(|answers| &answers.origins))
}

/// The origin of the route's list that an address is one of, and the target there.
pub(super) fn leads_to(address: &str, route: &Route) -> Option<(Arc<Origin>, Uri)> {
    let address = Absolute::parse(address)?;
    // What the caller asked for is no word on where addresses of the vendor's may lead.
    let origin = named(route).find(|origin| is_of(origin, &address, ""))?;
    Some((origin.clone(), Uri::from(PathAndQuery::try_from(target_of(&address)).ok()?)))
}

fn target_of(address: &Absolute) -> String {
    address.query().map_or_else(|| address.path().to_owned(), |query| format!("{}?{query}", address.path()))
}

/// Whether an address is one of this origin: of an endpoint, or of the host that it is asked under.
fn is_of(origin: &Origin, address: &Absolute, asked: &str) -> bool {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = bare(address.host());
    let endpoint = origin
        .endpoints
        .iter()
        .any(|endpoint| bare(&endpoint.host) == host && endpoint.port == address.port() && endpoint.tls.is_some() == address.is_https());
    let under = |authority: &str| match authority.parse::<http::uri::Authority>() {
        Ok(authority) => bare(authority.host()) == host && authority.port_u16().map_or(address.has_default_port(), |p| p == address.port()),
        Err(_) => false,
    };
    endpoint
        || match &origin.config.host {
            HostPolicy::Fixed(name) => under(name),
            HostPolicy::Preserve => under(asked),
            HostPolicy::Endpoint => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &str) -> Result<(Option<String>, String), Error> {
        let mut path = CleanPath::parse(path).expect("clean");
        let ticket = take_ticket(&mut path, "up~", &[])?;
        Ok((ticket, path.raw().to_owned()))
    }

    #[test]
    fn tickets_are_taken_out_of_the_end_of_paths_only() {
        for (path, ticket, left) in [
            ("/files/up~T", Some("T"), "/files"),
            ("/files/up~~T", Some("T"), "/files/"),
            ("/up~~T", Some("T"), "/"),
            ("/up~T", Some("T"), "/"),
            ("/files/upper", None, "/files/upper"),
            ("/files/xup~T", None, "/files/xup~T"),
        ] {
            assert_eq!(taken(path), Ok((ticket.map(str::to_owned), left.to_owned())), "{path}");
        }
        for path in ["/up~T/more", "/up~A/up~B", "/files/up~T/"] {
            assert_eq!(taken(path), Err(Error::MappingInvalid), "{path}");
        }
    }
}

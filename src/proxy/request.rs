//! A request on its walk: each room's type is the proof of what has been done.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::request::Parts;
use hyper::body::Incoming;

use super::Route;
use super::record::Shared;
use crate::path::CleanPath;
use crate::token::{Geo, RequestFacts};
use crate::verifier::Verdict;

/// A request as it arrived, with what the connection knows of it.
pub struct Arrived {
    /// Its head.
    pub head: Parts,
    /// Its body, not begun.
    pub body: Incoming,
    /// What is noted of it.
    pub record: Shared,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the connection has TLS.
    pub tls: bool,
    /// What the head scan found wrong, if anything.
    pub fault: Option<super::Error>,
    /// The running config.
    pub state: Arc<super::State>,
}

/// A request with one reading: host, path and client address are settled, and what a caller may not
/// say is gone from its head.
pub struct Request {
    /// Its head, cleaned.
    pub head: Parts,
    /// Its body, not begun.
    pub body: Incoming,
    /// What is noted of it.
    pub record: Shared,
    /// The canonical path.
    pub path: CleanPath,
    /// Host asked for: lower case, no port, no trailing dot.
    pub host: String,
    /// `host[:port]` as asked for.
    pub authority: String,
    /// The port asked for.
    pub port: Option<u16>,
    /// Whether the caller came over https.
    pub https: bool,
    /// The viewer's address.
    pub client_ip: IpAddr,
    /// The `X-Forwarded-For` chain that a trusted proxy sent, ours not yet added.
    pub forwarded_for: Option<String>,
    /// The running config.
    pub state: Arc<super::State>,
}

/// A request whose route is known.
pub struct Routed {
    /// The request.
    pub request: Request,
    /// Its route.
    pub route: Arc<Route>,
    /// Bytes of the raw path that are the route's prefix.
    pub mount: usize,
}

/// A request that may be answered: its token was found good, or the route is public.
pub struct Verified {
    /// The request with its route.
    pub routed: Routed,
    /// What was found; `None` on public routes.
    pub verdict: Option<Verdict>,
}

/// A request as the origin shall get it.
pub struct Outbound {
    /// The head for the origin, but for `Host`.
    pub head: Parts,
    /// The caller's body.
    pub body: Incoming,
    /// What is noted of it.
    pub record: Shared,
    /// Its route.
    pub route: Arc<Route>,
    /// `host[:port]` as the caller asked.
    pub authority: String,
    /// The running config.
    pub state: Arc<super::State>,
    /// Whether shared caches must not keep the answer: it was given for a token.
    pub private: bool,
}

impl Request {
    /// What rules may know of it.
    #[must_use]
    pub fn facts<'r>(&'r self, mount: usize, geo: &'r dyn Geo) -> RequestFacts<'r> {
        RequestFacts {
            method: &self.head.method,
            https: self.https,
            host: &self.host,
            port: self.port,
            path: &self.path,
            mount,
            query: self.head.uri.query(),
            headers: self.headers(),
            client_ip: self.client_ip,
            geo,
        }
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }
}

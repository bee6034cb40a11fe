//! A request on its walk: each room's type is the proof of what has been done.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use hyper::body::Incoming;

use super::Route;
use super::body::Received;
use super::guard::Settled;
use super::inject::Trail;
use super::record::Shared;
use crate::session::ticket::Opened as Ticket;
use crate::session::{Gone, Session};
use crate::token::{Geo, Grant, RequestFacts, Strip};
use crate::upload::Upload;
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
    pub body: Received,
    /// What is noted of it.
    pub record: Shared,
    /// Host, path and viewer.
    pub settled: Settled,
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
    /// Where a ticket was taken out of the path: the path as it came, and the ticket's segment.
    pub ticketed: Option<(String, String)>,
    /// A mapping ticket that was taken out of the path: it leads to an upstream URL.
    pub mapped: Option<String>,
}

impl Routed {
    /// What rules may know of it, by the route's own word on addresses.
    #[must_use]
    pub fn facts<'r>(&'r self, geo: &'r dyn Geo) -> RequestFacts<'r> {
        RequestFacts { near: self.route.bind.as_ref(), ..self.request.facts(self.mount, geo) }
    }
}

/// What lets a request in.
pub enum Proof {
    /// The route is public.
    Public,
    /// The token was refused, or is missing, on a route in shadow mode.
    Shadow {
        /// What must not reach the origin: the tokens that came along.
        strip: Vec<Strip>,
    },
    /// The request came to an address that was handed out and opens by itself.
    Address {
        /// What must not reach the origin: tokens that came along.
        strip: Vec<Strip>,
    },
    /// A token was found good.
    Token(Verdict),
    /// A ticket was found good.
    Session {
        /// The session it stands for.
        session: Arc<Session>,
        /// What must not reach the origin: the ticket, and a token if one came along.
        strip: Vec<Strip>,
    },
    /// A ticket is ours; its session has to be asked for.
    Ticket {
        /// What the ticket says.
        ticket: Ticket,
        /// Why its session cannot go on as it is.
        gone: Gone,
        /// What must not reach the origin.
        strip: Vec<Strip>,
    },
}

impl Proof {
    /// What must not reach the origin, and what the caller may have.
    #[must_use]
    pub fn strip_and_grant(&self) -> (&[Strip], Option<&Grant>) {
        match self {
            Self::Public => (&[], None),
            Self::Shadow { strip } | Self::Address { strip } => (strip, None),
            Self::Token(verdict) => (&verdict.strip, Some(&verdict.grant)),
            Self::Session { session, strip } => (strip, Some(&session.grant)),
            Self::Ticket { strip, .. } => (strip, None),
        }
    }
}

/// A request that may be answered: the route is public, a token, a ticket or an address was found good, or the route is in shadow mode.
pub struct Verified {
    /// The request with its route.
    pub routed: Routed,
    /// What lets it in.
    pub proof: Proof,
}

/// A request that has its place, where its route gives places.
pub struct Admitted {
    /// The request with its route.
    pub routed: Routed,
    /// What lets it in.
    pub proof: Proof,
    /// Its session, if it has one.
    pub session: Option<Arc<Session>>,
    /// The upload that it is of, if it is of one.
    pub upload: Option<Arc<Upload>>,
}

/// A request as the origin shall get it.
pub struct Outbound {
    /// The head for the origin, but for `Host`.
    pub head: Parts,
    /// The caller's body.
    pub body: Received,
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
    /// Bytes a second at which the answer may go out, where the token limits it.
    pub pace: Option<u64>,
    /// What its credentials need to know of it; `None` on a route without any.
    pub trail: Option<Box<Trail>>,
}

impl Request {
    /// What rules may know of it.
    #[must_use]
    pub fn facts<'r>(&'r self, mount: usize, geo: &'r dyn Geo) -> RequestFacts<'r> {
        facts(&self.head, &self.settled, mount, geo)
    }
}

/// What rules may know of a settled head.
#[must_use]
pub fn facts<'r>(head: &'r Parts, settled: &'r Settled, mount: usize, geo: &'r dyn Geo) -> RequestFacts<'r> {
    RequestFacts {
        method: &head.method,
        https: settled.https,
        host: &settled.host,
        port: settled.port,
        path: &settled.path,
        mount,
        query: head.uri.query(),
        headers: &head.headers,
        client_ip: settled.client_ip,
        geo,
        alpn: settled.alpn,
        near: None,
    }
}

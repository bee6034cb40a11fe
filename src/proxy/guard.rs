//! One reading, or 400.
//!
//! After this room the path, the host and the viewer's address each have one value that every later
//! room uses, and the head holds nothing that a caller may not say: no hop-by-hop fields, no fields
//! that the gateway itself sets, none that an origin could fold into one of those.

mod client;
mod fields;
mod host;

use std::net::IpAddr;

use http::request::Parts;

use super::body::Received;
use super::request::{Arrived, Request};
use super::{Error, Filter, State};
use crate::path::CleanPath;

pub use client::viewer;
pub use fields::{HOP_BY_HOP, strip_hop_by_hop};

/// The room.
#[derive(Debug, Clone)]
pub struct Guard;

impl Filter<Arrived> for Guard {
    type Out = Request;

    fn check(&self, arrived: Arrived) -> Result<Request, Error> {
        let Arrived { mut head, body, record, peer, tls, fault, state } = arrived;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let settled = settle(&mut head, (peer, tls), &state)?;
        record.client_ip.set(settled.client_ip);
        if record.wanted {
            record.note_target(&settled.host, settled.path.raw());
        }
        Ok(Request { head, body: Received::new(body), record, settled, state })
    }
}

/// What has one reading from here on.
#[derive(Debug)]
pub struct Settled {
    /// The canonical path. Segments that hold a token of some scheme of the plan may have encoded slashes
    /// in them; which scheme that may be is for the route to say ([`Route::reads`](crate::route::plan::Route::reads)).
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
    /// `X-Forwarded-For` as the origin gets it: what a trusted proxy sent, and the peer that sent it (or the viewer alone).
    pub forwarded_for: String,
    /// The application protocol by its ALPN id; unknown behind a trusted proxy, which has another connection with the viewer.
    pub alpn: Option<&'static str>,
}

/// Settles host, path and viewer of a head that came from `peer` (with TLS or not), and takes out of it what a caller may not say.
///
/// # Errors
/// Why it has no single reading.
pub fn settle(head: &mut Parts, (peer, tls): (IpAddr, bool), state: &State) -> Result<Settled, Error> {
    check_method(&head.method)?;
    if head.uri.path_and_query().is_some_and(|pq| pq.as_str().len() > state.limits.max_uri.as_usize()) {
        return Err(Error::UriTooLong);
    }
    // HTTP/1 heads have been counted by the scan; HTTP/2 counts bytes only.
    if head.headers.len() > state.limits.max_headers {
        return Err(Error::HeadTooLarge);
    }
    let (host, authority) = host::settle(head)?;
    let path = CleanPath::parse_or_with_tokens(head.uri.path(), state.plan.path_tokens())?;
    check_query(head.uri.query())?;
    let (client_ip, trusted) = viewer(peer, &head.headers, &state.trusted_proxies);
    let https = if trusted { client::forwarded_https(&head.headers).unwrap_or(tls) } else { tls };
    let forwarded_for = client::forwarded_for(peer, head.headers.get_all("x-forwarded-for").iter().filter(|_| trusted));
    let alpn = if trusted { None } else { protocol(head.version) };
    fields::clean(&mut head.headers, head.version);
    Ok(Settled { path, host: host.name, authority, port: host.port, https, client_ip, alpn, forwarded_for })
}

/// RFC 7301 §6 and the registry that it opens.
fn protocol(version: http::Version) -> Option<&'static str> {
    match version {
        http::Version::HTTP_10 => Some("http/1.0"),
        http::Version::HTTP_11 => Some("http/1.1"),
        http::Version::HTTP_2 => Some("h2"),
        _ => None,
    }
}

fn check_method(method: &http::Method) -> Result<(), Error> {
    // A proxy that forwards TRACE shows headers to whoever asks; CONNECT has no path to verify.
    if *method == http::Method::CONNECT || *method == http::Method::TRACE { Err(Error::NotProxied) } else { Ok(()) }
}

fn check_query(query: Option<&str>) -> Result<(), Error> {
    // RFC 3986 §3.4, and what browsers send raw: anything visible in ASCII but for the characters
    // that would end the target early somewhere.
    let fine = |byte: u8| (0x21..0x7f).contains(&byte) && !matches!(byte, b'#' | b'\\' | b'<' | b'>');
    if query.is_none_or(|query| query.bytes().all(fine)) { Ok(()) } else { Err(Error::BadQuery) }
}

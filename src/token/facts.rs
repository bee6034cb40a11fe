//! What a rule may know of a request.
//!
//! Every fact has been made unambiguous before it gets here: the path is canonical, the host is the
//! one that was routed on, the client address is the one that the trusted-proxy rule gave.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use ipnet::IpNet;

use super::access::{self, Country, Geo, NoGeo};
use super::near::Near;
use crate::path::CleanPath;

/// The facts of one request.
#[derive(Clone, Copy)]
pub struct RequestFacts<'r> {
    /// The request method.
    pub method: &'r Method,
    /// Whether the caller came over https (to us, or to a trusted proxy that said so).
    pub https: bool,
    /// The host asked for: lower case, no port, no trailing dot.
    pub host: &'r str,
    /// The port, if the caller's `Host` named one.
    pub port: Option<u16>,
    /// The whole canonical path.
    pub path: &'r CleanPath,
    /// How many bytes of the raw path are the route's own prefix; schemes that count segments
    /// (Cloudflare, Mux) count from here. Never past the slash that begins the next segment.
    pub mount: usize,
    /// The raw query, without `?`.
    pub query: Option<&'r str>,
    /// The request headers as received.
    pub headers: &'r HeaderMap,
    /// The viewer's address.
    pub client_ip: IpAddr,
    /// Where addresses are.
    pub geo: &'r dyn Geo,
    /// The application protocol of the viewer's connection by its ALPN id (RFC 7301): `h2`, `http/1.1`;
    /// `None` when it is not known.
    pub alpn: Option<&'r str>,
    /// What the route takes for an address that a token names, beside that address.
    pub near: Option<&'r Near>,
}

impl<'r> RequestFacts<'r> {
    /// `GET https://` of this host and path with these headers, and nothing else known: from no address, without a query.
    #[must_use]
    pub fn bare(host: &'r str, path: &'r CleanPath, headers: &'r HeaderMap) -> Self {
        Self {
            method: &Method::GET,
            https: true,
            host,
            port: None,
            path,
            mount: 0,
            query: None,
            headers,
            client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            geo: &NoGeo,
            alpn: None,
            near: None,
        }
    }

    /// The raw path below the route's prefix, beginning with `/`.
    #[must_use]
    pub fn below_mount(&self) -> &'r str {
        &self.path.raw()[self.mount..]
    }

    /// The viewer's country, if known.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        self.geo.country(self.client_ip)
    }

    /// Whether the viewer comes from one of the networks that a token names, or from as near as the route asks.
    #[must_use]
    pub fn comes_from(&self, nets: &[IpNet]) -> bool {
        let near = |near: &Near| nets.iter().any(|net| near.holds(*net, self));
        access::contains(nets, self.client_ip) || self.near.is_some_and(near)
    }

    /// The value of a header that may come once only: `Ok(None)` when absent.
    ///
    /// # Errors
    /// [`super::Denial::Duplicate`] when it comes twice, [`super::Denial::Malformed`] when it is not visible ASCII.
    pub fn single_header(&self, name: &str) -> Result<Option<&'r str>, super::Denial> {
        let mut values = self.headers.get_all(name).iter();
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(super::Denial::Duplicate);
        }
        first.to_str().map(Some).map_err(|_| super::Denial::Malformed)
    }
}

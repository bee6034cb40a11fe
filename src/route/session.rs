//! A route's sessions, ready to serve: which requests open one, and what tickets look like on it.

use http::Method;

use crate::manifest::HostRule;
use crate::session::{Propagation, RouteSessionConfig};
use crate::token::Strip;

/// What a route does about sessions.
#[derive(Debug)]
pub struct RouteSession {
    /// As configured.
    pub config: RouteSessionConfig,
    /// What a ticket's path segment begins with.
    pub marker: String,
    /// Other hosts that may get tickets.
    pub hosts: Vec<HostRule>,
    /// What takes a ticket out of a request; one in the path is out before anything looks at it.
    pub strip: Option<Strip>,
}

impl RouteSession {
    /// Reads the config.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn new(config: &RouteSessionConfig) -> Result<Self, String> {
        if let Some((_, fault)) = config.faults().into_iter().next() {
            return Err(format!("session: {fault}"));
        }
        let host = |text: &String| HostRule::parse(text).ok_or_else(|| format!("session.ticket_hosts: \"{text}\" is not a host"));
        Ok(Self {
            marker: format!("{}~", config.parameter),
            hosts: config.ticket_hosts.iter().map(host).collect::<Result<_, _>>()?,
            strip: match config.propagation {
                Propagation::Query => Some(Strip::Query(config.parameter.clone())),
                Propagation::Cookie => Some(Strip::Cookie(config.parameter.clone())),
                Propagation::Path | Propagation::Inherit | Propagation::None => None,
            },
            config: config.clone(),
        })
    }

    /// Whether tickets ride on requests of this route.
    #[must_use]
    pub const fn has_tickets(&self) -> bool {
        matches!(self.config.propagation, Propagation::Path | Propagation::Query | Propagation::Cookie)
    }

    /// Whether a request is only a look, which opens no session.
    #[must_use]
    pub fn is_probe(&self, method: &Method, path: &str) -> bool {
        self.config.is_probe(method, path)
    }

    /// Whether a viewing begins with this path: a playlist, or a file that is played by itself.
    #[must_use]
    pub fn is_entry(&self, path: &str) -> bool {
        self.config.is_entry(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_probes_are_told_by_their_names() {
        let route = RouteSession::new(&RouteSessionConfig::default()).expect("default");
        assert!(route.is_entry("/v/master.m3u8") && route.is_entry("/v/a.MPD") && route.is_entry("/v/film.mp4"));
        assert!(!route.is_entry("/v/seg.ts") && !route.is_entry("/v.m3u8/seg"));
        assert!(route.is_probe(&Method::HEAD, "/v/master.m3u8") && route.is_probe(&Method::GET, "/v/poster.jpg"));
        assert!(!route.is_probe(&Method::GET, "/v/master.m3u8"));
    }
}

//! The edge towards callers: listeners, TLS, connections, limits, drain.
//!
//! This page holds what they are in the config. Connections never hold a request back: what is
//! over a limit is closed or refused, and counted.

pub mod connection;
pub mod io;
pub mod listen;
pub mod scan;
pub mod tls;
pub mod watch;
pub mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Period, Size};

/// The `[server]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Where callers come in.
    pub listeners: Vec<ListenerConfig>,
    /// Worker threads, each with its own listeners and upstream connections. 0: one per core. Needs a restart.
    pub workers: usize,
    /// Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed. None by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Limits on what a caller can hold.
    pub limits: LimitsConfig,
    /// From the stop signal until listeners close, while `/ready` says 503: time for a load balancer to notice.
    pub drain_delay: Period,
    /// Time for transfers to finish after listeners closed.
    pub drain_timeout: Period,
}

/// One address that callers come in by.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// `IP:port`. Needs a restart to change.
    pub address: SocketAddr,
    /// Also takes HTTP/2 by prior knowledge without TLS (behind a proxy that speaks it).
    #[serde(default)]
    pub h2c: bool,
    /// Present: TLS 1.2 and 1.3 with these certificates.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
}

/// TLS towards callers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificates, chosen by the names in them; the first is for callers that send no name, or an unknown one.
    pub certificates: Vec<CertificateConfig>,
    /// Offers HTTP/2 beside HTTP/1.1.
    #[serde(default = "yes")]
    pub http2: bool,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// PEM file: the certificate, then its issuers.
    pub cert_file: PathBuf,
    /// PEM file: its private key; readable by its owner only.
    pub key_file: PathBuf,
}

/// The `[server.limits]` table: a deadline and a limit on everything a caller can hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// TLS handshake.
    pub handshake_timeout: Period,
    /// A request head, from its first byte to its last.
    pub head_timeout: Period,
    /// Longest silence inside a request body.
    pub body_idle_timeout: Period,
    /// Longest time in which a caller takes nothing of an answer.
    pub write_idle_timeout: Period,
    /// Longest time between requests on one connection.
    pub keep_alive_timeout: Period,
    /// Bytes of a request head.
    pub max_head: Size,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Bytes of a request target.
    pub max_uri: Size,
    /// Connections at the same time, over all listeners.
    pub max_connections: usize,
    /// Connections at the same time from one address (IPv6: one /64). 0: no limit.
    pub max_connections_per_ip: usize,
    /// Streams at the same time on one HTTP/2 connection.
    pub max_h2_streams: u32,
    /// Refused tokens that one address (IPv6: one /64) may present at once before it is slowed.
    pub refusal_burst: u32,
    /// Refused tokens per second after that.
    pub refusals_per_second: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listeners: vec![ListenerConfig { address: SocketAddr::from(([127, 0, 0, 1], 8080)), h2c: false, tls: None }],
            workers: 0,
            trusted_proxies: Vec::new(),
            limits: LimitsConfig::default(),
            drain_delay: Period::seconds(0),
            drain_timeout: Period::seconds(30),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            handshake_timeout: Period::seconds(5),
            head_timeout: Period::seconds(10),
            body_idle_timeout: Period::seconds(15),
            write_idle_timeout: Period::seconds(30),
            keep_alive_timeout: Period::seconds(60),
            max_head: Size::kib(32),
            max_headers: 100,
            max_uri: Size::kib(8),
            max_connections: 10_000,
            max_connections_per_ip: 0,
            max_h2_streams: 100,
            refusal_burst: 100,
            refusals_per_second: 10,
        }
    }
}

const fn yes() -> bool {
    true
}

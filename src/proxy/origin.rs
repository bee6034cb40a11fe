//! Origins: where media comes from or goes to, and how their endpoints are chosen.
//!
//! Shared by all threads, so everything that changes is an atomic. An endpoint that fails several
//! times in a row is left out for a while; when all are, all are tried: a gateway that gives up on
//! every endpoint helps nobody.

mod balance;
mod build;

pub use balance::{Endpoint, Origin, Slot};
pub use build::{certificates, origin, private_key, tls_client};

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// One `[origins.NAME]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginConfig {
    /// `http://host:port` or `https://host:port`, no path; one or more that hold the same content.
    pub endpoints: Vec<String>,
    /// The `Host` that the origin gets.
    #[serde(default)]
    pub host: HostPolicy,
    /// Time to connect, TLS included.
    #[serde(default = "connect")]
    pub connect_timeout: Period,
    /// Time from the request's last byte to the answer's head.
    #[serde(default = "first_byte")]
    pub first_byte_timeout: Period,
    /// Longest silence inside an answer's body.
    #[serde(default = "idle")]
    pub idle_timeout: Period,
    /// Requests in flight at the same time, over all endpoints and cores. More are shed with 503.
    #[serde(default = "connections")]
    pub max_connections: usize,
    /// Idle connections kept per endpoint and core.
    #[serde(default = "keep")]
    pub max_idle: usize,
    /// How long an idle connection is kept; must be shorter than the origin's own limit.
    #[serde(default = "keep_time")]
    pub max_idle_time: Period,
    /// Further tries of an idempotent request before its first byte. 0: none.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Failures in a row after which an endpoint is left out for a while. 0: never.
    #[serde(default = "eject_after")]
    pub eject_after: u32,
    /// How long the first time; it grows with each time in a row.
    #[serde(default = "eject_time")]
    pub eject_time: Period,
    /// TLS towards https endpoints.
    #[serde(default)]
    pub tls: OriginTlsConfig,
}

/// The `Host` that an origin gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostPolicy {
    /// The endpoint's own host and port.
    #[default]
    Endpoint,
    /// The one the caller asked for.
    Preserve,
    /// This one.
    #[serde(untagged)]
    Fixed(String),
}

/// TLS towards an origin. Verification cannot be switched off.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OriginTlsConfig {
    /// PEM file of the CAs to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// PEM file of our client certificate chain.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key; readable by its owner only.
    pub client_key_file: Option<PathBuf>,
    /// Name to ask for and to verify, instead of the endpoint's host.
    pub server_name: Option<String>,
}

const fn connect() -> Period {
    Period::seconds(3)
}
const fn first_byte() -> Period {
    Period::seconds(30)
}
const fn idle() -> Period {
    Period::seconds(30)
}
const fn connections() -> usize {
    1024
}
const fn keep() -> usize {
    128
}
const fn keep_time() -> Period {
    Period::seconds(50)
}
const fn retries() -> u32 {
    2
}
const fn eject_after() -> u32 {
    5
}
const fn eject_time() -> Period {
    Period::seconds(30)
}

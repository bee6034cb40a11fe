//! The operators' listener: metrics, liveness, readiness.
//!
//! This page holds what it is in the config.

pub mod credentials;
pub mod serve;
pub mod sessions;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[admin]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where operators and Prometheus come in; loopback, because it shows what callers may not see. Needs a restart.
    pub address: SocketAddr,
    /// Whether there is one.
    pub enabled: bool,
    /// File with the token that `/sessions`, `/revocations` and `/credentials` want (`Authorization: Bearer`). Unset: they are closed.
    pub token_file: Option<PathBuf>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9900)), enabled: true, token_file: None }
    }
}

//! The whole config: the rooms' own tables, composed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::AdminConfig;
use crate::name::Name;
use crate::proxy::origin::OriginConfig;
use crate::route::RouteConfig;
use crate::server::ServerConfig;
use crate::telemetry::LogConfig;
use crate::token::scheme::config::SchemeConfig;
use crate::verifier::{KeysConfig, VerifierConfig};

/// Everything that can be said in a config file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Listeners, limits, drain.
    pub server: ServerConfig,
    /// The operators' listener.
    pub admin: AdminConfig,
    /// Logs.
    pub log: LogConfig,
    /// Remembered verdicts, country database.
    pub verifier: VerifierConfig,
    /// Key sets by name.
    pub keys: BTreeMap<Name, KeysConfig>,
    /// Token schemes by name.
    pub schemes: BTreeMap<Name, SchemeConfig>,
    /// Origins by name.
    pub origins: BTreeMap<Name, OriginConfig>,
    /// Routes.
    pub routes: Vec<RouteConfig>,
}

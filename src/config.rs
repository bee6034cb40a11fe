//! The whole config: the rooms' own tables, composed; how it is loaded, checked and watched.
//!
//! [`load::load`] puts defaults, files, environment and flags on top of one another and finds every
//! fault in one run; [`check`] asks whether what they say makes sense; [`watch::Watch`] tells when to
//! load again. A key whose value is a file is named `file` or ends in `_file`, and one that is a folder is named `folder`: that is how relative
//! paths, file checks and the watch know it.

pub mod check;
pub mod fault;
pub mod key_path;
pub mod load;
pub mod schema;
pub mod watch;

mod files;
mod named;
mod secrets;
mod shape;
mod source;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::AdminConfig;
use crate::control::ControlConfig;
use crate::credential::CredentialConfig;
use crate::ledger::LedgerConfig;
use crate::name::Name;
use crate::proxy::origin::OriginConfig;
use crate::route::RouteConfig;
use crate::server::ServerConfig;
use crate::session::SessionsConfig;
use crate::store::StoreConfig;
use crate::telemetry::LogConfig;
use crate::token::scheme::config::SchemeConfig;
use crate::verifier::{KeysConfig, VerifierConfig};

pub use fault::{Fault, Faults, Finding, Severity};
pub use files::NamedFile;
pub use key_path::KeyPath;
pub use load::{Loaded, Sources, load, load_checked};
pub use named::{ENV_PREFIX, ENV_RESERVED};

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
    /// Tickets, and where sessions are kept.
    pub sessions: SessionsConfig,
    /// Where what was issued is kept. Unset: nothing is issued here.
    pub ledger: Option<LedgerConfig>,
    /// The listener on which tokens are issued. Unset: there is none.
    pub control: Option<ControlConfig>,
    /// Key sets by name.
    pub keys: BTreeMap<Name, KeysConfig>,
    /// Token schemes by name.
    pub schemes: BTreeMap<Name, SchemeConfig>,
    /// What is kept over restarts.
    pub store: StoreConfig,
    /// What origins and vendors are shown, by name.
    pub credentials: BTreeMap<Name, CredentialConfig>,
    /// Origins by name.
    pub origins: BTreeMap<Name, OriginConfig>,
    /// Routes.
    pub routes: Vec<RouteConfig>,
}

//! A Valkey or Redis server that gateways share: how it is named, reached and spoken to.
//!
//! What lies in it is its rooms' affair: sessions, credentials and the ledger keep to keys of their own behind one
//! prefix, which carries a hash tag, so that a cluster has all of a fleet's keys on one node.

mod link;
mod settings;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use link::{Bell, GOOD, Link, millis};
pub use settings::{Place, base, longest};

use crate::units::Period;

/// Why the server did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// It cannot be reached, or not in time.
    #[error("the shared store cannot be reached: {0}")]
    Away(String),
    /// It answered with something else than was asked.
    #[error("the shared store answered with a fault: {0}")]
    Odd(String),
}

/// A Valkey or Redis server, or a cluster of them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValkeyStoreConfig {
    /// Its address, without a password: `redis://host:6379`, or `rediss://host:6379` for TLS. Of a cluster, one node.
    pub url: String,
    /// Further nodes of a cluster, for when the first one is away.
    #[serde(default)]
    pub more_urls: Vec<String>,
    /// Whether it is a cluster.
    #[serde(default)]
    pub cluster: bool,
    /// The user of its access list. Unset: the default user.
    #[serde(default)]
    pub username: Option<String>,
    /// A file whose content, less a last line end, is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// An environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// PEM file of the CAs to trust for `rediss` instead of the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of our client certificate chain.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key, readable by its owner only.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
    /// What all its keys begin with, so that several fleets can share a server.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Time for a connection to be made.
    #[serde(default = "one_second")]
    pub connect_timeout: Period,
    /// Time for an answer that a viewer waits for.
    #[serde(default = "half_a_second")]
    pub timeout: Period,
    /// How often changes are asked for, as the net below those that are pushed.
    #[serde(default = "two_seconds")]
    pub poll_every: Period,
}

fn prefix() -> String {
    "tollgate:".into()
}

const fn one_second() -> Period {
    Period::seconds(1)
}

const fn half_a_second() -> Period {
    Period::millis(500)
}

const fn two_seconds() -> Period {
    Period::seconds(2)
}

//! The plan: host, path prefix and method to the schemes, rules and origin of a route.
//!
//! This page holds what a route is in the config; the compiled plan is in [`plan`].

pub mod inject;
pub mod plan;
pub mod session;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::SignConfig;
use crate::credential::provider::aws_sigv4::AwsConfig;
use crate::name::Name;
use crate::session::RouteSessionConfig;
use crate::token::Near;
use crate::units::Period;
use crate::upload::UploadConfig;
use inject::{AnswersConfig, InjectConfig};

/// One `[[routes]]` entry. The most specific one wins: exact host before wildcard before any host,
/// then the longest path prefix, then the one that names the method.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its name: metric label, log field, `explain`.
    pub name: Name,
    /// Hosts it serves: exact names or `*.example.com`. Empty: every host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Path prefix, matched on segment boundaries.
    #[serde(default = "root")]
    pub path: String,
    /// Methods it serves. Preflights (`OPTIONS`) are answered without being listed.
    #[serde(default = "read_methods")]
    pub methods: Vec<String>,
    /// Schemes it accepts, by name; a token of any of them opens it.
    #[serde(default)]
    pub accept: Vec<Name>,
    /// What a refused token means: `enforce` refuses the request; `shadow` counts, logs and lets it pass; `dual` enforces
    /// `accept`, has `compare` decide as well, and counts and logs where the two differ.
    #[serde(default)]
    pub mode: RouteMode,
    /// The schemes that decide beside `accept` in `dual` mode. They open nothing.
    #[serde(default)]
    pub compare: Vec<Name>,
    /// Lets everybody in. Must be said; a route without `accept` and without it is a fault.
    #[serde(default)]
    pub public: bool,
    /// Where its requests go.
    pub origin: Name,
    /// Replaces the route's path prefix on the way to the origin. Unset: the path goes on as it is.
    #[serde(default)]
    pub rewrite_prefix: Option<String>,
    /// Lets path parameters (`;name=value`) through. Off, because servers disagree on what they mean.
    #[serde(default)]
    pub allow_path_parameters: bool,
    /// Passes the player's token on to the origin. Off: what was verified is taken out first.
    #[serde(default)]
    pub forward_token: bool,
    /// Signs what goes to the origin anew, by another scheme; the viewer's token is taken out first.
    #[serde(default)]
    pub upstream_sign: Option<SignConfig>,
    /// Signs what goes to the origin with an AWS access key (Signature Version 4), for private buckets.
    #[serde(default)]
    pub upstream_aws: Option<AwsConfig>,
    /// Credentials that its requests show the origin, each in its place.
    #[serde(default)]
    pub inject: Vec<InjectConfig>,
    /// What callers must not see of the origin's answers. Unset: with `inject`, only headers that say a credential back.
    #[serde(default)]
    pub answers: Option<AnswersConfig>,
    /// How near a viewer must be to an address that a token names. Unset: it must be that address.
    #[serde(default)]
    pub bind: Option<Near>,
    /// Pages that may read answers across origins.
    #[serde(default)]
    pub cors: CorsConfig,
    /// Gives every viewing a session of its own, and limits them. Unset: every request brings its token.
    #[serde(default)]
    pub session: Option<RouteSessionConfig>,
    /// Takes uploads: tells them apart, limits them, and lets them outlive their tokens. Unset: bodies pass like any other.
    #[serde(default)]
    pub upload: Option<UploadConfig>,
}

/// What a refused token means on a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteMode {
    /// The request is refused.
    #[default]
    Enforce,
    /// It is counted and logged, and the request passes.
    Shadow,
    /// The request is refused; a second list of schemes is asked as well, and differences are counted and logged.
    Dual,
}

/// Who may read a route's answers from another web origin.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// `*` (default; players run on any page and tokens do the guarding), or a list of origins such as
    /// `https://www.example.com` or `https://*.example.com`.
    pub allow_origins: Vec<String>,
    /// Lets cookies and `Authorization` come along; needs a list of origins, not `*`.
    pub allow_credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Period,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self { allow_origins: vec!["*".into()], allow_credentials: false, max_age: Period::seconds(7200) }
    }
}

fn root() -> String {
    "/".into()
}

fn read_methods() -> Vec<String> {
    vec!["GET".into(), "HEAD".into()]
}

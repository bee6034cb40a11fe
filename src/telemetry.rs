//! What is seen: metrics, logs, request ids.
//!
//! This page holds what logging is in the config.

pub mod access;
pub mod log;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[log]` table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,tollgate::proxy=debug`. A bare `debug` or
    /// `trace` is for Tollgate itself: libraries stay at `info` unless named (`hyper=trace`), as they may show what callers send.
    pub level: String,
    /// JSON lines for machines, or text for people.
    pub format: LogFormat,
    /// One line per request.
    pub access: AccessLogConfig,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// The `[log.access]` table. Refusals and failures are always logged while it is enabled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// Whether there is an access log at all.
    pub enabled: bool,
    /// Share of successful requests that is logged, 0 to 1: a player asks for a segment every few seconds.
    pub sample: f64,
    /// Statuses below this are sampled away entirely; 0 logs all.
    pub min_status: u16,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::default(), access: AccessLogConfig::default() }
    }
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self { enabled: true, sample: 1.0, min_status: 0 }
    }
}

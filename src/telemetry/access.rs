//! The access log: one event per request, sampled, written by another thread.

use http::Version;

use super::AccessLogConfig;
use crate::proxy::record::{Journal, Record};

/// The target of access events, for filters: `info,tollgate::access=off`.
pub const TARGET: &str = "tollgate::access";

/// Writes access events as the config says.
#[derive(Debug, Clone)]
pub struct AccessLog {
    config: AccessLogConfig,
}

impl AccessLog {
    /// A log under this config.
    #[must_use]
    pub fn new(config: AccessLogConfig) -> Self {
        Self { config }
    }
}

impl Journal for AccessLog {
    fn wants(&self) -> bool {
        self.config.enabled && (self.config.sample >= 1.0 || fastrand::f64() < self.config.sample)
    }

    fn write(&self, record: &Record) {
        let status = record.status.get().as_u16();
        let failed = record.code.get().is_some() || status >= 500;
        // What a migration is watched for must not be lost to sampling.
        let telling = record.shadow.get().is_some() || record.compared.get().is_some();
        if !self.config.enabled || !(record.wanted || failed || telling) || (status < self.config.min_status && !telling) {
            return;
        }
        let fingerprint = record.fingerprint.get().map(tracing::field::display);
        tracing::info!(
            target: TARGET,
            request_id = %record.id,
            trace = %record.trace,
            route = record.route_name(),
            client_ip = %record.client_ip.get(),
            method = %record.method,
            host = %record.host.borrow(),
            path = %record.path.borrow(),
            version = version(record.version),
            status,
            code = record.code.get(),
            cause = record.cause.borrow().as_deref(),
            shadow = record.shadow.get(),
            compared = record.compared.get(),
            scheme = record.scheme.get().map(crate::name::Name::as_str),
            token = fingerprint,
            session = record.session.get().map(|session| tracing::field::display(session.id)),
            remembered = record.remembered.get(),
            endpoint = record.endpoint.get().map(AsRef::<str>::as_ref),
            upstream_status = record.upstream_status.get().map(|status| status.as_u16()),
            retries = record.retries.get(),
            ttfb_ms = millis(record.first_byte.get()),
            duration_ms = millis(record.seconds()),
            bytes_in = record.bytes_in.get(),
            bytes_out = record.bytes_out.get(),
            complete = record.complete.get(),
            user_agent = record.user_agent.borrow().as_deref(),
            "request"
        );
    }
}

/// Milliseconds with three decimals.
fn millis(seconds: f64) -> f64 {
    (seconds * 1_000_000.0).round() / 1000.0
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "h2",
        Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}

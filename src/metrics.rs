//! Every metric of the gateway, made at build so that series exist before the first event.
//!
//! Labels come from the config or from closed lists, never from a request: the number of series
//! does not depend on traffic. Names follow the Prometheus conventions (`tollgate_`, base units).

use std::sync::Arc;

use http::{Method, StatusCode};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::token::Denial;

/// The families and their registry. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

/// The families, for the rooms that count.
#[allow(missing_docs, reason = "each has its help text where it is made")]
pub struct Families {
    registry: Registry,
    pub requests: IntCounterVec,
    pub request_seconds: HistogramVec,
    pub response_seconds: HistogramVec,
    pub in_flight: IntGauge,
    pub bytes: IntCounterVec,
    pub refusals: IntCounterVec,
    pub validations: IntCounterVec,
    pub shadow: IntCounterVec,
    pub compared: IntCounterVec,
    pub cache_hits: IntCounter,
    pub cache_misses: IntCounter,
    pub upstream_requests: IntCounterVec,
    pub upstream_retries: IntCounterVec,
    pub upstream_errors: IntCounterVec,
    pub upstream_connections: IntGaugeVec,
    pub endpoint_ejected: IntGaugeVec,
    pub connections: IntGauge,
    pub connections_total: IntCounterVec,
    pub connections_closed: IntCounterVec,
    pub reload_successful: IntGauge,
    pub reload_success_timestamp: Gauge,
    pub reloads: IntCounterVec,
    pub certificate_not_after: GaugeVec,
    pub ledger_up: IntGauge,
    pub ledger_records: IntGaugeVec,
    pub ledger_commits: IntCounter,
    pub control_requests: IntCounterVec,
    pub keys: IntGaugeVec,
    pub keys_refresh_successful: IntGaugeVec,
    pub log_lines_dropped: IntCounter,
    pub panics: IntCounter,
    pub draining: IntGauge,
    pub sessions_active: IntGaugeVec,
    pub sessions_admitted: IntCounterVec,
    pub sessions_refused: IntCounterVec,
    pub sessions_ended: IntCounterVec,
    pub sessions_over_limit: IntCounterVec,
    pub uploads_begun: IntCounterVec,
    pub uploads_ended: IntCounterVec,
    pub uploads_bytes: IntCounterVec,
    pub uploads_outlived: IntCounterVec,
    pub uploads_video_ids: IntCounterVec,
    pub session_store_seconds: HistogramVec,
    pub session_store_errors: IntCounterVec,
    pub session_store_up: IntGauge,
    pub credential_renewals: IntCounterVec,
    pub credential_renewal_seconds: HistogramVec,
    pub credential_rejections: IntCounterVec,
    pub credential_state: IntGaugeVec,
    pub credential_expiry: GaugeVec,
    pub credential_values: IntGaugeVec,
}

impl std::ops::Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

/// The ways a connection ends that are not the caller's own.
pub const CLOSED: [&str; 8] = ["handshake", "head", "keep_alive", "write_idle", "limit", "limit_per_ip", "protocol", "drain"];

/// The ways an upload is seen to end.
pub const UPLOAD_ENDS: [&str; 3] = ["whole", "failed", "given_up"];

/// Latency buckets in seconds: playlists and segments live between a millisecond and some seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl Metrics {
    /// Makes and registers all families. The error is a programming mistake (two of one name).
    ///
    /// # Errors
    /// The registry's own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("tollgate".into()), None)?;
        let make = Maker(&registry);
        let families = Families {
            requests: make.counters(
                "http_requests_total",
                "Requests answered, by route, method and status.",
                &["route", "method", "code"],
            )?,
            request_seconds: make.histograms(
                "http_request_duration_seconds",
                "Time from the request's head to the answer's head.",
                &["route"],
            )?,
            response_seconds: make.histograms(
                "http_response_duration_seconds",
                "Time from the request's head to the answer's last byte.",
                &["route"],
            )?,
            in_flight: make.gauge("http_requests_in_flight", "Requests being answered.")?,
            bytes: make.counters(
                "http_bytes_total",
                "Body bytes, by route and direction (in: from callers, out: to callers).",
                &["route", "direction"],
            )?,
            refusals: make.counters("refusals_total", "Requests refused by the gateway, by route and code.", &["route", "code"])?,
            validations: make.counters(
                "token_validations_total",
                "Tokens decided on, by route, scheme and result (ok or the denial).",
                &["route", "scheme", "result"],
            )?,
            shadow: make.counters(
                "token_shadow_total",
                "Requests that passed in shadow mode, by route and what would have been decided (ok or the denial).",
                &["route", "verdict"],
            )?,
            compared: make.counters(
                "token_compared_total",
                "Requests decided by both lists of schemes in dual mode, by route and which of them took the token.",
                &["route", "taken_by"],
            )?,
            cache_hits: make.counter("token_cache_hits_total", "Verdicts remembered and used again.")?,
            cache_misses: make.counter("token_cache_misses_total", "Tokens verified anew.")?,
            upstream_requests: make.counters(
                "upstream_requests_total",
                "Answers from origins, by origin and status.",
                &["origin", "code"],
            )?,
            upstream_retries: make.counters("upstream_retries_total", "Further tries of a request, by origin.", &["origin"])?,
            upstream_errors: make.counters(
                "upstream_errors_total",
                "Exchanges with an origin that failed, by origin and reason.",
                &["origin", "reason"],
            )?,
            upstream_connections: make.gauges("upstream_requests_in_flight", "Requests at an origin, by origin.", &["origin"])?,
            endpoint_ejected: make.gauges(
                "upstream_endpoint_ejected",
                "Whether an endpoint is left out for now.",
                &["origin", "endpoint"],
            )?,
            connections: make.gauge("connections", "Connections of callers.")?,
            connections_total: make.counters("connections_total", "Connections accepted, by protocol.", &["protocol"])?,
            connections_closed: make.counters("connections_closed_total", "Connections closed by the gateway, by reason.", &["reason"])?,
            reload_successful: make.gauge("config_last_reload_successful", "Whether the last reload of the config was taken.")?,
            reload_success_timestamp: make.float("config_last_reload_success_timestamp_seconds", "When the running config was taken.")?,
            reloads: make.counters("config_reloads_total", "Reloads tried, by result.", &["result"])?,
            ledger_up: make.gauge(
                "ledger_up",
                "1 while the ledger can be asked: its file while it takes changes, a shared one while its store answers.",
            )?,
            ledger_records: make.gauges("ledger_records", "Records of the ledger, by kind.", &["kind"])?,
            ledger_commits: make.counter("ledger_commits_total", "Commits of the ledger; changes made at the same time share one.")?,
            control_requests: make.counters(
                "control_requests_total",
                "Requests answered by the control listener, by API and status.",
                &["api", "code"],
            )?,
            certificate_not_after: make.floats(
                "tls_certificate_not_after_timestamp_seconds",
                "When a certificate ends.",
                &["certificate"],
            )?,
            keys: make.gauges("keys", "Usable keys of a key set.", &["keys"])?,
            keys_refresh_successful: make.gauges(
                "keys_last_refresh_successful",
                "Whether a key set's last refresh was taken.",
                &["keys"],
            )?,
            log_lines_dropped: make.counter("log_lines_dropped_total", "Log lines given up because the writer was behind.")?,
            panics: make.counter("panics_total", "Panics: faults of our own.")?,
            draining: make.gauge("draining", "Whether the gateway is shutting down.")?,
            sessions_active: make.gauges("sessions_active", "Sessions alive, by route.", &["route"])?,
            sessions_admitted: make.counters("sessions_admitted_total", "Sessions begun or brought back, by route.", &["route"])?,
            sessions_refused: make.counters(
                "sessions_refused_total",
                "Sessions not given, by route and the limit that was met.",
                &["route", "reason"],
            )?,
            sessions_ended: make.counters("sessions_ended_total", "Sessions ended, by route and how.", &["route", "reason"])?,
            sessions_over_limit: make.counters(
                "sessions_over_limit_total",
                "Sessions over a limit that is only observed, by route and limit.",
                &["route", "reason"],
            )?,
            uploads_begun: make.counters("uploads_begun_total", "Uploads begun, by route.", &["route"])?,
            uploads_ended: make.counters(
                "uploads_ended_total",
                "Uploads that were seen to end, by route and result (whole, failed, given_up).",
                &["route", "result"],
            )?,
            uploads_bytes: make.counters("uploads_bytes_total", "Body bytes of uploads that origins have taken, by route.", &["route"])?,
            uploads_outlived: make.counters(
                "uploads_outlived_total",
                "Requests of uploads let in after their token's end, by route.",
                &["route"],
            )?,
            uploads_video_ids: make.counters(
                "uploads_video_ids_supplied_total",
                "Parts that were given the video id that their client left out, by route.",
                &["route"],
            )?,
            session_store_seconds: make.histograms(
                "session_store_seconds",
                "Time that the shared session store took, by operation, faults included.",
                &["operation"],
            )?,
            session_store_errors: make.counters(
                "session_store_errors_total",
                "Requests that the shared session store did not answer, by operation.",
                &["operation"],
            )?,
            session_store_up: make
                .gauge("session_store_up", "0 while the shared session store does not answer, else 1, also where there is none.")?,
            credential_renewals: make.counters(
                "credential_renewals_total",
                "Calls for a credential, by credential, provider and result (ok or why it was refused).",
                &["credential", "provider", "result"],
            )?,
            credential_renewal_seconds: make.histograms(
                "credential_renewal_seconds",
                "Time that a call for a credential took.",
                &["credential", "provider"],
            )?,
            credential_rejections: make.counters(
                "credential_rejections_total",
                "Credentials that an upstream did not take and that were replaced for it.",
                &["credential"],
            )?,
            credential_state: make.gauges(
                "credential_state",
                "1 for the state that a credential is in, else 0.",
                &["credential", "state"],
            )?,
            credential_expiry: make.floats(
                "credential_expiry_timestamp_seconds",
                "When a route's credential is used no more; 0 without one, +Inf where it has no end.",
                &["credential"],
            )?,
            credential_values: make.gauges(
                "credential_values",
                "Values held of a credential for sessions or resources.",
                &["credential"],
            )?,
            registry,
        };
        families.register_process()?;
        families.create_closed_series();
        Ok(Self(Arc::new(families)))
    }

    /// All families in the text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        use prometheus::Encoder as _;
        let mut out = Vec::with_capacity(32 * 1024);
        // Encoding fails only for families without a metric, which the registry does not hand out.
        let _ = prometheus::TextEncoder::new().encode(&self.0.registry.gather(), &mut out);
        if let Some(process) = &self.process() {
            let _ = prometheus::TextEncoder::new().encode(process, &mut out);
        }
        out
    }

    /// The sum of a counter family over all its labels, for the demo's page.
    #[must_use]
    pub fn sum(&self, family: &str) -> f64 {
        let full = format!("tollgate_{family}");
        let found = self.0.registry.gather().into_iter().find(|f| f.name() == full);
        found.map_or(0.0, |f| f.get_metric().iter().map(|m| m.get_counter().get_value()).sum())
    }

    /// Refusals by code, over all routes, without the ones that never happened.
    #[must_use]
    pub fn refusals_by_code(&self) -> std::collections::BTreeMap<String, u64> {
        let mut by_code = std::collections::BTreeMap::new();
        let found = self.0.registry.gather().into_iter().find(|f| f.name() == "tollgate_refusals_total");
        for metric in found.iter().flat_map(|f| f.get_metric()) {
            let code = metric.get_label().iter().find(|l| l.name() == "code").map(|l| l.value().to_owned());
            let count = metric.get_counter().get_value();
            if let (Some(code), true) = (code, count > 0.0) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                let count = count as u64;
                *by_code.entry(code).or_default() += count;
            }
        }
        by_code
    }

    fn process(&self) -> Option<Vec<prometheus::proto::MetricFamily>> {
        use prometheus::core::Collector as _;
        #[cfg(target_os = "linux")]
        return Some(prometheus::process_collector::ProcessCollector::for_self().collect());
        #[cfg(not(target_os = "linux"))]
        None
    }
}

/// What is asked of the shared session store.
const STORE_OPERATIONS: [&str; 9] = ["admit", "find", "renew", "reclaim", "end", "revoke", "restore", "revocations", "changes"];

/// The ways a session ends, and the limits that it can meet: the words of the session room.
const SESSION_ENDS: [&str; 6] = ["idle", "evicted", "duration", "revoked", "replaced", "closed"];
const SESSION_LIMITS: [&str; 9] = [
    "concurrent_token",
    "concurrent_subject",
    "concurrent_device",
    "concurrent_asset",
    "total_token",
    "networks",
    "duration",
    "bytes",
    "ceiling",
];

impl Families {
    /// Makes the session series of a route.
    pub fn announce_sessions(&self, route: &str) {
        self.sessions_active.with_label_values(&[route]);
        self.sessions_admitted.with_label_values(&[route]);
        for reason in SESSION_ENDS {
            self.sessions_ended.with_label_values(&[route, reason]);
        }
        for reason in SESSION_LIMITS {
            self.sessions_refused.with_label_values(&[route, reason]);
            self.sessions_over_limit.with_label_values(&[route, reason]);
        }
    }

    /// Makes all series of a route that takes uploads.
    pub fn announce_uploads(&self, route: &str) {
        for family in [&self.uploads_begun, &self.uploads_bytes, &self.uploads_outlived, &self.uploads_video_ids] {
            family.with_label_values(&[route]);
        }
        for result in UPLOAD_ENDS {
            self.uploads_ended.with_label_values(&[route, result]);
        }
    }

    /// Makes all series of a shared store.
    pub fn announce_shared_store(&self) {
        self.announce_store(&STORE_OPERATIONS);
    }

    /// Makes the series of a credential.
    pub fn announce_credential(&self, name: &str, provider: &str) {
        for result in CREDENTIAL_RESULTS {
            self.credential_renewals.with_label_values(&[name, provider, result]);
        }
        self.credential_renewal_seconds.with_label_values(&[name, provider]);
        self.credential_rejections.with_label_values(&[name]);
    }

    fn announce_store(&self, operations: &[&str]) {
        for operation in operations {
            self.session_store_seconds.with_label_values(&[operation]);
            self.session_store_errors.with_label_values(&[operation]);
        }
    }

    fn register_process(&self) -> Result<(), prometheus::Error> {
        let info = IntGaugeVec::new(Opts::new("build_info", "The running build."), &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(info))
    }

    fn create_closed_series(&self) {
        for kind in crate::ledger::Kind::ALL {
            self.ledger_records.with_label_values(&[kind.word()]);
        }
        self.control_requests.with_label_values(&["tollgate", "200"]);
        for reason in CLOSED {
            self.connections_closed.with_label_values(&[reason]);
        }
        for protocol in ["http/1.1", "h2"] {
            self.connections_total.with_label_values(&[protocol]);
        }
        self.announce_store(&STORE_OPERATIONS[..1]);
        self.session_store_up.set(1);
        for result in ["ok", "refused"] {
            self.reloads.with_label_values(&[result]);
        }
    }
}

/// What comes of a call for a credential.
const CREDENTIAL_RESULTS: [&str; 5] = ["ok", "transient", "limited", "account", "malformed"];

struct Maker<'r>(&'r Registry);

impl Maker<'_> {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, family: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(IntCounter::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(IntGauge::new(name, help)?)
    }

    fn float(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.keep(Gauge::new(name, help)?)
    }

    fn floats(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.keep(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?)
    }
}

/// The methods that have a label of their own.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// The label of a method; the ones nobody listed share one, so that callers cannot make series.
#[must_use]
pub fn method_label(method: &Method) -> &'static str {
    METHODS.into_iter().find(|label| *label == method.as_str()).unwrap_or("other")
}

/// Which lists of schemes took a request in dual mode: both, neither, or one of them.
pub const COMPARED: [&str; 4] = ["both", "neither", "accept", "compare"];

/// One route's metrics, their children resolved once.
pub struct RouteMetrics {
    requests: IntCounterVec,
    get: [(StatusCode, IntCounter); 6],
    refusals: IntCounterVec,
    validations: IntCounterVec,
    shadow: IntCounterVec,
    compared: IntCounterVec,
    ok: Vec<(String, IntCounter)>,
    /// To the answer's head.
    pub request_seconds: Histogram,
    /// To the answer's last byte.
    pub response_seconds: Histogram,
    /// Body bytes from callers.
    pub bytes_in: IntCounter,
    /// Body bytes to callers.
    pub bytes_out: IntCounter,
    route: String,
}

impl RouteMetrics {
    /// The metrics of route `route`, with the series of its `schemes` made.
    #[must_use]
    pub fn new(metrics: &Metrics, route: &str, schemes: &[&str]) -> Self {
        let requests = metrics.requests.clone();
        let child = |code: StatusCode| (code, requests.with_label_values(&[route, "GET", code.as_str()]));
        let get = [200, 206, 304, 401, 403, 404].map(|code| child(StatusCode::from_u16(code).unwrap_or(StatusCode::OK)));
        for scheme in schemes {
            for denial in Denial::ALL {
                metrics.validations.with_label_values(&[route, scheme, denial.reason()]);
            }
        }
        if !schemes.is_empty() {
            for denial in Denial::ALL {
                metrics.refusals.with_label_values(&[route, denial.code()]);
            }
        }
        let ok = schemes.iter().map(|s| ((*s).to_owned(), metrics.validations.with_label_values(&[route, s, "ok"]))).collect();
        Self {
            get,
            ok,
            refusals: metrics.refusals.clone(),
            validations: metrics.validations.clone(),
            shadow: metrics.shadow.clone(),
            compared: metrics.compared.clone(),
            request_seconds: metrics.request_seconds.with_label_values(&[route]),
            response_seconds: metrics.response_seconds.with_label_values(&[route]),
            bytes_in: metrics.bytes.with_label_values(&[route, "in"]),
            bytes_out: metrics.bytes.with_label_values(&[route, "out"]),
            route: route.to_owned(),
            requests,
        }
    }

    /// Counts an answer.
    pub fn answered(&self, method: &Method, status: StatusCode) {
        if method == Method::GET
            && let Some((_, counter)) = self.get.iter().find(|(code, _)| *code == status)
        {
            return counter.inc();
        }
        self.requests.with_label_values(&[&self.route, method_label(method), status.as_str()]).inc();
    }

    /// Counts a refusal by its code.
    pub fn refused(&self, code: &str) {
        self.refusals.with_label_values(&[&self.route, code]).inc();
    }

    /// Counts a token let in.
    pub fn validated(&self, scheme: &str) {
        if let Some((_, counter)) = self.ok.iter().find(|(name, _)| name == scheme) {
            counter.inc();
        }
    }

    /// Makes the series of shadow mode.
    pub fn announce_shadow(&self) {
        for verdict in Denial::ALL.iter().map(|denial| denial.reason()).chain(["ok"]) {
            self.shadow.with_label_values(&[self.route.as_str(), verdict]);
        }
    }

    /// Makes the series of dual mode.
    pub fn announce_compared(&self) {
        for taken_by in COMPARED {
            self.compared.with_label_values(&[self.route.as_str(), taken_by]);
        }
    }

    /// Counts a request that passed in shadow mode.
    pub fn shadowed(&self, refused: Option<Denial>) {
        self.shadow.with_label_values(&[self.route.as_str(), refused.map_or("ok", Denial::reason)]).inc();
    }

    /// Counts a request decided by both lists of schemes, by one of [`COMPARED`].
    pub fn compared(&self, taken_by: &str) {
        self.compared.with_label_values(&[self.route.as_str(), taken_by]).inc();
    }

    /// Counts a token refused; `none` stands for "no scheme found its token".
    pub fn denied(&self, scheme: Option<&str>, denial: Denial) {
        self.validations.with_label_values(&[self.route.as_str(), scheme.unwrap_or("none"), denial.reason()]).inc();
    }
}

impl std::fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteMetrics").field("route", &self.route).finish_non_exhaustive()
    }
}

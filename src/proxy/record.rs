//! What is known of one request, from its first byte to its answer's last.
//!
//! Made by the door, filled in by the rooms, and read once: when the last holder lets go of it, its
//! metrics are counted and its access line is written. It never holds a token, only a fingerprint.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use super::{Error, Route};
use crate::metrics::Metrics;
use crate::secret::Fingerprint;
use crate::session::{Gone, Session, Viewing};

/// A request's record; the rooms share it on one thread.
pub type Shared = Rc<Record>;

/// Takes finished records: the access log.
pub trait Journal {
    /// Whether a request that goes well shall have a line (sampling); refusals and failures always have one.
    fn wants(&self) -> bool;

    /// Writes the line of a finished request, if it is to be written.
    fn write(&self, record: &Record);
}

/// One request.
pub struct Record {
    /// Its id, as in `X-Request-Id`.
    pub id: String,
    /// `traceparent` as it goes upstream.
    pub trace: String,
    /// Whether it shall have an access line even if all goes well.
    pub wanted: bool,
    /// When its head was complete.
    pub started: Instant,
    /// The method.
    pub method: Method,
    /// The version: `HTTP/1.1`, `HTTP/2.0`.
    pub version: http::Version,
    /// The caller's address, once the trusted-proxy rule gave it.
    pub client_ip: Cell<IpAddr>,
    /// The host asked for.
    pub host: RefCell<String>,
    /// The path asked for, segments long enough to be a token blanked; the query is never kept.
    pub path: RefCell<String>,
    /// The route, once found.
    pub route: OnceCell<Arc<Route>>,
    /// The scheme whose token was let in or refused.
    pub scheme: OnceCell<crate::name::Name>,
    /// The token's fingerprint.
    pub fingerprint: Cell<Option<Fingerprint>>,
    /// Whether the verdict was remembered.
    pub remembered: Cell<bool>,
    /// The session it belongs to.
    pub session: OnceCell<Arc<Session>>,
    /// What its answer is to that session, where it is one of a viewing.
    pub viewing: OnceCell<Viewing>,
    /// The code, if the gateway itself ended it.
    pub code: Cell<Option<&'static str>>,
    /// Why it would have been refused, in shadow mode.
    pub shadow: Cell<Option<&'static str>>,
    /// Which list of schemes took it, where those of dual mode differ.
    pub compared: Cell<Option<&'static str>>,
    /// More on the code, for the log only.
    pub cause: RefCell<Option<String>>,
    /// The origin's endpoint that answered.
    pub endpoint: OnceCell<Arc<str>>,
    /// The origin's status.
    pub upstream_status: Cell<Option<StatusCode>>,
    /// Tries beyond the first.
    pub retries: Cell<u32>,
    /// The status sent.
    pub status: Cell<StatusCode>,
    /// Seconds to the answer's head.
    pub first_byte: Cell<f64>,
    /// Body bytes from the caller.
    pub bytes_in: Cell<u64>,
    /// Body bytes to the caller.
    pub bytes_out: Cell<u64>,
    /// Whether the answer went out whole.
    pub complete: Cell<bool>,
    /// The user agent, cut to a sane length.
    pub user_agent: RefCell<Option<String>>,
    metrics: Metrics,
    journal: Rc<dyn Journal>,
}

impl Record {
    /// A record for a request that just arrived.
    #[must_use]
    pub fn new(head: (&Method, http::Version), ids: (String, String), metrics: Metrics, journal: Rc<dyn Journal>) -> Shared {
        metrics.in_flight.inc();
        Rc::new(Self {
            id: ids.0,
            trace: ids.1,
            wanted: journal.wants(),
            started: Instant::now(),
            method: head.0.clone(),
            version: head.1,
            client_ip: Cell::new(IpAddr::from([0, 0, 0, 0])),
            host: RefCell::default(),
            path: RefCell::default(),
            route: OnceCell::new(),
            scheme: OnceCell::new(),
            fingerprint: Cell::new(None),
            remembered: Cell::new(false),
            session: OnceCell::new(),
            viewing: OnceCell::new(),
            code: Cell::new(None),
            shadow: Cell::new(None),
            compared: Cell::new(None),
            cause: RefCell::new(None),
            endpoint: OnceCell::new(),
            upstream_status: Cell::new(None),
            retries: Cell::new(0),
            status: Cell::new(StatusCode::OK),
            first_byte: Cell::new(0.0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            complete: Cell::new(false),
            user_agent: RefCell::default(),
            metrics,
            journal,
        })
    }

    /// Notes that the answer's head is going out.
    pub fn answered(&self, status: StatusCode) {
        self.status.set(status);
        self.first_byte.set(self.started.elapsed().as_secs_f64());
    }

    /// The name of the route, or `none`.
    #[must_use]
    pub fn route_name(&self) -> &str {
        self.route.get().map_or("none", |route| route.name.as_str())
    }

    /// Notes host and path for the access line. What could be a token is blanked: a segment longer
    /// than an id ever is, one that looks like a JWS, and the value of `name=value` (`t=TOKEN`, `;token=TOKEN`).
    pub fn note_target(&self, host: &str, raw_path: &str) {
        const LONGEST_ID: usize = 48;
        let is_token = |segment: &str| segment.len() > LONGEST_ID || segment.starts_with("eyJ");
        // A `=` that came encoded still has a token behind it, only not one that a scheme would find.
        let name_of = |segment: &str| ["=", "%3D", "%3d"].iter().filter_map(|sign| segment.find(sign)).min();
        let shown = raw_path.split('/').map(|segment| match name_of(segment) {
            Some(end) if !is_token(&segment[..end]) => format!("{}=[redacted]", &segment[..end]),
            None if !is_token(segment) => segment.to_owned(),
            _ => "[redacted]".to_owned(),
        });
        *self.path.borrow_mut() = shown.collect::<Vec<_>>().join("/");
        *self.host.borrow_mut() = host.to_owned();
    }

    /// So many bytes of the answer are about to pass, behind those `before` them. The first piece always may: a request that was
    /// let in is answered, and the next one hears what has happened meanwhile.
    ///
    /// # Errors
    /// Why its session may not have more; it is noted as what ended the request.
    pub fn pass(&self, before: u64, bytes: u64) -> Result<(), Gone> {
        let passed = self.viewing.get().map_or(Ok(()), |viewing| viewing.pass(bytes));
        let passed = if before == 0 { Ok(()) } else { passed };
        passed.inspect_err(|gone| {
            self.code.set(Some(Error::SessionGone(*gone).code()));
            self.complete.set(false);
        })
    }

    /// Seconds since the head was complete.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let status = self.status.get();
        match self.route.get() {
            Some(route) => {
                let of_route = &route.metrics;
                of_route.answered(&self.method, status);
                of_route.request_seconds.observe(self.first_byte.get());
                of_route.response_seconds.observe(self.seconds());
                of_route.bytes_in.inc_by(self.bytes_in.get());
                of_route.bytes_out.inc_by(self.bytes_out.get());
                if let Some(code) = self.code.get() {
                    of_route.refused(code);
                }
            }
            None => {
                let method = crate::metrics::method_label(&self.method);
                self.metrics.requests.with_label_values(&["none", method, status.as_str()]).inc();
                if let Some(code) = self.code.get() {
                    self.metrics.refusals.with_label_values(&["none", code]).inc();
                }
            }
        }
        self.journal.write(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Journal for Nobody {
        fn wants(&self) -> bool {
            false
        }
        fn write(&self, _: &Record) {}
    }

    #[test]
    fn what_could_be_a_token_is_blanked() {
        let metrics = Metrics::new().expect("metrics");
        let record = Record::new((&Method::GET, http::Version::HTTP_11), Default::default(), metrics, Rc::new(Nobody));
        let long = "a".repeat(49);
        for (path, shown) in [
            ("/vod/master.m3u8", "/vod/master.m3u8"),
            ("/vod/3f2504e0-4f89-11d3-9a0c-0305e82c3301/a", "/vod/3f2504e0-4f89-11d3-9a0c-0305e82c3301/a"),
            ("/t=short/a.m4s", "/t=[redacted]/a.m4s"),
            ("/t%3Dshort/a", "/t=[redacted]/a"),
            ("/a;token=x=y/b", "/a;token=[redacted]/b"),
            ("/eyJx/b", "/[redacted]/b"),
            ("/eyJx=y/b", "/[redacted]/b"),
            (long.as_str(), "[redacted]"),
        ] {
            record.note_target("a", path);
            assert_eq!(*record.path.borrow(), shown);
        }
    }
}

//! Vendors on a loopback port: stand-ins that refuse what the vendor would refuse, keep what they are sent
//! byte for byte, and go wrong when told to (see [`tollgate::demo::vendor`]).
//!
//! ```ignore
//! let clock = Clock::manual(NOW);
//! let vendor = Simulator::plain(Apivideo::new(apivideo::settings()), &clock);
//! vendor.fail("POST /auth/refresh", 1, Fault::Status(503));
//! … vendor.url … vendor.vendor().uploads() …
//! ```

use std::ops::Deref;

use tollgate::clock::Clock;
use tollgate::demo::vendor::{StandIn, Vendor};

use super::tls::Authority;
use crate::loopback::Loopback;

/// A running stand-in; all of [`StandIn`]'s functions are its own. Ends when dropped.
pub(crate) struct Simulator<V> {
    /// `http://127.0.0.1:port`, or `https://localhost:port`.
    pub(crate) url: String,
    stand_in: StandIn<V>,
    _server: Loopback,
}

impl<V: Vendor> Simulator<V> {
    /// Without TLS.
    pub(crate) fn plain(vendor: V, clock: &Clock) -> Self {
        Self::of(StandIn::new(vendor, clock.clone()), None)
    }

    /// With a certificate of `authority` for `localhost` and `127.0.0.1`.
    pub(crate) fn secure(vendor: V, clock: &Clock, authority: &Authority) -> Self {
        let acceptor = authority.acceptor(&authority.issue("vendor", &["localhost", "127.0.0.1"]), false);
        Self::of(StandIn::new(vendor, clock.clone()), Some(acceptor))
    }

    fn of(stand_in: StandIn<V>, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let (serving, secure) = (stand_in.clone(), tls.is_some());
        let server = Loopback::start(|listener, stopped| async move { serving.serve(listener, tls, stopped).await });
        let url = if secure { server.base.replace("http://127.0.0.1", "https://localhost") } else { server.base.clone() };
        Self { url, stand_in, _server: server }
    }
}

impl<V> Deref for Simulator<V> {
    type Target = StandIn<V>;

    fn deref(&self) -> &StandIn<V> {
        &self.stand_in
    }
}

//! The walk: door, guard, find_route, preflight, verify_token, admit_session, upload, propagate, outbound, inject, forward.
//!
//! [`walk`] is the floor plan: rooms in walking order, each taking the type that the one before
//! gives. `Forward` takes only an [`inject::Credentialed`], which only `Inject` makes, from a [`request::Outbound`], which only
//! `PrepareOutbound` makes, from a [`request::Admitted`]: there is no way to an origin around the token, the session or
//! the credential.
//!
//! ```compile_fail,E0277
//! # use tollgate::proxy::{AroundLayer, filter::FilterLayer, guard::Guard, find_route::FindRoute, outbound::PrepareOutbound, inject::Inject, forward::Forward, request::Arrived};
//! # use tower::{Service, ServiceBuilder};
//! fn is_a_walk(_: impl Service<Arrived>) {}
//! // Without VerifyToken: "the trait `Filter<Routed>` is not implemented for `PrepareOutbound`".
//! let forward: Forward = unimplemented!();
//! is_a_walk(
//!     ServiceBuilder::new()
//!         .layer(FilterLayer(Guard))
//!         .layer(FilterLayer(FindRoute))
//!         .layer(FilterLayer(PrepareOutbound))
//!         .layer(AroundLayer(Inject))
//!         .service(forward),
//! );
//! ```
//!
//! ```compile_fail,E0277
//! # use tollgate::proxy::{filter::FilterLayer, outbound::PrepareOutbound, forward::Forward, request::Admitted};
//! # use tower::{Service, ServiceBuilder};
//! fn is_a_walk(_: impl Service<Admitted>) {}
//! // Without Inject: "the trait `Service<Outbound>` is not implemented for `Forward`".
//! let forward: Forward = unimplemented!();
//! is_a_walk(ServiceBuilder::new().layer(FilterLayer(PrepareOutbound)).service(forward));
//! ```
//!
//! With it, it does:
//!
//! ```no_run
//! # use tollgate::proxy::{AroundLayer, filter::FilterLayer, outbound::PrepareOutbound, inject::Inject, forward::Forward, request::Admitted};
//! # use tower::{Service, ServiceBuilder};
//! # fn is_a_walk(_: impl Service<Admitted>) {}
//! # let forward: Forward = unimplemented!();
//! is_a_walk(ServiceBuilder::new().layer(FilterLayer(PrepareOutbound)).layer(AroundLayer(Inject)).service(forward));
//! ```

pub mod admit_session;
pub mod body;
pub mod door;
pub mod error;
pub mod explain;
pub mod filter;
pub mod find_route;
pub mod forward;
pub mod guard;
pub mod inject;
pub mod learn;
pub mod origin;
pub mod outbound;
pub mod own_answer;
pub mod pace;
pub mod pool;
pub mod preflight;
pub mod propagate;
pub mod record;
pub mod renew;
pub mod request;
pub mod slow;
pub mod ticket;
pub mod upload;
pub mod verify_token;

use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use ipnet::IpNet;
use tower::{Service, ServiceBuilder};

pub use body::Body;
pub use error::Error;
pub use filter::{AnswerLayer, AroundLayer, DecideLayer, Filter, FilterLayer};

use crate::clock::Clock;
use crate::credential::mapping::Mappings;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::revocation::Revocations;
use crate::session::Sessions;
use crate::session::fleet::Fleet;
use crate::session::ticket::Tickets;
use crate::token::Geo;
use crate::units::{Period, Size};
use crate::upload::Uploads;
use crate::verifier::Verifier;

/// A route whose origin is one of ours.
pub type Route = crate::route::plan::Route<Arc<origin::Origin>>;

/// All routes.
pub type Plan = crate::route::plan::Plan<Arc<origin::Origin>>;

/// The running config, as the walk needs it. One `Arc` of it goes with each request, so that a
/// reload changes nothing for a request under way.
pub struct State {
    /// Routes.
    pub plan: Plan,
    /// Keys and remembered verdicts.
    pub verifier: Verifier,
    /// The session table; outlives reloads.
    pub sessions: Sessions,
    /// Uploads under way; outlive reloads.
    pub uploads: Uploads,
    /// The fleet, where gateways share their sessions.
    pub fleet: Option<Fleet>,
    /// The record of what was issued here, where it is.
    pub ledger: Option<Ledger>,
    /// Signs and opens tickets.
    pub tickets: Arc<Tickets>,
    /// Seals and opens tickets that stand for upstream URLs.
    pub mappings: Arc<Mappings>,
    /// What was withdrawn.
    pub revocations: Arc<Revocations>,
    /// Where addresses are.
    pub geo: Arc<dyn Geo>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Limits on a request.
    pub limits: Limits,
    /// Who has been refused too often.
    pub slow: Arc<slow::Slow>,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
}

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the request target.
    pub max_uri: Size,
    /// Header fields.
    pub max_headers: usize,
    /// Longest silence inside a request body.
    pub body_silence: Period,
}

/// The walk behind the door.
pub fn walk(pool: Rc<pool::Pool>) -> impl Service<request::Arrived, Response = Response<Body>, Error = Error> + Clone {
    ServiceBuilder::new()
        .layer(FilterLayer(guard::Guard))
        .layer(FilterLayer(find_route::FindRoute))
        .layer(AnswerLayer(preflight::Preflight))
        .layer(AnswerLayer(own_answer::BeforeToken))
        .layer(DecideLayer(verify_token::VerifyToken))
        .layer(AnswerLayer(own_answer::WithToken))
        .layer(DecideLayer(admit_session::AdmitSession))
        .layer(AroundLayer(upload::Upload))
        .layer(AnswerLayer(propagate::Redirect))
        .layer(AroundLayer(propagate::Propagate))
        .layer(AroundLayer(renew::Renew))
        .layer(AroundLayer(learn::Learn))
        .layer(FilterLayer(outbound::PrepareOutbound))
        .layer(AroundLayer(inject::Inject))
        .service(forward::Forward::new(pool))
}

//! Token rules: bytes, [`RequestFacts`] and a [`UnixTime`](crate::clock::UnixTime) in, [`Grant`] or [`Denial`] out.
//!
//! Nothing in this room does I/O, reads a clock, logs or counts: a decision can be replayed
//! exactly. One file a scheme in `token/scheme/`, verify and sign side by side.

pub mod access;
pub mod attributes;
pub mod browser;
pub mod carrier;
pub mod denial;
pub mod exact;
pub mod facts;
pub mod grant;
pub mod issued;
pub mod json;
pub mod jws;
pub mod key;
pub mod near;
pub mod renewal;
pub mod scheme;
pub mod url_rule;
pub mod ziggeo;

pub use access::{AccessRule, Country, Geo, NoGeo};
pub use carrier::{Carrier, Presented, Strip, Where};
pub use denial::Denial;
pub use facts::RequestFacts;
pub use grant::{Answer, Binding, Combination, Condition, Details, Grant, PathRule, Scope, SessionTerms, UploadTerms, Window};
pub use issued::{Issue, Issued, Kind, NothingIssued};
pub use key::{Algorithm, Key, KeyFault, KeySet, KeySource};
pub use near::Near;
pub use renewal::{Renewal, RenewalCarrier, Renewed};
pub use scheme::{Due, Reply, Scheme, SignError, SignRequest, Signed};

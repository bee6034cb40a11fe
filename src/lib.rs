//! Tollgate: a reverse proxy that injects and enforces tokens in front of video origins and video
//! providers.
//!
//! A request is data that changes type as it earns the right to go on. The rooms, lowest floor first:
//!
//! | floor | rooms |
//! |---|---|
//! | ground | [`clock`], [`name`], [`path`], [`query`], [`secret`], [`units`] |
//! | token | [`token`]: pure rules; every scheme in the world becomes one [`token::Grant`]; [`conformance`]: schemes built from test vectors |
//! | keepers | [`verifier`]: keys and remembered verdicts |
//! | route | [`route`]: host, path and method to schemes, rules and origin |
//! | proxy | [`proxy`]: the walk |
//! | edges | [`server`], [`admin`], [`telemetry`] |
//! | config | [`config`] |

pub mod clock;
pub mod name;
pub mod path;
pub mod query;
pub mod secret;
pub mod units;

pub mod token;

pub mod conformance;

pub mod verifier;

pub mod route;

pub mod proxy;

pub mod admin;
pub mod server;
pub mod telemetry;

pub mod config;

//! Tollgate: a reverse proxy that injects and enforces tokens in front of video origins and video
//! providers.
//!
//! A request is data that changes type as it earns the right to go on. The rooms, lowest floor first:
//!
//! | floor | rooms |
//! |---|---|
//! | ground | [`clock`], [`name`], [`path`], [`query`], [`secret`], [`units`] |
//! | token | [`token`]: pure rules; every scheme in the world becomes one [`token::Grant`]; [`manifest`]: playlists rewritten; [`form`]: form bodies edited |
//! | store | [`store`]: durable records, sealed |
//! | keepers | [`files`], [`metrics`], [`keygen`], [`ledger`]: what was issued; [`verifier`]: keys and remembered verdicts; [`session`]: one viewer is one viewer; [`upload`]: one file is one upload; [`revocation`]: what was withdrawn; [`credential`]: what origins are shown; [`geo`]: where addresses are |
//! | route | [`route`]: host, path and method to schemes, rules and origin |
//! | proxy | [`proxy`]: the walk |
//! | edges | [`server`], [`admin`], [`control`]: tokens of our own, [`telemetry`] |
//! | config | [`config`] |
//! | app | [`app`]: everything put together; [`demo`]: an origin and a page to see it work |
//! | command line | [`cli`], [`conformance`] |

pub mod clock;
pub mod name;
pub mod path;
pub mod query;
pub mod secret;
pub mod units;

pub mod form;
pub mod manifest;
pub mod token;

pub mod files;
pub mod store;

pub mod credential;
pub mod geo;
pub mod keygen;
pub mod ledger;
pub mod metrics;
pub mod revocation;
pub mod session;
pub mod upload;
pub mod verifier;

pub mod route;

pub mod proxy;

pub mod admin;
pub mod control;
pub mod server;
pub mod telemetry;

pub mod config;

pub mod app;
pub mod demo;

pub mod cli;
pub mod conformance;

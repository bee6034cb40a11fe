//! The integration suites, one binary: how things hold together, with real parts.

#![allow(clippy::needless_pass_by_value, reason = "a suite hands over what it has built")]

mod browser;
mod canary;
mod cli;
mod config;
mod control;
mod credentials;
mod deploy;
mod dialects;
mod ffmpeg;
mod fleet;
mod floors;
mod fuzz;
mod guard;
mod inject;
mod interop;
mod ledger;
mod loopback;
mod media;
mod metrics;
mod peer;
mod readme;
mod remote_keys;
mod rig;
mod sdk;
mod server;
mod sessions;
mod support;
mod tool;
mod translation;
mod uploads;
mod upstream;
mod vendors;
mod walk;

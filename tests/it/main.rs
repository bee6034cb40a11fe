//! The integration suites, one binary: how things hold together, with real parts.

mod browser;
mod config;
mod deploy;
mod ffmpeg;
mod guard;
mod loopback;
mod server;
mod support;
mod tool;
mod upstream;
mod walk;

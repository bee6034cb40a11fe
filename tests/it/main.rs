//! The integration suites, one binary.

mod browser;
mod deploy;
mod ffmpeg;
mod loopback;
mod tool;

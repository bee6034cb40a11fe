//! The integration suites, one binary.

mod browser;
mod ffmpeg;
mod loopback;
mod tool;

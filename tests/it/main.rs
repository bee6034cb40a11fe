//! The integration suites, one binary.

mod config;

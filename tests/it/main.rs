//! The integration suites, one binary.

//! The binary: arguments, config, run, exit code.

fn main() {}

//! Forms in one line, edited while they stream.

#![no_main]
#![allow(dead_code, reason = "each target uses one of them")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::urlencoded(data));

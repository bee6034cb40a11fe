//! Every scheme: present, open, check, fits, renew; nothing made up is good.

#![no_main]
#![allow(dead_code, reason = "each target uses one of them")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(!targets::scheme(data)));

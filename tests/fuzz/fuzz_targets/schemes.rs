//! A scheme: present, open, check, fits, renew; nothing made up is good. `TOLLGATE_FUZZ_SCHEME` names the one, unset it is
//! all of them.

#![no_main]
#![allow(dead_code, reason = "each target uses one of them")]

#[path = "../targets.rs"]
mod targets;

static KIND: std::sync::LazyLock<Option<String>> =
    std::sync::LazyLock::new(|| std::env::var("TOLLGATE_FUZZ_SCHEME").ok().filter(|kind| !kind.is_empty()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(!targets::scheme(KIND.as_deref(), data)));

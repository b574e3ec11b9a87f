//! Mangled names: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::demangle;

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = std::str::from_utf8(data) {
        let _ = demangle(name).len();
    }
});

//! Published tables and their checks: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_exits::lint;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = lint(text, "t");
    }
});

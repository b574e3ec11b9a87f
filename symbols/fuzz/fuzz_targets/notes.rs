//! ELF notes: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::BuildId;

fuzz_target!(|data: &[u8]| {
    let _ = BuildId::from_notes(data);
});

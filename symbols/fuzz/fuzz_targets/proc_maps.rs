//! Mappings of a process: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::read_proc_maps;

fuzz_target!(|data: &[u8]| {
    let _ = read_proc_maps(data, "f");
});

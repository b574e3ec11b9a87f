//! Xen's map: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::read_xen_map;

fuzz_target!(|data: &[u8]| {
    if let Ok(table) = read_xen_map(data, "f") {
        for symbol in table.symbols() {
            let _ = table.lookup(symbol.address);
        }
    }
});

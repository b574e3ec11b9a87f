//! `System.map` and `nm` output: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::read_system_map;

fuzz_target!(|data: &[u8]| {
    if let Ok(table) = read_system_map(data, "f", "m") {
        for symbol in table.symbols() {
            let _ = table.lookup(symbol.address);
        }
    }
});

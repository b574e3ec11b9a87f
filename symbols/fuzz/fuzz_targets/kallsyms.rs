//! The kernel's symbols: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::read_kallsyms;

fuzz_target!(|data: &[u8]| {
    if let Ok(table) = read_kallsyms(data, "f") {
        for symbol in table.symbols() {
            let _ = table.lookup(symbol.address);
        }
    }
});

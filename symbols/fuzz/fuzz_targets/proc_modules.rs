//! Loaded modules: any answer, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::read_proc_modules;

fuzz_target!(|data: &[u8]| {
    if let Ok(modules) = read_proc_modules(data, "f") {
        for module in modules {
            let _ = module.end();
        }
    }
});

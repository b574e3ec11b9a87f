//! Fingerprints: no panic, and what is read is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::{read_fingerprints, write_fingerprints};

fuzz_target!(|data: &[u8]| {
    if let Ok(prints) = read_fingerprints(data, "f") {
        let mut text = Vec::new();
        write_fingerprints(&prints, &mut text).expect("memory takes all");
        assert_eq!(read_fingerprints(&text, "again").expect("readable"), prints);
    }
});

//! Compressed input: any answer within the limit, no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::decompress;

fuzz_target!(|data: &[u8]| {
    if let Ok(bytes) = decompress(data.to_vec(), "f", 1 << 20) {
        assert!(bytes.len() <= 1 << 20 || bytes == data);
    }
});

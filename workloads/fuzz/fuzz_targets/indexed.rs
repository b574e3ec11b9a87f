//! Any bytes, opened by the index at their end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use strata_workloads::trace::{Batch, IndexedTrace};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(bytes).expect("a file can be written");
    let Ok(trace) = IndexedTrace::open(file.path()) else { return };
    let mut batch = Batch::default();
    for number in (0..trace.chunks().len()).rev() {
        let Ok(mut chunk) = trace.chunk(number) else { continue };
        while let Ok(true) = chunk.read(&mut batch) {
            assert_eq!(batch.shapes.len(), batch.stack_pointers.len());
        }
    }
});

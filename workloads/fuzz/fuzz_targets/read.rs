//! Any bytes, read as from a pipe: no panic, no memory beyond what is there, no end without error
//! before the end mark.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_workloads::trace::{Batch, TraceReader};

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = TraceReader::new(bytes) else { return };
    let mut batch = Batch::default();
    while let Ok(true) = reader.read(&mut batch) {
        assert_eq!(batch.shapes.len(), batch.stack_pointers.len());
        let shapes = &reader.tables().shapes;
        let slots: usize = batch.shapes.iter().map(|id| shapes[id.index()].slots.len()).sum();
        assert_eq!(batch.addresses.len(), slots);
        assert!(batch.events.is_sorted_by_key(|(before, _)| *before));
    }
    if let Some(ending) = reader.ending() {
        assert_eq!(ending.totals, reader.totals());
    }
});

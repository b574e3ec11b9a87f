//! Any bytes made into a stream: what is written is what is read.

#![no_main]

#[path = "../../tests/trace/flat.rs"]
#[allow(dead_code)]
mod flat;
#[path = "../../tests/trace/made_up.rs"]
mod made_up;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let stream = made_up::stream(bytes);
    let (items, definitions) = flat::expected(&stream);
    let trace = flat::write(&stream).expect("a made-up stream can be written");
    let (read, tables, end) = flat::read(&trace[..]);
    end.expect("what was written can be read");
    assert_eq!(tables, definitions);
    assert_eq!(read, items);
});

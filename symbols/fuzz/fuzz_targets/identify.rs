//! Images searched for in executed code: any answer, no panic.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use strata_symbols::{AddressSpaceSymbols, ExecutedCode, ProcessMaps, UserImage, read_proc_maps};

fuzz_target!(|data: &[u8]| {
    // The lengths of an ELF file and of mappings, these two, then an address and code at it.
    let Some((lengths, rest)) = data.split_first_chunk::<4>() else { return };
    let [a, b, c, d] = *lengths;
    let Some((elf, rest)) = rest.split_at_checked(u16::from_le_bytes([a, b]).into()) else {
        return;
    };
    let Some((maps, code)) = rest.split_at_checked(u16::from_le_bytes([c, d]).into()) else {
        return;
    };
    let Ok(image) = UserImage::read(elf, "f", "/f") else { return };
    let mappings = read_proc_maps(maps, "m").unwrap_or_default();
    let process = ProcessMaps { pid: 1, name: "f".to_owned(), mappings };
    let mut executed = ExecutedCode::new();
    if let Some((address, bytes)) = code.split_first_chunk::<8>() {
        executed.add(u64::from_le_bytes(*address), bytes);
    }
    let space = AddressSpaceSymbols::identify(&[Arc::new(image)], &[process], &executed);
    for placement in space.placements() {
        let _ = space.lookup(placement.start);
    }
});

//! Images searched for in executed code: any answer, no panic.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use strata_symbols::{AddressSpaceSymbols, ExecutedCode, ProcessMaps, UserImage, read_proc_maps};

fuzz_target!(|data: &[u8]| {
    // An ELF file, then mappings, then executed code at an address.
    let mut parts = data.splitn(3, |&byte| byte == 0xfe);
    let (Some(elf), Some(maps), Some(code)) = (parts.next(), parts.next(), parts.next()) else {
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

//! ELF files: no panic, and symbols that hold the addresses they claim.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::{ExecutedCode, LoadBias, UserImage};

fuzz_target!(|data: &[u8]| {
    let Ok(image) = UserImage::read(data, "f", "/bin/f") else { return };
    for (range, id) in image.symbols().code_ranges() {
        let symbol = image.symbols().symbol(id).expect("a range has a symbol");
        assert!(symbol.address <= range.start && range.end <= symbol.end());
    }
    let mut code = ExecutedCode::new();
    code.add(image.extent().start.wrapping_add(0x1000), data);
    let _ = (image.check(&code, LoadBias(0x1000)), image.verify(image.extent().start, data));
});

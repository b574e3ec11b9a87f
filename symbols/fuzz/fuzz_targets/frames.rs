//! Debugging information in ELF files: no panic, and the symbol's name for the outermost frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::UserImage;

fuzz_target!(|data: &[u8]| {
    let Ok(image) = UserImage::read(data, "f", "/bin/f") else { return };
    if !image.has_lines() {
        return;
    }
    for (range, id) in image.symbols().code_ranges().take(20) {
        let symbol = image.symbols().symbol(id).expect("a range has a symbol");
        for address in range.take(200) {
            let frames = image.frames(address);
            let outermost = frames.last().expect("there is a symbol");
            assert_eq!(outermost.function.as_deref(), Some(&*symbol.display_name()));
            assert!(!outermost.inlined && frames.iter().rev().skip(1).all(|frame| frame.inlined));
        }
    }
});

//! Trimmed lists: no panic, and what is read is written and read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_symbols::{UserImage, read_symbol_list, write_trimmed_image};

fuzz_target!(|data: &[u8]| {
    if read_symbol_list(data, "f").is_err() {
        return;
    }
    let image = UserImage::read(data, "f", "").expect("a list is an image");
    let all = |image: &UserImage| -> Vec<_> {
        let ranges = image.symbols().code_ranges();
        ranges
            .map(|(range, id)| (range, image.symbols().symbol(id).map(|s| s.name.to_owned())))
            .collect()
    };
    let used = image.symbols().code_ranges().map(|(range, _)| range.start);
    let mut text = Vec::new();
    write_trimmed_image(&image, used, &mut text).expect("memory takes all");
    let again = UserImage::read(&text, "again", "").expect("what was written is readable");
    assert_eq!(all(&image), all(&again));
});

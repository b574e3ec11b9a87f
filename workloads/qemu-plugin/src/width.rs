//! Width of the code segment. The CPU keeps a copy of the descriptor that CS was loaded with; the
//! emulator does not show it, and while a system boots the table may meanwhile say otherwise.

use iced_x86::{Decoder, DecoderOptions};
use rustc_hash::FxHashMap;
use strata_workloads::trace::CodeSize;

/// A code segment selector, and whether the CPU is in long mode.
pub type Segment = (u64, bool);

const PRESENT: u64 = 1 << 47;
const LONG: u64 = 1 << 53;
const DEFAULT_32: u64 = 1 << 54;

/// What is known of a CPU's code segments.
#[derive(Debug, Default)]
pub struct Widths {
    known: FxHashMap<Segment, CodeSize>,
    last: Option<(Segment, CodeSize)>,
}

/// The width that a descriptor in the global table stands for. `None` stands for one that cannot
/// be read: in ROM, as the firmware's table is, or in a local table, which only 32-bit programs
/// have.
pub fn of_descriptor(descriptor: Option<u64>, segment: Segment) -> CodeSize {
    let (selector, long) = segment;
    let local = selector & 4 != 0;
    // A segment that code runs in is present; a table that says otherwise is not in RAM.
    match descriptor.filter(|descriptor| !local && descriptor & PRESENT != 0) {
        Some(descriptor) if long && descriptor & LONG != 0 => CodeSize::Bits64,
        Some(descriptor) if descriptor & DEFAULT_32 == 0 => CodeSize::Bits16,
        Some(_) => CodeSize::Bits32,
        None if local || !long => CodeSize::Bits32,
        None => CodeSize::Bits64,
    }
}

impl Widths {
    /// The width of the code with these instruction lengths, which runs in `segment`; `descriptor`
    /// reads the segment's entry in the global table.
    ///
    /// Where the table contradicts what the same selector stood for in the block before, that
    /// goes on as long as the code makes sense in it.
    pub fn of(
        &mut self,
        segment: Segment,
        lengths: &[u8],
        code: &[u8],
        descriptor: impl FnOnce() -> Option<u64>,
    ) -> CodeSize {
        if let Some(&known) = self.known.get(&segment) {
            return known;
        }
        let derived = of_descriptor(descriptor(), segment);
        let last = self.last.filter(|(same, _)| *same == segment).map(|(_, size)| size);
        let candidates = [
            last.unwrap_or(derived),
            derived,
            CodeSize::Bits64,
            CodeSize::Bits32,
            CodeSize::Bits16,
        ];
        let fits = |size: &CodeSize| decodes(*size, lengths, code);
        let size = candidates.into_iter().find(fits).unwrap_or(derived);
        if size == derived {
            self.known.insert(segment, size);
        }
        self.last = Some((segment, size));
        size
    }

    /// The table was replaced; CS keeps what it was loaded with.
    pub fn table_changed(&mut self) {
        self.known.clear();
    }
}

/// True when code of this width has instructions of these lengths.
fn decodes(size: CodeSize, lengths: &[u8], code: &[u8]) -> bool {
    let mut decoder = Decoder::new(size.bits(), code, DecoderOptions::NONE);
    lengths.iter().all(|&length| {
        let instruction = decoder.decode();
        !instruction.is_invalid() && instruction.len() == usize::from(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE_64: u64 = PRESENT | LONG;
    const CODE_32: u64 = PRESENT | DEFAULT_32;

    #[test]
    fn the_descriptor_gives_the_width() {
        let width = |descriptor, long| of_descriptor(descriptor, (8, long)).bits();
        assert_eq!((width(Some(CODE_64), true), width(Some(CODE_32), true)), (64, 32));
        assert_eq!((width(Some(CODE_64), false), width(Some(PRESENT), false)), (16, 16));
        assert_eq!((width(Some(0), false), width(None, true)), (32, 64));
        assert_eq!(of_descriptor(Some(CODE_64), (12, true)).bits(), 32, "a local segment");
    }

    #[test]
    fn a_new_table_changes_nothing_until_the_segment_is_loaded() {
        let mut widths = Widths::default();
        let nop = (&[1][..], &[0x90][..]);
        let long = (0x10, true);
        assert_eq!(widths.of(long, nop.0, nop.1, || Some(CODE_64)).bits(), 64);
        widths.table_changed();
        assert_eq!(widths.of(long, nop.0, nop.1, || Some(CODE_32)).bits(), 64);
        assert_eq!(widths.of((8, true), nop.0, nop.1, || Some(CODE_32)).bits(), 32);
    }

    #[test]
    fn code_that_makes_no_sense_in_a_width_is_of_another() {
        let mut widths = Widths::default();
        // A far jump has no encoding in 64-bit mode; a REX prefix has none outside it.
        let far: &[u8] = &[0xea, 0, 0, 0, 0, 8, 0];
        assert_eq!(widths.of((8, true), &[7], far, || Some(CODE_64)).bits(), 32);
        let push: &[u8] = &[0x41, 0x54];
        assert_eq!(widths.of((8, true), &[2], push, || Some(CODE_64)).bits(), 64);
    }
}

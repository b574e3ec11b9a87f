//! Fingerprints of executed code: enough to tell right symbols from wrong ones when the images
//! themselves are not there.
//!
//! A trace holds the bytes that ran, never whole pages. A fingerprint therefore says, for each
//! 64-byte line, *which* of its bytes ran and what their checksum is. A later trace is compared
//! on the lines where it has at least those bytes. Lines are small so that another path through
//! the same page spoils little.
//!
//! The bytes are those that ran, not those of a file: kernels and Xen patch their text when they
//! boot. Compare them with [`KERNEL_TOLERANCE`](crate::KERNEL_TOLERANCE).

use crate::agreement::Agreement;
use crate::executed_code::{CodeLine, ExecutedCode, LINE_BYTES};
use crate::load_bias::LoadBias;

/// Which bytes of a line ran and what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinePrint {
    /// Image address of the line.
    pub(crate) address: u64,
    /// Bit `i` is set when byte `i` ran.
    pub(crate) mask: u64,
    /// CRC-32 (ISO-HDLC) of the executed bytes in order.
    pub(crate) crc32: u32,
}

impl LinePrint {
    fn of(address: u64, mask: u64, line: &CodeLine) -> Self {
        Self { address, mask, crc32: checksum(line, mask) }
    }
}

fn checksum(line: &CodeLine, mask: u64) -> u32 {
    let mut bytes = [0; LINE_BYTES as usize];
    let mut length = 0;
    for place in (0..LINE_BYTES as usize).filter(|place| mask >> place & 1 != 0) {
        bytes[length] = line.bytes[place];
        length += 1;
    }
    crc32fast::hash(&bytes[..length])
}

/// Fingerprint of the executed code of one image, kernel or hypervisor, by image address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    lines: Vec<LinePrint>,
}

impl Fingerprint {
    /// Of the code that ran at memory addresses `start..end`, for an image loaded at `bias`
    /// (0 for kernels and hypervisor).
    pub fn of(code: &ExecutedCode, start: u64, end: u64, bias: LoadBias) -> Self {
        code.lines_in(start, end)
            .map(|(address, line)| LinePrint::of(bias.to_image(address), line.mask, line))
            .collect()
    }

    /// Compares code that ran, from an image loaded at `bias`, with the fingerprint. Code outside
    /// the fingerprint counts as unknown if it lies in `start..end`.
    pub fn check(&self, code: &ExecutedCode, start: u64, end: u64, bias: LoadBias) -> Agreement {
        let mut agreement = Agreement::default();
        for (address, line) in code.lines_in(start, end) {
            agreement.count(address, self.check_line(bias.to_image(address), line));
        }
        agreement
    }

    /// Adds the fingerprint of another run of the same code, in another address space say. Each run
    /// keeps its own lines, since either may have executed what the other did not.
    pub fn merge(&mut self, other: &Self) {
        self.lines.extend_from_slice(&other.lines);
        self.lines.sort_unstable();
        self.lines.dedup();
    }

    /// Whether a line agrees with any run of which it has all bytes; none when it has those of none.
    pub(crate) fn check_line(&self, image_address: u64, line: &CodeLine) -> Option<bool> {
        let first = self.lines.partition_point(|print| print.address < image_address);
        self.lines[first..]
            .iter()
            .take_while(|print| print.address == image_address)
            .filter(|print| line.mask & print.mask == print.mask)
            .map(|print| checksum(line, print.mask) == print.crc32)
            .reduce(|one, other| one || other)
    }

    pub(crate) fn lines(&self) -> &[LinePrint] {
        &self.lines
    }

    /// Number of 64-byte lines, those of merged runs counted for each.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl FromIterator<LinePrint> for Fingerprint {
    fn from_iter<I: IntoIterator<Item = LinePrint>>(lines: I) -> Self {
        let mut lines: Vec<LinePrint> = lines.into_iter().collect();
        lines.sort_unstable();
        lines.dedup();
        Self { lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{USER_TOLERANCE, Verdict};

    const ALL: (u64, u64) = (0, u64::MAX);

    fn code(address: u64, bytes: &[u8]) -> ExecutedCode {
        let mut code = ExecutedCode::new();
        code.add(address, bytes);
        code
    }

    #[test]
    fn the_same_code_at_another_load_address_agrees() {
        let bytes: Vec<u8> = (0..200).collect();
        let print =
            Fingerprint::of(&code(0x7000_1010, &bytes), ALL.0, ALL.1, LoadBias(0x7000_0000));
        let moved = code(0x5000_1010, &bytes);
        let agreement = print.check(&moved, ALL.0, ALL.1, LoadBias(0x5000_0000));
        assert_eq!((agreement.matched, agreement.differed, agreement.unknown), (4, 0, 0));
    }

    #[test]
    fn a_changed_byte_and_a_wrong_load_address_are_told() {
        let bytes: Vec<u8> = (0..200).collect();
        let print = Fingerprint::of(&code(0x1000, &bytes), ALL.0, ALL.1, LoadBias(0));
        let mut patched = bytes.clone();
        patched[70] ^= 1;
        let agreement = print.check(&code(0x1000, &patched), ALL.0, ALL.1, LoadBias(0));
        assert_eq!((agreement.matched, agreement.first_difference), (3, Some(0x1040)));
        let shifted = print.check(&code(0x1000, &bytes[64..]), ALL.0, ALL.1, LoadBias(0));
        assert_eq!(shifted.verdict(USER_TOLERANCE), Verdict::Different);
    }

    #[test]
    fn each_merged_run_is_enough_to_agree_with() {
        let bytes: Vec<u8> = (0..64).collect();
        let of = |from: usize, to: usize| {
            let at = 0x1000 + from as u64;
            Fingerprint::of(&code(at, &bytes[from..to]), ALL.0, ALL.1, LoadBias(0))
        };
        let mut print = of(0, 64);
        let part = code(0x1000, &bytes[..20]);
        assert_eq!(print.check(&part, ALL.0, ALL.1, LoadBias(0)).unknown, 1);
        print.merge(&of(0, 16));
        print.merge(&of(0, 16));
        assert_eq!(print.line_count(), 2);
        assert_eq!(print.check(&part, ALL.0, ALL.1, LoadBias(0)).matched, 1);
        let other = code(0x1000, &[0xcc; 20]);
        assert_eq!(print.check(&other, ALL.0, ALL.1, LoadBias(0)).differed, 1);
    }

    #[test]
    fn less_executed_code_is_unknown_and_more_is_compared() {
        let bytes: Vec<u8> = (0..64).collect();
        let print = Fingerprint::of(&code(0x1000, &bytes[..40]), ALL.0, ALL.1, LoadBias(0));
        let less = print.check(&code(0x1000, &bytes[..20]), ALL.0, ALL.1, LoadBias(0));
        assert_eq!(less.verdict(USER_TOLERANCE), Verdict::Unknown);
        let more = print.check(&code(0x1000, &bytes), ALL.0, ALL.1, LoadBias(0));
        assert_eq!(more.matched, 1);
    }
}

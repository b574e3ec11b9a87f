//! What a stride prefetcher remembers of loads and stores.

const ENTRIES: usize = 256;

/// The last address and difference of each of the last instructions that accessed memory,
/// direct-mapped by the low bits of the instruction's address.
#[derive(Debug, Clone)]
pub(crate) struct StrideTable {
    entries: Box<[Entry; ENTRIES]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// `None` until the first access of the entry.
    instruction: Option<u64>,
    address: u64,
    /// 0 until the instruction's second access.
    difference: i64,
}

impl StrideTable {
    pub(crate) fn new() -> Self {
        Self { entries: Box::new([Entry::default(); ENTRIES]) }
    }

    /// An access of `address` by the instruction at `instruction`. Returns the stride to prefetch
    /// ahead by, in bytes: the difference to its address before, if it is the same and not 0 for
    /// the second time in a row.
    #[inline]
    pub(crate) fn access(&mut self, instruction: u64, address: u64) -> Option<i64> {
        let entry = &mut self.entries[instruction as usize % ENTRIES];
        if entry.instruction != Some(instruction) {
            *entry = Entry { instruction: Some(instruction), address, difference: 0 };
            return None;
        }
        let difference = address.wrapping_sub(entry.address).cast_signed();
        let repeats = difference != 0 && difference == entry.difference;
        entry.address = address;
        entry.difference = difference;
        repeats.then_some(difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strides(accesses: &[(u64, u64)]) -> Vec<Option<i64>> {
        let mut table = StrideTable::new();
        accesses.iter().map(|&(instruction, address)| table.access(instruction, address)).collect()
    }

    #[test]
    fn a_difference_that_comes_twice_in_a_row_is_a_stride() {
        let told = strides(&[(1, 100), (1, 164), (1, 228), (1, 292), (1, 300), (1, 308)]);
        assert_eq!(told, [None, None, Some(64), Some(64), None, Some(8)]);
    }

    #[test]
    fn strides_go_down_and_wrap_around() {
        let down = strides(&[(1, 100), (1, 60), (1, 20)]);
        assert_eq!(down, [None, None, Some(-40)]);
        let wrapping = strides(&[(1, u64::MAX - 63), (1, 0), (1, 64)]);
        assert_eq!(wrapping, [None, None, Some(64)]);
    }

    #[test]
    fn standing_still_is_no_stride_and_breaks_one() {
        assert_eq!(strides(&[(1, 7), (1, 7), (1, 7)]), [None; 3]);
        assert_eq!(strides(&[(1, 0), (1, 8), (1, 8), (1, 16), (1, 24)])[3..], [None, Some(8)]);
    }

    #[test]
    fn instructions_256_bytes_apart_displace_each_other_and_others_do_not() {
        let displaced = strides(&[(5, 0), (5, 8), (261, 0), (5, 16), (5, 24), (5, 32)]);
        assert_eq!(displaced, [None, None, None, None, None, Some(8)]);
        let apart = strides(&[(5, 0), (5, 8), (6, 100), (5, 16)]);
        assert_eq!(apart[3], Some(8));
    }
}

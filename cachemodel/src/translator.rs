//! Where the models learn what is behind an address.

use crate::page::{Mapping, PhysAddr};

/// Tells translations. Asked only where the models do not know them from the access before.
pub trait Translator {
    /// What is behind the 4 KiB page of `va` now.
    fn mapping(&mut self, va: u64) -> Mapping;

    /// The tables that translate `va`; `None` where they are not known.
    fn walk(&mut self, va: u64) -> Option<PageWalk> {
        let _ = va;
        None
    }
}

/// Every virtual page is the physical one of the same number, of 4 KiB: for streams that know no
/// translations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity;

impl Translator for Identity {
    #[inline]
    fn mapping(&mut self, va: u64) -> Mapping {
        Mapping::identity(va)
    }
}

/// The table pages of one walk, root first: at most five levels (Intel SDM volume 3, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableWalk {
    frames: [u64; Self::MAX_LEVELS],
    levels: u8,
    /// Levels of tables below the last one here: 0 where it is a page table, 1 where the walk ends
    /// in a page directory (2 MiB page), 2 in a page-directory-pointer table (1 GiB page).
    above_leaf: u8,
}

impl TableWalk {
    /// Most levels of a walk.
    pub const MAX_LEVELS: usize = 5;

    /// A walk through the tables in these 4 KiB frames, root first, to a page of `shift` bits
    /// (12, 21 or 30). Frames beyond five are left out.
    #[must_use]
    pub fn new(frames: &[u64], shift: u32) -> Self {
        let mut walk = Self { above_leaf: (shift.saturating_sub(12) / 9) as u8, ..Self::default() };
        for (to, from) in walk.frames.iter_mut().zip(frames) {
            *to = *from;
            walk.levels += 1;
        }
        walk
    }

    /// Number of tables.
    #[must_use]
    pub fn levels(&self) -> usize {
        usize::from(self.levels)
    }

    /// Lowest bit of an address that selects the entry of table `level`, counted from the root at
    /// 0: 39 in a PML4 table, 30, 21, and 12 in a page table.
    #[must_use]
    pub fn index_shift(&self, level: usize) -> u32 {
        let below = self.levels() - 1 - level + usize::from(self.above_leaf);
        12 + 9 * below as u32
    }

    /// Frame of table `level`.
    #[must_use]
    pub fn frame(&self, level: usize) -> u64 {
        self.frames[level]
    }

    /// Physical address of the 8-byte entry of table `level` that translates `address`.
    #[must_use]
    pub fn entry(&self, level: usize, address: u64) -> PhysAddr {
        let index = address >> self.index_shift(level) & 0x1ff;
        PhysAddr(self.frames[level] << 12 | index << 3)
    }
}

/// How an address is translated: one walk, or a walk whose every step needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack, for each TLB miss")]
pub enum PageWalk {
    /// Ordinary paging.
    Plain(TableWalk),
    /// A guest under nested paging.
    Nested(NestedWalk),
}

/// A walk in two dimensions (AMD APM volume 2, 15.25.5; Intel SDM volume 3, 28.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NestedWalk {
    /// The guest's tables, at their host-physical frames.
    pub guest: TableWalk,
    /// Guest-physical frames of the guest's tables, root first, and then of the page itself.
    pub guest_frames: [u64; TableWalk::MAX_LEVELS + 1],
    /// The nested walk for each of these.
    pub nested: [TableWalk; TableWalk::MAX_LEVELS + 1],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_nine_bits_for_each_level() {
        let va = 0x0000_7f12_3456_7abc;
        let walk = TableWalk::new(&[1, 2, 3, 4], 12);
        let indices: Vec<_> = (0..4).map(|level| walk.entry(level, va).0 & 0xfff).collect();
        assert_eq!(indices, [39, 30, 21, 12].map(|shift| (va >> shift & 0x1ff) * 8));
        assert_eq!(walk.entry(3, va).0 >> 12, 4);
        let large = TableWalk::new(&[1, 2, 3], 21);
        assert_eq!((large.levels(), large.index_shift(2)), (3, 21));
        let five = TableWalk::new(&[1, 2, 3, 4, 5], 12);
        assert_eq!(five.index_shift(0), 48);
    }
}

//! What one reference did.

use std::fmt;

/// Accesses and misses of one reference, in one word.
///
/// Under semantics that count references there is one access of L1 and of the TLB, or none;
/// under those that split, one for each line and page touched. L2 accesses equal L1 misses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome(u64);

const L1_ACCESSES: u32 = 0;
const L1_MISSES: u32 = 12;
const L2_MISSES: u32 = 24;
const TLB_ACCESSES: u32 = 36;
const TLB_MISSES: u32 = 40;
const STALE_HITS: u32 = 44;
const DEVICE: u32 = 48;

/// Largest count of lines: two pages of lines of the smallest size are 1024.
const LINES: u64 = 0xfff;
const PAGES: u64 = 0xf;

impl Outcome {
    /// Nothing was accessed.
    pub const NONE: Self = Self(0);
    /// One access of L1 and one of the TLB, both hits: by far the most frequent.
    pub const HIT: Self = Self(1 << L1_ACCESSES | 1 << TLB_ACCESSES);

    const NO_TROUBLE: u64 = LINES << L1_ACCESSES | PAGES << TLB_ACCESSES;

    /// Whether everything accessed was a hit on the right translation, in a cache.
    #[inline]
    #[must_use]
    pub const fn is_all_hits(self) -> bool {
        self.0 & !Self::NO_TROUBLE == 0
    }

    /// Accesses of the first-level cache of its kind.
    #[inline]
    #[must_use]
    pub const fn l1_accesses(self) -> u64 {
        self.0 >> L1_ACCESSES & LINES
    }

    /// Misses of it, and so accesses of L2.
    #[inline]
    #[must_use]
    pub const fn l1_misses(self) -> u64 {
        self.0 >> L1_MISSES & LINES
    }

    /// Misses of L2.
    #[inline]
    #[must_use]
    pub const fn l2_misses(self) -> u64 {
        self.0 >> L2_MISSES & LINES
    }

    /// Accesses of the TLB of its kind.
    #[inline]
    #[must_use]
    pub const fn tlb_accesses(self) -> u64 {
        self.0 >> TLB_ACCESSES & PAGES
    }

    /// Misses of it.
    #[inline]
    #[must_use]
    pub const fn tlb_misses(self) -> u64 {
        self.0 >> TLB_MISSES & PAGES
    }

    /// Hits on an entry with another frame than the stream's.
    #[inline]
    #[must_use]
    pub const fn stale_hits(self) -> u64 {
        self.0 >> STALE_HITS & PAGES
    }

    /// Whether it went to a device, and so to no cache.
    #[inline]
    #[must_use]
    pub const fn is_device(self) -> bool {
        self.0 >> DEVICE & 1 != 0
    }

    #[inline]
    pub(crate) fn add_l1(&mut self, missed: bool) {
        self.0 += 1 << L1_ACCESSES | u64::from(missed) << L1_MISSES;
    }

    #[inline]
    pub(crate) fn add_l2_miss(&mut self, missed: bool) {
        self.0 += u64::from(missed) << L2_MISSES;
    }

    #[inline]
    pub(crate) fn add_tlb(&mut self, missed: bool, stale: bool) {
        self.0 +=
            1 << TLB_ACCESSES | u64::from(missed) << TLB_MISSES | u64::from(stale) << STALE_HITS;
    }

    #[inline]
    pub(crate) fn mark_device(&mut self) {
        self.0 |= 1 << DEVICE;
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("l1_accesses", &self.l1_accesses())
            .field("l1_misses", &self.l1_misses())
            .field("l2_misses", &self.l2_misses())
            .field("tlb_accesses", &self.tlb_accesses())
            .field("tlb_misses", &self.tlb_misses())
            .field("stale_hits", &self.stale_hits())
            .field("is_device", &self.is_device())
            .finish()
    }
}

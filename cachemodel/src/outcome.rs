//! What one reference did.

/// Accesses and misses of one reference.
///
/// Under semantics that count references there is at most one access of each structure; under
/// those that split, one for each line and page touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Demand accesses of each level of cache, level 1 first.
    pub accesses: [u16; 3],
    /// Those that missed.
    pub misses: [u16; 3],
    /// Accesses of the first-level TLB of its kind.
    pub tlb_accesses: u16,
    /// Those that missed.
    pub tlb_misses: u16,
    /// Accesses of the second-level TLB.
    pub stlb_accesses: u16,
    /// Those that missed.
    pub stlb_misses: u16,
    /// Hits on an entry with another frame than the stream's.
    pub stale_hits: u16,
    /// Page walks.
    pub walks: u16,
    /// Accesses of each level of cache by page walks.
    pub walk_accesses: [u16; 3],
    /// Those that missed.
    pub walk_misses: [u16; 3],
    /// Whether it went to a device, and so to no cache.
    pub device: bool,
}

impl Outcome {
    /// Nothing was accessed.
    pub const NONE: Self = Self {
        accesses: [0; 3],
        misses: [0; 3],
        tlb_accesses: 0,
        tlb_misses: 0,
        stlb_accesses: 0,
        stlb_misses: 0,
        stale_hits: 0,
        walks: 0,
        walk_accesses: [0; 3],
        walk_misses: [0; 3],
        device: false,
    };

    /// One access of level 1 and one of the TLB, both hits: by far the most frequent.
    pub const HIT: Self = Self { accesses: [1, 0, 0], tlb_accesses: 1, ..Self::NONE };

    /// Whether everything accessed was a hit on the right translation, in the first level.
    #[inline]
    #[must_use]
    pub fn is_all_hits(&self) -> bool {
        !self.device
            && self.stale_hits == 0
            && self.tlb_misses == 0
            && self.misses[0] == 0
            && self.accesses[1] == 0
    }
}

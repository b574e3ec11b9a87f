//! What a partition leaves of the ways of a set.

/// The ways that a fill may take; at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Candidates {
    All,
    /// A bit for each of the first 64 ways.
    Only(u64),
}

pub(super) const NO_CANDIDATE: &str = "a partition gives at least one way";

impl Candidates {
    #[inline]
    pub(crate) fn contains(self, way: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(mask) => way < 64 && mask >> way & 1 != 0,
        }
    }

    /// Of `ways` ways those that are candidates, in way order.
    #[inline]
    pub(super) fn of(self, ways: usize) -> impl Iterator<Item = usize> {
        (0..ways).filter(move |&way| self.contains(way))
    }

    /// How many of `ways` ways are candidates.
    pub(super) fn count(self, ways: usize) -> usize {
        match self {
            Self::All => ways,
            Self::Only(_) => self.of(ways).count(),
        }
    }

    /// The candidate that `number` others come before in way order.
    pub(super) fn nth(self, number: usize) -> usize {
        match self {
            Self::All => number,
            Self::Only(_) => self.of(64).nth(number).expect("numbered below their count"),
        }
    }

    /// Whether one of `length` ways from `start` on is a candidate, of a set of `ways` ways.
    pub(super) fn has_any(self, start: usize, length: usize, ways: usize) -> bool {
        match self {
            Self::All => start < ways,
            Self::Only(mask) => {
                start < 64 && mask >> start & (u64::MAX >> (64 - length.min(64))) != 0
            }
        }
    }
}

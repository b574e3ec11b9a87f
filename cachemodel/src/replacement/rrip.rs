//! Re-reference interval prediction, static, bimodal and dynamic.

use super::candidates::{Candidates, NO_CANDIDATE};

/// Re-reference prediction values of 2 bits: 0 is soon, 3 the distant future (Jaleel et al., ISCA
/// 2010, sections 4 and 5).
#[derive(Debug, Clone)]
pub(super) struct Rrip {
    ways: usize,
    insertion: Insertion,
    /// Fills of all sets.
    fills: u64,
    /// By set and way.
    values: Vec<u8>,
}

const DISTANT: u8 = 3;
const LONG: u8 = 2;

/// What a fill is predicted to be.
#[derive(Debug, Clone)]
pub(super) enum Insertion {
    /// Long.
    Static,
    /// Distant, but for one in [`Self::BIMODAL_PERIOD`].
    Bimodal,
    /// As the one or the other, whichever misses less in the sets that lead for it.
    Dueling { selector: u16 },
}

impl Insertion {
    pub(super) const DUELING: Self = Self::Dueling { selector: Self::SELECTOR_START };
    const SELECTOR_START: u16 = 512;
    const SELECTOR_MAX: u16 = 1023;
    /// A bimodal fill is predicted as a static one once in so many fills.
    const BIMODAL_PERIOD: u64 = 32;
    /// One set in so many leads for each side of the duel.
    const LEADER_PERIOD: usize = 32;

    /// Whether a fill of this set is bimodal. A leader's fill, which follows a miss, counts against
    /// its side.
    fn is_bimodal(&mut self, set: usize) -> bool {
        match self {
            Self::Static => false,
            Self::Bimodal => true,
            Self::Dueling { selector } => match set % Self::LEADER_PERIOD {
                0 => {
                    *selector = (*selector + 1).min(Self::SELECTOR_MAX);
                    false
                }
                16 => {
                    *selector = selector.saturating_sub(1);
                    true
                }
                _ => *selector >= Self::SELECTOR_START,
            },
        }
    }
}

impl Rrip {
    pub(super) fn new(insertion: Insertion, sets: usize, ways: usize) -> Self {
        Self { ways, insertion, fills: 0, values: vec![DISTANT; sets * ways] }
    }

    #[inline]
    pub(super) fn hit(&mut self, set: usize, way: usize) {
        self.values[set * self.ways + way] = 0;
    }

    pub(super) fn fill(&mut self, set: usize, way: usize) {
        self.fills += 1;
        let is_distant =
            self.insertion.is_bimodal(set) && !self.fills.is_multiple_of(Insertion::BIMODAL_PERIOD);
        self.values[set * self.ways + way] = if is_distant { DISTANT } else { LONG };
    }

    pub(super) fn victim(&mut self, set: usize, candidates: Candidates) -> usize {
        let ways = self.ways;
        let values = &mut self.values[set * ways..][..ways];
        let oldest = candidates.of(ways).map(|way| values[way]).max().expect(NO_CANDIDATE);
        let aging = DISTANT - oldest;
        if aging > 0 {
            candidates.of(ways).for_each(|way| values[way] += aging);
        }
        candidates.of(ways).find(|&way| values[way] == DISTANT).expect("the oldest is distant now")
    }
}

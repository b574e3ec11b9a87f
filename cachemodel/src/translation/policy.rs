//! Replacement: which way of a full set goes. `docs/models.md` states each rule.

use super::oldest::Oldest;
use crate::machine::Replacement;

/// State of the policy of one array, beside the times of last use, which the array keeps.
#[derive(Debug, Clone)]
pub(super) enum Policy {
    Lru(Oldest),
    Fifo { filled: Vec<u64>, oldest: Oldest },
    Random(Xorshift),
    TreePlru(TreePlru),
    Rrip(Rrip),
}

impl Policy {
    pub(super) fn new(replacement: Replacement, sets: usize, ways: usize, seed: u64) -> Self {
        match replacement {
            Replacement::Lru => Self::Lru(Oldest::new(sets, ways)),
            Replacement::Fifo => {
                Self::Fifo { filled: vec![0; sets * ways], oldest: Oldest::new(sets, ways) }
            }
            Replacement::Random => Self::Random(Xorshift::new(seed)),
            Replacement::TreePlru => Self::TreePlru(TreePlru::new(sets, ways)),
            Replacement::Srrip => Self::Rrip(Rrip::new(Insertion::Long, sets, ways)),
            Replacement::Brrip => Self::Rrip(Rrip::new(Insertion::Bimodal, sets, ways)),
            Replacement::Drrip => {
                Self::Rrip(Rrip::new(Insertion::Duel { selector: 512 }, sets, ways))
            }
        }
    }

    /// What a hit does besides setting the time of last use.
    #[inline]
    pub(super) fn hit(&mut self, set: usize, way: usize) {
        match self {
            Self::Lru(_) | Self::Fifo { .. } | Self::Random(_) => {}
            Self::TreePlru(tree) => tree.point_away(set, way),
            Self::Rrip(rrip) => rrip.hit(set, way),
        }
    }

    /// What a fill does besides setting the time of last use.
    pub(super) fn fill(&mut self, set: usize, way: usize, place: usize, now: u64) {
        match self {
            Self::Lru(_) | Self::Random(_) => {}
            Self::Fifo { filled, .. } => filled[place] = now,
            Self::TreePlru(tree) => tree.point_away(set, way),
            Self::Rrip(rrip) => rrip.fill(set, way),
        }
    }

    /// The way that goes from a set without a free one. `used` is the array's times of last use.
    pub(super) fn victim(&mut self, set: usize, ways: usize, used: &[u64]) -> usize {
        match self {
            Self::Lru(oldest) => oldest.find(set, used),
            Self::Fifo { filled, oldest } => oldest.find(set, filled),
            Self::Random(generator) => generator.below(ways),
            Self::TreePlru(tree) => tree.victim(set),
            Self::Rrip(rrip) => rrip.victim(set),
        }
    }

    /// Whether a hit does nothing but set the time of last use.
    pub(super) fn only_times(&self) -> bool {
        matches!(self, Self::Lru(_) | Self::Fifo { .. } | Self::Random(_))
    }
}

/// The generator xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016).
#[derive(Debug, Clone)]
pub(super) struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let upper = self.0.wrapping_mul(2_685_821_657_736_338_717) >> 32;
        ((upper * count as u64) >> 32) as usize
    }
}

/// One bit for each inner node of a binary tree over the ways; nodes are numbered from the root at
/// 1, the children of `n` being `2n` and `2n + 1`.
#[derive(Debug, Clone)]
pub(super) struct TreePlru {
    /// By set and node; a set bit points right.
    right: Vec<u64>,
    words: usize,
    ways: usize,
    leaves: usize,
}

impl TreePlru {
    fn new(sets: usize, ways: usize) -> Self {
        let leaves = ways.next_power_of_two();
        let words = leaves.div_ceil(64);
        Self { right: vec![0; sets * words], words, ways, leaves }
    }

    #[inline]
    fn point_away(&mut self, set: usize, way: usize) {
        let bits = &mut self.right[set * self.words..][..self.words];
        let mut node = self.leaves + way;
        while node > 1 {
            let came_from_left = node & 1 == 0;
            node >>= 1;
            let bit = 1 << (node % 64);
            if came_from_left {
                bits[node / 64] |= bit;
            } else {
                bits[node / 64] &= !bit;
            }
        }
    }

    fn victim(&self, set: usize) -> usize {
        let bits = &self.right[set * self.words..][..self.words];
        let mut node = 1;
        let mut first = 0;
        let mut half = self.leaves / 2;
        while node < self.leaves {
            // The left half always holds a way: ways are numbered from the left.
            let right = bits[node / 64] >> (node % 64) & 1 == 1 && first + half < self.ways;
            node = node * 2 + usize::from(right);
            first += if right { half } else { 0 };
            half /= 2;
        }
        first
    }
}

/// What re-reference interval a fill is predicted to have.
#[derive(Debug, Clone)]
enum Insertion {
    /// Long: 2.
    Long,
    /// Distant, 3, but for every 32nd fill.
    Bimodal,
    /// Either, after a duel of sets.
    Duel { selector: u16 },
}

/// Re-reference interval prediction with two bits.
#[derive(Debug, Clone)]
pub(super) struct Rrip {
    /// Predicted intervals, by set and way.
    predicted: Vec<u8>,
    ways: usize,
    insertion: Insertion,
    fills: u64,
}

const DISTANT: u8 = 3;
const SELECTOR_MAX: u16 = 1023;
const SELECTOR_MIDDLE: u16 = 512;

impl Rrip {
    fn new(insertion: Insertion, sets: usize, ways: usize) -> Self {
        Self { predicted: vec![DISTANT; sets * ways], ways, insertion, fills: 0 }
    }

    #[inline]
    fn hit(&mut self, set: usize, way: usize) {
        self.predicted[set * self.ways + way] = 0;
    }

    fn fill(&mut self, set: usize, way: usize) {
        self.fills += 1;
        let bimodal = match &mut self.insertion {
            Insertion::Long => false,
            Insertion::Bimodal => true,
            Insertion::Duel { selector } => match set % 32 {
                0 => {
                    *selector = (*selector + 1).min(SELECTOR_MAX);
                    false
                }
                16 => {
                    *selector = selector.saturating_sub(1);
                    true
                }
                _ => *selector >= SELECTOR_MIDDLE,
            },
        };
        let long = !bimodal || self.fills.is_multiple_of(32);
        self.predicted[set * self.ways + way] = if long { DISTANT - 1 } else { DISTANT };
    }

    fn victim(&mut self, set: usize) -> usize {
        let predicted = &mut self.predicted[set * self.ways..][..self.ways];
        let most = predicted.iter().copied().max().expect("a set has at least one way");
        for interval in predicted.iter_mut() {
            *interval += DISTANT - most;
        }
        predicted.iter().position(|&interval| interval == DISTANT).expect("the largest became 3")
    }
}

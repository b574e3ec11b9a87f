//! Replacement: which way of a full set goes. `docs/models.md` states each rule.

use crate::machine::Replacement;

/// The ways that a fill may take; at least one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Candidates {
    All,
    /// A bit for each of the first 64 ways.
    Only(u64),
}

const NO_CANDIDATE: &str = "a partition gives at least one way";

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
    fn of(self, ways: usize) -> impl Iterator<Item = usize> {
        (0..ways).filter(move |&way| self.contains(way))
    }
}

impl Replacement {
    /// Whether a hit right after the fill of the same way is without effect on later victims. A hit
    /// right after a hit is under every policy.
    pub(crate) fn rests_after_fill(self) -> bool {
        !matches!(self, Self::Srrip | Self::Brrip | Self::Drrip)
    }
}

/// What a policy remembers of all sets of one cache or TLB array.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    ways: usize,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Oldest(Stamps),
    Random(XorShift64Star),
    Trees(Trees),
    Rrip(Rrip),
}

impl Policy {
    /// `seed` is where the generator of random replacement starts; 0 stands for 1.
    pub(crate) fn new(replacement: Replacement, sets: usize, ways: usize, seed: u64) -> Self {
        let stamps =
            |on_hit| State::Oldest(Stamps { now: 0, on_hit, of_way: vec![0; sets * ways] });
        let rrip =
            |insertion| State::Rrip(Rrip { insertion, fills: 0, values: vec![0; sets * ways] });
        let state = match replacement {
            Replacement::Lru => stamps(true),
            Replacement::Fifo => stamps(false),
            Replacement::Random => State::Random(XorShift64Star(seed.max(1))),
            Replacement::TreePlru => State::Trees(Trees::new(sets, ways)),
            Replacement::Srrip => rrip(Insertion::Static),
            Replacement::Brrip => rrip(Insertion::Bimodal),
            Replacement::Drrip => rrip(Insertion::Dueling { selector: Insertion::SELECTOR_START }),
        };
        Self { ways, state }
    }

    /// A look-up found its line in this way.
    #[inline]
    pub(crate) fn hit(&mut self, set: usize, way: usize) {
        let at = set * self.ways + way;
        match &mut self.state {
            State::Oldest(stamps) if stamps.on_hit => stamps.stamp(at),
            State::Oldest(_) | State::Random(_) => {}
            State::Trees(trees) => trees.point_away(set, way),
            State::Rrip(rrip) => rrip.values[at] = 0,
        }
    }

    /// A line was put into this way.
    #[inline]
    pub(crate) fn fill(&mut self, set: usize, way: usize) {
        let at = set * self.ways + way;
        match &mut self.state {
            State::Oldest(stamps) => stamps.stamp(at),
            State::Random(_) => {}
            State::Trees(trees) => trees.point_away(set, way),
            State::Rrip(rrip) => rrip.fill(set, at),
        }
    }

    /// The way to be vacated of a set whose candidates are all taken.
    #[inline]
    pub(crate) fn victim(&mut self, set: usize, candidates: Candidates) -> usize {
        let (start, ways) = (set * self.ways, self.ways);
        match &mut self.state {
            State::Oldest(stamps) => {
                let of_way = &stamps.of_way[start..start + ways];
                candidates.of(ways).min_by_key(|&way| of_way[way]).expect(NO_CANDIDATE)
            }
            State::Random(generator) => {
                let count = candidates.of(ways).count();
                let drawn = generator.below(count as u64) as usize;
                candidates.of(ways).nth(drawn).expect("drawn below their count")
            }
            State::Trees(trees) => trees.victim(set, candidates),
            State::Rrip(rrip) => rrip.victim(start, ways, candidates),
        }
    }
}

/// Time of last use (LRU) or of fill (FIFO) of each way, in events of the cache.
#[derive(Debug, Clone)]
struct Stamps {
    now: u64,
    on_hit: bool,
    of_way: Vec<u64>,
}

impl Stamps {
    #[inline]
    fn stamp(&mut self, at: usize) {
        self.now += 1;
        self.of_way[at] = self.now;
    }
}

/// Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", ACM TOMS 42
/// (2016), with the shifts 12, 25, 27. Its state is never 0.
#[derive(Debug, Clone)]
struct XorShift64Star(u64);

impl XorShift64Star {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(2_685_821_657_736_338_717)
    }

    /// A number below `limit`, which is at most 2³².
    fn below(&mut self, limit: u64) -> u64 {
        ((self.next() >> 32) * limit) >> 32
    }
}

/// A binary tree over the ways of each set. Nodes are numbered from the root, 1; the children of
/// node *n* are 2*n* (left, the lower ways) and 2*n* + 1.
#[derive(Debug, Clone)]
struct Trees {
    ways: usize,
    /// Next power of two.
    leaves: usize,
    words_per_set: usize,
    /// For each set, node *n* in bit *n*: whether it points right.
    words: Vec<u64>,
    /// What a use of each way does to the word of its set: the bits to keep and those to set. Of
    /// sets of one word only.
    effects: Vec<(u64, u64)>,
}

impl Trees {
    fn new(sets: usize, ways: usize) -> Self {
        let leaves = ways.next_power_of_two();
        let words_per_set = leaves.div_ceil(64);
        let effects = if words_per_set == 1 {
            let effect = |way| {
                let (mut ones, mut zeros) = ([u64::MAX], [0]);
                point_away(&mut ones, leaves, way);
                point_away(&mut zeros, leaves, way);
                (ones[0], zeros[0])
            };
            (0..ways).map(effect).collect()
        } else {
            Vec::new()
        };
        Self { ways, leaves, words_per_set, words: vec![0; sets * words_per_set], effects }
    }

    #[inline]
    fn point_away(&mut self, set: usize, way: usize) {
        if let Some((kept, set_to_one)) = self.effects.get(way) {
            let word = &mut self.words[set];
            *word = *word & kept | set_to_one;
        } else {
            let words = &mut self.words[set * self.words_per_set..][..self.words_per_set];
            point_away(words, self.leaves, way);
        }
    }

    fn victim(&self, set: usize, candidates: Candidates) -> usize {
        let words = &self.words[set * self.words_per_set..][..self.words_per_set];
        let has_candidate = |start: usize, length: usize| match candidates {
            Candidates::All => start < self.ways,
            Candidates::Only(mask) => {
                start < 64 && mask >> start & (u64::MAX >> (64 - length.min(64))) != 0
            }
        };
        let (mut node, mut half, mut way) = (1, self.leaves / 2, 0);
        while half > 0 {
            let points_right = words[node / 64] >> (node % 64) & 1 != 0;
            let goes_right = if points_right {
                has_candidate(way + half, half)
            } else {
                !has_candidate(way, half)
            };
            node = 2 * node + usize::from(goes_right);
            way += half * usize::from(goes_right);
            half /= 2;
        }
        way
    }
}

/// Makes each node from the root to the way point to its other half.
fn point_away(words: &mut [u64], leaves: usize, way: usize) {
    let (mut node, mut half) = (1, leaves / 2);
    while half > 0 {
        let is_right = way & half != 0;
        let bit = 1 << (node % 64);
        if is_right {
            words[node / 64] &= !bit;
        } else {
            words[node / 64] |= bit;
        }
        node = 2 * node + usize::from(is_right);
        half /= 2;
    }
}

/// Re-reference prediction values of 2 bits: 0 is soon, 3 the distant future (Jaleel et al., ISCA
/// 2010, sections 4 and 5).
#[derive(Debug, Clone)]
struct Rrip {
    insertion: Insertion,
    /// Fills of the whole cache.
    fills: u64,
    values: Vec<u8>,
}

const DISTANT: u8 = 3;
const LONG: u8 = 2;

#[derive(Debug, Clone)]
enum Insertion {
    Static,
    Bimodal,
    Dueling { selector: u16 },
}

impl Insertion {
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
    fn fill(&mut self, set: usize, at: usize) {
        self.fills += 1;
        let is_distant =
            self.insertion.is_bimodal(set) && !self.fills.is_multiple_of(Insertion::BIMODAL_PERIOD);
        self.values[at] = if is_distant { DISTANT } else { LONG };
    }

    fn victim(&mut self, start: usize, ways: usize, candidates: Candidates) -> usize {
        let values = &mut self.values[start..start + ways];
        let oldest = candidates.of(ways).map(|way| values[way]).max().expect(NO_CANDIDATE);
        let aging = DISTANT - oldest;
        if aging > 0 {
            candidates.of(ways).for_each(|way| values[way] += aging);
        }
        candidates.of(ways).find(|&way| values[way] == DISTANT).expect("the oldest is distant now")
    }
}

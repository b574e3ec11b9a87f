//! LRU caches each of which holds all that the smaller ones hold, run at once.
//!
//! Of two LRU caches with lines of one size, where the larger one's sets divide the smaller one's
//! (its number of sets is a multiple) and have as many ways or more, the larger holds whatever the
//! smaller does, as long as both are asked for the same lines: for a line to go from a set of the
//! larger, as many others of that set as it has ways must have been used since, and by then the line
//! has gone from the smaller, whose set those belong to as well. Taking a line out of all of them
//! changes nothing in that, since what takes its place was used later than what stays.
//!
//! So a line is looked up in the largest only, and one number tells all caches that hold it: the
//! smallest that does. When it was used last is the same for all too. A cache that has to make room
//! looks through the times of its set, which are brought up to date only there:
//!
//! ```text
//!   used last     A 7  B 9  C 3
//!   known of set  A 5  B 2  C 3   →  B is looked up and is 9  →  A 5, B 9, C 3  →  C goes
//! ```
//!
//! Times known are never later than those true, so the earliest one known is the earliest if true.

use super::cache::Fill;
use crate::geometry::{CacheGeometry, SetIndex};

/// Most caches: each has a bit that says whether a line is dirty there.
const MOST: usize = u32::BITS as usize;
/// Most ways: the largest one's are searched one by one.
const MOST_WAYS: usize = 16;

/// No line: line numbers have at most 61 bits.
const NO_LINE: u64 = u64::MAX;

/// Places of the largest cache, in the low bits of what a smaller one knows of a line; there are at
/// most `CacheGeometry::MAX_LINES` of them.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
/// Times have the other bits.
const END_OF_TIME: u64 = 1 << (u64::BITS - PLACE_BITS);
/// What a smaller cache knows of an empty place; the first time is 1.
const NOTHING: u64 = 0;

/// A line in the largest cache.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// When it was used last; 0 where there is none.
    used: u64,
    /// Bit for each cache in which it is dirty.
    dirty: u32,
    /// The smallest cache that holds it.
    smallest: u8,
}

impl Held {
    const NOTHING: Self = Self { used: 0, dirty: 0, smallest: 0 };
}

/// A cache that is not the largest.
#[derive(Debug, Clone)]
struct Smaller {
    index: SetIndex,
    ways: usize,
    /// For each way, a time of use that may be out of date, and the place in the largest.
    known: Vec<u64>,
}

/// The caches, the smallest first.
#[derive(Debug, Clone)]
pub(crate) struct NestedSets {
    smaller: Vec<Smaller>,
    index: SetIndex,
    ways: usize,
    lines: Vec<u64>,
    held: Vec<Held>,
    now: u64,
    /// Dirty lines that had to go, by cache.
    gone_dirty: Vec<u64>,
}

/// Whether whatever a cache holds is held by another, both of LRU replacement.
fn is_within(smaller: &CacheGeometry, larger: &CacheGeometry) -> bool {
    smaller.line_bytes() == larger.line_bytes()
        && larger.sets().is_multiple_of(smaller.sets())
        && larger.ways() >= smaller.ways()
        && larger.ways() <= MOST_WAYS
}

impl NestedSets {
    /// Numbers of caches of LRU replacement that can be run at once, the smallest first; each is in
    /// one of the groups.
    pub(crate) fn groups(caches: &[&CacheGeometry]) -> Vec<Vec<usize>> {
        let mut rising: Vec<usize> = (0..caches.len()).collect();
        rising.sort_by_key(|&at| (caches[at].ways(), caches[at].sets()));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for at in rising {
            let fitting = groups.iter_mut().find(|group| {
                group.len() < MOST
                    && group.last().is_some_and(|&last| is_within(caches[last], caches[at]))
            });
            match fitting {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        groups
    }

    /// Empty caches, one of [`NestedSets::groups`].
    pub(crate) fn new(caches: &[&CacheGeometry]) -> Self {
        let (largest, smaller) = caches.split_last().expect("a group has members");
        debug_assert!(caches.len() <= MOST && caches.is_sorted_by(|a, b| is_within(a, b)));
        let places = |cache: &CacheGeometry| {
            cache.ways() * usize::try_from(cache.sets()).expect("bounded by MAX_LINES")
        };
        Self {
            smaller: smaller
                .iter()
                .map(|cache| Smaller {
                    index: SetIndex::new(cache.sets()),
                    ways: cache.ways(),
                    known: vec![NOTHING; places(cache)],
                })
                .collect(),
            index: SetIndex::new(largest.sets()),
            ways: largest.ways(),
            lines: vec![NO_LINE; places(largest)],
            held: vec![Held::NOTHING; places(largest)],
            now: 0,
            gone_dirty: vec![0; caches.len()],
        }
    }

    /// Number of caches.
    pub(crate) fn caches(&self) -> usize {
        self.smaller.len() + 1
    }

    /// Dirty lines that had to go from a cache for others, or because it was emptied.
    pub(crate) fn gone_dirty(&self, cache: usize) -> u64 {
        self.gone_dirty[cache]
    }

    /// Reads what a look-up would look at; the result means nothing.
    #[inline]
    pub(crate) fn look_ahead(&self, line: u64) -> u64 {
        let start = self.index.of(line) * self.ways;
        self.lines[start] ^ self.held[start].used
    }

    /// Where the set of a line begins, and its way if it is there.
    #[inline]
    fn find(&self, line: u64) -> (usize, Option<usize>) {
        let start = self.index.of(line) * self.ways;
        let set = &self.lines[start..start + self.ways];
        let mut found = set.len();
        for (way, &here) in set.iter().enumerate() {
            found = if here == line { way } else { found };
        }
        (start, (found < set.len()).then_some(start + found))
    }

    /// A line is asked for, or comes down dirty as `state` says, in all caches. Tells how many
    /// missed it: it was in none smaller than that.
    #[inline]
    pub(crate) fn demand(&mut self, line: u64, state: Fill) -> usize {
        self.now += 1;
        if self.now == END_OF_TIME {
            self.renumber();
        }
        let dirty = if state.dirty { u32::MAX } else { 0 };
        let (start, found) = self.find(line);
        if let Some(at) = found {
            let held = &mut self.held[at];
            (held.used, held.dirty) = (self.now, held.dirty | dirty);
            let missed = usize::from(std::mem::take(&mut held.smallest));
            for cache in 0..missed {
                self.bring(cache, line, at);
            }
            return missed;
        }
        let set = &self.held[start..start + self.ways];
        let earliest = (0..set.len()).min_by_key(|&way| set[way].used).unwrap_or(0);
        let at = start + earliest;
        let largest = self.smaller.len();
        // What goes from there goes from all that have it.
        for cache in 0..largest {
            self.bring(cache, line, at);
        }
        self.let_go(at, largest);
        self.lines[at] = line;
        self.held[at] = Held { used: self.now, dirty, smallest: 0 };
        self.caches()
    }

    /// A line that a smaller cache does not hold, and which is or will be at place `at` of the
    /// largest, comes to it.
    #[inline]
    fn bring(&mut self, cache: usize, line: u64, at: usize) {
        let Smaller { index, ways, known } = &mut self.smaller[cache];
        let start = index.of(line) * *ways;
        let set = &mut known[start..start + *ways];
        let victim = loop {
            let mut earliest = 0;
            for way in 1..set.len() {
                earliest = if set[way] < set[earliest] { way } else { earliest };
            }
            let place = (set[earliest] & PLACE_MASK) as usize;
            if set[earliest] == NOTHING {
                set[earliest] = self.now << PLACE_BITS | at as u64;
                return;
            }
            let used = self.held[place].used;
            if used == set[earliest] >> PLACE_BITS {
                set[earliest] = self.now << PLACE_BITS | at as u64;
                break place;
            }
            set[earliest] = used << PLACE_BITS | place as u64;
        };
        self.let_go(victim, cache);
        self.held[victim].smallest = (cache + 1) as u8;
    }

    /// What is at a place of the largest, if anything, goes from a cache for another line.
    #[inline]
    fn let_go(&mut self, at: usize, cache: usize) {
        let held = &mut self.held[at];
        debug_assert!(held.used == 0 || usize::from(held.smallest) == cache, "they are nested");
        self.gone_dirty[cache] += u64::from(held.dirty >> cache & 1);
        held.dirty &= !(1 << cache);
    }

    /// Takes the lines from `first` to `last`, both included, out of all caches; tells `each` the
    /// smallest that held it. Costs at most a walk over the caches.
    pub(crate) fn remove_range(&mut self, first: u64, last: u64, mut each: impl FnMut(usize)) {
        if first > last {
            return;
        }
        if last - first < (self.lines.len() / self.ways) as u64 {
            for line in first..=last {
                if let (_, Some(at)) = self.find(line) {
                    each(self.remove(at));
                }
            }
            return;
        }
        for at in 0..self.lines.len() {
            if self.lines[at] != NO_LINE && (first..=last).contains(&self.lines[at]) {
                each(self.remove(at));
            }
        }
    }

    /// Tells the smallest cache that held it.
    fn remove(&mut self, at: usize) -> usize {
        let line = std::mem::replace(&mut self.lines[at], NO_LINE);
        let held = std::mem::replace(&mut self.held[at], Held::NOTHING);
        let smallest = usize::from(held.smallest);
        for Smaller { index, ways, known } in &mut self.smaller[smallest..] {
            let start = index.of(line) * *ways;
            let set = &mut known[start..start + *ways];
            let is_it = |known: &&mut u64| **known != NOTHING && **known & PLACE_MASK == at as u64;
            set.iter_mut().filter(is_it).for_each(|known| *known = NOTHING);
        }
        smallest
    }

    /// Empties all caches.
    pub(crate) fn drain(&mut self) {
        for (cache, gone) in self.gone_dirty.iter_mut().enumerate() {
            *gone += self.held.iter().filter(|held| held.dirty >> cache & 1 != 0).count() as u64;
        }
        self.lines.fill(NO_LINE);
        self.held.fill(Held::NOTHING);
        self.smaller.iter_mut().for_each(|smaller| smaller.known.fill(NOTHING));
    }

    /// Makes room for times to come: those known become as many as there are lines.
    #[cold]
    fn renumber(&mut self) {
        let mut by_use: Vec<usize> = (0..self.held.len()).collect();
        by_use.retain(|&at| self.held[at].used != 0);
        by_use.sort_unstable_by_key(|&at| self.held[at].used);
        for (before, &at) in by_use.iter().enumerate() {
            self.held[at].used = before as u64 + 1;
        }
        for known in self.smaller.iter_mut().flat_map(|smaller| &mut smaller.known) {
            if *known != NOTHING {
                let place = *known & PLACE_MASK;
                *known = self.held[place as usize].used << PLACE_BITS | place;
            }
        }
        self.now = by_use.len() as u64 + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::recency_sets::RecencySets;
    use super::*;
    use crate::caches::Found;
    use crate::geometry::Ways;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Demand(u64, bool),
        Remove(u64, u64),
        Drain,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            200 => (0..96_u64, any::<bool>()).prop_map(|(line, dirty)| Step::Demand(line, dirty)),
            6 => (0..96_u64, 0..4_u64).prop_map(|(first, more)| Step::Remove(first, first + more)),
            1 => (0..96_u64, 0..96_u64).prop_map(|(first, last)| Step::Remove(first, last)),
            1 => Just(Step::Drain),
        ];
        prop::collection::vec(step, 0..600)
    }

    /// Sets and ways.
    fn geometries() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop_oneof![
            Just(vec![(1, 2), (2, 2), (4, 2), (8, 2), (32, 2)]),
            Just(vec![(3, 2), (3, 4), (6, 4), (12, 5)]),
            Just(vec![(1, 1), (1, 3), (5, 3), (5, 16)]),
            Just(vec![(4, 1), (4, 8), (6, 3), (8, 8), (48, 3), (4, 17)]),
        ]
    }

    fn geometry(&(sets, ways): &(u64, u64)) -> CacheGeometry {
        CacheGeometry::new("l2", sets * ways * 64, Ways::Number(ways), 64).unwrap()
    }

    proptest! {
        #[test]
        fn caches_at_once_are_each_alone(
            shapes in geometries(),
            steps in steps(),
            starts_late in any::<bool>(),
        ) {
            let caches: Vec<_> = shapes.iter().map(geometry).collect();
            let caches: Vec<_> = caches.iter().collect();
            let groups = NestedSets::groups(&caches);
            prop_assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), caches.len());
            for group in groups {
                let members: Vec<_> = group.iter().map(|&at| caches[at]).collect();
                let mut nested = NestedSets::new(&members);
                if starts_late {
                    nested.now = END_OF_TIME - 100;
                }
                let mut alone: Vec<_> = members.iter().map(|cache| RecencySets::new(cache)).collect();
                let mut gone_dirty = vec![0; members.len()];
                for step in &steps {
                    match *step {
                        Step::Demand(line, dirty) => {
                            let missed = nested.demand(line, Fill { dirty, prefetched: false });
                            for (number, cache) in alone.iter_mut().enumerate() {
                                let found = cache.demand(line, dirty);
                                prop_assert_eq!(found != Found::Here, number < missed);
                                let Found::Brought(Some(victim)) = found else { continue };
                                gone_dirty[number] += u64::from(victim.dirty);
                            }
                        }
                        Step::Remove(first, last) => {
                            let mut removed = vec![0; members.len()];
                            nested.remove_range(first, last, |smallest| {
                                removed[smallest..].iter_mut().for_each(|count| *count += 1);
                            });
                            for (number, cache) in alone.iter_mut().enumerate() {
                                let mut count = 0;
                                cache.remove_range(first, last, &mut |_| count += 1);
                                prop_assert_eq!(count, removed[number]);
                            }
                        }
                        Step::Drain => {
                            nested.drain();
                            for (cache, gone) in alone.iter_mut().zip(&mut gone_dirty) {
                                cache.remove_range(0, u64::MAX, &mut |removed| {
                                    *gone += u64::from(removed.dirty);
                                });
                            }
                        }
                    }
                }
                for (number, gone) in gone_dirty.iter().enumerate() {
                    prop_assert_eq!(nested.gone_dirty(number), *gone);
                }
            }
        }
    }

    #[test]
    fn sizes_of_one_associativity_are_one_group_and_a_wider_cache_of_fewer_sets_is_another() {
        let shapes = [(1024, 8), (4096, 8), (2048, 8), (1024, 16), (3072, 12), (64, 64)];
        let caches: Vec<_> = shapes.iter().map(geometry).collect();
        let groups = NestedSets::groups(&caches.iter().collect::<Vec<_>>());
        assert_eq!(groups, [vec![0, 2, 1], vec![4], vec![3], vec![5]]);
    }
}

//! References to lines of known pages that are not known in the first level, in a machine whose
//! caches do nothing but find lines and let them come.
//!
//! They are the second most frequent, after those near at hand, and short for that reason: the first
//! level is looked through once, and one number tells all that is to be counted.

use super::{FetchedLine, Hierarchy, RefKind};
use crate::counts::Counts;
use crate::machine::Machine;
use crate::memory::{FIRST_SHIFT, Levels, Place, Wanted, Way};
use crate::outcome::Outcome;
use crate::page::PhysAddr;
use crate::span::PAGE_BYTES;
use crate::translation::Known;

/// Lines of plain accesses that were not known, by kind and by the number of levels that missed. The
/// accesses are counted among the [`PlainHits`].
#[derive(Debug, Clone, Default)]
pub(super) struct FartherLines([[u64; Machine::MAX_LEVELS + 1]; 4]);

impl FartherLines {
    #[inline(always)]
    pub(super) fn add(&mut self, kind: RefKind, missed: usize) {
        self.0[kind as usize][missed % (Machine::MAX_LEVELS + 1)] += 1;
    }

    /// Those of one of these kinds.
    fn of(&self, kinds: &[RefKind]) -> [u64; Machine::MAX_LEVELS + 1] {
        let sum = |missed: usize| kinds.iter().map(|&kind| self.0[kind as usize][missed]).sum();
        std::array::from_fn(sum)
    }

    /// Adds them as accesses of the levels below the first, and makes as many hits of the first
    /// misses.
    pub(super) fn add_to(&self, counts: &mut Counts, levels: usize) {
        let fetches = self.of(&[RefKind::Fetch]);
        let reads = self.of(&[RefKind::Read]);
        let writes = self.of(&[RefKind::Write, RefKind::ModifyWrite]);
        for level in 0..levels {
            let of_level = counts.level_mut(level);
            let tallies = [
                (&mut of_level.fetches, fetches),
                (&mut of_level.reads, reads),
                (&mut of_level.writes, writes),
            ];
            for (tally, missed) in tallies {
                let misses: u64 = missed[level + 1..].iter().sum();
                tally.misses += misses;
                if level == 0 {
                    tally.hits -= misses;
                } else {
                    tally.hits += missed[level];
                    tally.accesses += missed[level] + misses;
                }
            }
        }
    }
}

/// What plain references to one line do, by the number of levels that miss.
#[derive(Debug, Clone)]
pub(super) struct PlainOutcomes([Outcome; Machine::MAX_LEVELS + 1]);

impl PlainOutcomes {
    pub(super) fn new(levels: usize) -> Self {
        Self(std::array::from_fn(|missed| {
            let mut outcome = Outcome { tlb_accesses: 1, ..Outcome::NONE };
            for level in 0..levels {
                outcome.accesses[level] = u16::from(level <= missed);
                outcome.misses[level] = u16::from(level < missed);
            }
            outcome
        }))
    }

    #[inline(always)]
    fn of(&self, missed: usize) -> Outcome {
        self.0[missed % (Machine::MAX_LEVELS + 1)]
    }

    /// Of two lines, each of which is an access.
    fn of_two(&self, missed: [usize; 2]) -> Outcome {
        let [first, second] = missed.map(|missed| self.of(missed));
        Outcome {
            accesses: std::array::from_fn(|level| first.accesses[level] + second.accesses[level]),
            misses: std::array::from_fn(|level| first.misses[level] + second.misses[level]),
            ..first
        }
    }
}

impl Hierarchy {
    /// A reference to one or two lines of one page that is known; `None`, with nothing done, if it
    /// is another.
    #[inline(always)]
    pub(super) fn plainly(&mut self, kind: RefKind, va: u64, bytes: u32) -> Option<Outcome> {
        let last = va.wrapping_add(u64::from(bytes.saturating_sub(1)));
        let beyond_line = (last >> FIRST_SHIFT).wrapping_sub(va >> FIRST_SHIFT);
        if beyond_line > 1 || (va ^ last) / PAGE_BYTES != 0 {
            return None;
        }
        self.now += 1;
        let known = self.unit.front(kind.side(), va, self.now)?;
        self.plain.add(kind, 1);
        let entry = known.near_place();
        let missed = self.plain_line(kind, Place { physical: known.physical, va }, entry);
        if beyond_line == 0 {
            self.farther.add(kind, missed);
            return Some(self.plain_outcomes.of(missed));
        }
        let physical = PhysAddr(known.physical.0 + (last - va));
        let second = self.plain_line(kind, Place { physical, va: last }, entry);
        Some(self.count_two_lines(kind, [missed, second]))
    }

    #[inline(never)]
    fn count_two_lines(&mut self, kind: RefKind, missed: [usize; 2]) -> Outcome {
        let [first, second] = missed;
        if self.semantics.counts_references() {
            let missed = first.max(second);
            self.farther.add(kind, missed);
            return self.plain_outcomes.of(missed);
        }
        self.plain_lines.add(kind, 1);
        self.farther.add(kind, first);
        self.farther.add(kind, second);
        self.plain_outcomes.of_two(missed)
    }

    /// An access of a line, whatever is known of its page.
    pub(super) fn plain_way(&mut self, kind: RefKind, place: Place, known: Option<Known>) -> Way {
        let missed = self.plain_line(kind, place, known.and_then(Known::near_place));
        let asked = (missed + 1).min(self.machine.levels().len());
        Way { asked: Levels::first(asked), missed: Levels::first(missed) }
    }

    /// At how many levels a line misses. `entry` is the place of the TLB entry that its page is
    /// known by.
    #[inline(always)]
    fn plain_line(&mut self, kind: RefKind, place: Place, entry: Option<u16>) -> usize {
        if kind == RefKind::Fetch {
            let line = place.va >> FIRST_SHIFT << FIRST_SHIFT;
            let reach = if entry.is_some() { 1 << FIRST_SHIFT } else { 0 };
            self.fetched = FetchedLine { line, reach };
        }
        self.memory.access_known(Wanted { kind, place, entry })
    }
}

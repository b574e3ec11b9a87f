//! References to lines of known pages that are not known in the first level, in a machine whose
//! caches do nothing but find lines and let them come.
//!
//! They are the second most frequent, after those near at hand, and short for that reason: the first
//! level is looked through once, and one number tells all that is to be counted.

use super::{FetchedLine, Hierarchy, PlainHits, RefKind};
use crate::counts::{Counts, Tally};
use crate::machine::Machine;
use crate::memory::{Place, Wanted};
use crate::outcome::Outcome;
use crate::page::PhysAddr;
use crate::translation::Known;

/// Lines that plain accesses did not find in the first level, by kind and by the number of levels
/// that missed, less one. The accesses are counted among the [`PlainHits`].
#[derive(Debug, Clone, Default)]
pub(super) struct FartherLines([[u64; Machine::MAX_LEVELS]; 3]);

impl FartherLines {
    #[inline(always)]
    fn add(&mut self, kind: RefKind, missed: usize) {
        if missed > 0 {
            self.0[row(kind)][(missed - 1) % Machine::MAX_LEVELS] += 1;
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> PlainHits {
        let [fetches, reads, writes] = self.0.map(|missed| missed.iter().sum());
        PlainHits { fetches, reads, writes }
    }

    /// Adds them as misses of the first level and as accesses of those below.
    pub(super) fn add_to(&self, counts: &mut Counts, levels: usize) {
        for level in 0..levels {
            let of_level = counts.level_mut(level);
            let tallies = [&mut of_level.fetches, &mut of_level.reads, &mut of_level.writes];
            for (tally, missed) in tallies.into_iter().zip(&self.0) {
                let misses = missed[level..].iter().sum();
                let hits = if level > 0 { missed[level - 1] } else { 0 };
                *tally += Tally { accesses: hits + misses, hits, misses };
            }
        }
    }
}

#[inline(always)]
fn row(kind: RefKind) -> usize {
    match kind {
        RefKind::Fetch => 0,
        RefKind::Read => 1,
        RefKind::Write | RefKind::ModifyWrite => 2,
    }
}

impl Hierarchy {
    /// A reference within one line, of a page that was just used.
    pub(super) fn plain_line(&mut self, kind: RefKind, va: u64, known: Known) -> Outcome {
        let missed = self.plain_access(kind, va, known);
        self.plain.add(kind, 1);
        self.farther.add(kind, missed);
        let mut outcome = Outcome { tlb_accesses: 1, ..Outcome::NONE };
        self.tell_misses(missed, &mut outcome);
        outcome
    }

    /// A reference to two lines of one page, at these addresses.
    pub(super) fn plain_lines(&mut self, kind: RefKind, lines: [u64; 2], known: Known) -> Outcome {
        self.now += 1;
        self.unit.use_known(kind.side(), known, self.now);
        let second = PhysAddr(known.physical.0 + (lines[1] - lines[0]));
        let first = self.plain_access(kind, lines[0], known);
        let second = self.plain_access(kind, lines[1], Known { physical: second, ..known });
        self.plain.add(kind, 1);
        let mut outcome = Outcome { tlb_accesses: 1, ..Outcome::NONE };
        if self.semantics.counts_references() {
            let missed = first.max(second);
            self.farther.add(kind, missed);
            self.tell_misses(missed, &mut outcome);
        } else {
            self.plain_lines.add(kind, 1);
            for missed in [first, second] {
                self.farther.add(kind, missed);
                self.tell_misses(missed, &mut outcome);
            }
        }
        outcome
    }

    #[inline(always)]
    fn plain_access(&mut self, kind: RefKind, va: u64, known: Known) -> usize {
        let place = Place { physical: known.physical, va };
        let missed = self.memory.access_known(Wanted { kind, place, entry: known.place });
        if kind == RefKind::Fetch && known.place <= u32::from(u16::MAX) {
            let mask = self.fetch_line_mask;
            self.fetched = FetchedLine { line: va & mask, reach: !mask + 1 };
        }
        missed
    }

    /// Tells of one access of a line, or of all lines, that missed at so many levels.
    #[inline(always)]
    fn tell_misses(&self, missed: usize, outcome: &mut Outcome) {
        for level in 0..Machine::MAX_LEVELS {
            let misses = level < missed;
            let asked = level <= missed && level < self.levels;
            outcome.accesses[level] += u16::from(asked);
            outcome.misses[level] += u16::from(misses);
        }
    }
}

//! The way of a line through caches in which nothing more can happen than that it is found, or
//! comes in place of another.

use super::{Memory, Node, Place, Purpose, Way};
use crate::caches::{FirstSets, Found, Victim};
use crate::counts::LevelCounts;
use crate::hierarchy::RefKind;
use crate::machine::Machine;
use crate::page::PhysAddr;

/// Lines in the first level are of 64 bytes where their hits can be known.
pub(crate) const FIRST_SHIFT: u32 = 6;

/// A line that was accessed where the first level has known hits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) kind: RefKind,
    pub(crate) place: Place,
    /// Place of the TLB entry that its page was found by, if it may be known by that.
    pub(crate) entry: Option<u16>,
}

impl Memory {
    /// Whether [`Memory::access_known`] may be used.
    pub(crate) fn is_plain(&mut self) -> bool {
        self.first_is_alone() && self.is_all_plain()
    }

    /// A demand access of a line, which from then on is known in the first level. Returns at how
    /// many levels it missed.
    #[inline]
    pub(crate) fn access_known(&mut self, wanted: Wanted) -> usize {
        let Wanted { kind, place, entry } = wanted;
        let write = kind.writes();
        let index = self.first_node(kind);
        let node = &mut self.nodes[index];
        let below = node.below;
        let shift = node.cache.line_shift();
        let Some(first) = node.cache.first_sets() else {
            unreachable!("a plain first level has known hits");
        };
        let found = first.demand(place.physical.0 >> shift, write);
        if let Some(entry) = entry {
            first.know_latest(place.va, entry);
        }
        let Found::Brought(victim) = found else { return 0 };
        if self.notes_requests() {
            self.note_brought(kind, place, victim);
            return 1;
        }
        self.lower().replaced(below, place, victim)
    }

    /// The caches of a machine that is plain, without notes.
    #[inline]
    fn lower(&mut self) -> Lower<'_> {
        let Self { nodes, counts, writes_back, .. } = self;
        Lower { nodes, counts, writes_back: *writes_back }
    }

    /// The first-level caches for instructions and for data of the only CPU, where their hits may be
    /// known beforehand, and what is below them.
    #[inline]
    pub(crate) fn first_and_lower(&mut self) -> Option<FirstAndLower<'_>> {
        if self.entries.len() > 1 {
            return None;
        }
        let Self { nodes, counts, writes_back, .. } = self;
        // The first level was built last.
        let (nodes, [instruction, data]) = nodes.split_last_chunk_mut()?;
        Some(FirstAndLower {
            below: [instruction.below, data.below],
            first: [instruction.cache.first_sets()?, data.cache.first_sets()?],
            lower: Lower { nodes, counts, writes_back: *writes_back },
        })
    }

    /// Asks the levels below the first for a line that missed there. Returns at how many it missed.
    #[inline]
    pub(crate) fn read_below_first(&mut self, kind: RefKind, place: Place) -> usize {
        let below = self.nodes[self.first_node(kind)].below;
        self.lower().read(below, place)
    }

    /// Whether the line that begins at `line` is known in the first level for operands.
    #[inline]
    pub(crate) fn knows_operand(&mut self, line: u64) -> bool {
        self.first_sets_for(RefKind::Read).is_some_and(|sets| sets.knows(line))
    }

    /// The first-level cache of the only CPU.
    #[inline]
    pub(super) fn first_node(&self, kind: RefKind) -> usize {
        // The first level was built last.
        self.nodes.len() - if kind == RefKind::Fetch { 2 } else { 1 }
    }

    /// Reads what [`Memory::read_below_first`] would look at first, so that this machine has it at
    /// hand; the result means nothing.
    #[inline]
    pub(crate) fn look_ahead_below_first(&self, kind: RefKind, physical: PhysAddr) -> u64 {
        let Some(below) = self.nodes[self.first_node(kind)].below else { return 0 };
        let cache = &self.nodes[below].cache;
        cache.look_ahead(physical.0 >> cache.line_shift())
    }

    /// Takes a dirty line that left the first level.
    #[inline]
    pub(crate) fn write_below_first(&mut self, place: Place) {
        // Of one data cache.
        if let Some(below) = self.nodes.last().and_then(|node| node.below) {
            self.lower().write_back(below, place);
        }
    }

    /// [`Memory::down`] as far as caches are plain.
    pub(super) fn down_plainly(
        &mut self,
        mut index: usize,
        place: Place,
        mut purpose: Purpose,
        way: &mut Way,
    ) {
        loop {
            let node = &mut self.nodes[index];
            let (level, below) = (node.level, node.below);
            let line = node.line_of(place);
            let dirty = purpose == Purpose::Demand { store: true };
            let found = node.cache.demand(line, dirty);
            way.asked.add(level);
            if purpose == Purpose::Walk {
                self.counts[level].walks.add(found != Found::Here);
            } else {
                purpose = Purpose::Demand { store: false };
            }
            let Found::Brought(victim) = found else { return };
            way.missed.add(level);
            if let Some(victim) = victim
                && victim.dirty
            {
                let place = self.nodes[index].place_of(victim.line);
                self.write_on(level, below, place, true);
            }
            match below {
                None => return,
                Some(lower) if self.nodes[lower].is_plain => index = lower,
                Some(lower) => return self.down(lower, place, purpose, way),
            }
        }
    }
}

/// What [`Memory::first_and_lower`] tells, for instructions and for data.
pub(crate) struct FirstAndLower<'m> {
    pub(crate) first: [&'m mut FirstSets; 2],
    /// Index of the cache below each; `None` in front of memory.
    pub(crate) below: [Option<usize>; 2],
    pub(crate) lower: Lower<'m>,
}

/// Caches of a machine in which nothing can happen but that a line is found, or comes in place of
/// another.
#[derive(Debug)]
pub(crate) struct Lower<'m> {
    nodes: &'m mut [Node],
    counts: &'m mut [LevelCounts; Machine::MAX_LEVELS],
    writes_back: bool,
}

impl Lower<'_> {
    /// A line has missed in the first level and come in place of `victim`. Asks the levels below
    /// for it, and returns at how many levels it missed.
    #[inline]
    pub(crate) fn replaced(
        &mut self,
        below: Option<usize>,
        place: Place,
        victim: Option<Victim>,
    ) -> usize {
        if let Some(victim) = victim
            && victim.dirty
        {
            let physical = PhysAddr(victim.line.physical << FIRST_SHIFT);
            self.write_on(0, below, Place { physical, va: 0 });
        }
        1 + self.read(below, place)
    }

    /// Asks a cache, and those below it, for a line that one above will hold. Returns at how many
    /// levels it missed.
    #[inline]
    fn read(&mut self, mut below: Option<usize>, place: Place) -> usize {
        let mut missed = 0;
        while let Some(index) = below {
            let node = &mut self.nodes[index];
            below = node.below;
            let line = node.line_of(place);
            let Found::Brought(victim) = node.cache.demand(line, false) else { break };
            missed += 1;
            self.let_go(index, victim);
        }
        missed
    }

    /// What had to go from a cache goes on if it is dirty.
    #[inline]
    fn let_go(&mut self, index: usize, victim: Option<Victim>) {
        if let Some(victim) = victim
            && victim.dirty
        {
            let node = &self.nodes[index];
            let (level, below, place) = (node.level, node.below, node.place_of(victim.line));
            self.write_on(level, below, place);
        }
    }

    /// A dirty line goes from a cache of `level` to the one below.
    fn write_on(&mut self, level: usize, below: Option<usize>, place: Place) {
        if !self.writes_back {
            return;
        }
        self.counts[level].written_on += 1;
        if let Some(lower) = below {
            self.write_back(lower, place);
        }
    }

    /// A dirty line comes down to a cache.
    fn write_back(&mut self, index: usize, place: Place) {
        let node = &mut self.nodes[index];
        let (level, line) = (node.level, node.line_of(place));
        let found = node.cache.demand(line, true);
        self.counts[level].writebacks += 1;
        if let Found::Brought(victim) = found {
            self.counts[level].writeback_misses += 1;
            self.let_go(index, victim);
        }
    }
}

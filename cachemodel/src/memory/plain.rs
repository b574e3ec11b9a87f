//! The way of a line through caches in which nothing more can happen than that it is found, or
//! comes in place of another.

use super::{Memory, Place, Purpose, Way};
use crate::caches::Found;
use crate::hierarchy::RefKind;
use crate::page::PhysAddr;

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
        if let Some(victim) = victim
            && victim.dirty
        {
            let physical = PhysAddr(victim.line.physical << shift);
            self.write_on(0, below, Place { physical, va: 0 }, true);
        }
        1 + self.read_below(below, place)
    }

    /// Asks the levels below the first for a line that missed there. Returns at how many it missed.
    #[inline]
    pub(crate) fn read_below_first(&mut self, kind: RefKind, place: Place) -> usize {
        self.read_below(self.nodes[self.first_node(kind)].below, place)
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
            self.write_back(below, place);
        }
    }

    /// Asks a cache, and those below it, for a line that one above will hold. Returns at how many
    /// levels it missed.
    #[inline]
    fn read_below(&mut self, mut below: Option<usize>, place: Place) -> usize {
        let mut missed = 0;
        while let Some(index) = below {
            let node = &mut self.nodes[index];
            below = node.below;
            let line = node.line_of(place);
            let Found::Brought(victim) = node.cache.demand(line, false) else { break };
            missed += 1;
            if let Some(victim) = victim
                && victim.dirty
            {
                let (level, place) = (node.level, node.place_of(victim.line));
                self.write_on(level, below, place, true);
            }
        }
        missed
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

//! A line's way down to where it is and up again.

use super::{Dropped, Memory, Place, Purpose, Request, Way};
use crate::caches::{Actor, Fill, Line, Removed};
use crate::hierarchy::RefKind;

impl Memory {
    /// A demand access of one line by the CPU set last, through all levels.
    pub(crate) fn access(&mut self, kind: RefKind, place: Place) -> Way {
        if self.notes_requests() {
            return self.access_noting(kind, place);
        }
        let mut way = Way::default();
        let store = kind.writes();
        let node = self.entry(kind);
        self.prepare_for(node, place, store, true);
        self.down(node, place, Purpose::Demand { store }, &mut way);
        way
    }

    /// Whether a line hits in the first level and concerns nothing else; if so its effect has taken
    /// place, but for the counts. Else nothing has happened.
    #[inline]
    pub(crate) fn hits_first(&mut self, kind: RefKind, physical: u64) -> bool {
        let write = kind.writes();
        if !self.first_is_simple || write && !self.writes_stay {
            return false;
        }
        let index = self.entry(kind);
        let node = &mut self.nodes[index];
        let line = Line { physical: physical >> node.cache.line_shift(), virtual_: 0 };
        let Some(touched) = node.cache.touch(line, write) else { return false };
        self.counts[0].useful_prefetches += u64::from(touched.was_prefetched);
        true
    }

    #[inline]
    fn entry(&self, kind: RefKind) -> usize {
        self.entries[self.cpu][usize::from(kind != RefKind::Fetch)]
    }

    /// The first level only: whether the line hits, and whether the next level must be asked. What
    /// the line replaces is not written on. For semantics that ask the next level for a whole
    /// reference at once.
    pub(crate) fn access_first_level(&mut self, kind: RefKind, place: Place) -> (bool, bool) {
        let store = kind.writes();
        let index = self.entry(kind);
        self.prepare_for(index, place, store, true);
        let node = &self.nodes[index];
        let writes_on = store && node.write_through;
        let allocates = !store || node.allocates;
        let hit = self.touch(index, place, Purpose::Demand { store });
        if !hit && allocates {
            let dirty = store && !self.nodes[index].write_through;
            self.fill(index, place, Fill { dirty, prefetched: false });
        }
        (hit, !hit || writes_on)
    }

    /// The levels below the first, for semantics that ask them for a whole reference at once.
    pub(crate) fn access_below(&mut self, kind: RefKind, place: Place) -> Way {
        let mut way = Way::default();
        let store = kind.writes();
        let index = self.entry(kind);
        let node = &self.nodes[index];
        if let Some(below) = node.below {
            let store = store && (node.write_through || !node.allocates);
            self.down(below, place, Purpose::Demand { store }, &mut way);
        }
        way
    }

    /// A read of a page-table entry by a page walk.
    pub(crate) fn walk_read(&mut self, physical: crate::page::PhysAddr) -> Way {
        let mut way = Way::default();
        let place = Place { physical, va: physical.0 };
        let node = self.walk_entries[self.cpu];
        self.prepare_for(node, place, false, false);
        self.down(node, place, Purpose::Walk, &mut way);
        way
    }

    /// Looks a line up in cache `index` and, if it misses, in those below it.
    pub(super) fn down(&mut self, index: usize, place: Place, purpose: Purpose, way: &mut Way) {
        let node = &self.nodes[index];
        if node.is_plain && purpose != Purpose::Prefetch {
            return self.down_plainly(index, place, purpose, way);
        }
        let (level, below) = (node.level, node.below);
        let store = matches!(purpose, Purpose::Demand { store: true });
        let (writes_on, allocates) = (store && node.write_through, !store || node.allocates);
        // Lines of an exclusive cache come from above only.
        let fills = allocates && !node.exclusive;
        way.asked.add(level);
        if self.touch(index, place, purpose) {
            if writes_on {
                self.down_below(below, place, purpose, way);
            }
            return;
        }
        way.missed.add(level);
        let on = match purpose {
            Purpose::Demand { .. } => Purpose::Demand { store: store && (writes_on || !fills) },
            other => other,
        };
        let prefetched = purpose == Purpose::Prefetch && index == self.prefetching;
        let mut state = Fill { dirty: store && !writes_on, prefetched };
        match below {
            Some(lower) if fills && self.nodes[lower].exclusive => {
                state.dirty |= self.take_from_exclusive(lower, place, on, way);
                self.fill(index, place, state);
            }
            _ => {
                if fills {
                    self.fill(index, place, state);
                }
                self.down_below(below, place, on, way);
            }
        }
    }

    fn down_below(&mut self, below: Option<usize>, place: Place, purpose: Purpose, way: &mut Way) {
        if let Some(lower) = below {
            self.down(lower, place, purpose, way);
        }
    }

    /// Asks an exclusive cache for a line, which it gives up; returns whether it was dirty there.
    fn take_from_exclusive(
        &mut self,
        index: usize,
        place: Place,
        purpose: Purpose,
        way: &mut Way,
    ) -> bool {
        let (level, below) = (self.nodes[index].level, self.nodes[index].below);
        way.asked.add(level);
        let node = &mut self.nodes[index];
        let line = node.line_of(place);
        let taken = node.cache.remove(line);
        match purpose {
            Purpose::Demand { .. } => self.learn(index, line, taken.is_none()),
            Purpose::Prefetch => self.counts[level].prefetches.add(taken.is_none()),
            Purpose::Walk => self.counts[level].walks.add(taken.is_none()),
        }
        if let Some(taken) = taken {
            return taken.dirty;
        }
        way.missed.add(level);
        match below {
            Some(lower) if self.nodes[lower].exclusive => {
                self.take_from_exclusive(lower, place, purpose, way)
            }
            _ => {
                self.down_below(below, place, purpose, way);
                false
            }
        }
    }

    /// Looks a line up in one cache; counts what is not counted by reference.
    fn touch(&mut self, index: usize, place: Place, purpose: Purpose) -> bool {
        let node = &mut self.nodes[index];
        let line = node.line_of(place);
        let store = matches!(purpose, Purpose::Demand { store: true });
        let dirties = store && !node.write_through;
        let touched = node.cache.touch(line, dirties);
        let marked = touched.is_some_and(|touched| touched.was_prefetched);
        if marked && !matches!(purpose, Purpose::Demand { .. }) {
            node.cache.mark_prefetched(line);
        }
        let level = node.level;
        match purpose {
            Purpose::Demand { .. } => {
                self.counts[level].useful_prefetches += u64::from(marked);
                self.learn(index, line, touched.is_none());
                if touched.is_none() {
                    self.look_ahead(index, place);
                }
            }
            Purpose::Prefetch => self.counts[level].prefetches.add(touched.is_none()),
            Purpose::Walk => self.counts[level].walks.add(touched.is_none()),
        }
        touched.is_some()
    }

    /// Puts a line that is not there into a cache, and its victim where that goes.
    fn fill(&mut self, index: usize, place: Place, state: Fill) {
        let actor = self.actor;
        let node = &mut self.nodes[index];
        let line = node.line_of(place);
        let ways = node.ways_for(actor);
        let victim = node.cache.fill(line, state, ways);
        node.lost.remove(&line.physical);
        if let Some(classifier) = &mut node.classifier {
            classifier.filled(line.physical);
        }
        if let Some(victim) = victim {
            self.evicted(index, Removed { line: victim.line, dirty: victim.dirty }, actor);
        }
    }

    /// What happens to a line that had to go.
    fn evicted(&mut self, index: usize, victim: Removed, by: Actor) {
        let node = &mut self.nodes[index];
        if let Some(classifier) = &mut node.classifier {
            classifier.evicted(victim.line.physical, by);
        }
        let (level, below) = (node.level, node.below);
        let place = node.place_of(victim.line);
        let dirty =
            victim.dirty | self.drop_above(index, victim.line.physical, Dropped::Evicted(by));
        match below {
            Some(lower) if self.nodes[lower].exclusive => {
                self.counts[level].written_on += u64::from(dirty && self.writes_back);
                self.put_into_exclusive(lower, place, dirty);
            }
            _ => self.write_on(level, below, place, dirty),
        }
    }

    /// Hands a line that left `level` to the cache below it, if it is dirty.
    pub(super) fn write_on(
        &mut self,
        level: usize,
        below: Option<usize>,
        place: Place,
        dirty: bool,
    ) {
        if !dirty || !self.writes_back {
            return;
        }
        self.counts[level].written_on += 1;
        if let Some(lower) = below {
            self.write_back(lower, place);
        } else if self.notes_requests() {
            self.note(Request::WriteBack { physical: place.physical.0 });
        }
    }

    /// A dirty line comes down to a cache.
    pub(super) fn write_back(&mut self, index: usize, place: Place) {
        let node = &mut self.nodes[index];
        let (level, below) = (node.level, node.below);
        let line = node.line_of(place);
        let dirties = !node.write_through;
        let touched = node.cache.touch(line, dirties);
        let hit = touched.is_some();
        if touched.is_some_and(|touched| touched.was_prefetched) {
            node.cache.mark_prefetched(line);
        }
        let keeps = hit || (node.allocates && !node.exclusive);
        self.counts[level].writebacks += 1;
        self.counts[level].writeback_misses += u64::from(!hit);
        if !hit && keeps {
            self.fill(index, place, Fill { dirty: dirties, prefetched: false });
        }
        if !keeps || !dirties {
            self.write_on(level, below, place, true);
        }
    }

    /// The victim of the cache above comes into an exclusive one.
    pub(super) fn put_into_exclusive(&mut self, index: usize, place: Place, dirty: bool) {
        let node = &mut self.nodes[index];
        let line = node.line_of(place);
        let level = node.level;
        let written = dirty && self.writes_back;
        self.counts[level].victims += 1;
        self.counts[level].writebacks += u64::from(written);
        let touched = self.nodes[index].cache.touch(line, dirty);
        if touched.is_none() {
            self.counts[level].writeback_misses += u64::from(written);
            self.fill(index, place, Fill { dirty, prefetched: false });
        }
    }

    /// Drops all copies above an inclusive cache of a line that goes from it; whether one of them
    /// was dirty.
    pub(super) fn drop_above(&mut self, index: usize, physical: u64, why: Dropped) -> bool {
        if !self.nodes[index].inclusive {
            return false;
        }
        let shift = self.nodes[index].cache.line_shift();
        let (level, above) = (self.nodes[index].level, self.nodes[index].above.clone());
        let mut dirty = false;
        for upper in above {
            let span = shift - self.nodes[upper].cache.line_shift();
            for line in physical << span..(physical + 1) << span {
                let mut dropped = 0;
                let node = &mut self.nodes[upper];
                node.cache.remove_physical(line, |removed| {
                    dropped += 1;
                    dirty |= removed.dirty;
                });
                if dropped == 0 {
                    continue;
                }
                if node.level == 0 && why == Dropped::Written {
                    node.lost.insert(line);
                }
                match (&mut node.classifier, why) {
                    (Some(classifier), Dropped::Evicted(actor)) => classifier.evicted(line, actor),
                    (Some(classifier), _) => classifier.invalidated(line),
                    (None, _) => {}
                }
                self.counts[level].back_invalidations += dropped;
            }
        }
        dirty
    }
}

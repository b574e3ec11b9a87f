//! What takes lines from caches but their own fills: inclusion, other CPUs, devices, flushes.

use super::{Cause, Memory, Placed, Request};
use crate::cache::{At, Line};
use crate::classes::Gone;

use strata_cachemodel::Inclusion;

impl Memory {
    /// A line goes from an inclusive cache: so do the copies above it. Tells if one was dirty.
    pub(super) fn drop_above(&mut self, id: usize, line: &Line, gone: Gone) -> bool {
        if self.caches[id].cache.spec.inclusion() != Inclusion::Inclusive {
            return false;
        }
        let last = line.at.pa + (self.caches[id].cache.spec.line_bytes() - 1);
        let mut any_dirty = false;
        for upper in self.above(id) {
            for dropped in self.drop_overlapping(upper, line.at.pa, last, gone) {
                self.counts.levels[self.caches[id].level].back_invalidations += 1;
                any_dirty |= dropped.dirty;
            }
        }
        any_dirty
    }

    /// The caches in front of this one.
    fn above(&self, id: usize) -> Vec<usize> {
        let lower = &self.caches[id];
        let is_above = |upper: &Placed| {
            upper.level < lower.level
                && upper.cpus.iter().any(|cpu| lower.cpus.contains(cpu))
                && (0..2).any(|side| upper.serves[side] && lower.serves[side])
        };
        (0..self.caches.len()).filter(|&upper| is_above(&self.caches[upper])).collect()
    }

    fn drop_overlapping(&mut self, id: usize, first: u64, last: u64, gone: Gone) -> Vec<Line> {
        let placed = &mut self.caches[id];
        let dropped = placed.cache.drop_overlapping(first, last);
        for line in &dropped {
            placed.classes.went(line.at.pa, gone);
            if gone == Gone::WrittenByOther {
                placed.lost_to_writes.insert(line.at.pa);
            }
        }
        dropped
    }

    /// Caches that no access of the running CPU goes through.
    fn of_others(&self) -> Vec<usize> {
        (0..self.caches.len()).filter(|&id| !self.caches[id].cpus.contains(&self.cpu)).collect()
    }

    pub(super) fn drop_copies_of_others(&mut self, request: &Request) {
        let first = &self.caches[request.way[0]].cache;
        let start = first.line_of(request.at).pa;
        let last = start + (first.spec.line_bytes() - 1);
        for id in self.of_others() {
            for mut line in self.drop_overlapping(id, start, last, Gone::WrittenByOther) {
                self.counts.levels[self.caches[id].level].invalidations += 1;
                line.dirty |= self.drop_above(id, &line, Gone::WrittenByOther);
                if line.dirty {
                    self.write_to_shared(request, 0, id, line.at);
                }
            }
        }
    }

    pub(super) fn intervene(&mut self, request: &Request, level: usize) {
        let entered = &self.caches[request.way[level]].cache;
        let start = entered.line_of(request.at).pa;
        let last = start + (entered.spec.line_bytes() - 1);
        for id in self.of_others() {
            let mut written = Vec::new();
            for (set, way) in self.caches[id].cache.overlapping(start, last) {
                let line = &mut self.caches[id].cache.sets[set][way];
                let line = line.as_mut().expect("only held lines overlap");
                if std::mem::take(&mut line.dirty) {
                    written.push(line.at);
                }
            }
            for at in written {
                self.counts.levels[self.caches[id].level].interventions += 1;
                self.write_to_shared(request, level, id, at);
            }
        }
    }

    /// A dirty line of another CPU's cache goes down the side it was on, to the nearest level that
    /// both use, below the level that misses it.
    fn write_to_shared(&mut self, request: &Request, missed_at: usize, id: usize, at: At) {
        if !self.writes_back {
            return;
        }
        let holder = &self.caches[id];
        self.counts.levels[holder.level].written_on += 1;
        let way = self.way(self.cpu, holder.serves[1]);
        let shared = |level: &usize| {
            let lower = &self.caches[way[*level]];
            lower.level > holder.level.max(missed_at)
                && holder.cpus.iter().all(|cpu| lower.cpus.contains(cpu))
        };
        if let Some(level) = (0..way.len()).find(shared) {
            self.write_back(&Request { way, ..request.clone() }, level, at);
        }
    }

    /// A device wrote these bytes of memory.
    pub(crate) fn device_write(&mut self, start: u64, length: u64) {
        self.counts.dma_transfers += 1;
        if length == 0 {
            return;
        }
        let last = start.saturating_add(length - 1);
        for id in 0..self.caches.len() {
            for line in self.drop_overlapping(id, start, last, Gone::WrittenByDevice) {
                self.counts.levels[self.caches[id].level].device_invalidations += 1;
                self.drop_above(id, &line, Gone::WrittenByDevice);
            }
        }
    }

    /// Every cache is emptied, what is dirty in it written back: level by level from the top, those
    /// for instructions alone before those for data.
    pub(crate) fn flush(&mut self) {
        self.counts.cache_flushes += 1;
        let mut order: Vec<usize> = (0..self.caches.len()).collect();
        order.sort_by_key(|&id| (self.caches[id].level, self.caches[id].serves[1]));
        for id in order {
            let cpu = self.caches[id].cpus[0];
            let data = self.caches[id].serves[1];
            let way = self.way(cpu, data);
            let level = self.caches[id].level;
            for line in self.caches[id].cache.drop_overlapping(0, u64::MAX) {
                let at = line.at;
                self.caches[id].classes.went(at.pa, Gone::Flushed);
                let cause = Cause::Write;
                let request = Request { way: way.clone(), enters_at: 0, at, cause };
                if line.dirty && self.writes_back {
                    self.pass_on(&request, level, line);
                }
            }
        }
    }
}

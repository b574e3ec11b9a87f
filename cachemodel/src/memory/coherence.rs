//! What other CPUs and devices do to a CPU's copies.

use super::{Dropped, Memory, Place, Request};
use crate::page::PhysAddr;
use std::ops::RangeInclusive;

impl Memory {
    /// Before the present CPU's access of a line by way of first-level cache `entry`: if it writes,
    /// no other CPU keeps a copy; if it misses, no other keeps a dirty one.
    #[inline]
    pub(super) fn prepare_for(&mut self, entry: usize, place: Place, store: bool, demand: bool) {
        if self.entries.len() > 1 {
            self.prepare_among_cpus(entry, place, store, demand);
        }
    }

    fn prepare_among_cpus(&mut self, entry: usize, place: Place, store: bool, demand: bool) {
        let node = &self.nodes[entry];
        let present = node.cache.contains_physical(node.line_of(place).physical);
        // A dirty copy is the only one, unless a larger line of another cache may have taken it in,
        // or it came up dirty from an exclusive level.
        if present == Some(true) && self.dirty_is_alone {
            return;
        }
        if present.is_none() && demand {
            self.count_coherence_miss(entry, place);
        }
        if store {
            self.drop_elsewhere(entry, place);
        } else if present.is_none() {
            self.write_back_elsewhere(entry, place);
        }
    }

    /// Caches that are not on the present CPU's way, level 1 first.
    fn elsewhere(&self) -> Vec<usize> {
        let own = 1_u64 << self.cpu;
        let mut others: Vec<_> =
            (0..self.nodes.len()).filter(|&index| self.nodes[index].cpus & own == 0).collect();
        others.sort_by_key(|&index| self.nodes[index].level);
        others
    }

    /// The nearest cache below `index`, and below level `under`, that the present CPU shares.
    fn shared_below(&self, index: usize, under: usize) -> Option<usize> {
        let mut below = self.nodes[index].below;
        while let Some(lower) = below {
            if self.nodes[lower].cpus >> self.cpu & 1 != 0 && self.nodes[lower].level > under {
                return Some(lower);
            }
            below = self.nodes[lower].below;
        }
        None
    }

    /// Lines of cache `index` that overlap the line of cache `entry` at `place`.
    fn overlapping(&self, index: usize, entry: usize, place: Place) -> RangeInclusive<u64> {
        let own_shift = self.nodes[entry].cache.line_shift();
        let first = place.physical.0 >> own_shift << own_shift;
        let last = first + ((1 << own_shift) - 1);
        let shift = self.nodes[index].cache.line_shift();
        first >> shift..=last >> shift
    }

    fn write_back_elsewhere(&mut self, entry: usize, place: Place) {
        let under = self.nodes[entry].level;
        for index in self.elsewhere() {
            for line in self.overlapping(index, entry, place) {
                let node = &mut self.nodes[index];
                if !node.cache.clean(line) {
                    continue;
                }
                let level = node.level;
                self.counts[level].interventions += 1;
                self.give_up(index, line, under);
            }
        }
    }

    fn drop_elsewhere(&mut self, entry: usize, place: Place) {
        for index in self.elsewhere() {
            for line in self.overlapping(index, entry, place) {
                let node = &mut self.nodes[index];
                let level = node.level;
                let (mut dropped, mut dirty) = (0, false);
                node.cache.remove_physical(line, |removed| {
                    dropped += 1;
                    dirty |= removed.dirty;
                });
                if dropped == 0 {
                    continue;
                }
                if level == 0 {
                    node.lost.insert(line);
                }
                if let Some(classifier) = &mut node.classifier {
                    classifier.invalidated(line);
                }
                self.counts[level].invalidations += dropped;
                dirty |= self.drop_above(index, line, Dropped::Written);
                if dirty {
                    self.give_up(index, line, 0);
                }
            }
        }
    }

    /// Hands what was dirty in cache `index` to where the present CPU will find it.
    fn give_up(&mut self, index: usize, line: u64, under: usize) {
        let node = &self.nodes[index];
        let place = Place {
            physical: PhysAddr(line << node.cache.line_shift()),
            va: line << node.cache.line_shift(),
        };
        let level = node.level;
        self.write_on(level, self.shared_below(index, under), place, true);
    }

    fn count_coherence_miss(&mut self, entry: usize, place: Place) {
        let node = &mut self.nodes[entry];
        let line = node.line_of(place).physical;
        if node.level == 0 && node.lost.contains(&line) {
            self.counts[0].coherence_misses += 1;
        }
    }

    /// Drops every line with a byte in `length` bytes from `start`, and what was written to it, as
    /// when a device has overwritten them in memory. Costs at most a walk over each cache.
    pub(crate) fn overwritten(&mut self, start: PhysAddr, length: u64) {
        let Some(last_offset) = length.checked_sub(1) else { return };
        self.overwritten_up_to(start.0, start.0.saturating_add(last_offset));
    }

    /// The same, the last byte included.
    pub(crate) fn overwritten_up_to(&mut self, start: u64, last: u64) {
        for index in self.level_by_level() {
            let node = &mut self.nodes[index];
            let shift = node.cache.line_shift();
            let classifier = &mut node.classifier;
            let mut dropped = Vec::new();
            node.cache.remove_range(start >> shift, last >> shift, |removed| {
                dropped.push(removed.line.physical);
                if let Some(classifier) = classifier {
                    classifier.invalidated(removed.line.physical);
                }
            });
            self.counts[node.level].device_invalidations += dropped.len() as u64;
            for line in dropped {
                self.drop_above(index, line, Dropped::Overwritten);
            }
        }
        self.note(Request::Overwritten { first: start, last });
    }

    /// All caches, level 1 first.
    fn level_by_level(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&index| self.nodes[index].level);
        order
    }

    /// Empties every cache; what is dirty is written back on the way.
    pub(crate) fn flush(&mut self) {
        for index in self.level_by_level() {
            let node = &mut self.nodes[index];
            let mut drained = Vec::new();
            let classifier = &mut node.classifier;
            node.cache.drain(|removed| {
                drained.push(removed);
                if let Some(classifier) = classifier {
                    classifier.invalidated(removed.line.physical);
                }
            });
            let (level, below) = (node.level, node.below);
            for removed in drained {
                let place = self.nodes[index].place_of(removed.line);
                match below {
                    Some(lower) if self.nodes[lower].exclusive => {
                        if removed.dirty && self.writes_back {
                            self.counts[level].written_on += 1;
                            self.put_into_exclusive(lower, place, true);
                        }
                    }
                    _ => self.write_on(level, below, place, removed.dirty),
                }
            }
        }
        self.note(Request::Flush);
    }
}

//! Why caches and TLBs missed, by layer of software.

use crate::error::Error;
use crate::profile::Row;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use strata_cachemodel::{Actor, CacheClasses, ClassCounts, FlushCause, TlbClassCounts, TlbClasses};
use strata_symbols::Layer;

/// Misses of caches, by class; each miss is of the first that applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMisses {
    /// First accesses of a line.
    pub compulsory: u64,
    /// A device or another CPU had dropped the line.
    pub invalidated: u64,
    /// A fill for another layer had evicted the line, by that layer.
    pub inflicted: BTreeMap<Layer, u64>,
    /// A fully associative LRU cache of the same size would have hit.
    pub conflict: u64,
    /// It would have missed too.
    pub capacity: u64,
}

impl CacheMisses {
    /// Misses on lines that other layers had evicted.
    pub fn inflicted_total(&self) -> u64 {
        self.inflicted.values().sum()
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.compulsory + self.invalidated + self.inflicted_total() + self.conflict + self.capacity
    }
}

impl AddAssign<&CacheMisses> for CacheMisses {
    fn add_assign(&mut self, more: &CacheMisses) {
        self.compulsory += more.compulsory;
        self.invalidated += more.invalidated;
        self.conflict += more.conflict;
        self.capacity += more.capacity;
        for (&by, count) in &more.inflicted {
            *self.inflicted.entry(by).or_default() += count;
        }
    }
}

/// Misses of a TLB, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlbMisses {
    /// First look-ups of a page with its frame.
    pub cold: u64,
    /// An event had dropped the entry, and without it there would have been a hit; by the kind of
    /// event.
    pub flush_induced: BTreeMap<FlushCause, u64>,
    /// All others.
    pub capacity_or_conflict: u64,
}

impl TlbMisses {
    /// Flush-induced misses of every cause.
    pub fn flush_induced_total(&self) -> u64 {
        self.flush_induced.values().sum()
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.cold + self.flush_induced_total() + self.capacity_or_conflict
    }
}

impl AddAssign<&TlbMisses> for TlbMisses {
    fn add_assign(&mut self, more: &TlbMisses) {
        self.cold += more.cold;
        self.capacity_or_conflict += more.capacity_or_conflict;
        for (&cause, count) in &more.flush_induced {
            *self.flush_induced.entry(cause).or_default() += count;
        }
    }
}

/// Who evicted whose lines: misses on evicted lines, by the layer that missed and the layer whose
/// fill had evicted the line.
pub type Evictions = BTreeMap<(Layer, Layer), u64>;

/// Why every structure missed, by the layer that missed. Layers without misses are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissClasses {
    /// Misses on instructions at each level of cache, level 1 first.
    pub instructions: [BTreeMap<Layer, CacheMisses>; 3],
    /// Misses on data, likewise.
    pub data: [BTreeMap<Layer, CacheMisses>; 3],
    /// Of the ITLB.
    pub itlb: BTreeMap<Layer, TlbMisses>,
    /// Of the DTLB.
    pub dtlb: BTreeMap<Layer, TlbMisses>,
    /// Who evicted whose lines at each level of cache, a layer its own included. It counts lines,
    /// where the classes count references by the first of their lines that missed: off the
    /// diagonal it is never less than what was inflicted, and the same where no reference touches
    /// two lines and no line comes but by demand.
    pub evictions: [Evictions; 3],
}

impl MissClasses {
    /// What came since `before`; `layers` are named by their numbers.
    pub(crate) fn between(before: &Classes, after: &Classes, layers: &[Layer]) -> Self {
        let layer = |number: usize| layers.get(number).copied().unwrap_or(Layer::Unknown);
        let caches = |old: &[ClassCounts], new: &[ClassCounts]| {
            let none = ClassCounts::default();
            let rows = new.iter().enumerate().map(|(number, new)| {
                let old = old.get(number).unwrap_or(&none);
                let inflicted = new.inflicted.iter().enumerate().map(|(by, count)| {
                    (layer(by), count - old.inflicted.get(by).copied().unwrap_or(0))
                });
                let misses = CacheMisses {
                    compulsory: new.compulsory - old.compulsory,
                    invalidated: new.invalidated - old.invalidated,
                    inflicted: inflicted.filter(|&(_, count)| count > 0).collect(),
                    conflict: new.conflict - old.conflict,
                    capacity: new.capacity - old.capacity,
                };
                (layer(number), misses)
            });
            rows.filter(|(_, misses)| misses.total() > 0).collect()
        };
        let tlbs = |old: &[TlbClassCounts], new: &[TlbClassCounts]| {
            let none = TlbClassCounts::default();
            let rows = new.iter().enumerate().map(|(number, new)| {
                let old = old.get(number).unwrap_or(&none);
                let before: BTreeMap<FlushCause, u64> = old.flush_induced.iter().copied().collect();
                let flushes = new.flush_induced.iter().map(|&(cause, count)| {
                    (cause, count - before.get(&cause).copied().unwrap_or(0))
                });
                let misses = TlbMisses {
                    cold: new.cold - old.cold,
                    flush_induced: flushes.filter(|&(_, count)| count > 0).collect(),
                    capacity_or_conflict: new.capacity_or_conflict - old.capacity_or_conflict,
                };
                (layer(number), misses)
            });
            rows.filter(|(_, misses)| misses.total() > 0).collect()
        };
        let evictions = |index: usize| {
            let mut matrix = Evictions::new();
            for (&(missed, by), count) in &after.evictions[index] {
                let old = before.evictions[index].get(&(missed, by)).copied().unwrap_or(0);
                if *count > old {
                    let pair = (layer(missed.0.into()), layer(by.0.into()));
                    *matrix.entry(pair).or_default() += count - old;
                }
            }
            matrix
        };
        let level = |index: usize| (&before.caches.levels[index], &after.caches.levels[index]);
        MissClasses {
            instructions: [0, 1, 2].map(|i| caches(&level(i).0.fetches, &level(i).1.fetches)),
            data: [0, 1, 2].map(|i| caches(&level(i).0.data, &level(i).1.data)),
            itlb: tlbs(&before.tlbs.itlb, &after.tlbs.itlb),
            dtlb: tlbs(&before.tlbs.dtlb, &after.tlbs.dtlb),
            evictions: [0, 1, 2].map(evictions),
        }
    }

    /// Misses of a level on instructions and data, by layer; level 1 is number 0.
    pub fn level(&self, index: usize) -> BTreeMap<Layer, CacheMisses> {
        let mut both = self.instructions[index].clone();
        for (&layer, misses) in &self.data[index] {
            *both.entry(layer).or_default() += misses;
        }
        both
    }

    /// Holds the classes against the misses of the rows, layer by layer, and evictions against what
    /// was inflicted.
    ///
    /// # Errors
    /// [`Error::Classes`] names the first structure and layer whose classes do not sum to its
    /// misses, [`Error::Evictions`] the first level and layers with more inflicted misses than
    /// evictions.
    pub(crate) fn check(&self, rows: &[Row]) -> Result<(), Error> {
        let mut misses: BTreeMap<Layer, [u64; 8]> = BTreeMap::new();
        for row in rows {
            let counters = &row.counters;
            let levels = &counters.levels;
            let of = misses.entry(row.function.layer).or_default();
            for (sum, more) in of.iter_mut().zip([
                levels[0].instructions.misses,
                levels[1].instructions.misses,
                levels[2].instructions.misses,
                levels[0].data().misses,
                levels[1].data().misses,
                levels[2].data().misses,
                counters.itlb.misses,
                counters.dtlb.misses,
            ]) {
                *sum += more;
            }
        }
        let cache = |rows: &BTreeMap<Layer, CacheMisses>, layer| {
            rows.get(&layer).map_or(0, CacheMisses::total)
        };
        let tlb =
            |rows: &BTreeMap<Layer, TlbMisses>, layer| rows.get(&layer).map_or(0, TlbMisses::total);
        for (layer, misses) in misses {
            let [i1, i2, i3] = [0, 1, 2].map(|i| cache(&self.instructions[i], layer));
            let [d1, d2, d3] = [0, 1, 2].map(|i| cache(&self.data[i], layer));
            let sums = [i1, i2, i3, d1, d2, d3, tlb(&self.itlb, layer), tlb(&self.dtlb, layer)];
            for ((structure, sum), misses) in STRUCTURES.into_iter().zip(sums).zip(misses) {
                if sum != misses {
                    return Err(Error::Classes { structure, layer, sum, misses });
                }
            }
        }
        self.check_evictions()
    }

    fn check_evictions(&self) -> Result<(), Error> {
        for (index, matrix) in self.evictions.iter().enumerate() {
            for (layer, misses) in self.level(index) {
                for (by, inflicted) in misses.inflicted {
                    let evictions = matrix.get(&(layer, by)).copied().unwrap_or(0);
                    if evictions < inflicted {
                        let level = index + 1;
                        return Err(Error::Evictions { level, layer, by, evictions, inflicted });
                    }
                }
            }
        }
        Ok(())
    }
}

const STRUCTURES: [&str; 8] = [
    "l1 instruction",
    "l2 instruction",
    "l3 instruction",
    "l1 data",
    "l2 data",
    "l3 data",
    "itlb",
    "dtlb",
];

/// The classes as the models count them, by the number of the layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    pub(crate) caches: CacheClasses,
    pub(crate) tlbs: TlbClasses,
    /// Misses on evicted lines at each level: (who missed, for whom the line was evicted).
    pub(crate) evictions: [BTreeMap<(Actor, Actor), u64>; 3],
}

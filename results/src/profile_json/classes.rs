//! Why structures missed, as JSON.

use crate::known::Known;
use crate::miss_classes::{caches, evictions, tlbs};
use crate::structure::Structure;
use serde::Serialize;
use std::collections::BTreeMap;
use strata_cachemodel::Machine;
use strata_sim::{CacheMisses, MissClasses, TlbMisses};
use strata_symbols::Layer;

/// By the key of the structure.
#[derive(Serialize)]
pub(super) struct Classes {
    #[serde(flatten)]
    caches: BTreeMap<&'static str, Cache>,
    #[serde(flatten)]
    tlbs: BTreeMap<&'static str, Tlb>,
}

#[derive(Serialize)]
struct Cache {
    #[serde(flatten)]
    all: CacheClasses,
    by: Vec<CacheRow>,
}

#[derive(Serialize)]
struct CacheRow {
    layer: Layer,
    #[serde(flatten)]
    classes: CacheClasses,
}

#[derive(Serialize)]
struct CacheClasses {
    misses: u64,
    compulsory: u64,
    invalidated: u64,
    inflicted: u64,
    conflict: u64,
    capacity: u64,
    /// By whose fill had evicted the line.
    inflicted_by: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Tlb {
    #[serde(flatten)]
    all: TlbClasses,
    by: Vec<TlbRow>,
}

#[derive(Serialize)]
struct TlbRow {
    layer: Layer,
    #[serde(flatten)]
    classes: TlbClasses,
}

#[derive(Serialize)]
struct TlbClasses {
    misses: u64,
    cold: u64,
    flush_induced: u64,
    capacity_or_conflict: u64,
    /// Flush-induced misses by the kind of event that had dropped the entry.
    flush_causes: BTreeMap<String, u64>,
}

impl Classes {
    pub(super) fn new(classes: &MissClasses, machine: &Machine, known: Known) -> Self {
        let key = |structure: Structure| structure.key();
        let caches = caches(classes, machine, known).into_iter();
        let tlbs = tlbs(classes, known).into_iter();
        Classes {
            caches: caches.map(|(structure, rows)| (key(structure), Cache::new(&rows))).collect(),
            tlbs: tlbs.map(|(structure, rows)| (key(structure), Tlb::new(rows))).collect(),
        }
    }
}

impl Cache {
    fn new(rows: &BTreeMap<Layer, CacheMisses>) -> Self {
        let mut all = CacheMisses::default();
        rows.values().for_each(|misses| all += misses);
        let row = |(&layer, misses)| CacheRow { layer, classes: CacheClasses::new(misses) };
        Cache { all: CacheClasses::new(&all), by: rows.iter().map(row).collect() }
    }
}

impl CacheClasses {
    fn new(misses: &CacheMisses) -> Self {
        CacheClasses {
            misses: misses.total(),
            compulsory: misses.compulsory,
            invalidated: misses.invalidated,
            inflicted: misses.inflicted_total(),
            conflict: misses.conflict,
            capacity: misses.capacity,
            inflicted_by: texts(&misses.inflicted),
        }
    }
}

impl Tlb {
    fn new(rows: &BTreeMap<Layer, TlbMisses>) -> Self {
        let mut all = TlbMisses::default();
        rows.values().for_each(|misses| all += misses);
        let row = |(&layer, misses)| TlbRow { layer, classes: TlbClasses::new(misses) };
        Tlb { all: TlbClasses::new(&all), by: rows.iter().map(row).collect() }
    }
}

impl TlbClasses {
    fn new(misses: &TlbMisses) -> Self {
        TlbClasses {
            misses: misses.total(),
            cold: misses.cold,
            flush_induced: misses.flush_induced_total(),
            capacity_or_conflict: misses.capacity_or_conflict,
            flush_causes: texts(&misses.flush_induced),
        }
    }
}

/// Misses on evicted lines by level, layer that missed, and layer whose fill had evicted the line.
pub(super) type Evictions = BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, u64>>>;

pub(super) fn evictions_of(classes: &MissClasses, machine: &Machine) -> Evictions {
    let rows = |matrix: &strata_sim::Evictions| {
        let mut rows: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((missed, by), &misses) in matrix {
            rows.entry(missed.to_string()).or_default().insert(by.to_string(), misses);
        }
        rows
    };
    evictions(classes, machine).map(|(level, matrix)| (level, rows(matrix))).collect()
}

fn texts<K: ToString>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(key, &count)| (key.to_string(), count)).collect()
}

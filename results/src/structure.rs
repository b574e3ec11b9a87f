//! The caches and TLBs of a machine as columns of a table.

use strata_cachemodel::Machine;
use strata_sim::{Counters, Misses, Tally};

/// A cache or a TLB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// First-level instruction cache.
    L1i,
    /// First-level data cache.
    L1d,
    /// Second level.
    L2,
    /// Third level.
    L3,
    /// Instruction TLB.
    Itlb,
    /// Data TLB.
    Dtlb,
    /// Second-level TLB.
    Stlb,
}

impl Structure {
    /// All of them, in the order of reports.
    pub const ALL: [Structure; 7] = [
        Structure::L1i,
        Structure::L1d,
        Structure::L2,
        Structure::L3,
        Structure::Itlb,
        Structure::Dtlb,
        Structure::Stlb,
    ];

    /// Those that a machine has.
    pub fn of(machine: &Machine) -> Vec<Structure> {
        let has = |structure: &Structure| match structure {
            Structure::L2 => machine.l2().is_some(),
            Structure::L3 => machine.l3().is_some(),
            Structure::Stlb => machine.stlb().is_some(),
            Structure::L1i | Structure::L1d | Structure::Itlb | Structure::Dtlb => true,
        };
        Structure::ALL.into_iter().filter(has).collect()
    }

    /// Name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Structure::L1i => "L1I",
            Structure::L1d => "L1D",
            Structure::L2 => "L2",
            Structure::L3 => "L3",
            Structure::Itlb => "ITLB",
            Structure::Dtlb => "DTLB",
            Structure::Stlb => "STLB",
        }
    }

    /// Name in JSON, CSV and machine files.
    pub fn key(self) -> &'static str {
        match self {
            Structure::L1i => "l1i",
            Structure::L1d => "l1d",
            Structure::L2 => "l2",
            Structure::L3 => "l3",
            Structure::Itlb => "itlb",
            Structure::Dtlb => "dtlb",
            Structure::Stlb => "stlb",
        }
    }

    /// Names of its misses, and of its misses for each thousand instructions.
    pub(crate) fn miss_keys(self) -> (&'static str, &'static str) {
        match self {
            Structure::L1i => ("l1i-misses", "l1i-mpki"),
            Structure::L1d => ("l1d-misses", "l1d-mpki"),
            Structure::L2 => ("l2-misses", "l2-mpki"),
            Structure::L3 => ("l3-misses", "l3-mpki"),
            Structure::Itlb => ("itlb-misses", "itlb-mpki"),
            Structure::Dtlb => ("dtlb-misses", "dtlb-mpki"),
            Structure::Stlb => ("stlb-misses", "stlb-mpki"),
        }
    }

    /// Its misses among those of a timeline.
    pub fn misses(self, misses: &Misses) -> u64 {
        misses[self as usize]
    }

    /// All accesses to it in `counters`.
    pub fn tally(self, counters: &Counters) -> Tally {
        match self {
            Structure::L1i => counters.l1i(),
            Structure::L1d => counters.l1d(),
            Structure::L2 => counters.l2(),
            Structure::L3 => counters.l3(),
            Structure::Itlb => counters.itlb,
            Structure::Dtlb => counters.dtlb,
            Structure::Stlb => counters.stlb,
        }
    }
}

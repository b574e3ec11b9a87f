//! The caches and TLBs of a machine as columns of a table.

use strata_sim::{Counters, Tally};

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
    /// Instruction TLB.
    Itlb,
    /// Data TLB.
    Dtlb,
}

impl Structure {
    /// All of them, in the order of reports.
    pub const ALL: [Structure; 5] =
        [Structure::L1i, Structure::L1d, Structure::L2, Structure::Itlb, Structure::Dtlb];

    /// Name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Structure::L1i => "L1I",
            Structure::L1d => "L1D",
            Structure::L2 => "L2",
            Structure::Itlb => "ITLB",
            Structure::Dtlb => "DTLB",
        }
    }

    /// Name in JSON, CSV and machine files.
    pub fn key(self) -> &'static str {
        match self {
            Structure::L1i => "l1i",
            Structure::L1d => "l1d",
            Structure::L2 => "l2",
            Structure::Itlb => "itlb",
            Structure::Dtlb => "dtlb",
        }
    }

    /// All accesses to it in `counters`.
    pub fn tally(self, counters: &Counters) -> Tally {
        match self {
            Structure::L1i => counters.l1i,
            Structure::L1d => counters.l1d(),
            Structure::L2 => counters.l2(),
            Structure::Itlb => counters.itlb,
            Structure::Dtlb => counters.dtlb,
        }
    }
}

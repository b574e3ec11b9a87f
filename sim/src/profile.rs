//! What a replay found: counts by function, and totals that they sum to.

use crate::counters::Counters;
use crate::error::Error;
use crate::functions::Function;
use crate::replay::Remarks;
use strata_cachemodel::{Counts, Machine};

/// Counts of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The function.
    pub function: Function,
    /// Its counts.
    pub counters: Counters,
}

/// The result of a replay.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The machine that was modelled.
    pub machine: Machine,
    /// One row for each function that did anything, in order of first execution.
    pub rows: Vec<Row>,
    /// Sum over all rows.
    pub total: Counters,
    /// Everything that the machine counted, write-backs and flushes included.
    pub counts: Counts,
    /// What a reader of these figures should know.
    pub remarks: Remarks,
}

impl Profile {
    /// Sums the rows and holds them against what the machine counted.
    ///
    /// # Errors
    /// [`Error::Sum`] names the first counter that differs.
    pub(crate) fn new(
        machine: Machine,
        rows: Vec<Row>,
        counts: Counts,
        remarks: Remarks,
    ) -> Result<Self, Error> {
        let mut total = Counters::default();
        for row in &rows {
            total += &row.counters;
        }
        let counted = Counters::of_hierarchy(&counts);
        let pairs = [
            ("l1i accesses", total.l1i.accesses, counted.l1i.accesses),
            ("l1i misses", total.l1i.misses, counted.l1i.misses),
            ("l1d read accesses", total.l1d_reads.accesses, counted.l1d_reads.accesses),
            ("l1d read misses", total.l1d_reads.misses, counted.l1d_reads.misses),
            ("l1d write accesses", total.l1d_writes.accesses, counted.l1d_writes.accesses),
            ("l1d write misses", total.l1d_writes.misses, counted.l1d_writes.misses),
            ("l2 instruction misses", total.l2_instructions.misses, counted.l2_instructions.misses),
            ("l2 read misses", total.l2_reads.misses, counted.l2_reads.misses),
            ("l2 write misses", total.l2_writes.misses, counted.l2_writes.misses),
            ("l2 accesses", total.l2().accesses, counted.l2().accesses),
            ("itlb accesses", total.itlb.accesses, counted.itlb.accesses),
            ("itlb misses", total.itlb.misses, counted.itlb.misses),
            ("dtlb accesses", total.dtlb.accesses, counted.dtlb.accesses),
            ("dtlb misses", total.dtlb.misses, counted.dtlb.misses),
            ("stale hits", total.stale, counted.stale),
        ];
        for (counter, sum, machine_total) in pairs {
            if sum != machine_total {
                return Err(Error::Sum { counter, sum, total: machine_total });
            }
        }
        Ok(Profile { machine, rows, total, counts, remarks })
    }
}

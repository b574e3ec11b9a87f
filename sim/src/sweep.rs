//! Many machines from few passes over a trace, each counted as a replay of it alone would count.
//!
//! What machines have in common is done once: decoding for all of a pass, the first level for those
//! that differ below it only, the levels below for those that differ in TLBs only.

mod grid;
mod plan;
mod under_way;

pub use grid::{GridError, Setting, SweepAxis, SweepGrid};
pub use plan::{SweepPass, SweepPlan};
pub use under_way::Sweeping;

use crate::actors::UnknownPartitions;
use crate::counters::Counters;
use crate::error::Error;
use crate::profile::Profile;
use crate::replay::Remarks;
use serde::{Deserialize, Serialize};
use strata_cachemodel::{Counts, Machine};

/// What one machine of a sweep counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepPoint {
    /// Completed instructions.
    pub instructions: u64,
    /// Iterations of `rep` instructions.
    pub rep_iterations: u64,
    /// VM exits.
    pub exits: u64,
    /// Everything that the machine counted.
    pub counts: Counts,
    /// What a reader of these figures should know.
    pub remarks: Remarks,
}

impl SweepPoint {
    /// The counts in the form of a replay, without rows; `machine` is the one they are of.
    #[must_use]
    pub fn profile(&self, machine: Machine) -> Profile {
        let total = Counters {
            instructions: self.instructions,
            rep_iterations: self.rep_iterations,
            exits: self.exits,
            ..Counters::of_hierarchy(&self.counts)
        };
        Profile {
            machine,
            rows: Vec::new(),
            total,
            counts: self.counts,
            remarks: self.remarks,
            classes: None,
            data: None,
            unknown_partitions: UnknownPartitions::default(),
            timeline: None,
            sampling: None,
        }
    }

    /// Holds the counts against the laws of `machine`.
    fn check(self, machine: &Machine) -> Result<Self, Error> {
        self.counts.check_laws(machine)?;
        Ok(self)
    }
}

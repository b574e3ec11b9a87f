//! What a replay found: counts by function, and totals that they sum to.

use crate::actors::UnknownPartitions;
use crate::counters::{Counters, Tally};
use crate::data_misses::DataSide;
use crate::error::Error;
use crate::functions::Function;
use crate::miss_classes::MissClasses;
use crate::replay::Remarks;
use crate::sampling::Sampling;
use crate::timeline::{Timeline, misses_of};
use rustc_hash::FxHashMap;
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
    /// Why the structures missed, if that was asked for.
    pub classes: Option<MissClasses>,
    /// Pages or objects that data misses were on, if that was asked for.
    pub data: Option<DataSide>,
    /// When misses and events happened, if that was asked for.
    pub timeline: Option<Timeline>,
    /// What a statistical profile makes of it, if that was asked for.
    pub sampling: Option<Sampling>,
    /// What the machine's partitions name and nobody replayed is.
    pub unknown_partitions: UnknownPartitions,
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
        let mut pairs = Vec::new();
        let mut same = |counter: String, sum: Tally, of_machine: Tally| {
            pairs.push((format!("{counter} accesses"), sum.accesses, of_machine.accesses));
            pairs.push((format!("{counter} misses"), sum.misses, of_machine.misses));
        };
        for (index, (sum, of_machine)) in total.levels.iter().zip(&counted.levels).enumerate() {
            let name = |kind| format!("l{} {kind}", index + 1);
            same(name("instruction"), sum.instructions, of_machine.instructions);
            same(name("read"), sum.reads, of_machine.reads);
            same(name("write"), sum.writes, of_machine.writes);
            same(name("walk"), total.walk_levels[index], counted.walk_levels[index]);
        }
        same("itlb".to_owned(), total.itlb, counted.itlb);
        same("dtlb".to_owned(), total.dtlb, counted.dtlb);
        same("stlb".to_owned(), total.stlb, counted.stlb);
        pairs.push(("page walks".to_owned(), total.walks, counted.walks));
        pairs.push(("device references".to_owned(), total.device, counted.device));
        pairs.push(("stale hits".to_owned(), total.stale, counted.stale));
        for (counter, sum, machine_total) in pairs {
            if sum != machine_total {
                return Err(Error::Sum { counter, sum, total: machine_total });
            }
        }
        Ok(Profile {
            machine,
            rows,
            total,
            counts,
            remarks,
            classes: None,
            data: None,
            timeline: None,
            sampling: None,
            unknown_partitions: UnknownPartitions::default(),
        })
    }

    /// Holds what was collected besides the rows against them.
    ///
    /// # Errors
    /// [`Error::Classes`], [`Error::Sum`] or [`Error::Windows`] for what does not sum to the misses counted.
    pub(crate) fn check_parts(&self) -> Result<(), Error> {
        if let Some(classes) = &self.classes {
            classes.check(&self.rows)?;
        }
        if let Some(data) = &self.data {
            data.check(&self.total)?;
        }
        if let Some(timeline) = &self.timeline {
            let names = ["L1I", "L1D", "L2", "L3", "ITLB", "DTLB", "STLB"];
            let pairs = timeline.total().into_iter().zip(misses_of(&self.total));
            for (structure, (sum, total)) in names.into_iter().zip(pairs) {
                if sum != total {
                    return Err(Error::Windows { structure, sum, total });
                }
            }
        }
        Ok(())
    }
}

/// One row for each function that did anything, in order of first execution.
pub(crate) fn merge(counted: impl Iterator<Item = (Function, Counters)>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut numbers: FxHashMap<Function, usize> = FxHashMap::default();
    for (function, counters) in counted {
        match numbers.get(&function) {
            Some(&row) => rows[row].counters += &counters,
            None => {
                numbers.insert(function.clone(), rows.len());
                rows.push(Row { function, counters });
            }
        }
    }
    rows.retain(|row| row.counters != Counters::default());
    rows
}

//! The law of a tree: its nodes sum to everything that was counted.

use super::tree::CallTree;
use crate::counters::{Counters, Level, Tally};
use crate::error::Error;

impl CallTree {
    /// Holds the sum over all nodes against `total`, counter by counter.
    ///
    /// # Errors
    /// [`Error::Paths`] names the first counter that differs.
    pub fn check(&self, total: &Counters) -> Result<(), Error> {
        let sums = numbers(&self.total());
        for ((counter, sum), (_, total)) in sums.into_iter().zip(numbers(total)) {
            if sum != total {
                return Err(Error::Paths { counter, sum, total });
            }
        }
        Ok(())
    }
}

/// Every counter with its name.
fn numbers(counters: &Counters) -> Vec<(String, u64)> {
    // All of them by name, so that no new one is forgotten.
    let Counters {
        instructions,
        rep_iterations,
        levels,
        itlb,
        dtlb,
        stlb,
        walks,
        walk_levels,
        exits,
        device,
        stale,
    } = counters;
    let mut out = vec![
        ("instructions".to_owned(), *instructions),
        ("rep iterations".to_owned(), *rep_iterations),
        ("page walks".to_owned(), *walks),
        ("VM exits".to_owned(), *exits),
        ("device references".to_owned(), *device),
        ("stale hits".to_owned(), *stale),
    ];
    let mut tally = |name: String, Tally { accesses, misses }: Tally| {
        out.push((format!("{name} accesses"), accesses));
        out.push((format!("{name} misses"), misses));
    };
    for (i, (level, walk)) in levels.iter().zip(walk_levels).enumerate() {
        let Level { instructions, reads, writes } = *level;
        let kinds =
            [("instruction", instructions), ("read", reads), ("write", writes), ("walk", *walk)];
        for (kind, counts) in kinds {
            tally(format!("l{} {kind}", i + 1), counts);
        }
    }
    for (name, counts) in [("itlb", itlb), ("dtlb", dtlb), ("stlb", stlb)] {
        tally(name.to_owned(), *counts);
    }
    out
}

//! A pass of a sweep at work.

use super::SweepPoint;
use super::plan::{Model, Served, SweepPass, Tlbs};
use crate::calls::Course;
use crate::error::Error;
use crate::functions::Nameless;
use crate::replay::{Extent, Replay};
use rayon::prelude::*;
use strata_cachemodel::{Hierarchy, LowerHalves, Machine, SizedCounts};
use strata_workloads::trace::{Batch, Lacks, MachineState};

/// A pass under way.
pub struct Sweeping {
    runs: Vec<Running>,
    position: u64,
}

struct Running {
    replay: Replay<Nameless>,
    lowers: LowerHalves,
    served: Vec<Served>,
    /// Whether it notes what is asked of the levels below.
    is_upper: bool,
    /// Whether its TLBs are of several sizes.
    of_sizes: bool,
}

impl Sweeping {
    /// Cold machines in front of a stream whose state at its start is `state` and which lacks
    /// `lacks`.
    #[must_use]
    pub fn new(pass: &SweepPass, state: &MachineState, lacks: Lacks) -> Self {
        let runs = pass.runs.iter().map(|run| {
            let (hierarchy, lowers) = match &run.model {
                Model::Whole(machine) => (Hierarchy::new(machine), LowerHalves::new(&[])),
                Model::Upper { first, sizes, lowers } => (
                    match sizes {
                        Some(sizes) => Hierarchy::upper_half_of_sizes(first, sizes),
                        None => Hierarchy::upper_half(first),
                    }
                    .expect("the plan has asked for halves and whether the TLBs fit"),
                    LowerHalves::new(lowers),
                ),
            };
            let lowers = lowers.expect("the plan has asked for halves");
            let mut replay = Replay::on(hierarchy, Nameless, state.clone(), Extent::default());
            replay.set_lacks(lacks);
            let is_upper = matches!(run.model, Model::Upper { .. });
            let of_sizes = matches!(run.model, Model::Upper { sizes: Some(_), .. });
            Running { replay, lowers, served: run.served.clone(), is_upper, of_sizes }
        });
        Sweeping { runs: runs.collect(), position: 0 }
    }

    /// Completed instructions since the start of the stream.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Replays a batch on all machines of the pass; takes its definitions.
    pub fn batch(&mut self, batch: &mut Batch) {
        match self.runs.as_mut_slice() {
            [only] => {
                only.replay.batch(batch);
                only.run_lowers();
            }
            several => {
                let batch = &*batch;
                several.par_iter_mut().for_each(|run| {
                    run.replay.batch_with(batch, &mut batch.new.clone(), &Course::default());
                    run.run_lowers();
                });
            }
        }
        batch.new = Default::default();
        self.position = self.runs.first().map_or(0, |run| run.replay.position());
    }

    /// Ends the pass: the counts of its machines, by their numbers in the sweep. Those are left out
    /// whose TLBs the stream does not allow to be counted together with others: they take another
    /// [plan](super::SweepPlan::one_by_one).
    ///
    /// # Errors
    /// If a law is broken.
    pub fn finish(self, machines: &[Machine]) -> Result<Vec<(usize, SweepPoint)>, Error> {
        let lowers: Vec<Vec<_>> = self
            .runs
            .iter()
            .map(|run| (0..run.lowers.machines()).map(|at| run.lowers.counts(at)).collect())
            .collect();
        let mut points = Vec::new();
        for mut run in self.runs {
            let served = std::mem::take(&mut run.served);
            let tlbs: Vec<_> = served.iter().map(|served| run.sized(served)).collect();
            let (profile, _) = run.replay.finish()?;
            for (served, tlbs) in served.iter().zip(tlbs) {
                let mut counts = profile.counts;
                match tlbs {
                    Sized::Own => {}
                    Sized::Counted(sized) => sized.replace_in(&mut counts),
                    Sized::Lost => continue,
                }
                if let Some((run, lower)) = served.lower {
                    counts += lowers[run][lower];
                }
                let point = SweepPoint {
                    instructions: profile.total.instructions,
                    rep_iterations: profile.total.rep_iterations,
                    exits: profile.total.exits,
                    counts,
                    remarks: profile.remarks,
                };
                points.push((served.point, point.check(&machines[served.point])?));
            }
        }
        Ok(points)
    }
}

/// Where the counts of a machine's TLBs are.
enum Sized {
    /// With those of the run.
    Own,
    Counted(SizedCounts),
    Lost,
}

impl Running {
    fn sized(&mut self, served: &Served) -> Sized {
        let Tlbs { itlb, dtlb, tags } = served.tlbs;
        if !self.of_sizes {
            return Sized::Own;
        }
        self.replay.hierarchy().sized_counts(itlb, dtlb, tags).map_or(Sized::Lost, Sized::Counted)
    }

    /// Runs the levels below on what the batch has asked of them.
    fn run_lowers(&mut self) {
        if !self.is_upper {
            return;
        }
        let requests = self.replay.hierarchy().take_requests();
        match self.lowers.parts_mut() {
            [only] => only.run(&requests),
            several => several.par_iter_mut().for_each(|part| part.run(&requests)),
        }
    }
}

//! A pass of a sweep at work.

use super::SweepPoint;
use super::plan::{Model, Served, SweepPass, Tlbs};
use crate::calls::Course;
use crate::error::Error;
use crate::functions::Nameless;
use crate::replay::{Extent, Replay};
use rayon::prelude::*;
use strata_cachemodel::{Counts, Hierarchy, LowerHalves, Machine, Request, SizedCounts};
use strata_workloads::trace::{Batch, Lacks, MachineState};

/// A pass under way.
pub struct Sweeping {
    runs: Vec<Running>,
    position: u64,
}

struct Running {
    replay: Replay<Nameless>,
    lowers: LowerHalves,
    /// What those had counted when counting began.
    before: Option<Vec<Counts>>,
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
        Self::over(pass, state, lacks, &Extent::default())
    }

    /// The same over a part of the stream.
    #[must_use]
    pub fn over(pass: &SweepPass, state: &MachineState, lacks: Lacks, extent: &Extent) -> Self {
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
            let mut replay = Replay::on(hierarchy, Nameless, state.clone(), extent.clone());
            replay.set_lacks(lacks);
            let is_upper = matches!(run.model, Model::Upper { .. });
            let of_sizes = matches!(run.model, Model::Upper { sizes: Some(_), .. });
            let served = run.served.clone();
            Running { replay, lowers, before: None, served, is_upper, of_sizes }
        });
        Sweeping { runs: runs.collect(), position: 0 }
    }

    /// Completed instructions since the start of the stream.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// True once nothing of the part is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.runs.first().is_some_and(|run| run.replay.is_done())
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
        let lowers: Vec<Vec<_>> = self.runs.iter().map(Running::lower_counts).collect();
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
        if let Some(before) = self.replay.take_asked_before() {
            self.ask_lowers(&before);
            self.before = Some(self.lower_counts());
        }
        let requests = self.replay.hierarchy().take_requests();
        self.ask_lowers(&requests);
    }

    fn ask_lowers(&mut self, requests: &[Request]) {
        match self.lowers.parts_mut() {
            [only] => only.run(requests),
            several => several.par_iter_mut().for_each(|part| part.run(requests)),
        }
    }

    /// What the levels below have counted since counting began.
    fn lower_counts(&self) -> Vec<Counts> {
        let counts = (0..self.lowers.machines()).map(|at| self.lowers.counts(at));
        match &self.before {
            None => counts.collect(),
            Some(before) => counts.zip(before).map(|(counts, &before)| counts - before).collect(),
        }
    }
}

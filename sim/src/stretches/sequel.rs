//! Stretches put together, in the order of the stream.

use super::{InStretches, Ready, Shared, Stretches, Worker};
use crate::counters::Counters;
use crate::error::Error;
use crate::functions::Namer;
use crate::profile::{Profile, merge};
use crate::replay::{Remarks, Replay, Start, Stretch};
use rustc_hash::{FxHashMap, FxHashSet};
use strata_cachemodel::{Counts, Hierarchy, LowerHalf, Notes, Outcome, Past, RefKind, Request};

/// What all stretches so far have come to.
pub(super) struct Sequel<'a, 't, N> {
    all: &'a Stretches<'t, N>,
    /// First level and TLBs at the end of the last stretch; absent while a stretch goes on from
    /// there.
    past: Option<Hierarchy>,
    lower: LowerHalf,
    /// What that had counted at the end of the warm-up.
    lower_before: Option<Counts>,
    /// Of first level and TLBs.
    counts: Option<Counts>,
    /// By worker and number of the function.
    totals: Vec<Vec<Counters>>,
    /// Functions in order of first execution: worker and number.
    order: Vec<(usize, usize)>,
    /// By worker, how many functions are in that order.
    ordered: Vec<usize>,
    /// By CPU, the function executed last: worker and number.
    last: FxHashMap<u16, (usize, usize)>,
    remarks: Remarks,
    position: u64,
    next: usize,
    /// What replays stretches again, and how many it has.
    again: Option<Worker<N>>,
    repeated: usize,
}

impl<'a, 't, N: Namer> Sequel<'a, 't, N> {
    pub(super) fn new(all: &'a Stretches<'t, N>, workers: usize) -> Result<Self, Error> {
        let lower = LowerHalf::new(all.machine).ok_or(Error::Stretches { why: "no halves" })?;
        Ok(Sequel {
            all,
            past: None,
            lower,
            lower_before: None,
            counts: None,
            // The last one is for stretches replayed again.
            totals: vec![Vec::new(); workers + 1],
            order: Vec::new(),
            ordered: vec![0; workers + 1],
            last: FxHashMap::default(),
            remarks: Remarks::default(),
            position: 0,
            next: 0,
            again: None,
            repeated: 0,
        })
    }

    /// How a stretch that is about to be replayed begins.
    pub(super) fn start_of(&mut self, number: usize) -> Start {
        match number {
            0 => Start::Cold,
            _ if number == self.next => match self.past.take() {
                Some(past) => Start::Known(Box::new(past)),
                None => Start::Unknown,
            },
            _ => Start::Unknown,
        }
    }

    /// Adds the next stretch.
    pub(super) fn add(&mut self, ready: Ready) -> Result<(), Error> {
        let Ready { worker, mut stretch, is_sure } = ready;
        self.note_order(worker, stretch.functions);
        if is_sure {
            self.add_sure(worker, stretch);
            return Ok(());
        }
        let Some(past) = self.past.take() else {
            unreachable!("what goes on from the past alone is the next to be added");
        };
        let (count, counted) = (stretch.parts.len(), stretch.counts.is_some());
        let mut few = Vec::new();
        let parts = std::mem::take(&mut stretch.parts);
        let half = std::mem::replace(&mut stretch.half, self.all.half.clone());
        let settled =
            Past::new(past.clone()).settle(half, &parts, |part, charge, kind, outcome| {
                if counted && part + 1 == count {
                    few.push((charge, kind, *outcome));
                }
            });
        let Ok((past, settled)) = settled else {
            return self.replay_again(past);
        };
        self.past = Some(past.into_half());
        if let (Some(counts), Some(last)) = (&mut stretch.counts, settled.last()) {
            last.amend(counts);
        }
        self.add_counted(worker, &mut stretch);
        for (charge, kind, outcome) in few {
            self.totals[worker][charge as usize].take_off(kind, &outcome);
        }
        let requests: Vec<&[Request]> = settled.iter().map(|part| &part.requests[..]).collect();
        self.run_below(worker, &requests, counted);
        Ok(())
    }

    /// Adds a stretch that began with its past.
    fn add_sure(&mut self, worker: usize, mut stretch: Stretch) {
        let parts = std::mem::take(&mut stretch.parts);
        let half = std::mem::replace(&mut stretch.half, self.all.half.clone());
        self.past = Some(half);
        self.add_counted(worker, &mut stretch);
        let requests: Vec<&[Request]> = parts.iter().map(Notes::requests).collect();
        self.run_below(worker, &requests, stretch.counts.is_some());
    }

    /// Replays the next stretch from its past.
    fn replay_again(&mut self, past: Hierarchy) -> Result<(), Error> {
        let mut own = self.again.take().unwrap_or_else(|| self.all.worker());
        let start = Start::Known(Box::new(past));
        let stretch = self.all.run(&mut own, self.next, start, |_| {})?;
        self.again = Some(own);
        self.repeated += 1;
        let worker = self.totals.len() - 1;
        self.note_order(worker, stretch.functions);
        self.add_sure(worker, stretch);
        Ok(())
    }

    fn note_order(&mut self, worker: usize, functions: usize) {
        self.order.extend((self.ordered[worker]..functions).map(|number| (worker, number)));
        self.ordered[worker] = functions;
        self.totals[worker].resize(functions, Counters::default());
    }

    /// Adds all but what the caches asked for.
    fn add_counted(&mut self, worker: usize, stretch: &mut Stretch) {
        if let Some(counts) = stretch.counts {
            *self.counts.get_or_insert_default() += counts;
        }
        let rows = std::mem::take(&mut stretch.rows);
        for (total, row) in self.totals[worker].iter_mut().zip(rows.settle()) {
            *total += &row;
        }
        if stretch.counts.is_some() && self.counts.is_some() {
            for cpu in &stretch.exits_before {
                if let Some(&(worker, number)) = self.last.get(cpu) {
                    self.totals[worker][number].exits += 1;
                }
            }
        }
        let last = stretch.last_rows.iter();
        self.last.extend(last.map(|(&cpu, &number)| (cpu, (worker, number as usize))));
        self.remarks.add(&stretch.remarks);
        self.position = stretch.position;
        self.next += 1;
    }

    /// Runs the levels below the first with what they were asked for in each part, of which the
    /// last is counted if any is.
    fn run_below(&mut self, worker: usize, parts: &[&[Request]], counted: bool) {
        let Sequel { lower, lower_before, totals, .. } = self;
        for (number, requests) in parts.iter().enumerate() {
            let counted = counted && number + 1 == parts.len();
            if counted {
                lower_before.get_or_insert_with(|| lower.counts());
            }
            let totals = &mut totals[worker];
            lower.run(requests, |charge, kind: RefKind, outcome: &Outcome| {
                if counted {
                    totals[charge as usize].count(kind, outcome);
                }
            });
        }
    }

    /// The whole.
    pub(super) fn finish(self, workers: Vec<Replay<Shared<N>>>) -> Result<InStretches, Error> {
        let (trace, machine) = (self.all.trace, self.all.machine);
        let range = &self.all.stretches.first().map(|cut| cut.extent.range.clone());
        let (Some(counts), Some(before)) = (self.counts, self.lower_before) else {
            let from = range.as_ref().map_or(0, |range| range.start);
            let why = "all of it is warm-up".to_owned();
            return Err(Error::Range { from, to: self.position, why });
        };
        let mut all = counts;
        all += self.lower.counts() - before;
        all.check_laws(machine)?;
        let mut unknown = FxHashSet::default();
        let mut functions = Vec::new();
        for replay in workers.into_iter().chain(self.again.map(|own| own.replay)) {
            unknown.extend(replay.unknown_pages());
            functions.push(replay.settle_names(&trace.tables().blocks).0);
        }
        let rows = merge(self.order.iter().map(|&(worker, number)| {
            (functions[worker][number].clone(), self.totals[worker][number])
        }));
        let mut remarks = self.remarks;
        remarks.untranslated_pages = unknown.len() as u64;
        let profile = Profile::new(machine.clone(), rows, all, remarks)?;
        profile.check_parts()?;
        Ok(InStretches { profile, position: self.position, stretches: [self.next, self.repeated] })
    }
}

//! A statistical profile of a replay, as hardware counters give one (Xenoprof, VEE 2005): every N-th
//! event is charged to the function that runs when it is noticed.
//!
//! A miss happens where the execution that made it begins, as in a [timeline](crate::Timeline); an
//! instruction where it is. An event is noticed `skid` instructions later, counted on its own CPU.

use crate::counters::Counters;
use crate::error::Error;
use crate::functions::Function;
use crate::timeline::{misses_of, misses_of_outcome};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use strata_cachemodel::{Machine, Outcome, RefKind};

/// What is counted down between samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampledEvent {
    /// Completed instructions.
    Instructions,
    /// Misses of one structure, by its place in [`Misses`](crate::Misses).
    Misses(usize),
    /// Cycles by the machine's cost model.
    Cycles,
}

impl SampledEvent {
    /// How many of them `counters` has; `None` for cycles where the machine has no costs.
    #[must_use]
    pub fn count(self, counters: &Counters, machine: &Machine) -> Option<f64> {
        match self {
            SampledEvent::Instructions => Some(counters.instructions as f64),
            SampledEvent::Misses(index) => Some(misses_of(counters)[index] as f64),
            SampledEvent::Cycles => counters.cycles(machine),
        }
    }
}

/// How samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingOptions {
    /// What is counted down.
    pub event: SampledEvent,
    /// Events from one sample to the next; on average, where they are `random`.
    pub every: u64,
    /// Instructions between an event and its being noticed.
    pub skid: u64,
    /// Start of the random numbers for intervals of 1 to `2 every - 1` events. Without, all are
    /// equal, and code that repeats in step with them is seen too often or not at all.
    pub random: Option<u64>,
}

impl SamplingOptions {
    /// Longest interval: its double and numbers of events have no rounding.
    pub const MOST_EVERY: u64 = 1 << 40;

    fn check(&self, machine: &Machine) -> Result<(), Error> {
        if self.every == 0 || self.every > Self::MOST_EVERY {
            return Err(Error::Sampling {
                every: self.every,
                why: format!(
                    "a sample is taken every 1 to {} events; give another --every",
                    Self::MOST_EVERY
                ),
            });
        }
        if self.event == SampledEvent::Cycles && machine.cost().is_none() {
            return Err(Error::Sampling {
                every: self.every,
                why: format!(
                    "the machine {} has no costs to make cycles of; give it some, as in \
                     --set cost.base-cpi=1 --set cost.memory=200",
                    machine.name()
                ),
            });
        }
        Ok(())
    }
}

/// The samples of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// How they were taken.
    pub options: SamplingOptions,
    /// Samples charged to each function that has any, in order of first execution.
    pub samples: Vec<(Function, u64)>,
    /// All of these.
    pub taken: u64,
    /// Events that were to be noticed behind the last instruction.
    pub lost: u64,
}

/// Where one CPU is.
#[derive(Clone, Debug, Default)]
struct Cpu {
    /// Instructions before the execution under way.
    began: u64,
    /// Instructions up to its end.
    end: u64,
    /// The instructions that a sample is to be taken at, the next one first.
    due: BinaryHeap<Reverse<u64>>,
}

/// Sampling under way.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    machine: Machine,
    is_on: bool,
    /// Events up to the next sample.
    left: f64,
    random: Option<fastrand::Rng>,
    cpus: FxHashMap<u16, Cpu>,
    cpu: u16,
    /// By row.
    samples: Vec<u64>,
}

impl Sampler {
    /// A sampler that is given to a replay before its first batch.
    ///
    /// # Errors
    /// [`Error::Sampling`] for intervals that are too short or long, and for cycles of a machine
    /// without costs.
    pub fn new(options: SamplingOptions, machine: &Machine) -> Result<Self, Error> {
        options.check(machine)?;
        let mut sampler = Sampler {
            random: options.random.map(fastrand::Rng::with_seed),
            options,
            machine: machine.clone(),
            is_on: false,
            left: 0.0,
            cpus: FxHashMap::default(),
            cpu: 0,
            samples: Vec::new(),
        };
        sampler.left = sampler.interval();
        Ok(sampler)
    }

    fn interval(&mut self) -> f64 {
        let every = self.options.every;
        let interval = match &mut self.random {
            Some(random) => random.u64(1..2 * every),
            None => every,
        };
        interval as f64
    }

    /// From here on events count.
    pub(crate) fn begin(&mut self) {
        self.is_on = true;
    }

    /// Rows are known up to this number.
    pub(crate) fn grow(&mut self, rows: usize) {
        self.samples.resize(rows, 0);
    }

    /// What follows is done by this CPU.
    pub(crate) fn set_cpu(&mut self, cpu: u16) {
        self.cpu = cpu;
    }

    /// `row` executes so many instructions, whose references are told of afterwards.
    pub(crate) fn executed(&mut self, row: usize, instructions: u64) {
        let cpu = self.cpus.entry(self.cpu).or_default();
        cpu.began = cpu.end;
        cpu.end += instructions;
        let end = cpu.end;
        while let Some(due) = cpu.due.peek_mut().filter(|due| due.0 < end) {
            std::collections::binary_heap::PeekMut::pop(due);
            self.samples[row] += 1;
        }
        match self.options.event {
            SampledEvent::Instructions => self.pass(row, instructions, 1.0),
            SampledEvent::Cycles => {
                let each = self.machine.cost().map_or(0.0, |cost| cost.base_cpi);
                self.pass(row, instructions, each);
            }
            SampledEvent::Misses(_) => {}
        }
    }

    /// Instructions of the execution under way, each of which is so many events.
    fn pass(&mut self, row: usize, instructions: u64, each: f64) {
        if !self.is_on || each <= 0.0 {
            return;
        }
        let mut passed = 0;
        // The instruction with which the interval ends.
        while let last = (self.left / each).ceil().max(1.0) as u64
            && last <= instructions - passed
        {
            passed += last;
            self.left += self.interval() - last as f64 * each;
            self.notice(row, passed - 1);
        }
        self.left -= (instructions - passed) as f64 * each;
    }

    /// A reference of the execution under way, which `row` made.
    pub(crate) fn note(&mut self, row: usize, kind: RefKind, outcome: &Outcome) {
        if !self.is_on {
            return;
        }
        let events = match self.options.event {
            SampledEvent::Instructions => return,
            SampledEvent::Misses(index) => {
                misses_of_outcome(kind, outcome).map_or(0.0, |misses| f64::from(misses[index]))
            }
            SampledEvent::Cycles => {
                let mut counters = Counters::default();
                counters.count(kind, outcome);
                counters.cycles(&self.machine).unwrap_or_default()
            }
        };
        self.happen(row, events);
    }

    /// An exit to the hypervisor, which `row` caused.
    pub(crate) fn exit(&mut self, row: usize) {
        if self.is_on && self.options.event == SampledEvent::Cycles {
            let counters = Counters { exits: 1, ..Counters::default() };
            self.happen(row, counters.cycles(&self.machine).unwrap_or_default());
        }
    }

    /// Events at the beginning of the execution under way.
    fn happen(&mut self, row: usize, events: f64) {
        self.left -= events;
        while self.left <= 0.0 {
            self.left += self.interval();
            self.notice(row, 0);
        }
    }

    /// Takes a sample of an event at the instruction of this index in the execution under way.
    fn notice(&mut self, row: usize, index: u64) {
        let cpu = self.cpus.entry(self.cpu).or_default();
        let at = (cpu.began + index).saturating_add(self.options.skid);
        if self.options.skid == 0 || at < cpu.end {
            self.samples[row] += 1;
        } else {
            cpu.due.push(Reverse(at));
        }
    }

    /// Ends, with the functions of all rows.
    pub(crate) fn finish(self, functions: &[Function]) -> Sampling {
        let mut samples: Vec<(Function, u64)> = Vec::new();
        let mut numbers: FxHashMap<&Function, usize> = FxHashMap::default();
        for (function, count) in functions.iter().zip(self.samples) {
            if count > 0 {
                let number = *numbers.entry(function).or_insert_with(|| {
                    samples.push((function.clone(), 0));
                    samples.len() - 1
                });
                samples[number].1 += count;
            }
        }
        Sampling {
            options: self.options,
            taken: samples.iter().map(|(_, count)| count).sum(),
            samples,
            lost: self.cpus.values().map(|cpu| cpu.due.len() as u64).sum(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(options: SamplingOptions) -> Sampler {
        let machine = Machine::load("vee07").unwrap();
        let mut sampler = Sampler::new(options, &machine).unwrap();
        sampler.grow(4);
        sampler.begin();
        sampler
    }

    const DTLB: SampledEvent = SampledEvent::Misses(5);

    /// An execution: its CPU and row, how many instructions, how many DTLB misses.
    fn execution() -> impl Strategy<Value = (u16, usize, u64, u16)> {
        (0..2u16, 0..4usize, 0..9u64, 0..3u16)
    }

    proptest! {
        #[test]
        fn events_are_noticed_so_many_instructions_later_on_their_cpu(
            executions in proptest::collection::vec(execution(), 0..60),
            every in 1..7u64,
            skid in 0..12u64,
            misses in any::<bool>(),
        ) {
            let event = if misses { DTLB } else { SampledEvent::Instructions };
            let mut sampler = sampler(SamplingOptions { event, every, skid, random: None });
            // By CPU, the row of each instruction; and where each event was noticed at the earliest.
            let mut rows: [Vec<usize>; 2] = Default::default();
            let mut events: Vec<(usize, u64, usize)> = Vec::new();
            for &(cpu, row, instructions, missed) in &executions {
                sampler.set_cpu(cpu);
                sampler.executed(row, instructions);
                for _ in 0..missed {
                    let outcome = Outcome { tlb_misses: 1, ..Outcome::HIT };
                    sampler.note(row, RefKind::Read, &outcome);
                }
                let on_cpu = &mut rows[usize::from(cpu)];
                let begins = on_cpu.len() as u64;
                on_cpu.extend((0..instructions).map(|_| row));
                let at = if misses { vec![begins; usize::from(missed)] } else {
                    (begins..begins + instructions).collect()
                };
                events.extend(at.into_iter().map(|at| (usize::from(cpu), at, row)));
            }
            let mut expected = vec![0; 4];
            for &(cpu, at, row) in events.iter().skip(every as usize - 1).step_by(every as usize) {
                let noticed = if skid == 0 { Some(&row) } else { rows[cpu].get((at + skid) as usize) };
                if let Some(&row) = noticed {
                    expected[row] += 1;
                }
            }
            prop_assert_eq!(sampler.samples, expected);
        }

        #[test]
        fn random_intervals_are_as_long_as_equal_ones_on_average(seed: u64, every in 1..1000u64) {
            let event = SampledEvent::Instructions;
            let mut sampler = sampler(SamplingOptions { event, every, skid: 0, random: Some(seed) });
            sampler.executed(0, 10_000 * every);
            // Six standard deviations of the mean of 10,000 intervals.
            prop_assert!(sampler.samples[0].abs_diff(10_000) < 400, "{}", sampler.samples[0]);
        }
    }
}

//! Where the time goes at VM exits.

mod interval;
mod report;
mod run_states;
mod scenario;
mod tally;

pub use interval::{Interval, Intervals, Unmatched, VcpuTimes, Window};
pub use report::{ExitReport, ParavirtualRow, Row, VcpuRow};
pub use run_states::RunStates;
pub use scenario::Scenario;
pub use tally::{By, Key, MOST_KEYS, Sums};

use crate::error::Error;
use crate::event::{Event, Isa, Kind, Paravirtual};
use crate::source::{Source, Take};
use run_states::AllRunStates;
use rustc_hash::FxHashMap;
use tally::Tally;

/// Edges of Table 7 of the Xen/VT paper, in cycles.
pub const PAPER_EDGES: [u64; 3] = [50_000, 500_000, 5_000_000];

/// How exits are accounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// What rows are of.
    pub by: By,
    /// What is timed.
    pub window: Window,
    /// Leaves out time in which a vCPU waits, for an event or for a CPU.
    pub exclude_waiting: bool,
    /// Edges of a histogram, ascending; none for no histogram.
    pub edges: Vec<u64>,
}

/// Accounts events as they come, in bounded memory.
#[derive(Clone, Debug)]
pub struct Account {
    options: Accounting,
    intervals: Intervals,
    tally: Tally,
    run_states: AllRunStates,
    paravirtual: FxHashMap<(u32, Paravirtual), u64>,
    /// Times of the first and of the last event; the first behind the last before there is one.
    first: u64,
    last: u64,
    /// Largest reason of an unsaid numbering.
    largest_unsaid: Option<u32>,
    /// The numbering that the trace tells.
    isa: Option<Isa>,
    user_space_told: bool,
    interrupts_told: bool,
}

impl Account {
    /// Nothing has happened yet.
    ///
    /// # Errors
    /// [`Error::Edges`] if the edges do not ascend.
    pub fn new(options: Accounting) -> Result<Self, Error> {
        if let Some(pair) = options.edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::Edges { left: pair[0], right: pair[1] });
        }
        Ok(Account {
            intervals: Intervals::new(options.window),
            tally: Tally::new(options.by),
            options,
            run_states: AllRunStates::default(),
            paravirtual: FxHashMap::default(),
            first: u64::MAX,
            last: 0,
            largest_unsaid: None,
            isa: None,
            user_space_told: false,
            interrupts_told: false,
        })
    }

    /// Takes the next event; returns the interval that ends with it.
    // Where an event is made, its kind is known, so that half of this falls away.
    #[inline(always)]
    pub fn event(&mut self, event: &Event) -> Option<&Interval> {
        self.first = self.first.min(event.time);
        self.last = self.last.max(event.time);
        match event.kind {
            Kind::Exit { .. } | Kind::Entry => {}
            _ => self.note(event),
        }
        let interval = self.intervals.event(event)?;
        match interval.isa {
            Isa::Unsaid => self.largest_unsaid = self.largest_unsaid.max(interval.reason),
            Isa::Named => {}
            isa => self.isa = Some(isa),
        }
        let duration = match self.options.exclude_waiting {
            true => interval.handling(),
            false => interval.duration(),
        };
        self.tally.add(interval, duration, &self.options.edges);
        Some(interval)
    }

    /// What events besides exits and entries tell.
    #[inline(never)]
    fn note(&mut self, event: &Event) {
        match event.kind {
            Kind::RunState(_) | Kind::Lost { .. } => self.run_states.event(event),
            Kind::Paravirtual(entry) => {
                let vcpu = event.vcpu.map_or(u32::MAX, |vcpu| vcpu.0);
                *self.paravirtual.entry((vcpu, entry)).or_default() += 1;
            }
            Kind::UserspaceExit { .. } => self.user_space_told = true,
            Kind::IrqEnter => self.interrupts_told = true,
            _ => {}
        }
    }

    /// Reads a trace to its end.
    ///
    /// # Errors
    /// Those of the source; [`Error::NothingFound`] if nothing of it can be accounted.
    pub fn run<S: Source>(mut self, source: &mut S) -> Result<ExitReport, Error> {
        source.each_event(&mut self)?;
        self.finish(source)
    }
}

impl Take for Account {
    #[inline(always)]
    fn take(&mut self, event: &Event) {
        self.event(event);
    }
}

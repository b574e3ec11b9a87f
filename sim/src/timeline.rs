//! Misses over instructions retired, with what happened when (VEE'07, Figures 11 and 12).
//!
//! A miss is placed where the execution that made it begins: at the number of instructions completed
//! before it, on all CPUs together. Windows and bins take in what is placed in them, so that an
//! execution over a boundary counts whole in the one that it begins in, and all of them sum to what
//! a plain replay counts.

mod after;
mod correlation;
mod marks;
#[cfg(test)]
mod tests;

pub use after::{After, AfterBin, Estimate};
pub use correlation::Correlation;
pub use marks::{Mark, MarkKind};

use crate::counters::Counters;
use crate::error::Error;
use crate::functions::Function;
use after::Averages;
use correlation::Correlations;
use marks::MarkFinder;
use strata_cachemodel::{Outcome, RefKind};
use strata_symbols::Layer;
use strata_workloads::trace::{Event, MachineState};

/// Structures that misses are told of.
pub const STRUCTURES: usize = 7;

/// Misses of L1I, L1D, L2, L3, ITLB, DTLB and STLB, in this order.
pub type Misses = [u64; STRUCTURES];

/// A replay keeps no more windows; they would take hundreds of megabytes.
pub const MOST_WINDOWS: u64 = 1 << 20;

/// What a timeline tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineOptions {
    /// Length of a window, in instructions.
    pub window: u64,
    /// Events to mark.
    pub marks: Vec<MarkKind>,
    /// Instructions after an event that averages are taken over; a multiple of `bin`.
    pub after: u64,
    /// Length of a bin of these averages, in instructions.
    pub bin: u64,
    /// Instructions after an event that count as near to it.
    pub near: u64,
    /// Length of a bin of the correlation, in instructions.
    pub correlation_bin: u64,
}

impl Default for TimelineOptions {
    fn default() -> Self {
        TimelineOptions {
            window: 50_000,
            marks: MarkKind::DEFAULT.to_vec(),
            after: 10_000,
            bin: 500,
            near: 2_000,
            correlation_bin: 10_000,
        }
    }
}

impl TimelineOptions {
    /// Bins of an average after an event that are kept at most.
    const MOST_BINS: u64 = 10_000;

    fn check(&self) -> Result<(), Error> {
        let wrong = |what, value, why: &str| Err(Error::Timeline { what, value, why: why.into() });
        for (what, value) in [
            ("window", self.window),
            ("bin", self.bin),
            ("near", self.near),
            ("correlation-bin", self.correlation_bin),
        ] {
            if value == 0 {
                return wrong(what, value, "it must have at least one instruction");
            }
        }
        if self.after == 0 || !self.after.is_multiple_of(self.bin) {
            let why = format!("it must be a multiple of the bin, which has {}", self.bin);
            return wrong("after", self.after, &why);
        }
        if self.after / self.bin > Self::MOST_BINS {
            let why = format!("it has more than {} bins; give longer ones", Self::MOST_BINS);
            return wrong("after", self.after, &why);
        }
        Ok(())
    }
}

/// Misses over the instructions of a replay.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// What was asked for.
    pub options: TimelineOptions,
    /// Instructions of the stream before the first window.
    pub begin: u64,
    /// Instructions in all windows.
    pub instructions: u64,
    /// Who missed, in order of first miss.
    pub layers: Vec<Layer>,
    /// From `begin` on, without a gap; only the last can be shorter.
    pub windows: Vec<Window>,
    /// In order. Several operations of a kind at one place are one mark.
    pub marks: Vec<Mark>,
    /// What follows the events of each kind.
    pub after: Vec<After>,
    /// How misses go with the events of each kind.
    pub correlations: Vec<Correlation>,
}

/// A stretch of instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Instructions of the stream before it.
    pub from: u64,
    /// Instructions of the stream up to its end.
    pub to: u64,
    /// All misses in it.
    pub misses: Misses,
    /// The same by layer, as in [`Timeline::layers`].
    pub by_layer: Vec<Misses>,
}

impl Timeline {
    /// Misses in all windows.
    pub fn total(&self) -> Misses {
        let mut total = Misses::default();
        self.windows.iter().for_each(|window| add(&mut total, &window.misses));
        total
    }
}

fn add(sum: &mut Misses, more: &Misses) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// Misses that `counters` has, in the order of [`Misses`].
pub fn misses_of(counters: &Counters) -> Misses {
    [
        counters.l1i().misses,
        counters.l1d().misses,
        counters.l2().misses,
        counters.l3().misses,
        counters.itlb.misses,
        counters.dtlb.misses,
        counters.stlb.misses,
    ]
}

/// A timeline under way.
#[derive(Debug)]
pub struct TimelineWatch {
    options: TimelineOptions,
    /// Where counting began.
    begin: Option<u64>,
    /// Of the execution under way.
    position: u64,
    layers: Vec<Layer>,
    /// By layer and window.
    windows: Vec<Vec<[u32; STRUCTURES]>>,
    /// Number of the layer of each row.
    layer_of_row: Vec<u8>,
    finder: MarkFinder,
    marks: Vec<Mark>,
    averages: Averages,
    correlations: Correlations,
}

impl TimelineWatch {
    /// A watch that is given to a replay before its first batch.
    ///
    /// # Errors
    /// [`Error::Timeline`] for lengths of zero, and for an `after` that bins do not divide.
    pub fn new(options: TimelineOptions) -> Result<Self, Error> {
        options.check()?;
        let kinds = options.marks.len();
        Ok(TimelineWatch {
            begin: None,
            position: 0,
            layers: Vec::new(),
            windows: Vec::new(),
            layer_of_row: Vec::new(),
            finder: MarkFinder::default(),
            marks: Vec::new(),
            averages: Averages::new(kinds, options.after, options.bin),
            correlations: Correlations::new(kinds, options.near, options.correlation_bin),
            options,
        })
    }

    /// From here on misses and events count.
    pub(crate) fn begin(&mut self, position: u64) {
        self.begin.get_or_insert(position);
    }

    /// The execution under way begins at `position`.
    #[inline]
    pub(crate) fn at(&mut self, position: u64) {
        self.position = position;
    }

    /// Rows are known up to `functions.len()`.
    pub(crate) fn grow(&mut self, functions: &[Function]) {
        for function in &functions[self.layer_of_row.len()..] {
            let known = self.layers.iter().position(|&layer| layer == function.layer);
            let number = known.unwrap_or_else(|| {
                self.layers.push(function.layer);
                self.windows.push(Vec::new());
                self.layers.len() - 1
            });
            // Domains are few; what is beyond 255 of them shares the last number.
            self.layer_of_row.push(number.min(usize::from(u8::MAX)) as u8);
        }
    }

    /// A reference of `row` that was no plain hit.
    pub(crate) fn note(&mut self, row: usize, kind: RefKind, outcome: &Outcome) {
        let Some(begin) = self.begin else { return };
        let Some(misses) = misses_of_outcome(kind, outcome) else { return };
        let offset = self.position - begin;
        let window = offset / self.options.window;
        if window < MOST_WINDOWS {
            let windows = &mut self.windows[usize::from(self.layer_of_row[row])];
            let window = window as usize;
            if windows.len() <= window {
                windows.resize(window + 1, [0; STRUCTURES]);
            }
            windows[window].iter_mut().zip(misses).for_each(|(sum, more)| *sum += more);
        }
        self.averages.misses(offset, &misses);
        self.correlations.misses(offset, &misses);
    }

    /// An event at `position`, before which the machine's state is `state`.
    pub(crate) fn event(&mut self, position: u64, event: &Event, state: &MachineState) {
        let kind = self.finder.find(event, state);
        let (Some(kind), Some(begin)) = (kind, self.begin) else { return };
        let Some(index) = self.options.marks.iter().position(|&asked| asked == kind) else {
            return;
        };
        // Operations of a list come one after the other at one place.
        let here = self.marks.iter_mut().rev().take_while(|mark| mark.at == position);
        if let Some(mark) = here.into_iter().find(|mark| mark.kind == kind) {
            mark.operations += 1;
            return;
        }
        self.marks.push(Mark { at: position, kind, operations: 1 });
        self.averages.event(index, position - begin);
        self.correlations.event(index, position - begin);
    }

    /// Ends after `instructions` that counted.
    ///
    /// # Errors
    /// [`Error::Timeline`] for more windows than are kept.
    pub(crate) fn finish(self, instructions: u64) -> Result<Timeline, Error> {
        let TimelineOptions { window, ref marks, .. } = self.options;
        let count = instructions.div_ceil(window);
        if count > MOST_WINDOWS {
            return Err(Error::Timeline {
                what: "window",
                value: window,
                why: format!(
                    "it makes {count} windows, more than {MOST_WINDOWS}; give a longer one"
                ),
            });
        }
        let begin = self.begin.unwrap_or_default();
        // An execution without a completed instruction may come last.
        let count = self.windows.iter().map(Vec::len).max().unwrap_or(0).max(count as usize);
        let windows = (0..count).map(|index| {
            let of_layer = |layer: &Vec<[u32; STRUCTURES]>| {
                layer.get(index).map_or(Misses::default(), |misses| misses.map(u64::from))
            };
            let by_layer: Vec<Misses> = self.windows.iter().map(of_layer).collect();
            let mut misses = Misses::default();
            by_layer.iter().for_each(|layer| add(&mut misses, layer));
            let from = begin + (index as u64 * window).min(instructions);
            let to = begin + ((index as u64 + 1) * window).min(instructions);
            Window { from, to, misses, by_layer }
        });
        let windows: Vec<Window> = windows.collect();
        let mut total = Misses::default();
        windows.iter().for_each(|window| add(&mut total, &window.misses));
        let after = self.averages.finish(marks, instructions, &total);
        let correlations = self.correlations.finish(marks, instructions, &total);
        Ok(Timeline {
            options: self.options,
            begin,
            instructions,
            layers: self.layers,
            windows,
            marks: self.marks,
            after,
            correlations,
        })
    }
}

/// Misses of one reference; `None` if there are none.
pub(crate) fn misses_of_outcome(kind: RefKind, outcome: &Outcome) -> Option<[u32; STRUCTURES]> {
    let [l1, l2, l3] = outcome.misses;
    let (tlb, stlb) = (outcome.tlb_misses, outcome.stlb_misses);
    let misses = match kind {
        RefKind::Fetch => [l1, 0, l2, l3, tlb, 0, stlb],
        RefKind::Read | RefKind::Write | RefKind::ModifyWrite => [0, l1, l2, l3, 0, tlb, stlb],
    };
    (misses != [0; STRUCTURES]).then(|| misses.map(u32::from))
}

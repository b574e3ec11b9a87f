//! Whether misses come where events are: two figures for each kind of event and each structure.

use super::marks::MarkKind;
use super::{Misses, STRUCTURES};

/// How misses go with the events of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// The events.
    pub kind: MarkKind,
    /// Places where there are some.
    pub events: u64,
    /// Instructions near to one: fewer than the chosen number after it.
    pub near_instructions: u64,
    /// Misses there.
    pub near_misses: Misses,
    /// Share of the misses near to an event over the share of the instructions there: 1 where
    /// events make no difference. `None` without misses or without instructions near to events.
    pub lift: [Option<f64>; STRUCTURES],
    /// Pearson's r between events and misses, over bins of the chosen length; a last, shorter one is
    /// left out. `None` where one of them is the same in all bins.
    pub pearson: [Option<f64>; STRUCTURES],
}

/// Correlations under way. Positions count from the first window's begin.
#[derive(Debug)]
pub(super) struct Correlations {
    near: u64,
    bin: u64,
    kinds: Vec<Kind>,
    /// The bin under way: its number, events by kind, misses.
    number: u64,
    events: Vec<u64>,
    misses: Misses,
    /// Sums over the bins before it: misses and their squares.
    sums: Misses,
    squares: [u128; STRUCTURES],
}

#[derive(Clone, Debug, Default)]
struct Kind {
    events: u64,
    last: Option<u64>,
    /// Up to the last event.
    near_instructions: u64,
    near_misses: Misses,
    /// Over bins: events, their squares, their products with misses.
    sum: u64,
    squares: u128,
    products: [u128; STRUCTURES],
}

impl Correlations {
    pub(super) fn new(kinds: usize, near: u64, bin: u64) -> Self {
        Correlations {
            near,
            bin,
            kinds: vec![Kind::default(); kinds],
            number: 0,
            events: vec![0; kinds],
            misses: Misses::default(),
            sums: Misses::default(),
            squares: [0; STRUCTURES],
        }
    }

    pub(super) fn event(&mut self, kind: usize, at: u64) {
        self.go_on(at / self.bin);
        self.events[kind] += 1;
        let kind = &mut self.kinds[kind];
        kind.near_instructions += kind.last.map_or(0, |last| (at - last).min(self.near));
        kind.last = Some(at);
        kind.events += 1;
    }

    #[inline]
    pub(super) fn misses(&mut self, at: u64, misses: &[u32; STRUCTURES]) {
        self.go_on(at / self.bin);
        let misses = misses.map(u64::from);
        super::add(&mut self.misses, &misses);
        for kind in &mut self.kinds {
            if kind.last.is_some_and(|last| at - last < self.near) {
                super::add(&mut kind.near_misses, &misses);
            }
        }
    }

    /// Ends the bin under way if `number` is a later one. Bins of nothing add nothing.
    #[inline]
    fn go_on(&mut self, number: u64) {
        if number == self.number {
            return;
        }
        let misses = std::mem::take(&mut self.misses);
        super::add(&mut self.sums, &misses);
        let misses = misses.map(u128::from);
        self.squares.iter_mut().zip(misses).for_each(|(sum, m)| *sum += m * m);
        for (kind, events) in self.kinds.iter_mut().zip(&mut self.events) {
            let events = std::mem::take(events);
            kind.sum += events;
            let events = u128::from(events);
            kind.squares += events * events;
            kind.products.iter_mut().zip(misses).for_each(|(sum, m)| *sum += events * m);
        }
        self.number = number;
    }

    pub(super) fn finish(
        mut self,
        kinds: &[MarkKind],
        end: u64,
        total: &Misses,
    ) -> Vec<Correlation> {
        let bins = end / self.bin;
        // The bin under way counts if it is whole.
        if self.number < bins {
            self.go_on(bins);
        }
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let correlations = self.kinds.iter().zip(kinds).map(|(kind, &name)| {
            let last = kind.last.map_or(0, |last| end.saturating_sub(last).min(self.near));
            let near_instructions = kind.near_instructions + last;
            let lift = |s: usize| {
                let misses = ratio(kind.near_misses[s], total[s])?;
                let instructions = ratio(near_instructions, end)?;
                (instructions > 0.0).then(|| misses / instructions)
            };
            let pearson = |s: usize| {
                let n = i128::from(bins);
                let [x, y] = [kind.sum, self.sums[s]].map(i128::from);
                let both = n * kind.products[s] as i128 - x * y;
                let xs = n * kind.squares as i128 - x * x;
                let ys = n * self.squares[s] as i128 - y * y;
                (xs > 0 && ys > 0).then(|| both as f64 / ((xs as f64).sqrt() * (ys as f64).sqrt()))
            };
            Correlation {
                kind: name,
                events: kind.events,
                near_instructions,
                near_misses: kind.near_misses,
                lift: std::array::from_fn(lift),
                pearson: std::array::from_fn(pearson),
            }
        });
        correlations.collect()
    }
}

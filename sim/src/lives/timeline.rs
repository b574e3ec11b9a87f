//! What was done in which order, so that a life can be told when it is known which one to tell.

use crate::calls::{PathId, Visit};
use crate::functions::{Function, FunctionId};
use std::ops::Range;
use strata_symbols::Layer;

/// Stands for no life.
const NONE: u32 = u32::MAX;

/// A time in which nothing changed. Takes 24 bytes; each visit of a life has its own, and what is
/// outside one for each change of layer.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    at: u64,
    path: PathId,
    life: u32,
    phase: u8,
}

/// The whole stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    stretches: Vec<Stretch>,
    end: u64,
    layer: Option<Layer>,
}

/// A function that ran for a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeVisit {
    /// Instructions since the life began, those of others included.
    pub at: u64,
    /// Number of the phase.
    pub phase: usize,
    /// The function.
    pub function: Function,
    /// Instructions that it ran before control went elsewhere.
    pub instructions: u64,
}

/// A time in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Instructions since the life began.
    pub from: u64,
    /// The same at its end.
    pub to: u64,
    /// Where control was.
    pub layer: Layer,
    /// Number of the life's phase; `None` while control was there for others.
    pub phase: Option<usize>,
}

impl Timeline {
    /// Adds the next visit.
    pub(super) fn add(&mut self, visit: &Visit, layer: Layer, owner: Option<(u32, u8)>) {
        let (life, phase) = owner.unwrap_or((NONE, 0));
        self.end = visit.at + visit.counters.instructions;
        let goes_on = self.stretches.last().is_some_and(|last| {
            (last.life, last.phase) == (life, phase)
                && (last.path == visit.path || (life == NONE && self.layer == Some(layer)))
        });
        self.layer = Some(layer);
        if !goes_on && visit.counters.instructions > 0 {
            self.stretches.push(Stretch { at: visit.at, path: visit.path, life, phase });
        }
    }

    /// Stretches in a range, each with its end.
    fn within(&self, range: Range<u64>) -> impl Iterator<Item = (&Stretch, u64)> {
        let first = self.stretches.partition_point(|stretch| stretch.at < range.start);
        let last = self.stretches.partition_point(|stretch| stretch.at < range.end);
        (first..last.max(first)).map(move |i| {
            let end = self.stretches.get(i + 1).map_or(self.end, |next| next.at);
            (&self.stretches[i], end.min(range.end))
        })
    }

    /// What ran for `life`, which lasted for `range`.
    pub(super) fn flow(
        &self,
        life: u32,
        range: Range<u64>,
        functions: &[Function],
        function_of: &[FunctionId],
    ) -> Vec<LifeVisit> {
        let mut rows: Vec<LifeVisit> = Vec::new();
        for (stretch, end) in self.within(range.clone()) {
            if stretch.life != life {
                continue;
            }
            let at = stretch.at - range.start;
            let phase = usize::from(stretch.phase);
            let function = &functions[function_of[stretch.path.0 as usize].0 as usize];
            let instructions = end - stretch.at;
            match rows.last_mut() {
                Some(last)
                    if last.at + last.instructions == at
                        && last.phase == phase
                        && last.function == *function =>
                {
                    last.instructions += instructions;
                }
                _ => rows.push(LifeVisit { at, phase, function: function.clone(), instructions }),
            }
        }
        rows
    }

    /// Where control was while `life` lasted.
    pub(super) fn bars(
        &self,
        life: u32,
        range: Range<u64>,
        functions: &[Function],
        function_of: &[FunctionId],
    ) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        for (stretch, end) in self.within(range.clone()) {
            let layer = functions[function_of[stretch.path.0 as usize].0 as usize].layer;
            let phase = (stretch.life == life).then_some(usize::from(stretch.phase));
            let (from, to) = (stretch.at - range.start, end - range.start);
            match bars.last_mut() {
                Some(last) if (last.layer, last.phase, last.to) == (layer, phase, from) => {
                    last.to = to;
                }
                _ => bars.push(Bar { from, to, layer, phase }),
            }
        }
        bars
    }
}

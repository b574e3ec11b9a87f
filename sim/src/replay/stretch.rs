//! A replay of one stretch of a stream at a time, in front of half a machine.

use super::{Extent, Remarks, Replay};
use crate::calls::Course;
use crate::counters::Rows;
use crate::functions::{Function, Namer};
use rustc_hash::FxHashMap;
use strata_cachemodel::{Counts, Hierarchy, Machine, Notes};
use strata_workloads::trace::{
    Batch, Block, ChunkHead, Definitions, IndexedTrace, MachineState, SpaceId,
};

/// How caches and TLBs are at the start of a stretch.
#[derive(Debug)]
pub(crate) enum Start {
    /// Empty.
    Cold,
    /// That is not known yet.
    Unknown,
    /// As in this half.
    Known(Box<Hierarchy>),
}

/// A stretch that is being replayed.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Until the first instruction of it.
    start: Option<Start>,
    /// What was noted up to the end of the warm-up, if that was in this stretch.
    pub(super) parts: Vec<Notes>,
    /// The CPUs of exits from guests before anything was executed here.
    pub(super) exits_before: Vec<u16>,
}

/// A stretch that was replayed.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Of caches and TLBs, without levels below the first; `None` if all of it is warm-up.
    pub(crate) counts: Option<Counts>,
    /// By the number of the function; these numbers stand for it in the notes.
    pub(crate) rows: Rows,
    /// What the caches asked for: up to the end of the warm-up, if that was here, and the rest.
    pub(crate) parts: Vec<Notes>,
    /// Caches and TLBs at its end.
    pub(crate) half: Hierarchy,
    /// The CPUs of exits from guests before anything was executed here.
    pub(crate) exits_before: Vec<u16>,
    /// By CPU, the function executed last.
    pub(crate) last_rows: FxHashMap<u16, u32>,
    /// What was seen in it.
    pub(crate) remarks: Remarks,
    /// Completed instructions up to where it was left.
    pub(crate) position: u64,
    /// Functions that have numbers by its end.
    pub(crate) functions: usize,
}

impl<N: Namer> Replay<N> {
    /// For stretches of a trace with these tables; the machine is given to each.
    pub(crate) fn for_stretches(machine: &Machine, namer: N, trace: &IndexedTrace) -> Self {
        let extent = Extent::default();
        let tables = trace.tables();
        let mut replay = Replay::new(machine, namer, MachineState::default(), extent);
        replay.set_lacks(trace.lacks());
        replay.plans.extend(tables);
        replay
    }

    /// Goes to the chunk that begins with `head`, to replay `extent` from there.
    /// `spaces` address spaces were defined before it; `half` is an empty half of the machine.
    pub(crate) fn begin_stretch(
        &mut self,
        head: &ChunkHead,
        spaces: usize,
        tables: &Definitions,
        extent: Extent,
        half: &Hierarchy,
        start: Start,
    ) {
        self.state = head.state.clone();
        self.position = head.before.instructions;
        self.extent = extent;
        self.pending = None;
        self.last_row = None;
        self.last_rows.clear();
        self.occupants.clear();
        self.remarks = Remarks::default();
        // Nothing before the start is counted.
        self.baseline = Some(Counts::default());
        // What leads up to the start is not to change caches and TLBs that are known.
        self.hierarchy = half.clone();
        self.stretch = Some(Box::new(UnderWay { start: Some(start), ..UnderWay::default() }));
        self.addressing.go_to(head.tables.translations as usize, spaces, tables);
        self.take_over_state(tables);
        self.follow_context();
    }

    /// A chunk begins, with which `spaces` address spaces are defined.
    pub(crate) fn set_spaces_defined(&mut self, spaces: usize) {
        self.addressing.set_spaces_defined(spaces);
    }

    /// Replays a batch of a trace all of whose definitions are known.
    pub(crate) fn stretch_batch(&mut self, batch: &Batch, tables: &Definitions) {
        let plans = std::mem::replace(&mut self.plans, crate::plans::Plans::new(1));
        self.charges.resize(plans.all().len(), super::near::Charge::NONE);
        self.run(batch, &Course::default(), tables, &plans);
        self.plans = plans;
    }

    /// Whether the start of the stretch has not been met.
    #[inline]
    pub(super) fn is_starting(&self) -> bool {
        self.stretch.as_ref().is_some_and(|stretch| stretch.start.is_some())
    }

    /// The first instruction, or the first event, of the stretch comes next.
    pub(super) fn go_live(&mut self) {
        let Some(start) = self.stretch.as_mut().and_then(|stretch| stretch.start.take()) else {
            return;
        };
        match start {
            // The registers are there by now.
            Start::Cold => {}
            Start::Unknown => self.hierarchy.forget_past(),
            Start::Known(half) => self.hierarchy = *half,
        }
        let counted_from = self.extent.range.start.saturating_add(self.extent.warm_up);
        self.baseline = (self.position >= counted_from).then(|| self.hierarchy.counts());
    }

    /// Ends the stretch.
    pub(crate) fn end_stretch(&mut self) -> Stretch {
        self.settle_charges();
        let stretch = self.stretch.take().map(|stretch| *stretch).unwrap_or_default();
        let mut parts = stretch.parts;
        parts.push(self.hierarchy.take_notes());
        let mut last_rows: FxHashMap<u16, u32> =
            self.last_rows.iter().filter_map(|(&cpu, &row)| Some((cpu, row?))).collect();
        last_rows.extend(self.last_row.map(|row| (self.state.cpu, row)));
        let count = self.who.functions().len();
        let mut fresh = Rows::default();
        fresh.grow(count);
        let mut rows = std::mem::replace(&mut self.rows, fresh);
        if self.baseline.is_none() {
            rows.clear();
        }
        let mut remarks = self.remarks;
        remarks.cpus = self.state.cpus.len() as u64;
        let placeholder = Hierarchy::new(self.hierarchy.machine());
        Stretch {
            counts: self.baseline.map(|baseline| self.hierarchy.counts() - baseline),
            rows,
            parts,
            half: std::mem::replace(&mut self.hierarchy, placeholder),
            exits_before: stretch.exits_before,
            last_rows,
            remarks,
            position: self.position,
            functions: count,
        }
    }

    /// Every function, by number, and what knew the names; `blocks` is all blocks.
    pub(crate) fn settle_names(self, blocks: &[Block]) -> (Vec<Function>, N) {
        self.who.settle(blocks)
    }

    /// Pages that no translation was told for.
    pub(crate) fn unknown_pages(&self) -> impl Iterator<Item = (Option<SpaceId>, u64)> + '_ {
        self.addressing.unknown_pages().iter().copied()
    }
}

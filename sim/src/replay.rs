//! A stream run through a machine, with every reference charged to the function that made it.

use crate::actors::{Actors, UnknownPartitions};
use crate::addressing::{Addressing, Now};
use crate::calls::{CallTrace, Course};
use crate::counters::Rows;
use crate::data_misses::{DataGrain, DataWatch};
use crate::delivery;
use crate::error::Error;
use crate::functions::{Function, Namer};
use crate::miss_classes::{Classes, MissClasses};
use crate::plans::{Plan, Plans};
use crate::profile::{Profile, merge};
use crate::sampling::Sampler;
use crate::timeline::TimelineWatch;
use crate::who::{Charged, Who};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use strata_cachemodel::{Counts, EventDelivery, Hierarchy, Machine, Outcome, RefKind, Request};
use strata_workloads::trace::{Batch, Definitions, Interrupt, Lacks, MachineState};

mod events;
mod executions;
mod near;
mod stretch;
mod traced;

use executions::Executions;
use stretch::UnderWay;
pub(crate) use stretch::{Start, Stretch};
pub use traced::Traced;

/// What part of a stream is replayed and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Instructions to replay, 0-based; block executions that begin in it. What lies before is
    /// followed for the machine's state only and leaves the caches cold.
    pub range: Range<u64>,
    /// Instructions at the start of the range that warm the caches and are not counted.
    pub warm_up: u64,
}

impl Default for Extent {
    fn default() -> Self {
        Extent { range: 0..u64::MAX, warm_up: 0 }
    }
}

/// Things seen in a stream that a reader of its figures should know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remarks {
    /// Interrupt and exception deliveries.
    pub deliveries: u64,
    /// Memory references synthesised for them.
    pub synthesised_references: u64,
    /// Pages that the stream told no translation for when they were looked up; taken as physical
    /// addresses.
    pub untranslated_pages: u64,
    /// Gaps in the stream.
    pub gaps: u64,
    /// Transfers of devices that the stream tells of.
    pub dma_transfers: u64,
    /// VMRUN and #VMEXIT.
    pub guest_switches: u64,
    /// CPUs that the stream tells of.
    pub cpus: u64,
}

impl Remarks {
    /// Adds what was seen later, but for pages, which can be the same.
    pub(crate) fn add(&mut self, later: &Remarks) {
        self.deliveries += later.deliveries;
        self.synthesised_references += later.synthesised_references;
        self.gaps += later.gaps;
        self.dma_transfers += later.dma_transfers;
        self.guest_switches += later.guest_switches;
        self.cpus = later.cpus;
    }
}

/// A replay under way.
pub struct Replay<N> {
    hierarchy: Hierarchy,
    addressing: Addressing,
    who: Who<N>,
    rows: Rows,
    plans: Plans,
    /// For each plan, who its executions near at hand are charged to.
    charges: Vec<near::Charge>,
    tables: Definitions,
    state: MachineState,
    synthesise: bool,
    pending: Option<Interrupt>,
    extent: Extent,
    /// Completed instructions since the start of the stream.
    position: u64,
    baseline: Option<Counts>,
    /// What an upper half had asked for by then and has not been taken.
    asked_before: Option<Vec<Request>>,
    remarks: Remarks,
    actors: Option<Actors>,
    calls: Option<Box<CallTrace>>,
    classes_before: Classes,
    data: Option<DataWatch>,
    /// The row that the present CPU executed last, and those of the others.
    last_row: Option<u32>,
    last_rows: FxHashMap<u16, Option<u32>>,
    /// The stream's CPU that each of the machine's stands for now.
    occupants: FxHashMap<u16, u16>,
    /// Of a replay in stretches: the one under way.
    stretch: Option<Box<UnderWay>>,
}

impl<N: Namer> Replay<N> {
    /// A cold machine in front of a stream whose state at its start is `state`.
    pub fn new(machine: &Machine, namer: N, state: MachineState, extent: Extent) -> Self {
        Self::on(Hierarchy::new(machine), namer, state, extent)
    }

    /// The same on a hierarchy that was made beforehand and has seen nothing yet.
    pub(crate) fn on(hierarchy: Hierarchy, namer: N, state: MachineState, extent: Extent) -> Self {
        let mut replay = Replay {
            plans: Plans::new(hierarchy.fetch_line_bytes()),
            actors: hierarchy.needs_actors().then(Actors::default),
            synthesise: hierarchy.machine().event_delivery() == EventDelivery::Synthesised,
            hierarchy,
            addressing: Addressing::default(),
            who: Who::new(namer),
            rows: Rows::default(),
            charges: Vec::new(),
            tables: Definitions::default(),
            state,
            pending: None,
            baseline: (extent.range.start == 0 && extent.warm_up == 0).then(Counts::default),
            asked_before: None,
            extent,
            position: 0,
            remarks: Remarks::default(),
            calls: None,
            classes_before: Classes::default(),
            data: None,
            last_row: None,
            last_rows: FxHashMap::default(),
            occupants: FxHashMap::default(),
            stretch: None,
        };
        replay.take_over_state(&Definitions::default());
        replay.follow_context();
        replay
    }

    /// From now on every miss is told apart, at several times the cost of the replay; to be called
    /// before the first batch.
    pub fn classify(&mut self) {
        self.hierarchy.enable_classification();
        self.actors.get_or_insert_default();
    }

    /// From now on pages or objects that data misses are on are collected, at half the speed or
    /// less; to be called before the first batch.
    pub fn watch_data(&mut self, grain: DataGrain) {
        self.data = Some(DataWatch::new(grain));
        self.actors.get_or_insert_default();
    }

    /// From now on notes when misses and events happen, at little cost; to be called before the
    /// first batch of a replay without a tracer.
    pub fn watch_time(&mut self, mut timeline: TimelineWatch) {
        if self.baseline.is_some() {
            timeline.begin(self.position);
        }
        self.rows.timeline = Some(Box::new(timeline));
    }

    /// From now on samples are taken, every execution by itself; to be called before the first batch
    /// of a replay without a tracer.
    pub fn sample(&mut self, mut sampler: Sampler) {
        if self.baseline.is_some() {
            sampler.begin();
        }
        sampler.set_cpu(self.state.cpu);
        self.rows.sampler = Some(Box::new(sampler));
    }

    /// Says what the stream does not know; to be called before the first batch.
    pub fn set_lacks(&mut self, lacks: Lacks) {
        self.who.set_layers_known(!lacks.privilege);
        if lacks.lengths {
            self.hierarchy.fetch_first_bytes();
        }
    }

    /// Completed instructions since the start of the stream.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The machine at work.
    pub(crate) fn hierarchy(&mut self) -> &mut Hierarchy {
        &mut self.hierarchy
    }

    /// What an upper half asked for before anything was counted, if counting has begun since this
    /// was called last.
    pub(crate) fn take_asked_before(&mut self) -> Option<Vec<Request>> {
        self.asked_before.take()
    }

    /// True once nothing of the range is left.
    pub fn is_done(&self) -> bool {
        self.position >= self.extent.range.end
    }

    /// Replays a batch; takes its definitions.
    pub fn batch(&mut self, batch: &mut Batch) {
        self.batch_along(batch, &Course::default());
    }

    /// Replays a batch along the course that control takes through it, as the follower has found
    /// it; takes its definitions.
    pub fn batch_along(&mut self, batch: &mut Batch, course: &Course) {
        let mut new = std::mem::take(&mut batch.new);
        self.batch_with(batch, &mut new, course);
        batch.new = new;
    }

    /// The same of a batch whose definitions are `new`; takes those.
    pub(crate) fn batch_with(&mut self, batch: &Batch, new: &mut Definitions, course: &Course) {
        self.tables.append(new);
        self.plans.extend(&self.tables);
        // Out of `self`, so that the parts of it can be changed meanwhile.
        let tables = std::mem::take(&mut self.tables);
        let plans = std::mem::replace(&mut self.plans, Plans::new(1));
        self.charges.resize(plans.all().len(), near::Charge::NONE);
        if let Some(calls) = &mut self.calls {
            calls.extend(course);
            self.rows.grow(calls.functions().len());
        }
        self.run(batch, course, &tables, &plans);
        self.tables = tables;
        self.plans = plans;
    }

    fn run(&mut self, batch: &Batch, course: &Course, tables: &Definitions, plans: &Plans) {
        let mut executions = Executions {
            shapes: batch.shapes.iter(),
            addresses: &batch.addresses,
            iterations: batch.iterations.iter(),
            turns: &course.turns,
            all: batch.shapes.len(),
        };
        let mut done = 0;
        for (before, event) in &batch.events {
            let count = (*before as usize).saturating_sub(done);
            self.executions(&mut executions, count, tables, plans);
            done += count;
            self.event(event, tables);
        }
        self.executions(&mut executions, batch.shapes.len() - done, tables, plans);
    }

    /// Runs the next `count` executions, between which no event comes.
    fn executions(
        &mut self,
        executions: &mut Executions<'_>,
        count: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let mut count = count;
        while self.is_starting() && count > 0 {
            if self.extent.range.contains(&self.position) {
                self.go_live();
                break;
            }
            self.executions_in_full(executions, 1, tables, plans);
            count -= 1;
        }
        let only_counts = self.actors.is_none()
            && self.data.is_none()
            && self.rows.sampler.is_none()
            && self.baseline.is_some();
        if self.calls.is_some() {
            self.executions_traced(executions, count, tables, plans);
        } else if only_counts && self.hierarchy.has_near() {
            self.executions_near(executions, count, tables, plans);
        } else {
            self.executions_in_full(executions, count, tables, plans);
        }
    }

    /// The same, reference by reference.
    fn executions_in_full(
        &mut self,
        executions: &mut Executions<'_>,
        count: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        for _ in 0..count {
            let Some((plan, addresses, iterations)) = executions.next(plans) else { return };
            if self.extent.range.contains(&self.position) {
                self.rows.at(self.position);
                self.execution(plan, addresses, iterations, tables, plans);
            }
            self.position += u64::from(plan.completed);
            if self.baseline.is_none() {
                self.end_warm_up();
            }
        }
    }

    #[cold]
    fn end_warm_up(&mut self) {
        if self.position >= self.extent.range.start.saturating_add(self.extent.warm_up) {
            self.baseline = Some(self.hierarchy.counts());
            match &mut self.stretch {
                Some(stretch) => stretch.parts.push(self.hierarchy.take_notes()),
                None => self.asked_before = Some(self.hierarchy.begin_counting()),
            }
            self.classes_before = self.classes();
            self.data.iter_mut().for_each(DataWatch::clear);
            self.rows.clear();
            if let Some(timeline) = &mut self.rows.timeline {
                timeline.begin(self.position);
            }
            if let Some(sampler) = &mut self.rows.sampler {
                sampler.begin();
            }
        }
    }

    /// Who an execution is charged to, with a row for every function known by then.
    #[inline(always)]
    fn charged(&mut self, plan: &Plan, tables: &Definitions) -> Charged {
        let index = plan.block as usize;
        let charged = self.who.of(index, plan.privilege, &self.state, &mut self.addressing, tables);
        if self.rows.executed.len() < self.who.functions().len() {
            self.rows.grow(self.who.functions().len());
            if let Some(timeline) = &mut self.rows.timeline {
                timeline.grow(self.who.functions());
            }
        }
        charged
    }

    #[inline(always)]
    fn execution(
        &mut self,
        plan: &Plan,
        addresses: &[u64],
        iterations: u64,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let index = plan.block as usize;
        let charged = self.charged(plan, tables);
        let row = match charged {
            Charged::Row(row) if self.data.is_none() => row,
            _ => return self.split(plan, addresses, iterations, tables, plans),
        };
        self.last_row = Some(row as u32);
        self.hierarchy.set_charge(row as u32);
        self.rows.begin_execution(row, u64::from(plan.completed));
        if self.actors.is_some() {
            self.announce(row);
        }
        if self.pending.is_some() {
            self.deliver(plan.privilege, row, tables);
        }
        self.rows.executed[row].add(plan, 1);
        let mut deviations = self.rows.deviating(row);
        let once = usize::from(plan.once);
        self.hierarchy.execute(
            plans.code(plan, &tables.blocks[index]),
            &addresses[..once],
            &mut Now { addressing: &mut self.addressing, tables },
            &mut |kind, _, outcome| deviations.deviate(kind, outcome),
        );
        if plan.repeats {
            self.iterations(plan, &addresses[once..], iterations, row, tables, plans);
        }
    }

    /// The operands of a `rep`, for each of its iterations.
    fn iterations(
        &mut self,
        plan: &Plan,
        starts: &[u64],
        iterations: u64,
        row: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        self.count_iterations(plan, iterations, row, plans);
        let mut deviations = self.rows.deviating(row);
        let data = &mut self.data;
        let mut now = Now { addressing: &mut self.addressing, tables };
        for (operand, va) in plan.references(plans.repeated(plan), starts, iterations) {
            let outcome =
                self.hierarchy.access(operand.kind, va, u32::from(operand.bytes), &mut now);
            if outcome != Outcome::HIT {
                deviations.deviate(operand.kind, &outcome);
                if let Some(data) = data {
                    data.add(operand.kind, va, &outcome);
                }
            }
        }
    }

    /// Counts the iterations of a `rep` and their references, as hits.
    fn count_iterations(&mut self, plan: &Plan, iterations: u64, row: usize, plans: &Plans) {
        let executed = &mut self.rows.executed[row];
        executed.rep_iterations += iterations;
        for operand in plans.repeated(plan) {
            if operand.kind == RefKind::Read {
                executed.reads += iterations;
            } else {
                executed.writes += iterations;
            }
        }
    }

    /// An execution that runs from one function into the next, reference by reference.
    #[cold]
    fn split(
        &mut self,
        plan: &Plan,
        addresses: &[u64],
        iterations: u64,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let index = plan.block as usize;
        let segments = self.who.segments(index, &self.state, &mut self.addressing, tables).to_vec();
        let row_of = |instruction: usize| {
            let after = segments.partition_point(|s| usize::from(s.first) <= instruction);
            segments[after - 1].function.0 as usize
        };
        if self.pending.is_some() {
            self.announce(row_of(0));
            self.deliver(plan.privilege, row_of(0), tables);
        }
        let code = plans.code(plan, &tables.blocks[index]);
        let mut operands = code.operands.iter().zip(addresses).peekable();
        let begun = code.lengths.len() - usize::from(!plan.interrupted && !code.lengths.is_empty());
        let mut va = code.address;
        for (i, &length) in code.lengths.iter().enumerate() {
            let row = row_of(i);
            self.announce(row);
            self.rows.executed[row].instructions += 1;
            self.rows.begin_execution(row, 1);
            self.reference(RefKind::Fetch, va, u32::from(length), row, tables);
            va = va.wrapping_add(u64::from(length));
            while let Some((operand, &address)) =
                operands.next_if(|(operand, _)| usize::from(operand.instruction) <= i)
            {
                self.operand(operand.kind, address, operand.bytes, row, tables);
            }
        }
        let row = row_of(begun);
        self.last_row = Some(row as u32);
        self.announce(row);
        self.hierarchy.set_instruction(va);
        for (operand, &address) in operands {
            self.operand(operand.kind, address, operand.bytes, row, tables);
        }
        if plan.repeats {
            let once = usize::from(plan.once);
            self.hierarchy.set_charge(row as u32);
            self.iterations(plan, &addresses[once..], iterations, row, tables, plans);
        }
    }

    fn operand(&mut self, kind: RefKind, va: u64, bytes: u16, row: usize, tables: &Definitions) {
        let executed = &mut self.rows.executed[row];
        if kind == RefKind::Read {
            executed.reads += 1;
        } else {
            executed.writes += 1;
        }
        self.reference(kind, va, u32::from(bytes), row, tables);
    }

    /// A reference that `row` has counted as a hit already.
    fn reference(&mut self, kind: RefKind, va: u64, bytes: u32, row: usize, tables: &Definitions) {
        let mut now = Now { addressing: &mut self.addressing, tables };
        self.hierarchy.set_charge(row as u32);
        let outcome = self.hierarchy.access(kind, va, bytes, &mut now);
        if outcome != Outcome::HIT {
            self.rows.deviating(row).deviate(kind, &outcome);
            if let Some(data) = &mut self.data {
                data.add(kind, va, &outcome);
            }
        }
    }

    /// Charges the references of a delivery to the handler.
    #[cold]
    fn deliver(&mut self, privilege: u8, row: usize, tables: &Definitions) {
        let Some(interrupt) = self.pending.take() else { return };
        let cpu = *self.state.running();
        self.hierarchy.set_charge(row as u32);
        for reference in delivery::references(&interrupt, &cpu, privilege) {
            let mut now = Now { addressing: &mut self.addressing, tables };
            let outcome =
                self.hierarchy.access(reference.kind, reference.address, reference.bytes, &mut now);
            self.rows.deviating(row).count(reference.kind, &outcome);
            if let Some(data) = &mut self.data {
                data.add(reference.kind, reference.address, &outcome);
            }
            self.remarks.synthesised_references += 1;
        }
    }

    /// Tells the machine which layer the function of `row` belongs to.
    fn announce(&mut self, row: usize) {
        if let Some(actors) = &mut self.actors {
            let functions = match &self.calls {
                Some(calls) => calls.functions(),
                None => self.who.functions(),
            };
            let layer = functions[row].layer;
            actors.announce(layer, &mut self.hierarchy);
            if let Some(data) = &mut self.data {
                data.announce(layer, self.addressing.space(), &self.state);
            }
        }
    }

    /// Why the machine missed so far, if that was asked for.
    fn classes(&self) -> Classes {
        Classes {
            caches: self.hierarchy.cache_classes().cloned().unwrap_or_default(),
            tlbs: self.hierarchy.tlb_classes().cloned().unwrap_or_default(),
            evictions: [0, 1, 2].map(|level| self.hierarchy.evictions(level)),
        }
    }

    /// Ends the replay and checks the laws.
    ///
    /// # Errors
    /// Fails if a law is broken, or if nothing of the range was in the stream.
    pub fn finish(self) -> Result<(Profile, N), Error> {
        self.finish_with_functions(None)
    }

    /// The same with rows of these functions, where others have found them.
    fn finish_with_functions(
        mut self,
        followed: Option<&[Function]>,
    ) -> Result<(Profile, N), Error> {
        self.settle_charges();
        let Range { start, end } = self.extent.range;
        let nothing = |why: &str| Error::Range {
            from: start,
            to: end.min(self.position),
            why: why.to_owned(),
        };
        if self.position <= start && start > 0 {
            return Err(nothing(&format!("the trace ends at instruction {}", self.position)));
        }
        let Some(baseline) = self.baseline else {
            return Err(nothing("all of it is warm-up"));
        };
        let counts = self.hierarchy.counts() - baseline;
        counts.check_laws(self.hierarchy.machine())?;
        let classes = self.hierarchy.cache_classes().map(|_| {
            let layers = self.actors.as_ref().map_or(&[][..], Actors::layers);
            MissClasses::between(&self.classes_before, &self.classes(), layers)
        });
        let mut remarks = self.remarks;
        remarks.untranslated_pages = self.addressing.unknown_pages().len() as u64;
        remarks.cpus = self.state.cpus.len() as u64;
        let unknown_partitions =
            self.actors.as_ref().map_or_else(UnknownPartitions::default, |actors| {
                actors.unknown_partitions(self.hierarchy.machine())
            });
        let (functions, namer) = self.who.settle(&self.tables.blocks);
        let timeline = self.rows.timeline.take();
        let functions = followed.unwrap_or(&functions);
        let sampling = self.rows.sampler.take().map(|sampler| sampler.finish(functions));
        let rows = merge(functions.iter().cloned().zip(self.rows.settle()));
        let machine = self.hierarchy.machine().clone();
        let mut profile = Profile::new(machine, rows, counts, remarks)?;
        profile.data = self.data.map(|data| data.settle(&namer, &self.tables));
        profile.classes = classes;
        let instructions = profile.total.instructions;
        profile.timeline = timeline.map(|watch| watch.finish(instructions)).transpose()?;
        profile.sampling = sampling;
        profile.unknown_partitions = unknown_partitions;
        profile.check_parts()?;
        Ok((profile, namer))
    }
}

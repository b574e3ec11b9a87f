//! Executions whose calls are followed: what happens is counted by visit.
//!
//! A [`CallFollower`] has found beforehand where control goes; what is left is to count by it. A
//! visit counts what it executes as if all of it were hits, and each reference that is none.

use super::near::{How, Stopped, references_near};
use super::{Executions, Extent, Replay};
use crate::addressing::Now;
use crate::calls::{CallFollower, CallRecord, CallTrace, Tracer, Turn};
use crate::counters::{Counters, Executed};
use crate::error::Error;
use crate::functions::{Nameless, Namer};
use crate::plans::Plans;
use crate::profile::Profile;
use strata_cachemodel::{Machine, Outcome, RefKind};
use strata_workloads::trace::{Definitions, MachineState};

/// What a traced replay has found: the profile, what knew the names, the tracer, and the calls.
pub type Traced<N> = (Profile, N, Box<dyn Tracer>, CallRecord);

impl Replay<Nameless> {
    /// A cold machine in front of a stream whose calls a [`CallFollower`] follows, and that tells
    /// `tracer` of every visit. Its batches are to be replayed along the courses that the follower
    /// finds.
    pub fn traced(
        machine: &Machine,
        state: MachineState,
        extent: Extent,
        tracer: Box<dyn Tracer>,
    ) -> Self {
        let mut replay = Replay::new(machine, Nameless, state, extent);
        replay.calls = Some(Box::new(CallTrace::new(tracer)));
        replay
    }

    /// As [`Replay::finish`], with what the trace of calls has found.
    ///
    /// # Errors
    /// As [`Replay::finish`]; also if no tracer was given.
    pub fn finish_traced<N: Namer>(
        mut self,
        follower: CallFollower<N>,
    ) -> Result<Traced<N>, Error> {
        let mut calls = self.calls.take().ok_or(Error::NotTraced)?;
        calls.end_visit(&self.state, &mut self.rows);
        let followed = follower.settle(&self.tables);
        let (profile, Nameless) = self.finish_with_functions(Some(&followed.functions))?;
        let (namer, tracer, record) = calls.finish(followed);
        Ok((profile, namer, tracer, record))
    }
}

impl<N: Namer> Replay<N> {
    /// As [`Replay::executions_in_full`], with calls followed.
    pub(super) fn executions_traced(
        &mut self,
        executions: &mut Executions<'_>,
        count: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        // Who acts has to be told to the machine, and what the warm-up counts to no one.
        let has_near =
            self.actors.is_none() && self.baseline.is_some() && self.hierarchy.has_near();
        let mut left = count;
        while left > 0 {
            let stopped = if has_near {
                self.row_traced(executions, &mut left, plans)
            } else {
                left -= 1;
                executions.next_not_begun(plans)
            };
            let Some(stopped) = stopped else { return };
            let plan = plans.of(stopped.shape);
            self.finish_traced_execution(executions, &stopped, tables, plans);
            self.position += u64::from(plan.completed);
            if self.baseline.is_none() {
                self.end_warm_up();
            }
        }
    }

    /// Executions near at hand until one has to be finished elsewhere, or none is left.
    #[inline(never)]
    fn row_traced<'b>(
        &mut self,
        executions: &mut Executions<'b>,
        left: &mut usize,
        plans: &Plans,
    ) -> Option<Stopped<'b>> {
        let mut until_end = self.extent.range.end.saturating_sub(self.position);
        if self.pending.is_some() || self.position < self.extent.range.start {
            until_end = 0;
        }
        let position_at_end = self.position + until_end;
        let mut near = self.hierarchy.near()?;
        let calls = self.calls.as_mut()?;
        let mut coming = executions.clone();
        let mut count = *left;
        // Of the present visit, and before it.
        let (mut here, mut before) = (Executed::default(), Executed::default());
        let mut stopped = None;
        let mut next_turn = coming.next_turn();
        while count > 0 {
            count -= 1;
            let index = coming.index();
            let Some(shape) = coming.next_shape() else { break };
            let plan = plans.of(shape);
            let (addresses, iterations) = coming.take(plan);
            let stop = |how| Some(Stopped { shape, addresses, iterations, how });
            if next_turn == index {
                if coming.is_split() || until_end == 0 {
                    stopped = stop(How::NotBegun);
                    break;
                }
                calls.count(&here);
                before += here;
                here = Executed::default();
                while let Some(turn) = coming.take_turn(0) {
                    calls.turn(turn, &self.state, &mut self.rows);
                }
                next_turn = coming.next_turn();
            }
            if until_end == 0 {
                stopped = stop(How::NotBegun);
                break;
            }
            here.add(plan, 1);
            let (runs, operands) = plans.parts(plan);
            let progress = near.begin(runs, operands, addresses);
            if progress.is_some() || plan.repeats {
                stopped = stop(progress.map_or(How::UpToIterations, How::Begun));
                break;
            }
            until_end = until_end.saturating_sub(u64::from(plan.completed));
        }
        *executions = coming;
        *left = count;
        drop(near);
        calls.count(&here);
        before += here;
        let Executed { instructions, reads, writes, .. } = before;
        self.hierarchy.count_near(instructions, reads, writes);
        self.position = position_at_end - until_end;
        stopped
    }

    /// What is left of an execution.
    #[inline(never)]
    fn finish_traced_execution(
        &mut self,
        executions: &mut Executions<'_>,
        stopped: &Stopped<'_>,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let Stopped { shape, addresses, iterations, ref how } = *stopped;
        let plan = plans.of(shape);
        let is_live = self.extent.range.contains(&self.position);
        if matches!(how, How::NotBegun) {
            while let Some(turn) = executions.take_turn(0) {
                self.take_turn(turn);
            }
            if is_live {
                self.deliver_traced(plan.privilege, tables);
            }
            if executions.is_split() {
                return self.make_parts(executions, stopped, is_live, tables, plans);
            }
        }
        if !is_live {
            return;
        }
        let (once, again) = addresses.split_at(usize::from(plan.once));
        // The warm-up is counted nowhere.
        let mut spare = None;
        let counters = match self.calls.as_mut().and_then(|calls| calls.counters()) {
            Some(counters) => counters,
            None => spare.insert(Counters::default()),
        };
        let mut now = Now { addressing: &mut self.addressing, tables };
        let unusual = &mut |kind, _, outcome: &Outcome| counters.deviate(kind, outcome);
        let block = &tables.blocks[plan.block as usize];
        match *how {
            How::NotBegun => {
                self.hierarchy.execute(plans.code(plan, block), once, &mut now, unusual);
                let mut executed = Executed::default();
                executed.add(plan, 1);
                counters.add_hits(&executed);
            }
            How::UpToIterations => {}
            How::Begun(progress) => {
                let parts = plans.parts(plan);
                let lengths = || &block.lengths[..];
                self.hierarchy.go_on(parts, lengths, once, progress, &mut now, unusual);
            }
        }
        if plan.repeats {
            let repeated = plans.repeated(plan);
            counters.add_hits(&Executed::of_iterations(repeated, iterations));
            let references = plan.references(repeated, again, iterations);
            references_near(&mut self.hierarchy, references, &mut now, |kind, outcome| {
                counters.deviate(kind, outcome);
            });
        }
    }

    fn take_turn(&mut self, turn: &Turn) {
        self.announce(turn.function.0 as usize);
        if let Some(calls) = &mut self.calls {
            calls.turn(turn, &self.state, &mut self.rows);
        }
    }

    /// An execution of several functions, reference by reference.
    #[cold]
    fn make_parts(
        &mut self,
        executions: &mut Executions<'_>,
        stopped: &Stopped<'_>,
        is_live: bool,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let plan = plans.of(stopped.shape);
        let code = plans.code(plan, &tables.blocks[plan.block as usize]);
        let (once, again) = stopped.addresses.split_at(usize::from(plan.once));
        let mut operands = code.operands.iter().zip(once).peekable();
        let mut va = code.address;
        // One beyond the completed ones: it may have been begun.
        for (i, length) in code.lengths.iter().copied().map(Some).chain([None]).enumerate() {
            while let Some(turn) = executions.take_turn(i) {
                self.take_turn(turn);
            }
            if !is_live {
                continue;
            }
            if let Some(length) = length {
                self.reference_traced(RefKind::Fetch, va, u32::from(length), tables);
                va = va.wrapping_add(u64::from(length));
            }
            while let Some((operand, &address)) =
                operands.next_if(|(operand, _)| usize::from(operand.instruction) <= i)
            {
                self.reference_traced(operand.kind, address, u32::from(operand.bytes), tables);
            }
        }
        if is_live && plan.repeats {
            let iterations = stopped.iterations;
            for (operand, va) in plan.references(plans.repeated(plan), again, iterations) {
                self.reference_traced(operand.kind, va, u32::from(operand.bytes), tables);
            }
            if let Some(counters) = self.calls.as_mut().and_then(|calls| calls.counters()) {
                counters.rep_iterations += iterations;
            }
        }
    }

    fn reference_traced(&mut self, kind: RefKind, va: u64, bytes: u32, tables: &Definitions) {
        let mut now = Now { addressing: &mut self.addressing, tables };
        let outcome = self.hierarchy.access(kind, va, bytes, &mut now);
        self.count_traced(kind, &outcome);
        if kind == RefKind::Fetch
            && let Some(counters) = self.calls.as_mut().and_then(|calls| calls.counters())
        {
            counters.instructions += 1;
        }
    }

    fn count_traced(&mut self, kind: RefKind, outcome: &Outcome) {
        if let Some(counters) = self.calls.as_mut().and_then(|calls| calls.counters()) {
            counters.count(kind, outcome);
        }
    }

    /// Charges the references of a delivery to the handler.
    fn deliver_traced(&mut self, privilege: u8, tables: &Definitions) {
        let Some(interrupt) = self.pending.take() else { return };
        let cpu = *self.state.running();
        for reference in crate::delivery::references(&interrupt, &cpu, privilege) {
            let mut now = Now { addressing: &mut self.addressing, tables };
            let outcome =
                self.hierarchy.access(reference.kind, reference.address, reference.bytes, &mut now);
            self.count_traced(reference.kind, &outcome);
            self.remarks.synthesised_references += 1;
        }
    }
}

impl<'b> Executions<'b> {
    /// The next execution, none of which is made yet.
    fn next_not_begun(&mut self, plans: &Plans) -> Option<Stopped<'b>> {
        let shape = self.next_shape()?;
        let (addresses, iterations) = self.take(plans.of(shape));
        Some(Stopped { shape, addresses, iterations, how: How::NotBegun })
    }

    /// Index in the batch of the execution that comes next.
    #[inline(always)]
    fn index(&self) -> u32 {
        (self.all - self.shapes.len()) as u32
    }

    /// Index of the execution at which control takes its next turn.
    #[inline(always)]
    fn next_turn(&self) -> u32 {
        self.turns.first().map_or(u32::MAX, |turn| turn.execution)
    }

    /// Whether control takes turns within the execution taken last, and not only before it.
    #[inline(always)]
    fn is_split(&self) -> bool {
        let index = self.index() - 1;
        // At most one comes before it.
        let mut here = self.turns.iter().take(2).take_while(|turn| turn.execution == index);
        here.any(|turn| turn.instruction > 0)
    }

    /// The next turn, if it comes before this instruction of the execution taken last.
    #[inline]
    fn take_turn(&mut self, instruction: usize) -> Option<&'b Turn> {
        let (turn, rest) = self.turns.split_first()?;
        let is_here =
            turn.execution == self.index() - 1 && usize::from(turn.instruction) == instruction;
        is_here.then(|| self.turns = rest)?;
        Some(turn)
    }
}

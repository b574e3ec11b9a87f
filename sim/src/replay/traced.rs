//! Executions whose calls are followed: what happens is counted by visit.

use super::Replay;
use crate::addressing::Now;
use crate::calls::{CallRecord, CallTrace, Coming, Tracer};
use crate::counters::Counters;
use crate::error::Error;
use crate::functions::{FunctionId, Namer, Segment};
use crate::plans::{Plan, Plans};
use crate::profile::Profile;
use crate::who::Charged;
use strata_cachemodel::{Outcome, RefKind};
use strata_workloads::trace::Definitions;

impl<N: Namer> Replay<N> {
    /// From now on follows calls and tells `tracer` of every visit, at half the speed or less; to
    /// be called before the first batch.
    pub fn trace(&mut self, tracer: Box<dyn Tracer>) {
        self.calls = Some(Box::new(CallTrace::new(tracer)));
    }

    /// As [`Replay::finish`], with what the trace of calls has found.
    ///
    /// # Errors
    /// As [`Replay::finish`]; also if no tracer was given.
    pub fn finish_traced(mut self) -> Result<(Profile, N, Box<dyn Tracer>, CallRecord), Error> {
        self.end_visit();
        let calls = self.calls.take().ok_or(Error::NotTraced)?;
        let (profile, functions, namer) = self.finish_with_functions()?;
        let (tracer, record) = calls.finish(functions);
        Ok((profile, namer, tracer, record))
    }

    /// Makes an execution, or only follows it where it does not count.
    #[expect(clippy::too_many_arguments, reason = "all that an execution consists of")]
    pub(super) fn traced_execution(
        &mut self,
        shape: usize,
        plan: &Plan,
        stack_pointer: u64,
        addresses: &[u64],
        iterations: u64,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let index = plan.block as usize;
        let charged = self.charged(plan, tables);
        let is_live = self.extent.range.contains(&self.position);
        let mut coming = Coming {
            shape,
            address: tables.blocks[index].address,
            stack_pointer,
            function: FunctionId(0),
            space: self.addressing.space(),
            at: self.position,
            counts: is_live && self.baseline.is_some(),
        };
        if let Charged::Row(row) = charged {
            coming.function = FunctionId(row as u32);
            self.begin_visit(&coming);
            if is_live {
                self.make_whole(plan, addresses, iterations, tables, plans);
            }
            return;
        }
        let segments = self.who.segments(index, &self.state, &mut self.addressing, tables).to_vec();
        coming.function = segments[0].function;
        self.begin_visit(&coming);
        self.make_parts(&segments, coming, is_live, (plan, addresses, iterations), tables, plans);
    }

    #[inline]
    fn begin_visit(&mut self, coming: &Coming) {
        if let Some(calls) = &mut self.calls {
            calls.begin(coming, self.who.functions(), &self.state, &mut self.rows);
        }
        if self.actors.is_some() {
            self.announce(coming.function.0 as usize);
        }
    }

    pub(super) fn end_visit(&mut self) {
        if let Some(calls) = &mut self.calls {
            calls.end_visit(self.who.functions(), &self.state, &mut self.rows);
        }
    }

    /// Of one function.
    fn make_whole(
        &mut self,
        plan: &Plan,
        addresses: &[u64],
        iterations: u64,
        tables: &Definitions,
        plans: &Plans,
    ) {
        if self.pending.is_some() {
            self.deliver_traced(plan.privilege, tables);
        }
        // The warm-up is counted nowhere.
        let mut spare = None;
        let counters = match self.calls.as_mut().and_then(|calls| calls.counters()) {
            Some(counters) => counters,
            None => spare.insert(Counters::default()),
        };
        counters.add_hits(plan, 1);
        let (once, again) = addresses.split_at(usize::from(plan.once));
        let mut now = Now { addressing: &mut self.addressing, tables };
        let unusual = &mut |kind, _, outcome: &Outcome| counters.deviate(kind, outcome);
        let (runs, operands) = plans.parts(plan);
        match self.hierarchy.near().map(|mut near| near.begin(runs, operands, once)) {
            // All of it was near at hand.
            Some(None) => self.hierarchy.count_near(
                u64::from(plan.completed),
                u64::from(plan.reads),
                u64::from(plan.once - plan.reads),
            ),
            // What was begun is made again, which makes no difference.
            _ => {
                let code = plans.code(plan, &tables.blocks[plan.block as usize]);
                self.hierarchy.execute(code, once, &mut now, unusual);
            }
        }
        if plan.repeats {
            counters.rep_iterations += iterations;
            for (operand, va) in plan.references(plans.repeated(plan), again, iterations) {
                let bytes = u32::from(operand.bytes);
                let outcome = self.hierarchy.access(operand.kind, va, bytes, &mut now);
                counters.count(operand.kind, &outcome);
            }
        }
    }

    /// Of several functions, reference by reference.
    fn make_parts(
        &mut self,
        segments: &[Segment],
        mut coming: Coming,
        is_live: bool,
        (plan, addresses, iterations): (&Plan, &[u64], u64),
        tables: &Definitions,
        plans: &Plans,
    ) {
        if is_live {
            self.deliver_traced(plan.privilege, tables);
        }
        let code = plans.code(plan, &tables.blocks[plan.block as usize]);
        let (once, again) = addresses.split_at(usize::from(plan.once));
        let mut operands = code.operands.iter().zip(once).peekable();
        let mut later = segments[1..].iter().peekable();
        let mut va = code.address;
        // One beyond the completed ones: it may have been begun.
        for (i, length) in code.lengths.iter().copied().map(Some).chain([None]).enumerate() {
            if let Some(next) = later.next_if(|next| usize::from(next.first) <= i) {
                (coming.function, coming.address) = (next.function, va);
                coming.at = self.position + i as u64;
                self.announce(coming.function.0 as usize);
                if let Some(calls) = &mut self.calls {
                    calls.run_into(&coming, self.who.functions(), &self.state, &mut self.rows);
                }
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
    #[cold]
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

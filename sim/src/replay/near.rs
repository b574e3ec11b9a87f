//! Executions whose references are near at hand, one after the other.
//!
//! Nearly all are, and what they need of the machine is taken out once for many of them.

use super::{Executions, Replay};
use crate::addressing::Now;
use crate::functions::Namer;
use crate::plans::{Plan, Plans};
use crate::who::Charged;
use strata_cachemodel::{Outcome, Progress};
use strata_workloads::trace::Definitions;

/// Why a row of executions near at hand ended.
struct Stopped<'s> {
    plan: &'s Plan,
    addresses: &'s [u64],
    iterations: u64,
    /// The row and how far the execution has come; `None` if it was not begun.
    begun: Option<(usize, Progress)>,
}

impl<N: Namer> Replay<N> {
    /// As [`Replay::executions_in_full`], for a machine whose first-level caches have `I` and `D`
    /// ways.
    pub(super) fn executions_near<const I: usize, const D: usize>(
        &mut self,
        executions: &mut Executions<'_>,
        count: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let mut left = count;
        while left > 0 {
            let Some(mut near) = self.hierarchy.near::<I, D>() else {
                return self.executions_in_full(executions, left, tables, plans);
            };
            let mut stopped = None;
            while left > 0 {
                left -= 1;
                let Some((plan, addresses, iterations)) = executions.next(plans) else { return };
                if !self.extent.range.contains(&self.position) {
                    self.position += u64::from(plan.completed);
                    continue;
                }
                let index = plan.block as usize;
                let charged =
                    self.who.of(index, plan.privilege, &self.state, &mut self.addressing, tables);
                if self.rows.executed.len() < self.who.functions().len() {
                    self.rows.grow(self.who.functions().len());
                }
                let row = match charged {
                    Charged::Row(row) if self.pending.is_none() => row,
                    _ => {
                        stopped = Some(Stopped { plan, addresses, iterations, begun: None });
                        break;
                    }
                };
                self.last_row = Some(row as u32);
                self.rows.executed[row].add(plan);
                let code = plans.code(plan, &tables.blocks[index]);
                let progress = near.begin(&code, addresses);
                if !progress.is_all_of(&code) || plan.repeats {
                    let begun = Some((row, progress));
                    stopped = Some(Stopped { plan, addresses, iterations, begun });
                    break;
                }
                self.position += u64::from(plan.completed);
            }
            drop(near);
            if let Some(stopped) = stopped {
                self.position += u64::from(stopped.plan.completed);
                self.finish_stopped::<I, D>(&stopped, tables, plans);
            }
        }
    }

    fn finish_stopped<const I: usize, const D: usize>(
        &mut self,
        stopped: &Stopped<'_>,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let Stopped { plan, addresses, iterations, begun } = *stopped;
        let Some((row, progress)) = begun else {
            return self.execution(plan, addresses, iterations, tables, plans);
        };
        let deviations = &mut self.rows.deviations[row];
        let (once, again) = addresses.split_at(usize::from(plan.once));
        self.hierarchy.go_on::<I, D, _>(
            plans.code(plan, &tables.blocks[plan.block as usize]),
            once,
            progress,
            &mut Now { addressing: &mut self.addressing, tables },
            &mut |kind, _, outcome| deviations.deviate(kind, outcome),
        );
        if plan.repeats {
            self.count_iterations(plan, iterations, row, plans);
            self.iterations_near::<I, D>(plan, again, iterations, row, tables, plans);
        }
    }

    /// The operands of a `rep`, for each of its iterations.
    fn iterations_near<const I: usize, const D: usize>(
        &mut self,
        plan: &Plan,
        starts: &[u64],
        iterations: u64,
        row: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let mut references = plan.references(plans.repeated(plan), starts, iterations);
        let mut next = references.next();
        while next.is_some() {
            if let Some(mut near) = self.hierarchy.near::<I, D>() {
                while let Some((operand, va)) = next
                    && near.access(operand.kind, va, operand.bytes)
                {
                    next = references.next();
                }
            }
            let Some((operand, va)) = next else { return };
            let mut now = Now { addressing: &mut self.addressing, tables };
            let bytes = u32::from(operand.bytes);
            let outcome = self.hierarchy.access(operand.kind, va, bytes, &mut now);
            if outcome != Outcome::HIT {
                self.rows.deviations[row].deviate(operand.kind, &outcome);
            }
            next = references.next();
        }
    }
}

//! Executions whose references are near at hand, one after the other.
//!
//! Nearly all are, and what they need of the machine is taken out once for many of them.

use super::{Executions, Replay};
use crate::addressing::Now;
use crate::functions::Namer;
use crate::plans::{Plan, Plans};
use crate::who::Charged;
use strata_cachemodel::{Hierarchy, Operand, Outcome, Progress, RefKind};
use strata_workloads::trace::Definitions;

/// Executions of one plan that were begun near at hand and are not counted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    /// Who they are charged to, as long as the circumstances are these.
    circumstances: u32,
    row: u32,
    executions: u64,
}

impl Charge {
    pub(super) const NONE: Self = Charge { circumstances: u32::MAX, row: 0, executions: 0 };
}

/// Why a row of executions near at hand ended.
pub(super) struct Stopped<'s> {
    pub(super) shape: usize,
    pub(super) addresses: &'s [u64],
    pub(super) iterations: u64,
    pub(super) how: How,
}

/// How far the last execution has come.
pub(super) enum How {
    /// It is not known whom to charge, or more is to be done than to count it.
    NotBegun,
    /// To the end, but for the iterations of a `rep`.
    UpToIterations,
    Begun(Progress),
}

impl<N: Namer> Replay<N> {
    /// As [`Replay::executions_in_full`], for a machine that has hits near at hand.
    pub(super) fn executions_near(
        &mut self,
        executions: &mut Executions<'_>,
        count: usize,
        tables: &Definitions,
        plans: &Plans,
    ) {
        let mut left = count;
        while left > 0 {
            let Some(stopped) = self.row_of_executions(executions, &mut left, plans) else {
                return;
            };
            let plan = plans.of(stopped.shape);
            if self.extent.range.contains(&self.position) {
                self.rows.at(self.position);
                self.finish_stopped(&stopped, tables, plans);
            }
            self.position += u64::from(plan.completed);
        }
    }

    /// Executions until one has to be finished elsewhere, or none is left.
    #[inline(never)]
    fn row_of_executions<'b>(
        &mut self,
        executions: &mut Executions<'b>,
        left: &mut usize,
        plans: &Plans,
    ) -> Option<Stopped<'b>> {
        let present = self.who.present();
        let mut until_end = self.extent.range.end.saturating_sub(self.position);
        if self.pending.is_some() {
            until_end = 0;
        }
        let position_at_end = self.position + until_end;
        let mut row = None;
        let mut near = self.hierarchy.near()?;
        let mut stopped = None;
        // A copy, which can be kept in registers.
        let mut coming = executions.clone();
        let mut count = *left;
        while count > 0 {
            count -= 1;
            let Some(shape) = coming.next_shape() else { break };
            let plan = plans.of(shape);
            let (addresses, iterations) = coming.take(plan);
            let charge = &mut self.charges[shape];
            let is_charged = charge.circumstances == present[usize::from(plan.privilege & 3)];
            if !is_charged || until_end == 0 {
                stopped = Some(Stopped { shape, addresses, iterations, how: How::NotBegun });
                break;
            }
            charge.executions += 1;
            row = Some(charge.row);
            let (runs, operands) = plans.parts(plan);
            let progress = near.begin(runs, operands, addresses);
            if progress.is_some() || plan.repeats {
                let how = progress.map_or(How::UpToIterations, How::Begun);
                stopped = Some(Stopped { shape, addresses, iterations, how });
                break;
            }
            until_end = until_end.saturating_sub(u64::from(plan.completed));
        }
        *executions = coming;
        *left = count;
        drop(near);
        if row.is_some() {
            self.last_row = row;
        }
        self.position = position_at_end - until_end;
        stopped
    }

    #[inline(never)]
    fn finish_stopped(&mut self, stopped: &Stopped<'_>, tables: &Definitions, plans: &Plans) {
        let Stopped { shape, addresses, iterations, ref how } = *stopped;
        let plan = plans.of(shape);
        let (once, again) = addresses.split_at(usize::from(plan.once));
        let mut row = self.charges[shape].row as usize;
        self.hierarchy.set_charge(row as u32);
        let left = match *how {
            How::NotBegun => {
                if !self.charge(shape, plan, tables) || self.pending.is_some() {
                    return self.execution(plan, addresses, iterations, tables, plans);
                }
                row = self.charges[shape].row as usize;
                self.hierarchy.set_charge(row as u32);
                self.charges[shape].executions += 1;
                self.last_row = Some(self.charges[shape].row);
                let (runs, operands) = plans.parts(plan);
                self.hierarchy.near().and_then(|mut near| near.begin(runs, operands, once))
            }
            How::UpToIterations => None,
            How::Begun(progress) => Some(progress),
        };
        if let Some(progress) = left {
            let mut deviations = self.rows.deviating(row);
            self.hierarchy.go_on(
                plans.parts(plan),
                || &tables.blocks[plan.block as usize].lengths,
                once,
                progress,
                &mut Now { addressing: &mut self.addressing, tables },
                &mut |kind, _, outcome| deviations.deviate(kind, outcome),
            );
        }
        if plan.repeats {
            self.count_iterations(plan, iterations, row, plans);
            let mut deviations = self.rows.deviating(row);
            references_near(
                &mut self.hierarchy,
                plan.references(plans.repeated(plan), again, iterations),
                &mut Now { addressing: &mut self.addressing, tables },
                |kind, outcome| deviations.deviate(kind, outcome),
            );
        }
    }

    /// Finds out who the executions of a plan are charged to from here on; false if they are
    /// several functions'.
    fn charge(&mut self, shape: usize, plan: &Plan, tables: &Definitions) -> bool {
        self.settle_charge(shape, plan);
        let charged = self.charged(plan, tables);
        let Charged::Row(row) = charged else {
            self.charges[shape] = Charge::NONE;
            return false;
        };
        let circumstances = self.who.present()[usize::from(plan.privilege & 3)];
        self.charges[shape] = Charge { circumstances, row: row as u32, executions: 0 };
        true
    }

    /// Counts what was begun near at hand.
    pub(super) fn settle_charges(&mut self) {
        let plans = std::mem::replace(&mut self.plans, Plans::new(1));
        for (shape, plan) in plans.all().iter().enumerate() {
            self.settle_charge(shape, plan);
        }
        self.plans = plans;
    }

    fn settle_charge(&mut self, shape: usize, plan: &Plan) {
        let Charge { row, ref mut executions, .. } = self.charges[shape];
        let executions = std::mem::take(executions);
        if executions > 0 {
            self.rows.executed[row as usize].add(plan, executions);
            let Plan { completed, once, reads, .. } = *plan;
            let [fetches, reads, writes] =
                [completed, reads, once - reads].map(|count| u64::from(count) * executions);
            self.hierarchy.count_near(fetches, reads, writes);
        }
    }
}

/// Makes references that are counted as hits already, as many as possible near at hand; tells
/// `unusual` of each that is no hit.
pub(super) fn references_near<'o>(
    hierarchy: &mut Hierarchy,
    mut references: impl Iterator<Item = (&'o Operand, u64)>,
    now: &mut Now<'_>,
    mut unusual: impl FnMut(RefKind, &Outcome),
) {
    let mut next = references.next();
    let (mut reads, mut writes) = (0, 0);
    while next.is_some() {
        if let Some(mut near) = hierarchy.near() {
            let mut good_for = 1 << 20;
            while let Some((operand, va)) = next
                && good_for > 0
                && near.access(operand.kind, va, operand.bytes)
            {
                good_for -= 1;
                reads += u64::from(operand.kind == RefKind::Read);
                writes += u64::from(operand.kind != RefKind::Read);
                next = references.next();
            }
        }
        let Some((operand, va)) = next else { break };
        let outcome = hierarchy.access(operand.kind, va, u32::from(operand.bytes), now);
        if outcome != Outcome::HIT {
            unusual(operand.kind, &outcome);
        }
        next = references.next();
    }
    hierarchy.count_near(0, reads, writes);
}

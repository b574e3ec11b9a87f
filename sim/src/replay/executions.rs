//! The executions of a batch, one after the other.

use crate::calls::Turn;
use crate::plans::{Plan, Plans};
use strata_workloads::trace::ShapeId;

/// What is left of a batch.
#[derive(Clone)]
pub(super) struct Executions<'b> {
    pub(super) shapes: std::slice::Iter<'b, ShapeId>,
    pub(super) addresses: &'b [u64],
    pub(super) iterations: std::slice::Iter<'b, u64>,
    /// Where control takes a turn.
    pub(super) turns: &'b [Turn],
    /// Executions in the whole batch.
    pub(super) all: usize,
}

impl<'b> Executions<'b> {
    #[inline(always)]
    pub(super) fn next<'p>(&mut self, plans: &'p Plans) -> Option<(&'p Plan, &'b [u64], u64)> {
        let plan = plans.of(self.next_shape()?);
        let (own, iterations) = self.take(plan);
        Some((plan, own, iterations))
    }

    /// The shape of the next execution; what comes with it is then to be taken.
    #[inline(always)]
    pub(super) fn next_shape(&mut self) -> Option<usize> {
        Some(self.shapes.next()?.index())
    }

    /// Addresses and iterations of an execution.
    #[inline(always)]
    pub(super) fn take(&mut self, plan: &Plan) -> (&'b [u64], u64) {
        let (own, rest) = self.addresses.split_at(plan.addresses());
        self.addresses = rest;
        let iterations =
            if plan.repeats { self.iterations.next().copied().unwrap_or(0) } else { 0 };
        (own, iterations)
    }
}

//! What every path of calls cost, by itself and with all that it called.
//!
//! A [`CallGraph`] is told every visit and keeps counters for each distinct path, so that its memory
//! grows with the number of paths, never with the length of the stream. When the names are settled
//! it becomes a [`CallTree`], in which paths that turned out to be the same functions are one.

mod law;
mod recursion;
#[cfg(test)]
mod tests;
mod tree;

pub use recursion::{CallArc, FunctionCost};
pub use tree::{CallNode, CallTree, NodeId};

use crate::calls::{Arrival, Paths, Scene, Tracer, Visit};
use crate::counters::Counters;
use crate::functions::Function;

/// What happened at each path, collected while a stream is replayed.
#[derive(Clone, Debug, Default)]
pub struct CallGraph {
    /// By [`PathId`](crate::PathId).
    costs: Vec<Cost>,
}

/// What happened at one path, without what it called.
#[derive(Clone, Debug, Default)]
struct Cost {
    calls: u64,
    exclusive: Counters,
}

impl CallGraph {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of all paths, after the last visit. `functions` are the settled ones, by
    /// [`FunctionId`](crate::FunctionId).
    pub fn into_tree(mut self, paths: &Paths, functions: &[Function]) -> CallTree {
        self.costs.resize_with(paths.len(), Cost::default);
        let costs = self.costs.into_iter().map(|cost| (cost.calls, cost.exclusive));
        CallTree::new(paths, functions, costs)
    }
}

impl Tracer for CallGraph {
    #[inline]
    fn visit(&mut self, visit: &Visit, scene: &Scene<'_>) {
        let index = visit.path.0 as usize;
        if index >= self.costs.len() {
            self.costs.resize_with(index + 1, Cost::default);
        }
        let cost = &mut self.costs[index];
        cost.calls += u64::from(enters(visit, scene));
        cost.exclusive += &visit.counters;
    }
}

/// Whether control comes to a function anew rather than back to it.
fn enters(visit: &Visit, scene: &Scene<'_>) -> bool {
    match visit.arrival {
        Arrival::Call
        | Arrival::Tail
        | Arrival::Syscall
        | Arrival::Hypercall
        | Arrival::Exception
        | Arrival::Interrupt
        | Arrival::Entered => true,
        // Entry code runs on from symbol to symbol; who jumps into the middle of a function, as
        // compilers do from its unlikely parts, only comes back.
        Arrival::FallThrough => {
            let function = scene.paths[visit.path].function;
            let name = &scene.functions[function.0 as usize].name;
            name.as_ref().is_some_and(|name| name.address == visit.address)
        }
        Arrival::Start
        | Arrival::Return
        | Arrival::Unwound
        | Arrival::ReturnAsJump
        | Arrival::Resumed
        | Arrival::Switched
        | Arrival::Gap => false,
    }
}

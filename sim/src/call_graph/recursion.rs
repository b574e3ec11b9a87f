//! Costs of functions and of calls between them, in which recursion counts once.

use super::tree::{CallNode, CallTree, NodeId};
use crate::counters::Counters;
use crate::functions::FunctionId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// What a function cost on all paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionCost {
    /// The function, in the tree's list.
    pub function: FunctionId,
    /// How often control entered it.
    pub calls: u64,
    /// What happened while it was on top.
    pub exclusive: Counters,
    /// What happened while it was on the stack at all, however often.
    pub inclusive: Counters,
}

/// What the calls from one function to another cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallArc {
    /// Who calls.
    pub caller: FunctionId,
    /// Who is called.
    pub callee: FunctionId,
    /// How often.
    pub calls: u64,
    /// What happened while such a call was on the stack, however often.
    pub inclusive: Counters,
}

impl CallTree {
    /// How often the function on top of each node is on its path, by node: 1 without recursion.
    pub fn recursion_levels(&self) -> Vec<u32> {
        let level = |(id, node): (NodeId, &CallNode)| {
            let same = self.frames(id).filter(|(_, frame)| frame.function == node.function);
            same.count() as u32
        };
        self.iter().map(level).collect()
    }

    /// Costs by function, in order of first visit.
    pub fn by_function(&self) -> Vec<FunctionCost> {
        let mut places: FxHashMap<FunctionId, usize> = FxHashMap::default();
        let mut costs: Vec<FunctionCost> = Vec::new();
        for (node, level) in self.nodes().iter().zip(self.recursion_levels()) {
            let place = *places.entry(node.function).or_insert_with(|| {
                costs.push(FunctionCost {
                    function: node.function,
                    calls: 0,
                    exclusive: Counters::default(),
                    inclusive: Counters::default(),
                });
                costs.len() - 1
            });
            let cost = &mut costs[place];
            cost.calls += node.calls;
            cost.exclusive += &node.exclusive;
            if level == 1 {
                cost.inclusive += &node.inclusive;
            }
        }
        costs
    }

    /// Costs of calls, by caller and callee.
    pub fn arcs(&self) -> Vec<CallArc> {
        let mut arcs: BTreeMap<(FunctionId, FunctionId), CallArc> = BTreeMap::new();
        let ends =
            |node: &CallNode| node.caller.map(|caller| (self[caller].function, node.function));
        for (id, node) in self.iter() {
            let Some((caller, callee)) = ends(node) else { continue };
            let inclusive = Counters::default();
            let arc = CallArc { caller, callee, calls: 0, inclusive };
            let arc = arcs.entry((caller, callee)).or_insert(arc);
            arc.calls += node.calls;
            let mut below = self.frames(id).skip(1);
            if below.all(|(_, frame)| ends(frame) != Some((caller, callee))) {
                arc.inclusive += &node.inclusive;
            }
        }
        arcs.into_values().collect()
    }
}

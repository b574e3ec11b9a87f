//! Which part of a call graph is shown.

use crate::error::Error;
use crate::metric::Metric;
use crate::selection::find;
use std::cmp::Reverse;
use std::str::FromStr;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, NodeId};
use strata_symbols::Layer;

/// What a row of a call graph stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallsBy {
    /// A path of calls.
    #[default]
    Path,
    /// A function on all its paths.
    Function,
}

impl CallsBy {
    /// Both.
    pub const ALL: [CallsBy; 2] = [CallsBy::Path, CallsBy::Function];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            CallsBy::Path => "path",
            CallsBy::Function => "function",
        }
    }
}

impl FromStr for CallsBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&CallsBy::ALL, CallsBy::name, "grouping", text)
    }
}

/// Which part of a call graph is shown, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallSelection {
    /// What a row stands for.
    pub by: CallsBy,
    /// What costs are measured in, and rows sorted by.
    pub metric: Metric,
    /// Layers whose own costs are shown; all if empty.
    pub layers: Vec<Layer>,
    /// Only what this function does and calls; as `function` or `layer:function`.
    pub root: Option<String>,
    /// Least inclusive cost shown, in per cent of all that is selected.
    pub min_share: f64,
    /// Most rows shown, those of the largest inclusive cost.
    pub top: Option<usize>,
    /// Most frames of a path, the outermost counting as 1.
    pub depth: Option<u32>,
}

impl CallSelection {
    /// What is selected, where that is not everything.
    pub(super) fn scope(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.root.as_ref().map(|root| format!("under {root}")));
        if !self.layers.is_empty() {
            let layers: Vec<_> = self.layers.iter().map(Layer::to_string).collect();
            parts.push(format!("in {}", layers.join(" and ")));
        }
        (!parts.is_empty()).then(|| parts.join(" "))
    }

    /// Whether a cost is large enough to be shown.
    pub(super) fn takes(&self, cost: u64, total: u64) -> bool {
        cost as f64 * 100.0 >= self.min_share * total as f64
    }

    /// Which nodes are shown, by node; callers of what is shown are.
    pub(super) fn kept(&self, tree: &CallTree, machine: &Machine) -> Vec<bool> {
        let total = self.metric.value(&tree.total(), machine);
        let costs: Vec<u64> =
            tree.nodes().iter().map(|node| self.metric.value(&node.inclusive, machine)).collect();
        let mut kept = vec![false; costs.len()];
        let shallow = |id: NodeId| self.depth.is_none_or(|depth| tree[id].depth <= depth);
        let mut large: Vec<NodeId> = tree
            .iter()
            .map(|(id, _)| id)
            .filter(|&id| shallow(id) && self.takes(costs[id.0 as usize], total))
            .collect();
        // Of equal costs, callers come first: they have the smaller numbers.
        large.sort_by_key(|id| (Reverse(costs[id.0 as usize]), id.0));
        for id in large.into_iter().take(self.top.unwrap_or(usize::MAX)) {
            kept[id.0 as usize] = true;
        }
        for (id, node) in tree.iter() {
            kept[id.0 as usize] &= node.caller.is_none_or(|caller| kept[caller.0 as usize]);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    fn kept(selection: &CallSelection) -> Vec<bool> {
        selection.kept(&sample::tree(), &Machine::load("vee07").unwrap())
    }

    #[test]
    fn pruning_keeps_the_largest_and_their_callers() {
        let all = CallSelection::default();
        assert!(kept(&all).into_iter().all(|kept| kept));
        let two = CallSelection { top: Some(2), ..CallSelection::default() };
        assert_eq!(kept(&two).into_iter().filter(|&kept| kept).count(), 2);
        assert!(kept(&two)[0], "the caller of the largest");
        let half = CallSelection { min_share: 50.0, ..CallSelection::default() };
        let tree = sample::tree();
        let total = tree.total().instructions;
        for (node, kept) in tree.nodes().iter().zip(kept(&half)) {
            assert_eq!(kept, node.inclusive.instructions * 2 >= total);
        }
        let flat = CallSelection { depth: Some(1), ..CallSelection::default() };
        for (node, kept) in tree.nodes().iter().zip(kept(&flat)) {
            assert_eq!(kept, node.caller.is_none());
        }
    }
}

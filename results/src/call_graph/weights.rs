//! Own costs as whole numbers, for formats that know no others.

use crate::metric::Metric;
use strata_cachemodel::Machine;
use strata_sim::CallTree;

/// The own cost of each node. Estimated cycles are rounded so that the sum of the first nodes is
/// always the rounded sum: the total is off by half a cycle at most, however many nodes there are.
pub(super) fn own_costs(tree: &CallTree, metric: Metric, machine: &Machine) -> Vec<u64> {
    if metric != Metric::Cycles {
        return tree.nodes().iter().map(|node| metric.value(&node.exclusive, machine)).collect();
    }
    let (mut sum, mut given) = (0.0f64, 0);
    let own = tree.nodes().iter().map(|node| {
        sum += metric.exact(&node.exclusive, machine);
        let upto = sum.round() as u64;
        let own = upto - given;
        given = upto;
        own
    });
    own.collect()
}

/// The cost of each node with all that it calls, summed from their own.
pub(super) fn inclusive_costs(tree: &CallTree, own: &[u64]) -> Vec<u64> {
    let mut inclusive = own.to_vec();
    for (id, node) in tree.iter().rev() {
        if let Some(caller) = node.caller {
            inclusive[caller.0 as usize] += inclusive[id.0 as usize];
        }
    }
    inclusive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    #[test]
    fn rounded_cycles_sum_to_the_rounded_total() {
        let mut machine = Machine::load("zen4").unwrap();
        machine.set("cost.base-cpi", "0.3").unwrap();
        let tree = sample::tree();
        let own = own_costs(&tree, Metric::Cycles, &machine);
        let total = Metric::Cycles.value(&tree.total(), &machine);
        assert_eq!(own.iter().sum::<u64>(), total);
        let (_, roots) = tree.children();
        let inclusive = inclusive_costs(&tree, &own);
        assert_eq!(roots.iter().map(|root| inclusive[root.0 as usize]).sum::<u64>(), total);
    }
}

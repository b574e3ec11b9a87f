//! Collapsed stacks: a line for each path, `frame;frame;frame cost`.

use super::{label_of, weights};
use crate::metric::Metric;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, Function};

/// A line for each path that has a cost of its own, in alphabetic order.
pub(super) fn write(tree: &CallTree, metric: Metric, machine: &Machine) -> String {
    let mut out = String::new();
    for (path, cost) in stacks(tree, metric, machine) {
        let _ = writeln!(out, "{path} {cost}");
    }
    out
}

/// Paths that read the same are one.
fn stacks(tree: &CallTree, metric: Metric, machine: &Machine) -> BTreeMap<String, u64> {
    let labels: Vec<String> = tree.functions().iter().map(frame).collect();
    let mut texts: Vec<String> = Vec::with_capacity(tree.nodes().len());
    let mut stacks = BTreeMap::new();
    for (node, cost) in tree.nodes().iter().zip(weights::own_costs(tree, metric, machine)) {
        let label = &labels[node.function.0 as usize];
        let text = match node.caller {
            Some(caller) => format!("{};{label}", texts[caller.0 as usize]),
            None => label.clone(),
        };
        if cost > 0 {
            *stacks.entry(text.clone()).or_default() += cost;
        }
        texts.push(text);
    }
    stacks
}

/// The label of a frame.
fn frame(function: &Function) -> String {
    plain(&label_of(function))
}

/// A label that reads back. Semicolons part frames, the last number after a space is the cost:
/// names that have such (`<[u8; 8] as Debug>::fmt`) get something like them.
pub(super) fn plain(label: &str) -> String {
    let mut label = label.replace(';', ",").replace(char::is_control, " ");
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    if let Some((head, tail)) = label.rsplit_once(' ').filter(|(_, tail)| is_number(tail)) {
        label = format!("{head}_{tail}");
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    #[test]
    fn lines_read_back_as_the_paths_and_sum_to_the_total() {
        let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
        let text = write(&tree, Metric::Instructions, &machine);
        let mut sum = 0;
        for line in text.lines() {
            let (path, cost) = line.rsplit_once(' ').unwrap();
            sum += cost.parse::<u64>().unwrap();
            for frame in path.split(';') {
                let (layer, name) = frame.split_once(':').unwrap();
                assert!(layer.parse::<strata_symbols::Layer>().is_ok() && !name.is_empty());
            }
        }
        assert_eq!(sum, tree.total().instructions);
        assert!(text.contains("dom1-user:main;dom1-user:write;dom1-kernel:tcp_sendmsg 1000\n"));
        assert!(text.contains("<[u8, 8] as core::fmt::Debug>"));
        assert!(text.contains("& <more>_8 80\n"));
        // Two functions of one name on the same path, whose costs are one line's.
        assert!(text.contains("dom0-kernel:net_rx_action;dom0-kernel:init 110\n"), "{text}");
    }
}

//! Functions and calls between them as a graph in Graphviz' language.

use super::{CallSelection, module_of, name_of};
use crate::layer_colour::{hex, layer_colour};
use crate::numbers::{grouped, percent, shortened};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, Counters, FunctionId};

/// Longest name in a box, in characters.
const NAME_WIDTH: usize = 48;

/// The functions and calls that `selection` keeps, a box and an arrow each. Shares are of all that
/// is selected; arrows are as wide as theirs.
pub(super) fn write(
    tree: &CallTree,
    selection: &CallSelection,
    machine: &Machine,
    title: &str,
) -> String {
    let deep = |depth: u32| selection.depth.is_none_or(|most| depth <= most);
    let tree = &tree.folded(|_, node| deep(node.depth));
    let value = |counters: &Counters| selection.metric.value(counters, machine);
    let total = value(&tree.total());
    let mut costs = tree.by_function();
    costs.retain(|cost| selection.takes(value(&cost.inclusive), total));
    costs.sort_by_key(|cost| (Reverse(value(&cost.inclusive)), cost.function));
    costs.truncate(selection.top.unwrap_or(usize::MAX));
    let shown: BTreeSet<FunctionId> = costs.iter().map(|cost| cost.function).collect();
    let mut out = String::from("digraph callgraph {\n");
    let _ = writeln!(out, "  label={}; labelloc=t; fontname=\"sans-serif\";", quoted(title));
    out.push_str("  node [shape=box, style=filled, fontname=\"sans-serif\", fontsize=10];\n");
    out.push_str("  edge [fontname=\"sans-serif\", fontsize=9];\n");
    for cost in &costs {
        let function = &tree.functions()[cost.function.0 as usize];
        let layer = function.layer.to_string();
        let module = match module_of(function) {
            Some(module) if name_of(function) != format!("[{module}]") => format!(" [{module}]"),
            _ => String::new(),
        };
        let (own, inclusive) = (value(&cost.exclusive), value(&cost.inclusive));
        let label = format!(
            "{}\n{layer}{module}\n{}% with callees, {}% self",
            shortened(name_of(function), NAME_WIDTH),
            percent(inclusive, total),
            percent(own, total),
        );
        let tip = format!(
            "{layer}:{}: {} self, {} inclusive, {} calls",
            name_of(function),
            grouped(own),
            grouped(inclusive),
            grouped(cost.calls),
        );
        let _ = writeln!(
            out,
            "  f{} [label={}, fillcolor=\"{}\", tooltip={}];",
            cost.function.0,
            quoted(&label),
            hex(layer_colour(function.layer)),
            quoted(&tip),
        );
    }
    for arc in tree.arcs() {
        let cost = value(&arc.inclusive);
        let between = shown.contains(&arc.caller) && shown.contains(&arc.callee);
        if !between || !selection.takes(cost, total) {
            continue;
        }
        let label = format!("{}%\n{}×", percent(cost, total), grouped(arc.calls));
        let width = 0.5 + 5.0 * cost as f64 / total.max(1) as f64;
        let _ = writeln!(
            out,
            "  f{} -> f{} [label={}, penwidth={width:.2}];",
            arc.caller.0,
            arc.callee.0,
            quoted(&label),
        );
    }
    out.push_str("}\n");
    out
}

/// A string of the language, in which only quotes need care; backslashes begin what labels escape.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{}\"", escaped.replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;
    use std::collections::HashMap;

    /// A statement: what it is of, and its attributes.
    type Statement = (String, HashMap<String, String>);

    /// Reads what this module writes: `name [key=value, …];`, values quoted or not.
    fn parsed(text: &str) -> Vec<Statement> {
        let body = text.strip_prefix("digraph callgraph {\n").unwrap().strip_suffix("}\n").unwrap();
        body.lines().skip(1).map(statement).collect()
    }

    fn statement(line: &str) -> Statement {
        let (subject, rest) = line.trim().split_once(" [").unwrap();
        let mut chars = rest.strip_suffix("];").unwrap().chars().peekable();
        let mut attributes = HashMap::new();
        while chars.peek().is_some() {
            let key: String = chars.by_ref().take_while(|c| *c != '=').collect();
            let mut value = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next().expect("a string ends") {
                        '"' => break,
                        '\\' => value.push(match chars.next().unwrap() {
                            'n' => '\n',
                            other => other,
                        }),
                        other => value.push(other),
                    }
                }
                chars.next_if_eq(&',');
            } else {
                value.extend(chars.by_ref().take_while(|c| *c != ','));
            }
            attributes.insert(key.trim().to_owned(), value);
        }
        (subject.to_owned(), attributes)
    }

    fn statements(selection: &CallSelection) -> Vec<Statement> {
        let machine = Machine::load("vee07").unwrap();
        parsed(&write(&sample::tree(), selection, &machine, "a \"title\""))
    }

    #[test]
    fn functions_and_calls_carry_layer_domain_and_costs() {
        let statements = statements(&CallSelection::default());
        let tree = sample::tree();
        let arrows = statements.iter().filter(|(subject, _)| subject.contains("->")).count();
        assert_eq!(arrows, tree.arcs().len());
        let boxes: Vec<_> =
            statements.iter().filter(|(s, _)| s.starts_with('f') && !s.contains("->")).collect();
        assert_eq!(boxes.len(), tree.by_function().len());
        let grant =
            boxes.iter().find(|(_, a)| a["label"].starts_with("do_grant_table_op")).unwrap();
        assert_eq!(
            grant.1["label"],
            "do_grant_table_op\nhypervisor [xen]\n57.9% with callees, 57.9% self"
        );
        assert_eq!(
            grant.1["tooltip"],
            "hypervisor:do_grant_table_op: 5,300 self, 5,300 inclusive, 2 calls"
        );
        assert!(boxes.iter().any(|(_, a)| a["label"].contains("fmt \"x\\y\"")));
    }

    #[test]
    fn what_is_small_is_left_out_with_its_arrows() {
        let selection = CallSelection { min_share: 50.0, ..CallSelection::default() };
        let subjects: Vec<String> =
            statements(&selection).into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(subjects[2..], ["f0", "f1", "f2", "f3", "f0 -> f1", "f1 -> f2", "f2 -> f3"]);
    }
}

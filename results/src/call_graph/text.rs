//! A call graph for people: a tree of paths, or a table of functions.

use super::{CallGraphReport, CallSelection, CallsBy, label_of, module_of, name_of};
use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, percent, shortened};
use crate::returns::returns_text;
use crate::text_table::{TextTable, wrapped};
use std::cmp::Reverse;
use std::fmt::Write as _;
use strata_sim::{CallTree, Counters, FunctionCost, NodeId};

/// Longest function and module names shown; CSV and JSON have all of them.
const FUNCTION_WIDTH: usize = 40;
const MODULE_WIDTH: usize = 16;

impl CallGraphReport {
    /// The selected part of the graph with what must be said about it.
    ///
    /// # Errors
    /// [`Error::NoMetric`] for a metric that is not modelled or not known,
    /// [`Error::UnknownFunction`] for a root that never ran, [`Error::NothingSelected`] for layers
    /// that never ran.
    pub fn to_text(&self, selection: &CallSelection) -> Result<String, Error> {
        let tree = self.selected(selection)?;
        let (body, shown, all, noun) = match selection.by {
            CallsBy::Path => self.path_rows(&tree, selection),
            CallsBy::Function => self.function_rows(&tree, selection),
        };
        let metric = selection.metric;
        let total = metric.value(&tree.total(), self.machine());
        let whole = metric.value(&self.tree.total(), self.machine());
        let mut said = format!("{} {}", grouped(total), metric.title());
        match selection.scope() {
            Some(scope) => {
                let share = percent(total, whole);
                let _ = write!(said, " {scope}, {share}% of all; shares below are of these");
            }
            None => said.push_str(" in all"),
        }
        let mut out = self.report.head_text();
        out.push_str(&wrapped("shown", &said));
        out.push('\n');
        out.push_str(&body);
        out.push('\n');
        if shown < all {
            let left_out = format!(
                "{} of {}; smaller, deeper or further ones are left out, their costs are in their \
                 callers' inclusive",
                grouped(shown as u64),
                counted(all as u64, noun),
            );
            out.push_str(&wrapped("rows", &left_out));
        }
        out.push_str(&returns_text(&self.returns));
        out.push_str(&self.report.foot_text());
        Ok(out)
    }

    /// Rows of a tree, how many there are, and of how many what.
    fn path_rows(
        &self,
        tree: &CallTree,
        selection: &CallSelection,
    ) -> (String, usize, usize, &'static str) {
        let machine = self.machine();
        let kept = selection.kept(tree, machine);
        let inclusive = |id: NodeId| selection.metric.value(&tree[id].inclusive, machine);
        let total = selection.metric.value(&tree.total(), machine);
        let (children, roots) = tree.children();
        let sorted = |nodes: &[NodeId]| {
            let mut nodes: Vec<NodeId> =
                nodes.iter().copied().filter(|id| kept[id.0 as usize]).collect();
            // The first is taken from the end.
            nodes.sort_by_key(|&id| (inclusive(id), Reverse(id)));
            nodes
        };
        let mut rows = Vec::new();
        let mut open = sorted(&roots);
        while let Some(id) = open.pop() {
            let node = &tree[id];
            let own = selection.metric.value(&node.exclusive, machine);
            let function = tree.function(node);
            let caller = node.caller.map(|caller| tree.function(&tree[caller]));
            let module = module_of(function);
            let same = caller.is_some_and(|caller| {
                caller.layer == function.layer && module_of(caller) == module
            });
            let mut path = " ".repeat(node.depth as usize - 1);
            path.push_str(&shortened(name_of(function), FUNCTION_WIDTH));
            // A stripped program stands for its functions: `[program]`.
            let said = same || name_of(function).starts_with('[');
            if let (Some(module), false) = (module, said) {
                let _ = write!(path, " [{}]", shortened(module, MODULE_WIDTH));
            }
            rows.push([
                grouped(inclusive(id)),
                percent(inclusive(id), total),
                grouped(own),
                percent(own, total),
                grouped(node.calls),
                function.layer.to_string(),
                path,
            ]);
            open.extend(sorted(&children[id.0 as usize]));
        }
        let shown = rows.len();
        (aligned(&rows), shown, tree.nodes().len(), "path")
    }

    /// The same by function.
    fn function_rows(
        &self,
        tree: &CallTree,
        selection: &CallSelection,
    ) -> (String, usize, usize, &'static str) {
        let machine = self.machine();
        let value = |counters: &Counters| selection.metric.value(counters, machine);
        let total = value(&tree.total());
        let costs = self.function_costs(tree, selection);
        let mut table = TextTable::new(3);
        let head = ["layer", "module", "function", "self", "share %", "inclusive", "share %"];
        table.header(head.into_iter().chain(["calls"]).map(str::to_owned));
        for cost in &costs {
            let function = &tree.functions()[cost.function.0 as usize];
            let module = module_of(function).unwrap_or(NOT_AVAILABLE);
            let (own, inclusive) = (value(&cost.exclusive), value(&cost.inclusive));
            table.row(vec![
                function.layer.to_string(),
                shortened(module, MODULE_WIDTH),
                shortened(name_of(function), FUNCTION_WIDTH),
                grouped(own),
                percent(own, total),
                grouped(inclusive),
                percent(inclusive, total),
                grouped(cost.calls),
            ]);
        }
        table.rule();
        let mut last = vec!["total".to_owned(), String::new(), String::new(), grouped(total)];
        last.extend([percent(total, total), grouped(total), percent(total, total), String::new()]);
        table.row(last);
        (table.to_string(), costs.len(), tree.by_function().len(), "function")
    }

    /// Costs by function, the largest inclusive first, without those that are pruned.
    pub(super) fn function_costs(
        &self,
        tree: &CallTree,
        selection: &CallSelection,
    ) -> Vec<FunctionCost> {
        let machine = self.machine();
        let value = |counters: &Counters| selection.metric.value(counters, machine);
        let total = value(&tree.total());
        let mut costs = tree.by_function();
        costs.retain(|cost| selection.takes(value(&cost.inclusive), total));
        costs.sort_by_cached_key(|cost| {
            let function = &tree.functions()[cost.function.0 as usize];
            let order = (Reverse(value(&cost.inclusive)), Reverse(value(&cost.exclusive)));
            (order, label_of(function), cost.function)
        });
        costs.truncate(selection.top.unwrap_or(usize::MAX));
        costs
    }
}

/// Numbers to the right of their columns, then layer and path.
fn aligned(rows: &[[String; 7]]) -> String {
    let head = ["inclusive", "share %", "self", "share %", "calls", "layer", "call path"];
    let head = head.map(str::to_owned);
    let mut widths = [0; 7];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [inclusive, share, own, own_share, calls, layer, _] = widths;
    let line = |[a, b, c, d, e, f, path]: &[String; 7]| {
        format!(
            "{a:>inclusive$}  {b:>share$}  {c:>own$}  {d:>own_share$}  {e:>calls$}  {f:layer$}  {path}"
        )
    };
    let mut out = line(&head);
    let rule = "─".repeat(out.chars().count());
    let _ = write!(out, "\n{rule}\n");
    for row in rows {
        out.push_str(&line(row));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::{CallExport, sample};
    use crate::metric::Metric;
    use crate::structure::Structure;

    #[test]
    fn a_tree_has_the_largest_first_and_callees_under_their_caller() {
        let report = sample::report("vee07");
        let text = report.to_text(&CallSelection::default()).unwrap();
        let rows: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with('─'))
            .skip(1)
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(rows.len(), report.tree.nodes().len());
        assert_eq!(
            rows[..3],
            [
                "    6,340     69.2     11      0.1      1  dom1-user    main [iperf]",
                "    6,013     65.7     13      0.1      1  dom1-user     write [libc.so.6]",
                "    6,000     65.5  1,000     10.9      1  dom1-kernel    tcp_sendmsg [vmlinux]",
            ]
        );
        assert!(text.contains("7 of 8 returns matched (87.5 %)"), "{text}");
    }

    #[test]
    fn one_layer_is_told_in_shares_of_itself() {
        let report = sample::report("vee07");
        let layers = vec!["hypervisor".parse().unwrap()];
        let selection = CallSelection {
            layers,
            by: CallsBy::Function,
            top: Some(1),
            ..CallSelection::default()
        };
        let text = report.to_text(&selection).unwrap();
        assert!(text.contains("5,300 instructions in hypervisor, 57.9% of all"), "{text}");
        assert!(text.contains("do_grant_table_op  5,300    100.0"), "{text}");
        assert!(text.contains("1 of 4 functions"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_said_with_a_remedy() {
        let report = sample::report("vee07");
        let error = |selection: CallSelection| report.to_text(&selection).unwrap_err().to_string();
        let root = Some("dom1-kernel:tcp_sendmesg".to_owned());
        let message = error(CallSelection { root, ..CallSelection::default() });
        assert!(message.ends_with("did you mean tcp_sendmsg?"), "{message}");
        let layers = vec!["dom7-kernel".parse().unwrap()];
        let message = error(CallSelection { layers, ..CallSelection::default() });
        assert!(message.contains("no call paths in layer dom7-kernel"), "{message}");
        let metric = Metric::Misses(Structure::L3);
        let message = error(CallSelection { metric, ..CallSelection::default() });
        assert!(message.contains("no L3 misses"), "{message}");
    }

    #[test]
    fn nothing_is_not_drawn() {
        let metric = Metric::Misses(Structure::Dtlb);
        let selection = CallSelection { metric, ..CallSelection::default() };
        for export in CallExport::ALL {
            let error = sample::report("vee07").export(export, &selection).unwrap_err().to_string();
            assert!(error.contains("no DTLB misses in what was selected"), "{error}");
        }
    }
}

//! A call graph as a table for CSV and Parquet: a row for each path or function, with where it comes from.

use super::{CallGraphReport, CallSelection, CallsBy, module_of, name_of};
use crate::error::Error;
use crate::metric::Metric;
use crate::result_table::{Cell, Column, Kind, Table};
use strata_sim::{CallTree, Counters, Function, NodeId};

impl CallGraphReport {
    /// The rows that `selection` asks for, paths in the order of their first visit, functions by
    /// inclusive cost.
    ///
    /// # Errors
    /// As [`CallGraphReport::to_text`], or [`Error::Format`] if they cannot be written.
    pub fn to_csv(&self, selection: &CallSelection) -> Result<String, Error> {
        self.to_table(selection)?.to_csv()
    }

    /// The same as a table, which can be written in other formats too.
    ///
    /// # Errors
    /// As [`CallGraphReport::to_text`].
    pub fn to_table(&self, selection: &CallSelection) -> Result<Table<'static>, Error> {
        let tree = self.selected(selection)?;
        let metrics = Metric::of(self.machine(), self.report.known());
        let mut columns = Column::texts(["layer", "module", "function", "address"]);
        columns.push(Column::new("calls", Kind::Whole));
        if selection.by == CallsBy::Path {
            columns.push(Column::new("depth", Kind::Whole));
            columns.push(Column::new("path", Kind::Text));
        }
        for kind in ["self", "inclusive"] {
            columns.extend(metrics.iter().map(|&metric| {
                let kind_of = if metric == Metric::Cycles { Kind::Real } else { Kind::Whole };
                Column::new(format!("{kind}_{}", metric.key()), kind_of)
            }));
        }
        let mut rows = Vec::new();
        let mut row = |function: &Function, calls: u64, path: Vec<Cell>, costs: [&Counters; 2]| {
            let address = function.name.as_ref().map(|name| format!("{:#x}", name.address));
            let mut cells = vec![
                Cell::Text(function.layer.to_string()),
                Cell::text(module_of(function)),
                name_of(function).into(),
                Cell::text(address.as_deref()),
                Cell::Whole(calls),
            ];
            cells.extend(path);
            for counters in costs {
                cells.extend(metrics.iter().map(|metric| self.number(*metric, counters)));
            }
            rows.push(Ok(cells));
        };
        match selection.by {
            CallsBy::Path => {
                let kept = selection.kept(&tree, self.machine());
                for (id, node) in tree.iter().filter(|(id, _)| kept[id.0 as usize]) {
                    let path = vec![u64::from(node.depth).into(), path(&tree, id).into()];
                    row(tree.function(node), node.calls, path, [&node.exclusive, &node.inclusive]);
                }
            }
            CallsBy::Function => {
                for cost in self.function_costs(&tree, selection) {
                    let function = &tree.functions()[cost.function.0 as usize];
                    row(function, cost.calls, Vec::new(), [&cost.exclusive, &cost.inclusive]);
                }
            }
        }
        Ok(Table::new("callgraph", self.report.origin(), columns, rows.into_iter()))
    }

    /// Estimated cycles with their fraction, all else whole.
    fn number(&self, metric: Metric, counters: &Counters) -> Cell {
        match metric {
            Metric::Cycles => Cell::Real(metric.exact(counters, self.machine())),
            metric => Cell::Whole(metric.value(counters, self.machine())),
        }
    }
}

/// `layer:function;layer:function`, the outermost first.
fn path(tree: &CallTree, id: NodeId) -> String {
    let frames = tree.frames(id).map(|(_, node)| super::label_of(tree.function(node)));
    let mut frames: Vec<String> = frames.collect();
    frames.reverse();
    frames.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    #[test]
    fn rows_sum_to_the_total_and_every_field_has_its_column() {
        let report = sample::report("vee07");
        for by in CallsBy::ALL {
            let text = report.to_csv(&CallSelection { by, ..CallSelection::default() }).unwrap();
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let header = reader.headers().unwrap().clone();
            let column = |name: &str| header.iter().position(|field| field == name).unwrap();
            let own = column("self_l2_misses");
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            let sum: u64 = rows.iter().map(|row| row[own].parse::<u64>().unwrap()).sum();
            assert_eq!(sum, report.tree.total().l2().misses, "by {}", by.name());
            assert!(rows.iter().all(|row| &row[column("machine")] == "vee07"));
            if by == CallsBy::Path {
                let deepest = "dom1-user:main;dom1-user:write;dom1-kernel:tcp_sendmsg;hypervisor:do_grant_table_op";
                assert!(rows.iter().any(|row| &row[column("path")] == deepest));
            }
        }
    }
}

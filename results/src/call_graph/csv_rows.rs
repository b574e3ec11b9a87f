//! A call graph as CSV: a row for each path or function, with where it comes from.

use super::{CallGraphReport, CallSelection, CallsBy, module_of, name_of};
use crate::error::Error;
use crate::metric::Metric;
use crate::profile_csv::{ORIGIN, failed};
use strata_sim::{CallTree, Counters, Function, NodeId};

impl CallGraphReport {
    /// The rows that `selection` asks for, paths in the order of their first visit, functions by
    /// inclusive cost.
    ///
    /// # Errors
    /// As [`CallGraphReport::to_text`], or [`Error::Format`] if they cannot be written.
    pub fn to_csv(&self, selection: &CallSelection) -> Result<String, Error> {
        let tree = self.selected(selection)?;
        let metrics = Metric::of(self.machine(), self.report.known());
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header: Vec<String> =
            ["layer", "module", "function", "address", "calls"].map(str::to_owned).into();
        if selection.by == CallsBy::Path {
            header.extend(["depth", "path"].map(str::to_owned));
        }
        for kind in ["self", "inclusive"] {
            header.extend(metrics.iter().map(|metric| format!("{kind}_{}", metric.key())));
        }
        header.extend(ORIGIN.map(str::to_owned));
        writer.write_record(&header).map_err(failed)?;
        let origin = self.report.origin();
        let mut row = |function: &Function, calls, path: Vec<String>, costs: [&Counters; 2]| {
            let address = function.name.as_ref().map(|name| format!("{:#x}", name.address));
            let mut fields = vec![
                function.layer.to_string(),
                module_of(function).unwrap_or_default().to_owned(),
                name_of(function).to_owned(),
                address.unwrap_or_default(),
                u64::to_string(&calls),
            ];
            fields.extend(path);
            for counters in costs {
                fields.extend(metrics.iter().map(|metric| self.number(*metric, counters)));
            }
            writer.write_record(fields.iter().chain(&origin)).map_err(failed)
        };
        match selection.by {
            CallsBy::Path => {
                let kept = selection.kept(&tree, self.machine());
                for (id, node) in tree.iter().filter(|(id, _)| kept[id.0 as usize]) {
                    let path = vec![node.depth.to_string(), path(&tree, id)];
                    row(tree.function(node), node.calls, path, [&node.exclusive, &node.inclusive])?;
                }
            }
            CallsBy::Function => {
                for cost in self.function_costs(&tree, selection) {
                    let function = &tree.functions()[cost.function.0 as usize];
                    row(function, cost.calls, Vec::new(), [&cost.exclusive, &cost.inclusive])?;
                }
            }
        }
        let bytes = writer.into_inner().map_err(failed)?;
        String::from_utf8(bytes).map_err(failed)
    }

    /// Estimated cycles with their fraction, all else whole.
    fn number(&self, metric: Metric, counters: &Counters) -> String {
        match metric {
            Metric::Cycles => metric.exact(counters, self.machine()).to_string(),
            metric => metric.value(counters, self.machine()).to_string(),
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

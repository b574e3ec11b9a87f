//! A call graph as JSON. Scripts rely on these keys: add, never rename.

use super::{CallGraphReport, CallSelection, CallsBy, label_of, module_of, name_of};
use crate::document_head::DocumentHead;
use crate::error::Error;
use crate::metric::Metric;
use crate::numbers::share_percent;
use crate::profile_json::to_pretty;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use strata_cachemodel::Machine;
use strata_sim::{Counters, Function};
use strata_symbols::Layer;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: DocumentHead<'a>,
    /// Share of returns that could have matched and did.
    returns_matched_percent: Option<f64>,
    metric: &'static str,
    grouped_by: &'static str,
    layers: &'a [Layer],
    root: Option<&'a str>,
    /// Of everything replayed.
    total: Map<String, Value>,
    /// Of what `layers` and `root` select.
    selected: Map<String, Value>,
    distinct_paths: usize,
    shown: usize,
    /// An element a line: there are many.
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<Vec<Box<RawValue>>>,
    paths: Vec<Box<RawValue>>,
}

/// A path, or a function on all of its paths.
#[derive(Serialize)]
struct Entry<'a> {
    /// Of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<Vec<String>>,
    #[serde(flatten)]
    function: FunctionNames<'a>,
    calls: u64,
    #[serde(rename = "self")]
    own: Map<String, Value>,
    inclusive: Map<String, Value>,
}

#[derive(Serialize)]
struct FunctionNames<'a> {
    layer: Layer,
    module: Option<&'a str>,
    function: &'a str,
    address: Option<String>,
}

impl<'a> FunctionNames<'a> {
    fn new(function: &'a Function) -> Self {
        FunctionNames {
            layer: function.layer,
            module: module_of(function),
            function: name_of(function),
            address: function.name.as_ref().map(|name| format!("{:#x}", name.address)),
        }
    }
}

impl CallGraphReport {
    /// One object with everything, its paths or functions as `selection` asks.
    ///
    /// # Errors
    /// As [`CallGraphReport::to_text`], or [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, selection: &CallSelection) -> Result<String, Error> {
        let tree = self.selected(selection)?;
        let profile = &self.report.profile;
        let metrics = Metric::of(&profile.machine, self.report.known());
        let costs = |counters: &Counters| {
            let pair =
                |metric: &Metric| (metric.key(), number(*metric, counters, &profile.machine));
            metrics.iter().map(pair).collect::<Map<String, Value>>()
        };
        let (mut paths, mut functions) = (Vec::new(), None);
        match selection.by {
            CallsBy::Path => {
                let kept = selection.kept(&tree, &profile.machine);
                for (id, node) in tree.iter().filter(|(id, _)| kept[id.0 as usize]) {
                    let frames = tree.frames(id).map(|(_, node)| label_of(tree.function(node)));
                    let mut frames: Vec<String> = frames.collect();
                    frames.reverse();
                    paths.push(raw(&Entry {
                        frames: Some(frames),
                        function: FunctionNames::new(tree.function(node)),
                        calls: node.calls,
                        own: costs(&node.exclusive),
                        inclusive: costs(&node.inclusive),
                    })?);
                }
            }
            CallsBy::Function => {
                let list = self.function_costs(&tree, selection);
                let entries = list.iter().map(|cost| {
                    raw(&Entry {
                        frames: None,
                        function: FunctionNames::new(&tree.functions()[cost.function.0 as usize]),
                        calls: cost.calls,
                        own: costs(&cost.exclusive),
                        inclusive: costs(&cost.inclusive),
                    })
                });
                functions = Some(entries.collect::<Result<Vec<_>, _>>()?);
            }
        }
        let returns = &self.returns;
        to_pretty(&Document {
            head: DocumentHead::new("callgraph", &self.report, returns),
            returns_matched_percent: share_percent(returns.matched, returns.all()),
            metric: selection.metric.name(),
            grouped_by: selection.by.name(),
            layers: &selection.layers,
            root: selection.root.as_deref(),
            total: costs(&self.tree.total()),
            selected: costs(&tree.total()),
            distinct_paths: tree.nodes().len(),
            shown: functions.as_ref().map_or(paths.len(), Vec::len),
            functions,
            paths,
        })
    }
}

/// Estimated cycles with their fraction, all else whole.
fn number(metric: Metric, counters: &Counters, machine: &Machine) -> Value {
    match metric {
        Metric::Cycles => metric.exact(counters, machine).into(),
        metric => metric.value(counters, machine).into(),
    }
}

fn raw(entry: &impl Serialize) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(entry)
        .map_err(|error| Error::Format { format: "JSON", message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    #[test]
    fn every_path_has_frames_and_costs_that_sum_up() {
        let report = sample::report("zen4");
        let text = report.to_json(&CallSelection::default()).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["command"], "callgraph");
        assert_eq!(json["machine"]["name"], "zen4");
        let paths = json["paths"].as_array().unwrap();
        assert_eq!(paths.len(), report.tree.nodes().len());
        for metric in Metric::of(&report.report.profile.machine, report.report.known()) {
            if metric == Metric::Cycles {
                continue;
            }
            let key = metric.key();
            let own = |path: &Value| path["self"][&key].as_u64().unwrap();
            let sum: u64 = paths.iter().map(own).sum();
            assert_eq!(sum, json["total"][&key].as_u64().unwrap(), "{key}");
            for path in paths {
                let frames = path["frames"].as_array().unwrap();
                let under =
                    |other: &&Value| other["frames"].as_array().unwrap().starts_with(frames);
                // Equal frames of different modules are different paths, hence at least.
                let sum: u64 = paths.iter().filter(under).map(own).sum();
                assert!(sum >= path["inclusive"][&key].as_u64().unwrap());
            }
        }
        assert_eq!(paths[3]["frames"][3], "hypervisor:do_grant_table_op");
        assert_eq!(paths[3]["module"], "xen");
        assert!(paths[3]["inclusive"]["estimated_cycles"].is_number());
    }

    #[test]
    fn by_function_there_are_functions_with_all_they_have() {
        let report = sample::report("vee07");
        let selection = CallSelection { by: CallsBy::Function, ..CallSelection::default() };
        let json: Value = serde_json::from_str(&report.to_json(&selection).unwrap()).unwrap();
        let functions = json["functions"].as_array().unwrap();
        let grant = functions.iter().find(|f| f["function"] == "do_grant_table_op").unwrap();
        assert_eq!(grant["self"]["instructions"], 5300);
        assert_eq!(json["returns_matched_percent"], 87.5);
        assert!(json["paths"].as_array().unwrap().is_empty());
    }
}

//! A call graph as text, CSV and JSON, and as other tools read it.

mod callgrind;
mod collapsed;
mod csv_rows;
mod dot;
mod firefox;
mod flame_graph;
mod json;
#[cfg(test)]
mod sample;
mod selection;
mod text;
mod weights;

pub use selection::{CallSelection, CallsBy};

use crate::error::Error;
use crate::metric::Metric;
use crate::profile_report::ProfileReport;
use crate::selection::find;
use std::str::FromStr;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, Function, ReturnReport};
use strata_symbols::{Layer, did_you_mean, near_names};

/// What every path of calls cost, with the report of the replay that it comes from.
#[derive(Clone, Debug)]
pub struct CallGraphReport {
    /// All paths.
    pub tree: CallTree,
    /// How well returns could be followed.
    pub returns: ReturnReport,
    /// The replay.
    pub report: ProfileReport,
}

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallExport {
    /// A line for each path: frames separated by semicolons, the outermost first, and its own cost.
    Collapsed,
    /// Flame graph as SVG.
    FlameGraph,
    /// Callgrind's format, for `callgrind_annotate` and KCachegrind.
    Callgrind,
    /// The Firefox Profiler's processed format.
    Firefox,
    /// Functions and calls as a graph, for Graphviz.
    Dot,
}

impl CallExport {
    /// All formats.
    pub const ALL: [CallExport; 5] = [
        CallExport::Collapsed,
        CallExport::FlameGraph,
        CallExport::Callgrind,
        CallExport::Firefox,
        CallExport::Dot,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CallExport::Collapsed => "collapsed",
            CallExport::FlameGraph => "flamegraph",
            CallExport::Callgrind => "callgrind",
            CallExport::Firefox => "firefox",
            CallExport::Dot => "dot",
        }
    }
}

impl FromStr for CallExport {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&CallExport::ALL, CallExport::name, "export", text)
    }
}

impl CallGraphReport {
    /// The selected part of the graph in the format of another tool. Paths that `selection` prunes
    /// count as their callers' own, so that nothing is lost.
    ///
    /// # Errors
    /// As [`CallGraphReport::to_text`], and [`Error::NothingSelected`] where there is none of the
    /// metric: a picture of nothing helps nobody.
    pub fn export(&self, export: CallExport, selection: &CallSelection) -> Result<String, Error> {
        let tree = self.selected(selection)?;
        let all = tree.total();
        if selection.metric.value(&all, self.machine()) == 0 {
            let what = format!("{} in what was selected", selection.metric.title());
            return Err(Error::NothingSelected { what });
        }
        let folded = || {
            let kept = selection.kept(&tree, self.machine());
            tree.folded(|id, _| kept[id.0 as usize])
        };
        let title = self.title(selection, &tree);
        let machine = self.machine();
        match export {
            CallExport::Collapsed => Ok(collapsed::write(&folded(), selection.metric, machine)),
            CallExport::FlameGraph => {
                flame_graph::write(&folded(), selection.metric, machine, &title)
            }
            CallExport::Callgrind => {
                let mut events = Metric::of(machine, self.report.known());
                events.retain(|&metric| metric != selection.metric);
                events.insert(0, selection.metric);
                Ok(callgrind::write(&folded(), &events, machine, &title))
            }
            CallExport::Firefox => {
                let source = self.report.provenance.title();
                firefox::write(&folded(), selection.metric, machine, source)
            }
            CallExport::Dot => Ok(dot::write(&tree, selection, machine, &title)),
        }
    }

    /// The part of the tree that is asked for, before pruning.
    fn selected(&self, selection: &CallSelection) -> Result<CallTree, Error> {
        selection.metric.check(self.machine(), self.report.known())?;
        let mut tree = match &selection.root {
            Some(root) => self.rooted(root)?,
            None => self.tree.clone(),
        };
        if !selection.layers.is_empty() {
            tree = tree.of_layers(&selection.layers);
        }
        if tree.nodes().is_empty() {
            let layers: Vec<_> = selection.layers.iter().map(ToString::to_string).collect();
            let what = if layers.is_empty() {
                "call paths in what was replayed".to_owned()
            } else {
                format!("call paths in layer {}", layers.join(" or "))
            };
            return Err(Error::NothingSelected { what });
        }
        Ok(tree)
    }

    /// The paths from the functions called `root`, given as `function` or `layer:function`.
    fn rooted(&self, root: &str) -> Result<CallTree, Error> {
        // Names of C++ and Rust have colons too: what is before the first is a layer or is not.
        let split = root.split_once(':').and_then(|(head, name)| {
            let layer: Layer = head.parse().ok()?;
            Some((Some(layer), name))
        });
        let (layer, name) = split.unwrap_or((None, root));
        let of_layer = |function: &Function| layer.is_none_or(|layer| layer == function.layer);
        let tree = self.tree.rooted_at(|function| of_layer(function) && name_of(function) == name);
        if tree.nodes().is_empty() {
            let names = self.tree.functions().iter().filter(|f| of_layer(f)).map(name_of);
            let what_to_do = if names.clone().all(|name| name == UNNAMED) {
                "nothing that was replayed has a name; give the capture folder, with its symbols, \
                 and leave out --no-symbols"
                    .to_owned()
            } else {
                did_you_mean(&near_names(name, names))
                    .unwrap_or("`strata replay --by function --top all` tells what ran".to_owned())
            };
            return Err(Error::UnknownFunction { given: root.to_owned(), what_to_do });
        }
        Ok(tree)
    }

    fn machine(&self) -> &Machine {
        &self.report.profile.machine
    }

    /// What a figure shows, in a line.
    fn title(&self, selection: &CallSelection, shown: &CallTree) -> String {
        let machine = self.machine();
        let source = self.report.provenance.title();
        let amount = crate::numbers::grouped(selection.metric.value(&shown.total(), machine));
        let of = selection.scope().map_or_else(String::new, |scope| format!(" {scope}"));
        format!("{source}: {amount} {}{of}, machine {}", selection.metric.title(), machine.name())
    }
}

/// What stands for a function without a name.
const UNNAMED: &str = "unknown";

/// The function's name, without its layer.
fn name_of(function: &Function) -> &str {
    function.name.as_ref().map_or(UNNAMED, |name| name.function.as_str())
}

/// `layer:function`.
fn label_of(function: &Function) -> String {
    format!("{}:{}", function.layer, name_of(function))
}

/// The module, if it is known.
fn module_of(function: &Function) -> Option<&str> {
    function.name.as_ref().map(|name| name.module.as_str())
}

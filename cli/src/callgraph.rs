//! `strata callgraph`: what every path of calls costs.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::replayed_args::{CountedArgs, ReplayedArgs};
use crate::replaying::Traced;
use crate::talk::TalkArgs;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use strata_results::{CallExport, CallGraphReport, CallSelection, CallsBy, Metric};
use strata_sim::CallGraph;
use strata_symbols::Layer;

/// Says what every path of calls costs, by itself and with all that it calls, over all layers.
///
/// Numbers of instructions may end in k, M or G (thousands, millions, billions).
#[derive(Debug, clap::Args)]
pub(crate) struct CallgraphArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// What costs are measured in, and rows sorted by
    #[arg(long, value_name = "NAME", default_value = "instructions", value_parser = names(Metric::all().into_iter().map(Metric::name)).try_map(|name| name.parse::<Metric>()))]
    metric: Metric,
    /// What a row stands for
    #[arg(long, default_value = "path", conflicts_with = "export", value_parser = names(CallsBy::ALL.map(CallsBy::name)).try_map(|name| name.parse::<CallsBy>()))]
    by: CallsBy,
    /// Count only what happened in this layer (hypervisor, dom0-kernel, dom1-user, idle, …), with the paths that led there; may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// Count only what this function does and calls, as if nothing were below it; as FUNCTION or LAYER:FUNCTION
    #[arg(long, value_name = "FUNCTION")]
    root: Option<String>,
    /// Leave out what is less, with all that it calls, in per cent of what is counted [default: 1 in a table or graph, else 0]
    #[arg(long, value_name = "PERCENT", value_parser = quantity::percent)]
    min_share: Option<f64>,
    /// Rows to show, those of the largest cost, or `all` [default: 100 in a table, 60 in a graph, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// Frames of a path to show, from the outermost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Write for another tool: collapsed stacks, a flame graph as SVG, callgrind's format, a Firefox profile, or a graph for Graphviz
    #[arg(long, value_name = "TOOL", conflicts_with = "format", value_parser = names(CallExport::ALL.map(CallExport::name)).try_map(|name| name.parse::<CallExport>()))]
    export: Option<CallExport>,
    #[command(flatten)]
    counted: CountedArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Rows of a tree that still read well.
const ROWS: usize = 100;
/// Boxes of a graph that do.
const BOXES: usize = 60;
/// Least share of either, in per cent.
const SHARE: f64 = 1.0;

fn names(names: impl IntoIterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed, or the result not be written.
pub(crate) fn run(args: CallgraphArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let replaying = args.counted.apply(args.replayed.replaying(args.talk)?);
    let is_table = args.export.is_none() && args.format == TableFormat::Table;
    let is_graph = args.export == Some(CallExport::Dot);
    let default_share = if is_table || is_graph { SHARE } else { 0.0 };
    let default_top = is_table.then_some(ROWS).or(is_graph.then_some(BOXES));
    let selection = CallSelection {
        by: args.by,
        metric: args.metric,
        layers: args.layer,
        root: args.root,
        min_share: args.min_share.unwrap_or(default_share),
        top: args.top.map_or(default_top, |limit| limit.0),
        depth: args.depth,
    };
    let input = args.replayed.open()?;
    let Traced { tracer, record, report } = replaying.trace(&input, CallGraph::new())?;
    let tree = tracer.into_tree(&record.paths, &record.functions);
    tree.check(&report.profile.total)?;
    let graph = CallGraphReport { tree, returns: record.returns, report };
    args.output.put(match (args.export, args.format) {
        (Some(export), _) => Written::Text(graph.export(export, &selection)?),
        (None, TableFormat::Table) => Written::Text(graph.to_text(&selection)?),
        (None, TableFormat::Csv) => Written::Csv(graph.to_table(&selection)?),
        (None, TableFormat::Json) => Written::Text(graph.to_json(&selection)?),
        (None, TableFormat::Parquet) => Written::Parquet(graph.to_table(&selection)?),
    })
}

//! `strata flow`: functions in order between two of them.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::replayed_args::{NamesArgs, ReplayedArgs};
use crate::replaying::Traced;
use crate::talk::TalkArgs;
use anyhow::bail;
use clap::ArgGroup;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use strata_results::FlowReport;
use strata_sim::{
    Annotation, Attribution, Flow, FlowQuery, FlowSelection, Kept, Names, Stage, Trigger,
};
use strata_symbols::Layer;

/// Tells which functions are entered between two of them, with instruction counts (VEE'07, Figures
/// 7 to 10).
///
/// A function is FUNCTION or LAYER:FUNCTION, in which * stands for anything and domU for every domain but 0:
/// tcp_sendmsg, dom0-kernel:netif_*, domU-kernel:tcp_*.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("beginning").args(["from", "stage"]).required(true)))]
pub(crate) struct FlowArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// Begin when this is entered
    #[arg(long, value_name = "FUNCTION", requires = "to")]
    from: Option<Trigger>,
    /// End when this is entered
    #[arg(long, value_name = "FUNCTION", requires = "from")]
    to: Option<Trigger>,
    /// End only after this was entered too; repeated, in this order
    #[arg(long, value_name = "FUNCTION", requires = "from")]
    via: Vec<Trigger>,
    /// Begin with the last --from before what follows it, instead of the first
    #[arg(long, requires = "from")]
    latest: bool,
    /// A built-in flow: a stage of a packet's way out of a guest
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "to", "via", "latest"], value_parser = stages())]
    stage: Option<Stage>,
    /// Which flow of its kind, 1-based
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    nth: u64,
    /// Rows after which a flow counts as never ending
    #[arg(long, value_name = "N", default_value = "1M", value_parser = quantity::quantity)]
    limit: u64,
    /// Leave out what repeats
    #[arg(long)]
    collapse_repeats: bool,
    /// Show this layer only (hypervisor, dom0-kernel, dom1-user, idle, …); may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// Show this CPU of the trace only; may be repeated
    #[arg(long, value_name = "CPU")]
    cpu: Vec<u16>,
    /// Show functions at most this many calls above the first one
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Rows to show, or `all` [default: 200 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    #[command(flatten)]
    names: NamesArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 200;

fn stages() -> impl TypedValueParser<Value = Stage> {
    PossibleValuesParser::new(Stage::ALL.map(Stage::name)).try_map(|name| name.parse::<Stage>())
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed, a function never be entered, the flow never end, or the
/// result not be written.
pub(crate) fn run(args: FlowArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let query = match (args.stage, args.from) {
        (Some(stage), _) => stage.query(args.nth, args.limit),
        (None, Some(from)) => FlowQuery {
            from,
            via: args.via,
            to: args.to,
            nth: args.nth,
            latest: args.latest,
            limit: args.limit,
        },
        (None, None) => bail!("a flow needs --from and --to, or --stage"),
    };
    let replaying = args.names.apply(args.replayed.replaying(args.talk)?);
    let input = args.replayed.open()?;
    let tracer = Annotation::new(Attribution::UntilNext, Kept::Instructions)?;
    let Traced { tracer, record, report } = replaying.trace(&input, tracer)?;
    if !report.known().instructions() {
        bail!("{}: the trace has no instructions, so that no function is entered", input.place());
    }
    let entries = tracer.finish()?;
    let names = Names::new(record.paths, record.functions);
    let found = query.find(&entries, &names)?;
    let selection = FlowSelection {
        layers: args.layer,
        cpus: args.cpu,
        depth: args.depth,
        collapse: args.collapse_repeats,
    };
    let flow = Flow::new(&found, &entries, &names, &selection)?;
    if flow.elided > 0 {
        args.talk.note(&format!("{} rows left out as repetitions", flow.elided));
    }
    let ambiguous = found.ambiguous;
    if args.format != TableFormat::Table {
        ambiguous.iter().for_each(|sentence| args.talk.note(sentence));
    }
    let report = FlowReport {
        report,
        flow,
        names,
        returns: record.returns,
        query,
        stage: args.stage,
        ambiguous,
    };
    let default_top = (args.format == TableFormat::Table).then_some(TABLE_ROWS);
    let top = args.top.map_or(default_top, |limit| limit.0);
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(report.to_text(top)),
        TableFormat::Csv => Written::Csv(report.to_table(top)),
        TableFormat::Json => Written::Text(report.to_json(top)?),
        TableFormat::Parquet => Written::Parquet(report.to_table(top)),
    })
}

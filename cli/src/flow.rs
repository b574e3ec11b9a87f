//! `strata flow`: functions in order between two of them.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit, Span};
use crate::replaying::{Replaying, Traced};
use crate::talk::TalkArgs;
use anyhow::bail;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
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
pub(crate) struct FlowArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// Begin when this is entered
    #[arg(long, value_name = "FUNCTION", required_unless_present = "stage", requires = "to")]
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
    /// Show functions at most this many calls above the first one
    #[arg(long, value_name = "N")]
    depth: Option<u32>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Rows to show, or `all` [default: 200 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// Instructions to replay, as in 5M..20M, 5M.. or ..20M
    #[arg(long, value_name = "A..B", value_parser = quantity::span)]
    range: Option<Span>,
    /// Replay without names
    #[arg(long)]
    no_symbols: bool,
    /// Replay what is whole of a trace that ends early
    #[arg(long)]
    allow_truncated: bool,
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
    let replaying = Replaying {
        machine: args.machine.load()?,
        span: args.range.unwrap_or(Span { from: 0, to: None }),
        warm_up: 0,
        symbols: !args.no_symbols,
        allow_truncated: args.allow_truncated,
        classify: false,
        data: None,
        talk: args.talk,
    };
    let input = CaptureInput::open(&args.capture)?;
    let tracer = Annotation::new(Attribution::UntilNext, Kept::Instructions)?;
    let Traced { tracer, record, report } = replaying.trace(&input, tracer)?;
    if !report.known().instructions() {
        bail!("{}: the trace has no instructions, so that no function is entered", input.place());
    }
    let entries = tracer.finish()?;
    let names = Names::new(record.paths, record.functions);
    let found = query.find(&entries, &names)?;
    let selection =
        FlowSelection { layers: args.layer, depth: args.depth, collapse: args.collapse_repeats };
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

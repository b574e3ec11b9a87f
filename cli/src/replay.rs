//! `strata replay`: who causes which misses.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::output_args::OutputArgs;
use crate::quantity::{self, RowLimit, Span};
use crate::replaying::Replaying;
use crate::talk::TalkArgs;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use strata_results::{By, Figure, Selection, SortKey};
use strata_symbols::Layer;

/// Replays a capture through caches and TLBs and says who missed what.
///
/// Numbers of instructions may end in k, M or G (thousands, millions, billions).
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// What a row stands for
    #[arg(long, value_parser = names(By::ALL.map(By::name)).try_map(|name| name.parse::<By>()), default_value = "function")]
    by: By,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Rows to show, or `all`; the rest is summed into one row [default: 40 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// What rows are sorted by, the largest first
    #[arg(long, value_name = "KEY", default_value = "instructions", value_parser = PossibleValuesParser::new(SortKey::all().into_iter().map(SortKey::name)).try_map(|name| name.parse::<SortKey>()))]
    sort: SortKey,
    /// Show this layer only (hypervisor, dom0-kernel, dom1-user, idle, …); may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// What a table tells of each cache and TLB, separated by commas [default: misses, and mpki by layer]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = names(Figure::ALL.map(Figure::name)).try_map(|name| name.parse::<Figure>()))]
    columns: Vec<Figure>,
    /// Instructions to replay, as in 5M..20M, 5M.. or ..20M; caches are cold at its start
    #[arg(long, value_name = "A..B", value_parser = quantity::span)]
    range: Option<Span>,
    /// Instructions at the start that warm the caches and are not counted
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity::quantity)]
    warm_up: u64,
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

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One row for each group, units in the header
    Csv,
    /// One object
    Json,
}

/// Rows of a table that still read well.
const TABLE_ROWS: usize = 40;

fn names<const N: usize>(names: [&'static str; N]) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed or the result not be written.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<()> {
    args.output.check()?;
    let replaying = Replaying {
        machine: args.machine.load()?,
        span: args.range.unwrap_or(Span { from: 0, to: None }),
        warm_up: args.warm_up,
        symbols: !args.no_symbols,
        allow_truncated: args.allow_truncated,
        talk: args.talk,
    };
    let report = replaying.run(&CaptureInput::open(&args.capture)?)?;
    let default_top = (args.format == Format::Table).then_some(TABLE_ROWS);
    let selection = Selection {
        by: args.by,
        sort: args.sort,
        top: args.top.map_or(default_top, |limit| limit.0),
        layers: args.layer,
    };
    let text = match args.format {
        Format::Table => {
            let fitting = Figure::fitting(args.by);
            let columns = if args.columns.is_empty() { fitting } else { &args.columns };
            report.to_text(selection, columns)
        }
        Format::Csv => report.to_csv(selection)?,
        Format::Json => report.to_json(selection)?,
    };
    args.output.write(&text)
}

//! `strata timeline`: misses over instructions retired, and the events that they follow.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::output_args::OutputArgs;
use crate::quantity::{self, RowLimit, Span};
use crate::replaying::Replaying;
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::ValueEnum;
use std::path::PathBuf;
use strata_results::{OutputFolder, TimelineFigures, TimelineReport, TimelineRows};
use strata_sim::{MOST_WINDOWS, MarkKind, TimelineOptions};

/// Tells misses over instructions retired, with switches and flushes (VEE'07, Figures 11 and 12).
///
/// Also what follows each kind of event on average, and how misses go with it. Numbers of
/// instructions may end in k, M or G. Kinds of events: vm-switch, cr3-write, tlb-flush, invlpg,
/// grant-map, grant-unmap, grant-copy, interrupt, exception, hypercall, syscall, event-send,
/// vm-entry, vm-exit, gap.
#[derive(Debug, clap::Args)]
pub(crate) struct TimelineArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// Instructions in a window
    #[arg(long, value_name = "N", default_value = "50k", value_parser = length)]
    window: u64,
    /// Kinds of events to mark, separated by commas
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        default_value = "vm-switch,cr3-write,tlb-flush,grant-map,grant-unmap",
        value_parser = str::parse::<MarkKind>
    )]
    marks: Vec<MarkKind>,
    /// Instructions after an event to average over; a multiple of --bin
    #[arg(long, value_name = "N", default_value = "10k", value_parser = length)]
    after: u64,
    /// Instructions in a bin of that average
    #[arg(long, value_name = "N", default_value = "500", value_parser = length)]
    bin: u64,
    /// Instructions after an event that count as near to it
    #[arg(long, value_name = "N", default_value = "2k", value_parser = length)]
    near: u64,
    /// Instructions in a bin of Pearson's correlation
    #[arg(long, value_name = "N", default_value = "10k", value_parser = length)]
    correlation_bin: u64,
    /// Draw figures into this folder, each as SVG, PNG and CSV
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
    /// Instructions that the figures over time show, as in 5M..6M
    #[arg(long, value_name = "A..B", value_parser = quantity::span, requires = "figures")]
    show: Option<Span>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which rows CSV has
    #[arg(long, value_enum, default_value_t = Rows::Windows)]
    rows: Rows,
    /// Windows in a table, or `all`
    #[arg(long, value_name = "N", default_value = "40", value_parser = quantity::rows)]
    top: RowLimit,
    /// Instructions to replay, as in 5M..20M, 5M.. or ..20M; caches are cold at its start
    #[arg(long, value_name = "A..B", value_parser = quantity::span)]
    range: Option<Span>,
    /// Instructions at the start that warm the caches and are not counted
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity::quantity)]
    warm_up: u64,
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
    /// The rows that --rows names
    Csv,
    /// One object
    Json,
}

/// A table of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// Misses of each window, and up to its end
    Windows,
    /// Misses of each window by layer
    Layers,
    /// Each event
    Marks,
    /// Misses by distance from events of each kind
    After,
    /// How misses go with events of each kind
    Correlation,
}

/// A number of instructions above zero.
fn length(text: &str) -> Result<u64, String> {
    match quantity::quantity(text)? {
        0 => Err("a length of 0 instructions has nothing in it; give 1 or more".to_owned()),
        length => Ok(length),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed, a length makes no timeline, or the result not be written.
pub(crate) fn run(args: TimelineArgs) -> anyhow::Result<()> {
    args.output.check()?;
    let mut folder = args.figures.as_deref().map(OutputFolder::open).transpose()?;
    let options = TimelineOptions {
        window: args.window,
        marks: args.marks,
        after: args.after,
        bin: args.bin,
        near: args.near,
        correlation_bin: args.correlation_bin,
    };
    let replaying = Replaying {
        threads: None,
        machine: args.machine.load()?,
        span: args.range.unwrap_or(Span { from: 0, to: None }),
        warm_up: args.warm_up,
        symbols: false,
        allow_truncated: args.allow_truncated,
        classify: false,
        data: None,
        talk: args.talk,
    };
    let input = CaptureInput::open(&args.capture)?;
    // Known beforehand, it saves a long replay.
    let end = replaying.span.to.or_else(|| input.expected_instructions());
    let length = end.map_or(0, |end| end.saturating_sub(replaying.span.from));
    if length.div_ceil(args.window) > MOST_WINDOWS && input.expected_instructions().is_some() {
        bail!(
            "--window {}: {length} instructions make more than {MOST_WINDOWS} windows of it; give \
             a longer one",
            args.window
        );
    }
    let report = replaying.run_over_time(&input, options)?;
    if !report.known().instructions() {
        bail!("{}: the trace has no instructions, over which misses could be told", input.place());
    }
    let report = TimelineReport::new(report).context("a replay over time notes a timeline")?;
    if let Some(folder) = &mut folder {
        let figures = match args.show {
            None => TimelineFigures::whole(),
            Some(Span { from, to }) => TimelineFigures { show: from..to.unwrap_or(u64::MAX) },
        };
        report.write_figures(&figures, folder)?;
    }
    let text = match args.format {
        Format::Table => report.to_text(args.top.0),
        Format::Csv => report.to_csv(match args.rows {
            Rows::Windows => TimelineRows::Windows,
            Rows::Layers => TimelineRows::Layers,
            Rows::Marks => TimelineRows::Marks,
            Rows::After => TimelineRows::After,
            Rows::Correlation => TimelineRows::Correlation,
        })?,
        Format::Json => report.to_json()?,
    };
    if let Some((folder, path)) = folder.zip(args.figures) {
        let names = folder.commit()?;
        args.talk.note(&format!("drew {} files in {}", names.len(), path.display()));
    }
    args.output.write(&text)
}

//! `strata sweep`: many machines at once.

use crate::capture_input::CaptureInput;
use crate::machine_args::machine_help;
use crate::output_args::{OutputArgs, TableFormat};
use crate::quantity::{self, Span};
use crate::sweep_figure::SweepFigureArgs;
use crate::sweep_rows::RowWriter;
use crate::sweeping::SweepUnderWay;
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use std::path::PathBuf;
use strata_cachemodel::Machine;
use strata_results::{Provenance, SweepFolder, SweepReport, Symbols};
use strata_sim::{Extent, SweepAxis, SweepGrid};

/// Points beyond which a sweep is taken for a slip.
const MANY_POINTS: u64 = 1000;

/// Replays a capture on many machines at once and counts for each what a replay of it alone would
/// (VEE'07, Figures 13 to 17).
///
/// VALUES is a list (1,2,4) or a range A..B, which stands for the powers of two from A to B. Several
/// options make a grid of all combinations.
#[derive(Debug, clap::Args)]
pub(crate) struct SweepArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    #[arg(long, value_name = "NAME|FILE", default_value = "vee07", help = machine_help())]
    machine: String,
    /// Sizes of the L2, as in 512KiB..32MiB
    #[arg(long, value_name = "VALUES", value_parser = SweepAxis::l2_sizes)]
    l2_size: Option<SweepAxis>,
    /// Entries of ITLB and DTLB, each fully associative, as in 16..1024
    #[arg(long, value_name = "VALUES", value_parser = SweepAxis::tlb_entries)]
    tlb_entries: Option<SweepAxis>,
    /// What TLB entries are tagged with: none, architectural, and global-hypervisor, vpid, pcid, joined by +
    #[arg(long, value_name = "LIST", value_parser = SweepAxis::tags)]
    tags: Option<SweepAxis>,
    /// Any parameter of the machine, as in l1d.ways=1,2,4,8; one value sets it; may be repeated
    #[arg(long, value_name = "KEY=VALUES", value_parser = SweepAxis::set)]
    set: Vec<SweepAxis>,
    /// Sweep more than 1000 points
    #[arg(long)]
    yes: bool,
    /// Keep every point in this folder as soon as it is counted
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Take the points that the folder has and count the others
    #[arg(long, requires = "folder")]
    resume: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Instructions to replay, as in 5M..20M, 2.5M.. or ..20M; caches are cold at its start
    #[arg(long, value_name = "A..B", value_parser = quantity::span)]
    range: Option<Span>,
    /// Instructions at the start that warm the caches and are not counted
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity::quantity)]
    warm_up: u64,
    /// Replay what is whole of a trace that ends early
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    figure: SweepFigureArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If a machine cannot exist, the capture not be replayed, or a result not be written.
pub(crate) fn run(args: SweepArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let Span { from, to } = args.range.unwrap_or(Span { from: 0, to: None });
    let (fixed, swept): (Vec<_>, Vec<_>) =
        args.set.into_iter().partition(|axis| axis.values().len() == 1);
    let pairs = fixed.iter().flat_map(|axis| axis.keys().zip(axis.values()));
    let pairs = pairs.map(|(key, value)| (key, value.as_str()));
    let base = Machine::load(&args.machine)?.with_overrides(pairs)?;
    let axes: Vec<SweepAxis> =
        [args.l2_size, args.tlb_entries, args.tags].into_iter().flatten().chain(swept).collect();
    if axes.is_empty() {
        bail!(
            "nothing is swept: give --l2-size, --tlb-entries, --tags, or --set with several \
             values, such as --set l1d.ways=1,2,4,8"
        );
    }
    let grid = SweepGrid::new(axes)?;
    if grid.points() > MANY_POINTS && !args.yes {
        let counts: Vec<String> =
            grid.axes().iter().map(|axis| axis.values().len().to_string()).collect();
        bail!(
            "{} points ({}) are many; sweep fewer values, or confirm with --yes",
            grid.points(),
            counts.join(" × ")
        );
    }
    let points = grid.machines(&base)?;
    let input = CaptureInput::open(&args.capture)?;
    let folder = match &args.folder {
        Some(path) => {
            let ending = input.ending().with_context(|| {
                format!(
                    "{}: points are kept under the hash at a trace's end, which this one does not \
                     have or which cannot be sought; sweep without --folder",
                    input.place()
                )
            })?;
            let folder = SweepFolder::open(path, ending.hash_text(), args.resume)?;
            Some(folder.of_part(from, to, args.warm_up))
        }
        None => None,
    };
    let report = SweepReport {
        machine: base,
        axes: grid.axes().to_vec(),
        provenance: Provenance {
            source: input.name.clone(),
            from,
            to,
            warm_up: args.warm_up,
            manifest: input.folder.as_ref().map(|(_, manifest)| manifest.clone()),
            // No row has a name.
            symbols: Symbols::Used { complaints: Vec::new() },
            ..Provenance::default()
        },
    };
    let figure_axis = args.figure.check(&report, &args.output)?;
    let streams = matches!(args.format, TableFormat::Table | TableFormat::Csv)
        && args.output.file().is_none();
    let writer = RowWriter::new(report, args.format, streams);
    let mut sweep = SweepUnderWay {
        input,
        points,
        folder,
        extent: Extent { range: from..to.unwrap_or(u64::MAX), warm_up: args.warm_up },
        allow_truncated: args.allow_truncated,
        talk: args.talk,
        writer,
    };
    sweep.count_all()?;
    let (report, rows) = sweep.writer.end(&args.output)?;
    // The result is there before anything can go wrong with its figure.
    match figure_axis {
        Some(over) => args.figure.draw(&report.figure(&over, &rows)?, args.talk),
        None => Ok(()),
    }
}

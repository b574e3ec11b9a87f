//! `strata sample`: a statistical profile beside the exact one.

use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::quantity::{self, RowLimit};
use crate::replayed_args::{CountedArgs, ReplayedArgs};
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use strata_results::{By, HardwareProfile, Metric, SampleReport, SampleSelection, Structure};
use strata_sim::{SampledEvent, SamplingOptions};
use strata_symbols::Layer;

/// Takes every N-th event as hardware counters would, and says how far that is from the exact counts.
///
/// Numbers of events and instructions may end in k, M or G (thousands, millions, billions).
#[derive(Debug, clap::Args)]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// What is counted down between samples
    #[arg(long, value_name = "NAME", default_value = "instructions", value_parser = PossibleValuesParser::new(events().map(Metric::name)).try_map(|name| name.parse::<Metric>()))]
    event: Metric,
    /// Events from one sample to the next [default: 10k; 100 of misses]
    #[arg(long, value_name = "N", value_parser = quantity::quantity)]
    every: Option<u64>,
    /// Instructions between an event and its being noticed
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity::quantity)]
    skid: u64,
    /// Take intervals at random, of the same length on average, from numbers that begin with SEED
    #[arg(long, value_name = "SEED")]
    random: Option<u64>,
    /// What a row stands for
    #[arg(long, default_value = "function", value_parser = PossibleValuesParser::new(["layer", "module", "function"]).try_map(|name| name.parse::<By>()))]
    by: By,
    /// Show only this layer (hypervisor, dom0-kernel, dom1-user, idle, …); may be repeated
    #[arg(long, value_name = "LAYER")]
    layer: Vec<Layer>,
    /// Rows to show, those with the most samples, or `all` [default: 30 in a table, else all]
    #[arg(long, value_name = "N", value_parser = quantity::rows)]
    top: Option<RowLimit>,
    /// Show a profile of real hardware beside it: the text that `perf report --stdio` or `opreport -l` printed
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    counted: CountedArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Rows of a table that still read well.
const ROWS: usize = 30;

/// What can be counted down.
fn events() -> impl Iterator<Item = Metric> {
    Metric::all().into_iter().filter(|metric| sampled(*metric).is_some())
}

fn sampled(metric: Metric) -> Option<SampledEvent> {
    match metric {
        Metric::Instructions => Some(SampledEvent::Instructions),
        Metric::Misses(structure) => Some(SampledEvent::Misses(structure as usize)),
        Metric::Cycles => Some(SampledEvent::Cycles),
        _ => None,
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed, samples cannot be taken, or the result not be written.
pub(crate) fn run(args: SampleArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let hardware = args.against.as_ref().map(|path| {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("{name}: cannot be read"))?;
        HardwareProfile::parse(&String::from_utf8_lossy(&bytes), &name).map_err(anyhow::Error::from)
    });
    let hardware = hardware.transpose()?;
    let replaying = args.counted.apply(args.replayed.replaying(args.talk)?);
    if let Metric::Misses(structure) = args.event
        && !Structure::of(&replaying.machine).contains(&structure)
    {
        bail!(
            "--event {}: the machine {} has no {}; take another event or machine",
            args.event.name(),
            replaying.machine.name(),
            structure.label()
        );
    }
    let Some(event) = sampled(args.event) else { bail!("{} is no event", args.event.name()) };
    let usual = if matches!(args.event, Metric::Misses(_)) { 100 } else { 10_000 };
    let options = SamplingOptions {
        event,
        every: args.every.unwrap_or(usual),
        skid: args.skid,
        random: args.random,
    };
    let input = args.replayed.open()?;
    let report = replaying.run_sampled(&input, options)?;
    let is_table = args.format == TableFormat::Table;
    let selection = SampleSelection {
        by: args.by,
        top: args.top.map_or(is_table.then_some(ROWS), |limit| limit.0),
        layers: args.layer,
    };
    let report = SampleReport::new(report, args.event.name(), selection, hardware)?;
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(report.to_text()),
        TableFormat::Csv => Written::Csv(report.to_table()),
        TableFormat::Json => Written::Text(report.to_json()?),
        TableFormat::Parquet => Written::Parquet(report.to_table()),
    })
}

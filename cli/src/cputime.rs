//! `strata cputime`: time by category.

use crate::event_trace::{self, formats};
use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::replayed_args::ReplayedArgs;
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use strata_exits::{Account, Accounting, Format, Source, VcpuTime};
use strata_results::{Categories, CategoriesOf, CpuTimeResult, CpuTimeSource, Metric};

/// Tells which share of the time, or of the instructions, is of which category.
///
/// Categories are named by a rules file, two levels deep: shares of the total, and of a category
/// that has parts (VMware, Table 2). Rules of exits split the time of vCPUs in an event trace, rules
/// of code the instructions or estimated cycles of a capture, which is replayed, or of the
/// JSON of `strata replay`. CAPTURE is any of these.
#[derive(Debug, clap::Args)]
pub(crate) struct CputimeArgs {
    #[command(flatten)]
    replayed: ReplayedArgs,
    /// Rules in TOML
    #[arg(long, value_name = "FILE")]
    categories: PathBuf,
    /// Format of an event trace [default: found by its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    from: Option<Format>,
    /// What of a capture is summed [default: instructions]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(["instructions", "cycles"]).try_map(|name| name.parse::<Metric>()))]
    metric: Option<Metric>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If the rules or the input cannot be read, or the result not be written.
pub(crate) fn run(args: CputimeArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let path = &args.categories;
    let text = fs::read_to_string(path)
        .with_context(|| format!("{}: cannot be read; rules are TOML as UTF-8", path.display()))?;
    let categories = Categories::parse(&text, path)?;
    let result = match categories.of() {
        CategoriesOf::Exits => of_time(&args, &categories)?,
        CategoriesOf::Code => of_code(&args, &categories)?,
    };
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(result.to_text()),
        TableFormat::Csv => Written::Csv(result.to_table()),
        TableFormat::Json => Written::Text(result.to_json()?),
        TableFormat::Parquet => Written::Parquet(result.to_table()),
    })
}

fn of_time(args: &CputimeArgs, categories: &Categories) -> anyhow::Result<CpuTimeResult> {
    let replayed = &args.replayed;
    if args.metric.is_some() || replayed.range.is_some() {
        bail!("--metric and --range go with rules that say of = \"code\"");
    }
    let mut trace = event_trace::open(&replayed.capture, args.from, replayed.allow_truncated)?;
    let mut account = Account::new(Accounting::default())?;
    let mut time = VcpuTime::new(categories.asks_for_addresses());
    while let Some(event) = trace.source.next_event().with_context(|| trace.name.clone())? {
        let interval = account.event(&event);
        time.event(&event, interval.as_ref());
    }
    trace.check_end()?;
    let report = account.finish(&trace.source).with_context(|| trace.name.clone())?;
    let slices = time.finish(&report, &trace.source);
    let source = CpuTimeSource {
        name: trace.name.clone(),
        format: trace.source.format().name(),
        trace_hash: trace.hash(),
        patches: trace.patches.clone(),
        coverage: Some(report.coverage),
        ..CpuTimeSource::default()
    };
    Ok(CpuTimeResult::of_time(&slices, categories, source)?)
}

fn of_code(args: &CputimeArgs, categories: &Categories) -> anyhow::Result<CpuTimeResult> {
    if args.from.is_some() {
        bail!("--from goes with rules that say of = \"exits\"; a capture needs none");
    }
    let metric = args.metric.unwrap_or_default();
    let path = &args.replayed.capture;
    if is_json(path) {
        if args.replayed.range.is_some() {
            bail!("--range goes with a capture; {} is a result of one", path.display());
        }
        return Ok(CpuTimeResult::of_replay_file(path, metric, categories)?);
    }
    let replaying = args.replayed.replaying(args.talk)?;
    let report = replaying.run(&args.replayed.open()?)?;
    let provenance = &report.provenance;
    let source = CpuTimeSource {
        name: provenance.source.clone(),
        format: Format::Native.name(),
        trace_hash: provenance.trace_hash.clone(),
        patches: provenance.patches().to_vec(),
        ..CpuTimeSource::default()
    };
    Ok(CpuTimeResult::of_code(&report, metric, categories, source)?)
}

/// Whether a file begins as JSON does. What cannot be read is told where it is opened.
fn is_json(path: &Path) -> bool {
    let mut first = [0];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
    path.is_file() && read.is_ok() && first == *b"{"
}

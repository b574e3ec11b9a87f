//! `strata check`: is a capture sound, and what can be saved of it if not.

use crate::capture_input::CaptureInput;
use crate::output_args::{OutputArgs, TableFormat, Written, print};
use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use strata_results::{CheckResult, salvage_text};
use strata_sim::CaptureNames;
use strata_workloads::trace::{check, salvage};

/// Verifies checksums and the laws a stream must keep; salvages what is whole.
///
/// Exit status 0 means that the trace, and in a capture folder the symbols too, are sound.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    /// Write what is whole as a trace of its own instead of checking
    #[arg(long, value_name = "OUT", conflicts_with_all = ["output", "format"])]
    salvage: Option<PathBuf>,
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
/// If the capture is unsound, or nothing of it can be salvaged.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<()> {
    let input = CaptureInput::open(&args.capture)?;
    if let Some(output) = &args.salvage {
        return save(&input, output);
    }
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let (reader, bytes) = input.reader()?;
    let size = input.trace.as_ref().and_then(|path| path.metadata().ok()).map(|file| file.len());
    let bar = args.talk.progress_in_bytes("checking", size);
    let report = check(reader, |read| bar.set_position(read));
    bar.finish_and_clear();
    let mut report = report.with_context(|| input.place())?;
    report.bytes = bytes.load(Ordering::Relaxed);
    if let Some((folder, manifest)) = &input.folder {
        CaptureNames::open(folder, manifest)?;
    }
    let result = CheckResult { source: input.name.clone(), report };
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(result.to_text()),
        TableFormat::Csv => Written::Csv(result.to_table()),
        TableFormat::Json => Written::Text(result.to_json()?),
        TableFormat::Parquet => Written::Parquet(result.to_table()),
    })?;
    if !result.report.is_sound() {
        bail!(
            "{}: breaks {} of the laws of streams; what is made of it cannot be trusted: record \
             it again",
            input.place(),
            result.report.broken.len()
        );
    }
    Ok(())
}

fn save(input: &CaptureInput, output: &Path) -> anyhow::Result<()> {
    let Some(trace) = &input.trace else {
        bail!("standard input cannot be salvaged: write it to a file first");
    };
    let report = salvage(trace, output).with_context(|| input.place())?;
    print(&salvage_text(&input.place(), &output.display().to_string(), &report))
}

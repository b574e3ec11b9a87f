//! `strata trim`: a small copy of a capture.

use crate::quantity::quantity;
use crate::talk::TalkArgs;
use anyhow::Context;
use std::fs;
use std::path::PathBuf;
use strata_sim::TrimOptions;

/// Copies a capture with only the symbols that its trace uses, and packs the trace tighter.
///
/// The copy answers every look-up that a replay of its trace makes. Program files are replaced by
/// lists of their symbols, with fingerprints of the code that ran. Event traces made inside come
/// along, unless only a part of the trace is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct TrimArgs {
    /// Capture folder
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    /// Folder to make
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Keep only the chunks that begin before this instruction
    #[arg(long, value_name = "N", value_parser = quantity)]
    instructions: Option<u64>,
    /// Compression level of trace and symbols
    #[arg(long, default_value_t = 19, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be read or the copy not be written; nothing is left of it then.
pub(crate) fn run(args: TrimArgs) -> anyhow::Result<()> {
    let out = &args.output;
    if out.exists() {
        anyhow::bail!("{}: exists already; nothing of it was changed", out.display());
    }
    let mut unfinished = out.clone().into_os_string();
    unfinished.push(".partial");
    let unfinished = PathBuf::from(unfinished);
    let options = TrimOptions { level: args.level, instructions: args.instructions };
    let trimmed = strata_sim::trim(&args.capture, &unfinished, &options)
        .map_err(anyhow::Error::from)
        .and_then(|report| {
            fs::rename(&unfinished, out).with_context(|| out.display().to_string())?;
            Ok(report)
        });
    let report = match trimmed {
        Ok(report) => report,
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
    };
    args.talk.note(&format!(
        "{}: {} instructions in {} bytes, symbols in {}",
        out.display(),
        report.trace.totals.instructions,
        report.trace_bytes,
        report.symbol_bytes
    ));
    Ok(())
}

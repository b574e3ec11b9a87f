//! `strata info`: what is in a capture.

use crate::capture_input::{CaptureInput, hex};
use crate::output_args::{OutputArgs, TableFormat, Written};
use crate::talk::TalkArgs;
use anyhow::{Context, anyhow};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use strata_results::{TraceInfo, TraceSurvey};
use strata_sim::for_each_batch;

/// Says what is in a capture: layers, vCPUs, instructions, blocks, pages, events, size.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// Capture folder, trace file, or - for a trace on standard input
    #[arg(value_name = "CAPTURE")]
    capture: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    /// Take a trace that ends early for what is whole of it
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be read or the result not be written.
pub(crate) fn run(args: InfoArgs) -> anyhow::Result<()> {
    args.output.check()?;
    if args.format == TableFormat::Parquet {
        args.output.check_parquet()?;
    }
    let input = CaptureInput::open(&args.capture)?;
    let (reader, bytes) = input.reader()?;
    let (description, lacks) = (reader.description().to_owned(), reader.lacks());
    let expected = if args.talk.shows_progress() { input.expected_instructions() } else { None };
    let bar = args.talk.progress("reading", expected);
    let begin = |state| {
        let mut survey = TraceSurvey::new(state);
        survey.set_lacks(lacks);
        survey
    };
    let result = for_each_batch(reader, begin, |survey, batch| {
        survey.batch(batch);
        bar.set_position(survey.instructions());
        true
    });
    bar.finish_and_clear();
    let (survey, read) = result.with_context(|| input.place())?;
    if let (Some(why), false) = (&read.truncated, args.allow_truncated) {
        return Err(anyhow!("{}: {why}, or --allow-truncated reads it as it is", input.place()));
    }
    let info = TraceInfo {
        source: input.name,
        description,
        trace_hash: hex(&read.hash),
        bytes: bytes.load(Ordering::Relaxed),
        truncated: read.truncated.map(|why| why.to_string()),
        manifest: input.folder.map(|(_, manifest)| manifest),
        lacks,
        contents: survey.finish(),
    };
    args.output.put(match args.format {
        TableFormat::Table => Written::Text(info.to_text()),
        TableFormat::Csv => Written::Csv(info.to_table()),
        TableFormat::Json => Written::Text(info.to_json()?),
        TableFormat::Parquet => Written::Parquet(info.to_table()),
    })
}

//! `strata reproduce`: every table of the bundled capture, one command.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::output_args::print;
use crate::quantity::Span;
use crate::replaying::Replaying;
use crate::sample;
use crate::talk::TalkArgs;
use std::path::PathBuf;
use strata_results::{By, Figure, OutputFolder, ProfileReport, Selection, SortKey, layer_figure};

/// Replays the bundled capture and writes every table.
///
/// The capture is a real one: Xen, dom0 and a guest that sends over the network. Tables by layer,
/// module and function go to a folder, as text, CSV and JSON; a summary is printed. A second run
/// replaces the files of the first and touches no others.
#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// Another capture instead of the bundled one
    #[arg(value_name = "CAPTURE")]
    capture: Option<PathBuf>,
    /// Folder for the tables
    #[arg(short, long, value_name = "DIR", default_value = "strata-report")]
    output: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If the capture cannot be replayed or the folder not be written.
pub(crate) fn run(args: ReproduceArgs) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let unpacked = match &args.capture {
        Some(_) => None,
        None => Some(sample::unpack()?),
    };
    let input = match (&args.capture, &unpacked) {
        (Some(capture), _) => CaptureInput::open(capture)?,
        (None, Some(sample)) => CaptureInput {
            name: "the bundled sample".to_owned(),
            ..CaptureInput::open(sample.path())?
        },
        (None, None) => unreachable!("without a capture the sample was unpacked"),
    };
    let mut folder = OutputFolder::open(&args.output)?;
    let replaying = Replaying {
        threads: None,
        machine,
        span: Span { from: 0, to: None },
        warm_up: 0,
        symbols: true,
        allow_truncated: false,
        classify: false,
        data: None,
        talk: args.talk,
    };
    let report = replaying.run(&input)?;
    let summary = report.to_summary();
    folder.write("summary.txt", summary.as_bytes())?;
    write_tables(&report, &mut folder)?;
    let figure = layer_figure(&report.profile, "Who runs, and who misses: share of each layer")?;
    folder.write("layers.svg", figure.as_bytes())?;
    let files = folder.commit()?;
    print(&summary)?;
    args.talk.note(&format!("{} files in {}/", files.len(), args.output.display()));
    Ok(())
}

fn write_tables(report: &ProfileReport, folder: &mut OutputFolder) -> anyhow::Result<()> {
    for (by, name) in [(By::Layer, "layers"), (By::Module, "modules"), (By::Function, "functions")]
    {
        let all = || Selection { by, sort: SortKey::Instructions, top: None, layers: Vec::new() };
        let text = report.to_text(all(), &[Figure::Hits, Figure::Misses, Figure::Mpki]);
        folder.write(&format!("{name}.txt"), text.as_bytes())?;
        folder.write(&format!("{name}.csv"), report.to_csv(all())?.as_bytes())?;
        folder.write(&format!("{name}.json"), report.to_json(all())?.as_bytes())?;
    }
    Ok(())
}

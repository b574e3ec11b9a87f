//! `strata reproduce`: every figure and table of the paper, one command.

use crate::capture_input::CaptureInput;
use crate::machine_args::MachineArgs;
use crate::output_args::print;
use crate::reproducing::{Reproducing, is_receiving};
use crate::sample;
use crate::talk::TalkArgs;
use anyhow::bail;
use std::path::{Path, PathBuf};
use strata_results::{
    By, Figure, OutputFolder, PaperReport, ProfileReport, Selection, SortKey, Verdict, layer_figure,
};
use tempfile::TempDir;

/// Draws every figure of the paper from the bundled captures, with all tables and one page.
///
/// The captures are real ones: Xen, dom0 and a guest that sends over the network, and one that
/// receives. The folder then has report.html, which needs nothing else; figures/ with each as SVG,
/// PNG and CSV; and tables by layer, module and function as text, CSV and JSON. A summary is printed.
/// A second run replaces the files of the first and touches no others.
#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// Another capture instead of the bundled one that sends
    #[arg(value_name = "CAPTURE")]
    capture: Option<PathBuf>,
    /// A capture of a guest that receives, for Figures 15 and 16
    #[arg(long, value_name = "CAPTURE")]
    receive: Option<PathBuf>,
    /// Folder for page, figures and tables
    #[arg(short, long, value_name = "DIR", default_value = "strata-report")]
    output: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// Replay what is whole of a trace that ends early
    #[arg(long)]
    allow_truncated: bool,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// If a capture cannot be replayed or the folder not be written.
pub(crate) fn run(args: ReproduceArgs) -> anyhow::Result<()> {
    let machine = args.machine.load()?;
    let capture = Opened::new(args.capture.as_deref(), "xen-net-tx", "the bundled sample")?;
    let receive = match (&args.capture, &args.receive) {
        (None, _) | (_, Some(_)) => {
            let name = "the bundled sample that receives";
            Some(Opened::new(args.receive.as_deref(), "xen-net-rx", name)?)
        }
        (Some(_), None) => None,
    };
    let mut folder = OutputFolder::open(&args.output)?;
    let mut figures = OutputFolder::open(&args.output.join("figures"))?;
    let found = Reproducing {
        machine,
        capture: &capture.input,
        receive: receiving(receive.as_ref().map(|receive| &receive.input)),
        allow_truncated: args.allow_truncated,
        talk: args.talk,
    }
    .run()?;
    let report = PaperReport::new(&found)?;
    let bar = args.talk.progress_in_steps("drawing figures", report.pictures());
    report.write_figures(&mut figures, || bar.inc(1))?;
    bar.finish_and_clear();
    let summary = found.report.to_summary();
    folder.write("summary.txt", summary.as_bytes())?;
    write_tables(&found.report, &mut folder)?;
    let layers =
        layer_figure(&found.report.profile, "Who runs, and who misses: share of each layer")?;
    folder.write("layers.svg", layers.as_bytes())?;
    folder.write_table("shapes", || report.shapes_table())?;
    folder.write("report.html", report.to_html()?.as_bytes())?;
    let files = figures.commit()?.len() + folder.commit()?.len();
    print(&summary)?;
    tell(&args, &report, files);
    Ok(())
}

/// A capture, with the folder that it may have been unpacked into.
struct Opened {
    input: CaptureInput,
    _unpacked: Option<TempDir>,
}

impl Opened {
    /// The capture that was given, or the sample, which is called `name`.
    fn new(given: Option<&Path>, sample: &str, name: &str) -> anyhow::Result<Self> {
        let Some(given) = given else {
            let unpacked = sample::unpack(sample)?;
            let input =
                CaptureInput { name: name.to_owned(), ..CaptureInput::open(unpacked.path())? };
            return Ok(Opened { input, _unpacked: Some(unpacked) });
        };
        if given == Path::new("-") {
            bail!("the figures take more than one reading of a trace; give a file, not a pipe");
        }
        Ok(Opened { input: CaptureInput::open(given)?, _unpacked: None })
    }
}

/// The capture that Figures 15 and 16 are from, or why there is none.
fn receiving(input: Option<&CaptureInput>) -> Result<&CaptureInput, String> {
    let Some(input) = input else {
        return Err("no capture of a guest that receives was given; --receive CAPTURE takes one, \
                    which `strata capture xen-net-rx` makes"
            .to_owned());
    };
    match &input.folder {
        Some((_, manifest)) if !is_receiving(input) => Err(format!(
            "{} is a capture of {}, not of a guest that receives; `strata capture xen-net-rx` makes \
             one",
            input.name, manifest.scenario
        )),
        _ => Ok(input),
    }
}

fn write_tables(report: &ProfileReport, folder: &mut OutputFolder) -> anyhow::Result<()> {
    for (by, name) in [(By::Layer, "layers"), (By::Module, "modules"), (By::Function, "functions")]
    {
        let all = || Selection { by, sort: SortKey::Instructions, top: None, layers: Vec::new() };
        let text = report.to_text(all(), &[Figure::Hits, Figure::Misses, Figure::Mpki]);
        folder.write(&format!("{name}.txt"), text.as_bytes())?;
        folder.write_table(name, || report.to_table(all()))?;
        folder.write(&format!("{name}.json"), report.to_json(all())?.as_bytes())?;
    }
    Ok(())
}

fn tell(args: &ReproduceArgs, report: &PaperReport<'_>, files: usize) {
    for (number, why) in report.not_drawn() {
        args.talk.note(&format!("Figure {number} is not drawn: {why}"));
    }
    let shapes = report.shapes();
    let agree = shapes.iter().filter(|shape| shape.verdict == Verdict::Agrees).count();
    args.talk.note(&format!("{agree} of {} shapes of the paper agree", shapes.len()));
    let output = args.output.display();
    args.talk.note(&format!("{files} files in {output}/; read {output}/report.html"));
}

//! `strata import`: another tool's trace as a native one.

use crate::talk::TalkArgs;
use anyhow::{Context, bail};
use clap::ValueEnum;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;
use strata_results::check_writable;
use strata_workloads::import::{Format, ImportOptions, ImportReport, Input, Packing, import};
use tempfile::NamedTempFile;

/// Makes a native trace of another tool's.
///
/// The order of the references is kept exactly. What the stream cannot tell, such as sizes or page
/// translations, is kept as a lack: results that need it are not available. Input packed with gzip,
/// zstd, xz, lz4 or zip is read as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Format of the input
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: From,
    /// File to read, or - for standard input
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Native trace to write
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Replace the native trace if it exists
    #[arg(long)]
    force: bool,
    /// Compression level of the native trace
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    #[command(flatten)]
    talk: TalkArgs,
}

/// Formats by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// One reference in each 8 bytes: address, size, kind
    Ref64,
    /// Text of `valgrind --tool=lackey --trace-mem=yes`
    Lackey,
    /// Text of Dinero: label and address
    Din,
    /// DynamoRIO's offline traces after raw2trace
    Drmemtrace,
    /// ChampSim's records of 64 bytes
    Champsim,
    /// ChampSim's records of 96 bytes, as the CloudSuite traces have them
    ChampsimCloudsuite,
}

impl From {
    fn format(self) -> Format {
        match self {
            From::Ref64 => Format::Ref64,
            From::Lackey => Format::Lackey,
            From::Din => Format::Din,
            From::Drmemtrace => Format::Drmemtrace,
            From::Champsim => Format::ChampSim,
            From::ChampsimCloudsuite => Format::ChampSimCloudSuite,
        }
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the input is not what it should be, or the trace cannot be written; nothing is left of it
/// then.
pub(crate) fn run(args: ImportArgs) -> anyhow::Result<()> {
    let out = &args.output;
    check_writable(out, args.force)?;
    if out.metadata().is_ok_and(|found| !found.is_file()) {
        bail!("{}: is a device or pipe; a native trace is written to a file", out.display());
    }
    let format = args.from.format();
    let (input, name, size) = open(&args.input)?;
    let input = input.beside();
    let (packing, taken) = (input.packing(), input.bytes_taken());
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let unfinished = NamedTempFile::new_in(folder)
        .with_context(|| format!("{}: cannot be written", out.display()))?;
    let sink = BufWriter::with_capacity(1 << 20, unfinished.as_file().try_clone()?);
    let options = ImportOptions {
        level: args.level,
        description: format!(
            "imported by strata {} from {}",
            env!("CARGO_PKG_VERSION"),
            format.name()
        ),
    };
    let started = Instant::now();
    let bar = args.talk.progress_in_bytes("importing", size);
    let result = import(format, input, sink, &options, |_| {
        bar.set_position(taken.load(Ordering::Relaxed));
    });
    bar.finish_and_clear();
    let (sink, report) = result.with_context(|| name)?;
    sink.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    keep(unfinished, out, args.force)?;
    args.talk.note(&summary(out, format, packing, &report));
    let seconds = started.elapsed().as_secs_f64();
    args.talk.detail(&format!(
        "{seconds:.2} s, {:.1} million references each second",
        report.counted.references() as f64 / seconds / 1e6
    ));
    Ok(())
}

/// The input, what errors call it, and its size if that is known.
fn open(path: &Path) -> anyhow::Result<(Input, String, Option<u64>)> {
    if path == Path::new("-") {
        if stdin().is_terminal() {
            bail!("standard input is a terminal: `-` reads a stream from a pipe or a file");
        }
        let name = "standard input".to_owned();
        return Ok((Input::from_reader(stdin()).context("standard input")?, name, None));
    }
    let name = path.display().to_string();
    let found = path.metadata().with_context(|| format!("{name}: cannot be read"))?;
    if found.is_dir() {
        bail!("{name}: is a folder; name the file in it that holds the stream");
    }
    let size = found.is_file().then_some(found.len());
    let input = Input::open(path).with_context(|| name.clone())?;
    Ok((input, name, size))
}

/// Gives the finished trace its name, with the permissions of any new file.
fn keep(unfinished: NamedTempFile, out: &Path, force: bool) -> anyhow::Result<()> {
    let place = || out.display().to_string();
    if !force {
        // Takes the name, and fails if somebody else has meanwhile.
        File::create_new(out).with_context(place)?;
    } else if !out.exists() {
        File::create(out).with_context(place)?;
    }
    let permissions = out.metadata().with_context(place)?.permissions();
    unfinished.as_file().set_permissions(permissions).with_context(place)?;
    unfinished.persist(out).map_err(|failed| failed.error).with_context(place)?;
    Ok(())
}

fn summary(out: &Path, format: Format, packing: Packing, report: &ImportReport) -> String {
    let counted = &report.counted;
    let packed = match packing {
        Packing::Plain => String::new(),
        packing => format!(" ({})", packing.name()),
    };
    let mut text = format!(
        "{}: {} references from {}{packed}: {} fetches, {} reads, {} writes",
        out.display(),
        counted.references(),
        format.name(),
        counted.fetches,
        counted.reads,
        counted.writes,
    );
    if counted.modifies > 0 {
        let _ = write!(text, " ({} of them modifies)", counted.modifies);
    }
    let tables = &report.ending.tables;
    let _ = write!(
        text,
        "\n{} blocks, {} shapes, {} page translations, {} events; {} bytes",
        tables.blocks,
        tables.shapes,
        tables.translations,
        report.ending.totals.events,
        report.bytes
    );
    let lacks: Vec<&str> = report.lacks.texts().collect();
    if !lacks.is_empty() {
        let _ = write!(text, "\nlacks: {}", lacks.join(", "));
    }
    for (what, count) in &report.left_out {
        let _ = write!(text, "\nleft out: {count} {what}");
    }
    for note in &report.notes {
        let _ = write!(text, "\nnote: {note}");
    }
    text
}

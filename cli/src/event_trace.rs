//! TRACE on the command line: an event trace of any format, a capture folder, or `-`.

use crate::capture_input::{CaptureInput, hex};
use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use strata_exits::{AnyTrace, Format, Source};
use strata_workloads::import::{Input, Packing};
use strata_workloads::manifest::{CaptureManifest, FILE_NAME};

/// Which trace, and how it is read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TraceArgs {
    /// Trace of xentrace, perf, trace-cmd or LTTng, capture folder, or - for standard input
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Format of the trace [default: found by its first bytes]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    from: Option<Format>,
    /// Take a trace that ends early for what is whole of it
    #[arg(long)]
    allow_truncated: bool,
}

/// A trace, and what its capture says of it.
pub(crate) struct EventTrace {
    /// As the user named it.
    pub(crate) name: String,
    /// Changes that the recorder made to the running guest.
    pub(crate) patches: Vec<String>,
    /// Its length in bytes, if that is known.
    pub(crate) size: Option<u64>,
    /// Its events.
    pub(crate) source: AnyTrace,
    allow_truncated: bool,
}

/// Takes the names of formats.
pub(crate) fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).map(|name| {
        let found = Format::ALL.into_iter().find(|format| format.name() == name);
        found.expect("only names of formats are taken")
    })
}

impl TraceArgs {
    /// Opens the trace.
    ///
    /// # Errors
    /// If it cannot be read, or is of no known format.
    pub(crate) fn open(&self) -> anyhow::Result<EventTrace> {
        open(&self.trace, self.from, self.allow_truncated)
    }
}

/// Opens a trace.
///
/// # Errors
/// As [`TraceArgs::open`].
pub(crate) fn open(
    path: &Path,
    from: Option<Format>,
    allow_truncated: bool,
) -> anyhow::Result<EventTrace> {
    if path == Path::new("-") {
        if stdin().is_terminal() {
            bail!("standard input is a terminal: `-` reads a trace from a pipe or a file");
        }
        let name = "standard input".to_owned();
        let input = Input::from_reader(stdin()).context("standard input")?;
        let source = AnyTrace::read(input, from, tempfile::tempfile).context("standard input")?;
        return Ok(EventTrace { name, patches: Vec::new(), size: None, source, allow_truncated });
    }
    let name = path.display().to_string();
    if path.is_dir() {
        let input = CaptureInput::open(path)?;
        let place = input.place();
        let manifest = input.folder.map(|(_, manifest)| manifest);
        let source = AnyTrace::open(Path::new(&place), from).with_context(|| place.clone())?;
        let patches = manifest.map(|manifest| manifest.patches).unwrap_or_default();
        let size = size(Path::new(&place));
        return Ok(EventTrace { name, patches, size, source, allow_truncated });
    }
    let source = open_file(path, from).with_context(|| name.clone())?;
    let patches = capture_of(path)?.map(|manifest| manifest.patches).unwrap_or_default();
    Ok(EventTrace { name, patches, size: size(path), source, allow_truncated })
}

/// Length of a file in bytes; of a packed one it is not known what it unpacks to.
fn size(path: &Path) -> Option<u64> {
    // A pipe may be opened once only.
    let file = path.metadata().ok().filter(|file| file.is_file())?;
    let plain = Input::open(path).is_ok_and(|input| input.packing() == Packing::Plain);
    plain.then_some(file.len())
}

/// The capture that a file lies in: that of a folder above it whose manifest names the file.
///
/// # Errors
/// If a folder above has a manifest that cannot be read, as then nobody knows what was changed in
/// the machine.
fn capture_of(path: &Path) -> anyhow::Result<Option<CaptureManifest>> {
    // A pipe or a device has a name, but no place in a capture.
    let Ok(path) = path.canonicalize() else { return Ok(None) };
    for folder in path.ancestors().skip(1).take(2) {
        if !folder.join(FILE_NAME).is_file() {
            continue;
        }
        let manifest = CaptureManifest::load(folder)?;
        let named = manifest.events.iter().chain([&manifest.trace]);
        if named.into_iter().any(|file| folder.join(file) == path) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Opens a file, packed or not.
fn open_file(path: &Path, from: Option<Format>) -> anyhow::Result<AnyTrace> {
    let input = Input::open(path)?;
    match input.packing() {
        // A pipe with a name gives its bytes once only.
        Packing::Plain if path.is_file() => Ok(AnyTrace::open(path, from)?),
        Packing::Plain => Ok(AnyTrace::read(input, from, tempfile::tempfile)?),
        packing => AnyTrace::read(input.beside(), from, tempfile::tempfile)
            .with_context(|| format!("unpacked from {}", packing.name())),
    }
}

impl EventTrace {
    /// Makes sure that the trace, now read, was whole.
    ///
    /// # Errors
    /// If it ends early, and that was not asked for.
    pub(crate) fn check_end(&self) -> anyhow::Result<()> {
        match &self.source.coverage().truncated {
            Some(why) if !self.allow_truncated => bail!(
                "{}: the trace ends early: {why}; record it again, or --allow-truncated takes what \
                 is whole",
                self.name
            ),
            _ => Ok(()),
        }
    }

    /// Digest of a native trace.
    pub(crate) fn hash(&self) -> Option<String> {
        self.source.native_hash().map(|hash| hex(&hash))
    }
}

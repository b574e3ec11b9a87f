//! CAPTURE on the command line: a folder, a trace file, or `-`.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::{Ending, IndexedTrace, TraceReader};

/// A trace to read, and what is known of it.
#[derive(Debug)]
pub(crate) struct CaptureInput {
    /// As the user named it.
    pub(crate) name: String,
    /// The trace file; `None` is standard input.
    pub(crate) trace: Option<PathBuf>,
    /// The capture folder, if it is one.
    pub(crate) folder: Option<(PathBuf, CaptureManifest)>,
}

/// A reader of a trace from anywhere.
pub(crate) type AnyReader = TraceReader<CountingReader>;

impl CaptureInput {
    /// Finds out what `given` is.
    ///
    /// # Errors
    /// If there is no such thing, or it is a folder and no capture.
    pub(crate) fn open(given: &Path) -> anyhow::Result<Self> {
        let name = given.display().to_string();
        if given == Path::new("-") {
            if stdin().is_terminal() {
                bail!("standard input is a terminal: `-` reads a trace from a pipe or a file");
            }
            return Ok(CaptureInput { name: "standard input".into(), trace: None, folder: None });
        }
        let found = given.metadata().with_context(|| {
            format!(
                "{name}: cannot be read; CAPTURE is a folder made by `strata capture`, a trace \
                 file, or - for standard input"
            )
        })?;
        if !found.is_dir() {
            return Ok(CaptureInput { name, trace: Some(given.to_owned()), folder: None });
        }
        let manifest = CaptureManifest::load(given)?;
        let trace = given.join(&manifest.trace);
        Ok(CaptureInput { name, trace: Some(trace), folder: Some((given.to_owned(), manifest)) })
    }

    /// What errors call the trace.
    pub(crate) fn place(&self) -> String {
        self.trace.as_ref().map_or_else(|| self.name.clone(), |path| path.display().to_string())
    }

    /// Begins to read the trace.
    ///
    /// # Errors
    /// If it cannot be read or is no trace.
    pub(crate) fn reader(&self) -> anyhow::Result<(AnyReader, Arc<AtomicU64>)> {
        let inner: Box<dyn Read + Send> = match &self.trace {
            None => Box::new(stdin()),
            Some(path) => Box::new(
                File::open(path)
                    .with_context(|| format!("{}: the trace cannot be opened", path.display()))?,
            ),
        };
        let bytes = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner, bytes: Arc::clone(&bytes) };
        let reader = TraceReader::new(BufReader::with_capacity(1 << 20, counting))
            .with_context(|| self.place())?;
        Ok((reader, bytes))
    }

    /// The trace by its index; `None` if it has none or cannot be sought in.
    pub(crate) fn indexed(&self) -> Option<IndexedTrace> {
        let path = self.trace.as_ref()?;
        IndexedTrace::open(path).ok()
    }

    /// What the trace says of itself at its end; `None` if it has no end or cannot be sought in.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.indexed().map(|trace| *trace.ending())
    }

    /// Number of instructions, where that is known beforehand.
    pub(crate) fn expected_instructions(&self) -> Option<u64> {
        let of_manifest = || self.folder.as_ref().and_then(|(_, manifest)| manifest.instructions);
        self.ending().map(|ending| ending.totals.instructions).or_else(of_manifest)
    }
}

/// Buffered, since a trace is read frame by frame.
pub(crate) type CountingReader = BufReader<Counting>;

/// Counts the bytes that come through.
pub(crate) struct Counting {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A digest in hexadecimal.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

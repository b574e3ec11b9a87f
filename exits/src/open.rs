//! A trace from a file or a pipe, whatever its format.

use crate::breakdown::Watch;
use crate::counted::Counted;
use crate::coverage::Coverage;
use crate::detect::{BEGINNING, Format, old_layout};
use crate::error::Error;
use crate::event::{Event, Unit, Vcpus};
use crate::native::Native;
use crate::perf_data::PerfData;
use crate::source::{Source, Take};
use crate::text::{Babeltrace, PerfScript, TraceCmd};
use crate::xentrace::{OldXentrace, Xentrace};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes read at a time.
const BUFFER: usize = 1 << 18;

/// Input of a format that is read front to back.
type Stream = Box<dyn Read>;

/// A trace of any format.
pub struct AnyTrace {
    format: Format,
    source: AnySource,
    bytes: Arc<AtomicU64>,
}

enum AnySource {
    Xentrace(Xentrace<Counted<File>>),
    OldXentrace(OldXentrace<Stream>),
    PerfScript(PerfScript<Stream>),
    PerfData(Box<PerfData<BufReader<Counted<File>>>>),
    TraceCmd(TraceCmd<Stream>),
    Lttng(Babeltrace<Stream>),
    Native(Box<Native<Stream>>),
}

impl AnyTrace {
    /// Opens a file. Without a format it is found by the first bytes.
    ///
    /// # Errors
    /// If the file cannot be read, or is of another format than asked for, or of none that is
    /// known.
    pub fn open(path: &Path, from: Option<Format>) -> Result<Self, Error> {
        let mut file = File::open(path)?;
        let begin = beginning(&mut file)?;
        let (format, is_new) = format_of(&begin, from)?;
        let needs_file = format == Format::PerfData || format == Format::Xentrace && is_new;
        if !needs_file {
            let stream = Box::new(Cursor::new(begin.clone()).chain(file));
            return AnyTrace::stream(format, &begin, BufReader::with_capacity(BUFFER, stream));
        }
        AnyTrace::seekable(format, file)
    }

    /// Reads from a pipe. Formats that are read from several places at a time, today's xentrace and
    /// `perf.data`, are written to a temporary file first, which `spool` makes.
    ///
    /// # Errors
    /// As [`AnyTrace::open`]; those of `spool`.
    pub fn read(
        mut input: impl Read + 'static,
        from: Option<Format>,
        spool: impl FnOnce() -> io::Result<File>,
    ) -> Result<Self, Error> {
        let begin = beginning(&mut input)?;
        let (format, is_new) = format_of(&begin, from)?;
        let mut whole = Cursor::new(begin.clone()).chain(input);
        if format == Format::PerfData || format == Format::Xentrace && is_new {
            let mut file = spool()?;
            io::copy(&mut whole, &mut file)?;
            return AnyTrace::seekable(format, file);
        }
        AnyTrace::stream(format, &begin, BufReader::with_capacity(BUFFER, whole))
    }

    fn seekable(format: Format, mut file: File) -> Result<Self, Error> {
        file.seek(SeekFrom::Start(0))?;
        let bytes = Arc::default();
        let file = Counted::new(file, Arc::clone(&bytes));
        let source = if format == Format::PerfData {
            let file = BufReader::with_capacity(BUFFER, file);
            AnySource::PerfData(Box::new(PerfData::new(file)?))
        } else {
            AnySource::Xentrace(Xentrace::new(file)?)
        };
        Ok(AnyTrace { format, source, bytes })
    }

    fn stream(format: Format, begin: &[u8], input: impl Read + 'static) -> Result<Self, Error> {
        let bytes = Arc::default();
        let input: Stream = Box::new(Counted::new(input, Arc::clone(&bytes)));
        let source = match format {
            Format::PerfScript => AnySource::PerfScript(PerfScript::new(input)),
            Format::TraceCmd => AnySource::TraceCmd(TraceCmd::new(input)),
            Format::Lttng => AnySource::Lttng(Babeltrace::new(input)),
            Format::Native => AnySource::Native(Box::new(Native::new(input)?)),
            Format::Xentrace | Format::PerfData => {
                // The caller takes it here only in the layout of Xen 3.0.
                let layout = old_layout(begin).ok_or_else(|| Error::UnknownFormat {
                    found: "records of neither layout of xentrace".to_owned(),
                })?;
                AnySource::OldXentrace(OldXentrace::new(input, layout))
            }
        };
        Ok(AnyTrace { format, source, bytes })
    }

    /// Bytes read so far: a count that goes on while events are given to a [`Take`].
    pub fn bytes_read(&self) -> impl Fn() -> u64 + 'static {
        let bytes = Arc::clone(&self.bytes);
        move || bytes.load(Ordering::Relaxed)
    }

    /// What format it is of.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Digest of the contents of a native trace read so far.
    pub fn native_hash(&self) -> Option<[u8; 16]> {
        match &self.source {
            AnySource::Native(native) => Some(native.hash()),
            _ => None,
        }
    }
}

/// The first bytes of an input, which is then behind them.
fn beginning(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    input.take(BEGINNING as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

/// The format, and whether it is not that of Xen 3.0.
fn format_of(begin: &[u8], from: Option<Format>) -> Result<(Format, bool), Error> {
    let format = match from {
        Some(format) => {
            format.check(begin)?;
            format
        }
        None => Format::of(begin)?,
    };
    Ok((format, old_layout(begin).is_none()))
}

macro_rules! each {
    ($any:expr, $source:ident => $do:expr) => {
        match $any {
            AnySource::Xentrace($source) => $do,
            AnySource::OldXentrace($source) => $do,
            AnySource::PerfScript($source) => $do,
            AnySource::PerfData($source) => $do,
            AnySource::TraceCmd($source) => $do,
            AnySource::Lttng($source) => $do,
            AnySource::Native($source) => $do,
        }
    };
}

impl Source for AnyTrace {
    #[inline]
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        each!(&mut self.source, source => source.next_event())
    }

    fn each_event(&mut self, take: &mut impl Take) -> Result<(), Error> {
        each!(&mut self.source, source => source.each_event(take))
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        each!(&mut self.source, source => source.watch(watch))
    }

    fn vcpus(&self) -> &Vcpus {
        each!(&self.source, source => source.vcpus())
    }

    fn coverage(&self) -> &Coverage {
        each!(&self.source, source => source.coverage())
    }

    fn unit(&self) -> Unit {
        each!(&self.source, source => source.unit())
    }

    fn reason_names(&self) -> &[String] {
        each!(&self.source, source => source.reason_names())
    }
}

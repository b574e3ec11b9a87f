//! Other tools' traces as native ones.
//!
//! [`import`] reads a stream front to back and writes a native trace. The order of the references is
//! kept exactly: what a replay of the native trace makes is what the stream has. What the stream
//! lacks, sizes for example, is kept as a lack ([`Lacks`]). `docs/importing.md` says what is taken of
//! each format.
//!
//! ```
//! use std::io::Cursor;
//! use strata_workloads::import::{Format, ImportOptions, Input, import};
//! use strata_workloads::trace::{Batch, TraceReader};
//!
//! let text = "I  00401000,3\n L 1ffeffe7e0,8\nI  00401003,5\n M 00404010,4\n";
//! let input = Input::from_reader(Cursor::new(text))?;
//! let native = Cursor::new(Vec::new());
//! let (native, report) =
//!     import(Format::Lackey, input, native, &ImportOptions::default(), |_| ())?;
//! assert_eq!(report.counted.references(), 5);
//!
//! let mut reader = TraceReader::new(native.get_ref().as_slice())?;
//! assert!(reader.lacks().translations && !reader.lacks().sizes);
//! let mut batch = Batch::default();
//! assert!(reader.read(&mut batch)?);
//! assert_eq!(batch.addresses, [0x1f_feff_e7e0, 0x40_4010, 0x40_4010]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod champsim;
mod din;
mod drmemtrace;
mod error;
mod input;
mod key;
mod lackey;
mod lines;
mod lz4_end;
mod records;
mod ref64;
mod report;
mod taken;

pub use error::{ImportError, Place};
pub use input::{Input, Packing};
pub use report::{Counted, ImportReport};

use crate::trace::{Lacks, WriterOptions};
use builder::Builder;
use std::io::{Seek, Write};
use taken::Taken;

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One reference in each 8 bytes.
    Ref64,
    /// What `valgrind --tool=lackey --trace-mem=yes` prints.
    Lackey,
    /// The text format of Dinero.
    Din,
    /// DynamoRIO's offline traces, as its raw2trace leaves them.
    Drmemtrace,
    /// ChampSim's records of 64 bytes.
    ChampSim,
    /// ChampSim's records of 96 bytes, as the CloudSuite traces have them.
    ChampSimCloudSuite,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] = [
        Format::Ref64,
        Format::Lackey,
        Format::Din,
        Format::Drmemtrace,
        Format::ChampSim,
        Format::ChampSimCloudSuite,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Ref64 => ref64::Ref64::NAME,
            Format::Lackey => lackey::Lackey::NAME,
            Format::Din => din::Din::NAME,
            Format::Drmemtrace => drmemtrace::Drmemtrace::NAME,
            Format::ChampSim => champsim::ChampSim::<64, 2>::NAME,
            Format::ChampSimCloudSuite => champsim::ChampSim::<96, 4>::NAME,
        }
    }
}

/// How the native trace is written.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// What the stream is of: free text in the trace's header.
    pub description: String,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions { level: 6, description: String::new() }
    }
}

/// Reads `input`, a stream of this format, and writes it to `out` as a native trace. `progress` is
/// called now and then with the number of records read. Memory grows with the code that the stream
/// executes, not with its length.
///
/// # Errors
/// If the input cannot be read or is cut off, has something that its format does not, or if `out`
/// fails. What `out` has then is no whole trace.
pub fn import<W: Write + Seek>(
    format: Format,
    input: Input,
    out: W,
    options: &ImportOptions,
    mut progress: impl FnMut(u64),
) -> Result<(W, ImportReport), ImportError> {
    let progress = &mut progress;
    match format {
        Format::Ref64 => run::<ref64::Ref64, W>(input, out, options, progress),
        Format::Lackey => run::<lackey::Lackey, W>(input, out, options, progress),
        Format::Din => run::<din::Din, W>(input, out, options, progress),
        Format::Drmemtrace => run::<drmemtrace::Drmemtrace, W>(input, out, options, progress),
        Format::ChampSim => run::<champsim::ChampSim<64, 2>, W>(input, out, options, progress),
        Format::ChampSimCloudSuite => {
            run::<champsim::ChampSim<96, 4>, W>(input, out, options, progress)
        }
    }
}

fn run<F: FormatImport, W: Write + Seek>(
    input: Input,
    out: W,
    options: &ImportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<(W, ImportReport), ImportError> {
    let mut taken = Taken::new(F::LACKS, progress);
    let mut builder = Builder::new(
        out,
        WriterOptions {
            level: options.level,
            description: options.description.clone(),
            lacks: F::LACKS,
            ..WriterOptions::default()
        },
    )?;
    F::run(input, &mut builder, &mut taken)?;
    let (mut out, ending, lacks, counted) = builder.finish(taken.lacks)?;
    let bytes = out.stream_position().map_err(crate::trace::TraceError::from)?;
    let Taken { left_out, notes, .. } = taken;
    Ok((out, ImportReport { ending, lacks, counted, left_out, notes, bytes }))
}

/// What streams of one program's references never tell: anything of the machine below it.
const OF_ONE_PROGRAM: Lacks = Lacks {
    code: true,
    translations: true,
    walks: true,
    privilege: true,
    contexts: true,
    events: true,
    ..Lacks::NOTHING
};

/// A format's reader.
trait FormatImport {
    /// The format's name.
    const NAME: &str;
    /// What streams of this format lack, unless [`Taken::lacks`] is changed.
    const LACKS: Lacks;

    /// Reads all of `input`.
    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError>;
}

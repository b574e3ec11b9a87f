//! Why a trace could not be accounted.

use std::io;
use std::path::PathBuf;

/// Why a trace could not be accounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Nothing tells what the trace is.
    #[error(
        "this is no trace of a known format ({found}); --from names one: xentrace, perf-script, \
         perf-data, trace-cmd, lttng, native"
    )]
    UnknownFormat {
        /// What it looks like.
        found: String,
    },
    /// It is of another format than asked for.
    #[error("this is no {expected} trace: {why}; {remedy}")]
    WrongFormat {
        /// As `--from` names it.
        expected: &'static str,
        /// What stands against it.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// There is nothing in it that could be accounted.
    #[error("no VM exits, hypercalls or run states in {records} records: {remedy}")]
    NothingFound {
        /// Records read.
        records: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A `perf.data` file is damaged or of a kind that cannot be read.
    #[error("the perf.data file cannot be read: {0}; `perf script` writes it as text")]
    PerfData(String),
    /// A native trace is damaged.
    #[error(transparent)]
    Native(#[from] strata_workloads::trace::TraceError),
    /// A file of rules or phases is wrong.
    #[error("{}: {why}", path.display())]
    Rules {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Edges of a histogram are not ascending.
    #[error("edges of a histogram ascend: {left} is followed by {right}")]
    Edges {
        /// The one.
        left: u64,
        /// The next.
        right: u64,
    },
    /// The phases of a breakdown do not sum to the whole, which is a fault of this program.
    #[error(
        "phases sum to {sum} and the whole is {whole}; this is a fault in strata, and no figure of \
         this run can be trusted"
    )]
    Partition {
        /// Over all phases.
        sum: u64,
        /// From the first probe to the last.
        whole: u64,
    },
    /// Two traces cannot be put on one clock.
    #[error("the two traces cannot be put on one clock: {why}")]
    Sync {
        /// Why not, and what to do.
        why: String,
    },
    /// A published table cannot be read.
    #[error("{place}: {why}")]
    Table {
        /// File and line.
        place: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

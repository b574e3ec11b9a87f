//! What can go wrong with a trace.

use std::io;

/// Why a trace could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file does not begin with the magic number.
    #[error(
        "not a strata trace: it begins with {found}, not with \"\\x89STRATA\\n\"; `strata capture` makes one"
    )]
    Foreign {
        /// The first bytes, printable.
        found: String,
    },
    /// The file is empty.
    #[error("the trace is empty (0 bytes); the recorder that wrote it never got to its header")]
    Empty,
    /// A version this program does not know.
    #[error(
        "trace format version {found}, but this program reads versions up to {known}: use a newer strata"
    )]
    Version {
        /// In the file.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// A frame fails its checksum or contradicts itself.
    #[error(
        "damaged at byte {offset} ({what}); `strata check --salvage OUT` writes what is whole as a trace of its own"
    )]
    Damaged {
        /// Offset of the frame in the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The stream ends before its end mark.
    #[error(
        "cut off at byte {offset} after {instructions} whole instructions; `strata check --salvage OUT` writes what is whole as a trace of its own"
    )]
    Truncated {
        /// Where the last whole frame ends.
        offset: u64,
        /// Instructions up to there.
        instructions: u64,
    },
    /// What was given to a writer cannot be written.
    #[error("the stream contradicts itself: {0}")]
    Inconsistent(String),
}

/// A decoder's complaint, without the place, which the container adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Malformed(what.into())
    }
}

pub(crate) type Decoded<T> = Result<T, Malformed>;

//! What can go wrong with an import.

use crate::trace::TraceError;
use std::io;

/// Where in the input something is, as the format counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of text, from 1.
    Line(u64),
    /// A binary record.
    Record {
        /// Its number, from 0.
        number: u64,
        /// Offset of its first byte in the uncompressed input.
        offset: u64,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Record { number, offset } => write!(f, "record {number} (byte {offset})"),
        }
    }
}

/// Why a stream could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Reading or unpacking the input failed.
    #[error("after {bytes} bytes of the unpacked input: {error}")]
    Input {
        /// Bytes that were read before it failed.
        bytes: u64,
        /// What failed.
        error: io::Error,
    },
    /// The native trace could not be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The input is empty.
    #[error("the input is empty (0 bytes): there is nothing to import")]
    Empty,
    /// Something that the format does not have.
    #[error("{place}: {what}; is this a {format} stream?")]
    Malformed {
        /// Where.
        place: Place,
        /// What is there.
        what: String,
        /// The format that was expected.
        format: &'static str,
    },
    /// The input ends where it should go on.
    #[error("{place}: the input is cut off here: {what}")]
    CutOff {
        /// Where.
        place: Place,
        /// What is missing.
        what: String,
    },
    /// Something that this program does not take.
    #[error("{place}: {what}")]
    Unsupported {
        /// Where.
        place: Place,
        /// What it is, and what would do.
        what: String,
    },
}

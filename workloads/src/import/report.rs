//! What an import did.

use crate::trace::{Ending, Lacks};
use std::collections::BTreeMap;

/// References in the order and number in which the input had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Instruction fetches.
    pub fetches: u64,
    /// Data reads.
    pub reads: u64,
    /// Data writes, those of modifies included.
    pub writes: u64,
    /// Writes marked as the second half of a read-modify-write.
    pub modifies: u64,
    /// Fetches without a length.
    pub fetches_without_length: u64,
    /// Reads and writes without a size.
    pub data_without_size: u64,
}

impl Counted {
    /// All references.
    pub fn references(&self) -> u64 {
        self.fetches + self.reads + self.writes
    }
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// What the native trace says of itself.
    pub ending: Ending,
    /// What the stream lacks.
    pub lacks: Lacks,
    /// The references taken.
    pub counted: Counted,
    /// Things of the input that the native trace does not hold, and how many there were.
    pub left_out: BTreeMap<&'static str, u64>,
    /// What else a user should know of the input.
    pub notes: Vec<String>,
    /// Size of the native trace in bytes.
    pub bytes: u64,
}

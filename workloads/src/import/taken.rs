//! What a format's reader has taken and left.

use crate::trace::Lacks;
use std::collections::BTreeMap;

/// Records between two calls of the progress function.
const TICKS: u64 = 1 << 16;

/// What a format's reader has taken and left.
pub(super) struct Taken<'p> {
    records: u64,
    progress: &'p mut dyn FnMut(u64),
    /// What the stream lacks, as far as its format and headers tell.
    pub(super) lacks: Lacks,
    pub(super) left_out: BTreeMap<&'static str, u64>,
    pub(super) notes: Vec<String>,
}

impl<'p> Taken<'p> {
    pub(super) fn new(lacks: Lacks, progress: &'p mut dyn FnMut(u64)) -> Self {
        Taken { records: 0, progress, lacks, left_out: BTreeMap::new(), notes: Vec::new() }
    }

    /// One more record was read.
    #[inline]
    pub(super) fn tick(&mut self) {
        self.records += 1;
        if self.records.is_multiple_of(TICKS) {
            (self.progress)(self.records);
        }
    }

    /// Something that the native trace does not hold.
    pub(super) fn leave_out(&mut self, what: &'static str) {
        *self.left_out.entry(what).or_default() += 1;
    }
}

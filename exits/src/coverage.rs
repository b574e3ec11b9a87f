//! What of a trace was understood and what was not.

use std::collections::BTreeMap;

/// How much of a trace went into a report. Nothing is dropped without being counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Records read, of any kind.
    pub records: u64,
    /// Of them, those that say nothing about exits, by what they are.
    pub skipped: BTreeMap<String, u64>,
    /// Records, or lines, that are not as their format says.
    pub malformed: u64,
    /// The first of them: where it is and what is wrong.
    pub first_malformed: Option<String>,
    /// Bytes that belong to no record.
    pub skipped_bytes: u64,
    /// Records that the tracer says it lost.
    pub lost: u64,
    /// Places where it lost some.
    pub losses: u64,
    /// Events on a CPU of which it is not known what it runs.
    pub unattributed: u64,
    /// Where the time goes backwards on a CPU or a vCPU.
    pub clock_steps: u64,
    /// Why the trace ends early, if it does.
    pub truncated: Option<String>,
}

/// Most names of what was skipped that are kept apart.
const MOST_NAMES: usize = 200;

impl Coverage {
    /// Counts a record of no interest.
    pub fn skip(&mut self, name: &str, records: u64) {
        if let Some(count) = self.skipped.get_mut(name) {
            *count += records;
        } else if self.skipped.len() < MOST_NAMES {
            self.skipped.insert(name.to_owned(), records);
        } else {
            *self.skipped.entry("others".to_owned()).or_default() += records;
        }
    }

    /// Counts what is not as it should be.
    pub fn fault(&mut self, what: impl FnOnce() -> String) {
        self.malformed += 1;
        self.first_malformed.get_or_insert_with(what);
    }

    /// Records of no interest in all.
    pub fn all_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }
}

//! Probes among records.

use crate::breakdown::{EventRef, FieldValue, Watch, add_probes};
use crate::event::{Event, VcpuId};
use std::collections::VecDeque;

/// Names of a record's words in conditions.
const WORDS: [&str; 7] = ["word0", "word1", "word2", "word3", "word4", "word5", "word6"];

/// Puts probes among the events of records.
#[derive(Default)]
pub(super) struct Probes {
    watch: Watch,
    due: VecDeque<Event>,
}

impl Probes {
    pub(super) fn new(watch: Watch) -> Self {
        Probes { watch, due: VecDeque::new() }
    }

    /// True if none are looked for.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.watch.is_empty()
    }

    /// The next event of records that were taken.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Event> {
        self.due.pop_front()
    }

    /// The probes that a record is.
    pub(super) fn of(&self, event: u32, word: impl Fn(usize) -> Option<u64>) -> Vec<u16> {
        self.watch.probes(EventRef::Number(event), |name| {
            let place = WORDS.iter().position(|known| *known == name)?;
            word(place).map(FieldValue::Number)
        })
    }

    /// Takes a record that is `probes`, with what it says of exits, if anything.
    pub(super) fn take(
        &mut self,
        probes: Vec<u16>,
        place: (u64, u16, Option<VcpuId>),
        event: Option<Event>,
    ) {
        self.due.extend(event);
        add_probes(&mut self.due, 0, probes, place);
    }
}

//! What a machine's first level asks of the levels below it, noted instead of done.
//!
//! What is noted is all that the levels below can see, in order; so these can be run later, on
//! another thread, or many times with other caches.

use super::{Memory, Place};
use crate::caches::{Found, Line, Victim};
use crate::hierarchy::RefKind;
use crate::memory::{Levels, Way};
use rustc_hash::FxHashSet;

/// Something that the levels below the first are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A line that missed in the first level is asked for.
    Line {
        /// The physical address that was accessed.
        physical: u64,
        /// What was noted with [`Hierarchy::set_charge`](crate::Hierarchy::set_charge).
        charge: u32,
        /// Kind of the reference.
        kind: RefKind,
        /// It is the first line of its reference that missed; others of the same follow.
        is_first: bool,
    },
    /// A dirty line that had to go from the first level comes down.
    WriteBack {
        /// Physical address of its first byte.
        physical: u64,
    },
    /// A device has written to memory.
    Overwritten {
        /// Physical address of the first byte.
        first: u64,
        /// Physical address of the last byte.
        last: u64,
    },
    /// All caches are emptied; what was dirty in the first level has come down already.
    Flush,
    /// As [`Line`](Self::Line), of a line that may have been in the first level since before its
    /// [past was forgotten](crate::Hierarchy::forget_past). Taken for a line that was not.
    Unsure {
        /// As in [`Line`](Self::Line).
        physical: u64,
        /// As in [`Line`](Self::Line).
        charge: u32,
        /// As in [`Line`](Self::Line).
        kind: RefKind,
        /// As in [`Line`](Self::Line).
        is_first: bool,
    },
    /// A line that came unsure has to go from the first level, and was not written to since. No
    /// request unless it was dirty before.
    Leaves {
        /// Physical address of its first byte.
        physical: u64,
    },
    /// From here on nothing of before is left in a set of the first level. No request.
    Settled {
        /// Of the data cache, not of that for instructions.
        data: bool,
        /// Number of the set.
        set: u32,
    },
}

/// The notes of one first level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    noted: Vec<Request>,
    charge: u32,
    /// No line of the present reference has missed yet.
    is_first: bool,
    unsure: Option<Unsure>,
}

/// What is known of a first level whose past is not, for instructions and for data.
#[derive(Debug, Clone, Default)]
struct Unsure([UnsureSets; 2]);

#[derive(Debug, Clone, Default)]
struct UnsureSets {
    /// Sets of which nothing that was there before is left.
    settled: Vec<bool>,
    /// Lines that came into sets that were not settled.
    came: FxHashSet<u64>,
}

impl Memory {
    /// From now on what goes beyond the last level is noted.
    pub(crate) fn note_requests(&mut self) {
        self.requests = Some(Box::default());
    }

    /// Whether requests are noted.
    pub(crate) fn notes_requests(&self) -> bool {
        self.requests.is_some()
    }

    /// Lines asked for from now on are those of another reference.
    #[inline]
    pub(crate) fn begin_reference(&mut self) {
        if let Some(requests) = &mut self.requests {
            requests.is_first = true;
        }
    }

    /// Lines asked for from now on are charged to this.
    #[inline]
    pub(crate) fn set_charge(&mut self, charge: u32) {
        if let Some(requests) = &mut self.requests {
            requests.charge = charge;
        }
    }

    /// What was noted since this was called last.
    pub(crate) fn take_requests(&mut self) -> Vec<Request> {
        self.requests
            .as_mut()
            .map(|requests| std::mem::take(&mut requests.noted))
            .unwrap_or_default()
    }

    #[inline]
    pub(super) fn note(&mut self, request: Request) {
        if let Some(requests) = &mut self.requests {
            requests.noted.push(request);
        }
    }

    /// From now on it is not known what the first level has held so far, and it is empty.
    pub(crate) fn forget_first_level(&mut self) {
        let Some(sets) = self.first_sets().map(|first| first.map(|sets| sets.number_of_sets()))
        else {
            return;
        };
        if let Some(requests) = &mut self.requests {
            let unsure =
                |sets| UnsureSets { settled: vec![false; sets], came: FxHashSet::default() };
            requests.unsure = Some(Unsure(sets.map(unsure)));
        }
    }

    /// From now on everything is known again.
    pub(crate) fn know_first_level(&mut self) {
        if let Some(requests) = &mut self.requests {
            requests.unsure = None;
        }
    }

    /// Whether something from before may be left in a set of the first level.
    pub(crate) fn is_unsettled(&self, data: bool, set: usize) -> bool {
        let unsure = self.requests.as_ref().and_then(|requests| requests.unsure.as_ref());
        unsure.is_some_and(|Unsure(sides)| !sides[usize::from(data)].settled[set])
    }

    /// An access of one line where requests are noted.
    pub(super) fn access_noting(&mut self, kind: RefKind, place: Place) -> Way {
        let index = self.first_node(kind);
        let node = &mut self.nodes[index];
        let line = node.line_of(place);
        let found = node.cache.demand(line, kind.writes());
        let mut way = Way { asked: Levels::first(1), missed: Levels::first(0) };
        if let Found::Brought(victim) = found {
            way.missed = Levels::first(1);
            self.note_brought(kind, place, victim);
        }
        way
    }

    /// A line came into the first level, for another one or for none.
    pub(super) fn note_brought(&mut self, kind: RefKind, place: Place, victim: Option<Victim>) {
        let writes_back = self.writes_back;
        let node = &self.nodes[self.first_node(kind)];
        let (line, shift) = (node.line_of(place), node.cache.line_shift());
        let set = node.cache.first_set_of(line.physical);
        let Some(requests) = &mut self.requests else { return };
        let Requests { noted, charge, is_first, unsure } = &mut **requests;
        let data = kind != RefKind::Fetch;
        let mut comes_unsure = false;
        if let (Some(Unsure(sides)), Some(set)) = (unsure, set) {
            let UnsureSets { settled, came } = &mut sides[usize::from(data)];
            match &victim {
                None if !settled[set] => {
                    came.insert(line.physical);
                    comes_unsure = true;
                }
                None => {}
                Some(victim) => {
                    if !std::mem::replace(&mut settled[set], true) {
                        noted.push(Request::Settled { data, set: set as u32 });
                    }
                    let came = came.remove(&victim.line.physical);
                    // Instructions are not written to.
                    if came && data && !victim.dirty && writes_back {
                        noted.push(Request::Leaves { physical: victim.line.physical << shift });
                    }
                }
            }
        }
        if let Some(Victim { line: Line { physical, .. }, dirty: true, .. }) = victim
            && writes_back
        {
            self.counts[0].written_on += 1;
            noted.push(Request::WriteBack { physical: physical << shift });
        }
        let (physical, charge) = (place.physical.0, *charge);
        let is_first = std::mem::take(is_first);
        noted.push(if comes_unsure {
            Request::Unsure { physical, charge, kind, is_first }
        } else {
            Request::Line { physical, charge, kind, is_first }
        });
    }
}

//! What a machine's first level asks of the levels below it, noted instead of done.
//!
//! What is noted is all that the levels below can see, in order; so these can be run later, on
//! another thread, or many times with other caches.

use super::{Memory, Place};
use crate::hierarchy::RefKind;

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
}

/// The notes of one first level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    noted: Vec<Request>,
    charge: u32,
    /// No line of the present reference has missed yet.
    is_first: bool,
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

    /// A line that no cache had is asked for.
    #[inline]
    pub(super) fn note_line(&mut self, kind: RefKind, place: Place) {
        if let Some(requests) = &mut self.requests {
            let is_first = std::mem::take(&mut requests.is_first);
            let (physical, charge) = (place.physical.0, requests.charge);
            requests.noted.push(Request::Line { physical, charge, kind, is_first });
        }
    }
}

//! What a first level held at a moment, to settle what one that forgot it was not sure of.

use super::{Memory, Request};
use crate::caches::{Found, Line, Removed};
use crate::hierarchy::RefKind;
use rustc_hash::FxHashSet;

/// The first level as it was, and what came after.
#[derive(Debug)]
pub(crate) struct PastCaches<'m> {
    memory: &'m mut Memory,
    writes_back: bool,
    /// Lines that came after, of fetches and of data, in sets that are not settled.
    came: [FxHashSet<u64>; 2],
    /// Lines that were dirty before and are not known to be.
    inherited: FxHashSet<u64>,
    /// Sets that are not settled.
    unsettled: usize,
    /// Dirty lines that went, beyond those known.
    pub(crate) written_on: u64,
    /// Lines that devices dropped, beyond those known.
    pub(crate) device_invalidations: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The line was in the first level.
    Hit,
    /// It was not; what went for it was written back if it was dirty.
    Missed { written: Option<u64> },
    /// A dirty line goes.
    WriteBack(u64),
    /// None.
    Nothing,
    /// It is as it was.
    Same,
    /// What follows cannot be told.
    Unknown,
}

impl<'m> PastCaches<'m> {
    pub(crate) fn new(memory: &'m mut Memory) -> Self {
        let writes_back = memory.writes_back;
        let sets = memory
            .first_sets()
            .map_or(0, |first| first.iter().map(|sets| sets.number_of_sets()).sum());
        Self {
            memory,
            writes_back,
            came: Default::default(),
            inherited: FxHashSet::default(),
            unsettled: sets,
            written_on: 0,
            device_invalidations: 0,
        }
    }

    /// Settles one request; all are to be given in order.
    pub(crate) fn ask(&mut self, request: &Request) -> Ask {
        match *request {
            Request::Line { .. } => Ask::Same,
            Request::Unsure { physical, kind, .. } => self.look_up(kind, physical),
            Request::WriteBack { physical } => {
                self.inherited.remove(&(physical >> LINE_SHIFT));
                Ask::Same
            }
            Request::Leaves { physical } => {
                if !self.inherited.remove(&(physical >> LINE_SHIFT)) {
                    return Ask::Nothing;
                }
                self.written_on += 1;
                Ask::WriteBack(physical)
            }
            Request::Settled { data, set } => {
                if let Some(first) = self.memory.first_sets() {
                    first.into_iter().nth(usize::from(data)).into_iter().for_each(|sets| {
                        sets.clear_set(set as usize);
                    });
                }
                self.unsettled -= 1;
                Ask::Nothing
            }
            Request::Overwritten { first, last } => {
                self.overwritten(first >> LINE_SHIFT, last >> LINE_SHIFT);
                Ask::Same
            }
            // In which order the dirty lines come down is not known.
            Request::Flush if self.unsettled > 0 || !self.inherited.is_empty() => Ask::Unknown,
            Request::Flush => Ask::Same,
        }
    }

    fn look_up(&mut self, kind: RefKind, physical: u64) -> Ask {
        let index = self.memory.first_node(kind);
        let cache = &mut self.memory.nodes[index].cache;
        let line = physical >> LINE_SHIFT;
        let was_dirty = cache.contains_physical(line) == Some(true);
        let found = cache.demand(Line { physical: line, virtual_: 0 }, kind.writes());
        self.came[usize::from(kind != RefKind::Fetch)].insert(line);
        let Found::Brought(victim) = found else {
            if was_dirty {
                self.inherited.insert(line);
            }
            return Ask::Hit;
        };
        let written = victim.filter(|victim| victim.dirty && self.writes_back);
        self.written_on += u64::from(written.is_some());
        Ask::Missed { written: written.map(|victim| victim.line.physical << LINE_SHIFT) }
    }

    fn overwritten(&mut self, first: u64, last: u64) {
        for (data, kind) in [RefKind::Fetch, RefKind::Read].into_iter().enumerate() {
            let index = self.memory.first_node(kind);
            let (came, count) = (&mut self.came[data], &mut self.device_invalidations);
            self.memory.nodes[index].cache.remove_range(first, last, |Removed { line, .. }| {
                *count += u64::from(!came.remove(&line.physical));
            });
        }
        self.inherited.retain(|line| !(first..=last).contains(line));
    }

    /// Gives `later`, which has come from here, what is left of before.
    pub(crate) fn hand_over(self, later: &mut Memory) {
        let Some(past) = self.memory.first_sets() else { return };
        for (data, past) in past.into_iter().enumerate() {
            for set in 0..past.number_of_sets() {
                if later.is_unsettled(data == 1, set)
                    && let Some(first) = later.first_sets()
                {
                    first.into_iter().nth(data).into_iter().for_each(|sets| {
                        sets.adopt_older(past, set);
                    });
                }
            }
        }
        if let Some([_, data]) = later.first_sets() {
            self.inherited.iter().for_each(|&line| data.mark_dirty(line));
        }
        later.know_first_level();
    }
}

/// Lines in the first level are of 64 bytes where their hits can be known.
const LINE_SHIFT: u32 = 6;

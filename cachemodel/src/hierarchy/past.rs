//! Stretches of one stream run at the same time, each without the past of those before it.
//!
//! First levels and TLBs that are LRU soon forget what they held. A [half](super::halves) whose past
//! is not known begins empty. What it then finds is there whatever was before, and what it does
//! not find is missing, unless it comes into a place that was free: only there something from
//! before may be left.
//!
//! ```text
//!   a set of four ways, the latest use first       what is known     what was there before
//!   past not known, as if empty                    - - - -           a b c d
//!   e: not found, in a free place: unsure          e - - -           e a b c    missed
//!   b: not found, in a free place: unsure          b e - -           b e a c    it was there
//!   f, g: the same                                 g f b e           g f b e    missed
//!   h: not found, for another: sure                h g f b           h g f b
//! ```
//!
//! What is known is always right, and in the right order, above what is left of before. So the
//! unsure ones alone have to be made again once the past is known, and they are few: no more than
//! there are places.

use super::{Hierarchy, RefKind};
use crate::counts::Counts;
use crate::memory::{Ask, PastCaches, Request};
use crate::outcome::Outcome;
use crate::translation::{Again, LookUpNote};

/// What a half whose past was [forgotten](Hierarchy::forget_past) asked for and was unsure of, in
/// order.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    requests: Vec<Request>,
    look_ups: Vec<LookUpNote>,
}

impl Notes {
    /// Requests noted.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }
}

/// What the past makes of [`Notes`].
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// What is asked of the levels below.
    pub requests: Vec<Request>,
    amendments: Amendments,
}

/// By how much counts are other than they were taken for.
#[derive(Debug, Clone, Copy, Default)]
struct Amendments {
    /// Misses of level 1 that were hits, of fetches, reads and writes.
    hits: [u64; 3],
    /// Misses of ITLB and DTLB that were hits.
    tlb_hits: [u64; 2],
    /// Walks that were not made.
    walks: u64,
    written_on: u64,
    device_invalidations: u64,
    /// Entries that events dropped as well.
    flushed: [u64; 2],
}

impl Settled {
    /// Puts right what the half that was unsure has counted.
    pub fn amend(&self, counts: &mut Counts) {
        let of = &self.amendments;
        let l1 = &mut counts.l1;
        for (tally, hits) in
            [&mut l1.fetches, &mut l1.reads, &mut l1.writes].into_iter().zip(of.hits)
        {
            tally.misses -= hits;
            tally.hits += hits;
        }
        l1.written_on += of.written_on;
        l1.device_invalidations += of.device_invalidations;
        for (side, tlb) in [&mut counts.itlb, &mut counts.dtlb].into_iter().enumerate() {
            tlb.all.misses -= of.tlb_hits[side];
            tlb.all.hits += of.tlb_hits[side];
            tlb.flushed += of.flushed[side];
        }
        counts.walks.walks -= of.walks;
    }
}

/// A half whose past is known, to settle what another one that went on from there was unsure of.
#[derive(Debug)]
pub struct Past(Hierarchy);

/// The past cannot settle something; the stretch has to be run again from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled;

impl Hierarchy {
    /// Whether this half can go on without its past, and be put right when that is known.
    #[must_use]
    pub fn can_forget_past(&self) -> bool {
        self.memory.notes_requests() && self.is_plain && self.unit.can_forget()
    }

    /// From here on it is not known what this half, which is empty, has held so far; it keeps its
    /// control registers. What it counts is as if nothing had been there.
    pub fn forget_past(&mut self) {
        self.memory.forget_first_level();
        self.unit.forget_past();
        // Earlier times are kept for what may be left.
        self.now = self.now.max(1 << 32);
    }

    /// What was noted since this was called last.
    pub fn take_notes(&mut self) -> Notes {
        Notes { requests: self.memory.take_requests(), look_ups: self.unit.take_look_up_notes() }
    }
}

/// Under way through the notes of one half.
struct Settling<'p, F> {
    caches: PastCaches<'p>,
    settled: Settled,
    by_reference: bool,
    each: F,
}

/// A reference of which at least one part was taken for a miss.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: RefKind,
    charge: u32,
    missed: bool,
}

impl Past {
    /// A half at the moment at which another one has forgotten its past.
    #[must_use]
    pub fn new(half: Hierarchy) -> Self {
        Self(half)
    }

    /// Settles everything that `later` has noted. `each` is told of what was taken for misses and
    /// was none: what it was charged to, its kind, and the misses and walks that there were not.
    /// Returns what goes on, with what is left of this.
    ///
    /// # Errors
    /// [`Unsettled`] where the past would have made a difference that cannot be put right; then
    /// `each` was told too much.
    pub fn settle(
        mut self,
        mut later: Hierarchy,
        parts: &[Notes],
        mut each: impl FnMut(usize, u32, RefKind, &Outcome),
    ) -> Result<(Self, Vec<Settled>), Unsettled> {
        if later.unit.began_otherwise(&self.0.unit) {
            return Err(Unsettled);
        }
        let by_reference = self.0.semantics.counts_references();
        let mut all = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let mut settled = Settled::default();
            let amendments = &mut settled.amendments;
            self.settle_look_ups(&part.look_ups, by_reference, amendments, |charge, kind, few| {
                each(number, charge, kind, few);
            })?;
            all.push(settled);
        }
        let mut caches = PastCaches::new(&mut self.0.memory);
        for (number, (part, settled)) in parts.iter().zip(&mut all).enumerate() {
            let mut settling = Settling {
                caches,
                settled: std::mem::take(settled),
                by_reference,
                each: |charge, kind, outcome: &Outcome| each(number, charge, kind, outcome),
            };
            settling.requests(&part.requests)?;
            let Settling { caches: after, settled: done, .. } = settling;
            (caches, *settled) = (after, done);
            settled.amendments.written_on = std::mem::take(&mut caches.written_on);
            settled.amendments.device_invalidations =
                std::mem::take(&mut caches.device_invalidations);
        }
        caches.hand_over(&mut later.memory);
        later.unit.adopt(&self.0.unit);
        later.forget_known();
        Ok((Self(later), all))
    }

    /// The half that has gone on from here with nothing unsure.
    #[must_use]
    pub fn into_half(self) -> Hierarchy {
        self.0
    }

    fn settle_look_ups(
        &mut self,
        notes: &[LookUpNote],
        by_reference: bool,
        amendments: &mut Amendments,
        mut each: impl FnMut(u32, RefKind, &Outcome),
    ) -> Result<(), Unsettled> {
        let Hierarchy { unit, now, .. } = &mut self.0;
        let mut open: Option<Open> = None;
        for note in notes {
            match note {
                LookUpNote::Missed(missed) => {
                    *now += 1;
                    let again = unit.look_up_again(missed, *now);
                    let part = Open {
                        kind: missed.kind,
                        charge: missed.charge,
                        missed: again == Again::Missed,
                    };
                    match again {
                        Again::Missed => {}
                        Again::Hit => {
                            amendments.walks += 1;
                            each(part.charge, part.kind, &Outcome { walks: 1, ..Outcome::NONE });
                        }
                        Again::Other => return Err(Unsettled),
                    }
                    match &mut open {
                        Some(open) if by_reference && !missed.is_first => {
                            open.missed |= part.missed
                        }
                        _ => {
                            let before = open.replace(part);
                            amendments.close_look_up(before, &mut each);
                        }
                    }
                }
                LookUpNote::Event(event, dropped) => {
                    let before = unit.flushed();
                    unit.control(*event);
                    let after = unit.flushed();
                    for side in 0..2 {
                        amendments.flushed[side] += after[side] - before[side] - dropped[side];
                    }
                }
                LookUpNote::Registers(registers) => unit.set_registers(*registers),
                LookUpNote::Settled { side, set } => unit.settle(*side, *set),
                LookUpNote::Doubt => return Err(Unsettled),
            }
        }
        amendments.close_look_up(open, &mut each);
        Ok(())
    }
}

impl Amendments {
    fn close_look_up(&mut self, open: Option<Open>, each: &mut impl FnMut(u32, RefKind, &Outcome)) {
        if let Some(Open { kind, charge, missed: false }) = open {
            self.tlb_hits[kind.side() as usize] += 1;
            each(charge, kind, &Outcome { tlb_misses: 1, ..Outcome::NONE });
        }
    }
}

impl<F: FnMut(u32, RefKind, &Outcome)> Settling<'_, F> {
    fn requests(&mut self, requests: &[Request]) -> Result<(), Unsettled> {
        let mut open = None;
        for request in requests {
            let what = self.caches.ask(request);
            match *request {
                Request::Line { physical, charge, kind, is_first }
                | Request::Unsure { physical, charge, kind, is_first } => {
                    self.line(
                        &mut open,
                        is_first,
                        what,
                        Open { kind, charge, missed: false },
                        physical,
                    );
                }
                _ => match what {
                    Ask::WriteBack(physical) => {
                        self.settled.requests.push(Request::WriteBack { physical });
                    }
                    Ask::Same => self.settled.requests.push(*request),
                    Ask::Unknown => return Err(Unsettled),
                    Ask::Nothing | Ask::Hit | Ask::Missed { .. } => {}
                },
            }
        }
        self.close(open);
        Ok(())
    }

    fn line(
        &mut self,
        open: &mut Option<Open>,
        is_first: bool,
        what: Ask,
        part: Open,
        physical: u64,
    ) {
        if is_first || !self.by_reference || open.is_none() {
            let before = open.replace(part);
            self.close(before);
        }
        if what == Ask::Hit {
            return;
        }
        if let Ask::Missed { written: Some(physical) } = what {
            self.settled.requests.push(Request::WriteBack { physical });
        }
        let Some(open) = open else { return };
        let is_first = !std::mem::replace(&mut open.missed, true);
        let Open { kind, charge, .. } = *open;
        self.settled.requests.push(Request::Line { physical, charge, kind, is_first });
    }

    fn close(&mut self, open: Option<Open>) {
        let Some(Open { kind, charge, missed: false }) = open else { return };
        let number = match kind {
            RefKind::Fetch => 0,
            RefKind::Read => 1,
            RefKind::Write | RefKind::ModifyWrite => 2,
        };
        self.settled.amendments.hits[number] += 1;
        (self.each)(charge, kind, &Outcome { misses: [1, 0, 0], ..Outcome::NONE });
    }
}

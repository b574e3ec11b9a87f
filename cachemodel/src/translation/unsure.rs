//! TLBs whose past is not known: what is to be made again once it is.

use super::event::ControlEvent;
use super::processor::Processor;
use super::registers::ControlRegisters;
use super::scheme::Scheme;
use super::{FirstLevel, Side, TranslationUnit};
use crate::hierarchy::RefKind;
use crate::page::Mapping;

/// Something that is to be made again, or that matters to what is.
#[derive(Debug, Clone)]
pub(crate) enum LookUpNote {
    /// A page was looked up and not found.
    Missed(Missed),
    /// An event, and how many entries it dropped on each side from sets that were not settled.
    Event(ControlEvent, [u64; 2]),
    /// Control registers were set.
    Registers(ControlRegisters),
    /// From here on nothing of before is left in a set.
    Settled { side: Side, set: usize },
    /// An entry was hit under another key than its own, which the past could have held.
    Doubt,
}

/// A page that was not found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missed {
    pub(crate) kind: RefKind,
    pub(crate) charge: u32,
    pub(crate) va: u64,
    pub(crate) mapping: Mapping,
    /// It is the first page of its reference that was not found.
    pub(crate) is_first: bool,
    /// It would not have been found in its own set whatever was there before.
    pub(crate) is_sure: bool,
}

/// Where TLBs whose past is not known stand.
#[derive(Debug, Clone)]
pub(super) struct Unsure {
    /// By side and set: whether nothing of before is left.
    settled: [Vec<bool>; 2],
    /// Sets of both sides that are not.
    left: usize,
    notes: Vec<LookUpNote>,
    charge: u32,
    kind: RefKind,
    is_first: bool,
    /// What was assumed at the start.
    start: (Processor, Scheme),
}

impl Unsure {
    fn is_on(&self) -> bool {
        self.left > 0
    }

    pub(super) fn is_unsettled(&self, side: Side, set: usize) -> bool {
        !self.settled[side as usize][set]
    }
}

/// What making a look-up again has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Hit,
    Missed,
    /// An entry that would not be as the one made in its place.
    Other,
}

impl TranslationUnit {
    /// Whether the past can be forgotten and found again: each side has one array, which is LRU,
    /// and nothing is behind it; and schemes do not go by what ran long ago.
    pub(crate) fn can_forget(&self) -> bool {
        self.stlb.is_none()
            && self.first.iter().all(|first| first.tlb.sets_of_only_lru().is_some())
            && self.scheme.forgets()
    }

    /// From now on it is not known what the TLBs have held so far, and they are empty.
    pub(crate) fn forget_past(&mut self) {
        let settled = [0, 1].map(|side: usize| {
            vec![false; self.first[side].tlb.sets_of_only_lru().unwrap_or_default()]
        });
        let left = settled.iter().map(Vec::len).sum();
        self.unsure = Some(Box::new(Unsure {
            settled,
            left,
            notes: Vec::new(),
            charge: 0,
            kind: RefKind::Fetch,
            is_first: true,
            start: (self.processor.clone(), self.scheme.clone()),
        }));
    }

    /// Whether a past was forgotten that would have led to other registers.
    pub(crate) fn began_otherwise(&self, past: &Self) -> bool {
        let Some(unsure) = &self.unsure else { return false };
        let (processor, scheme) = &unsure.start;
        *processor != past.processor || !scheme.is_as(&past.scheme)
    }

    #[inline]
    pub(crate) fn set_charge(&mut self, charge: u32) {
        if let Some(unsure) = &mut self.unsure {
            unsure.charge = charge;
        }
    }

    /// Pages looked up from now on are those of another reference.
    #[inline]
    pub(crate) fn begin_reference(&mut self, kind: RefKind) {
        if let Some(unsure) = &mut self.unsure {
            unsure.kind = kind;
            unsure.is_first = true;
        }
    }

    pub(crate) fn take_look_up_notes(&mut self) -> Vec<LookUpNote> {
        self.unsure.as_mut().map(|unsure| std::mem::take(&mut unsure.notes)).unwrap_or_default()
    }

    /// A page was filled in at `place`, for another or for none.
    pub(super) fn note_missed(
        &mut self,
        side: Side,
        va: u64,
        mapping: Mapping,
        place: u32,
        evicted: bool,
    ) {
        let Some(unsure) = self.unsure.as_mut().filter(|unsure| unsure.is_on()) else { return };
        let set = self.first[side as usize].tlb.set_of(place);
        let settled = &mut unsure.settled[side as usize][set];
        unsure.notes.push(LookUpNote::Missed(Missed {
            kind: unsure.kind,
            charge: unsure.charge,
            va,
            mapping,
            is_first: std::mem::take(&mut unsure.is_first),
            is_sure: *settled || evicted,
        }));
        if evicted && !std::mem::replace(settled, true) {
            unsure.left -= 1;
            unsure.notes.push(LookUpNote::Settled { side, set });
        }
    }

    /// An entry was hit under another key than the stream's.
    pub(super) fn note_doubt(&mut self) {
        if let Some(unsure) = self.unsure.as_mut().filter(|unsure| unsure.is_on()) {
            unsure.notes.push(LookUpNote::Doubt);
        }
    }

    /// `all`: it dropped all that there is.
    pub(super) fn note_event(&mut self, event: ControlEvent, dropped: [u64; 2], all: bool) {
        if let Some(unsure) = self.unsure.as_mut().filter(|unsure| unsure.is_on()) {
            unsure.notes.push(LookUpNote::Event(event, dropped));
            if all {
                unsure.settled.iter_mut().for_each(|sets| sets.fill(true));
                unsure.left = 0;
            }
        }
    }

    pub(super) fn note_registers(&mut self, registers: ControlRegisters) {
        if let Some(unsure) = self.unsure.as_mut().filter(|unsure| unsure.is_on()) {
            unsure.notes.push(LookUpNote::Registers(registers));
        }
    }

    /// Makes a look-up again that missed where the past was not known.
    pub(crate) fn look_up_again(&mut self, missed: &Missed, now: u64) -> Again {
        let &Missed { kind, va, mapping, .. } = missed;
        let FirstLevel { tlb, .. } = &mut self.first[kind.side() as usize];
        let vpn = va >> 12;
        let entry = tlb.entry_of(vpn, mapping, &self.context);
        match tlb.look_up(vpn, entry.wanted, mapping.frame(), &self.context, now) {
            None => {
                if !missed.is_sure {
                    tlb.fill(&entry, now);
                }
                Again::Missed
            }
            // Of another size, in another set.
            Some(_) if missed.is_sure => Again::Other,
            Some(hit) => {
                let (_, _, target) = tlb.entry_at(&hit);
                let is_same = hit.agrees && !hit.stale && target == entry.target;
                if is_same { Again::Hit } else { Again::Other }
            }
        }
    }

    /// Drops all entries of a set of which nothing is left.
    pub(crate) fn settle(&mut self, side: Side, set: usize) {
        self.first[side as usize].tlb.clear_set(set);
    }

    /// Takes over what is left of before; everything is known from then on.
    pub(crate) fn adopt(&mut self, past: &Self) {
        let Some(unsure) = self.unsure.take() else { return };
        let Self { first, owners, .. } = self;
        for (side, first) in [Side::Instruction, Side::Data].into_iter().zip(first) {
            first.tlb.adopt_older(
                &past.first[side as usize].tlb,
                |set| unsure.is_unsettled(side, set),
                |owner| owners.number(*past.owners.get(owner)),
            );
            first.front.forget();
        }
    }
}

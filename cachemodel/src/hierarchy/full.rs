//! A reference with all its look-ups.

use super::{FetchedLine, Hierarchy, RefKind, beyond_first};
use crate::caches::Actor;
use crate::memory::{Levels, Place, Way};
use crate::outcome::Outcome;
use crate::page::{Mapping, PhysAddr};
use crate::semantics::Semantics;
use crate::span::{PAGE_BYTES, Span};
use crate::translation::{FlushCause, Known, PageLookup, TlbMissClass};
use crate::translator::Translator;

/// Misses of one TLB for one layer, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlbClassCounts {
    /// First look-ups of a page with this frame.
    pub cold: u64,
    /// An event had dropped the entry, and without it there would have been a hit.
    pub flush_induced: Vec<(FlushCause, u64)>,
    /// All others.
    pub capacity_or_conflict: u64,
}

impl TlbClassCounts {
    /// Flush-induced misses of every cause.
    #[must_use]
    pub fn flush_induced_total(&self) -> u64 {
        self.flush_induced.iter().map(|(_, count)| count).sum()
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cold + self.capacity_or_conflict + self.flush_induced_total()
    }

    fn add(&mut self, class: TlbMissClass) {
        match class {
            TlbMissClass::Cold => self.cold += 1,
            TlbMissClass::CapacityOrConflict => self.capacity_or_conflict += 1,
            TlbMissClass::FlushInduced(cause) => {
                match self.flush_induced.iter_mut().find(|(known, _)| *known == cause) {
                    Some((_, count)) => *count += 1,
                    None => self.flush_induced.push((cause, 1)),
                }
            }
        }
    }
}

/// Misses of ITLB and DTLB, by the number of the layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlbClasses {
    /// Of the ITLB.
    pub itlb: Vec<TlbClassCounts>,
    /// Of the DTLB.
    pub dtlb: Vec<TlbClassCounts>,
    actor: usize,
}

impl TlbClasses {
    pub(super) fn set_actor(&mut self, Actor(number): Actor) {
        self.actor = usize::from(number);
    }

    fn add(&mut self, kind: RefKind, class: TlbMissClass) {
        let rows = if kind == RefKind::Fetch { &mut self.itlb } else { &mut self.dtlb };
        if rows.len() <= self.actor {
            rows.resize(self.actor + 1, TlbClassCounts::default());
        }
        rows[self.actor].add(class);
    }
}

/// What the look-ups of a reference's pages found, together.
#[derive(Debug, Clone, Copy, Default)]
struct Pages {
    missed: bool,
    stlb_asked: bool,
    stlb_missed: bool,
    stale: bool,
    stale_in_stlb: bool,
    class: Option<TlbMissClass>,
}

impl Hierarchy {
    /// A reference that is not plain.
    #[inline(never)]
    pub(super) fn full<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        translator: &mut T,
    ) -> Outcome {
        if self.memory.notes_requests() {
            self.memory.begin_reference();
            self.unit.begin_reference(kind);
        }
        if self.is_plain
            && let Some(outcome) = self.plainly(kind, va, bytes)
        {
            return outcome;
        }
        if kind == RefKind::ModifyWrite && self.semantics == Semantics::Cachegrind {
            self.counts.references.folded_writes += 1;
            return Outcome::NONE;
        }
        let kind = if kind == RefKind::ModifyWrite { RefKind::Write } else { kind };
        if kind == RefKind::Fetch {
            self.instruction = va;
        }
        if kind == RefKind::Fetch || self.entangled {
            self.forget_fetch();
        }
        let counted = if kind == RefKind::Fetch { self.fetch_mask } else { self.data_mask };
        let beyond = beyond_first(bytes, counted);
        let mask = self.line_mask(kind);
        let last_line = va.wrapping_add(beyond) & mask;
        if va & mask != last_line {
            let are_neighbours = last_line.wrapping_sub(va & mask) == !mask + 1;
            if self.is_near
                && are_neighbours
                && (va ^ last_line) >> 12 == 0
                && let Some(known) = self.unit.known(kind.side(), va)
            {
                return self.two_lines(kind, [va, last_line], known);
            }
            return self.several_lines(kind, va, beyond + 1, translator);
        }
        self.now += 1;
        match self.unit.front(kind.side(), va, self.now) {
            Some(known) => self.missed_line(kind, va, known),
            None => self.one_line(kind, va, translator),
        }
    }

    /// A reference within one line whose page is known and whose line is not in the first level,
    /// or not to be had there alone.
    fn missed_line(&mut self, kind: RefKind, va: u64, known: Known) -> Outcome {
        let mut outcome = Outcome { tlb_accesses: 1, ..Outcome::NONE };
        self.count_reference(kind);
        self.tlb_counts(kind).all.add(false);
        self.access_line(kind, Place { physical: known.physical, va }, &mut outcome);
        self.know_line(kind, va, known);
        self.memory.finish();
        outcome
    }

    /// A reference to two lines of a known page, at these addresses.
    fn two_lines(&mut self, kind: RefKind, lines: [u64; 2], known: Known) -> Outcome {
        let mut outcome = Outcome { tlb_accesses: 1, ..Outcome::NONE };
        self.now += 1;
        self.unit.front(kind.side(), lines[0], self.now);
        self.count_reference(kind);
        self.tlb_counts(kind).all.add(false);
        let mut whole = Way::default();
        for va in lines {
            let physical = PhysAddr(known.physical.0 + (va - lines[0]));
            let way = self.memory.access(kind, Place { physical, va });
            self.know_line(kind, va, Known { physical, ..known });
            if self.semantics.counts_references() {
                whole |= way;
            } else {
                self.count_way(kind, way, &mut outcome);
            }
        }
        if self.semantics.counts_references() {
            self.count_way(kind, whole, &mut outcome);
        }
        self.memory.finish();
        outcome
    }

    /// A reference within one line, and so within one page.
    fn one_line<T: Translator>(&mut self, kind: RefKind, va: u64, translator: &mut T) -> Outcome {
        let mut outcome = Outcome::NONE;
        self.count_reference(kind);
        let mapping = translator.mapping(va);
        let mut pages = Pages::default();
        self.look_up_page(kind, va, mapping, translator, &mut pages, &mut outcome);
        self.count_pages(kind, pages, &mut outcome);
        if mapping.is_device() {
            self.access_device(kind, &mut outcome);
        } else {
            let place = Place { physical: mapping.physical(va), va };
            let known = self.unit.known(kind.side(), va);
            if self.is_plain {
                let way = self.plain_way(kind, place, known);
                self.count_way(kind, way, &mut outcome);
            } else {
                self.access_line(kind, place, &mut outcome);
                if let Some(known) = known {
                    self.know_line(kind, va, known);
                }
            }
        }
        self.memory.finish();
        outcome
    }

    /// The line just accessed in the first level hits from now on without a look-up.
    fn know_line(&mut self, kind: RefKind, va: u64, known: Known) {
        if self.is_near
            && let Some(entry) = known.near_place()
            && let Some(first) = self.memory.first_sets_for(kind)
            && first.know_latest(va, entry)
            && kind == RefKind::Fetch
            && self.memory.is_finished()
        {
            let mask = self.fetch_line_mask;
            self.fetched = FetchedLine { line: va & mask, reach: !mask + 1 };
        }
    }

    fn access_line(&mut self, kind: RefKind, place: Place, outcome: &mut Outcome) {
        self.memory.begin(self.instruction, (kind != RefKind::Fetch).then_some(place));
        let way = self.memory.access(kind, place);
        self.count_way(kind, way, outcome);
    }

    /// A reference that touches several lines, and maybe two pages.
    #[inline(never)]
    fn several_lines<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u64,
        translator: &mut T,
    ) -> Outcome {
        let mut outcome = Outcome::NONE;
        self.count_reference(kind);
        let in_first = bytes.min(PAGE_BYTES - va % PAGE_BYTES);
        let beyond = bytes - in_first;
        let head = Span { va, bytes: in_first, mapping: translator.mapping(va) };
        let tail = (beyond > 0).then(|| {
            let va = va.wrapping_add(in_first);
            Span { va, bytes: beyond.min(PAGE_BYTES), mapping: translator.mapping(va) }
        });
        self.counts.references.clipped += u64::from(beyond > PAGE_BYTES);
        self.look_up_pages(kind, head, tail, translator, &mut outcome);
        if head.mapping.is_device() || tail.is_some_and(|tail| tail.mapping.is_device()) {
            self.access_device(kind, &mut outcome);
        } else {
            self.look_up_lines(kind, head, tail, &mut outcome);
        }
        self.memory.finish();
        outcome
    }

    /// Looks each page up; two parts in one large page are one look-up.
    fn look_up_pages<T: Translator>(
        &mut self,
        kind: RefKind,
        head: Span,
        tail: Option<Span>,
        translator: &mut T,
        outcome: &mut Outcome,
    ) {
        let own_tail = tail.filter(|tail| !tail.is_in_large_page_of(head));
        let counts_references = self.semantics.counts_references();
        let mut pages = Pages::default();
        for span in [Some(head), own_tail].into_iter().flatten() {
            self.look_up_page(kind, span.va, span.mapping, translator, &mut pages, outcome);
            if !counts_references {
                self.count_pages(kind, std::mem::take(&mut pages), outcome);
            }
        }
        if counts_references {
            self.count_pages(kind, pages, outcome);
        }
    }

    fn look_up_page<T: Translator>(
        &mut self,
        kind: RefKind,
        va: u64,
        mapping: Mapping,
        translator: &mut T,
        pages: &mut Pages,
        outcome: &mut Outcome,
    ) {
        self.now += 1;
        if self.unit.front(kind.side(), va, self.now).is_some() {
            return;
        }
        let found = self.unit.look_up(kind.side(), va, mapping, self.now);
        let PageLookup { missed, stlb_missed, stale, replaced } = found;
        if let Some(entry) = replaced
            && let Some(first) = self.memory.first_sets_for(kind)
            && let Ok(entry) = u16::try_from(entry)
        {
            first.forget_entry(entry);
        }
        pages.missed |= missed;
        pages.stale |= stale && !missed;
        pages.stale_in_stlb |= stale && missed;
        pages.stlb_asked |= stlb_missed.is_some();
        pages.stlb_missed |= stlb_missed == Some(true);
        if missed && self.classes.is_some() {
            pages.class = pages.class.or(self.unit.last_class());
        }
        if missed && stlb_missed != Some(false) {
            self.walk(va, translator, outcome);
        }
    }

    /// No TLB knew the page.
    fn walk<T: Translator>(&mut self, va: u64, translator: &mut T, outcome: &mut Outcome) {
        self.counts.walks.walks += 1;
        outcome.walks += 1;
        if !self.walks {
            return;
        }
        let Some(walk) = translator.walk(va) else {
            self.counts.walks.unknown += 1;
            return;
        };
        let Self { unit, memory, counts, .. } = self;
        unit.walk(va, &walk, |entry| {
            counts.walks.references += 1;
            let Way { asked, missed } = memory.walk_read(entry);
            for level in 0..outcome.walk_accesses.len() {
                outcome.walk_accesses[level] += u16::from(asked.has(level));
                outcome.walk_misses[level] += u16::from(missed.has(level));
            }
        });
    }

    fn look_up_lines(
        &mut self,
        kind: RefKind,
        head: Span,
        tail: Option<Span>,
        outcome: &mut Outcome,
    ) {
        let shift = self.line_mask(kind).trailing_zeros();
        let places =
            || head.places(shift).chain(tail.into_iter().flat_map(move |span| span.places(shift)));
        let first = Place { physical: head.mapping.physical(head.va), va: head.va };
        self.memory.begin(self.instruction, (kind != RefKind::Fetch).then_some(first));
        if self.semantics == Semantics::Cachegrind {
            let way = self.look_up_lines_at_once(kind, places);
            return self.count_way(kind, way, outcome);
        }
        let mut whole = Way::default();
        for place in places() {
            // A line fetched before may go for this one.
            if kind == RefKind::Fetch {
                self.forget_fetch();
            }
            let way = self.memory.access(kind, place);
            if let Some(known) = self.unit.known(kind.side(), place.va) {
                self.know_line(kind, place.va, known);
            }
            if self.semantics.counts_references() {
                whole |= way;
            } else {
                self.count_way(kind, way, outcome);
            }
        }
        if self.semantics.counts_references() {
            self.count_way(kind, whole, outcome);
        }
    }

    /// All lines in level 1 first, and then, if one missed, all in the levels below.
    fn look_up_lines_at_once<I: Iterator<Item = Place>>(
        &mut self,
        kind: RefKind,
        places: impl Fn() -> I,
    ) -> Way {
        let mut way = Way { asked: Levels(1), missed: Levels(0) };
        let mut goes_on = false;
        for place in places() {
            let (hit, on) = self.memory.access_first_level(kind, place);
            way.missed.0 |= u8::from(!hit);
            goes_on |= on;
        }
        if goes_on {
            for place in places() {
                way |= self.memory.access_below(kind, place);
            }
        }
        way
    }

    /// Counts one access, of one line or of all lines of a reference.
    fn count_way(&mut self, kind: RefKind, way: Way, outcome: &mut Outcome) {
        for level in 0..self.machine.levels().len() {
            if !way.asked.has(level) {
                break;
            }
            let missed = way.missed.has(level);
            let counts = self.counts.level_mut(level);
            let tally = match kind {
                RefKind::Fetch => &mut counts.fetches,
                RefKind::Read => &mut counts.reads,
                RefKind::Write | RefKind::ModifyWrite => &mut counts.writes,
            };
            tally.add(missed);
            outcome.accesses[level] += 1;
            outcome.misses[level] += u16::from(missed);
        }
        self.memory.settle_classes(way.missed, kind == RefKind::Fetch);
    }

    fn count_pages(&mut self, kind: RefKind, pages: Pages, outcome: &mut Outcome) {
        let counts = self.tlb_counts(kind);
        counts.all.add(pages.missed);
        counts.stale_hits += u64::from(pages.stale);
        outcome.tlb_accesses += 1;
        outcome.tlb_misses += u16::from(pages.missed);
        outcome.stale_hits += u16::from(pages.stale) + u16::from(pages.stale_in_stlb);
        if pages.stlb_asked {
            let stlb = &mut self.counts.stlb;
            let tally = if kind == RefKind::Fetch { &mut stlb.fetches } else { &mut stlb.data };
            tally.add(pages.stlb_missed);
            stlb.stale_hits += u64::from(pages.stale_in_stlb);
            outcome.stlb_accesses += 1;
            outcome.stlb_misses += u16::from(pages.stlb_missed);
        }
        if let (Some(classes), Some(class)) = (&mut self.classes, pages.class) {
            classes.add(kind, class);
        }
        if let Some(sizes) = self.unit.sizes() {
            sizes.settle(kind.side());
        }
    }

    fn count_reference(&mut self, kind: RefKind) {
        match kind {
            RefKind::Fetch => self.counts.references.fetches += 1,
            RefKind::Read => self.counts.references.reads += 1,
            RefKind::Write | RefKind::ModifyWrite => self.counts.references.writes += 1,
        }
    }

    fn access_device(&mut self, kind: RefKind, outcome: &mut Outcome) {
        outcome.device = true;
        match kind {
            RefKind::Fetch => self.counts.device.fetches += 1,
            RefKind::Read => self.counts.device.reads += 1,
            RefKind::Write | RefKind::ModifyWrite => self.counts.device.writes += 1,
        }
    }

    fn tlb_counts(&mut self, kind: RefKind) -> &mut crate::counts::TlbCounts {
        match kind {
            RefKind::Fetch => &mut self.counts.itlb,
            _ => &mut self.counts.dtlb,
        }
    }
}

//! Split first level, unified second level, and two TLBs, driven by references.
//!
//! Caches are found and tagged by physical address throughout. The second level neither includes
//! nor excludes the first: what is dropped from it stays in L1.
//!
//! A fetch from the line fetched last is a hit in L1I and ITLB without a look-up: nothing but a
//! fetch touches either, so the line and the page are still in front of their sets. Whatever drops
//! lines or entries also forgets that line.

use crate::cache::{Cache, CacheLookup};
use crate::counts::{Counts, Tally};
use crate::error::BrokenLaw;
use crate::invalidation::{ControlEvent, ControlRegisters};
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::page::{Mapping, PhysAddr};
use crate::semantics::Semantics;
use crate::span::{PAGE_BYTES, Span};
use crate::tlb::{Tlb, TlbLookup};

/// Kind of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefKind {
    /// An instruction is fetched.
    Fetch,
    /// An operand is read; also the read half of a modify.
    Read,
    /// An operand is written.
    Write,
    /// The write half of a modify, which some semantics do not count.
    ModifyWrite,
}

/// The line fetched last, by virtual address, with the translation of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FetchedLine {
    virtual_line: u64,
    mapping: Mapping,
}

impl FetchedLine {
    const NONE: Self = Self { virtual_line: 0, mapping: Mapping::NONE };
}

/// Counted in one place instead of five.
#[derive(Debug, Clone, Copy, Default)]
struct PlainHits {
    fetches: u64,
    reads: u64,
    writes: u64,
}

/// Caches and TLBs of one processor.
///
/// ```
/// use strata_cachemodel::{Hierarchy, Mapping, PageSize, RefKind, preset};
///
/// let mut hierarchy = Hierarchy::new(&preset::named("vee07")?);
/// let page = Mapping::new(0x1234, PageSize::Size4K);
/// let outcome = hierarchy.access(RefKind::Read, 0x7f00_0000_0010, 8, page, None);
/// assert_eq!((outcome.l1_misses(), outcome.l2_misses(), outcome.tlb_misses()), (1, 1, 1));
/// assert!(hierarchy.access(RefKind::Write, 0x7f00_0000_0018, 8, page, None).is_all_hits());
/// assert_eq!(hierarchy.counts().l1d.total().accesses, 2);
/// # Ok::<(), strata_cachemodel::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hierarchy {
    semantics: Semantics,
    l1i: Cache,
    l1d: Cache,
    l2: Cache,
    itlb: Tlb,
    dtlb: Tlb,
    registers: ControlRegisters,
    last_fetch: FetchedLine,
    l1i_shift: u32,
    l1d_shift: u32,
    /// References within a line that hit in TLB and L1; all else about them is known.
    plain_hits: PlainHits,
    counts: Counts,
}

impl Hierarchy {
    /// Empty caches and TLBs, with global pages on and PCID 0.
    #[must_use]
    pub fn new(machine: &Machine) -> Self {
        Self {
            semantics: machine.semantics(),
            l1i: Cache::new(machine.l1i().geometry()),
            l1d: Cache::new(machine.l1d().geometry()),
            l2: Cache::new(machine.l2().expect("two levels").data().geometry()),
            itlb: Tlb::new(machine.itlb().arrays()[0].geometry()),
            dtlb: Tlb::new(machine.dtlb().arrays()[0].geometry()),
            registers: ControlRegisters::default(),
            last_fetch: FetchedLine::NONE,
            l1i_shift: machine.l1i().geometry().line_shift(),
            l1d_shift: machine.l1d().geometry().line_shift(),
            plain_hits: PlainHits::default(),
            counts: Counts::default(),
        }
    }

    /// One reference of `bytes` bytes at virtual address `va`.
    ///
    /// `first` translates the 4 KiB page of `va`, and `second` the next page if the reference
    /// reaches into it. What lies beyond the translations given, or beyond two pages, is left out
    /// and the reference counted as clipped. A reference of 0 bytes touches its first byte. A
    /// reference that touches a device's page goes to no cache.
    #[inline]
    pub fn access(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        first: Mapping,
        second: Option<Mapping>,
    ) -> Outcome {
        match kind {
            RefKind::Fetch => self.fetch(va, bytes, first, second),
            RefKind::Read => self.data(RefKind::Read, va, bytes, first, second),
            RefKind::Write => self.data(RefKind::Write, va, bytes, first, second),
            RefKind::ModifyWrite if self.semantics == Semantics::Cachegrind => {
                self.counts.references.folded_writes += 1;
                Outcome::NONE
            }
            RefKind::ModifyWrite => self.data(RefKind::Write, va, bytes, first, second),
        }
    }

    /// As [`Hierarchy::access`] with [`RefKind::Fetch`].
    #[inline]
    pub fn fetch(
        &mut self,
        va: u64,
        bytes: u32,
        first: Mapping,
        second: Option<Mapping>,
    ) -> Outcome {
        let bytes = self.bytes_touched(bytes);
        let line = va >> self.l1i_shift;
        let last_line = va.wrapping_add(bytes - 1) >> self.l1i_shift;
        if line != last_line {
            return self.several_lines(RefKind::Fetch, va, bytes, first, second);
        }
        if self.last_fetch == (FetchedLine { virtual_line: line, mapping: first }) {
            self.plain_hits.fetches += 1;
            return Outcome::HIT;
        }
        self.one_line(RefKind::Fetch, va, first)
    }

    /// `count` more fetches, each of bytes in the line of `va`, right after a fetch that ended in
    /// that line: all are hits, and are counted as such. False, with nothing counted, where that
    /// is not certain (the fetch before went to a device, to another line, or hit a stale entry);
    /// they must then be made one by one.
    ///
    /// Equal to `count` calls of [`Hierarchy::fetch`], which is what tests hold it against.
    #[inline]
    pub fn fetch_again(&mut self, va: u64, mapping: Mapping, count: u64) -> bool {
        let line = FetchedLine { virtual_line: va >> self.l1i_shift, mapping };
        let certain = self.last_fetch == line;
        if certain {
            *self.plain_hits(RefKind::Fetch) += count;
        }
        certain
    }

    /// Size of a line of the first-level instruction cache in bytes, a power of two.
    #[must_use]
    pub fn fetch_line_bytes(&self) -> u64 {
        1 << self.l1i_shift
    }

    #[inline(always)]
    fn data(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u32,
        first: Mapping,
        second: Option<Mapping>,
    ) -> Outcome {
        let bytes = self.bytes_touched(bytes);
        if va >> self.l1d_shift != va.wrapping_add(bytes - 1) >> self.l1d_shift {
            return self.several_lines(kind, va, bytes, first, second);
        }
        self.one_line(kind, va, first)
    }

    #[inline(always)]
    fn bytes_touched(&self, bytes: u32) -> u64 {
        if self.semantics == Semantics::FirstByte { 1 } else { u64::from(bytes.max(1)) }
    }

    /// A reference within one line, and so within one page.
    #[inline(always)]
    fn one_line(&mut self, kind: RefKind, va: u64, mapping: Mapping) -> Outcome {
        let tlb = self.look_up_page(kind, va, mapping);
        if mapping.is_device() {
            let mut outcome = Outcome::NONE;
            self.count_reference(kind);
            self.count_tlb(kind, tlb == TlbLookup::Miss, tlb == TlbLookup::StaleHit, &mut outcome);
            self.access_device(kind, &mut outcome);
            return outcome;
        }
        let address = mapping.physical(va);
        let found = self.look_up_l1(kind, address);
        if kind == RefKind::Fetch {
            self.remember_fetch(va, mapping, tlb);
        }
        if tlb == TlbLookup::Hit && found == CacheLookup::Hit {
            *self.plain_hits(kind) += 1;
            return Outcome::HIT;
        }
        self.one_line_missed(kind, address, tlb, found)
    }

    /// The rest of a reference within one line that was not a hit in TLB and L1.
    #[inline(never)]
    fn one_line_missed(
        &mut self,
        kind: RefKind,
        address: PhysAddr,
        tlb: TlbLookup,
        found: CacheLookup,
    ) -> Outcome {
        let mut outcome = Outcome::NONE;
        self.count_reference(kind);
        self.count_tlb(kind, tlb == TlbLookup::Miss, tlb == TlbLookup::StaleHit, &mut outcome);
        let missed = found != CacheLookup::Hit;
        let l2_missed = missed && self.fill_from_l2(address, found);
        self.count_caches(kind, missed, l2_missed, &mut outcome);
        outcome
    }

    /// A reference that touches several lines, and maybe two pages.
    #[cold]
    #[inline(never)]
    fn several_lines(
        &mut self,
        kind: RefKind,
        va: u64,
        bytes: u64,
        first: Mapping,
        second: Option<Mapping>,
    ) -> Outcome {
        let mut outcome = Outcome::NONE;
        self.count_reference(kind);
        let in_first = bytes.min(PAGE_BYTES - va % PAGE_BYTES);
        let beyond = bytes - in_first;
        let head = Span { va, bytes: in_first, mapping: first };
        let tail = second.filter(|_| beyond > 0).map(|mapping| Span {
            va: va.wrapping_add(in_first),
            bytes: beyond.min(PAGE_BYTES),
            mapping,
        });
        if beyond > tail.map_or(0, |tail| tail.bytes) {
            self.counts.references.clipped += 1;
        }
        let last_lookup = self.look_up_pages(kind, head, tail, &mut outcome);
        if first.is_device() || tail.is_some_and(|tail| tail.mapping.is_device()) {
            self.access_device(kind, &mut outcome);
            return outcome;
        }
        self.look_up_lines(kind, head, tail, &mut outcome);
        if kind == RefKind::Fetch {
            let end = tail.unwrap_or(head);
            match last_lookup {
                Some(tlb) => {
                    self.remember_fetch(end.va.wrapping_add(end.bytes - 1), end.mapping, tlb)
                }
                None => self.last_fetch = FetchedLine::NONE,
            }
        }
        outcome
    }

    /// Looks each page up; two parts in one large page are one look-up. Returns what the last one
    /// found, unless the last part had none of its own.
    fn look_up_pages(
        &mut self,
        kind: RefKind,
        head: Span,
        tail: Option<Span>,
        outcome: &mut Outcome,
    ) -> Option<TlbLookup> {
        let own_tail = tail.filter(|tail| !tail.is_in_large_page_of(head));
        let looked_up = [Some(head), own_tail];
        let mut last = TlbLookup::Hit;
        let (mut missed, mut stale) = (false, false);
        for span in looked_up.into_iter().flatten() {
            last = self.look_up_page(kind, span.va, span.mapping);
            if self.semantics.counts_references() {
                missed |= last == TlbLookup::Miss;
                stale |= last == TlbLookup::StaleHit;
            } else {
                self.count_tlb(kind, last == TlbLookup::Miss, last == TlbLookup::StaleHit, outcome);
            }
        }
        if self.semantics.counts_references() {
            self.count_tlb(kind, missed, stale, outcome);
        }
        (tail.is_some() == own_tail.is_some()).then_some(last)
    }

    fn look_up_lines(
        &mut self,
        kind: RefKind,
        head: Span,
        tail: Option<Span>,
        outcome: &mut Outcome,
    ) {
        let shift = if kind == RefKind::Fetch { self.l1i_shift } else { self.l1d_shift };
        let lines =
            || head.lines(shift).chain(tail.into_iter().flat_map(move |span| span.lines(shift)));
        let splits = !self.semantics.counts_references();
        let whole_to_l2 = self.semantics == Semantics::Cachegrind;
        let (mut l1_missed, mut l2_missed) = (false, false);
        for address in lines() {
            let found = self.look_up_l1(kind, address);
            let missed = found != CacheLookup::Hit;
            // L1 and L2 do not act on each other, so asking L2 here gives the same as asking it
            // after all of L1's look-ups.
            let missed_l2 = missed && !whole_to_l2 && self.fill_from_l2(address, found);
            if splits {
                self.count_caches(kind, missed, missed_l2, outcome);
            }
            l1_missed |= missed;
            l2_missed |= missed_l2;
        }
        if splits {
            return;
        }
        if whole_to_l2 && l1_missed {
            for address in lines() {
                l2_missed |= self.fill_from_l2(address, CacheLookup::Miss);
            }
        }
        self.count_caches(kind, l1_missed, l2_missed, outcome);
    }

    /// What an L1 miss does to L2: takes in the victim where the semantics say so, then looks the
    /// line up. Returns whether that missed.
    #[inline(never)]
    fn fill_from_l2(&mut self, address: PhysAddr, l1: CacheLookup) -> bool {
        if let CacheLookup::MissWithDirtyVictim(victim) = l1
            && self.semantics.writes_back()
        {
            // Only data is written, so the victim's line is one of L1D.
            let line = self.l2.line_of(self.l1d.address_of(victim));
            let found = self.l2.access(line, true);
            self.counts.l2.writebacks += 1;
            self.counts.l2.writeback_misses += u64::from(found != CacheLookup::Hit);
            self.count_memory_writeback(found);
        }
        let found = self.l2.access(self.l2.line_of(address), false);
        self.count_memory_writeback(found);
        found != CacheLookup::Hit
    }

    #[inline(always)]
    fn look_up_page(&mut self, kind: RefKind, va: u64, mapping: Mapping) -> TlbLookup {
        match kind {
            RefKind::Fetch => self.itlb.access(va, mapping),
            _ => self.dtlb.access(va, mapping),
        }
    }

    #[inline(always)]
    fn look_up_l1(&mut self, kind: RefKind, address: PhysAddr) -> CacheLookup {
        match kind {
            RefKind::Fetch => self.l1i.access(self.l1i.line_of(address), false),
            _ => self.l1d.access(self.l1d.line_of(address), kind != RefKind::Read),
        }
    }

    /// `va` is in the line looked up last, and `tlb` is what its page's look-up found.
    #[inline(always)]
    fn remember_fetch(&mut self, va: u64, mapping: Mapping, tlb: TlbLookup) {
        self.last_fetch = match tlb {
            TlbLookup::StaleHit => FetchedLine::NONE,
            TlbLookup::Hit | TlbLookup::Miss => {
                FetchedLine { virtual_line: va >> self.l1i_shift, mapping }
            }
        };
    }

    #[inline(always)]
    fn count_reference(&mut self, kind: RefKind) {
        match kind {
            RefKind::Fetch => self.counts.references.fetches += 1,
            RefKind::Read => self.counts.references.reads += 1,
            RefKind::Write | RefKind::ModifyWrite => self.counts.references.writes += 1,
        }
    }

    #[inline(always)]
    fn count_tlb(&mut self, kind: RefKind, missed: bool, stale: bool, outcome: &mut Outcome) {
        let counts = match kind {
            RefKind::Fetch => &mut self.counts.itlb,
            _ => &mut self.counts.dtlb,
        };
        counts.all.add(missed);
        counts.stale_hits += u64::from(stale);
        outcome.add_tlb(missed, stale);
    }

    #[inline(always)]
    fn plain_hits(&mut self, kind: RefKind) -> &mut u64 {
        match kind {
            RefKind::Fetch => &mut self.plain_hits.fetches,
            RefKind::Read => &mut self.plain_hits.reads,
            RefKind::Write | RefKind::ModifyWrite => &mut self.plain_hits.writes,
        }
    }

    #[inline(always)]
    fn l1_tally(&mut self, kind: RefKind) -> &mut Tally {
        match kind {
            RefKind::Fetch => &mut self.counts.l1i,
            RefKind::Read => &mut self.counts.l1d.reads,
            RefKind::Write | RefKind::ModifyWrite => &mut self.counts.l1d.writes,
        }
    }

    #[inline(always)]
    fn l2_tally(&mut self, kind: RefKind) -> &mut Tally {
        match kind {
            RefKind::Fetch => &mut self.counts.l2.fetches,
            RefKind::Read => &mut self.counts.l2.reads,
            RefKind::Write | RefKind::ModifyWrite => &mut self.counts.l2.writes,
        }
    }

    fn count_caches(
        &mut self,
        kind: RefKind,
        l1_missed: bool,
        l2_missed: bool,
        outcome: &mut Outcome,
    ) {
        self.l1_tally(kind).add(l1_missed);
        outcome.add_l1(l1_missed);
        if l1_missed {
            self.l2_tally(kind).add(l2_missed);
            outcome.add_l2_miss(l2_missed);
        }
    }

    fn count_memory_writeback(&mut self, l2: CacheLookup) {
        let written = matches!(l2, CacheLookup::MissWithDirtyVictim(_));
        self.counts.l2.memory_writebacks += u64::from(written);
    }

    #[cold]
    fn access_device(&mut self, kind: RefKind, outcome: &mut Outcome) {
        match kind {
            RefKind::Fetch => {
                self.counts.device.fetches += 1;
                // Its page may have taken the entry of the line fetched last.
                self.last_fetch = FetchedLine::NONE;
            }
            RefKind::Read => self.counts.device.reads += 1,
            RefKind::Write | RefKind::ModifyWrite => self.counts.device.writes += 1,
        }
        outcome.mark_device();
    }

    /// An event that may drop TLB entries. Costs a walk over both TLBs when it does.
    pub fn control(&mut self, event: ControlEvent) {
        let flush = self.registers.apply(event, &mut self.counts.flushes);
        self.counts.itlb.flushed += self.itlb.flush(flush);
        self.counts.dtlb.flushed += self.dtlb.flush(flush);
        self.use_registers();
    }

    /// States the control registers, as at the start of a stream; drops nothing.
    pub fn set_control_registers(&mut self, registers: ControlRegisters) {
        self.registers = registers;
        self.use_registers();
    }

    /// The control registers as the events have left them.
    #[must_use]
    pub fn control_registers(&self) -> ControlRegisters {
        self.registers
    }

    fn use_registers(&mut self) {
        let (pcid, global_pages) = (self.registers.pcid(), self.registers.global_pages());
        self.itlb.set_context(pcid, global_pages);
        self.dtlb.set_context(pcid, global_pages);
        self.last_fetch = FetchedLine::NONE;
    }

    /// A device wrote `length` bytes of memory at `start`: every cache drops the lines touched.
    pub fn invalidate_physical(&mut self, start: PhysAddr, length: u64) {
        self.last_fetch = FetchedLine::NONE;
        let dma = &mut self.counts.dma;
        dma.transfers += 1;
        dma.l1i_lines += self.l1i.invalidate_range(start, length);
        dma.l1d_lines += self.l1d.invalidate_range(start, length);
        dma.l2_lines += self.l2.invalidate_range(start, length);
    }

    /// Lines of L1D that are yet to be written back. Costs a walk over it.
    #[must_use]
    pub fn dirty_l1d_lines(&self) -> u64 {
        self.l1d.dirty_lines()
    }

    /// What counts as an access.
    #[must_use]
    pub fn semantics(&self) -> Semantics {
        self.semantics
    }

    /// Everything counted so far. Copies some sixty numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        let PlainHits { fetches, reads, writes } = self.plain_hits;
        let hits = |count| Tally { accesses: count, hits: count, misses: 0 };
        counts.references.fetches += fetches;
        counts.references.reads += reads;
        counts.references.writes += writes;
        counts.l1i += hits(fetches);
        counts.l1d.reads += hits(reads);
        counts.l1d.writes += hits(writes);
        counts.itlb.all += hits(fetches);
        counts.dtlb.all += hits(reads + writes);
        counts
    }

    /// Checks that the counts keep their laws.
    ///
    /// # Errors
    /// The first law that is broken.
    pub fn check_laws(&self) -> Result<(), BrokenLaw> {
        self.counts().check_laws(self.semantics)
    }
}

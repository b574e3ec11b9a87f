//! From virtual to physical addresses: TLBs, what their entries are tagged with, what events drop,
//! and the walks of page tables.
//!
//! The stream tells the right translation of each page; a TLB only tells whether a processor would
//! have known it. What is behind each rule is in `docs/models.md`; [`manual`] cites the
//! processors' manuals, event by event.

mod array;
mod classes;
mod counts;
mod entry;
mod event;
mod flush;
mod front;
mod manual;
mod processor;
mod recent_pages;
mod registers;
mod scheme;
mod size_stack;
mod sizes;
mod tags;
#[cfg(test)]
mod tests;
mod tlb;
mod unsure;
mod walk_caches;
mod what_if;

pub use classes::TlbMissClass;
pub use counts::FlushCounts;
pub use event::{Broadcast, ControlEvent};
pub use flush::FlushCause;
pub use registers::ControlRegisters;
pub use sizes::{SizedCounts, TlbSizes};

use classes::Classifier;
use flush::Flush;
use front::Front;
pub(crate) use front::Known;
use processor::Processor;
use scheme::Scheme;
pub(crate) use sizes::Sizes;
use tags::{Context, OwnerTable};
pub(crate) use tlb::UseTimes;
use tlb::{Structure, Tlb};
use unsure::Unsure;
pub(crate) use unsure::{Again, LookUpNote};
use walk_caches::WalkCaches;

use crate::machine::{Machine, TlbSpec, Vendor};
use crate::page::{Mapping, PhysAddr};
use crate::translator::PageWalk;

/// Which first-level TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// That of fetches.
    Instruction = 0,
    /// That of reads and writes.
    Data = 1,
}

/// What the look-up of a page found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLookup {
    /// The first level did not have it.
    pub(crate) missed: bool,
    /// The second level did not have it either; `None` where there is none or it was not asked.
    pub(crate) stlb_missed: Option<bool>,
    /// The entry found has another frame than the stream's: the page tables changed and no event
    /// that drops the entry was seen. It stays, as it would in a processor.
    pub(crate) stale: bool,
    /// The place in the first level of an entry that had to go.
    pub(crate) replaced: Option<u32>,
}

impl PageLookup {
    const HIT: Self = Self { missed: false, stlb_missed: None, stale: false, replaced: None };

    /// Whether no TLB had it, so that the tables are walked.
    #[cfg(test)]
    pub(crate) fn walked(self) -> bool {
        self.missed && self.stlb_missed != Some(false)
    }
}

/// A first-level TLB and what goes with it.
#[derive(Debug, Clone)]
struct FirstLevel {
    front: Front,
    tlb: Tlb,
    flushed: u64,
    classifier: Option<Box<Classifier>>,
}

impl FirstLevel {
    fn new(spec: &TlbSpec, structure: Structure, seed: u64, cpu: u16) -> Self {
        let tlb = Tlb::new(spec, structure, seed, cpu);
        Self { front: Front::new(), tlb, flushed: 0, classifier: None }
    }

    #[inline(always)]
    fn known_pages(&mut self) -> Option<KnownPages<'_>> {
        Some(KnownPages { front: &self.front, used: self.tlb.used_times()? })
    }

    /// Returns whether anything was dropped, and counts what was in sets that `is_unsettled`.
    fn flush(
        &mut self,
        flush: &Flush,
        owners: &OwnerTable,
        is_unsettled: impl Fn(usize) -> bool,
        unsettled: &mut u64,
    ) -> bool {
        let classifier = &mut self.classifier;
        let dropped = self.tlb.flush(flush, owners, |removed, set| {
            *unsettled += u64::from(is_unsettled(set));
            if let Some(classifier) = classifier {
                classifier.dropped(removed.key, removed.target, Some(flush.cause));
            }
        });
        self.flushed += dropped;
        dropped > 0
    }
}

/// Pages of one side whose look-ups are known.
#[derive(Debug)]
pub(crate) struct KnownPages<'u> {
    front: &'u Front,
    /// Times of last use of the TLB's entries, by place.
    pub(crate) used: &'u mut UseTimes,
}

impl KnownPages<'_> {
    /// What is known of an address without being used.
    #[inline]
    pub(crate) fn get(&self, va: u64) -> Option<Known> {
        self.front.get(va)
    }
}

/// All TLBs, registers and paging-structure caches of one CPU.
#[derive(Debug, Clone)]
pub(crate) struct TranslationUnit {
    first: [FirstLevel; 2],
    context: Context,
    stlb: Option<Tlb>,
    stlb_flushed: u64,
    owners: OwnerTable,
    processor: Processor,
    scheme: Scheme,
    vendor: Vendor,
    walk_caches: WalkCaches,
    counts: FlushCounts,
    last_side: Side,
    /// Other sizes and schemes, of which the first level is the filter.
    sizes: Option<Box<Sizes>>,
    /// What a classifier is made from.
    specs: Box<[TlbSpec; 2]>,
    seed: u64,
    cpu: u16,
    /// Where it is not known what the TLBs held before.
    unsure: Option<Box<Unsure>>,
}

impl TranslationUnit {
    /// Empty TLBs of one CPU, in long mode with PCID 0 and global pages on.
    pub(crate) fn new(machine: &Machine, cpu: u16) -> Self {
        let seed = machine.seed();
        let processor = Processor::new(machine.vendor());
        let mut scheme = Scheme::new(machine);
        scheme.follow(&processor.running());
        let mut owners = OwnerTable::new();
        Self {
            first: [
                FirstLevel::new(machine.itlb(), Structure::Itlb, seed, cpu),
                FirstLevel::new(machine.dtlb(), Structure::Dtlb, seed, cpu),
            ],
            context: scheme.context(&processor.running(), &mut owners),
            stlb: machine.stlb().map(|spec| Tlb::new(spec, Structure::Stlb, seed, cpu)),
            stlb_flushed: 0,
            owners,
            processor,
            scheme,
            vendor: machine.vendor(),
            walk_caches: WalkCaches::new(machine.walk()),
            counts: FlushCounts::default(),
            last_side: Side::Instruction,
            sizes: None,
            specs: Box::new([machine.itlb().clone(), machine.dtlb().clone()]),
            seed,
            cpu,
            unsure: None,
        }
    }

    /// Where an address is whose page is known to hit without being looked up; the entry has then
    /// been used at `now`. Never of a device's page. Equal to [`TranslationUnit::look_up`], which
    /// is to be asked where there is none.
    #[inline(always)]
    pub(crate) fn front(&mut self, side: Side, va: u64, now: u64) -> Option<Known> {
        let first = &mut self.first[side as usize];
        let known = first.front.get(va)?;
        first.tlb.hit_again(known.place, now);
        Some(known)
    }

    /// What is known of an address without being used.
    #[inline]
    pub(crate) fn known(&self, side: Side, va: u64) -> Option<Known> {
        self.first[side as usize].front.get(va)
    }

    /// What hits that are known need of both sides, where policies keep nothing but the time of last
    /// use.
    #[inline(always)]
    pub(crate) fn known_pages(&mut self) -> Option<[KnownPages<'_>; 2]> {
        let [instruction, data] = &mut self.first;
        Some([instruction.known_pages()?, data.known_pages()?])
    }

    /// Whether [`TranslationUnit::known_pages`] may be used.
    pub(crate) fn keeps_only_times(&self) -> bool {
        self.first.iter().all(|first| first.tlb.only_times())
    }

    /// Looks up `va`, which the stream translates by `mapping`, and fills on a miss. `now` is not 0
    /// and rises with every call of this and of [`TranslationUnit::front`].
    #[inline]
    pub(crate) fn look_up(
        &mut self,
        side: Side,
        va: u64,
        mapping: Mapping,
        now: u64,
    ) -> PageLookup {
        let first = &mut self.first[side as usize];
        let vpn = va >> 12;
        let own = first.tlb.wanted(vpn, mapping, &self.context);
        let hit = first.tlb.look_up(vpn, own, mapping.frame(), &self.context, now);
        if let Some(classifier) = &mut first.classifier {
            classifier.look_up(vpn, mapping, hit.is_none(), now);
            self.last_side = side;
        }
        let Some(hit) = hit else { return self.miss(side, va, mapping, now) };
        let mut is_watched = false;
        if let Some(sizes) = &mut self.sizes {
            let place = first.tlb.place_of(&hit);
            is_watched = sizes.hit(side, vpn, mapping, place, hit.agrees);
        }
        if hit.agrees && !hit.stale && !is_watched {
            first.front.remember(va, mapping, first.tlb.place_of(&hit));
        } else {
            self.note_doubt();
        }
        PageLookup { stale: hit.stale, ..PageLookup::HIT }
    }

    /// Asks the second level and fills.
    #[inline(never)]
    fn miss(&mut self, side: Side, va: u64, mapping: Mapping, now: u64) -> PageLookup {
        let vpn = va >> 12;
        let first = &mut self.first[side as usize];
        let mut entry = first.tlb.entry_of(vpn, mapping, &self.context);
        let mut found = PageLookup { missed: true, ..PageLookup::HIT };
        if let Some(stlb) = &mut self.stlb {
            let own = stlb.entry_of(vpn, mapping, &self.context);
            let hit = stlb.look_up(vpn, own.wanted, mapping.frame(), &self.context, now);
            found.stlb_missed = Some(hit.is_none());
            match hit {
                None => {
                    stlb.fill(&own, now);
                }
                Some(hit) if hit.stale => {
                    let (key, owner, target) = stlb.entry_at(&hit);
                    entry = first.tlb.entry_from(vpn, key, owner, target);
                    found.stale = true;
                }
                Some(_) => {}
            }
        }
        let (place, evicted) = first.tlb.fill(&entry, now);
        if let Some(classifier) = &mut first.classifier {
            classifier.dropped(entry.wanted.key, entry.target, None);
        }
        if let Some(evicted) = evicted {
            first.front.forget_entry(evicted.key, place);
            found.replaced = Some(place);
            if let Some(classifier) = &mut first.classifier {
                classifier.dropped(evicted.key, evicted.target, None);
            }
        }
        let is_watched = self
            .sizes
            .as_mut()
            .is_some_and(|sizes| sizes.missed(side, vpn, mapping, place, evicted.is_some()));
        if !found.stale && !is_watched {
            first.front.remember(va, mapping, place);
        }
        if self.unsure.is_some() {
            self.note_missed(side, va, mapping, place, evicted.is_some());
        }
        found
    }

    /// An event that may drop entries or change which can be used. Where it drops any it costs a
    /// walk over the TLBs. Says whether what was known may hold no longer.
    pub(crate) fn control(&mut self, event: ControlEvent) -> bool {
        if self.sizes.is_some() {
            return self.control_sizes(event);
        }
        let before = self.processor.running();
        if !self.processor.apply(event) {
            return false;
        }
        let after = self.processor.running();
        let by_manual = manual::flush(self.vendor, event, &before, &after);
        self.counts.count(event, &before, &after, by_manual.as_ref());
        let flushes = self.scheme.flush(self.vendor, event, by_manual, &before, &after);
        let mut forgot = event.loads_registers();
        let (mut unsettled, mut all) = ([0; 2], false);
        for flush in flushes.into_iter().flatten() {
            forgot |= self.drop_entries(&flush, &mut unsettled);
            all |= flush.is_of_all_entries();
        }
        self.note_event(event, unsettled, all);
        if event.loads_registers() {
            self.use_registers();
        }
        forgot
    }

    /// The same where the TLBs are a filter for others.
    fn control_sizes(&mut self, event: ControlEvent) -> bool {
        let is_concerned = Sizes::is_concerned(event);
        if is_concerned {
            self.empty_filter();
        }
        if let Some(sizes) = &mut self.sizes {
            sizes.control(event);
        }
        is_concerned
    }

    fn empty_filter(&mut self) {
        let Some(sizes) = &mut self.sizes else { return };
        let everything = Flush::everything(FlushCause::Other);
        for (side, first) in [Side::Instruction, Side::Data].into_iter().zip(&mut self.first) {
            sizes.emptied(side, &first.tlb.places_by_use());
            first.flush(&everything, &self.owners, |_| false, &mut 0);
            first.front.forget();
        }
    }

    /// From now on these sizes and schemes are counted too, for which the first level is the
    /// filter; to be called before anything else.
    pub(crate) fn filter_for(&mut self, sizes: Sizes) {
        self.sizes = Some(Box::new(sizes));
    }

    /// The other sizes and schemes.
    #[inline(always)]
    pub(crate) fn sizes(&mut self) -> Option<&mut Sizes> {
        self.sizes.as_deref_mut()
    }

    /// Says whether there were any in the first level. Adds up, by side, how many were in sets of
    /// which something from before may be left.
    fn drop_entries(&mut self, flush: &Flush, unsettled: &mut [u64; 2]) -> bool {
        let mut some = false;
        for (side, first) in [Side::Instruction, Side::Data].into_iter().zip(&mut self.first) {
            let unsure = self.unsure.as_deref();
            let is_unsettled = |set| unsure.is_some_and(|unsure| unsure.is_unsettled(side, set));
            if first.flush(flush, &self.owners, is_unsettled, &mut unsettled[side as usize]) {
                first.front.forget();
                some = true;
            }
        }
        if let Some(stlb) = &mut self.stlb {
            self.stlb_flushed += stlb.flush(flush, &self.owners, |_, _| {});
        }
        self.walk_caches.flush(flush, &self.owners);
        some
    }

    /// Follows registers that have changed. What is in front is forgotten even if no entry went: a
    /// page with a global entry may have another translation now, which is a stale hit.
    fn use_registers(&mut self) {
        self.context = self.scheme.context(&self.processor.running(), &mut self.owners);
        for first in &mut self.first {
            first.front.forget();
        }
    }

    /// States the control registers of what runs, as at the start of a stream; drops nothing.
    pub(crate) fn set_registers(&mut self, registers: ControlRegisters) {
        self.empty_filter();
        if let Some(sizes) = &mut self.sizes {
            sizes.set_registers(registers);
        }
        self.processor.set_registers(registers);
        self.scheme.follow(&self.processor.running());
        self.use_registers();
        self.note_registers(registers);
    }

    /// The control registers of what runs, as the events have left them.
    #[cfg(test)]
    pub(crate) fn registers(&self) -> ControlRegisters {
        self.processor.running().registers
    }

    /// The stream has told another translation for the page of `va`, of `bytes` bytes. Drops no
    /// entry.
    pub(crate) fn forget_translation(&mut self, va: u64, bytes: u64) {
        for first in &mut self.first {
            if bytes <= 4096 {
                first.front.forget_page(va);
            } else {
                first.front.forget();
            }
        }
    }

    /// Makes the walk for `va`: tells each table entry read, in order, and updates the caches that
    /// shorten walks.
    pub(crate) fn walk(&mut self, va: u64, walk: &PageWalk, read: impl FnMut(PhysAddr)) {
        let running = self.processor.running();
        let nested = self.owners.number(scheme::nested_owner(&running, self.vendor));
        self.walk_caches.walk(va, walk, self.context.own, nested, read);
    }

    /// Events so far.
    pub(crate) fn flush_counts(&self) -> FlushCounts {
        self.scheme.complete(self.counts)
    }

    /// Entries that events dropped from ITLB, DTLB and STLB.
    pub(crate) fn flushed(&self) -> [u64; 3] {
        [self.first[0].flushed, self.first[1].flushed, self.stlb_flushed]
    }

    /// From now on tells the class of each first-level miss. Every look-up is then made in full,
    /// and memory grows with the number of pages looked up.
    pub(crate) fn enable_classification(&mut self) {
        let structures = [Structure::Itlb, Structure::Dtlb];
        for (number, first) in self.first.iter_mut().enumerate() {
            let (spec, structure) = (&self.specs[number], structures[number]);
            let classifier = Classifier::new(spec, structure, self.seed, self.cpu);
            first.classifier = Some(Box::new(classifier));
            first.front.switch_off();
        }
    }

    /// Class of the last look-up, if it missed in the first level and classification is on.
    pub(crate) fn last_class(&self) -> Option<TlbMissClass> {
        self.first[self.last_side as usize].classifier.as_ref()?.last()
    }
}

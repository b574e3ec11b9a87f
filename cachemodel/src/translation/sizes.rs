//! TLBs of many sizes under several tag schemes, from the misses of the smallest.
//!
//! The unit's own TLBs are a filter: as large as the smallest size, and emptied by every event that
//! can drop entries or change which can be used. What hits there was looked up since the last such
//! event, and hits in every size under every scheme. What the filter misses and was looked up since
//! the last event is as deep under every scheme ([`RecentPages`]). Only the first look-up of a page
//! since an event, and the events, are looked at once for each scheme.

use super::entry::{Key, Target, base};
use super::event::ControlEvent;
use super::flush::{Flush, Globals};
use super::processor::Processor;
use super::recent_pages::{Page, RecentPages};
use super::registers::ControlRegisters;
use super::scheme::Scheme;
use super::size_stack::{Name, SizeStack};
use super::tags::{Context, GlobalPages, OwnerTable};
use super::{FlushCounts, Side, manual};
use crate::counts::Counts;
use crate::machine::{Machine, Replacement, TagScheme, TlbSpec, Vendor, WalkMemory};
use crate::page::{Mapping, PageSize};
use crate::semantics::Semantics;

/// Which sizes and schemes are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlbSizes {
    /// Numbers of entries of the ITLB; rising.
    pub itlb: Vec<u64>,
    /// Numbers of entries of the DTLB; rising.
    pub dtlb: Vec<u64>,
    /// Tag schemes.
    pub tags: Vec<TagScheme>,
}

impl TlbSizes {
    /// Most sizes of a TLB.
    pub const MOST: usize = SizeStack::MOST;

    /// Whether the TLBs of a machine can be among such: each is one fully associative LRU array for
    /// all page sizes, with no second level behind it and no page walk through caches.
    #[must_use]
    pub fn fit(machine: &Machine) -> bool {
        let fits = |tlb: &TlbSpec| {
            let [array] = tlb.arrays() else { return false };
            array.geometry().sets() == 1
                && array.replacement() == Replacement::Lru
                && PageSize::ALL.iter().all(|&size| array.holds(size))
        };
        fits(machine.itlb())
            && fits(machine.dtlb())
            && machine.stlb().is_none()
            && machine.walk().memory == WalkMemory::Off
            && machine.cpus() == 1
            && machine.semantics() != Semantics::Cachegrind
    }
}

/// What the TLBs of one point count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizedCounts {
    /// Of ITLB and DTLB.
    sides: [SideCounts; 2],
    flushes: FlushCounts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SideCounts {
    misses: u64,
    stale: u64,
    flushed: u64,
    walks: u64,
}

impl SizedCounts {
    /// Puts these in place of what the TLBs of the same stream have counted.
    pub fn replace_in(&self, counts: &mut Counts) {
        let Counts { itlb, dtlb, walks, flushes, .. } = counts;
        for (tlb, side) in [itlb, dtlb].into_iter().zip(self.sides) {
            tlb.all.misses = side.misses;
            tlb.all.hits = tlb.all.accesses - side.misses;
            tlb.stale_hits = side.stale;
            tlb.flushed = side.flushed;
        }
        walks.walks = self.sides.iter().map(|side| side.walks).sum();
        *flushes = self.flushes;
    }
}

/// Counts of one side under one scheme. The first index of each is the number of sizes that missed
/// or did not hold the entry.
#[derive(Debug, Clone)]
struct Tallies {
    /// Accesses.
    missed: Vec<u64>,
    /// Look-ups.
    walked: Vec<u64>,
    dropped: Vec<u64>,
    /// By size.
    stale: Vec<u64>,
}

impl Tallies {
    fn new(sizes: usize) -> Self {
        let zeros = vec![0; sizes + 1];
        Self { missed: zeros.clone(), walked: zeros.clone(), dropped: zeros, stale: vec![0; sizes] }
    }

    fn clear(&mut self) {
        *self = Self::new(self.stale.len());
    }

    fn of_size(&self, size: usize) -> SideCounts {
        SideCounts {
            misses: self.missed[size + 1..].iter().sum(),
            walks: self.walked[size + 1..].iter().sum(),
            flushed: self.dropped[..=size].iter().sum(),
            stale: self.stale[size],
        }
    }
}

/// An access whose pages have been looked up in part.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    missed: usize,
    stale: u64,
}

/// One side under one scheme.
#[derive(Debug, Clone)]
struct Stacked {
    stack: SizeStack,
    tallies: Tallies,
    pending: Pending,
    /// Entries by the number of the recent page.
    slots: Vec<u32>,
    /// Whether entries of a size and globality were ever made.
    made: [[bool; 2]; 3],
    /// The PCID under which global entries were made.
    made_under: Option<u16>,
    /// They were made under several, and which of them it was can differ between sizes.
    made_under_several: bool,
    /// Something came up that sizes differ in and that is not followed; nothing is any more.
    is_lost: bool,
}

#[derive(Debug, Clone)]
struct Tagged {
    scheme: Scheme,
    owners: OwnerTable,
    context: Context,
    counts: FlushCounts,
    /// What was counted before counting began.
    before: FlushCounts,
    sides: [Stacked; 2],
}

/// One side, as far as it is the same under all schemes.
#[derive(Debug, Clone)]
struct Common {
    pages: RecentPages,
    tallies: Tallies,
    /// Most sizes that missed a page of the access under way.
    missed: usize,
    /// Schemes have something of their own to count of the access under way.
    is_own: bool,
}

/// All schemes.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    vendor: Vendor,
    processor: Processor,
    tagged: Vec<Tagged>,
    common: [Common; 2],
    wanted: TlbSizes,
}

/// What the entry of a page is found by under a scheme's tags.
fn name_of(vpn: u64, mapping: Mapping, context: &Context) -> Name {
    let global = match context.global_pages {
        GlobalPages::Never => false,
        GlobalPages::Marked => mapping.is_global(),
        GlobalPages::Hypervisor => mapping.is_hypervisor(),
    };
    let owner = context.owner(global);
    (Key::new(vpn, mapping.size(), global, owner), owner)
}

impl Sizes {
    pub(crate) fn new(machine: &Machine, wanted: &TlbSizes) -> Self {
        let processor = Processor::new(machine.vendor());
        let tagged = wanted.tags.iter().map(|&tags| {
            let mut scheme = Scheme::with_tags(tags);
            scheme.follow(&processor.running());
            let mut owners = OwnerTable::new();
            Tagged {
                context: scheme.context(&processor.running(), &mut owners),
                scheme,
                owners,
                counts: FlushCounts::default(),
                before: FlushCounts::default(),
                sides: [&wanted.itlb, &wanted.dtlb].map(|sizes| Stacked {
                    stack: SizeStack::new(sizes),
                    tallies: Tallies::new(sizes.len()),
                    pending: Pending::default(),
                    slots: Vec::new(),
                    made: [[false; 2]; 3],
                    made_under: None,
                    made_under_several: false,
                    is_lost: false,
                }),
            }
        });
        Self {
            vendor: machine.vendor(),
            tagged: tagged.collect(),
            processor,
            common: [&wanted.itlb, &wanted.dtlb].map(|sizes| Common {
                pages: RecentPages::new(sizes),
                tallies: Tallies::new(sizes.len()),
                missed: 0,
                is_own: false,
            }),
            wanted: wanted.clone(),
        }
    }

    /// The filter has missed a page and filled `place` with it, where something else was `before`.
    /// Says whether every further hit of it is to be told.
    pub(super) fn missed(
        &mut self,
        side: Side,
        vpn: u64,
        mapping: Mapping,
        place: u32,
        before: bool,
    ) -> bool {
        let Common { pages, tallies, missed, .. } = &mut self.common[side as usize];
        if before {
            pages.leave_filter(place);
        }
        let Some(number) = pages.find(Page::new(vpn, mapping.size())) else {
            self.first_since_event(side, vpn, mapping, place);
            return self.common[side as usize].pages.of_place(place).is_watched;
        };
        let beyond = pages.take(number, place);
        tallies.walked[beyond] += 1;
        *missed = beyond.max(*missed);
        self.again(side, vpn, mapping, number, beyond)
    }

    /// The filter had a page at `place`; with `agrees` under the key that it has now. Says whether
    /// every further hit of it is to be told.
    pub(super) fn hit(
        &mut self,
        side: Side,
        vpn: u64,
        mapping: Mapping,
        place: u32,
        agrees: bool,
    ) -> bool {
        if !agrees {
            self.tagged.iter_mut().for_each(|tagged| tagged.sides[side as usize].is_lost = true);
        }
        let number = self.common[side as usize].pages.at_place(place);
        self.again(side, vpn, mapping, number, 0)
    }

    /// A page was looked up before since the last event, and that many sizes have missed it. Says
    /// whether every further hit of it is to be told.
    #[inline]
    fn again(
        &mut self,
        side: Side,
        vpn: u64,
        mapping: Mapping,
        number: u32,
        missed: usize,
    ) -> bool {
        let recent = self.common[side as usize].pages.of(number);
        let is_renamed = recent.has_other_name && missed > 0;
        if recent.mapping == mapping && !recent.is_watched && !is_renamed {
            return false;
        }
        self.maybe_changed(side, vpn, mapping, number, missed)
    }

    #[inline(never)]
    fn maybe_changed(
        &mut self,
        side: Side,
        vpn: u64,
        mapping: Mapping,
        number: u32,
        missed: usize,
    ) -> bool {
        let Common { pages, is_own, .. } = &mut self.common[side as usize];
        let base = base(vpn, mapping.frame(), mapping.size());
        let recent = pages.of(number);
        let before = recent.mapping;
        let mut is_watched = false;
        for Tagged { sides, context, .. } in &mut self.tagged {
            let side = &mut sides[side as usize];
            if side.is_lost {
                continue;
            }
            let own = name_of(vpn, mapping, context);
            side.is_lost |= own != name_of(vpn, before, context);
            let slot = side.slots[number as usize];
            side.stack.rename(slot, missed, own);
            let stale = side.stack.refill(slot, missed, base);
            side.pending.stale |= stale;
            is_watched |= stale != 0;
        }
        *is_own |= is_watched;
        (recent.mapping, recent.is_watched) = (mapping, is_watched);
        is_watched
    }

    /// A page comes to the filter that was not looked up since the last event.
    fn first_since_event(&mut self, side: Side, vpn: u64, mapping: Mapping, place: u32) {
        let Common { pages, is_own, .. } = &mut self.common[side as usize];
        let base = base(vpn, mapping.frame(), mapping.size());
        let (number, gone) = pages.make(vpn, mapping, place);
        let (mut is_watched, mut has_other_name) = (false, false);
        for Tagged { sides, context, .. } in &mut self.tagged {
            let side = &mut sides[side as usize];
            if side.is_lost {
                continue;
            }
            let own = name_of(vpn, mapping, context);
            side.note_made(own.0, context.pcid);
            let found = side.find(own, vpn, context);
            if side.is_lost {
                continue;
            }
            let looked = side.stack.look_up(found, own, base);
            if let Some(gone) = gone {
                side.stack.forget_recent(side.slots[gone as usize]);
            }
            let after = side.slots.len().max(number as usize + 1);
            side.slots.resize(after, 0);
            side.slots[number as usize] = looked.slot;
            side.tallies.walked[looked.missed] += 1;
            side.pending.missed = side.pending.missed.max(looked.missed);
            side.pending.stale |= looked.stale;
            is_watched |= looked.stale != 0;
            has_other_name |= side.stack.names(looked.slot).0 != own;
        }
        *is_own = true;
        let recent = pages.of(number);
        (recent.is_watched, recent.has_other_name) = (is_watched, has_other_name);
    }

    /// All pages of an access have been looked up.
    #[inline]
    pub(crate) fn settle(&mut self, side: Side) {
        let Common { tallies, missed, is_own, .. } = &mut self.common[side as usize];
        let missed = std::mem::take(missed);
        if !std::mem::take(is_own) {
            tallies.missed[missed] += 1;
            return;
        }
        for tagged in &mut self.tagged {
            let side = &mut tagged.sides[side as usize];
            let Pending { missed: own, mut stale } = std::mem::take(&mut side.pending);
            side.tallies.missed[own.max(missed)] += 1;
            while stale != 0 {
                side.tallies.stale[stale.trailing_zeros() as usize] += 1;
                stale &= stale - 1;
            }
        }
    }

    /// The filter gives up all that it has: these places of a side, that not used for longest
    /// first.
    pub(super) fn emptied(&mut self, side: Side, places: &[u32]) {
        let tagged = &mut self.tagged;
        self.common[side as usize].pages.give_up(places, |number| {
            for tagged in tagged.iter_mut() {
                let side = &mut tagged.sides[side as usize];
                if !side.is_lost {
                    side.stack.leave_recent(side.slots[number as usize]);
                }
            }
        });
    }

    /// Whether the filter is to be emptied before an event.
    pub(super) fn is_concerned(event: ControlEvent) -> bool {
        !matches!(event, ControlEvent::Domain(_))
    }

    /// An event, after the filter was emptied.
    pub(super) fn control(&mut self, event: ControlEvent) {
        let before = self.processor.running();
        if !self.processor.apply(event) {
            return;
        }
        let after = self.processor.running();
        let by_manual = manual::flush(self.vendor, event, &before, &after);
        for tagged in &mut self.tagged {
            tagged.counts.count(event, &before, &after, by_manual.as_ref());
            let flushes = tagged.scheme.flush(self.vendor, event, by_manual, &before, &after);
            flushes.iter().flatten().for_each(|flush| tagged.drop_entries(flush));
            if event.loads_registers() {
                tagged.context = tagged.scheme.context(&after, &mut tagged.owners);
            }
        }
    }

    /// Registers were stated, after the filter was emptied.
    pub(super) fn set_registers(&mut self, registers: ControlRegisters) {
        self.processor.set_registers(registers);
        let running = self.processor.running();
        for tagged in &mut self.tagged {
            tagged.scheme.follow(&running);
            tagged.context = tagged.scheme.context(&running, &mut tagged.owners);
        }
    }

    /// Counts nothing of what was until now.
    pub(crate) fn begin_counting(&mut self) {
        for common in &mut self.common {
            common.tallies.clear();
        }
        for tagged in &mut self.tagged {
            tagged.before = tagged.flush_counts();
            tagged.sides.iter_mut().for_each(|side| side.tallies.clear());
        }
    }

    /// What ITLBs and DTLBs of these sizes count under a scheme; `None` if it is none of those
    /// wanted, or if what came is not followed for several sizes at once.
    pub(crate) fn counts(&self, itlb: u64, dtlb: u64, tags: TagScheme) -> Option<SizedCounts> {
        let tagged = &self.tagged[self.wanted.tags.iter().position(|&known| known == tags)?];
        let size = |sizes: &[u64], size: u64| sizes.iter().position(|&known| known == size);
        let numbers = [size(&self.wanted.itlb, itlb)?, size(&self.wanted.dtlb, dtlb)?];
        let mut counts = SizedCounts {
            flushes: tagged.flush_counts() - tagged.before,
            ..SizedCounts::default()
        };
        for (number, counts) in counts.sides.iter_mut().enumerate() {
            let (side, size) = (&tagged.sides[number], numbers[number]);
            if side.is_lost {
                return None;
            }
            *counts = side.tallies.of_size(size);
            let common = self.common[number].tallies.of_size(size);
            counts.misses += common.misses;
            counts.walks += common.walks;
        }
        Some(counts)
    }
}

impl Stacked {
    /// The entry that a look-up finds: its own or, where there is none, the same page's of the other
    /// globality, as in a processor (SDM 4.10.2.3). Takes note if some sizes find one and some
    /// another.
    fn find(&mut self, own: Name, vpn: u64, context: &Context) -> Option<u32> {
        let named = |size: PageSize, global: bool| {
            let owner = context.owner(global);
            (Key::new(vpn, size, global, owner), owner)
        };
        let (key, _) = own;
        let (size, other) = (key.size(), !key.is_global());
        let was_made = |size: PageSize, global: bool| self.made[size as usize][usize::from(global)];
        let by_own = self.stack.find(own);
        let by_other =
            if was_made(size, other) { self.stack.find(named(size, other)) } else { None };
        let found = by_own.or(by_other);
        let of_others = PageSize::ALL.into_iter().filter(|&of| of != size);
        let mut others = of_others
            .flat_map(|size| [(size, false), (size, true)])
            .filter(|&(size, global)| was_made(size, global))
            .filter_map(|(size, global)| self.stack.find(named(size, global)))
            .chain(by_other);
        let is_shadowed =
            others.any(|other| Some(other) != found && self.stack.is_higher(other, found));
        // Under either name it must be found.
        let is_hidden = found.is_some_and(|slot| {
            let (first, second) = self.stack.names(slot);
            second.is_some_and(|second| {
                ![first, second].iter().all(|&name| name == own || name == named(size, other))
            })
        });
        self.is_lost |= is_shadowed || is_hidden;
        found
    }

    fn note_made(&mut self, key: Key, pcid: u16) {
        self.made[key.size() as usize][usize::from(key.is_global())] = true;
        if key.is_global() {
            self.made_under_several |= *self.made_under.get_or_insert(pcid) != pcid;
        }
    }
}

impl Tagged {
    fn drop_entries(&mut self, flush: &Flush) {
        let selected = self.owners.select(flush.tags);
        for side in self.sides.iter_mut().filter(|side| !side.is_lost) {
            side.is_lost |=
                matches!(flush.globals, Globals::GoIfMadeUnder(_)) && side.made_under_several;
            let made_under = side.made_under.unwrap_or(0);
            let goes = |(key, owner): Name| {
                let target = Target { page: key.size(), made_under, ..Target::NONE };
                flush.drops(key, target) && selected(owner)
            };
            side.is_lost |= !side.stack.drop_where(goes, &mut side.tallies.dropped);
        }
    }

    fn flush_counts(&self) -> FlushCounts {
        self.scheme.complete(self.counts)
    }
}

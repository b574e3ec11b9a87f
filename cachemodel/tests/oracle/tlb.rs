//! A TLB: arrays of entries, searched whole.

use strata_cachemodel::{Mapping, PageSize, TlbSpec};

use crate::events::{Context, Event, Tags};
use crate::policy::{Policy, generator_start};
use crate::rules::Candidate;

/// Virtual addresses have 57 bits.
const ADDRESS_MASK: u64 = (1 << 57) - 1;
const FRAME_MASK: u64 = (1 << 52) - 1;

/// One translation that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// First address of what it covers.
    pub(crate) start: u64,
    pub(crate) size: PageSize,
    /// Size of the page that it is, or is a fragment of.
    page_size: PageSize,
    /// Frame of its first 4 KiB.
    pub(crate) frame: u64,
    pub(crate) tags: Tags,
}

fn page_start(va: u64, size: PageSize) -> u64 {
    (va & ADDRESS_MASK) >> size.shift() << size.shift()
}

/// How many 4 KiB pages lie between the start of the page and `va`.
fn pages_into(va: u64, size: PageSize) -> u64 {
    ((va & ADDRESS_MASK) - page_start(va, size)) / 4096
}

impl Entry {
    fn new(va: u64, size: PageSize, page_size: PageSize, frame: u64, tags: Tags) -> Self {
        let frame = frame.wrapping_sub(pages_into(va, size)) & FRAME_MASK;
        Self { start: page_start(va, size), size, page_size, frame, tags }
    }

    fn covers(&self, va: u64) -> bool {
        page_start(va, self.size) == self.start
    }

    pub(crate) fn frame_of(&self, va: u64) -> u64 {
        self.frame.wrapping_add(pages_into(va, self.size)) & FRAME_MASK
    }

    /// Whether it is of the page that holds the address.
    fn is_of_page(&self, va: u64) -> bool {
        let size = self.page_size.max(self.size);
        page_start(va, size) == page_start(self.start, size)
    }
}

#[derive(Debug, Clone)]
struct Array {
    sets: Vec<Vec<Option<Entry>>>,
    policy: Policy,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Right,
    Stale(Entry),
    Nothing,
}

/// All arrays of one TLB.
#[derive(Debug, Clone)]
pub(crate) struct Tlb {
    spec: TlbSpec,
    arrays: Vec<Array>,
}

impl Tlb {
    /// `structure` is the number of the TLB, with that of its CPU added.
    pub(crate) fn new(spec: &TlbSpec, seed: u64, structure: u64) -> Self {
        let arrays = spec.arrays().iter().enumerate().map(|(number, array)| {
            let (sets, ways) = (array.geometry().sets() as usize, array.geometry().ways());
            let generator = generator_start(seed, structure + 16 * number as u64);
            Array {
                sets: vec![vec![None; ways]; sets],
                policy: Policy::new(array.replacement(), sets, ways, generator),
            }
        });
        Self { spec: spec.clone(), arrays: arrays.collect() }
    }

    /// The size of the entries that are kept for pages of `size`.
    pub(crate) fn kept_size(&self, size: PageSize) -> PageSize {
        self.spec.array_of(size).1
    }

    pub(crate) fn look_up(
        &mut self,
        va: u64,
        mapping: Mapping,
        may_use: impl Fn(&Entry) -> bool,
        global: bool,
    ) -> Found {
        let kept = self.kept_size(mapping.size());
        let rank = |entry: &Entry| {
            let agrees = entry.size == kept && entry.tags.global == global;
            (!agrees, entry.size != kept, entry.size, !entry.tags.global)
        };
        let mut found = None;
        for (array, Array { sets, .. }) in self.arrays.iter().enumerate() {
            for (set, ways) in sets.iter().enumerate() {
                for (way, entry) in ways.iter().enumerate() {
                    let Some(entry) = *entry else { continue };
                    let better = found.is_none_or(|(_, other)| rank(&entry) < rank(&other));
                    if entry.covers(va) && may_use(&entry) && better {
                        found = Some(((array, set, way), entry));
                    }
                }
            }
        }
        let Some(((array, set, way), entry)) = found else { return Found::Nothing };
        self.arrays[array].policy.hit(set, way);
        if entry.frame_of(va) == mapping.frame() { Found::Right } else { Found::Stale(entry) }
    }

    /// The entry that would be made for the page of `va`.
    pub(crate) fn entry_for(&self, va: u64, mapping: Mapping, tags: Tags) -> Entry {
        let size = self.kept_size(mapping.size());
        Entry::new(va, size, mapping.size(), mapping.frame(), tags)
    }

    /// An entry that says of `va` what `found` says.
    pub(crate) fn copy_of(&self, va: u64, found: &Entry) -> Entry {
        let size = self.kept_size(found.size);
        Entry::new(va, size, found.page_size, found.frame_of(va), found.tags)
    }

    /// Puts in an entry; returns the one that went for it.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let (array, _) = self.spec.array_of(entry.size);
        let Array { sets, policy } = &mut self.arrays[array];
        let set = ((entry.start >> entry.size.shift()) % sets.len() as u64) as usize;
        let ways: Vec<usize> = (0..sets[set].len()).collect();
        let free = sets[set].iter().position(Option::is_none);
        let way = free.unwrap_or_else(|| policy.victim(set, &ways));
        policy.fill(set, way);
        sets[set][way].replace(entry)
    }

    /// Drops what the event drops; `context` is that before the event.
    pub(crate) fn control(&mut self, event: Event, context: &Context) -> Vec<Entry> {
        let mut dropped = Vec::new();
        for way in self.arrays.iter_mut().flat_map(|array| array.sets.iter_mut().flatten()) {
            let Some(entry) = way else { continue };
            let serves = |va| entry.is_of_page(va);
            let Entry { tags, start, .. } = *entry;
            let candidate = Candidate { tags, serves: &serves, start, structure: false };
            if context.drops(event, &candidate) {
                dropped.extend(way.take());
            }
        }
        dropped
    }
}

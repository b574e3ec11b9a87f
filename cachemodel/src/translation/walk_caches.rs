//! Paging-structure caches, and which table entries a walk reads.
//!
//! A paging-structure cache keeps what an upper-level table entry says, so that a walk can begin
//! below it (SDM 4.10.3; APM 5.5.3). The stream tells the tables themselves: a cache here knows for
//! which addresses an entry is kept and for whom, and the walk goes on at the stream's table.
//!
//! Under nested paging such an entry holds the host-physical address of the next table (SDM 28.3.1,
//! combined mappings), which then needs no nested walk.

use super::array::{Array, Shape};
use super::entry::{Key, OwnerId, Target, VPN_MASK};
use super::flush::{Flush, Nested, PageRange, Structures};
use super::tags::OwnerTable;
use crate::machine::{Replacement, WalkSpec};
use crate::page::{PageSize, PhysAddr};
use crate::translator::{NestedWalk, PageWalk, TableWalk};

/// A fully associative LRU cache of numbers, each for one owner.
#[derive(Debug, Clone)]
struct NumberCache {
    array: Array,
    used: Vec<u64>,
    now: u64,
}

impl NumberCache {
    /// `None` for a cache of no entries.
    fn new(entries: u32) -> Option<Self> {
        let ways = entries as usize;
        let shape = Shape { sets: 1, ways, replacement: Replacement::Lru };
        (ways > 0).then(|| Self { array: Array::new(shape, 0), used: vec![0; ways], now: 0 })
    }

    fn key(number: u64, owner: OwnerId) -> Key {
        Key::new(number, PageSize::Size4K, false, owner)
    }

    /// Whether it is there; if so, it is now the one used last.
    fn look_up(&mut self, number: u64, owner: OwnerId) -> bool {
        self.now += 1;
        let found = self.array.find(Self::key(number, owner), owner);
        if let Some(place) = found {
            self.used[place.at] = self.now;
        }
        found.is_some()
    }

    /// Puts it in, or makes it the one used last.
    fn fill(&mut self, number: u64, owner: OwnerId) {
        if !self.look_up(number, owner) {
            let key = Self::key(number, owner);
            self.array.fill(key, owner, Target::NONE, self.now, &mut self.used);
        }
    }

    fn remove_where(&mut self, goes: impl Fn(u64, OwnerId) -> bool) {
        self.array.remove_where(|key, owner, _| goes(key.page(), owner), |_| {});
    }
}

/// Bits of an address below those that find a page-directory entry.
const PDE_SHIFT: u32 = 21;

/// The caches that shorten walks.
#[derive(Debug, Clone)]
pub(super) struct WalkCaches {
    /// Of page-directory entries, PDPTEs, PML4 and PML5 entries.
    upper: [Option<NumberCache>; 4],
    /// Of guest-physical 4 KiB pages.
    nested: Option<NumberCache>,
}

impl WalkCaches {
    pub(super) fn new(spec: &WalkSpec) -> Self {
        let upper = [spec.pde_cache, spec.pdpte_cache, spec.pml4_cache, spec.pml5_cache];
        Self { upper: upper.map(NumberCache::new), nested: NumberCache::new(spec.nested_cache) }
    }

    /// The cache of entries that are found by the bits from `shift` upwards.
    fn upper(&mut self, shift: u32) -> Option<&mut NumberCache> {
        let number = shift.checked_sub(PDE_SHIFT)? / 9;
        self.upper.get_mut(number as usize)?.as_mut()
    }

    /// Makes a walk for `own`, whose nested translations are those of `nested`.
    pub(super) fn walk(
        &mut self,
        va: u64,
        walk: &PageWalk,
        own: OwnerId,
        nested: OwnerId,
        mut read: impl FnMut(PhysAddr),
    ) {
        match walk {
            PageWalk::Plain(tables) => {
                let start = self.start(va, tables, own);
                for level in start..tables.levels() {
                    read(tables.entry(level, va));
                }
                self.fill(va, tables, start, own);
            }
            PageWalk::Nested(walk) => self.walk_nested(va, walk, own, nested, read),
        }
    }

    fn walk_nested(
        &mut self,
        va: u64,
        walk: &NestedWalk,
        own: OwnerId,
        nested: OwnerId,
        mut read: impl FnMut(PhysAddr),
    ) {
        let levels = walk.guest.levels();
        let start = self.start(va, &walk.guest, own);
        for level in start..=levels {
            let known_from_above = level == start && start > 0;
            if !known_from_above {
                self.translate(walk.guest_frames[level], &walk.nested[level], nested, &mut read);
            }
            if level < levels {
                read(walk.guest.entry(level, va));
            }
        }
        self.fill(va, &walk.guest, start, own);
    }

    /// The nested walk for a guest-physical page, unless its translation is known.
    fn translate(
        &mut self,
        frame: u64,
        tables: &TableWalk,
        owner: OwnerId,
        read: &mut impl FnMut(PhysAddr),
    ) {
        if let Some(cache) = &mut self.nested {
            if cache.look_up(frame, owner) {
                return;
            }
            cache.fill(frame, owner);
        }
        for level in 0..tables.levels() {
            read(tables.entry(level, frame << 12));
        }
    }

    /// The table that a walk begins at: the one below the deepest entry known, or the root.
    fn start(&mut self, va: u64, tables: &TableWalk, own: OwnerId) -> usize {
        (0..tables.levels().saturating_sub(1))
            .rev()
            .find(|&level| {
                let shift = tables.index_shift(level);
                self.upper(shift).is_some_and(|cache| cache.look_up(prefix(va, shift), own))
            })
            .map_or(0, |level| level + 1)
    }

    /// Keeps the entries read that point to a further table.
    fn fill(&mut self, va: u64, tables: &TableWalk, start: usize, own: OwnerId) {
        for level in start..tables.levels().saturating_sub(1) {
            let shift = tables.index_shift(level);
            if let Some(cache) = self.upper(shift) {
                cache.fill(prefix(va, shift), own);
            }
        }
    }

    /// Drops what an event drops.
    pub(super) fn flush(&mut self, flush: &Flush, owners: &OwnerTable) {
        let selected = owners.select(flush.tags);
        let pages = match flush.structures {
            Structures::Stay => Some(PageRange::NONE),
            Structures::ForPages => flush.pages,
            Structures::All => None,
        };
        for (number, cache) in self.upper.iter_mut().enumerate() {
            let Some(cache) = cache else { continue };
            let shift = PDE_SHIFT + 9 * number as u32 - 12;
            cache.remove_where(|prefix, owner| {
                let first = prefix << shift;
                let last = first | ((1 << shift) - 1);
                pages.is_none_or(|range| first <= range.last && range.first <= last)
                    && selected(owner)
            });
        }
        let Some(nested) = &mut self.nested else { return };
        match flush.nested {
            Nested::Stay => {}
            Nested::Of(tags) => {
                let selected = owners.select(tags);
                nested.remove_where(|_, owner| selected(owner));
            }
            Nested::Page { tags, frame } => {
                let selected = owners.select(tags);
                nested.remove_where(|number, owner| number == frame && selected(owner));
            }
        }
    }
}

/// The bits of an address that select a table entry, from the root to the table of `shift`.
fn prefix(va: u64, shift: u32) -> u64 {
    (va >> 12 & VPN_MASK) >> (shift - 12)
}

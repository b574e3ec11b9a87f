//! A translation look-aside buffer, fully or set-associative, least recently used replacement.
//!
//! An entry covers one page of its own size and is tagged with the address space (PCID) that made
//! it, or with none if it is global. What can hit (Intel SDM volume 3, 4.10.2): an entry whose page
//! holds the address and which is global or of the current PCID. A set-associative TLB finds the
//! set by the page number of the entry's own size.
//!
//! The stream says which translation is right, so a look-up first tries the one key under which
//! that translation would have been kept. Only when it is not there, an entry made from *other*
//! page tables can still cover the address; those keys are tried before it is called a miss. If
//! several entries cover an address the processor may use any (4.10.2.3); here it is the one that
//! agrees with the stream in size and globality, then one that agrees in size, then small pages
//! before large and global before own.

use std::ops::Range;

use crate::geometry::{SetIndex, TlbGeometry};
use crate::invalidation::Flush;
use crate::page::{FRAME_MASK, Mapping, PageSize};

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlbLookup {
    /// An entry with the stream's translation.
    Hit,
    /// An entry with another frame than the stream's: the page tables changed and no event that
    /// drops the entry was seen. It stays, as it would in a processor.
    StaleHit,
    /// None; there is one now.
    Miss,
}

/// Page number (of the entry's own size) in bits 0–44, size in 45–46, owner in 47–63.
///
/// Virtual addresses have 57 bits at most; bits 57 to 63 of an address are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key(u64);

/// 0 for global entries, else one more than the PCID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner(u64);

const VPN_MASK: u64 = (1 << 45) - 1;
const SIZE_SHIFT: u32 = 45;
const OWNER_SHIFT: u32 = 47;

impl Owner {
    const GLOBAL: Self = Self(0);

    fn of_pcid(pcid: u16) -> Self {
        Self(u64::from(pcid) + 1)
    }
}

impl Key {
    /// Its size bits are those of no page size.
    const EMPTY: Self = Self(u64::MAX);

    #[inline]
    fn new(vpn: u64, size: PageSize, owner: Owner) -> Self {
        let page = (vpn & VPN_MASK) >> (size.shift() - 12);
        Self(page | (size as u64) << SIZE_SHIFT | owner.0 << OWNER_SHIFT)
    }

    #[inline]
    fn page(self) -> u64 {
        self.0 & VPN_MASK
    }

    fn size(self) -> PageSize {
        PageSize::ALL[(self.0 >> SIZE_SHIFT & 3) as usize]
    }

    fn owner(self) -> Owner {
        Owner(self.0 >> OWNER_SHIFT)
    }

    fn is_global(self) -> bool {
        self.owner() == Owner::GLOBAL
    }

    fn covers(self, va: u64) -> bool {
        Self::new(va >> 12, self.size(), self.owner()) == self
    }
}

/// Frame of the page's first 4 KiB in bits 0–51, the PCID that was current when the entry was
/// made in 52–63 (a global entry's owner does not tell it).
#[derive(Debug, Clone, Copy)]
struct Target(u64);

impl Target {
    #[inline]
    fn new(vpn: u64, mapping: Mapping, pcid: u16) -> Self {
        // Wraps for a page whose frame is not aligned to its size: such a translation cannot
        // exist, but this one address of it is then still translated as the stream says.
        let base = mapping.frame().wrapping_sub(vpn & mapping.size().inner_mask());
        Self(base & FRAME_MASK | u64::from(pcid) << 52)
    }

    #[inline]
    fn frame_of(self, vpn: u64, size: PageSize) -> u64 {
        self.0.wrapping_add(vpn & size.inner_mask()) & FRAME_MASK
    }

    fn pcid(self) -> u16 {
        (self.0 >> 52) as u16
    }
}

/// A TLB. The entries of a set stand side by side, in any order.
#[derive(Debug, Clone)]
pub struct Tlb {
    index: SetIndex,
    ways: usize,
    keys: Vec<Key>,
    targets: Vec<Target>,
    /// Time of each entry's last use; 0 for an empty place, so that these are filled first.
    used: Vec<u64>,
    /// Time at which each entry was made; no two are equal, and 0 is none.
    made: Vec<u64>,
    /// Counts look-ups.
    now: u64,
    /// Entries by size and globality, so that keys which cannot be there are not looked for.
    population: [[u32; 2]; 3],
    shortcuts: Box<[Shortcut; SHORTCUTS]>,
    pcid: u16,
    global_pages: bool,
}

/// Where a right translation was found, so that it need not be looked for again. It holds for as
/// long as the entry at `place` is the one made then, and PCID and the use of global pages are as
/// they were: no other entry comes before one that agrees with the stream.
#[derive(Debug, Clone, Copy)]
struct Shortcut {
    vpn: u64,
    mapping: Mapping,
    made: u64,
    place: usize,
}

const SHORTCUTS: usize = 128;

impl Shortcut {
    const NONE: Self = Self { vpn: 0, mapping: Mapping::NONE, made: 0, place: 0 };
}

impl Tlb {
    /// An empty TLB for PCID 0 with global pages on.
    #[must_use]
    pub fn new(geometry: &TlbGeometry) -> Self {
        let entries = usize::try_from(geometry.entries()).expect("bounded by MAX_ENTRIES");
        Self {
            index: SetIndex::new(geometry.sets()),
            ways: geometry.ways(),
            keys: vec![Key::EMPTY; entries],
            targets: vec![Target(0); entries],
            used: vec![0; entries],
            made: vec![0; entries],
            now: 0,
            population: [[0; 2]; 3],
            shortcuts: Box::new([Shortcut::NONE; SHORTCUTS]),
            pcid: 0,
            global_pages: true,
        }
    }

    /// Sets which entries can be used from now on and how new ones are tagged; drops nothing.
    pub fn set_context(&mut self, pcid: u16, global_pages: bool) {
        if (self.pcid, self.global_pages) != (pcid, global_pages) {
            self.pcid = pcid;
            self.global_pages = global_pages;
            self.shortcuts.fill(Shortcut::NONE);
        }
    }

    /// Looks up `va`, which the stream translates by `mapping`, and fills the entry on a miss.
    #[inline]
    pub fn access(&mut self, va: u64, mapping: Mapping) -> TlbLookup {
        let vpn = va >> 12;
        self.now += 1;
        let shortcut = &self.shortcuts[vpn as usize % SHORTCUTS];
        if shortcut.vpn == vpn
            && shortcut.mapping == mapping
            && shortcut.made == self.made[shortcut.place]
        {
            self.used[shortcut.place] = self.now;
            return TlbLookup::Hit;
        }
        self.search(vpn, mapping)
    }

    #[inline(never)]
    fn search(&mut self, vpn: u64, mapping: Mapping) -> TlbLookup {
        let global = self.global_pages && mapping.is_global();
        let owner = if global { Owner::GLOBAL } else { Owner::of_pcid(self.pcid) };
        let key = Key::new(vpn, mapping.size(), owner);
        let agreeing = self.find(key);
        let Some(place) = agreeing.or_else(|| self.find_other(vpn, key)) else {
            let place = self.fill(vpn, mapping, key);
            self.remember(vpn, mapping, place);
            return TlbLookup::Miss;
        };
        self.used[place] = self.now;
        if self.targets[place].frame_of(vpn, self.keys[place].size()) != mapping.frame() {
            return TlbLookup::StaleHit;
        }
        if agreeing.is_some() {
            self.remember(vpn, mapping, place);
        }
        TlbLookup::Hit
    }

    fn remember(&mut self, vpn: u64, mapping: Mapping, place: usize) {
        self.shortcuts[vpn as usize % SHORTCUTS] =
            Shortcut { vpn, mapping, made: self.made[place], place };
    }

    #[inline]
    fn set_of(&self, key: Key) -> Range<usize> {
        let start = self.index.of(key.page()) * self.ways;
        start..start + self.ways
    }

    #[inline]
    fn find(&self, key: Key) -> Option<usize> {
        let set = self.set_of(key);
        let at = self.keys[set.clone()].iter().position(|&other| other == key)?;
        Some(set.start + at)
    }

    /// An entry of another key that covers the page, in the order that the module describes.
    #[cold]
    fn find_other(&self, vpn: u64, tried: Key) -> Option<usize> {
        let owners = [Owner::GLOBAL, Owner::of_pcid(self.pcid)];
        let same_size = owners.map(|owner| Key::new(vpn, tried.size(), owner));
        let all = PageSize::ALL.map(|size| owners.map(|owner| Key::new(vpn, size, owner)));
        let candidates = same_size.into_iter().chain(all.into_iter().flatten());
        candidates
            .filter(|&key| {
                key != tried
                    && self.population[key.size() as usize][usize::from(key.is_global())] > 0
            })
            .find_map(|key| self.find(key))
    }

    /// Makes an entry where its set is empty or was unused for longest; returns its place.
    fn fill(&mut self, vpn: u64, mapping: Mapping, key: Key) -> usize {
        let place = self.set_of(key).min_by_key(|&place| self.used[place]);
        let place = place.expect("a set has at least one way");
        self.remove(place);
        *self.population_of(key) += 1;
        self.keys[place] = key;
        self.targets[place] = Target::new(vpn, mapping, self.pcid);
        self.used[place] = self.now;
        self.made[place] = self.now;
        place
    }

    fn remove(&mut self, place: usize) {
        let key = std::mem::replace(&mut self.keys[place], Key::EMPTY);
        if key != Key::EMPTY {
            *self.population_of(key) -= 1;
        }
        self.used[place] = 0;
        self.made[place] = 0;
    }

    fn population_of(&mut self, key: Key) -> &mut u32 {
        &mut self.population[key.size() as usize][usize::from(key.is_global())]
    }

    /// Drops entries; returns how many there were. Costs a walk over the TLB.
    pub fn flush(&mut self, flush: Flush) -> u64 {
        let owned_by = |key: Key, pcid| key.owner() == Owner::of_pcid(pcid);
        match flush {
            Flush::Nothing => 0,
            Flush::Everything => self.drop_where(|_, _| true),
            Flush::NonGlobal => self.drop_where(|key, _| !key.is_global()),
            Flush::NonGlobalOf(pcid) => self.drop_where(|key, _| owned_by(key, pcid)),
            Flush::AllOf(pcid) => self.drop_where(|_, target| target.pcid() == pcid),
            Flush::Page { va, pcid } => {
                self.drop_where(|key, _| key.covers(va) && (key.is_global() || owned_by(key, pcid)))
            }
            Flush::NonGlobalPage { va, pcid } => {
                self.drop_where(|key, _| key.covers(va) && owned_by(key, pcid))
            }
        }
    }

    fn drop_where(&mut self, mut goes: impl FnMut(Key, Target) -> bool) -> u64 {
        let mut dropped = 0;
        for place in 0..self.keys.len() {
            if self.keys[place] != Key::EMPTY && goes(self.keys[place], self.targets[place]) {
                self.remove(place);
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Ways;

    fn tlb(entries: u64, ways: Ways) -> Tlb {
        Tlb::new(&TlbGeometry::new("dtlb", entries, ways).unwrap())
    }

    fn small(frame: u64) -> Mapping {
        Mapping::new(frame, PageSize::Size4K)
    }

    #[test]
    fn one_entry_covers_a_large_page() {
        let mut tlb = tlb(4, Ways::Full);
        let frame = |va: u64| Mapping::new(0x4_0000 + (va >> 12 & 0x1ff), PageSize::Size2M);
        assert_eq!(tlb.access(0x20_0000, frame(0x20_0000)), TlbLookup::Miss);
        assert_eq!(tlb.access(0x3f_f000, frame(0x3f_f000)), TlbLookup::Hit);
        assert_eq!(tlb.access(0x40_0000, frame(0x40_0000)), TlbLookup::Miss);
    }

    #[test]
    fn a_changed_frame_is_a_stale_hit_until_its_page_is_invalidated() {
        let mut tlb = tlb(4, Ways::Full);
        tlb.access(0x1000, small(7));
        assert_eq!(tlb.access(0x1000, small(8)), TlbLookup::StaleHit);
        assert_eq!(tlb.access(0x1000, small(8)), TlbLookup::StaleHit);
        assert_eq!(tlb.flush(Flush::Page { va: 0x1fff, pcid: 0 }), 1);
        assert_eq!(tlb.access(0x1000, small(8)), TlbLookup::Miss);
        assert_eq!(tlb.access(0x1000, small(8)), TlbLookup::Hit);
    }

    #[test]
    fn a_dropped_page_misses_even_if_it_was_looked_up_last() {
        let mut tlb = tlb(4, Ways::Full);
        tlb.access(0x1000, small(7));
        assert_eq!(tlb.flush(Flush::Everything), 1);
        assert_eq!(tlb.access(0x1000, small(7)), TlbLookup::Miss);
    }

    #[test]
    fn an_entry_of_another_size_still_translates_its_page() {
        for ways in [Ways::Full, Ways::Number(2)] {
            let mut tlb = tlb(8, ways);
            let large = Mapping::new(0x205, PageSize::Size2M);
            tlb.access(0x40_5000, large);
            assert_eq!(tlb.access(0x40_6000, small(0x206)), TlbLookup::Hit);
            assert_eq!(tlb.access(0x40_7000, small(0x999)), TlbLookup::StaleHit);
        }
    }

    #[test]
    fn global_entries_survive_a_cr3_write_and_nothing_survives_a_pge_change() {
        let mut tlb = tlb(4, Ways::Full);
        tlb.access(0x1000, small(1));
        tlb.access(0x2000, small(2).with_global(true));
        assert_eq!(tlb.flush(Flush::NonGlobalOf(0)), 1);
        assert_eq!(tlb.access(0x2000, small(2).with_global(true)), TlbLookup::Hit);
        assert_eq!(tlb.access(0x1000, small(1)), TlbLookup::Miss);
        assert_eq!(tlb.flush(Flush::Everything), 2);
    }

    #[test]
    fn the_global_bit_counts_only_if_global_pages_were_on_when_the_entry_was_made() {
        let mut tlb = tlb(4, Ways::Full);
        tlb.set_context(0, false);
        tlb.access(0x1000, small(1).with_global(true));
        tlb.set_context(0, true);
        assert_eq!(tlb.flush(Flush::NonGlobalOf(0)), 1);
    }

    #[test]
    fn invlpg_drops_global_entries_of_every_pcid_and_own_ones() {
        let mut tlb = tlb(8, Ways::Full);
        tlb.set_context(1, true);
        tlb.access(0x1000, small(1).with_global(true));
        tlb.access(0x2000, small(2));
        tlb.set_context(2, true);
        assert_eq!(tlb.flush(Flush::Page { va: 0x1000, pcid: 2 }), 1);
        assert_eq!(tlb.flush(Flush::Page { va: 0x2000, pcid: 2 }), 0);
        assert_eq!(tlb.flush(Flush::Page { va: 0x2000, pcid: 1 }), 1);
    }

    #[test]
    fn entries_of_another_pcid_do_not_hit_unless_global() {
        let mut tlb = tlb(8, Ways::Full);
        tlb.set_context(1, true);
        tlb.access(0x1000, small(1));
        tlb.access(0x2000, small(2).with_global(true));
        tlb.set_context(2, true);
        assert_eq!(tlb.access(0x1000, small(1)), TlbLookup::Miss);
        assert_eq!(tlb.access(0x2000, small(2).with_global(true)), TlbLookup::Hit);
    }

    #[test]
    fn dropping_all_of_a_pcid_takes_the_global_entries_it_made() {
        let mut tlb = tlb(8, Ways::Full);
        tlb.set_context(1, true);
        tlb.access(0x1000, small(1).with_global(true));
        tlb.set_context(2, true);
        tlb.access(0x2000, small(2).with_global(true));
        assert_eq!(tlb.flush(Flush::AllOf(1)), 1);
        assert_eq!(tlb.access(0x2000, small(2).with_global(true)), TlbLookup::Hit);
    }

    #[test]
    fn a_large_page_with_a_frame_that_contradicts_it_still_translates_its_own_address() {
        let mut tlb = tlb(4, Ways::Full);
        let odd = Mapping::new(0, PageSize::Size1G);
        assert_eq!(tlb.access(0x7fff_f000, odd), TlbLookup::Miss);
        assert_eq!(tlb.access(0x1000, small(5)), TlbLookup::Miss);
        assert_eq!(tlb.access(0x7fff_f000, odd), TlbLookup::Hit);
    }
}

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

/// A TLB. Keys and targets of a set stand in two arrays, most recently used first, empty places
/// last.
#[derive(Debug, Clone)]
pub struct Tlb {
    index: SetIndex,
    ways: usize,
    keys: Vec<Key>,
    targets: Vec<Target>,
    /// Entries by size and globality, so that keys which cannot be there are not looked for.
    population: [[u32; 2]; 3],
    /// The page looked up last, if its entry is right: then it is still in front of its set.
    last: (u64, Mapping),
    pcid: u16,
    global_pages: bool,
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
            population: [[0; 2]; 3],
            last: (0, Mapping::NONE),
            pcid: 0,
            global_pages: true,
        }
    }

    /// Sets which entries can be used from now on and how new ones are tagged; drops nothing.
    pub fn set_context(&mut self, pcid: u16, global_pages: bool) {
        self.pcid = pcid;
        self.global_pages = global_pages;
        self.last = (0, Mapping::NONE);
    }

    /// Looks up `va`, which the stream translates by `mapping`, and fills the entry on a miss.
    #[inline]
    pub fn access(&mut self, va: u64, mapping: Mapping) -> TlbLookup {
        if self.last == (va >> 12, mapping) {
            return TlbLookup::Hit;
        }
        self.search(va >> 12, mapping)
    }

    fn search(&mut self, vpn: u64, mapping: Mapping) -> TlbLookup {
        let global = self.global_pages && mapping.is_global();
        let owner = if global { Owner::GLOBAL } else { Owner::of_pcid(self.pcid) };
        let key = Key::new(vpn, mapping.size(), owner);
        let found = if self.promote(key) { Some(key) } else { self.promote_other(vpn, key) };
        let Some(found) = found else {
            self.fill(vpn, mapping, key);
            self.last = (vpn, mapping);
            return TlbLookup::Miss;
        };
        let target = self.targets[self.set_start(found)];
        if target.frame_of(vpn, found.size()) == mapping.frame() {
            self.last = (vpn, mapping);
            TlbLookup::Hit
        } else {
            self.last = (0, Mapping::NONE);
            TlbLookup::StaleHit
        }
    }

    #[inline]
    fn set_start(&self, key: Key) -> usize {
        self.index.of(key.page()) * self.ways
    }

    /// Moves the entry of `key` to the front of its set, if it is there.
    #[inline]
    fn promote(&mut self, key: Key) -> bool {
        let start = self.set_start(key);
        let keys = &mut self.keys[start..start + self.ways];
        if keys[0] == key {
            return true;
        }
        let Some(at) = keys.iter().position(|&other| other == key) else {
            return false;
        };
        let targets = &mut self.targets[start..start + self.ways];
        let target = targets[at];
        for place in (0..at).rev() {
            keys[place + 1] = keys[place];
            targets[place + 1] = targets[place];
        }
        keys[0] = key;
        targets[0] = target;
        true
    }

    /// The same for the other keys that cover the page, in the order that the module describes.
    #[cold]
    #[inline(never)]
    fn promote_other(&mut self, vpn: u64, tried: Key) -> Option<Key> {
        let owners = [Owner::GLOBAL, Owner::of_pcid(self.pcid)];
        let same_size = owners.map(|owner| Key::new(vpn, tried.size(), owner));
        let all = PageSize::ALL.map(|size| owners.map(|owner| Key::new(vpn, size, owner)));
        let candidates = same_size.into_iter().chain(all.into_iter().flatten());
        candidates
            .filter(|&key| key != tried)
            .find(|&key| *self.population_of(key) > 0 && self.promote(key))
    }

    fn fill(&mut self, vpn: u64, mapping: Mapping, key: Key) {
        let start = self.set_start(key);
        let end = start + self.ways;
        let victim = self.keys[end - 1];
        if victim != Key::EMPTY {
            *self.population_of(victim) -= 1;
        }
        *self.population_of(key) += 1;
        self.keys.copy_within(start..end - 1, start + 1);
        self.targets.copy_within(start..end - 1, start + 1);
        self.keys[start] = key;
        self.targets[start] = Target::new(vpn, mapping, self.pcid);
    }

    fn population_of(&mut self, key: Key) -> &mut u32 {
        &mut self.population[key.size() as usize][usize::from(key.owner() == Owner::GLOBAL)]
    }

    /// Drops entries; returns how many there were. Costs a walk over the TLB.
    pub fn flush(&mut self, flush: Flush) -> u64 {
        let owned_by = |key: Key, pcid| key.owner() == Owner::of_pcid(pcid);
        let global = |key: Key| key.owner() == Owner::GLOBAL;
        match flush {
            Flush::Nothing => 0,
            Flush::Everything => self.drop_where(|_, _| true),
            Flush::NonGlobal => self.drop_where(|key, _| !global(key)),
            Flush::NonGlobalOf(pcid) => self.drop_where(|key, _| owned_by(key, pcid)),
            Flush::AllOf(pcid) => self.drop_where(|_, target| target.pcid() == pcid),
            Flush::Page { va, pcid } => {
                self.drop_where(|key, _| key.covers(va) && (global(key) || owned_by(key, pcid)))
            }
            Flush::NonGlobalPage { va, pcid } => {
                self.drop_where(|key, _| key.covers(va) && owned_by(key, pcid))
            }
        }
    }

    fn drop_where(&mut self, mut goes: impl FnMut(Key, Target) -> bool) -> u64 {
        self.last = (0, Mapping::NONE);
        let mut dropped = 0;
        for start in (0..self.keys.len()).step_by(self.ways) {
            let end = start + self.ways;
            let mut kept = start;
            for at in start..end {
                let (key, target) = (self.keys[at], self.targets[at]);
                if key == Key::EMPTY {
                    break;
                }
                if goes(key, target) {
                    *self.population_of(key) -= 1;
                    dropped += 1;
                    self.keys[at] = Key::EMPTY;
                    continue;
                }
                self.keys[at] = Key::EMPTY;
                self.keys[kept] = key;
                self.targets[kept] = target;
                kept += 1;
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

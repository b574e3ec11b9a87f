//! Address spaces, walks and translations: numbered when first met, compared with what holds.

use crate::memory::Memory;
use crate::walk::{Paging, Tables, Walked};
use rustc_hash::FxHashMap;
use strata_workloads::trace::{
    Definitions, PageSize, Space, SpaceId, Translation, TranslationId, Walk, WalkId,
};

/// All translations that hold, by address space.
///
/// Memory grows with the pages and page tables that the machine has used, not with time.
#[derive(Debug, Default)]
pub struct Pages {
    spaces: FxHashMap<Space, SpaceId>,
    walks: FxHashMap<Tables, WalkId>,
    held: FxHashMap<(SpaceId, u64, PageSize), (TranslationId, Translation)>,
    /// Page sizes met in each space, one bit each.
    sizes: Vec<u8>,
    translations: u32,
}

impl Pages {
    /// The number of `space`, defined in `new` when it is the first time.
    pub fn space(&mut self, space: Space, new: &mut Definitions) -> SpaceId {
        let next = SpaceId(self.spaces.len() as u32);
        *self.spaces.entry(space).or_insert_with(|| {
            new.spaces.push(space);
            self.sizes.push(0);
            next
        })
    }

    /// What `walked` says of `address` as a translation, if that differs from what holds: then it
    /// is defined in `new` and holds from now on.
    pub fn tell(
        &mut self,
        space: SpaceId,
        address: u64,
        walked: Walked,
        device: bool,
        new: &mut Definitions,
    ) -> Option<TranslationId> {
        let start = !((1u64 << walked.size.shift()) - 1);
        let mut flags = walked.flags;
        flags.device = device;
        let known = self.walks.len() as u32;
        let walk = *self.walks.entry(walked.tables).or_insert_with_key(|tables| {
            new.walks.push(Walk { tables: tables.to_vec() });
            WalkId(known)
        });
        let translation = Translation {
            space,
            page: (address & start) >> 12,
            frame: (walked.physical & start) >> 12,
            guest_frame: (walked.guest_physical & start) >> 12,
            size: walked.size,
            flags,
            walk,
        };
        if self.holding(space, address) == Some(&translation) {
            return None;
        }
        let id = TranslationId(self.translations);
        self.translations += 1;
        self.sizes[space.index()] |= 1 << walked.size as u8;
        self.held.insert((space, translation.page, translation.size), (id, translation));
        new.translations.push(translation);
        Some(id)
    }

    /// The translation of `address` that holds: of those of several sizes the one told last.
    pub fn holding(&self, space: SpaceId, address: u64) -> Option<&Translation> {
        let sizes = *self.sizes.get(space.index())?;
        PageSize::ALL
            .into_iter()
            .filter(|&size| sizes & (1 << size as u8) != 0)
            .filter_map(|size| {
                let page = (address >> size.shift()) << (size.shift() - 12);
                self.held.get(&(space, page, size))
            })
            .max_by_key(|(id, _)| *id)
            .map(|(_, translation)| translation)
    }
}

/// Guest-physical addresses that a walk under nested paging went through: each table and the page
/// itself.
pub fn nested_addresses(walked: &Walked, address: u64, levels: usize) -> Vec<u64> {
    let mut addresses: Vec<u64> = walked
        .tables
        .iter()
        .enumerate()
        .map(|(i, table)| {
            let shift = 12 + 9 * (levels - 1 - i) as u32;
            (table << 12) + ((address >> shift) & 0x1ff) * 8
        })
        .collect();
    addresses.push(walked.guest_physical);
    addresses
}

/// A word of the machine's memory by linear address.
pub fn read_u64(memory: &Memory, paging: &Paging, address: u64) -> Option<u64> {
    if address & 0xfff <= 0xff8 {
        return memory.u64(paging.physical(memory, address)?);
    }
    let mut bytes = [0u8; 8];
    for (i, byte) in bytes.iter_mut().enumerate() {
        let at = paging.physical(memory, address.wrapping_add(i as u64))?;
        *byte = (memory.u64(at & !7)? >> ((at & 7) * 8)) as u8;
    }
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::PageFlags;

    fn walked(frame: u64, size: PageSize, writable: bool) -> Walked {
        let flags = PageFlags { writable, ..PageFlags::default() };
        let physical = frame << 12;
        Walked {
            physical,
            guest_physical: physical,
            size,
            flags,
            tables: Tables::from(&[1, 2, 3, 4][..]),
        }
    }

    #[test]
    fn a_translation_is_told_once_until_it_changes() {
        let (mut pages, mut new) = (Pages::default(), Definitions::default());
        let space = pages.space(Space::Paged { root: 0x1000 }, &mut new);
        let small = PageSize::Size4K;
        assert!(pages.tell(space, 0x5000, walked(9, small, false), false, &mut new).is_some());
        assert!(pages.tell(space, 0x5abc, walked(9, small, false), false, &mut new).is_none());
        assert!(pages.tell(space, 0x5000, walked(9, small, true), false, &mut new).is_some());
        assert_eq!((new.translations.len(), new.walks.len(), new.spaces.len()), (2, 1, 1));
    }

    #[test]
    fn a_small_page_in_place_of_a_large_one_holds_and_back() {
        let (mut pages, mut new) = (Pages::default(), Definitions::default());
        let space = pages.space(Space::Paged { root: 0x1000 }, &mut new);
        for size in [PageSize::Size2M, PageSize::Size4K, PageSize::Size2M] {
            assert!(
                pages.tell(space, 0x5000, walked(0x200, size, true), false, &mut new).is_some()
            );
            assert_eq!(pages.holding(space, 0x5000).unwrap().size, size);
        }
    }

    #[test]
    fn a_word_across_two_pages_is_put_together() {
        let memory = Memory::zeroed(8192);
        memory.store(0xff8, 0x1122_3344_5566_7788);
        memory.store(0x1000, 0x99aa_bbcc_ddee_ff00);
        let word = read_u64(&memory, &Paging::default(), 0xffc);
        assert_eq!(word, Some(0xddee_ff00_1122_3344));
    }
}

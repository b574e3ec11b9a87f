//! Pages whose look-up is known, so that it need not be made.

use super::entry::Key;
use super::policy::Rest;
use crate::page::{Mapping, PageSize};

/// Slots, direct-mapped by page number.
const SLOTS: usize = 256;
const EPOCH_SHIFT: u32 = 52;

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Number of the 4 KiB page in bits 0–51, epoch in 52–63.
    tag: u64,
    mapping: Mapping,
}

impl Slot {
    const EMPTY: Self = Self { tag: 0, mapping: Mapping::NONE };
}

/// For each 4 KiB page looked up lately, its translation and the place of the entry that hit, as
/// long as another look-up would find that entry and do nothing but set its time of last use.
#[derive(Debug, Clone)]
pub(super) struct Front {
    slots: Box<[Slot; SLOTS]>,
    places: Box<[u32; SLOTS]>,
    /// Of the slots that hold; never 0, which empty slots have.
    epoch: u64,
    rest: Rest,
    is_on: bool,
}

impl Front {
    pub(super) fn new(rest: Rest) -> Self {
        Self {
            slots: Box::new([Slot::EMPTY; SLOTS]),
            places: Box::new([0; SLOTS]),
            epoch: 1 << EPOCH_SHIFT,
            rest,
            is_on: true,
        }
    }

    /// Translation of a page, and the place of the entry that has it.
    #[inline(always)]
    pub(super) fn get(&self, va: u64) -> Option<(Mapping, u32)> {
        let vpn = va >> 12;
        let at = vpn as usize % SLOTS;
        let slot = &self.slots[at];
        (slot.tag == vpn | self.epoch).then(|| (slot.mapping, self.places[at]))
    }

    /// A look-up was made that `get` did not know: where a policy's state depends on the order of
    /// hits, those known before do not hold any more.
    #[inline]
    pub(super) fn another_page(&mut self) {
        if self.rest != Rest::Always {
            self.forget();
        }
    }

    /// The look-up of a page ended at the entry at `place`, which is the one under whose key the
    /// stream's translation is kept. `filled` tells a fill from a hit.
    #[inline]
    pub(super) fn remember(&mut self, va: u64, mapping: Mapping, place: u32, filled: bool) {
        // What goes to a device goes to no cache.
        if !self.is_on || mapping.is_device() || filled && self.rest == Rest::AfterHit {
            return;
        }
        let vpn = va >> 12;
        let at = vpn as usize % SLOTS;
        self.slots[at] = Slot { tag: vpn | self.epoch, mapping };
        self.places[at] = place;
    }

    /// Another entry took the place of this one.
    #[inline]
    pub(super) fn forget_entry(&mut self, key: Key, place: u32) {
        if key.size() == PageSize::Size4K {
            let at = key.page() as usize % SLOTS;
            if self.places[at] == place {
                self.slots[at] = Slot::EMPTY;
            }
            return;
        }
        for (slot, at) in self.slots.iter_mut().zip(self.places.iter()) {
            if *at == place {
                *slot = Slot::EMPTY;
            }
        }
    }

    /// The page may have another translation now.
    pub(super) fn forget_page(&mut self, va: u64) {
        let vpn = va >> 12;
        let slot = &mut self.slots[vpn as usize % SLOTS];
        if slot.tag == vpn | self.epoch {
            *slot = Slot::EMPTY;
        }
    }

    /// Nothing known before holds any more.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1 << EPOCH_SHIFT);
        if self.epoch == 0 {
            self.slots.fill(Slot::EMPTY);
            self.epoch = 1 << EPOCH_SHIFT;
        }
    }

    /// From now on nothing is known, so that every look-up is made.
    pub(super) fn switch_off(&mut self) {
        self.is_on = false;
        self.forget();
    }
}

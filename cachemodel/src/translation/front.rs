//! Pages whose look-up is known, so that it need not be made.

use super::entry::Key;
use super::tlb::NEAR_PLACES;
use crate::page::{Mapping, PageSize, PhysAddr};

/// Slots, direct-mapped by page number.
const SLOTS: usize = 256;
const EPOCH_SHIFT: u32 = 52;

/// Aligned, so that a slot lies in one line of the machine that this runs on.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Slot {
    /// Number of the 4 KiB page in bits 0–51, epoch in 52–63.
    tag: u64,
    /// Physical address of the page's first byte.
    base: u64,
    place: u32,
}

impl Slot {
    const EMPTY: Self = Self { tag: 0, base: 0, place: u32::MAX };
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where it is.
    pub(crate) physical: PhysAddr,
    /// The place of the entry that says so.
    pub(crate) place: u32,
}

impl Known {
    /// The place, if its time of use can be set from outside.
    #[inline]
    pub(crate) fn near_place(self) -> Option<u16> {
        ((self.place as usize) < NEAR_PLACES).then_some(self.place as u16)
    }
}

/// For each 4 KiB page looked up lately, its translation and the place of the entry that hit, as
/// long as another look-up would find that entry and do nothing but count as a use of it.
#[derive(Debug, Clone)]
pub(super) struct Front {
    slots: Box<[Slot; SLOTS]>,
    /// Of the slots that hold; never 0, which empty slots have.
    epoch: u64,
    is_on: bool,
}

impl Front {
    pub(super) fn new() -> Self {
        Self { slots: Box::new([Slot::EMPTY; SLOTS]), epoch: 1 << EPOCH_SHIFT, is_on: true }
    }

    /// Where an address is, and the place of the entry that says so.
    #[inline(always)]
    pub(super) fn get(&self, va: u64) -> Option<Known> {
        let vpn = va >> 12;
        let slot = &self.slots[vpn as usize % SLOTS];
        let known = Known { physical: PhysAddr(slot.base | va & 0xfff), place: slot.place };
        (slot.tag == vpn | self.epoch).then_some(known)
    }

    /// The look-up of a page ended at the entry at `place`, which is the one under whose key the
    /// stream's translation is kept.
    #[inline]
    pub(super) fn remember(&mut self, va: u64, mapping: Mapping, place: u32) {
        // What goes to a device goes to no cache.
        if !self.is_on || mapping.is_device() {
            return;
        }
        let vpn = va >> 12;
        let base = mapping.physical(va & !0xfff).0;
        self.slots[vpn as usize % SLOTS] = Slot { tag: vpn | self.epoch, base, place };
    }

    /// Another entry took the place of this one.
    #[inline]
    pub(super) fn forget_entry(&mut self, key: Key, place: u32) {
        if key.size() == PageSize::Size4K {
            let slot = &mut self.slots[key.page() as usize % SLOTS];
            if slot.place == place {
                *slot = Slot::EMPTY;
            }
            return;
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.place == place) {
            *slot = Slot::EMPTY;
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

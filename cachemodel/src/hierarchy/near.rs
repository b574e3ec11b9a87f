//! Hits in known pages, in the first level, of the usual machine.
//!
//! Most machines have first-level caches of 64 sets and 64-byte lines, with LRU replacement, and
//! nine of ten references hit there in a page looked up not long ago. [`Near`] holds no more than
//! what such a reference needs, so that a processor can keep it at hand; whatever else comes up is
//! left to the full way, which alone would give the same counts.

use super::{Hierarchy, RefKind};
use crate::translation::{Pages, Side};

/// What an access near at hand touches: both first-level caches, the pages known of both TLBs, and
/// the line fetched last.
pub(super) struct Near<'h, const I: usize, const D: usize> {
    l1i: &'h mut [[u64; I]; SETS],
    l1d: &'h mut [[u64; D]; SETS],
    fetched_pages: Pages<'h>,
    data_pages: Pages<'h>,
    last_fetch_line: &'h mut u64,
    now: &'h mut u64,
}

const SETS: usize = 64;
const LINE_SHIFT: u32 = 6;
const LINE_MASK: u64 = !((1 << LINE_SHIFT) - 1);
/// A place in a set is a line's number shifted left by two; bit 0 is set if it was written to.
const PLACE_SHIFT: u32 = 2;
const WRITTEN: u64 = 1;

impl Hierarchy {
    /// `None` where the machine is not of this kind.
    #[inline(always)]
    pub(super) fn near<const I: usize, const D: usize>(&mut self) -> Option<Near<'_, I, D>> {
        let [fetched_pages, data_pages] = self.unit.known_pages();
        let (l1i, l1d) = self.memory.usual_first()?;
        let (last_fetch_line, now) = (&mut self.last_fetch_line, &mut self.now);
        Some(Near { l1i, l1d, fetched_pages, data_pages, last_fetch_line, now })
    }
}

impl<const I: usize, const D: usize> Near<'_, I, D> {
    /// How many lines a fetch of `1 + beyond` bytes hits in known pages, one or two; it has then
    /// been made. 0 if it is to be made the full way.
    #[inline(always)]
    pub(super) fn fetch(&mut self, va: u64, beyond: u64) -> u64 {
        let offset = va.wrapping_sub(*self.last_fetch_line);
        // Both the first byte and the last are in the line fetched last. Nothing but a fetch
        // touches cache and TLB in between.
        if offset | offset.wrapping_add(beyond) < 1 << LINE_SHIFT {
            return 1;
        }
        let Some(physical) = self.fetched_pages.physical(va, self.now) else { return 0 };
        let lines = touch(self.l1i, physical, va, beyond, 0);
        if lines > 0 {
            *self.last_fetch_line = va.wrapping_add(beyond) & LINE_MASK;
        }
        lines
    }

    /// The same of a load or store.
    #[inline(always)]
    pub(super) fn operand(&mut self, kind: RefKind, va: u64, beyond: u64) -> u64 {
        let Some(physical) = self.data_pages.physical(va, self.now) else { return 0 };
        touch(self.l1d, physical, va, beyond, u64::from(kind.writes()))
    }
}

/// Touches the lines of a reference that are in their sets and were not brought by a prefetcher;
/// returns how many they are, or 0 if one is not there or they are not of one page.
#[inline(always)]
fn touch<const N: usize>(
    sets: &mut [[u64; N]; SETS],
    physical: u64,
    va: u64,
    beyond: u64,
    written: u64,
) -> u64 {
    let crossed = (va ^ va.wrapping_add(beyond)) & LINE_MASK;
    if !touch_line(sets, physical, written) {
        return 0;
    }
    if crossed == 0 {
        return 1;
    }
    let two_lines = beyond <= 1 << LINE_SHIFT && crossed >> 12 == 0;
    if two_lines && touch_line(sets, physical + beyond, written) { 2 } else { 0 }
}

#[inline(always)]
fn touch_line<const N: usize>(sets: &mut [[u64; N]; SETS], physical: u64, written: u64) -> bool {
    let line = physical >> LINE_SHIFT;
    let wanted = line << PLACE_SHIFT;
    let set = &mut sets[line as usize % SETS];
    if set[0] & !WRITTEN == wanted {
        set[0] |= written;
        return true;
    }
    bring_to_front(set, wanted, written)
}

/// The order of the set is that of last use.
#[inline(always)]
fn bring_to_front<const N: usize>(set: &mut [u64; N], wanted: u64, written: u64) -> bool {
    let Some(at) = set.iter().position(|place| place & !WRITTEN == wanted) else { return false };
    let found = set[at] | written;
    for to in (1..=at).rev() {
        set[to] = set[to - 1];
    }
    set[0] = found;
    true
}

/// Sides in the order of [`TranslationUnit::known_pages`](crate::translation::TranslationUnit).
const _: () = assert!(Side::Instruction as usize == 0 && Side::Data as usize == 1);

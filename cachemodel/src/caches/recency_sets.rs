//! Sets of more than sixteen lines in order of their last use: LRU replacement of physical lines.
//!
//! Each set is an array of lines, the most recently used first; a look-up puts what it finds in
//! front, and a fill pushes the last one out:
//!
//! ```text
//!   touch C:   [A B C D]  →  [C A B D]
//!   fill E:    [C A B D]  →  [E C A B]   victim D
//! ```
//!
//! Empty places are always last, so they are used up before anything is evicted. Ways are not told
//! apart, which LRU without a partition never has to.

use super::cache::place::{self, EMPTY, Place};
use super::cache::{Fill, Found, Removed, Touched, Victim};
use crate::geometry::{CacheGeometry, SetIndex};

#[derive(Debug, Clone)]
pub(super) struct RecencySets {
    index: SetIndex,
    ways: usize,
    places: Vec<Place>,
}

impl RecencySets {
    pub(super) fn new(geometry: &CacheGeometry) -> Self {
        let lines =
            geometry.ways() * usize::try_from(geometry.sets()).expect("bounded by MAX_LINES");
        Self {
            index: SetIndex::new(geometry.sets()),
            ways: geometry.ways(),
            places: vec![EMPTY; lines],
        }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Number of lines that there is room for.
    pub(super) fn room(&self) -> usize {
        self.places.len()
    }

    #[cfg(test)]
    pub(super) fn set_of(&self, physical: u64) -> usize {
        self.index.of(physical)
    }

    #[inline]
    fn set(&self, physical: u64) -> &[Place] {
        let start = self.index.of(physical) * self.ways;
        &self.places[start..start + self.ways]
    }

    #[inline]
    fn set_mut(&mut self, physical: u64) -> &mut [Place] {
        let start = self.index.of(physical) * self.ways;
        &mut self.places[start..start + self.ways]
    }

    #[inline(always)]
    pub(super) fn touch(&mut self, physical: u64, write: bool) -> Option<Touched> {
        bring_to_front(self.set_mut(physical), physical, write)
    }

    #[inline]
    pub(super) fn fill(&mut self, physical: u64, state: Fill) -> Option<Victim> {
        let set = self.set_mut(physical);
        debug_assert!(set.iter().all(|&here| place::physical(here) != physical), "filled twice");
        place::victim(push_front(set, place::of(physical, state)), 0)
    }

    /// A touch and, where that finds nothing, a fill.
    #[inline]
    pub(super) fn demand(&mut self, physical: u64, write: bool) -> Found {
        match self.touch(physical, write) {
            Some(_) => Found::Here,
            None => Found::Brought(self.fill(physical, Fill { dirty: write, prefetched: false })),
        }
    }

    pub(super) fn mark_prefetched(&mut self, physical: u64) {
        let set = self.set_mut(physical);
        if let Some(here) = set.iter_mut().find(|here| place::physical(**here) == physical) {
            *here |= place::PREFETCHED;
        }
    }

    pub(super) fn remove(&mut self, physical: u64) -> Option<Removed> {
        let set = self.set_mut(physical);
        let found = set.iter().position(|&here| place::physical(here) == physical)?;
        let removed = place::removed(set[found], 0);
        set.copy_within(found + 1.., found);
        set[set.len() - 1] = EMPTY;
        Some(removed)
    }

    pub(super) fn clean(&mut self, physical: u64) -> bool {
        let set = self.set_mut(physical);
        let Some(found) = set.iter_mut().find(|here| place::physical(**here) == physical) else {
            return false;
        };
        let was_dirty = place::is_dirty(*found);
        *found &= !place::DIRTY;
        was_dirty
    }

    pub(super) fn contains(&self, physical: u64) -> Option<bool> {
        let found = self.set(physical).iter().find(|&&here| place::physical(here) == physical)?;
        Some(place::is_dirty(*found))
    }

    pub(super) fn remove_range(&mut self, first: u64, last: u64, each: &mut impl FnMut(Removed)) {
        if first > last {
            return;
        }
        if last - first < self.places.len() as u64 / self.ways as u64 {
            (first..=last).filter_map(|line| self.remove(line)).for_each(each);
            return;
        }
        let mut removed = Vec::new();
        for set in self.places.chunks_exact_mut(self.ways) {
            let mut kept = 0;
            for at in 0..set.len() {
                let here = set[at];
                if here != EMPTY && (first..=last).contains(&place::physical(here)) {
                    removed.push(place::removed(here, 0));
                } else {
                    set[kept] = here;
                    kept += 1;
                }
            }
            set[kept..].fill(EMPTY);
        }
        removed.sort_unstable_by_key(|removed| removed.line);
        removed.into_iter().for_each(each);
    }
}

/// Finds the line before anything is moved: most look-ups that come this far miss.
#[inline(always)]
fn bring_to_front(set: &mut [Place], physical: u64, write: bool) -> Option<Touched> {
    // The flags are the lowest bits of a place.
    let wanted = place::of(physical, Fill::default());
    let mut found = set.len();
    for (way, &here) in set.iter().enumerate() {
        found = if here ^ wanted <= place::FLAGS { way } else { found };
    }
    let here = *set.get(found)?;
    for to in (1..=found).rev() {
        set[to] = set[to - 1];
    }
    set[0] = place::touched(here, write);
    Some(place::before(here))
}

/// Returns the last one, which falls out.
#[inline(always)]
fn push_front(set: &mut [Place], new: Place) -> Place {
    let last = set[set.len() - 1];
    set.copy_within(..set.len() - 1, 1);
    set[0] = new;
    last
}

//! Sets of at most sixteen lines in which neither a look-up nor a use walks over the ways: LRU
//! replacement of physical lines.
//!
//! Lines stay in their way. The order of use of a set's ways is one word of 4-bit way numbers, the
//! most recently used lowest, and a byte of a hash of each line tells which ways to look at:
//!
//! ```text
//!   order   3 0 2 1  →  way 1 was used last, way 3 goes next
//!   hashes  a7 03 5c 19      lines  A B C D
//!   touch C (way 2):  3 0 1 2
//! ```
//!
//! Empty ways are always the next to go, so they are used up before anything is evicted.

use super::cache::place::{self, EMPTY, Place};
use super::cache::{Fill, Found, Removed, Touched, Victim};
use crate::geometry::{CacheGeometry, SetIndex};

/// Most ways that a word holds the order of.
const MOST_WAYS: usize = 16;

/// One in each byte.
const BYTES: u64 = 0x0101_0101_0101_0101;
/// One in each 4 bits.
const NIBBLES: u64 = 0x1111_1111_1111_1111;
/// Every way in the place of its number.
const IN_ORDER: u64 = 0xfedc_ba98_7654_3210;

#[derive(Debug, Clone, Copy)]
struct Ranks {
    /// Ways by their last use, the latest in bits 0–3; numbers of no way stay at the top.
    order: u64,
    /// A byte for each way: the hash of the line it holds.
    hashes: [u64; 2],
}

#[derive(Debug, Clone)]
pub(super) struct RankedSets {
    index: SetIndex,
    ways: usize,
    /// The top bit of the byte of each way there is.
    ways_there: [u64; 2],
    ranks: Vec<Ranks>,
    places: Vec<Place>,
}

impl RankedSets {
    /// `None` for more ways than it can rank.
    pub(super) fn new(geometry: &CacheGeometry) -> Option<Self> {
        let (sets, ways) = (usize::try_from(geometry.sets()).ok()?, geometry.ways());
        if ways > MOST_WAYS {
            return None;
        }
        let mut ways_there = [0; 2];
        for way in 0..ways {
            ways_there[way / 8] |= 0x80 << (8 * (way % 8));
        }
        Some(Self {
            index: SetIndex::new(geometry.sets()),
            ways,
            ways_there,
            ranks: vec![Ranks { order: IN_ORDER, hashes: [0; 2] }; sets],
            places: vec![EMPTY; sets * ways],
        })
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

    /// Reads what a look-up would look at; the result means nothing.
    #[inline]
    pub(super) fn look_ahead(&self, physical: u64) -> u64 {
        let set = self.index.of(physical);
        self.ranks[set].order ^ self.places[set * self.ways]
    }

    /// The way that holds a line of this set.
    #[inline(always)]
    fn find_in(&self, set: usize, physical: u64) -> Option<usize> {
        // The flags are the lowest bits of a place.
        let wanted = place::of(physical, Fill::default());
        let hash = BYTES * hash(physical);
        for (half, &there) in self.ways_there.iter().enumerate() {
            let differing = self.ranks[set].hashes[half] ^ hash;
            // The top bit of each byte that is zero, and maybe of some above.
            let mut alike = differing.wrapping_sub(BYTES) & !differing & there;
            while alike != 0 {
                let way = 8 * half + alike.trailing_zeros() as usize / 8;
                if self.places[set * self.ways + way] ^ wanted <= place::FLAGS {
                    return Some(way);
                }
                alike &= alike - 1;
            }
        }
        None
    }

    /// The set and place of a line.
    fn find(&self, physical: u64) -> Option<(usize, usize)> {
        let set = self.index.of(physical);
        Some((set, self.find_in(set, physical)?))
    }

    /// How far the rank of the last to go is from bit 0.
    #[inline]
    fn last_rank(&self) -> u32 {
        4 * (self.ways as u32 - 1)
    }

    #[inline]
    fn touch_way(&mut self, set: usize, way: usize, write: bool) -> Touched {
        let order = &mut self.ranks[set].order;
        *order = with_in_front(*order, way, rank_of(*order, way));
        let here = &mut self.places[set * self.ways + way];
        let before = place::before(*here);
        *here = place::touched(*here, write);
        before
    }

    #[inline]
    fn bring(&mut self, set: usize, physical: u64, state: Fill) -> Option<Victim> {
        let last = self.last_rank();
        let ranks = &mut self.ranks[set];
        let way = (ranks.order >> last) as usize % MOST_WAYS;
        ranks.order = with_in_front(ranks.order, way, last);
        let at = 8 * (way % 8);
        let hashes = &mut ranks.hashes[way / 8];
        *hashes = *hashes & !(0xff << at) | hash(physical) << at;
        let here = &mut self.places[set * self.ways + way];
        place::victim(std::mem::replace(here, place::of(physical, state)), 0)
    }

    #[inline]
    pub(super) fn touch(&mut self, physical: u64, write: bool) -> Option<Touched> {
        let set = self.index.of(physical);
        let way = self.find_in(set, physical)?;
        Some(self.touch_way(set, way, write))
    }

    #[inline]
    pub(super) fn fill(&mut self, physical: u64, state: Fill) -> Option<Victim> {
        debug_assert!(self.find(physical).is_none(), "filled twice");
        self.bring(self.index.of(physical), physical, state)
    }

    /// A touch and, where that finds nothing, a fill.
    #[inline]
    pub(super) fn demand(&mut self, physical: u64, write: bool) -> Found {
        let set = self.index.of(physical);
        if let Some(way) = self.find_in(set, physical) {
            self.touch_way(set, way, write);
            return Found::Here;
        }
        Found::Brought(self.bring(set, physical, Fill { dirty: write, prefetched: false }))
    }

    pub(super) fn mark_prefetched(&mut self, physical: u64) {
        if let Some((set, way)) = self.find(physical) {
            self.places[set * self.ways + way] |= place::PREFETCHED;
        }
    }

    pub(super) fn remove(&mut self, physical: u64) -> Option<Removed> {
        let (set, way) = self.find(physical)?;
        Some(self.take(set, way))
    }

    fn take(&mut self, set: usize, way: usize) -> Removed {
        let last = self.last_rank();
        let order = &mut self.ranks[set].order;
        *order = with_last(*order, way, last);
        let here = std::mem::replace(&mut self.places[set * self.ways + way], EMPTY);
        place::removed(here, 0)
    }

    pub(super) fn clean(&mut self, physical: u64) -> bool {
        let Some((set, way)) = self.find(physical) else { return false };
        let here = &mut self.places[set * self.ways + way];
        let was_dirty = place::is_dirty(*here);
        *here &= !place::DIRTY;
        was_dirty
    }

    pub(super) fn contains(&self, physical: u64) -> Option<bool> {
        let (set, way) = self.find(physical)?;
        Some(place::is_dirty(self.places[set * self.ways + way]))
    }

    pub(super) fn remove_range(&mut self, first: u64, last: u64, each: &mut impl FnMut(Removed)) {
        if first > last {
            return;
        }
        if last - first < self.ranks.len() as u64 {
            (first..=last).filter_map(|line| self.remove(line)).for_each(each);
            return;
        }
        let mut removed = Vec::new();
        for at in 0..self.places.len() {
            let here = self.places[at];
            if here != EMPTY && (first..=last).contains(&place::physical(here)) {
                removed.push(self.take(at / self.ways, at % self.ways));
            }
        }
        removed.sort_unstable_by_key(|removed| removed.line);
        removed.into_iter().for_each(each);
    }
}

#[inline]
fn hash(physical: u64) -> u64 {
    physical.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
}

/// Where the rank of a way begins in `order`, in bits.
#[inline]
fn rank_of(order: u64, way: usize) -> u32 {
    let differing = order ^ (NIBBLES * way as u64);
    // The lowest of these bits is that of the only 4 bits that are zero.
    let zero = differing.wrapping_sub(NIBBLES) & !differing & (NIBBLES << 3);
    zero.trailing_zeros() - 3
}

/// The order after a use of `way`, whose rank begins at bit `rank`.
#[inline]
fn with_in_front(order: u64, way: usize, rank: u32) -> u64 {
    let moved = u64::MAX >> (60 - rank);
    order & !moved | order << 4 & moved | way as u64
}

/// The order with `way` moved to the rank that begins at bit `last`.
fn with_last(order: u64, way: usize, last: u32) -> u64 {
    let rank = rank_of(order, way);
    let before = (1 << rank) - 1;
    let up_to_last = u64::MAX >> (60 - last);
    let moved = (order & up_to_last) >> 4 & !before;
    order & !up_to_last | order & before | moved | (way as u64) << last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_changed_as_a_list_is() {
        for ways in 1..=MOST_WAYS {
            let last = 4 * (ways as u32 - 1);
            let mut order = IN_ORDER;
            let mut list: Vec<usize> = (0..MOST_WAYS).collect();
            for step in 0..500_usize {
                let way = step * step / 3 % ways;
                let at = list.iter().position(|&here| here == way).unwrap();
                assert_eq!(rank_of(order, way) as usize, 4 * at);
                list.remove(at);
                if step % 5 == 4 {
                    list.insert(ways - 1, way);
                    order = with_last(order, way, last);
                } else {
                    list.insert(0, way);
                    order = with_in_front(order, way, 4 * at as u32);
                }
                let as_list = |rank: usize| (order >> (4 * rank)) as usize % MOST_WAYS;
                assert_eq!((0..MOST_WAYS).map(as_list).collect::<Vec<_>>(), list);
            }
        }
    }
}

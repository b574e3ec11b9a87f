//! A set-associative cache: least recently used replacement, write-back, write-allocate.
//!
//! Each set is an array of line numbers, the most recently used first. A look-up walks it while
//! moving each line one place back; where it finds the line, it puts it in front and stops. If it
//! comes to the end, the line that fell out is the victim:
//!
//! ```text
//!   look up C:   [A B C D]  →  [C A B D]   hit
//!   look up E:   [C A B D]  →  [E C A B]   miss, victim D
//! ```
//!
//! Empty places are always last, so they are used up before anything is evicted.

use crate::geometry::{CacheGeometry, SetIndex};
use crate::page::PhysAddr;

/// Number of a cache line: physical address divided by the line size of one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LineAddr(u64);

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheLookup {
    /// The line was there.
    Hit,
    /// The line was not there and is now; nothing that memory needs had to go for it.
    Miss,
    /// The line was not there and is now; this one, changed since it was fetched, had to go.
    MissWithDirtyVictim(LineAddr),
}

/// A place holds a line number, shifted left by one, with the dirty flag in bit 0.
type Place = u64;

/// Its line number is larger than any: lines have at least eight bytes.
const EMPTY: Place = u64::MAX;

/// A cache without its data.
#[derive(Debug, Clone)]
pub struct Cache {
    index: SetIndex,
    ways: usize,
    line_shift: u32,
    places: Vec<Place>,
}

impl Cache {
    /// An empty cache. Takes 8 bytes for each line.
    #[must_use]
    pub fn new(geometry: &CacheGeometry) -> Self {
        let lines =
            geometry.ways() * usize::try_from(geometry.sets()).expect("bounded by MAX_LINES");
        Self {
            index: SetIndex::new(geometry.sets()),
            ways: geometry.ways(),
            line_shift: geometry.line_shift(),
            places: vec![EMPTY; lines],
        }
    }

    /// The line that holds `address`.
    #[inline]
    #[must_use]
    pub fn line_of(&self, address: PhysAddr) -> LineAddr {
        LineAddr(address.0 >> self.line_shift)
    }

    /// Address of the first byte of `line`.
    #[inline]
    #[must_use]
    pub fn address_of(&self, line: LineAddr) -> PhysAddr {
        PhysAddr(line.0 << self.line_shift)
    }

    /// Looks `line` up, fetching it if it is missing; `write` makes it dirty.
    #[inline]
    pub fn access(&mut self, line: LineAddr, write: bool) -> CacheLookup {
        let start = self.index.of(line.0) * self.ways;
        let set = &mut self.places[start..start + self.ways];
        let dirty = Place::from(write);
        if set[0] >> 1 == line.0 {
            set[0] |= dirty;
            return CacheLookup::Hit;
        }
        // The compiler unrolls the walk where it knows the number of ways.
        match set.len() {
            4 => walk(&mut set[..4], line, dirty),
            8 => walk(&mut set[..8], line, dirty),
            16 => walk(&mut set[..16], line, dirty),
            _ => walk(set, line, dirty),
        }
    }

    /// Lines held that were written to since they came. Costs a walk over the cache.
    #[must_use]
    pub fn dirty_lines(&self) -> u64 {
        self.places.iter().map(|&place| u64::from(is_dirty(place))).sum()
    }

    /// Drops `line` and what was written to it, as when a device has overwritten it in memory.
    /// Says whether it was there.
    pub fn invalidate_line(&mut self, line: LineAddr) -> bool {
        let start = self.index.of(line.0) * self.ways;
        let set = &mut self.places[start..start + self.ways];
        let Some(found) = set.iter().position(|place| place >> 1 == line.0) else {
            return false;
        };
        set.copy_within(found + 1.., found);
        set[self.ways - 1] = EMPTY;
        true
    }

    /// Drops each line that has a byte in `start..start + length`, as [`Cache::invalidate_line`].
    /// Returns how many were there. Costs no more than a walk over the whole cache.
    pub fn invalidate_range(&mut self, start: PhysAddr, length: u64) -> u64 {
        let Some(last_offset) = length.checked_sub(1) else {
            return 0;
        };
        let first = self.line_of(start).0;
        let last = self.line_of(PhysAddr(start.0.saturating_add(last_offset))).0;
        if last - first < self.places.len() as u64 {
            return (first..=last)
                .map(|line| u64::from(self.invalidate_line(LineAddr(line))))
                .sum();
        }
        let mut dropped = 0;
        for set in self.places.chunks_exact_mut(self.ways) {
            let mut kept = 0;
            for at in 0..set.len() {
                let place = set[at];
                if place != EMPTY && (first..=last).contains(&(place >> 1)) {
                    dropped += 1;
                } else {
                    set[kept] = place;
                    kept += 1;
                }
            }
            set[kept..].fill(EMPTY);
        }
        dropped
    }
}

#[inline]
fn is_dirty(place: Place) -> bool {
    place & 1 == 1 && place != EMPTY
}

/// Expects that the line is not in front: that is tested before.
#[inline(always)]
fn walk(set: &mut [Place], line: LineAddr, dirty: Place) -> CacheLookup {
    let Some((front, rest)) = set.split_first_mut() else {
        return CacheLookup::Miss;
    };
    let mut carried = *front;
    for place in rest {
        let here = std::mem::replace(place, carried);
        if here >> 1 == line.0 {
            *front = here | dirty;
            return CacheLookup::Hit;
        }
        carried = here;
    }
    *front = line.0 << 1 | dirty;
    if is_dirty(carried) {
        CacheLookup::MissWithDirtyVictim(LineAddr(carried >> 1))
    } else {
        CacheLookup::Miss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Ways;

    fn cache(lines: u64, ways: u64) -> Cache {
        Cache::new(&CacheGeometry::new("l1d", lines * 64, Ways::Number(ways), 64).unwrap())
    }

    #[test]
    fn the_line_unused_for_longest_is_evicted_and_told_when_dirty() {
        let mut cache = cache(2, 2);
        assert_eq!(cache.access(LineAddr(1), true), CacheLookup::Miss);
        assert_eq!(cache.access(LineAddr(2), false), CacheLookup::Miss);
        assert_eq!(cache.access(LineAddr(1), false), CacheLookup::Hit);
        assert_eq!(cache.access(LineAddr(3), false), CacheLookup::Miss);
        assert_eq!(cache.access(LineAddr(4), false), CacheLookup::MissWithDirtyVictim(LineAddr(1)));
    }

    #[test]
    fn an_invalidated_line_leaves_a_place_that_is_filled_first() {
        let mut cache = cache(2, 2);
        cache.access(LineAddr(1), true);
        cache.access(LineAddr(2), true);
        assert!(cache.invalidate_line(LineAddr(2)));
        assert!(!cache.invalidate_line(LineAddr(2)));
        assert_eq!(cache.access(LineAddr(3), false), CacheLookup::Miss);
        assert_eq!(cache.access(LineAddr(1), false), CacheLookup::Hit);
    }

    #[test]
    fn a_long_range_drops_the_same_lines_as_line_after_line() {
        for length in [1, 64, 65, 3 * 64, 1 << 20, u64::MAX] {
            let mut filled = cache(48, 3);
            (0..60).for_each(|line| {
                filled.access(LineAddr(line), line % 2 == 0);
            });
            let mut by_line = filled.clone();
            let start = PhysAddr(20 * 64 + 1);
            let last = start.0.saturating_add(length - 1) / 64;
            let dropped =
                (20..=last.min(100)).filter(|&line| by_line.invalidate_line(LineAddr(line)));
            let expected = dropped.count() as u64;
            assert_eq!(filled.invalidate_range(start, length), expected);
            assert_eq!(filled.places, by_line.places);
        }
    }

    #[test]
    fn an_empty_range_drops_nothing() {
        let mut cache = cache(2, 2);
        cache.access(LineAddr(0), false);
        assert_eq!(cache.invalidate_range(PhysAddr(0), 0), 0);
        assert_eq!(cache.access(LineAddr(0), false), CacheLookup::Hit);
    }
}

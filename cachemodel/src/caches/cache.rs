//! One cache without its data, of any geometry, policy and kind of address.

use super::first_sets::FirstSets;
use super::ranked_sets::RankedSets;
use super::recency_sets::RecencySets;
use super::way_sets::WaySets;
use crate::machine::{AddressKind, CacheSpec, Replacement, WayMask};

/// Numbers of a line: its addresses divided by the line size of one cache. Both address the same
/// byte of a 4 KiB page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) physical: u64,
    /// Without meaning to a cache that keeps physical addresses only; such a cache tells 0.
    pub(crate) virtual_: u64,
}

/// What a line was before the look-up that hit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) was_dirty: bool,
    pub(crate) was_prefetched: bool,
}

/// What a line is when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fill {
    pub(crate) dirty: bool,
    pub(crate) prefetched: bool,
}

/// What a demand access found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The line.
    Here,
    /// Not the line, which came in place of this one.
    Brought(Option<Victim>),
}

/// A line that had to go for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Victim {
    /// With the virtual number it was filled under.
    pub(crate) line: Line,
    pub(crate) dirty: bool,
    /// It was prefetched and never used.
    pub(crate) prefetched: bool,
}

/// A line that was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    /// With the virtual number it was filled under.
    pub(crate) line: Line,
    pub(crate) dirty: bool,
}

/// A place holds a physical line number, shifted left by two, and two flags.
pub(super) mod place {
    use super::{Fill, Line, Removed, Touched, Victim};

    pub(in crate::caches) type Place = u64;
    pub(in crate::caches) const DIRTY: Place = 1;
    pub(in crate::caches) const PREFETCHED: Place = 2;
    pub(in crate::caches) const FLAGS: Place = DIRTY | PREFETCHED;
    /// Its line number is larger than any: lines have at least eight bytes.
    pub(in crate::caches) const EMPTY: Place = Place::MAX;

    #[inline]
    pub(in crate::caches) fn of(physical: u64, state: Fill) -> Place {
        debug_assert!(physical >> 61 == 0, "{physical:#x} is no line number");
        physical << 2 | Place::from(state.prefetched) << 1 | Place::from(state.dirty)
    }

    #[inline]
    pub(in crate::caches) fn physical(place: Place) -> u64 {
        place >> 2
    }

    /// Only of a place that is not empty.
    #[inline]
    pub(in crate::caches) fn is_dirty(place: Place) -> bool {
        place & DIRTY != 0
    }

    /// The place after a look-up that hits it.
    #[inline]
    pub(in crate::caches) fn touched(place: Place, write: bool) -> Place {
        place & !PREFETCHED | Place::from(write)
    }

    #[inline]
    pub(in crate::caches) fn before(place: Place) -> Touched {
        Touched { was_dirty: place & DIRTY != 0, was_prefetched: place & PREFETCHED != 0 }
    }

    #[inline]
    pub(in crate::caches) fn victim(place: Place, virtual_: u64) -> Option<Victim> {
        (place != EMPTY).then(|| Victim {
            line: Line { physical: physical(place), virtual_ },
            dirty: is_dirty(place),
            prefetched: place & PREFETCHED != 0,
        })
    }

    #[inline]
    pub(in crate::caches) fn removed(place: Place, virtual_: u64) -> Removed {
        Removed { line: Line { physical: physical(place), virtual_ }, dirty: is_dirty(place) }
    }
}

/// A cache without its data.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    line_shift: u32,
    storage: Storage,
}

#[derive(Debug, Clone)]
enum Storage {
    First(Box<FirstSets>),
    Ranked(RankedSets),
    Recency(RecencySets),
    Ways(Box<WaySets>),
}

/// Does the same to the storage, whichever it is.
macro_rules! storage {
    ($cache:expr, $sets:ident => $physical:expr, $ways:ident => $other:expr) => {
        match $cache {
            Storage::First($sets) => $physical,
            Storage::Ranked($sets) => $physical,
            Storage::Recency($sets) => $physical,
            Storage::Ways($ways) => $other,
        }
    };
}

impl Cache {
    /// An empty cache. `seed` is where random replacement starts its numbers. `tracks_virtual`
    /// makes a cache with physical addresses tell the virtual ones of what goes, too.
    ///
    /// Takes some 10 bytes for each line if it is LRU, physical and not partitioned, else up to 24.
    pub(crate) fn new(spec: &CacheSpec, seed: u64, tracks_virtual: bool) -> Self {
        if Self::keeps_order_only(spec, tracks_virtual) {
            let storage = match RankedSets::new(spec.geometry()) {
                Some(sets) => Storage::Ranked(sets),
                None => Storage::Recency(RecencySets::new(spec.geometry())),
            };
            return Self { line_shift: spec.geometry().line_shift(), storage };
        }
        let is_virtual = [spec.index(), spec.tag()].contains(&AddressKind::Virtual);
        Self::with_ways(spec, seed, is_virtual || tracks_virtual)
    }

    /// The same for a first level, where hits may be known beforehand.
    pub(crate) fn first_level(spec: &CacheSpec, seed: u64, tracks_virtual: bool) -> Self {
        let known = Self::keeps_order_only(spec, tracks_virtual)
            .then(|| FirstSets::new(spec.geometry()))
            .flatten();
        match known {
            Some(sets) => {
                Self { line_shift: spec.geometry().line_shift(), storage: Storage::First(sets) }
            }
            None => Self::new(spec, seed, tracks_virtual),
        }
    }

    /// LRU, physical and not partitioned.
    fn keeps_order_only(spec: &CacheSpec, tracks_virtual: bool) -> bool {
        let is_virtual = [spec.index(), spec.tag()].contains(&AddressKind::Virtual);
        spec.replacement() == Replacement::Lru
            && !is_virtual
            && !tracks_virtual
            && spec.partition().is_empty()
    }

    /// The same with places that lines do not leave, whatever the policy.
    pub(super) fn with_ways(spec: &CacheSpec, seed: u64, keeps_virtual: bool) -> Self {
        Self {
            line_shift: spec.geometry().line_shift(),
            storage: Storage::Ways(Box::new(WaySets::new(spec, seed, keeps_virtual))),
        }
    }

    /// Bits of an offset in a line.
    #[inline]
    pub(crate) fn line_shift(&self) -> u32 {
        self.line_shift
    }

    /// The set that `line` belongs to.
    #[cfg(test)]
    pub(crate) fn set_of(&self, line: Line) -> usize {
        storage!(&self.storage, sets => sets.set_of(line.physical), ways => ways.set_of(line))
    }

    /// The storage of a first level whose hits may be known beforehand; `None` of any other.
    #[inline]
    pub(crate) fn first_sets(&mut self) -> Option<&mut FirstSets> {
        match &mut self.storage {
            Storage::First(sets) => Some(sets),
            Storage::Ranked(_) | Storage::Recency(_) | Storage::Ways(_) => None,
        }
    }

    /// The set of such a storage that a physical line belongs to.
    pub(crate) fn first_set_of(&self, physical: u64) -> Option<usize> {
        match &self.storage {
            Storage::First(sets) => Some(sets.set_of(physical)),
            Storage::Ranked(_) | Storage::Recency(_) | Storage::Ways(_) => None,
        }
    }

    /// Looks `line` up. A hit counts as use, makes the line dirty on a `write` and unmarks it as
    /// prefetched; returns what the line was before. A miss changes nothing.
    #[inline(always)]
    pub(crate) fn touch(&mut self, line: Line, write: bool) -> Option<Touched> {
        storage!(
            &mut self.storage,
            sets => sets.touch(line.physical, write),
            ways => ways.touch(line, write)
        )
    }

    /// Puts in a line that is not there, into one of the `ways` (any if `None`). Returns what had
    /// to go for it.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        line: Line,
        state: Fill,
        candidates: Option<WayMask>,
    ) -> Option<Victim> {
        storage!(
            &mut self.storage,
            sets => {
                debug_assert!(candidates.is_none(), "this cache is not partitioned");
                sets.fill(line.physical, state)
            },
            ways => ways.fill(line, state, candidates)
        )
    }

    /// A demand access where nothing is prefetched or partitioned: a touch and, where that finds
    /// nothing, a fill.
    #[inline]
    pub(crate) fn demand(&mut self, line: Line, write: bool) -> Found {
        storage!(
            &mut self.storage,
            sets => sets.demand(line.physical, write),
            ways => match ways.touch(line, write) {
                Some(_) => Found::Here,
                None => {
                    let state = Fill { dirty: write, prefetched: false };
                    Found::Brought(ways.fill(line, state, None))
                }
            }
        )
    }

    /// Reads what a look-up of a physical line would look at; the result means nothing. Nothing
    /// where that is not worth it.
    #[inline]
    pub(crate) fn look_ahead(&self, physical: u64) -> u64 {
        match &self.storage {
            Storage::Ranked(sets) => sets.look_ahead(physical),
            Storage::First(_) | Storage::Recency(_) | Storage::Ways(_) => 0,
        }
    }

    /// Whether a look-up of `line` would hit.
    pub(crate) fn contains(&self, line: Line) -> bool {
        storage!(
            &self.storage,
            sets => sets.contains(line.physical).is_some(),
            ways => ways.contains(line)
        )
    }

    /// Marks `line`, if it is here, as prefetched and not yet used.
    pub(crate) fn mark_prefetched(&mut self, line: Line) {
        storage!(
            &mut self.storage,
            sets => sets.mark_prefetched(line.physical),
            ways => ways.mark_prefetched(line)
        );
    }

    /// Takes out just the line that a look-up of `line` would hit.
    pub(crate) fn remove(&mut self, line: Line) -> Option<Removed> {
        storage!(&mut self.storage, sets => sets.remove(line.physical), ways => ways.remove(line))
    }

    /// Takes out every copy of a physical line, whatever its virtual number: by set, then by way.
    pub(crate) fn remove_physical(&mut self, physical: u64, mut each: impl FnMut(Removed)) {
        storage!(
            &mut self.storage,
            sets => sets.remove(physical).into_iter().for_each(each),
            ways => ways.remove_physical(physical, &mut each)
        );
    }

    /// Takes the dirty mark off every copy of a physical line. Says whether one had it.
    pub(crate) fn clean(&mut self, physical: u64) -> bool {
        storage!(&mut self.storage, sets => sets.clean(physical), ways => ways.clean(physical))
    }

    /// Whether a copy of a physical line is here and, if so, whether one is dirty.
    pub(crate) fn contains_physical(&self, physical: u64) -> Option<bool> {
        storage!(
            &self.storage,
            sets => sets.contains(physical),
            ways => ways.contains_physical(physical)
        )
    }

    /// Takes out all copies of the physical lines from `first` to `last`, both included, in
    /// ascending order. Costs at most a walk over the cache.
    pub(crate) fn remove_range(&mut self, first: u64, last: u64, mut each: impl FnMut(Removed)) {
        storage!(
            &mut self.storage,
            sets => sets.remove_range(first, last, &mut each),
            ways => ways.remove_range(first, last, &mut each)
        );
    }

    /// Takes out everything, in ascending order of physical line numbers.
    pub(crate) fn drain(&mut self, each: impl FnMut(Removed)) {
        self.remove_range(0, u64::MAX, each);
    }

    /// Lines held that were written to since they came. Costs a walk over the cache.
    pub(crate) fn dirty_lines(&self) -> u64 {
        match &self.storage {
            Storage::First(sets) => sets.dirty_lines(),
            Storage::Ranked(sets) => dirty_of(sets.places()),
            Storage::Recency(sets) => dirty_of(sets.places()),
            Storage::Ways(ways) => dirty_of(ways.places()),
        }
    }

    /// Number of lines that it has room for.
    pub(crate) fn lines(&self) -> u64 {
        storage!(&self.storage, sets => sets.room(), ways => ways.room()) as u64
    }
}

fn dirty_of(places: &[u64]) -> u64 {
    let dirty = |place: &&u64| **place != place::EMPTY && place::is_dirty(**place);
    places.iter().filter(dirty).count() as u64
}

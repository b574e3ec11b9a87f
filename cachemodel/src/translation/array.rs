//! One array of entries: sets of ways, for some page sizes.

use rustc_hash::FxHashMap;

use super::entry::{Key, OwnerId, Target};
use crate::geometry::SetIndex;
use crate::machine::Replacement;
use crate::replacement::{Candidates, Policy};

/// Sets of more ways than this are found through an index instead of a scan.
const SCANNED_WAYS: usize = 16;

/// Sets and ways, and how victims are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) sets: u64,
    pub(super) ways: usize,
    pub(super) replacement: Replacement,
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) set: usize,
    /// Among all places of the array.
    pub(super) at: usize,
}

/// An entry that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) key: Key,
    pub(super) target: Target,
    pub(super) at: usize,
}

/// Entries by set and way. The time of each entry's last use or fill is kept by its owner, who may
/// also set it without asking here; no two of a set are equal.
#[derive(Debug, Clone)]
pub(super) struct Array {
    index: SetIndex,
    ways: usize,
    keys: Vec<Key>,
    owners: Vec<OwnerId>,
    targets: Vec<Target>,
    policy: Policy,
    /// For each set, the way that was hit or filled last: most look-ups find it again.
    latest: Vec<u32>,
    /// For each set, a way below which none is free.
    none_free_below: Vec<u32>,
    /// Place of each entry, for large sets.
    places: Option<FxHashMap<(Key, OwnerId), u32>>,
    held: usize,
}

impl Array {
    pub(super) fn new(shape: Shape, seed: u64) -> Self {
        let sets = usize::try_from(shape.sets).expect("a geometry bounds the entries");
        let entries = sets * shape.ways;
        Self {
            index: SetIndex::new(shape.sets),
            ways: shape.ways,
            keys: vec![Key::EMPTY; entries],
            owners: vec![OwnerId(0); entries],
            targets: vec![Target::NONE; entries],
            policy: Policy::new(shape.replacement, sets, shape.ways, seed),
            latest: vec![0; sets],
            none_free_below: vec![0; sets],
            places: (shape.ways > SCANNED_WAYS).then(FxHashMap::default),
            held: 0,
        }
    }

    pub(super) fn is_lru(&self) -> bool {
        self.policy.looks_at_uses()
    }

    pub(super) fn ways(&self) -> usize {
        self.ways
    }

    pub(super) fn number_of_sets(&self) -> usize {
        self.latest.len()
    }

    /// The places of a set.
    pub(super) fn places_of(&self, set: usize) -> std::ops::Range<usize> {
        set * self.ways..(set + 1) * self.ways
    }

    /// Some times of last use are earlier than they were.
    pub(super) fn times_have_fallen(&mut self) {
        self.policy.times_have_fallen();
    }

    /// Whether a hit does nothing but set the time of last use.
    pub(super) fn only_times(&self) -> bool {
        self.policy.only_times()
    }

    /// The place at this position.
    pub(super) fn place(&self, at: usize) -> Place {
        Place { set: at / self.ways, at }
    }

    pub(super) fn key(&self, place: Place) -> Key {
        self.keys[place.at]
    }

    pub(super) fn owner(&self, place: Place) -> OwnerId {
        self.owners[place.at]
    }

    pub(super) fn target(&self, place: Place) -> Target {
        self.targets[place.at]
    }

    #[inline]
    pub(super) fn find(&self, key: Key, owner: OwnerId) -> Option<Place> {
        let set = self.index.of(key.page());
        match &self.places {
            Some(places) => places.get(&(key, owner)).map(|&at| Place { set, at: at as usize }),
            None => self.scan(set, key, owner),
        }
    }

    #[inline]
    fn scan(&self, set: usize, key: Key, owner: OwnerId) -> Option<Place> {
        let first = set * self.ways;
        let is_it = |at: usize| self.keys[at] == key && self.owners[at] == owner;
        let latest = first + self.latest[set] as usize;
        if is_it(latest) {
            return Some(Place { set, at: latest });
        }
        (first..first + self.ways).find(|&at| is_it(at)).map(|at| Place { set, at })
    }

    /// Places that hold entries.
    pub(super) fn held_places(&self) -> impl Iterator<Item = usize> {
        let held = |&(_, key): &(usize, &Key)| *key != Key::EMPTY;
        self.keys.iter().enumerate().filter(held).map(|(place, _)| place)
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Does what a hit does besides setting the time of last use.
    #[inline]
    pub(super) fn hit(&mut self, place: Place) {
        let way = place.at - place.set * self.ways;
        self.latest[place.set] = way as u32;
        self.policy.hit(place.set, way);
    }

    /// Makes an entry that is not there; returns its place and what was there before. `used` is
    /// the times of last use.
    pub(super) fn fill(
        &mut self,
        key: Key,
        owner: OwnerId,
        target: Target,
        now: u64,
        used: &mut [u64],
    ) -> (Place, Option<Removed>) {
        let set = self.index.of(key.page());
        let first = set * self.ways;
        let way = match self.take_free_way(set) {
            Some(way) => way,
            None => self.policy.victim(set, Candidates::All, used),
        };
        let at = first + way;
        let evicted = self.remove(at);
        self.keys[at] = key;
        self.owners[at] = owner;
        self.targets[at] = target;
        used[at] = now;
        self.held += 1;
        if let Some(places) = &mut self.places {
            places.insert((key, owner), at as u32);
        }
        self.latest[set] = way as u32;
        self.policy.fill(set, way, now);
        (Place { set, at }, evicted)
    }

    /// The lowest-numbered free way, about to be filled.
    fn take_free_way(&mut self, set: usize) -> Option<usize> {
        let from = self.none_free_below[set] as usize;
        let keys = &self.keys[set * self.ways..][from..self.ways];
        let free = keys.iter().position(|&key| key == Key::EMPTY).map(|way| from + way);
        self.none_free_below[set] = free.map_or(self.ways, |way| way + 1) as u32;
        free
    }

    fn remove(&mut self, at: usize) -> Option<Removed> {
        let key = std::mem::replace(&mut self.keys[at], Key::EMPTY);
        if key == Key::EMPTY {
            return None;
        }
        self.held -= 1;
        if let Some(places) = &mut self.places {
            places.remove(&(key, self.owners[at]));
        }
        Some(Removed { key, target: self.targets[at], at })
    }

    /// Removes what is at a place, which from then on is free.
    pub(super) fn remove_at(&mut self, at: usize) -> Option<Removed> {
        let removed = self.remove(at)?;
        let (set, way) = (at / self.ways, at % self.ways);
        self.none_free_below[set] = self.none_free_below[set].min(way as u32);
        Some(removed)
    }

    /// Removes the entries that `goes` names. Costs a walk over the array, if it holds any.
    pub(super) fn remove_where(
        &mut self,
        mut goes: impl FnMut(Key, OwnerId, Target) -> bool,
        mut each: impl FnMut(Removed),
    ) {
        let mut at = 0;
        let mut left = self.held;
        while left > 0 {
            if self.keys[at] != Key::EMPTY {
                left -= 1;
                if goes(self.keys[at], self.owners[at], self.targets[at])
                    && let Some(removed) = self.remove_at(at)
                {
                    each(removed);
                }
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PageSize;

    /// Keys hold 16 bits of an owner.
    #[test]
    fn owners_of_equal_keys_are_told_apart() {
        let (one, other) = (OwnerId(7), OwnerId(7 + (1 << 16)));
        let key = |owner| Key::new(5, PageSize::Size4K, false, owner);
        assert_eq!(key(one), key(other));
        for ways in [SCANNED_WAYS, SCANNED_WAYS + 1] {
            let shape = Shape { sets: 1, ways, replacement: Replacement::Lru };
            let mut array = Array::new(shape, 1);
            let mut used = vec![0; ways];
            let (first, _) = array.fill(key(one), one, Target::NONE, 1, &mut used);
            assert_eq!(array.find(key(other), other), None);
            let (second, _) = array.fill(key(other), other, Target::NONE, 2, &mut used);
            assert_eq!(array.find(key(one), one), Some(first));
            assert_eq!(array.find(key(other), other), Some(second));
        }
    }
}

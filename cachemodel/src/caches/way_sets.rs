//! Sets of numbered ways that lines stay in: every policy, partitions, and virtual addresses.

use super::cache::place::{self, EMPTY, Place};
use super::cache::{Fill, Line, Removed, Touched, Victim};
use crate::geometry::SetIndex;
use crate::machine::{AddressKind, CacheSpec, WayMask};
use crate::replacement::{Candidates, Policy};

/// No place: there are at most `CacheGeometry::MAX_LINES`, so that 32 bits are enough.
const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Clone)]
pub(super) struct WaySets {
    index: SetIndex,
    sets: usize,
    ways: usize,
    virtual_index: bool,
    virtual_tag: bool,
    /// The sets in which one physical line may be lie this far apart: the virtual and the physical
    /// number are equal modulo the lines of a page, so the set is known modulo what divides both
    /// those and the number of sets.
    synonym_stride: usize,
    places: Vec<Place>,
    /// Virtual line numbers of the places; empty where they are not kept.
    virtuals: Vec<u64>,
    /// For each set the place where one more hit, right now, would mean nothing to the policy.
    at_rest: Vec<u32>,
    rests_after_fill: bool,
    policy: Policy,
    /// Time of last use of the places, in uses and fills; empty where the policy does not look.
    used: Vec<u64>,
    now: u64,
}

impl WaySets {
    pub(super) fn new(spec: &CacheSpec, seed: u64, keeps_virtual: bool) -> Self {
        let geometry = spec.geometry();
        let (ways, sets) =
            (geometry.ways(), usize::try_from(geometry.sets()).expect("bounded by MAX_LINES"));
        let page_lines = 4096 >> geometry.line_shift();
        let virtual_index = spec.index() == AddressKind::Virtual;
        let policy = Policy::new(spec.replacement(), sets, ways, seed);
        Self {
            index: SetIndex::new(geometry.sets()),
            sets,
            ways,
            virtual_index,
            virtual_tag: spec.tag() == AddressKind::Virtual,
            synonym_stride: if virtual_index {
                greatest_common_divisor(sets, page_lines)
            } else {
                sets
            },
            places: vec![EMPTY; sets * ways],
            virtuals: if keeps_virtual { vec![0; sets * ways] } else { Vec::new() },
            at_rest: vec![NOWHERE; sets],
            rests_after_fill: policy.rests_after_fill(),
            used: if policy.looks_at_uses() { vec![0; sets * ways] } else { Vec::new() },
            policy,
            now: 0,
        }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Number of lines that there is room for.
    pub(super) fn room(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub(super) fn set_of(&self, line: Line) -> usize {
        self.index.of(if self.virtual_index { line.virtual_ } else { line.physical })
    }

    fn virtual_at(&self, at: usize) -> u64 {
        self.virtuals.get(at).copied().unwrap_or(0)
    }

    /// Set and way of what a look-up of `line` hits.
    #[inline]
    fn find(&self, line: Line) -> Option<(usize, usize)> {
        let set = self.set_of(line);
        let start = set * self.ways;
        let places = &self.places[start..start + self.ways];
        let way = if self.virtual_tag {
            let virtuals = &self.virtuals[start..start + self.ways];
            places.iter().zip(virtuals).position(|(&here, &virtual_)| {
                place::physical(here) == line.physical && virtual_ == line.virtual_
            })?
        } else {
            places.iter().position(|&here| place::physical(here) == line.physical)?
        };
        Some((set, way))
    }

    #[inline]
    pub(super) fn touch(&mut self, line: Line, write: bool) -> Option<Touched> {
        let at = self.at_rest[self.set_of(line)] as usize;
        if let Some(here) = self.places.get_mut(at)
            && place::physical(*here) == line.physical
            && (!self.virtual_tag || self.virtuals[at] == line.virtual_)
        {
            let before = place::before(*here);
            *here = place::touched(*here, write);
            return Some(before);
        }
        self.touch_anywhere(line, write)
    }

    #[inline(never)]
    fn touch_anywhere(&mut self, line: Line, write: bool) -> Option<Touched> {
        let (set, way) = self.find(line)?;
        let at = set * self.ways + way;
        let here = &mut self.places[at];
        let before = place::before(*here);
        *here = place::touched(*here, write);
        self.note_use(at);
        self.policy.hit(set, way);
        self.at_rest[set] = at as u32;
        Some(before)
    }

    #[inline]
    fn note_use(&mut self, at: usize) {
        self.now += 1;
        if let Some(used) = self.used.get_mut(at) {
            *used = self.now;
        }
    }

    pub(super) fn fill(
        &mut self,
        line: Line,
        state: Fill,
        ways: Option<WayMask>,
    ) -> Option<Victim> {
        debug_assert!(self.find(line).is_none(), "filled twice");
        let candidates = ways.map_or(Candidates::All, |mask| Candidates::Only(mask.0));
        let set = self.set_of(line);
        let residue = line.physical % self.synonym_stride as u64;
        debug_assert!(set as u64 % self.synonym_stride as u64 == residue, "not of one page offset");
        let start = set * self.ways;
        let free = (0..self.ways)
            .find(|&way| self.places[start + way] == EMPTY && candidates.contains(way));
        let way = free.unwrap_or_else(|| self.policy.victim(set, candidates, &self.used));
        let at = start + way;
        let victim = place::victim(self.places[at], self.virtual_at(at));
        self.places[at] = place::of(line.physical, state);
        if let Some(virtual_) = self.virtuals.get_mut(at) {
            *virtual_ = line.virtual_;
        }
        self.note_use(at);
        self.policy.fill(set, way, self.now);
        self.at_rest[set] = if self.rests_after_fill { at as u32 } else { NOWHERE };
        victim
    }

    pub(super) fn contains(&self, line: Line) -> bool {
        self.find(line).is_some()
    }

    pub(super) fn mark_prefetched(&mut self, line: Line) {
        if let Some((set, way)) = self.find(line) {
            self.places[set * self.ways + way] |= place::PREFETCHED;
        }
    }

    pub(super) fn remove(&mut self, line: Line) -> Option<Removed> {
        let (set, way) = self.find(line)?;
        Some(self.take(set * self.ways + way))
    }

    fn take(&mut self, at: usize) -> Removed {
        let removed = place::removed(self.places[at], self.virtual_at(at));
        self.places[at] = EMPTY;
        removed
    }

    /// Where copies of a physical line are, by set, then by way.
    fn copies(&self, physical: u64) -> impl Iterator<Item = usize> + use<> {
        let ways = self.ways;
        let first = physical % self.synonym_stride as u64;
        (first as usize..self.sets)
            .step_by(self.synonym_stride)
            .flat_map(move |set| set * ways..(set + 1) * ways)
    }

    pub(super) fn remove_physical(&mut self, physical: u64, each: &mut impl FnMut(Removed)) {
        for at in self.copies(physical) {
            if place::physical(self.places[at]) == physical {
                each(self.take(at));
            }
        }
    }

    pub(super) fn clean(&mut self, physical: u64) -> bool {
        let mut was_dirty = false;
        for at in self.copies(physical) {
            let here = &mut self.places[at];
            if place::physical(*here) == physical {
                was_dirty |= place::is_dirty(*here);
                *here &= !place::DIRTY;
            }
        }
        was_dirty
    }

    pub(super) fn contains_physical(&self, physical: u64) -> Option<bool> {
        let copies = self.copies(physical).map(|at| self.places[at]);
        copies
            .filter(|&here| place::physical(here) == physical)
            .map(place::is_dirty)
            .reduce(|one, other| one | other)
    }

    pub(super) fn remove_range(&mut self, first: u64, last: u64, each: &mut impl FnMut(Removed)) {
        if first > last {
            return;
        }
        // A line costs a look at each set it may be in.
        if last - first < self.synonym_stride as u64 {
            (first..=last).for_each(|line| self.remove_physical(line, each));
            return;
        }
        let mut removed: Vec<_> = (0..self.places.len())
            .filter(|&at| {
                let here = self.places[at];
                here != EMPTY && (first..=last).contains(&place::physical(here))
            })
            .collect();
        removed.sort_by_key(|&at| place::physical(self.places[at]));
        removed.into_iter().for_each(|at| each(self.take(at)));
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

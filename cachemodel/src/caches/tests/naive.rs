//! A cache straight from `docs/models.md`, without a thought of speed.

use std::collections::HashSet;

use crate::caches::{Fill, Line, Removed, Touched, Victim};
use crate::machine::{AddressKind, CacheSpec, Replacement, WayMask};

#[derive(Clone)]
struct Held {
    line: Line,
    dirty: bool,
    prefetched: bool,
}

pub(super) struct NaiveCache {
    spec: CacheSpec,
    sets: Vec<Vec<Option<Held>>>,
    clock: u64,
    used: Vec<Vec<u64>>,
    prediction: Vec<Vec<u8>>,
    /// Halves of sets, as (set, first way, ways), whose bit is 1.
    points_right: HashSet<(usize, usize, usize)>,
    generator: u64,
    fills: u64,
    selector: u32,
}

impl NaiveCache {
    pub(super) fn new(spec: &CacheSpec, seed: u64) -> Self {
        let (sets, ways) = (spec.sets() as usize, spec.ways());
        Self {
            spec: spec.clone(),
            sets: vec![vec![None; ways]; sets],
            clock: 0,
            used: vec![vec![0; ways]; sets],
            prediction: vec![vec![0; ways]; sets],
            points_right: HashSet::new(),
            generator: seed,
            fills: 0,
            selector: 512,
        }
    }

    pub(super) fn set_of(&self, line: Line) -> usize {
        let number = match self.spec.index() {
            AddressKind::Physical => line.physical,
            AddressKind::Virtual => line.virtual_,
        };
        (number % self.spec.sets()) as usize
    }

    fn way_of(&self, line: Line) -> Option<usize> {
        self.sets[self.set_of(line)].iter().position(|held| {
            held.as_ref().is_some_and(|held| match self.spec.tag() {
                AddressKind::Physical => held.line.physical == line.physical,
                AddressKind::Virtual => held.line == line,
            })
        })
    }

    /// Places in order of set and way whose line fulfils the condition.
    fn places(&self, condition: impl Fn(&Held) -> bool) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (set, ways) in self.sets.iter().enumerate() {
            for (way, held) in ways.iter().enumerate() {
                if held.as_ref().is_some_and(&condition) {
                    found.push((set, way));
                }
            }
        }
        found
    }

    pub(super) fn touch(&mut self, line: Line, write: bool) -> Option<Touched> {
        let (set, way) = (self.set_of(line), self.way_of(line)?);
        let held = self.sets[set][way].as_mut().unwrap();
        let before = Touched { was_dirty: held.dirty, was_prefetched: held.prefetched };
        held.dirty |= write;
        held.prefetched = false;
        match self.spec.replacement() {
            Replacement::Lru => self.use_now(set, way),
            Replacement::Fifo | Replacement::Random => {}
            Replacement::TreePlru => self.point_away(set, way),
            _ => self.prediction[set][way] = 0,
        }
        Some(before)
    }

    pub(super) fn fill(
        &mut self,
        line: Line,
        state: Fill,
        mask: Option<WayMask>,
    ) -> Option<Victim> {
        let set = self.set_of(line);
        let candidates: Vec<usize> = (0..self.spec.ways())
            .filter(|way| mask.is_none_or(|mask| mask.0 & 1 << way != 0))
            .collect();
        let free = candidates.iter().find(|way| self.sets[set][**way].is_none());
        let way = free.copied().unwrap_or_else(|| self.choose(set, &candidates));
        let new = Held { line, dirty: state.dirty, prefetched: state.prefetched };
        let victim = self.sets[set][way].replace(new);
        self.fills += 1;
        match self.spec.replacement() {
            Replacement::Lru | Replacement::Fifo => self.use_now(set, way),
            Replacement::Random => {}
            Replacement::TreePlru => self.point_away(set, way),
            Replacement::Srrip => self.prediction[set][way] = 2,
            Replacement::Brrip => self.prediction[set][way] = self.bimodal(),
            Replacement::Drrip => {
                let follows_srrip = match set % 32 {
                    0 => {
                        self.selector = 1023.min(self.selector + 1);
                        true
                    }
                    16 => {
                        self.selector = self.selector.max(1) - 1;
                        false
                    }
                    _ => self.selector < 512,
                };
                self.prediction[set][way] = if follows_srrip { 2 } else { self.bimodal() };
            }
        }
        victim.map(|held| Victim {
            line: held.line,
            dirty: held.dirty,
            prefetched: held.prefetched,
        })
    }

    fn use_now(&mut self, set: usize, way: usize) {
        self.clock += 1;
        self.used[set][way] = self.clock;
    }

    fn bimodal(&self) -> u8 {
        if self.fills.is_multiple_of(32) { 2 } else { 3 }
    }

    fn point_away(&mut self, set: usize, way: usize) {
        let (mut first, mut ways) = (0, self.spec.ways().next_power_of_two());
        while ways > 1 {
            let node = (set, first, ways);
            ways /= 2;
            if way < first + ways {
                self.points_right.insert(node);
            } else {
                self.points_right.remove(&node);
                first += ways;
            }
        }
    }

    fn choose(&mut self, set: usize, candidates: &[usize]) -> usize {
        match self.spec.replacement() {
            Replacement::Lru | Replacement::Fifo => {
                *candidates.iter().min_by_key(|way| self.used[set][**way]).unwrap()
            }
            Replacement::Random => {
                let s = &mut self.generator;
                *s ^= *s >> 12;
                *s ^= *s << 25;
                *s ^= *s >> 27;
                let number = u128::from(*s) * 2_685_821_657_736_338_717 % (1 << 64);
                candidates[((number >> 32) * candidates.len() as u128 / (1 << 32)) as usize]
            }
            Replacement::TreePlru => {
                let (mut first, mut ways) = (0, self.spec.ways().next_power_of_two());
                while ways > 1 {
                    let right = self.points_right.contains(&(set, first, ways));
                    ways /= 2;
                    let (pointed_to, other) =
                        if right { (first + ways, first) } else { (first, first + ways) };
                    let half = pointed_to..pointed_to + ways;
                    let holds_one = candidates.iter().any(|way| half.contains(way));
                    first = if holds_one { pointed_to } else { other };
                }
                first
            }
            _ => loop {
                let values = &mut self.prediction[set];
                if let Some(way) = candidates.iter().find(|way| values[**way] == 3) {
                    return *way;
                }
                candidates.iter().for_each(|way| values[*way] += 1);
            },
        }
    }

    fn take(&mut self, (set, way): (usize, usize)) -> Removed {
        let held = self.sets[set][way].take().unwrap();
        Removed { line: held.line, dirty: held.dirty }
    }

    pub(super) fn remove(&mut self, line: Line) -> Option<Removed> {
        let way = self.way_of(line)?;
        Some(self.take((self.set_of(line), way)))
    }

    pub(super) fn remove_range(&mut self, first: u64, last: u64) -> Vec<Removed> {
        let mut places = self.places(|held| (first..=last).contains(&held.line.physical));
        let physical = |&(set, way): &(usize, usize)| {
            self.sets[set][way].as_ref().map(|held| held.line.physical)
        };
        places.sort_by_key(physical);
        places.into_iter().map(|place| self.take(place)).collect()
    }

    pub(super) fn clean(&mut self, physical: u64) -> bool {
        let dirty = self.places(|held| held.line.physical == physical && held.dirty);
        for &(set, way) in &dirty {
            self.sets[set][way].as_mut().unwrap().dirty = false;
        }
        !dirty.is_empty()
    }

    /// Says whether it is here.
    pub(super) fn mark_prefetched(&mut self, line: Line) -> bool {
        let (set, way) = (self.set_of(line), self.way_of(line));
        if let Some(way) = way {
            self.sets[set][way].as_mut().unwrap().prefetched = true;
        }
        way.is_some()
    }

    pub(super) fn contains_physical(&self, physical: u64) -> Option<bool> {
        let here = !self.places(|held| held.line.physical == physical).is_empty();
        let dirty = !self.places(|held| held.line.physical == physical && held.dirty).is_empty();
        here.then_some(dirty)
    }

    pub(super) fn dirty_lines(&self) -> u64 {
        self.places(|held| held.dirty).len() as u64
    }
}

//! One cache: sets of ways, each with a line or free.

use strata_cachemodel::{AddressKind, CacheSpec, WayMask};

use crate::policy::Policy;

/// A byte, by both of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) va: u64,
    pub(crate) pa: u64,
}

/// A line that is held, by the addresses of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: At,
    pub(crate) dirty: bool,
    pub(crate) prefetched: bool,
}

/// A cache that searches everything, always.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    pub(crate) spec: CacheSpec,
    pub(crate) sets: Vec<Vec<Option<Line>>>,
    policy: Policy,
}

impl Cache {
    pub(crate) fn new(spec: &CacheSpec, generator: u64) -> Self {
        let (sets, ways) = (spec.sets() as usize, spec.ways());
        Self {
            spec: spec.clone(),
            sets: vec![vec![None; ways]; sets],
            policy: Policy::new(spec.replacement(), sets, ways, generator),
        }
    }

    pub(crate) fn line_of(&self, at: At) -> At {
        let bytes = self.spec.line_bytes();
        At { va: at.va / bytes * bytes, pa: at.pa / bytes * bytes }
    }

    fn place(&self, at: At) -> (usize, Option<usize>) {
        let line = self.line_of(at);
        let indexed_by = match self.spec.index() {
            AddressKind::Physical => line.pa,
            AddressKind::Virtual => line.va,
        };
        let set = (indexed_by / self.spec.line_bytes() % self.spec.sets()) as usize;
        let is_it = |held: &Option<Line>| {
            held.is_some_and(|held| match self.spec.tag() {
                AddressKind::Physical => held.at.pa == line.pa,
                AddressKind::Virtual => held.at == line,
            })
        };
        (set, self.sets[set].iter().position(is_it))
    }

    pub(crate) fn holds(&self, at: At) -> bool {
        self.place(at).1.is_some()
    }

    /// A look-up. Where it hits the policy is told and the line, which is returned as it now is,
    /// can be changed.
    pub(crate) fn look_up(&mut self, at: At) -> Option<&mut Line> {
        let (set, way) = self.place(at);
        let way = way?;
        self.policy.hit(set, way);
        self.sets[set][way].as_mut()
    }

    /// Puts in a line that is not there; returns the one that went for it.
    pub(crate) fn fill(
        &mut self,
        at: At,
        dirty: bool,
        prefetched: bool,
        mask: Option<WayMask>,
    ) -> Option<Line> {
        let (set, way) = self.place(at);
        assert_eq!(way, None, "a line is filled that is there");
        let may_fill = |way: &usize| mask.is_none_or(|mask| mask.0 >> way & 1 == 1);
        let candidates: Vec<usize> = (0..self.spec.ways()).filter(may_fill).collect();
        let free = candidates.iter().copied().find(|&way| self.sets[set][way].is_none());
        let way = free.unwrap_or_else(|| self.policy.victim(set, &candidates));
        self.policy.fill(set, way);
        let line = Line { at: self.line_of(at), dirty, prefetched };
        self.sets[set][way].replace(line)
    }

    /// The line moves away to another cache.
    pub(crate) fn take(&mut self, at: At) -> Option<Line> {
        let (set, way) = self.place(at);
        self.sets[set][way?].take()
    }

    /// Without telling the policy.
    pub(crate) fn held(&mut self, at: At) -> Option<&mut Line> {
        let (set, way) = self.place(at);
        self.sets[set][way?].as_mut()
    }

    /// Places of all copies that overlap these bytes of memory, in whatever set, by address.
    pub(crate) fn overlapping(&self, first: u64, last: u64) -> Vec<(usize, usize)> {
        let bytes = self.spec.line_bytes();
        let mut found = Vec::new();
        for (set, ways) in self.sets.iter().enumerate() {
            for (way, line) in ways.iter().enumerate() {
                let Some(line) = line else { continue };
                if line.at.pa <= last && first <= line.at.pa + (bytes - 1) {
                    found.push((line.at.pa, set, way));
                }
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, set, way)| (set, way)).collect()
    }

    pub(crate) fn drop_overlapping(&mut self, first: u64, last: u64) -> Vec<Line> {
        let places = self.overlapping(first, last);
        places.into_iter().filter_map(|(set, way)| self.sets[set][way].take()).collect()
    }

    pub(crate) fn dirty_lines(&self) -> u64 {
        self.sets.iter().flatten().flatten().filter(|line| line.dirty).count() as u64
    }
}

//! Why a miss: the classes of `docs/models.md`, each straight from its sentence.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use strata_cachemodel::{Mapping, PageSize};

use crate::events::Event;
use crate::tlb::{Entry, Found, Tlb};

/// Why a line is not in a cache any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    EvictedFor(u8),
    WrittenByOther,
    WrittenByDevice,
    Otherwise,
}

/// Misses of one cache by class, and for each layer that misses (first) on a line evicted by a
/// layer's fill (second), how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CacheClassCounts {
    pub(crate) compulsory: u64,
    pub(crate) invalidated: u64,
    pub(crate) inflicted: u64,
    pub(crate) conflict: u64,
    pub(crate) capacity: u64,
    pub(crate) evictions: BTreeMap<(u8, u8), u64>,
}

/// What the classes of one cache go by.
#[derive(Debug, Clone, Default)]
pub(crate) struct CacheClasses {
    pub(crate) enabled: bool,
    lines: usize,
    accessed: HashSet<u64>,
    gone: HashMap<u64, Gone>,
    /// A fully associative cache, the line used last in front.
    shadow: VecDeque<u64>,
    pub(crate) counts: CacheClassCounts,
}

impl CacheClasses {
    pub(crate) fn new(lines: usize) -> Self {
        Self { lines, ..Self::default() }
    }

    /// A demand access of a line, by its physical address.
    pub(crate) fn access(&mut self, line: u64, actor: u8, missed: bool) {
        if !self.enabled {
            return;
        }
        let first = self.accessed.insert(line);
        let place = self.shadow.iter().position(|&held| held == line);
        if let Some(place) = place {
            self.shadow.remove(place);
        }
        self.shadow.push_front(line);
        self.shadow.truncate(self.lines);
        if !missed {
            return;
        }
        let gone = self.gone.get(&line);
        if let Some(&Gone::EvictedFor(other)) = gone {
            *self.counts.evictions.entry((actor, other)).or_default() += 1;
        }
        let counts = &mut self.counts;
        *match gone {
            _ if first => &mut counts.compulsory,
            Some(Gone::WrittenByOther | Gone::WrittenByDevice) => &mut counts.invalidated,
            Some(&Gone::EvictedFor(other)) if other != actor => &mut counts.inflicted,
            _ if place.is_some() => &mut counts.conflict,
            _ => &mut counts.capacity,
        } += 1;
    }

    pub(crate) fn came(&mut self, line: u64) {
        self.gone.remove(&line);
    }

    pub(crate) fn went(&mut self, line: u64, why: Gone) {
        if self.enabled {
            self.gone.insert(line, why);
        }
    }
}

/// Why a look-up missed in a TLB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlbClass {
    Cold,
    FlushInduced(Event),
    CapacityOrConflict,
}

/// What the classes of one TLB go by.
#[derive(Debug, Clone)]
pub(crate) struct TlbClasses {
    /// The TLB that events do not touch.
    shadow: Tlb,
    looked_up: HashSet<Kept>,
    dropped_by: HashMap<Kept, Event>,
}

/// First address, size and first frame of what an entry covers.
type Kept = (u64, PageSize, u64);

fn kept(entry: &Entry) -> Kept {
    (entry.start, entry.size, entry.frame)
}

impl TlbClasses {
    pub(crate) fn new(shadow: Tlb) -> Self {
        Self { shadow, looked_up: HashSet::new(), dropped_by: HashMap::new() }
    }

    /// A look-up of the page of `va`, for which `entry` would be made.
    pub(crate) fn look_up(&mut self, va: u64, mapping: Mapping, entry: &Entry) -> TlbClass {
        let is_it = |held: &Entry| kept(held) == kept(entry);
        let hits = self.shadow.look_up(va, mapping, is_it, entry.tags.global) != Found::Nothing;
        if !hits {
            self.shadow.insert(*entry);
        }
        let first = self.looked_up.insert(kept(entry));
        match self.dropped_by.get(&kept(entry)) {
            _ if first => TlbClass::Cold,
            Some(event) if hits => TlbClass::FlushInduced(*event),
            _ => TlbClass::CapacityOrConflict,
        }
    }

    pub(crate) fn made(&mut self, entry: &Entry, evicted: Option<&Entry>) {
        self.dropped_by.remove(&kept(entry));
        if let Some(evicted) = evicted {
            self.dropped_by.remove(&kept(evicted));
        }
    }

    pub(crate) fn dropped(&mut self, entries: &[Entry], event: Event) {
        self.dropped_by.extend(entries.iter().map(|entry| (kept(entry), event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_the_first_that_applies() {
        let mut classes = CacheClasses::new(2);
        classes.enabled = true;
        classes.access(1, 0, true);
        classes.went(1, Gone::EvictedFor(0));
        classes.access(1, 0, true);
        classes.went(1, Gone::EvictedFor(7));
        classes.access(1, 0, true);
        classes.went(1, Gone::WrittenByDevice);
        classes.access(1, 0, true);
        classes.went(1, Gone::EvictedFor(0));
        classes.access(2, 0, true);
        classes.access(3, 0, true);
        classes.access(1, 0, true);
        let CacheClassCounts { compulsory, invalidated, inflicted, conflict, capacity, .. } =
            classes.counts;
        let found = [compulsory, invalidated, inflicted, conflict, capacity];
        assert_eq!(found, [3, 1, 1, 1, 1]);
        assert_eq!(classes.counts.evictions, BTreeMap::from([((0, 0), 2), ((0, 7), 1)]));
    }
}

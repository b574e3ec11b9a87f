//! Why a miss: the classes of `docs/models.md`, each straight from its sentence.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use strata_cachemodel::{Mapping, PageSize};

use crate::tlb::{Entry, Found, Tlb};

/// Why a line is not in a cache any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    EvictedFor(u8),
    WrittenByOther,
    WrittenByDevice,
    Flushed,
}

/// Why an access of a cache missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CacheClass {
    Compulsory,
    Invalidated,
    /// By the layer whose fill evicted the line.
    Inflicted(u8),
    Conflict,
    Capacity,
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
    /// Misses on evicted lines, by who missed and for whom the line was evicted.
    pub(crate) evictions: BTreeMap<(u8, u8), u64>,
}

impl CacheClasses {
    pub(crate) fn new(lines: usize) -> Self {
        Self { lines, ..Self::default() }
    }

    /// A demand access of a line, by its physical address; the class if it missed.
    pub(crate) fn access(&mut self, line: u64, actor: u8, missed: bool) -> Option<CacheClass> {
        if !self.enabled {
            return None;
        }
        if !missed {
            self.came(line);
        }
        let first = self.accessed.insert(line);
        let place = self.shadow.iter().position(|&held| held == line);
        if let Some(place) = place {
            self.shadow.remove(place);
        }
        self.shadow.push_front(line);
        self.shadow.truncate(self.lines);
        if missed && let Some(&Gone::EvictedFor(other)) = self.gone.get(&line) {
            *self.evictions.entry((actor, other)).or_default() += 1;
        }
        missed.then(|| match self.gone.get(&line) {
            _ if first => CacheClass::Compulsory,
            Some(Gone::WrittenByOther | Gone::WrittenByDevice | Gone::Flushed) => {
                CacheClass::Invalidated
            }
            Some(&Gone::EvictedFor(other)) if other != actor => CacheClass::Inflicted(other),
            _ if place.is_some() => CacheClass::Conflict,
            _ => CacheClass::Capacity,
        })
    }

    /// A copy of the line is here.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlbClass {
    Cold,
    /// By the kind of event, under the name that `FlushCause` has for it.
    FlushInduced(&'static str),
    CapacityOrConflict,
}

/// What the classes of one TLB go by.
#[derive(Debug, Clone)]
pub(crate) struct TlbClasses {
    /// The TLB that events do not touch.
    shadow: Tlb,
    looked_up: HashSet<Kept>,
    dropped_by: HashMap<Kept, &'static str>,
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
            Some(cause) if hits => TlbClass::FlushInduced(cause),
            _ => TlbClass::CapacityOrConflict,
        }
    }

    /// The look-up has missed: `entry` is what the stream would have made, `made` what was made
    /// (another after a stale hit in the second level).
    pub(crate) fn missed(&mut self, entry: &Entry, made: &Entry, evicted: Option<&Entry>) {
        self.dropped_by.remove(&kept(entry));
        self.dropped_by.remove(&kept(made));
        if let Some(evicted) = evicted {
            self.dropped_by.remove(&kept(evicted));
        }
    }

    pub(crate) fn dropped(&mut self, entries: &[Entry], cause: &'static str) {
        self.dropped_by.extend(entries.iter().map(|entry| (kept(entry), cause)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_is_the_first_that_applies() {
        let mut classes = CacheClasses::new(2);
        classes.enabled = true;
        let mut found = Vec::new();
        for gone in [Gone::EvictedFor(0), Gone::EvictedFor(7), Gone::WrittenByDevice] {
            found.extend(classes.access(1, 0, true));
            classes.went(1, gone);
        }
        found.extend(classes.access(1, 0, true));
        classes.went(1, Gone::EvictedFor(0));
        found.extend([2, 3, 1].map(|line| classes.access(line, 0, true).unwrap()));
        let expected = [
            CacheClass::Compulsory,
            CacheClass::Conflict,
            CacheClass::Inflicted(7),
            CacheClass::Invalidated,
            CacheClass::Compulsory,
            CacheClass::Compulsory,
            CacheClass::Capacity,
        ];
        assert_eq!(found, expected);
    }
}

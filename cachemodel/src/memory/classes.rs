//! Why caches missed, by layer.

use super::{Levels, Memory};
use crate::caches::{Actor, CacheClassifier, Line, MissClass};
use crate::machine::Machine;
use std::collections::BTreeMap;

/// Misses of one layer at one level, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// First accesses of a line.
    pub compulsory: u64,
    /// A device or another CPU had dropped the line.
    pub invalidated: u64,
    /// A fully associative LRU cache of the same size would have hit.
    pub conflict: u64,
    /// It would have missed too.
    pub capacity: u64,
    /// A fill for another layer had evicted the line, by the number of that layer.
    pub inflicted: Vec<u64>,
}

impl ClassCounts {
    /// Misses on lines that other layers had evicted.
    #[must_use]
    pub fn inflicted_by_others(&self) -> u64 {
        self.inflicted.iter().sum()
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.compulsory
            + self.invalidated
            + self.conflict
            + self.capacity
            + self.inflicted_by_others()
    }

    fn add(&mut self, class: MissClass) {
        match class {
            MissClass::Compulsory => self.compulsory += 1,
            MissClass::Invalidated => self.invalidated += 1,
            MissClass::Conflict => self.conflict += 1,
            MissClass::Capacity => self.capacity += 1,
            MissClass::Inflicted { by } => {
                let number = usize::from(by.0);
                if self.inflicted.len() <= number {
                    self.inflicted.resize(number + 1, 0);
                }
                self.inflicted[number] += 1;
            }
        }
    }
}

/// Misses of one level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelClasses {
    /// Of instruction fetches, by the number of the layer.
    pub fetches: Vec<ClassCounts>,
    /// Of reads and writes, likewise.
    pub data: Vec<ClassCounts>,
}

/// Misses of all levels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheClasses {
    /// Level 1 first.
    pub levels: [LevelClasses; Machine::MAX_LEVELS],
    /// Of the access under way, at each level.
    current: [Option<MissClass>; Machine::MAX_LEVELS],
}

impl Memory {
    /// From now on each miss is told apart. Costs several times the replay itself.
    pub(crate) fn enable_classes(&mut self) {
        for node in &mut self.nodes {
            node.classifier = Some(CacheClassifier::new(node.cache.lines()));
            node.is_plain = false;
        }
        self.classes = Some(Box::default());
        self.first_is_simple = false;
    }

    pub(crate) fn classes(&self) -> Option<&CacheClasses> {
        self.classes.as_deref()
    }

    /// How often a layer missed on a line that had been evicted, and by a fill for which layer: (who
    /// missed, for whom it was evicted), at one level.
    pub(crate) fn evictions(&self, level: usize) -> BTreeMap<(Actor, Actor), u64> {
        let mut matrix = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.level == level) {
            for (missed, by, misses) in node.classifier.iter().flat_map(CacheClassifier::evictions)
            {
                *matrix.entry((missed, by)).or_default() += misses;
            }
        }
        matrix
    }

    /// A demand access of a line at a cache.
    pub(super) fn learn(&mut self, index: usize, line: Line, missed: bool) {
        let node = &mut self.nodes[index];
        let (Some(classifier), Some(classes)) = (&mut node.classifier, &mut self.classes) else {
            return;
        };
        let class = classifier.access(line.physical, self.actor, missed);
        let current = &mut classes.current[node.level];
        *current = current.or(class);
    }

    /// An access is complete and was counted as a miss at these levels: the class of the first line
    /// that missed is its class.
    #[inline]
    pub(crate) fn settle_classes(&mut self, missed: Levels, fetch: bool) {
        let Some(classes) = &mut self.classes else { return };
        let Actor(number) = self.actor;
        for (index, current) in classes.current.iter_mut().enumerate() {
            let Some(class) = current.take().filter(|_| missed.has(index)) else { continue };
            let level = &mut classes.levels[index];
            let rows = if fetch { &mut level.fetches } else { &mut level.data };
            if rows.len() <= usize::from(number) {
                rows.resize(usize::from(number) + 1, ClassCounts::default());
            }
            rows[usize::from(number)].add(class);
        }
    }
}

//! Why a cache missed.
//!
//! One node for each line that was ever accessed holds how its last copy went, and links the line
//! into the fully associative LRU cache of the same size that tells conflicts from lack of room.
//! So an access costs one look-up in a hash map, whatever the size of the cache.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

/// Number of a layer of software that accesses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actor(pub u8);

/// Why a line was not in a cache; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissClass {
    /// It had never been accessed there.
    Compulsory,
    /// A device or another CPU had overwritten it.
    Invalidated,
    /// It was evicted by a fill for another layer.
    Inflicted {
        /// For whom.
        by: Actor,
    },
    /// It would be in a fully associative LRU cache of the same size.
    Conflict,
    /// Neither.
    Capacity,
}

/// How the last copy of a line went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is there, or it moved to another level on a hit.
    Kept,
    Evicted(Actor),
    Invalidated,
}

#[derive(Debug, Clone)]
struct Node {
    fate: Fate,
    /// A demand access has asked for it.
    accessed: bool,
    in_shadow: bool,
    newer: u32,
    older: u32,
}

/// The end of the list in both directions.
const NONE: u32 = u32::MAX;

/// Classifies the misses of one cache.
#[derive(Debug, Clone)]
pub(crate) struct CacheClassifier {
    nodes: Vec<Node>,
    node_of: FxHashMap<u64, u32>,
    newest: u32,
    oldest: u32,
    /// Places left in the shadow.
    free: u64,
    evictions: BTreeMap<(Actor, Actor), u64>,
}

impl CacheClassifier {
    /// For a cache of `lines` lines.
    pub(crate) fn new(lines: u64) -> Self {
        Self {
            nodes: Vec::new(),
            node_of: FxHashMap::default(),
            newest: NONE,
            oldest: NONE,
            free: lines,
            evictions: BTreeMap::new(),
        }
    }

    /// A demand access of a physical line for `actor`. Returns the class of a miss.
    pub(crate) fn access(&mut self, line: u64, actor: Actor, missed: bool) -> Option<MissClass> {
        let number = self.number_of(line);
        let node = &mut self.nodes[number as usize];
        let is_first = !std::mem::replace(&mut node.accessed, true);
        let was_in_shadow = self.use_in_shadow(number);
        let fate = &mut self.nodes[number as usize].fate;
        if !missed {
            *fate = Fate::Kept;
            return None;
        }
        if let Fate::Evicted(by) = *fate {
            *self.evictions.entry((actor, by)).or_default() += 1;
        }
        Some(match *fate {
            _ if is_first => MissClass::Compulsory,
            Fate::Invalidated => MissClass::Invalidated,
            Fate::Evicted(by) if by != actor => MissClass::Inflicted { by },
            _ if was_in_shadow => MissClass::Conflict,
            _ => MissClass::Capacity,
        })
    }

    /// The line was evicted by a fill for `by`.
    pub(crate) fn evicted(&mut self, line: u64, by: Actor) {
        self.went(line, Fate::Evicted(by));
    }

    /// The line was dropped because a device or another CPU wrote to it.
    pub(crate) fn invalidated(&mut self, line: u64) {
        self.went(line, Fate::Invalidated);
    }

    /// How often a layer missed on a line that had been evicted, and by a fill for whom: (who
    /// missed, for whom it was evicted, misses), in ascending order.
    pub(crate) fn evictions(&self) -> impl Iterator<Item = (Actor, Actor, u64)> {
        self.evictions.iter().map(|(&(missed, by), &misses)| (missed, by, misses))
    }

    /// The line has come: what made it go before does not matter any more.
    pub(crate) fn filled(&mut self, line: u64) {
        if let Some(&number) = self.node_of.get(&line) {
            self.nodes[number as usize].fate = Fate::Kept;
        }
    }

    fn went(&mut self, line: u64, fate: Fate) {
        let number = self.number_of(line);
        self.nodes[number as usize].fate = fate;
    }

    fn number_of(&mut self, line: u64) -> u32 {
        let next = self.nodes.len();
        *self.node_of.entry(line).or_insert_with(|| {
            let number = u32::try_from(next).ok().filter(|&number| number != NONE);
            self.nodes.push(Node {
                fate: Fate::Kept,
                accessed: false,
                in_shadow: false,
                newer: NONE,
                older: NONE,
            });
            number.expect("2^32 lines do not fit in memory")
        })
    }

    /// Makes the line the newest of the shadow. Says whether it was there.
    fn use_in_shadow(&mut self, number: u32) -> bool {
        if number == self.newest {
            return true;
        }
        let was_there = self.nodes[number as usize].in_shadow;
        if was_there {
            self.unlink(number);
        } else if self.free > 0 {
            self.free -= 1;
        } else {
            let oldest = self.oldest;
            self.unlink(oldest);
            self.nodes[oldest as usize].in_shadow = false;
        }
        let second = self.newest;
        let node = &mut self.nodes[number as usize];
        (node.in_shadow, node.newer, node.older) = (true, NONE, second);
        match second {
            NONE => self.oldest = number,
            _ => self.nodes[second as usize].newer = number,
        }
        self.newest = number;
        was_there
    }

    fn unlink(&mut self, number: u32) {
        let Node { newer, older, .. } = self.nodes[number as usize];
        match newer {
            NONE => self.newest = older,
            _ => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            _ => self.nodes[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    const ME: Actor = Actor(0);
    const OTHER: Actor = Actor(1);

    #[test]
    fn the_first_access_is_compulsory_however_the_line_went_before() {
        let mut classifier = CacheClassifier::new(4);
        classifier.evicted(7, OTHER);
        classifier.invalidated(8);
        assert_eq!(classifier.access(7, ME, true), Some(MissClass::Compulsory));
        assert_eq!(classifier.access(8, ME, true), Some(MissClass::Compulsory));
        assert_eq!(classifier.access(8, ME, false), None);
        // Line 7 had come unasked, and a fill for another layer had made it go again.
        assert_eq!(classifier.evictions().collect::<Vec<_>>(), [(ME, OTHER, 1)]);
    }

    #[test]
    fn what_another_wrote_is_invalidated_and_what_made_room_for_another_is_inflicted() {
        let mut classifier = CacheClassifier::new(4);
        classifier.access(1, ME, true);
        classifier.invalidated(1);
        assert_eq!(classifier.access(1, ME, true), Some(MissClass::Invalidated));
        classifier.evicted(1, OTHER);
        assert_eq!(classifier.access(1, ME, true), Some(MissClass::Inflicted { by: OTHER }));
        classifier.evicted(1, ME);
        assert_eq!(classifier.access(1, ME, true), Some(MissClass::Conflict));
        let evictions: Vec<_> = classifier.evictions().collect();
        assert_eq!(evictions, [(ME, ME, 1), (ME, OTHER, 1)]);
    }

    #[test]
    fn a_miss_is_a_conflict_while_as_many_lines_as_fit_were_used_since() {
        let mut classifier = CacheClassifier::new(2);
        let mut miss = |line| {
            let class = classifier.access(line, ME, true);
            classifier.evicted(line, ME);
            class
        };
        miss(1);
        miss(2);
        assert_eq!(miss(1), Some(MissClass::Conflict));
        assert_eq!(miss(3), Some(MissClass::Compulsory));
        assert_eq!(miss(2), Some(MissClass::Capacity));
        assert_eq!(miss(3), Some(MissClass::Conflict));
    }

    #[test]
    fn a_line_that_has_come_again_is_not_missed_for_why_it_went_before() {
        let mut classifier = CacheClassifier::new(8);
        classifier.access(1, ME, true);
        classifier.evicted(1, OTHER);
        classifier.filled(1);
        assert_eq!(classifier.access(1, ME, true), Some(MissClass::Conflict));
    }

    #[test]
    fn a_hit_ends_the_story_of_how_the_line_once_went() {
        let mut classifier = CacheClassifier::new(8);
        classifier.access(1, ME, true);
        classifier.evicted(1, OTHER);
        classifier.access(1, ME, true);
        classifier.access(1, ME, false);
        assert_eq!(classifier.access(1, ME, true), Some(MissClass::Conflict));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Access(u64, Actor, bool),
        Evicted(u64, Actor),
        Invalidated(u64),
        Filled(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let actor = || (0u8..3).prop_map(Actor);
        let one = prop_oneof![
            4 => (0u64..20, actor(), any::<bool>()).prop_map(|(l, a, m)| Event::Access(l, a, m)),
            1 => (0u64..20, actor()).prop_map(|(line, by)| Event::Evicted(line, by)),
            1 => (0u64..20).prop_map(Event::Invalidated),
            1 => (0u64..20).prop_map(Event::Filled),
        ];
        proptest::collection::vec(one, 0..300)
    }

    proptest! {
        #[test]
        fn classes_are_those_of_a_list_and_a_map(lines in 1usize..24, events in events()) {
            let mut classifier = CacheClassifier::new(lines as u64);
            let mut shadow: VecDeque<u64> = VecDeque::new();
            let mut fates: HashMap<u64, Fate> = HashMap::new();
            let mut accessed = HashSet::new();
            let mut evictions: BTreeMap<(Actor, Actor), u64> = BTreeMap::new();
            for event in events {
                let (line, actor, missed) = match event {
                    Event::Access(line, actor, missed) => (line, actor, missed),
                    Event::Evicted(line, by) => {
                        classifier.evicted(line, by);
                        fates.insert(line, Fate::Evicted(by));
                        continue;
                    }
                    Event::Invalidated(line) => {
                        classifier.invalidated(line);
                        fates.insert(line, Fate::Invalidated);
                        continue;
                    }
                    Event::Filled(line) => {
                        classifier.filled(line);
                        fates.insert(line, Fate::Kept);
                        continue;
                    }
                };
                let place = shadow.iter().position(|&held| held == line);
                place.map(|place| shadow.remove(place));
                shadow.push_front(line);
                shadow.truncate(lines);
                let fate = fates.get(&line).copied();
                if !missed {
                    fates.insert(line, Fate::Kept);
                }
                let is_first = accessed.insert(line);
                if let (true, Some(Fate::Evicted(by))) = (missed, fate) {
                    *evictions.entry((actor, by)).or_default() += 1;
                }
                let expected = match (missed, fate) {
                    (false, _) => None,
                    (true, _) if is_first => Some(MissClass::Compulsory),
                    (true, Some(Fate::Invalidated)) => Some(MissClass::Invalidated),
                    (true, Some(Fate::Evicted(by))) if by != actor => {
                        Some(MissClass::Inflicted { by })
                    }
                    _ if place.is_some() => Some(MissClass::Conflict),
                    _ => Some(MissClass::Capacity),
                };
                prop_assert_eq!(classifier.access(line, actor, missed), expected);
            }
            let told: Vec<_> = classifier.evictions().map(|(who, by, n)| ((who, by), n)).collect();
            prop_assert_eq!(told, evictions.into_iter().collect::<Vec<_>>());
        }
    }
}

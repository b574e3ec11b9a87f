//! The caches of all CPUs, and how a line travels between them.
//!
//! The caches form a tree: each knows the one below it, the last ones are in front of memory. A
//! CPU's instruction fetches and data accesses enter at its first-level caches. The order of what a
//! miss does is that of `docs/models.md`.

mod classes;
mod coherence;
mod journey;
mod past;
mod plain;
mod prefetch;
mod requests;

pub use classes::{CacheClasses, ClassCounts, LevelClasses};
pub(crate) use past::{Ask, PastCaches};
pub(crate) use plain::{FIRST_SHIFT, FirstAndLower, Lower, Wanted};
pub use requests::Request;
use requests::Requests;

use crate::caches::{Actor, Cache, CacheClassifier, FirstSets, Line, StrideTable};
use crate::counts::{Counts, LevelCounts};
use crate::hierarchy::RefKind;
use crate::machine::{
    AddressKind, CacheSpec, Inclusion, Machine, Prefetcher, Sharing, WayMask, WritePolicy,
};
use crate::page::PhysAddr;
use rustc_hash::FxHashSet;

/// A place in memory by both of its addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) physical: PhysAddr,
    pub(crate) va: u64,
}

/// A set of levels of cache: bit 0 is level 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Levels(pub(crate) u8);

/// What an access of one line did at each level.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Way {
    /// Levels that were asked.
    pub(crate) asked: Levels,
    /// Levels that missed.
    pub(crate) missed: Levels,
}

impl Levels {
    /// So many, from level 1 on.
    pub(crate) fn first(number: usize) -> Self {
        Self((1 << number) - 1)
    }

    pub(crate) fn has(self, index: usize) -> bool {
        self.0 >> index & 1 != 0
    }

    fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}

impl std::ops::BitOrAssign for Way {
    fn bitor_assign(&mut self, other: Self) {
        self.asked.0 |= other.asked.0;
        self.missed.0 |= other.missed.0;
    }
}

/// Why a cache is accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An instruction asked for it; `store` if it writes.
    Demand {
        store: bool,
    },
    Prefetch,
    Walk,
}

/// Why a line goes from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// For another line, which this layer asked for.
    Evicted(Actor),
    /// Another CPU writes to it.
    Written,
    /// A device has written to it.
    Overwritten,
}

/// One cache in the tree.
#[derive(Debug, Clone)]
struct Node {
    cache: Cache,
    /// 0 for the first.
    level: usize,
    /// Index of the cache below; `None` in front of memory.
    below: Option<usize>,
    /// Every cache from which lines come down to here, through however many levels.
    above: Vec<usize>,
    /// Bit for each CPU it serves.
    cpus: u64,
    /// Nothing more can happen here than that a line is found, or comes in place of another.
    is_plain: bool,
    exclusive: bool,
    inclusive: bool,
    write_through: bool,
    allocates: bool,
    next_line: bool,
    strides: Option<StrideTable>,
    /// Ways that each actor may fill, where its ways are partitioned.
    ways: Vec<Option<WayMask>>,
    partition: Vec<(String, WayMask)>,
    classifier: Option<CacheClassifier>,
    /// Lines that another CPU's write dropped from here and that were not fetched again.
    lost: FxHashSet<u64>,
}

/// The caches of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    nodes: Vec<Node>,
    /// First-level instruction and data cache of each CPU; the same where they are one.
    entries: Vec<[usize; 2]>,
    /// Where page walks enter, for each CPU.
    walk_entries: Vec<usize>,
    cpu: usize,
    /// A hit in the first level teaches nobody anything, and its physical address is enough.
    first_is_simple: bool,
    /// A write that hits in the first level concerns no other cache.
    writes_stay: bool,
    /// All caches have lines of one size and none is exclusive.
    dirty_is_alone: bool,
    writes_back: bool,
    actor: Actor,
    /// Some cache has a stride prefetcher.
    has_strides: bool,
    /// Lines to prefetch when the reference is complete, with the cache that asked for them.
    next_lines: Vec<(usize, Place)>,
    strides: Vec<(usize, Place)>,
    /// The cache whose prefetch is under way.
    prefetching: usize,
    counts: [LevelCounts; Machine::MAX_LEVELS],
    classes: Option<Box<CacheClasses>>,
    /// What goes beyond the last level, where that is noted.
    requests: Option<Box<Requests>>,
}

/// Numbers of structures in the seeds of their generators (`docs/models.md`).
const fn structure_number(level: usize, data: bool) -> u64 {
    match (level, data) {
        (0, false) => 1,
        (0, true) => 2,
        (1, false) => 3,
        (1, true) => 4,
        _ => 5,
    }
}

impl Memory {
    pub(crate) fn new(machine: &Machine) -> Self {
        let mut memory = Self {
            nodes: Vec::new(),
            entries: Vec::new(),
            walk_entries: Vec::new(),
            cpu: 0,
            first_is_simple: first_is_simple(machine),
            writes_stay: machine.cpus() == 1 && machine.l1d().write_policy() == WritePolicy::Back,
            dirty_is_alone: dirty_is_alone(machine),
            writes_back: machine.semantics().writes_back(),
            actor: Actor(0),
            has_strides: has_strides(machine),
            next_lines: Vec::new(),
            strides: Vec::new(),
            prefetching: 0,
            counts: [LevelCounts::default(); Machine::MAX_LEVELS],
            classes: None,
            requests: None,
        };
        memory.build(machine);
        memory
    }

    /// Builds the tree from the last level up, so that what is below exists.
    fn build(&mut self, machine: &Machine) {
        let tracks_virtual = machine
            .levels()
            .iter()
            .any(|level| [level.instruction(), level.data()].iter().any(|cache| is_virtual(cache)));
        // Of each CPU, the cache that was built last for instructions and for data.
        let mut below: Vec<[Option<usize>; 2]> = vec![[None; 2]; usize::from(machine.cpus())];
        for (index, level) in machine.levels().iter().enumerate().rev() {
            let sides: &[(&CacheSpec, &[usize])] = if level.is_unified() {
                &[(level.data(), &[0, 1])]
            } else {
                &[(level.instruction(), &[0]), (level.data(), &[1])]
            };
            for &(spec, served) in sides {
                let groups = if index == 0 {
                    Sharing::Private.groups(machine.cpus())
                } else {
                    spec.sharing().groups(machine.cpus())
                };
                for (copy, group) in groups.iter().enumerate() {
                    let number = structure_number(index, served.contains(&1));
                    let seed = seed_of(machine.seed(), number, copy as u64);
                    let under = below[usize::from(group[0])][served[0]];
                    let node = self.nodes.len();
                    self.nodes.push(Node::new(spec, seed, tracks_virtual, index, under, group));
                    for &cpu in group {
                        for &side in served {
                            below[usize::from(cpu)][side] = Some(node);
                        }
                    }
                }
            }
        }
        for node in 0..self.nodes.len() {
            let mut under = self.nodes[node].below;
            while let Some(lower) = under {
                self.nodes[lower].above.push(node);
                under = self.nodes[lower].below;
            }
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].is_plain = machine.cpus() == 1 && self.can_be_plain(node);
        }
        let entry = |node: Option<usize>| node.expect("every CPU has a first level");
        self.entries = below.iter().map(|sides| sides.map(entry)).collect();
        self.walk_entries = self
            .entries
            .iter()
            .map(|&[_, data]| match machine.walk().memory {
                crate::machine::WalkMemory::L2 => self.nodes[data].below.unwrap_or(data),
                _ => data,
            })
            .collect();
    }

    /// Of one CPU only.
    fn can_be_plain(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        let gives_up_lines = |lower: usize| self.nodes[lower].exclusive;
        !node.exclusive
            && !node.inclusive
            && !node.write_through
            && node.allocates
            && !node.next_line
            && node.strides.is_none()
            && node.partition.is_empty()
            && !node.below.is_some_and(gives_up_lines)
    }

    /// What follows is done by this CPU.
    pub(crate) fn set_cpu(&mut self, cpu: u16) {
        self.cpu = usize::from(cpu) % self.entries.len();
    }

    pub(crate) fn set_actor(&mut self, actor: Actor) {
        self.actor = actor;
    }

    /// Lets `actor` fill the ways that a partition gives to its layer or else to its domain.
    pub(crate) fn name_actor(&mut self, actor: Actor, layer: &str, domain: &str) {
        for node in &mut self.nodes {
            let given = |name: &str| {
                node.partition.iter().find(|(known, _)| known == name).map(|(_, ways)| *ways)
            };
            let ways = given(layer).or_else(|| given(domain));
            let number = usize::from(actor.0);
            if node.ways.len() <= number {
                node.ways.resize(number + 1, None);
            }
            node.ways[number] = ways;
        }
    }

    /// The first-level caches for instructions and for data of the only CPU, where their hits may
    /// be known beforehand.
    #[inline]
    pub(crate) fn first_sets(&mut self) -> Option<[&mut FirstSets; 2]> {
        if self.entries.len() > 1 {
            return None;
        }
        // They were built last.
        let [.., instruction, data] = self.nodes.as_mut_slice() else { return None };
        Some([instruction.cache.first_sets()?, data.cache.first_sets()?])
    }

    /// The first-level cache for references of this kind, if its hits may be known beforehand.
    #[inline]
    pub(crate) fn first_sets_for(&mut self, kind: RefKind) -> Option<&mut FirstSets> {
        let index = self.entries[self.cpu][usize::from(kind != RefKind::Fetch)];
        self.nodes[index].cache.first_sets()
    }

    /// Of all CPUs, those first-level caches whose hits may be known beforehand.
    pub(crate) fn all_first_sets(&mut self) -> impl Iterator<Item = &mut FirstSets> {
        let first = self.nodes.iter_mut().filter(|node| node.level == 0);
        first.filter_map(|node| node.cache.first_sets())
    }

    /// Whether a known hit in the first level has no effect but there.
    pub(crate) fn first_is_alone(&mut self) -> bool {
        self.first_is_simple && self.writes_stay && self.first_sets().is_some()
    }

    /// Whether every cache does nothing but find lines and let them come.
    pub(crate) fn is_all_plain(&self) -> bool {
        self.nodes.iter().all(|node| node.is_plain)
    }

    /// Adds what was counted to `counts`.
    pub(crate) fn add_counts(&self, counts: &mut Counts) {
        for (index, level) in self.counts.iter().enumerate() {
            *counts.level_mut(index) += *level;
        }
    }

    /// Dirty lines in the first level of all CPUs.
    pub(crate) fn dirty_l1_lines(&self) -> u64 {
        let first = self.nodes.iter().filter(|node| node.level == 0);
        first.map(|node| node.cache.dirty_lines()).sum()
    }
}

impl Node {
    fn new(
        spec: &CacheSpec,
        seed: u64,
        tracks_virtual: bool,
        level: usize,
        below: Option<usize>,
        group: &[u16],
    ) -> Self {
        Self {
            cache: if level == 0 {
                Cache::first_level(spec, seed, tracks_virtual)
            } else {
                Cache::new(spec, seed, tracks_virtual)
            },
            level,
            below,
            above: Vec::new(),
            cpus: group.iter().map(|&cpu| 1_u64 << cpu).sum(),
            is_plain: false,
            exclusive: spec.inclusion() == Inclusion::Exclusive,
            inclusive: spec.inclusion() == Inclusion::Inclusive,
            write_through: spec.write_policy() == WritePolicy::Through,
            allocates: spec.write_allocates(),
            next_line: spec.prefetcher() == Prefetcher::NextLine,
            strides: (spec.prefetcher() == Prefetcher::Stride).then(StrideTable::new),
            ways: Vec::new(),
            partition: spec.partition().iter().map(|(who, ways)| (who.clone(), *ways)).collect(),
            classifier: None,
            lost: FxHashSet::default(),
        }
    }

    fn line_of(&self, place: Place) -> Line {
        let shift = self.cache.line_shift();
        Line { physical: place.physical.0 >> shift, virtual_: place.va >> shift }
    }

    fn place_of(&self, line: Line) -> Place {
        let shift = self.cache.line_shift();
        Place { physical: PhysAddr(line.physical << shift), va: line.virtual_ << shift }
    }

    fn ways_for(&self, actor: Actor) -> Option<WayMask> {
        self.ways.get(usize::from(actor.0)).copied().flatten()
    }
}

fn is_virtual(spec: &CacheSpec) -> bool {
    [spec.index(), spec.tag()].contains(&AddressKind::Virtual)
}

fn dirty_is_alone(machine: &Machine) -> bool {
    let bytes = machine.l1i().line_bytes();
    let caches = machine.levels().iter().flat_map(|level| [level.instruction(), level.data()]);
    caches
        .into_iter()
        .all(|cache| cache.line_bytes() == bytes && cache.inclusion() != Inclusion::Exclusive)
}

fn has_strides(machine: &Machine) -> bool {
    let of_strides = |spec: &CacheSpec| spec.prefetcher() == Prefetcher::Stride;
    machine.levels().iter().any(|level| of_strides(level.data()))
}

/// Virtual addresses tell lines apart in none, and loads and stores train no prefetcher.
fn first_is_simple(machine: &Machine) -> bool {
    let first = &machine.levels()[0];
    ![first.instruction(), first.data()].into_iter().any(is_virtual) && !has_strides(machine)
}

/// Where a generator starts (`docs/models.md`).
pub(crate) fn seed_of(seed: u64, structure: u64, copy: u64) -> u64 {
    let start =
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(structure).wrapping_add(256 * copy);
    start.max(1)
}

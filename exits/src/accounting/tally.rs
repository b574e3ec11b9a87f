//! Intervals summed by what they have in common.

use super::interval::Interval;
use super::scenario::Scenario;
use crate::distribution::Distribution;
use crate::event::{Isa, PortAccess, VcpuId};
use rustc_hash::FxHashMap;

/// Most keys that are kept apart, so that memory stays bounded; later ones are summed as others.
pub const MOST_KEYS: usize = 2000;

/// What intervals are summed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Exit reason.
    #[default]
    Reason,
    /// I/O port, and direction within.
    Port,
    /// Guest-physical address, and direction within.
    Address,
    /// Scenario, and exit reason within.
    Scenario,
    /// vCPU, and exit reason within.
    Vcpu,
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An exit reason; `None` where the trace tells none.
    Reason(Isa, Option<u32>),
    /// An I/O port.
    Port(u16),
    /// Reads or writes; `None` where the trace does not tell.
    Direction(Option<bool>),
    /// A guest-physical address.
    Address(u64),
    /// A scenario.
    Scenario(Scenario),
    /// A vCPU.
    Vcpu(VcpuId),
    /// Keys beyond [`MOST_KEYS`].
    Others,
}

/// Sums over intervals.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// Their durations, or handling times where waiting is left out.
    pub durations: Distribution,
    /// Time within that their vCPUs waited for events.
    pub blocked: u64,
    /// Time within that their vCPUs waited for a CPU.
    pub preempted: u64,
    /// Intervals with a stay in user space.
    pub userspace: u64,
    /// Intervals with an emulated instruction.
    pub emulated: u64,
    /// Intervals with an interrupt.
    pub interrupted: u64,
    /// Intervals with both a stay in user space and an interrupt.
    pub userspace_and_interrupted: u64,
    /// Intervals by duration: below the first edge, …, from the last one on.
    pub bins: Vec<u64>,
}

impl Sums {
    /// Adds all of another.
    fn merge(&mut self, other: &Sums) {
        self.durations.merge(&other.durations);
        self.blocked = self.blocked.saturating_add(other.blocked);
        self.preempted = self.preempted.saturating_add(other.preempted);
        self.userspace += other.userspace;
        self.emulated += other.emulated;
        self.interrupted += other.interrupted;
        self.userspace_and_interrupted += other.userspace_and_interrupted;
        self.bins.resize(self.bins.len().max(other.bins.len()), 0);
        self.bins.iter_mut().zip(&other.bins).for_each(|(ours, theirs)| *ours += theirs);
    }

    #[inline]
    fn add(&mut self, interval: &Interval, duration: u64, edges: &[u64]) {
        self.durations.add(duration);
        self.blocked = self.blocked.saturating_add(interval.blocked);
        self.preempted = self.preempted.saturating_add(interval.preempted);
        if interval.userspace | interval.emulated | interval.interrupted {
            self.userspace += u64::from(interval.userspace);
            self.emulated += u64::from(interval.emulated);
            self.interrupted += u64::from(interval.interrupted);
            self.userspace_and_interrupted += u64::from(interval.userspace && interval.interrupted);
        }
        if !edges.is_empty() {
            self.bins.resize(edges.len() + 1, 0);
            self.bins[edges.partition_point(|&edge| edge <= duration)] += 1;
        }
    }
}

/// A key, its sums, and those of its second keys.
pub(super) type Keyed = (Key, Sums, Vec<(Key, Sums)>);

/// Keys, and the place of their sums.
type Recent = ((Key, Option<Key>), usize);

/// Number of keys met last that are found without the map.
const RECENT: usize = 256;

/// Where among those keys are kept.
#[inline(always)]
fn slot((outer, inner): (Key, Option<Key>)) -> usize {
    let spread = |key: Key| match key {
        Key::Reason(_, reason) => reason.map_or(255, |reason| reason ^ reason >> 8) as usize,
        Key::Port(port) => usize::from(port ^ port >> 8),
        Key::Direction(write) => write.map_or(2, usize::from),
        // Registers of devices lie some words from each other.
        Key::Address(address) => (address >> 2 ^ address >> 10 ^ address >> 18) as usize,
        Key::Scenario(scenario) => scenario as usize,
        Key::Vcpu(vcpu) => vcpu.index(),
        Key::Others => 0,
    };
    (spread(outer) + inner.map_or(0, |inner| 1 + 67 * spread(inner))) % RECENT
}

/// Sums by key, and by a second key within.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    by: By,
    places: FxHashMap<(Key, Option<Key>), usize>,
    /// Keys met last and their places, by [`slot`].
    recent: Box<[Recent; RECENT]>,
    sums: Vec<((Key, Option<Key>), Sums)>,
    /// Of intervals that have no key.
    keyless: Sums,
}

impl Tally {
    pub(super) fn new(by: By) -> Self {
        // No interval is of others by itself.
        let none = ((Key::Others, Some(Key::Others)), usize::MAX);
        let recent = Box::new([none; RECENT]);
        Tally {
            by,
            places: FxHashMap::default(),
            recent,
            sums: Vec::new(),
            keyless: Sums::default(),
        }
    }

    pub(super) fn add(&mut self, interval: &Interval, duration: u64, edges: &[u64]) {
        let reason = Key::Reason(interval.isa, interval.reason);
        let by = self.by;
        let mut add = |outer, inner| self.add_to(outer, inner, interval, duration, edges);
        match by {
            By::Reason => add(reason, None),
            By::Port => match interval.port {
                Some(PortAccess { port, write }) => {
                    add(Key::Port(port), Some(Key::Direction(write)));
                }
                None => self.keyless.add(interval, duration, edges),
            },
            By::Address => match interval.address {
                Some(address) => {
                    add(Key::Address(address), Some(Key::Direction(interval.address_write)));
                }
                None => self.keyless.add(interval, duration, edges),
            },
            By::Scenario => add(Key::Scenario(Scenario::of(interval)), Some(reason)),
            By::Vcpu => add(Key::Vcpu(interval.vcpu), Some(reason)),
        }
    }

    // Inlined, what is known of the keys saves most of comparing them.
    #[inline(always)]
    fn add_to(
        &mut self,
        outer: Key,
        inner: Option<Key>,
        interval: &Interval,
        duration: u64,
        edges: &[u64],
    ) {
        let place = self.place((outer, None));
        self.sums[place].1.add(interval, duration, edges);
        if inner.is_some() {
            // Of others there are no parts.
            let place = self.place((outer, inner));
            if self.sums[place].0.1.is_some() {
                self.sums[place].1.add(interval, duration, edges);
            }
        }
    }

    #[inline(always)]
    fn place(&mut self, keys: (Key, Option<Key>)) -> usize {
        let recent = &self.recent[slot(keys)];
        if recent.0 == keys { recent.1 } else { self.find(keys) }
    }

    fn find(&mut self, keys: (Key, Option<Key>)) -> usize {
        let place = match self.places.get(&keys) {
            Some(&place) => place,
            None => {
                let room = self.sums.len() < MOST_KEYS;
                let kept = if room { keys } else { (Key::Others, None) };
                let next = self.sums.len();
                let place = *self.places.entry(kept).or_insert(next);
                if place == next {
                    self.sums.push((kept, Sums::default()));
                }
                place
            }
        };
        self.recent[slot(keys)] = (keys, place);
        place
    }

    /// Over all intervals, with a key or without.
    pub(super) fn total(&self) -> Sums {
        let mut total = self.keyless.clone();
        for ((_, second), sums) in &self.sums {
            if second.is_none() {
                total.merge(sums);
            }
        }
        total
    }

    /// Sums by key, each with those of its second keys.
    pub(super) fn finish(self) -> Vec<Keyed> {
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for ((key, second), mut sums) in self.sums {
            sums.durations.settle();
            match second {
                None => outer.push((key, sums, Vec::new())),
                Some(second) => inner.push((key, second, sums)),
            }
        }
        for (key, second, sums) in inner {
            if let Some(row) = outer.iter_mut().find(|row| row.0 == key) {
                row.2.push((second, sums));
            }
        }
        outer
    }
}

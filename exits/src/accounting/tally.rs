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
        self.blocked += other.blocked;
        self.preempted += other.preempted;
        self.userspace += other.userspace;
        self.emulated += other.emulated;
        self.interrupted += other.interrupted;
        self.userspace_and_interrupted += other.userspace_and_interrupted;
        self.bins.resize(self.bins.len().max(other.bins.len()), 0);
        self.bins.iter_mut().zip(&other.bins).for_each(|(ours, theirs)| *ours += theirs);
    }

    fn add(&mut self, interval: &Interval, duration: u64, edges: &[u64]) {
        self.durations.add(duration);
        self.blocked += interval.blocked;
        self.preempted += interval.preempted;
        self.userspace += u64::from(interval.userspace);
        self.emulated += u64::from(interval.emulated);
        self.interrupted += u64::from(interval.interrupted);
        self.userspace_and_interrupted += u64::from(interval.userspace && interval.interrupted);
        if !edges.is_empty() {
            self.bins.resize(edges.len() + 1, 0);
            self.bins[edges.partition_point(|&edge| edge <= duration)] += 1;
        }
    }
}

/// A key, its sums, and those of its second keys.
pub(super) type Keyed = (Key, Sums, Vec<(Key, Sums)>);

/// Sums by key, and by a second key within.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    by: By,
    places: FxHashMap<(Key, Option<Key>), usize>,
    last: ((Key, Option<Key>), usize),
    sums: Vec<((Key, Option<Key>), Sums)>,
    /// Of intervals that have no key.
    keyless: Sums,
}

impl Tally {
    pub(super) fn new(by: By) -> Self {
        // No interval is of others by itself.
        let last = ((Key::Others, Some(Key::Others)), usize::MAX);
        Tally { by, places: FxHashMap::default(), last, sums: Vec::new(), keyless: Sums::default() }
    }

    pub(super) fn add(&mut self, interval: &Interval, duration: u64, edges: &[u64]) {
        let reason = Key::Reason(interval.isa, interval.reason);
        let keys = match self.by {
            By::Reason => Some((reason, None)),
            By::Port => interval
                .port
                .map(|PortAccess { port, write }| (Key::Port(port), Some(Key::Direction(write)))),
            By::Address => interval.address.map(|address| {
                (Key::Address(address), Some(Key::Direction(interval.address_write)))
            }),
            By::Scenario => Some((Key::Scenario(Scenario::of(interval)), Some(reason))),
            By::Vcpu => Some((Key::Vcpu(interval.vcpu), Some(reason))),
        };
        let Some((outer, inner)) = keys else {
            self.keyless.add(interval, duration, edges);
            return;
        };
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

    fn place(&mut self, keys: (Key, Option<Key>)) -> usize {
        if self.last.0 == keys {
            return self.last.1;
        }
        let room = self.sums.len() < MOST_KEYS;
        let place = match self.places.get(&keys) {
            Some(&place) => place,
            None => {
                let keys = if room { keys } else { (Key::Others, None) };
                let next = self.sums.len();
                let place = *self.places.entry(keys).or_insert(next);
                if place == next {
                    self.sums.push((keys, Sums::default()));
                }
                place
            }
        };
        self.last = (keys, place);
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
        for ((key, second), sums) in self.sums {
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

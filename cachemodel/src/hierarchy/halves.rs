//! A machine in two halves: first level and TLBs above, the other levels of cache below.
//!
//! Where nothing that happens below has an effect above, the halves can be run one after the other:
//! the upper one notes what it asks of the lower one, and that can be run later, on another thread,
//! or many times with other caches. Both together count what the whole machine counts.

use super::{Hierarchy, RefKind};
use crate::counts::Counts;
use crate::machine::{AddressKind, CacheSpec, Machine, TagScheme, WalkMemory};
use crate::memory::{Memory, Place, Request};
use crate::outcome::Outcome;
use crate::page::PhysAddr;
use crate::semantics::Semantics;
use crate::translation::{SizedCounts, Sizes, TlbSizes};

/// Whether a machine can be taken in two halves.
///
/// Lines must come down only as those of single references and dirty victims, by physical address:
/// no inclusion or exclusion, no prefetcher, no partition, no second CPU, no walks through caches.
fn has_halves(machine: &Machine, memory: &Memory) -> bool {
    let is_physical = |cache: &CacheSpec| {
        [cache.index(), cache.tag()].iter().all(|&kind| kind == AddressKind::Physical)
    };
    let lower = machine.levels().iter().skip(1);
    machine.cpus() == 1
        && machine.semantics() != Semantics::Cachegrind
        && machine.walk().memory == WalkMemory::Off
        && !machine.levels()[0].is_unified()
        && lower.flat_map(|level| [level.instruction(), level.data()]).all(is_physical)
        && memory.is_all_plain()
}

impl Hierarchy {
    /// Whether [`Hierarchy::upper_half`] gives something. Costs as much as making the machine.
    #[must_use]
    pub fn has_halves(machine: &Machine) -> bool {
        has_halves(machine, &Memory::new(machine))
    }

    /// First level and TLBs of `machine`, which note what they ask of its other levels; these have
    /// to be run by a [`LowerHalf`]. `None` where the other levels have an effect on the first, or
    /// need more than requests tell.
    #[must_use]
    pub fn upper_half(machine: &Machine) -> Option<Self> {
        if !has_halves(machine, &Memory::new(machine)) {
            return None;
        }
        let mut upper = Self::new(&machine.first_level_only());
        upper.memory.note_requests();
        Some(upper)
    }

    /// An upper half that counts TLBs of several sizes under several schemes at once. Its own TLBs
    /// only serve that: what they count is not the machine's. `None` as for
    /// [`Hierarchy::upper_half`], and where the machine's TLBs do not [`fit`](TlbSizes::fit).
    #[must_use]
    pub fn upper_half_of_sizes(machine: &Machine, sizes: &TlbSizes) -> Option<Self> {
        let smallest = |sizes: &[u64]| {
            let rising = sizes.windows(2).all(|pair| pair[0] < pair[1]);
            sizes.first().filter(|_| rising && sizes.len() <= TlbSizes::MOST).map(u64::to_string)
        };
        let (itlb, dtlb) = (smallest(&sizes.itlb)?, smallest(&sizes.dtlb)?);
        let filter = [
            ("itlb.entries", itlb.as_str()),
            ("itlb.ways", "full"),
            ("dtlb.entries", dtlb.as_str()),
            ("dtlb.ways", "full"),
            ("tags", "none"),
        ];
        let machine = machine.with_overrides(filter).ok().filter(TlbSizes::fit)?;
        let mut upper = Self::upper_half(&machine)?;
        upper.unit.filter_for(Sizes::new(&machine, sizes));
        Some(upper)
    }

    /// What ITLBs and DTLBs of these sizes have counted under a scheme so far. `None` unless this is
    /// an [upper half](Self::upper_half_of_sizes) of such; and if, with the sizes wanted, there was a
    /// page that an entry of another page size or globality covered too, or a flush of global
    /// entries by the PCID under which they were made: then each machine has to be run alone.
    #[must_use]
    pub fn sized_counts(&mut self, itlb: u64, dtlb: u64, tags: TagScheme) -> Option<SizedCounts> {
        self.unit.sizes()?.counts(itlb, dtlb, tags)
    }

    /// From now on TLBs of several sizes count, and have counted nothing; what they hold stays.
    /// Returns what an upper half has noted since that was taken last.
    pub fn begin_counting(&mut self) -> Vec<Request> {
        if let Some(sizes) = self.unit.sizes() {
            sizes.begin_counting();
        }
        self.take_requests()
    }

    /// Requests noted from now on are to be charged to this.
    #[inline]
    pub fn set_charge(&mut self, charge: u32) {
        self.memory.set_charge(charge);
        self.unit.set_charge(charge);
    }

    /// What an [upper half](Self::upper_half) has noted since this was called last, in order.
    pub fn take_requests(&mut self) -> Vec<Request> {
        self.memory.take_requests()
    }
}

/// Requests whose sets are looked at before the first of them is done.
pub(super) const AHEAD: usize = 32;

/// All levels of cache of a machine but the first.
#[derive(Debug, Clone)]
pub struct LowerHalf {
    machine: Machine,
    memory: Memory,
    /// Demand accesses of each level.
    counts: Counts,
    by_reference: bool,
    /// What the levels did for the reference under way, where each reference is one access.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: RefKind,
    charge: u32,
    missed: usize,
}

impl LowerHalf {
    /// Empty caches; `None` as for [`Hierarchy::upper_half`].
    #[must_use]
    pub fn new(machine: &Machine) -> Option<Self> {
        let memory = Memory::new(machine);
        has_halves(machine, &memory).then(|| Self {
            machine: machine.clone(),
            memory,
            counts: Counts::default(),
            by_reference: machine.semantics().counts_references(),
            open: None,
        })
    }

    /// Does what was asked for; `each` is told of every access what it is charged to, its kind, and
    /// the accesses and misses of the levels below the first. Requests of one reference must come
    /// with one call.
    pub fn run(&mut self, requests: &[Request], mut each: impl FnMut(u32, RefKind, &Outcome)) {
        for some in requests.chunks(AHEAD) {
            // Which sets are asked for next is known, and reading them all at once takes little
            // longer than reading one.
            std::hint::black_box(some.iter().fold(0, |sum, ahead| sum ^ self.look_ahead(ahead)));
            self.run_some(some, &mut each);
        }
        self.open.take().into_iter().for_each(|open| self.count(open, &mut each));
    }

    #[inline]
    fn look_ahead(&self, request: &Request) -> u64 {
        match *request {
            Request::Line { physical, kind, .. } | Request::Unsure { physical, kind, .. } => {
                self.memory.look_ahead_below_first(kind, PhysAddr(physical))
            }
            _ => 0,
        }
    }

    fn run_some(&mut self, requests: &[Request], each: &mut impl FnMut(u32, RefKind, &Outcome)) {
        for request in requests {
            match *request {
                Request::Line { physical, charge, kind, is_first }
                | Request::Unsure { physical, charge, kind, is_first } => {
                    let place = Place { physical: PhysAddr(physical), va: physical };
                    let missed = self.memory.read_below_first(kind, place);
                    if !self.by_reference {
                        self.count(Open { kind, charge, missed }, each);
                        continue;
                    }
                    match &mut self.open {
                        Some(open) if !is_first => open.missed = open.missed.max(missed),
                        _ => {
                            let before = self.open.replace(Open { kind, charge, missed });
                            before.into_iter().for_each(|open| self.count(open, each));
                        }
                    }
                }
                Request::WriteBack { physical } => {
                    let place = Place { physical: PhysAddr(physical), va: physical };
                    self.memory.write_below_first(place);
                }
                Request::Overwritten { first, last } => self.memory.overwritten_up_to(first, last),
                Request::Flush => self.memory.flush(),
                Request::Leaves { .. } | Request::Settled { .. } => {}
            }
        }
    }

    fn count(&mut self, access: Open, each: &mut impl FnMut(u32, RefKind, &Outcome)) {
        let Open { kind, charge, missed } = access;
        let mut outcome = Outcome::NONE;
        for level in 1..self.machine.levels().len().min(missed + 2) {
            let has_missed = level <= missed;
            let counts = self.counts.level_mut(level);
            let tally = match kind {
                RefKind::Fetch => &mut counts.fetches,
                RefKind::Read => &mut counts.reads,
                RefKind::Write | RefKind::ModifyWrite => &mut counts.writes,
            };
            tally.add(has_missed);
            outcome.accesses[level] = 1;
            outcome.misses[level] = u16::from(has_missed);
        }
        each(charge, kind, &outcome);
    }

    /// The whole machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the levels below the first have counted since the start; all else is zero.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        self.memory.add_counts(&mut counts);
        counts
    }
}

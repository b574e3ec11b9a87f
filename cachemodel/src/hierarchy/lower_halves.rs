//! Levels below one first level, of many machines, run on the same requests.
//!
//! Second levels that hold each other's lines are run at once; all else runs one by one.

use super::RefKind;
use super::halves::{AHEAD, LowerHalf};
use crate::caches::{Fill, NestedSets};
use crate::counts::{Counts, LevelCounts, Tally};
use crate::geometry::CacheGeometry;
use crate::machine::{Level, Machine, Replacement};
use crate::memory::Request;

/// What is below the first level in some machines of one first level and one semantics.
#[derive(Debug, Clone)]
pub struct LowerHalves {
    parts: Vec<LowerPart>,
    /// For each machine, the number of its part and its own number in that.
    places: Vec<(usize, usize)>,
}

/// Machines that are run together; parts can be run at the same time.
#[derive(Debug, Clone)]
pub struct LowerPart(Part);

#[derive(Debug, Clone)]
enum Part {
    One(Box<LowerHalf>),
    Nested(Box<NestedLevels>),
}

/// The only cache below the first level, where it can be run with others.
fn nested(machine: &Machine) -> Option<&CacheGeometry> {
    let [_, Level::Unified(cache)] = machine.levels() else { return None };
    (cache.replacement() == Replacement::Lru).then(|| cache.geometry())
}

impl LowerHalves {
    /// Empty caches; `None` if there is a machine that cannot be taken in
    /// [two halves](crate::Hierarchy::upper_half).
    #[must_use]
    pub fn new(machines: &[Machine]) -> Option<Self> {
        let ones: Option<Vec<_>> = machines.iter().map(LowerHalf::new).collect();
        let mut ones: Vec<_> = ones?.into_iter().map(Some).collect();
        let mut parts = Vec::new();
        let mut places = vec![(0, 0); machines.len()];
        let of_line: Vec<usize> =
            (0..machines.len()).filter(|&at| nested(&machines[at]).is_some()).collect();
        let caches: Vec<_> = of_line.iter().filter_map(|&at| nested(&machines[at])).collect();
        for group in NestedSets::groups(&caches).into_iter().filter(|group| group.len() > 1) {
            let members: Vec<_> = group.iter().map(|&member| caches[member]).collect();
            let by_reference = machines[of_line[group[0]]].semantics().counts_references();
            for (number, &member) in group.iter().enumerate() {
                places[of_line[member]] = (parts.len(), number);
                ones[of_line[member]] = None;
            }
            let levels = NestedLevels::new(&members, by_reference);
            parts.push(LowerPart(Part::Nested(Box::new(levels))));
        }
        for (at, one) in ones.into_iter().enumerate() {
            if let Some(one) = one {
                places[at] = (parts.len(), 0);
                parts.push(LowerPart(Part::One(Box::new(one))));
            }
        }
        Some(Self { parts, places })
    }

    /// Each of them has to run on all requests, in order.
    pub fn parts_mut(&mut self) -> &mut [LowerPart] {
        &mut self.parts
    }

    /// Number of machines.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.places.len()
    }

    /// What the levels below the first of a machine have counted since the start; all else is zero.
    #[must_use]
    pub fn counts(&self, machine: usize) -> Counts {
        let (part, number) = self.places[machine];
        match &self.parts[part].0 {
            Part::One(lower) => lower.counts(),
            Part::Nested(levels) => levels.counts(number),
        }
    }
}

impl LowerPart {
    /// Does what was asked for. Requests of one reference must come with one call.
    pub fn run(&mut self, requests: &[Request]) {
        match &mut self.0 {
            Part::One(lower) => lower.run(requests, |_, _, _| ()),
            Part::Nested(levels) => levels.run(requests),
        }
    }
}

/// By the number of caches that missed, the smallest first.
type ByMisses = Vec<u64>;

/// Second levels that are run at once, the smallest first.
#[derive(Debug, Clone)]
struct NestedLevels {
    sets: NestedSets,
    line_shift: u32,
    by_reference: bool,
    fetches: ByMisses,
    reads: ByMisses,
    writes: ByMisses,
    writebacks: ByMisses,
    /// Lines that devices have overwritten, by the smallest cache that held them.
    overwritten: Vec<u64>,
    /// The reference under way, where each is one access, and how many caches missed.
    open: Option<(RefKind, usize)>,
}

impl NestedLevels {
    fn new(caches: &[&CacheGeometry], by_reference: bool) -> Self {
        let zeros = vec![0; caches.len() + 1];
        Self {
            sets: NestedSets::new(caches),
            line_shift: caches[0].line_shift(),
            by_reference,
            fetches: zeros.clone(),
            reads: zeros.clone(),
            writes: zeros.clone(),
            writebacks: zeros.clone(),
            overwritten: zeros,
            open: None,
        }
    }

    fn run(&mut self, requests: &[Request]) {
        for some in requests.chunks(AHEAD) {
            // As in `LowerHalf::run`.
            std::hint::black_box(some.iter().fold(0, |sum, ahead| sum ^ self.look_ahead(ahead)));
            some.iter().for_each(|request| self.run_one(request));
        }
        self.close();
    }

    #[inline]
    fn look_ahead(&self, request: &Request) -> u64 {
        match *request {
            Request::Line { physical, .. }
            | Request::Unsure { physical, .. }
            | Request::WriteBack { physical } => self.sets.look_ahead(physical >> self.line_shift),
            _ => 0,
        }
    }

    #[inline]
    fn run_one(&mut self, request: &Request) {
        match *request {
            Request::Line { physical, kind, is_first, .. }
            | Request::Unsure { physical, kind, is_first, .. } => {
                let line = physical >> self.line_shift;
                let missed = self.sets.demand(line, Fill::default());
                match &mut self.open {
                    Some((_, most)) if self.by_reference && !is_first => {
                        *most = missed.max(*most);
                    }
                    _ => {
                        self.close();
                        self.open = Some((kind, missed));
                    }
                }
            }
            Request::WriteBack { physical } => {
                let state = Fill { dirty: true, prefetched: false };
                let missed = self.sets.demand(physical >> self.line_shift, state);
                self.writebacks[missed] += 1;
            }
            Request::Overwritten { first, last } => {
                let Self { sets, line_shift, overwritten, .. } = self;
                let (first, last) = (first >> *line_shift, last >> *line_shift);
                sets.remove_range(first, last, |smallest| overwritten[smallest] += 1);
            }
            Request::Flush => self.sets.drain(),
            Request::Leaves { .. } | Request::Settled { .. } => {}
        }
    }

    #[inline]
    fn close(&mut self) {
        let Some((kind, missed)) = self.open.take() else { return };
        let counts = match kind {
            RefKind::Fetch => &mut self.fetches,
            RefKind::Read => &mut self.reads,
            RefKind::Write | RefKind::ModifyWrite => &mut self.writes,
        };
        counts[missed] += 1;
    }

    fn counts(&self, cache: usize) -> Counts {
        let misses = |counts: &ByMisses| counts[cache + 1..].iter().sum::<u64>();
        let tally = |counts: &ByMisses| {
            let (accesses, misses) = (counts.iter().sum(), misses(counts));
            Tally { accesses, hits: accesses - misses, misses }
        };
        let mut counts = Counts::default();
        *counts.level_mut(1) = LevelCounts {
            fetches: tally(&self.fetches),
            reads: tally(&self.reads),
            writes: tally(&self.writes),
            writebacks: self.writebacks.iter().sum(),
            writeback_misses: misses(&self.writebacks),
            written_on: self.sets.gone_dirty(cache),
            device_invalidations: self.overwritten[..=cache].iter().sum(),
            ..LevelCounts::default()
        };
        counts
    }
}

//! Counts of one function, or of everything.

use crate::plans::Plan;
use crate::sampling::Sampler;
use crate::timeline::TimelineWatch;
use std::ops::AddAssign;
use strata_cachemodel::{Counts, LevelCounts, Machine, Operand, Outcome, RefKind};

/// Accesses and misses; hits are the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All accesses.
    pub accesses: u64,
    /// Those that missed.
    pub misses: u64,
}

impl Tally {
    /// Those that did not miss.
    pub fn hits(&self) -> u64 {
        self.accesses - self.misses
    }

    #[inline]
    fn add(&mut self, accesses: u16, misses: u16) {
        self.accesses = self.accesses.wrapping_add(u64::from(accesses));
        self.misses += u64::from(misses);
    }
}

impl AddAssign for Tally {
    /// Wraps: deviations from what was expected can be negative.
    fn add_assign(&mut self, more: Tally) {
        self.accesses = self.accesses.wrapping_add(more.accesses);
        self.misses += more.misses;
    }
}

impl From<strata_cachemodel::Tally> for Tally {
    fn from(tally: strata_cachemodel::Tally) -> Self {
        Tally { accesses: tally.accesses, misses: tally.misses }
    }
}

/// Demand accesses of one level of cache, by what caused them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// For instructions.
    pub instructions: Tally,
    /// For data reads.
    pub reads: Tally,
    /// For data writes.
    pub writes: Tally,
}

impl Level {
    /// Reads and writes.
    pub fn data(&self) -> Tally {
        let mut both = self.reads;
        both += self.writes;
        both
    }

    /// Instructions and data.
    pub fn all(&self) -> Tally {
        let mut all = self.data();
        all += self.instructions;
        all
    }
}

impl AddAssign for Level {
    fn add_assign(&mut self, more: Level) {
        self.instructions += more.instructions;
        self.reads += more.reads;
        self.writes += more.writes;
    }
}

impl From<&LevelCounts> for Level {
    fn from(counts: &LevelCounts) -> Self {
        Level {
            instructions: counts.fetches.into(),
            reads: counts.reads.into(),
            writes: counts.writes.into(),
        }
    }
}

/// What was executed and what it did to each structure.
// What is counted always comes first: that much of a record is all that most additions touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Completed instructions; a `rep` counts once.
    pub instructions: u64,
    /// Iterations of `rep` instructions.
    pub rep_iterations: u64,
    /// Instruction TLB.
    pub itlb: Tally,
    /// Data TLB.
    pub dtlb: Tally,
    /// Levels of cache, level 1 first.
    pub levels: [Level; 3],
    /// Second-level TLB.
    pub stlb: Tally,
    /// Page walks.
    pub walks: u64,
    /// Accesses of each level of cache by page walks.
    pub walk_levels: [Tally; 3],
    /// VM exits that its instructions caused.
    pub exits: u64,
    /// References to devices, which go to no cache.
    pub device: u64,
    /// TLB hits whose frame differs from the stream's translation.
    pub stale: u64,
}

impl Counters {
    /// L1 instruction cache.
    pub fn l1i(&self) -> Tally {
        self.levels[0].instructions
    }

    /// L1 data cache, reads and writes.
    pub fn l1d(&self) -> Tally {
        self.levels[0].data()
    }

    /// L2, instructions and data.
    pub fn l2(&self) -> Tally {
        self.levels[1].all()
    }

    /// L3, instructions and data.
    pub fn l3(&self) -> Tally {
        self.levels[2].all()
    }

    /// References that page walks made.
    pub fn walk_accesses(&self) -> u64 {
        // Each enters at one level, and what misses there goes on.
        let [l1, l2, l3] = self.walk_levels;
        l1.accesses + (l2.accesses - l1.misses) + l3.accesses.saturating_sub(l2.misses)
    }

    /// Those that memory answered, behind `depth` levels of cache.
    pub fn walk_memory_accesses(&self, depth: usize) -> u64 {
        self.walk_levels[..depth].last().map_or(0, |level| level.misses)
    }

    /// Misses for each thousand instructions; `None` without instructions.
    pub fn per_thousand(&self, misses: u64) -> Option<f64> {
        (self.instructions > 0).then(|| misses as f64 * 1000.0 / self.instructions as f64)
    }

    /// Cycles by the machine's cost model; `None` where it has none. An estimate, which adds what
    /// processors overlap.
    pub fn cycles(&self, machine: &Machine) -> Option<f64> {
        let cost = machine.cost()?;
        let depth = machine.levels().len();
        // What a level's misses cost: the next level answers, or memory does.
        let answers = [cost.l2, cost.l3, cost.memory];
        let answered = |level: usize, misses: u64, misses_below: u64| {
            let price = if level + 1 < depth { answers[level] } else { cost.memory };
            price * (misses - misses_below) as f64
        };
        let mut cycles = self.instructions as f64 * cost.base_cpi;
        for level in 0..depth {
            for misses in [
                self.levels.map(|level| level.all().misses),
                self.walk_levels.map(|tally| tally.misses),
            ] {
                let below = if level + 1 < depth { misses[level + 1] } else { 0 };
                cycles += answered(level, misses[level], below.min(misses[level]));
            }
        }
        cycles += cost.stlb * self.stlb.hits() as f64;
        cycles += cost.walk * self.walks as f64;
        cycles += cost.exit * self.exits as f64;
        Some(cycles)
    }

    /// Adds what was executed, each reference of it a hit in level 1 and TLB.
    #[inline]
    pub(crate) fn add_hits(&mut self, executed: &Executed) {
        let Executed { instructions, reads, writes, rep_iterations } = *executed;
        self.instructions += instructions;
        self.rep_iterations += rep_iterations;
        let first = &mut self.levels[0];
        for (tally, hits) in [
            (&mut first.instructions, instructions),
            (&mut first.reads, reads),
            (&mut first.writes, writes),
            (&mut self.itlb, instructions),
            (&mut self.dtlb, reads + writes),
        ] {
            tally.accesses = tally.accesses.wrapping_add(hits);
        }
    }

    /// Adds how a reference differed from a hit in level 1 and TLB, which is already counted.
    pub(crate) fn deviate(&mut self, kind: RefKind, outcome: &Outcome) {
        self.count(kind, outcome);
        let (first, tlb) = self.first(kind);
        first.accesses = first.accesses.wrapping_sub(1);
        tlb.accesses = tlb.accesses.wrapping_sub(1);
    }

    /// Adds a reference.
    #[inline]
    pub(crate) fn count(&mut self, kind: RefKind, outcome: &Outcome) {
        for (index, level) in self.levels.iter_mut().enumerate() {
            let tally = match kind {
                RefKind::Fetch => &mut level.instructions,
                RefKind::Read => &mut level.reads,
                RefKind::Write | RefKind::ModifyWrite => &mut level.writes,
            };
            tally.add(outcome.accesses[index], outcome.misses[index]);
            self.walk_levels[index].add(outcome.walk_accesses[index], outcome.walk_misses[index]);
        }
        let (_, tlb) = self.first(kind);
        tlb.add(outcome.tlb_accesses, outcome.tlb_misses);
        self.stlb.add(outcome.stlb_accesses, outcome.stlb_misses);
        self.walks += u64::from(outcome.walks);
        self.device += u64::from(outcome.device);
        self.stale += u64::from(outcome.stale_hits);
    }

    /// Takes off misses of the first level and of its TLB, and walks, that were none.
    pub(crate) fn take_off(&mut self, kind: RefKind, few: &Outcome) {
        let (first, tlb) = self.first(kind);
        first.misses -= u64::from(few.misses[0]);
        tlb.misses -= u64::from(few.tlb_misses);
        self.walks -= u64::from(few.walks);
    }

    /// What a reference of this kind is looked up in first.
    #[inline]
    fn first(&mut self, kind: RefKind) -> (&mut Tally, &mut Tally) {
        let level = &mut self.levels[0];
        match kind {
            RefKind::Fetch => (&mut level.instructions, &mut self.itlb),
            RefKind::Read => (&mut level.reads, &mut self.dtlb),
            RefKind::Write | RefKind::ModifyWrite => (&mut level.writes, &mut self.dtlb),
        }
    }

    /// The same counts as a hierarchy keeps them, without those that only the replay knows.
    pub(crate) fn of_hierarchy(counts: &Counts) -> Self {
        Counters {
            instructions: 0,
            rep_iterations: 0,
            levels: counts.levels().map(Level::from),
            itlb: counts.itlb.all.into(),
            dtlb: counts.dtlb.all.into(),
            stlb: counts.stlb.total().into(),
            walks: counts.walks.walks,
            walk_levels: counts.levels().map(|level| level.walks.into()),
            exits: 0,
            device: counts.device.fetches + counts.device.reads + counts.device.writes,
            stale: counts.itlb.stale_hits + counts.dtlb.stale_hits + counts.stlb.stale_hits,
        }
    }
}

impl AddAssign for Executed {
    fn add_assign(&mut self, more: Executed) {
        self.instructions += more.instructions;
        self.reads += more.reads;
        self.writes += more.writes;
        self.rep_iterations += more.rep_iterations;
    }
}

impl AddAssign<&Counters> for Counters {
    #[inline]
    fn add_assign(&mut self, more: &Counters) {
        self.instructions += more.instructions;
        self.rep_iterations += more.rep_iterations;
        self.itlb += more.itlb;
        self.dtlb += more.dtlb;
        self.levels[0] += more.levels[0];
        if more.goes_further() {
            self.add_further(more);
        }
    }
}

impl Counters {
    /// Whether anything happened beyond level 1 and the first TLBs.
    #[inline]
    fn goes_further(&self) -> bool {
        let Counters { levels: [_, l2, l3], walk_levels: [w1, w2, w3], stlb, .. } = self;
        let [l2, l3] = [l2, l3].map(|level| [level.instructions, level.reads, level.writes]);
        let tallies = [*stlb, *w1, *w2, *w3];
        let tallies = l2.iter().chain(&l3).chain(&tallies);
        let any = tallies.fold(0, |any, tally| any | tally.accesses | tally.misses);
        any | self.walks | self.exits | self.device | self.stale != 0
    }

    /// Adds what happened there.
    fn add_further(&mut self, more: &Counters) {
        for index in 1..self.levels.len() {
            self.levels[index] += more.levels[index];
        }
        for index in 0..self.walk_levels.len() {
            self.walk_levels[index] += more.walk_levels[index];
        }
        self.stlb += more.stlb;
        self.walks += more.walks;
        self.exits += more.exits;
        self.device += more.device;
        self.stale += more.stale;
    }
}

/// What a function executed, before it is known how that fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) instructions: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) rep_iterations: u64,
}

impl Executed {
    /// What so many iterations of a `rep` with these operands execute.
    pub(crate) fn of_iterations(repeated: &[Operand], rep_iterations: u64) -> Self {
        let reads = repeated.iter().filter(|operand| operand.kind == RefKind::Read).count() as u64;
        let writes = repeated.len() as u64 - reads;
        Executed {
            instructions: 0,
            reads: reads * rep_iterations,
            writes: writes * rep_iterations,
            rep_iterations,
        }
    }

    /// Adds executions, without iterations of their `rep`.
    #[inline(always)]
    pub(crate) fn add(&mut self, plan: &Plan, executions: u64) {
        self.instructions += u64::from(plan.completed) * executions;
        self.reads += u64::from(plan.reads) * executions;
        self.writes += u64::from(plan.once - plan.reads) * executions;
    }
}

/// Counts under way: what was executed, each reference of it taken for a hit, and deviations.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) executed: Vec<Executed>,
    pub(crate) deviations: Vec<Counters>,
    /// Is told of what deviates, and when.
    pub(crate) timeline: Option<Box<TimelineWatch>>,
    /// Is told of each execution, and of what deviates.
    pub(crate) sampler: Option<Box<Sampler>>,
}

impl Rows {
    pub(crate) fn grow(&mut self, count: usize) {
        self.executed.resize(count, Executed::default());
        self.deviations.resize(count, Counters::default());
        if let Some(sampler) = &mut self.sampler {
            sampler.grow(count);
        }
    }

    /// An execution of so many instructions begins, all of `row`.
    #[inline]
    pub(crate) fn begin_execution(&mut self, row: usize, instructions: u64) {
        if let Some(sampler) = &mut self.sampler {
            sampler.executed(row, instructions);
        }
    }

    /// An exit from a guest, which `row` caused.
    pub(crate) fn exit(&mut self, row: usize) {
        self.deviations[row].exits += 1;
        if let Some(sampler) = &mut self.sampler {
            sampler.exit(row);
        }
    }

    /// A row, for references that may be no plain hits.
    #[inline]
    pub(crate) fn deviating(&mut self, row: usize) -> Deviating<'_> {
        Deviating {
            row,
            counters: &mut self.deviations[row],
            timeline: self.timeline.as_deref_mut(),
            sampler: self.sampler.as_deref_mut(),
        }
    }

    /// The execution under way begins after `position` instructions.
    #[inline]
    pub(crate) fn at(&mut self, position: u64) {
        if let Some(timeline) = &mut self.timeline {
            timeline.at(position);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.executed.fill(Executed::default());
        self.deviations.fill(Counters::default());
    }

    /// The counts of each row.
    pub(crate) fn settle(self) -> impl Iterator<Item = Counters> {
        self.executed.into_iter().zip(self.deviations).map(|(executed, deviations)| {
            let mut counters = Counters::default();
            counters.add_hits(&executed);
            counters += &deviations;
            counters
        })
    }
}

/// Where references of a row are counted that may be no plain hits.
pub(crate) struct Deviating<'r> {
    row: usize,
    counters: &'r mut Counters,
    timeline: Option<&'r mut TimelineWatch>,
    sampler: Option<&'r mut Sampler>,
}

impl Deviating<'_> {
    /// As [`Counters::deviate`].
    pub(crate) fn deviate(&mut self, kind: RefKind, outcome: &Outcome) {
        self.counters.deviate(kind, outcome);
        self.note(kind, outcome);
    }

    /// As [`Counters::count`].
    pub(crate) fn count(&mut self, kind: RefKind, outcome: &Outcome) {
        self.counters.count(kind, outcome);
        self.note(kind, outcome);
    }

    #[inline]
    fn note(&mut self, kind: RefKind, outcome: &Outcome) {
        if let Some(timeline) = &mut self.timeline {
            timeline.note(self.row, kind, outcome);
        }
        if let Some(sampler) = &mut self.sampler {
            sampler.note(self.row, kind, outcome);
        }
    }
}

//! Counts of one function, or of everything.

use std::ops::AddAssign;
use strata_cachemodel::{Counts, Outcome, RefKind};

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
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.accesses += more.accesses;
        self.misses += more.misses;
    }
}

impl From<strata_cachemodel::Tally> for Tally {
    fn from(tally: strata_cachemodel::Tally) -> Self {
        Tally { accesses: tally.accesses, misses: tally.misses }
    }
}

/// What was executed and what it did to each structure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Completed instructions; a `rep` counts once.
    pub instructions: u64,
    /// Iterations of `rep` instructions.
    pub rep_iterations: u64,
    /// L1 instruction cache.
    pub l1i: Tally,
    /// Reads of the L1 data cache.
    pub l1d_reads: Tally,
    /// Writes of the L1 data cache.
    pub l1d_writes: Tally,
    /// L2 for instructions.
    pub l2_instructions: Tally,
    /// L2 for data reads.
    pub l2_reads: Tally,
    /// L2 for data writes.
    pub l2_writes: Tally,
    /// Instruction TLB.
    pub itlb: Tally,
    /// Data TLB.
    pub dtlb: Tally,
    /// References to devices, which go to no cache.
    pub device: u64,
    /// TLB hits whose frame differs from the stream's translation.
    pub stale: u64,
}

impl Counters {
    /// L1 data cache, reads and writes.
    pub fn l1d(&self) -> Tally {
        let mut both = self.l1d_reads;
        both += self.l1d_writes;
        both
    }

    /// L2, instructions and data.
    pub fn l2(&self) -> Tally {
        let mut all = self.l2_instructions;
        all += self.l2_reads;
        all += self.l2_writes;
        all
    }

    /// Misses for each thousand instructions; `None` without instructions.
    pub fn per_thousand(&self, misses: u64) -> Option<f64> {
        (self.instructions > 0).then(|| misses as f64 * 1000.0 / self.instructions as f64)
    }

    #[inline]
    pub(crate) fn charge(&mut self, kind: RefKind, outcome: Outcome) {
        let (l1, l2, tlb) = match kind {
            RefKind::Fetch => (&mut self.l1i, &mut self.l2_instructions, &mut self.itlb),
            RefKind::Read => (&mut self.l1d_reads, &mut self.l2_reads, &mut self.dtlb),
            RefKind::Write | RefKind::ModifyWrite => {
                (&mut self.l1d_writes, &mut self.l2_writes, &mut self.dtlb)
            }
        };
        if outcome == Outcome::HIT {
            l1.accesses += 1;
            tlb.accesses += 1;
            return;
        }
        l1.accesses += outcome.l1_accesses();
        l1.misses += outcome.l1_misses();
        l2.accesses += outcome.l1_misses();
        l2.misses += outcome.l2_misses();
        tlb.accesses += outcome.tlb_accesses();
        tlb.misses += outcome.tlb_misses();
        self.device += u64::from(outcome.is_device());
        self.stale += outcome.stale_hits();
    }

    /// The same counts as a hierarchy keeps them, without those that only the replay knows.
    pub(crate) fn of_hierarchy(counts: &Counts) -> Self {
        Counters {
            instructions: 0,
            rep_iterations: 0,
            l1i: counts.l1i.into(),
            l1d_reads: counts.l1d.reads.into(),
            l1d_writes: counts.l1d.writes.into(),
            l2_instructions: counts.l2.fetches.into(),
            l2_reads: counts.l2.reads.into(),
            l2_writes: counts.l2.writes.into(),
            itlb: counts.itlb.all.into(),
            dtlb: counts.dtlb.all.into(),
            device: counts.device.fetches + counts.device.reads + counts.device.writes,
            stale: counts.itlb.stale_hits + counts.dtlb.stale_hits,
        }
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, more: &Counters) {
        self.instructions += more.instructions;
        self.rep_iterations += more.rep_iterations;
        self.l1i += more.l1i;
        self.l1d_reads += more.l1d_reads;
        self.l1d_writes += more.l1d_writes;
        self.l2_instructions += more.l2_instructions;
        self.l2_reads += more.l2_reads;
        self.l2_writes += more.l2_writes;
        self.itlb += more.itlb;
        self.dtlb += more.dtlb;
        self.device += more.device;
        self.stale += more.stale;
    }
}

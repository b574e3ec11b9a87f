//! What happened, as numbers, and the laws that they keep.

use crate::counters::counters;
use crate::error::BrokenLaw;
use crate::machine::{Machine, WritePolicy};
use crate::semantics::Semantics;
use crate::translation::FlushCounts;

counters! {
    /// Accesses of one kind to one structure. Hits are counted where they happen, not derived.
    Tally {
        /// All accesses.
        accesses: u64,
        /// Those that found everything they touched.
        hits: u64,
        /// Those that did not.
        misses: u64,
    }
}

counters! {
    /// References as they came, before any semantics, by kind.
    References {
        /// Instruction fetches.
        fetches: u64,
        /// Data reads.
        reads: u64,
        /// Data writes, write halves of modifies included.
        writes: u64,
        /// Write halves of modifies that the semantics does not count as accesses; not in `writes`.
        folded_writes: u64,
        /// References beyond the page that they begin in and the next. The part beyond was left out.
        clipped: u64,
    }
}

counters! {
    /// References to devices: looked up in the TLB, in no cache.
    DeviceCounts {
        /// Instruction fetches.
        fetches: u64,
        /// Data reads.
        reads: u64,
        /// Data writes.
        writes: u64,
    }
}

counters! {
    /// What happened at one level of cache, in all its caches together.
    LevelCounts {
        /// Demand accesses for instruction fetches.
        fetches: Tally,
        /// Demand accesses for data reads.
        reads: Tally,
        /// Demand accesses for data writes.
        writes: Tally,
        /// Dirty lines that came down to here. Not among the accesses.
        writebacks: u64,
        /// Those whose line had gone from here in the meantime.
        writeback_misses: u64,
        /// Lines, clean or dirty, that the level above dropped into this exclusive one.
        victims: u64,
        /// Dirty lines that left for the level below or memory.
        written_on: u64,
        /// Lines dropped from the levels above because this inclusive one dropped theirs.
        back_invalidations: u64,
        /// Lines dropped because a device wrote to memory.
        device_invalidations: u64,
        /// Lines dropped because another CPU wrote to them.
        invalidations: u64,
        /// Dirty lines written back because another CPU asked for them.
        interventions: u64,
        /// Demand misses of level 1 on lines that another CPU's write had dropped.
        coherence_misses: u64,
        /// Accesses by prefetchers, of this level or above.
        prefetches: Tally,
        /// Prefetched lines that a demand access hit.
        useful_prefetches: u64,
        /// Accesses by page walks.
        walks: Tally,
    }
}

counters! {
    /// Accesses of a TLB.
    TlbCounts {
        /// The accesses.
        all: Tally,
        /// Accesses that hit an entry whose frame is not the stream's. A reference to two pages can
        /// do so on one and still miss on the other; all else are among the hits.
        stale_hits: u64,
        /// Entries that events dropped.
        flushed: u64,
    }
}

counters! {
    /// Accesses of the second-level TLB.
    StlbCounts {
        /// For instruction fetches.
        fetches: Tally,
        /// For data.
        data: Tally,
        /// Accesses that hit an entry whose frame is not the stream's.
        stale_hits: u64,
        /// Entries that events dropped.
        flushed: u64,
    }
}

counters! {
    /// Page walks.
    WalkCounts {
        /// Look-ups that no TLB answered.
        walks: u64,
        /// Those whose tables the stream does not tell; they made no references.
        unknown: u64,
        /// References that the others made.
        references: u64,
    }
}

counters! {
    /// Everything a hierarchy counts.
    Counts {
        /// References as they came.
        references: References,
        /// Those to devices.
        device: DeviceCounts,
        /// First level of cache.
        l1: LevelCounts,
        /// Second level.
        l2: LevelCounts,
        /// Third level.
        l3: LevelCounts,
        /// Instruction TLB.
        itlb: TlbCounts,
        /// Data TLB.
        dtlb: TlbCounts,
        /// Second-level TLB.
        stlb: StlbCounts,
        /// Page walks.
        walks: WalkCounts,
        /// Events that drop TLB entries.
        flushes: FlushCounts,
        /// Writes to memory by devices.
        dma_transfers: u64,
        /// Times that all caches were emptied.
        cache_flushes: u64,
    }
}

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, missed: bool) {
        self.accesses += 1;
        if missed {
            self.misses += 1;
        } else {
            self.hits += 1;
        }
    }

    #[inline]
    pub(crate) fn add_hits(&mut self, hits: u64) {
        self.accesses += hits;
        self.hits += hits;
    }

    fn check(&self, name: &str) -> Result<(), BrokenLaw> {
        let law = || format!("{name}: hits + misses = accesses");
        require(law, self.hits + self.misses, self.accesses)
    }
}

impl LevelCounts {
    /// Reads and writes together.
    #[must_use]
    pub fn data(&self) -> Tally {
        let mut data = self.reads;
        data += self.writes;
        data
    }

    /// All demand accesses together; write-backs, prefetches and walks are none.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.fetches;
        total += self.data();
        total
    }
}

impl StlbCounts {
    /// For instructions and data.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.fetches;
        total += self.data;
        total
    }
}

fn require(law: impl FnOnce() -> String, left: u64, right: u64) -> Result<(), BrokenLaw> {
    if left == right { Ok(()) } else { Err(BrokenLaw { law: law(), left, right }) }
}

impl Counts {
    /// The levels of cache, level 1 first, also those that the machine does not have.
    #[must_use]
    pub fn levels(&self) -> [&LevelCounts; Machine::MAX_LEVELS] {
        [&self.l1, &self.l2, &self.l3]
    }

    pub(crate) fn level_mut(&mut self, index: usize) -> &mut LevelCounts {
        match index {
            0 => &mut self.l1,
            1 => &mut self.l2,
            _ => &mut self.l3,
        }
    }

    /// Checks the laws that hold at every moment of every run, and so for every difference of two
    /// moments too.
    ///
    /// # Errors
    /// The first law that is broken, with the values of its sides.
    pub fn check_laws(&self, machine: &Machine) -> Result<(), BrokenLaw> {
        let same = |law: &str, left, right| require(|| law.to_owned(), left, right);
        for (number, level) in (1..).zip(self.levels()) {
            let tallies = [
                ("fetches", &level.fetches),
                ("reads", &level.reads),
                ("writes", &level.writes),
                ("prefetches", &level.prefetches),
                ("walks", &level.walks),
            ];
            for (kind, tally) in tallies {
                tally.check(&format!("l{number} {kind}"))?;
            }
        }
        let tlbs = [
            ("itlb", &self.itlb.all),
            ("dtlb", &self.dtlb.all),
            ("stlb fetches", &self.stlb.fetches),
            ("stlb data", &self.stlb.data),
        ];
        for (name, tally) in tlbs {
            tally.check(name)?;
        }
        let mut written_to = true;
        for (index, pair) in self.levels().windows(2).enumerate().take(machine.levels().len() - 1) {
            let (above, below) = (index + 1, index + 2);
            let law = |kind| format!("l{below} references for {kind} = l{above} misses");
            let [upper, lower] = [pair[0], pair[1]];
            require(|| law("fetches"), lower.fetches.accesses, upper.fetches.misses)?;
            require(|| law("reads"), lower.reads.accesses, upper.reads.misses)?;
            let data = machine.levels()[index].data();
            let goes_on = data.write_policy() == WritePolicy::Through;
            if written_to && goes_on {
                let law = format!("l{below} references for writes = l{above} writes");
                same(&law, lower.writes.accesses, upper.writes.accesses)?;
            } else {
                require(|| law("writes"), lower.writes.accesses, upper.writes.misses)?;
            }
            // Below a cache that fetches what is to be written, a write's request is a read.
            written_to &= goes_on || !data.write_allocates();
        }
        if machine.stlb().is_some() {
            let law = "stlb accesses for fetches = itlb misses";
            same(law, self.stlb.fetches.accesses, self.itlb.all.misses)?;
            same(
                "stlb accesses for data = dtlb misses",
                self.stlb.data.accesses,
                self.dtlb.all.misses,
            )?;
        }
        self.check_references(machine.semantics())
    }

    /// What came against what was looked up.
    fn check_references(&self, semantics: Semantics) -> Result<(), BrokenLaw> {
        let (came, device, l1) = (&self.references, &self.device, &self.l1);
        let pairs = [
            (
                "l1i accesses + device fetches = fetches",
                l1.fetches.accesses + device.fetches,
                came.fetches,
            ),
            ("l1d reads + device reads = reads", l1.reads.accesses + device.reads, came.reads),
            (
                "l1d writes + device writes = writes",
                l1.writes.accesses + device.writes,
                came.writes,
            ),
            ("itlb accesses = fetches", self.itlb.all.accesses, came.fetches),
            ("dtlb accesses = reads + writes", self.dtlb.all.accesses, came.reads + came.writes),
        ];
        for (law, accesses, references) in pairs {
            if semantics.counts_references() {
                require(|| law.to_owned(), accesses, references)?;
            } else if accesses < references {
                let law = format!("{law}, or more where references are split");
                return Err(BrokenLaw { law, left: accesses, right: references });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn a_lost_hit_and_a_lost_l2_reference_are_found_and_named() {
        let counting = preset::named("vee07").unwrap();
        let splitting = preset::named("peer").unwrap();
        let mut counts = Counts::default();
        counts.references.fetches = 2;
        counts.l1.fetches = Tally { accesses: 2, hits: 1, misses: 1 };
        counts.itlb.all = Tally { accesses: 2, hits: 1, misses: 0 };
        let lost_hit = counts.check_laws(&counting).unwrap_err();
        assert_eq!(lost_hit.law, "itlb: hits + misses = accesses");
        counts.itlb.all.hits = 2;
        let lost_reference = counts.check_laws(&counting).unwrap_err();
        assert_eq!((lost_reference.left, lost_reference.right), (0, 1));
        counts.l2.fetches = Tally { accesses: 1, hits: 0, misses: 1 };
        assert_eq!(counts.check_laws(&counting), Ok(()));
        counts.references.fetches = 1;
        assert!(counts.check_laws(&counting).is_err());
        assert_eq!(counts.check_laws(&splitting), Ok(()));
    }
}

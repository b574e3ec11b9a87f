//! What happened, as numbers, and the laws that they keep.

use crate::counters::counters;
use crate::error::BrokenLaw;
use crate::semantics::Semantics;

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
        /// References that went beyond the translations given with them. The part beyond was left out.
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
    /// Accesses of a data cache, by kind.
    DataCounts {
        /// Reads.
        reads: Tally,
        /// Writes.
        writes: Tally,
    }
}

counters! {
    /// Accesses of a unified cache behind split ones, by what caused them.
    UnifiedCounts {
        /// For instruction fetches.
        fetches: Tally,
        /// For data reads.
        reads: Tally,
        /// For data writes.
        writes: Tally,
        /// Dirty lines that came down from the first level. Not among the accesses.
        writebacks: u64,
        /// Write-backs of lines that had gone from here in the meantime.
        writeback_misses: u64,
        /// Dirty lines that went on to memory from here.
        memory_writebacks: u64,
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
    /// Events that drop TLB entries, by kind.
    FlushCounts {
        /// Writes to CR3.
        cr3_writes: u64,
        /// Those of the value it had.
        cr3_same_value: u64,
        /// Those that asked, by bit 63, to keep all entries.
        cr3_keeping: u64,
        /// Changes of CR4.PGE, either way.
        pge_changes: u64,
        /// Changes of CR0.PG or of CR4.PAE, PCIDE or SMEP that drop entries.
        paging_mode_changes: u64,
        /// INVLPG instructions.
        invlpg: u64,
        /// INVPCID instructions.
        invpcid: u64,
        /// Page faults.
        page_faults: u64,
    }
}

counters! {
    /// Lines dropped because a device wrote to memory.
    DmaCounts {
        /// Writes of devices.
        transfers: u64,
        /// Lines dropped from the L1 instruction cache.
        l1i_lines: u64,
        /// Lines dropped from the L1 data cache.
        l1d_lines: u64,
        /// Lines dropped from the second level.
        l2_lines: u64,
    }
}

counters! {
    /// Everything a hierarchy counts.
    Counts {
        /// References as they came.
        references: References,
        /// Those to devices.
        device: DeviceCounts,
        /// First-level instruction cache.
        l1i: Tally,
        /// First-level data cache.
        l1d: DataCounts,
        /// Second level.
        l2: UnifiedCounts,
        /// Instruction TLB.
        itlb: TlbCounts,
        /// Data TLB.
        dtlb: TlbCounts,
        /// Events that drop TLB entries.
        flushes: FlushCounts,
        /// What devices did to the caches.
        dma: DmaCounts,
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

    fn check(&self, name: &str) -> Result<(), BrokenLaw> {
        let law = || format!("{name}: hits + misses = accesses");
        require(law, self.hits + self.misses, self.accesses)
    }
}

impl DataCounts {
    /// Reads and writes together.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.reads;
        total += self.writes;
        total
    }
}

impl UnifiedCounts {
    /// All accesses together; write-backs are none.
    #[must_use]
    pub fn total(&self) -> Tally {
        let mut total = self.fetches;
        total += self.reads;
        total += self.writes;
        total
    }
}

fn require(law: impl FnOnce() -> String, left: u64, right: u64) -> Result<(), BrokenLaw> {
    if left == right { Ok(()) } else { Err(BrokenLaw { law: law(), left, right }) }
}

impl Counts {
    /// Checks the laws that hold at every moment of every run, and so for every difference of two
    /// moments too.
    ///
    /// # Errors
    /// The first law that is broken, with the values of its sides.
    pub fn check_laws(&self, semantics: Semantics) -> Result<(), BrokenLaw> {
        let (l1i, l1d, l2) = (&self.l1i, &self.l1d, &self.l2);
        l1i.check("l1i")?;
        l1d.reads.check("l1d reads")?;
        l1d.writes.check("l1d writes")?;
        l2.fetches.check("l2 fetches")?;
        l2.reads.check("l2 reads")?;
        l2.writes.check("l2 writes")?;
        self.itlb.all.check("itlb")?;
        self.dtlb.all.check("dtlb")?;

        let same = |law: &str, left, right| require(|| law.to_owned(), left, right);
        same("l2 references for fetches = l1i misses", l2.fetches.accesses, l1i.misses)?;
        same("l2 references for reads = l1d read misses", l2.reads.accesses, l1d.reads.misses)?;
        same("l2 references for writes = l1d write misses", l2.writes.accesses, l1d.writes.misses)?;

        let (came, device) = (&self.references, &self.device);
        let caches = [
            (
                "l1i accesses + device fetches = fetches",
                l1i.accesses + device.fetches,
                came.fetches,
            ),
            ("l1d reads + device reads = reads", l1d.reads.accesses + device.reads, came.reads),
            (
                "l1d writes + device writes = writes",
                l1d.writes.accesses + device.writes,
                came.writes,
            ),
            ("itlb accesses = fetches", self.itlb.all.accesses, came.fetches),
            ("dtlb accesses = reads + writes", self.dtlb.all.accesses, came.reads + came.writes),
        ];
        for (law, accesses, references) in caches {
            if semantics.counts_references() {
                same(law, accesses, references)?;
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

    #[test]
    fn a_lost_hit_and_a_lost_l2_reference_are_found_and_named() {
        let mut counts = Counts::default();
        counts.references.fetches = 2;
        counts.l1i = Tally { accesses: 2, hits: 1, misses: 1 };
        counts.itlb.all = Tally { accesses: 2, hits: 1, misses: 0 };
        let lost_hit = counts.check_laws(Semantics::PerReference).unwrap_err();
        assert_eq!(lost_hit.law, "itlb: hits + misses = accesses");
        counts.itlb.all.hits = 2;
        let lost_reference = counts.check_laws(Semantics::PerReference).unwrap_err();
        assert_eq!((lost_reference.left, lost_reference.right), (0, 1));
        counts.l2.fetches = Tally { accesses: 1, hits: 0, misses: 1 };
        assert_eq!(counts.check_laws(Semantics::PerReference), Ok(()));
        counts.references.fetches = 1;
        assert!(counts.check_laws(Semantics::PerReference).is_err());
        assert_eq!(counts.check_laws(Semantics::SplitDemandOnly), Ok(()));
    }
}

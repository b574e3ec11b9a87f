//! What the oracle counts; the names are those of the fast models' counts.

/// Accesses of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accesses: u64,
    pub(crate) misses: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, missed: bool) {
        self.accesses += 1;
        self.misses += u64::from(missed);
    }
}

/// One level of caches, all of its copies together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) fetches: Tally,
    pub(crate) reads: Tally,
    pub(crate) writes: Tally,
    pub(crate) walks: Tally,
    pub(crate) prefetches: Tally,
    pub(crate) useful_prefetches: u64,
    pub(crate) writebacks: u64,
    pub(crate) writeback_misses: u64,
    pub(crate) victims: u64,
    pub(crate) written_on: u64,
    pub(crate) back_invalidations: u64,
    pub(crate) device_invalidations: u64,
    pub(crate) invalidations: u64,
    pub(crate) interventions: u64,
    pub(crate) coherence_misses: u64,
}

/// First-level TLB of one kind, all CPUs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tlb {
    pub(crate) all: Tally,
    pub(crate) stale_hits: u64,
    pub(crate) flushed: u64,
}

/// Second-level TLB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stlb {
    pub(crate) fetches: Tally,
    pub(crate) data: Tally,
    pub(crate) stale_hits: u64,
    pub(crate) flushed: u64,
}

/// Page walks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Walks {
    pub(crate) walks: u64,
    pub(crate) unknown: u64,
    pub(crate) references: u64,
}

/// References, or those to devices, as they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) fetches: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

/// Events that concern TLBs, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flushes {
    pub(crate) cr3_writes: u64,
    pub(crate) cr3_same_value: u64,
    pub(crate) cr3_keeping: u64,
    pub(crate) pge_changes: u64,
    pub(crate) paging_mode_changes: u64,
    pub(crate) invlpg: u64,
    pub(crate) invpcid: u64,
    pub(crate) page_faults: u64,
    pub(crate) switches: u64,
    pub(crate) explicit_flushes: u64,
    pub(crate) guest_entries: u64,
    pub(crate) guest_exits: u64,
    pub(crate) guest_flushes: u64,
    pub(crate) others: u64,
}

/// Everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) references: Kinds,
    pub(crate) folded_writes: u64,
    pub(crate) clipped: u64,
    pub(crate) device: Kinds,
    pub(crate) levels: [Level; 3],
    pub(crate) itlb: Tlb,
    pub(crate) dtlb: Tlb,
    pub(crate) stlb: Stlb,
    pub(crate) walks: Walks,
    pub(crate) flushes: Flushes,
    pub(crate) dma_transfers: u64,
    pub(crate) cache_flushes: u64,
}

/// What one reference did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) accesses: [u64; 3],
    pub(crate) misses: [u64; 3],
    pub(crate) tlb_accesses: u64,
    pub(crate) tlb_misses: u64,
    pub(crate) stlb_accesses: u64,
    pub(crate) stlb_misses: u64,
    pub(crate) stale_hits: u64,
    pub(crate) walks: u64,
    pub(crate) walk_accesses: [u64; 3],
    pub(crate) walk_misses: [u64; 3],
    pub(crate) device: bool,
}

/// Every count with its name, in the same order for all.
pub(crate) fn named(counts: &Counts) -> Vec<(String, u64)> {
    let mut path: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut level = 0;
    for line in format!("{counts:#?}").lines() {
        let line = line.trim().trim_end_matches(',');
        match line.split_once(": ") {
            Some((name, value)) if value.ends_with(['{', '[']) => path.push(name.to_owned()),
            Some((name, value)) => {
                let name = format!("{}.{name}", path[1..].join("."));
                found.push((name, value.parse().unwrap()));
            }
            None if line == "Level {" => {
                level += 1;
                path.push(level.to_string());
            }
            None if line.ends_with('{') => path.push(String::new()),
            None => {
                path.pop();
            }
        }
    }
    found
}

//! What the fast models return, in the oracle's types.

use crate::counts::{Counts, Flushes, Kinds, Level, Outcome, Stlb, Tally, Tlb, Walks};

pub(crate) fn outcome_of(outcome: strata_cachemodel::Outcome) -> Outcome {
    Outcome {
        accesses: outcome.accesses.map(u64::from),
        misses: outcome.misses.map(u64::from),
        tlb_accesses: u64::from(outcome.tlb_accesses),
        tlb_misses: u64::from(outcome.tlb_misses),
        stlb_accesses: u64::from(outcome.stlb_accesses),
        stlb_misses: u64::from(outcome.stlb_misses),
        stale_hits: u64::from(outcome.stale_hits),
        walks: u64::from(outcome.walks),
        walk_accesses: outcome.walk_accesses.map(u64::from),
        walk_misses: outcome.walk_misses.map(u64::from),
        device: outcome.device,
    }
}

fn tally_of(tally: strata_cachemodel::Tally) -> Tally {
    assert_eq!(tally.hits + tally.misses, tally.accesses);
    Tally { accesses: tally.accesses, misses: tally.misses }
}

fn level_of(level: strata_cachemodel::LevelCounts) -> Level {
    Level {
        fetches: tally_of(level.fetches),
        reads: tally_of(level.reads),
        writes: tally_of(level.writes),
        walks: tally_of(level.walks),
        prefetches: tally_of(level.prefetches),
        useful_prefetches: level.useful_prefetches,
        writebacks: level.writebacks,
        writeback_misses: level.writeback_misses,
        victims: level.victims,
        written_on: level.written_on,
        back_invalidations: level.back_invalidations,
        device_invalidations: level.device_invalidations,
        invalidations: level.invalidations,
        interventions: level.interventions,
        coherence_misses: level.coherence_misses,
    }
}

pub(crate) fn counts_of(counts: strata_cachemodel::Counts) -> Counts {
    let tlb = |tlb: strata_cachemodel::TlbCounts| Tlb {
        all: tally_of(tlb.all),
        stale_hits: tlb.stale_hits,
        flushed: tlb.flushed,
    };
    let flushes = counts.flushes;
    Counts {
        references: Kinds {
            fetches: counts.references.fetches,
            reads: counts.references.reads,
            writes: counts.references.writes,
        },
        folded_writes: counts.references.folded_writes,
        clipped: counts.references.clipped,
        device: Kinds {
            fetches: counts.device.fetches,
            reads: counts.device.reads,
            writes: counts.device.writes,
        },
        levels: [counts.l1, counts.l2, counts.l3].map(level_of),
        itlb: tlb(counts.itlb),
        dtlb: tlb(counts.dtlb),
        stlb: Stlb {
            fetches: tally_of(counts.stlb.fetches),
            data: tally_of(counts.stlb.data),
            stale_hits: counts.stlb.stale_hits,
            flushed: counts.stlb.flushed,
        },
        walks: Walks {
            walks: counts.walks.walks,
            unknown: counts.walks.unknown,
            references: counts.walks.references,
        },
        flushes: Flushes {
            cr3_writes: flushes.cr3_writes,
            cr3_same_value: flushes.cr3_same_value,
            cr3_keeping: flushes.cr3_keeping,
            pge_changes: flushes.pge_changes,
            paging_mode_changes: flushes.paging_mode_changes,
            invlpg: flushes.invlpg,
            invpcid: flushes.invpcid,
            page_faults: flushes.page_faults,
            switches: flushes.switches,
            explicit_flushes: flushes.explicit_flushes,
            guest_entries: flushes.guest_entries,
            guest_exits: flushes.guest_exits,
            guest_flushes: flushes.guest_flushes,
            others: flushes.others,
        },
        dma_transfers: counts.dma_transfers,
        cache_flushes: counts.cache_flushes,
    }
}

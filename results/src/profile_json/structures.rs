//! Counts of caches, TLBs and page walks as JSON.

use crate::known::Known;
use serde::Serialize;
use strata_cachemodel::{LevelCounts, Machine};
use strata_sim::{Counters, Tally};

#[derive(Serialize)]
pub(crate) struct Structures {
    l1i: Option<Accesses>,
    l1d: Option<DataAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2: Option<UnifiedAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3: Option<UnifiedAccesses>,
    itlb: Option<TlbAccesses>,
    dtlb: Option<TlbAccesses>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stlb: Option<TlbAccesses>,
    page_walks: Walks,
    /// By the machine's cost model, which adds what processors overlap; null without one.
    estimated_cycles: Option<f64>,
    vm_exits: Option<u64>,
}

#[derive(Serialize)]
struct Walks {
    walks: u64,
    accesses: Option<u64>,
    memory_accesses: Option<u64>,
}

#[derive(Serialize)]
struct TlbAccesses {
    #[serde(flatten)]
    all: Accesses,
    /// Known of the whole only.
    #[serde(skip_serializing_if = "Option::is_none")]
    flushed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_hits: Option<u64>,
}

#[derive(Serialize)]
struct Accesses {
    accesses: u64,
    hits: u64,
    misses: u64,
    mpki: Option<f64>,
}

#[derive(Serialize)]
struct DataAccesses {
    #[serde(flatten)]
    all: Accesses,
    reads: u64,
    writes: u64,
    read_misses: u64,
    write_misses: u64,
}

#[derive(Serialize)]
struct UnifiedAccesses {
    #[serde(flatten)]
    all: Accesses,
    inst_misses: Option<u64>,
    read_misses: Option<u64>,
    write_misses: Option<u64>,
    /// Known of the whole only: a line is written back long after the function that dirtied it.
    #[serde(flatten)]
    traffic: Option<Traffic>,
}

/// What went on at a level besides demand accesses.
#[derive(Serialize)]
pub(super) struct Traffic {
    writebacks: u64,
    writeback_misses: u64,
    written_on: u64,
    memory_writebacks: u64,
    victims: u64,
    back_invalidations: u64,
    device_invalidations: u64,
    invalidations: u64,
    interventions: u64,
    coherence_misses: u64,
    prefetches: u64,
    prefetch_misses: u64,
    useful_prefetches: u64,
    walk_accesses: u64,
    walk_misses: u64,
}

impl Accesses {
    fn new(tally: Tally, counters: &Counters) -> Self {
        Accesses {
            accesses: tally.accesses,
            hits: tally.hits(),
            misses: tally.misses,
            mpki: counters.per_thousand(tally.misses),
        }
    }
}

impl Traffic {
    pub(super) fn new(level: &LevelCounts, is_last: bool) -> Self {
        Traffic {
            writebacks: level.writebacks,
            writeback_misses: level.writeback_misses,
            written_on: level.written_on,
            memory_writebacks: if is_last { level.written_on } else { 0 },
            victims: level.victims,
            back_invalidations: level.back_invalidations,
            device_invalidations: level.device_invalidations,
            invalidations: level.invalidations,
            interventions: level.interventions,
            coherence_misses: level.coherence_misses,
            prefetches: level.prefetches.accesses,
            prefetch_misses: level.prefetches.misses,
            useful_prefetches: level.useful_prefetches,
            walk_accesses: level.walks.accesses,
            walk_misses: level.walks.misses,
        }
    }
}

impl Structures {
    /// Of the whole machine.
    pub(crate) fn of_machine(
        total: &Counters,
        machine: &Machine,
        counts: &strata_cachemodel::Counts,
        known: Known,
    ) -> Self {
        let mut structures = Structures::new(total, machine, known);
        let depth = machine.levels().len();
        let traffic = |index: usize| Some(Traffic::new(counts.levels()[index], index + 1 == depth));
        structures.l2.iter_mut().for_each(|l2| l2.traffic = traffic(1));
        structures.l3.iter_mut().for_each(|l3| l3.traffic = traffic(2));
        let (itlb, dtlb, stlb) = (&counts.itlb, &counts.dtlb, &counts.stlb);
        for (tlb, flushed, stale_hits) in [
            (&mut structures.itlb, itlb.flushed, itlb.stale_hits),
            (&mut structures.dtlb, dtlb.flushed, dtlb.stale_hits),
            (&mut structures.stlb, stlb.flushed, stlb.stale_hits),
        ] {
            let Some(tlb) = tlb else { continue };
            tlb.flushed = known.events().then_some(flushed);
            tlb.stale_hits = known.translations().then_some(stale_hits);
        }
        structures
    }

    pub(crate) fn new(counters: &Counters, machine: &Machine, known: Known) -> Self {
        let instructions = |number: u64| known.instructions().then_some(number);
        let data = |number: u64| known.data().then_some(number);
        let walked = |number: u64| known.walk_references().then_some(number);
        let tlb = |tally| TlbAccesses {
            all: Accesses::new(tally, counters),
            flushed: None,
            stale_hits: None,
        };
        let [l1, ..] = &counters.levels;
        let lower = |index: usize| {
            machine.levels().get(index)?;
            let level = &counters.levels[index];
            Some(UnifiedAccesses {
                all: Accesses::new(level.all(), counters),
                inst_misses: instructions(level.instructions.misses),
                read_misses: data(level.reads.misses),
                write_misses: data(level.writes.misses),
                traffic: None,
            })
        };
        Structures {
            l1i: known.instructions().then(|| Accesses::new(counters.l1i(), counters)),
            l1d: known.data().then(|| DataAccesses {
                all: Accesses::new(counters.l1d(), counters),
                reads: l1.reads.accesses,
                writes: l1.writes.accesses,
                read_misses: l1.reads.misses,
                write_misses: l1.writes.misses,
            }),
            l2: lower(1),
            l3: lower(2),
            itlb: known.instructions().then(|| tlb(counters.itlb)),
            dtlb: known.data().then(|| tlb(counters.dtlb)),
            stlb: machine.stlb().map(|_| tlb(counters.stlb)),
            page_walks: Walks {
                walks: counters.walks,
                accesses: walked(counters.walk_accesses()),
                memory_accesses: walked(counters.walk_memory_accesses(machine.levels().len())),
            },
            estimated_cycles: known.cycles(counters, machine),
            vm_exits: known.events().then_some(counters.exits),
        }
    }
}

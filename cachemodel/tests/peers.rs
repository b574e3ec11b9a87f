//! Counts of other simulators on a real stream, reproduced to the last miss.
//!
//! `stream1-first1M` holds the first million references of sqlite3; the counts beside it are what
//! DynamoRIO drcachesim, Dinero IV and a TLB simulator print for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ref64;

use ref64::{FIRST_MILLION, Reference};
use strata_cachemodel::{Counts, Hierarchy, Machine, Mapping, preset};

fn replay(references: &[Reference], overrides: &[(&str, &str)]) -> Counts {
    run(references, overrides).counts()
}

fn run(references: &[Reference], overrides: &[(&str, &str)]) -> Hierarchy {
    let machine: Machine = preset::named("peer").unwrap();
    let machine = machine.with_overrides(overrides.iter().copied()).unwrap();
    let mut hierarchy = Hierarchy::new(&machine);
    for reference in references {
        let next_page = Mapping::identity(reference.address + 4096);
        hierarchy.access(
            reference.kind,
            reference.address,
            reference.bytes,
            Mapping::identity(reference.address),
            Some(next_page),
        );
    }
    hierarchy.check_laws().unwrap();
    hierarchy
}

fn first_million() -> Vec<Reference> {
    ref64::read(FIRST_MILLION)
}

#[test]
fn split_demand_only_equals_drcachesim() {
    let counts = replay(&first_million(), &[("semantics", "split-demand-only")]);
    assert_eq!((counts.l1i.accesses, counts.l1i.misses), (766_102, 931));
    assert_eq!((counts.l1d.reads.accesses, counts.l1d.reads.misses), (195_588, 5748));
    assert_eq!((counts.l1d.writes.accesses, counts.l1d.writes.misses), (71_184, 1602));
    assert_eq!(counts.l2.total().misses, 6805);
    assert_eq!(counts.l2.writebacks, 0);
}

#[test]
fn split_writeback_equals_dinero() {
    let hierarchy = run(&first_million(), &[("semantics", "split-writeback")]);
    let counts = hierarchy.counts();
    assert_eq!(counts.l1i.misses, 931);
    assert_eq!((counts.l1d.reads.misses, counts.l1d.writes.misses), (5748, 1602));
    // Dinero counts together what the first level asks for and what it writes back, and at the end
    // of the stream it writes back everything.
    let written_back = counts.l2.writebacks + hierarchy.dirty_l1d_lines();
    assert_eq!(counts.l2.total().accesses + written_back, 10_278);
    assert_eq!((counts.l2.total().misses, counts.l2.writeback_misses), (6805, 0));
}

#[test]
fn split_tlbs_equal_drcachesims_tlb_simulator() {
    let references = first_million();
    let full = replay(&references, &[]);
    assert_eq!((full.itlb.all.misses, full.dtlb.all.misses), (57, 260));
    let four_ways = replay(&references, &[("itlb.ways", "4"), ("dtlb.ways", "4")]);
    assert_eq!((four_ways.itlb.all.misses, four_ways.dtlb.all.misses), (57, 466));
    assert_eq!(full.itlb.stale_hits + full.dtlb.stale_hits, 0);
}

/// The long stream is too large to be kept here. `STRATA_STREAM1` names it where there is one.
#[test]
fn the_long_stream_gives_every_peers_counts() {
    let Some(path) = std::env::var_os("STRATA_STREAM1") else {
        eprintln!("skipped: STRATA_STREAM1 does not name stream1.ref64.zst");
        return;
    };
    let references = ref64::read(&std::fs::read(path).unwrap());
    assert_eq!(references.len(), 68_004_376);

    let split = replay(&references, &[("semantics", "split-demand-only")]);
    let l2 = split.l2;
    assert_eq!(split.l1i.misses, 464_895);
    assert_eq!((split.l1d.reads.misses, split.l1d.writes.misses), (120_572, 98_671));
    assert_eq!((l2.total().accesses, l2.total().misses), (684_138, 97_286));
    assert_eq!((l2.fetches.misses, l2.reads.misses, l2.writes.misses), (8379, 12_999, 75_908));
    assert_eq!((split.itlb.all.accesses, split.itlb.all.misses), (43_152_784, 1506));
    assert_eq!((split.dtlb.all.accesses, split.dtlb.all.misses), (24_854_883, 12_684));

    let four_ways = replay(&references, &[("itlb.ways", "4"), ("dtlb.ways", "4")]);
    assert_eq!((four_ways.itlb.all.misses, four_ways.dtlb.all.misses), (30_114, 25_611));

    let writeback = run(&references, &[("semantics", "split-writeback")]);
    assert_eq!(writeback.dirty_l1d_lines(), 279);
    let l2 = writeback.counts().l2;
    assert_eq!((l2.writebacks, l2.writeback_misses), (124_007, 94));
    assert_eq!((l2.fetches.misses, l2.reads.misses + l2.writes.misses), (8379, 88_820));

    let cachegrind = replay(&references, &[("semantics", "cachegrind")]);
    let (l1d, l2) = (cachegrind.l1d, cachegrind.l2);
    assert_eq!((cachegrind.l1i.accesses, cachegrind.l1i.misses), (43_149_627, 462_691));
    assert_eq!((l1d.reads.accesses, l1d.reads.misses), (11_361_431, 120_530));
    assert_eq!((l1d.writes.accesses, l1d.writes.misses), (13_110_231, 98_638));
    assert_eq!((l2.fetches.misses, l2.reads.misses, l2.writes.misses), (8257, 12_973, 75_896));

    let first_byte = replay(&references, &[("semantics", "first-byte")]);
    assert_eq!(first_byte.l1i.misses, 441_970);
    assert_eq!((first_byte.l1d.reads.misses, first_byte.l1d.writes.misses), (119_692, 98_528));
    assert_eq!(first_byte.l2.total().misses, 97_207);
}

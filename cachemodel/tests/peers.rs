//! Counts of other simulators on real streams, reproduced to the last miss: every key of
//! `data/expected.json`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ref64/expected.rs"]
mod expected;
mod ref64;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use expected::{AccessesAndMisses, Counted};
use strata_cachemodel::{Hierarchy, Identity, Tally};

fn pair(tally: Tally) -> AccessesAndMisses {
    (tally.accesses, tally.misses)
}

fn counted(hierarchy: &Hierarchy) -> Counted {
    hierarchy.check_laws().unwrap();
    let counts = hierarchy.counts();
    let (l1, l2, stlb) = (counts.l1, counts.l2, counts.stlb);
    let stale = counts.itlb.stale_hits + counts.dtlb.stale_hits + stlb.stale_hits;
    assert_eq!(stale, 0, "a stream without page tables has no stale translation");
    let references = counts.references;
    Counted {
        references: references.fetches
            + references.reads
            + references.writes
            + references.folded_writes,
        folded_writes: references.folded_writes,
        first: [l1.fetches, l1.reads, l1.writes].map(pair),
        second: [l2.fetches, l2.reads, l2.writes].map(pair),
        writebacks: l2.writebacks,
        writeback_misses: l2.writeback_misses,
        dirty_at_end: hierarchy.dirty_l1_lines(),
        itlb: pair(counts.itlb.all),
        dtlb: pair(counts.dtlb.all),
        stlb: (stlb.fetches.accesses + stlb.data.accesses, stlb.fetches.misses + stlb.data.misses),
    }
}

fn hold_against_peers(stream: &str, compressed: impl Read) {
    let runs = 0..expected::RUNS.len();
    let mut hierarchies: Vec<_> = runs.map(|run| Hierarchy::new(&expected::machine(run))).collect();
    ref64::read_parts(compressed, |references| {
        for hierarchy in &mut hierarchies {
            for reference in references {
                let ref64::Reference { kind, address, bytes } = *reference;
                hierarchy.access(kind, address, bytes, &mut Identity);
            }
        }
    });
    expected::check(stream, &hierarchies.iter().map(counted).collect::<Vec<_>>());
}

#[test]
fn every_peers_counts_of_the_first_million_references_are_reproduced() {
    hold_against_peers("stream1_first1M", ref64::FIRST_MILLION);
}

/// The long stream is too large to be kept here: it is where `STRATA_STREAM1` says, or in a folder
/// beside the repository's.
fn long_stream() -> PathBuf {
    std::env::var_os("STRATA_STREAM1").map_or_else(
        || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            root.join("../shared/peer-counts/stream1.ref64.zst")
        },
        PathBuf::from,
    )
}

#[test]
fn every_peers_counts_of_the_long_stream_are_reproduced() {
    let path = long_stream();
    match File::open(&path) {
        Ok(file) => hold_against_peers("stream1", file),
        Err(error) => eprintln!(
            "SKIPPED: no long stream ({}: {error}); set STRATA_STREAM1 to stream1.ref64.zst",
            path.display(),
        ),
    }
}

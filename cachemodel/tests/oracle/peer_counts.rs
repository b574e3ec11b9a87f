//! The oracle itself, held against what other simulators count.

use strata_cachemodel::Identity;

use crate::counts::{Counts, Tally};
use crate::expected::{self, AccessesAndMisses, Counted};
use crate::hierarchy::Oracle;
use crate::ref64;

fn pair(tally: Tally) -> AccessesAndMisses {
    (tally.accesses, tally.misses)
}

fn counted(oracle: &Oracle) -> Counted {
    let Counts { references, folded_writes, levels, itlb, dtlb, stlb, .. } = oracle.counts();
    let of_level =
        |level: usize| [levels[level].fetches, levels[level].reads, levels[level].writes].map(pair);
    Counted {
        references: references.fetches + references.reads + references.writes + folded_writes,
        folded_writes: *folded_writes,
        first: of_level(0),
        second: of_level(1),
        writebacks: levels[1].writebacks,
        writeback_misses: levels[1].writeback_misses,
        dirty_at_end: oracle.memory.dirty_first_level_lines(),
        itlb: pair(itlb.all),
        dtlb: pair(dtlb.all),
        stlb: (stlb.fetches.accesses + stlb.data.accesses, stlb.fetches.misses + stlb.data.misses),
    }
}

fn hold_against_peers(stream: &str, compressed: impl std::io::Read) {
    let mut oracles: Vec<_> =
        (0..expected::RUNS.len()).map(|run| Oracle::new(&expected::machine(run))).collect();
    ref64::read_parts(compressed, |references| {
        for oracle in &mut oracles {
            for reference in references {
                let ref64::Reference { kind, address, bytes } = *reference;
                oracle.access(kind, address, bytes, &mut Identity);
            }
        }
    });
    expected::check(stream, &oracles.iter().map(counted).collect::<Vec<_>>());
}

#[test]
fn the_oracle_counts_what_the_peers_count_in_the_first_million() {
    hold_against_peers("stream1_first1M", ref64::FIRST_MILLION);
}

#[test]
#[ignore = "takes many minutes; STRATA_STREAM1 names stream1.ref64.zst"]
fn the_oracle_counts_what_the_peers_count_in_the_long_stream() {
    let path = std::env::var_os("STRATA_STREAM1").expect("STRATA_STREAM1 names the stream");
    hold_against_peers("stream1", std::fs::File::open(path).unwrap());
}

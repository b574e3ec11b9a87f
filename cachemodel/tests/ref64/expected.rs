//! What other simulators count in the peers' streams, and by which settings; see `data/README.md`.

use serde_json::Value;
use strata_cachemodel::{Machine, preset};

/// The settings whose counts answer every key, as changes of the machine `peer`.
pub(crate) const RUNS: [&[(&str, &str)]; 7] = [
    &[("semantics", "split-demand-only"), ("stlb.entries", "1024"), ("stlb.ways", "4")],
    &[
        ("semantics", "split-writeback"),
        ("itlb.ways", "4"),
        ("dtlb.ways", "4"),
        ("stlb.entries", "1024"),
        ("stlb.ways", "4"),
    ],
    &[("semantics", "cachegrind")],
    &[("semantics", "first-byte")],
    &[("semantics", "split-demand-only"), ("l1d.write", "through")],
    ENORMOUS,
    &[ENORMOUS[0], ENORMOUS[1], ENORMOUS[2], ("semantics", "first-byte")],
];

/// So large that each line misses once.
const ENORMOUS: &[(&str, &str)] =
    &[("l1i.size", "64MiB"), ("l1d.size", "64MiB"), ("l2.size", "128MiB")];

/// The machine of a run.
pub(crate) fn machine(run: usize) -> Machine {
    let peer = preset::named("peer").expect("there is such a preset");
    peer.with_overrides(RUNS[run].iter().copied()).expect("it can exist")
}

/// Accesses and misses.
pub(crate) type AccessesAndMisses = (u64, u64);

/// What a run counted, under names common to fast models and oracle.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) references: u64,
    pub(crate) folded_writes: u64,
    /// Level 1: of fetches, reads and writes.
    pub(crate) first: [AccessesAndMisses; 3],
    /// Level 2, by what caused them.
    pub(crate) second: [AccessesAndMisses; 3],
    pub(crate) writebacks: u64,
    pub(crate) writeback_misses: u64,
    pub(crate) dirty_at_end: u64,
    pub(crate) itlb: AccessesAndMisses,
    pub(crate) dtlb: AccessesAndMisses,
    pub(crate) stlb: AccessesAndMisses,
}

/// Checks every key of a stream's section of `expected.json` against the counts of `RUNS`, in
/// their order.
pub(crate) fn check(stream: &str, counted: &[Counted]) {
    let expected: Value =
        serde_json::from_str(include_str!("../data/expected.json")).expect("expected.json is JSON");
    let mut compared = 0;
    for (group, values) in expected[stream].as_object().expect("the stream has a section") {
        let group = group.split(" (").next().unwrap_or_default();
        compare(stream, &[group], values, counted, &mut compared);
    }
    assert!(compared > 10, "{stream}: only {compared} numbers");
}

fn compare(stream: &str, path: &[&str], value: &Value, counted: &[Counted], compared: &mut u32) {
    if let Some(values) = value.as_object() {
        for (key, value) in values {
            compare(stream, &[path, &[key.as_str()]].concat(), value, counted, compared);
        }
    } else if let Some(number) = value.as_u64() {
        assert_eq!(answer(path, counted), number, "{stream}: {path:?}");
        *compared += 1;
    } else {
        assert!(matches!(path, ["file" | "sha256_uncompressed"]), "{stream}: {path:?} is unknown");
    }
}

fn misses(parts: &[AccessesAndMisses]) -> u64 {
    parts.iter().map(|(_, misses)| misses).sum()
}

fn accesses(parts: &[AccessesAndMisses]) -> u64 {
    parts.iter().map(|(accesses, _)| accesses).sum()
}

/// The count that a key of `expected.json` stands for.
fn answer(path: &[&str], counted: &[Counted]) -> u64 {
    let [demand, writeback, cachegrind, first_byte, through, enormous, enormous_first_byte] =
        counted
    else {
        panic!("one count for each run")
    };
    let of_kind = |kind: &str| match kind {
        "i" => 0,
        "r" => 1,
        "w" => 2,
        other => panic!("{other} is no kind"),
    };
    match *path {
        ["refs"] => demand.references,
        ["ifetch"] => first_byte.first[0].0,
        ["reads"] => first_byte.first[1].0,
        ["writes"] => first_byte.first[2].0,
        ["modify_pairs"] => cachegrind.folded_writes,
        ["line_touches", kind] => demand.first[of_kind(kind)].0,
        ["straddle64", kind] => demand.first[of_kind(kind)].0 - first_byte.first[of_kind(kind)].0,
        ["unique_lines", "i"] => enormous.first[0].1,
        ["unique_lines", "d"] => misses(&enormous.first[1..]),
        // Unlike those of one side, these are the lines of first bytes.
        ["unique_lines", "all"] => misses(&enormous_first_byte.second),
        ["write_through_to_l2", "l2_miss"] => misses(&through.second),
        ["tlb_4k", "itlb64_fa_acc"] => demand.itlb.0,
        ["tlb_4k", "itlb64_fa_miss"] => demand.itlb.1,
        ["tlb_4k", "dtlb64_fa_acc"] => demand.dtlb.0,
        ["tlb_4k", "dtlb64_fa_miss"] => demand.dtlb.1,
        ["tlb_4k", "itlb64_4w_miss"] => writeback.itlb.1,
        ["tlb_4k", "dtlb64_4w_miss"] => writeback.dtlb.1,
        ["tlb_4k", "drcachesim_stlb1024_4w", "after_fa64_access"] => demand.stlb.0,
        ["tlb_4k", "drcachesim_stlb1024_4w", "after_fa64_miss"] => demand.stlb.1,
        ["tlb_4k", "drcachesim_stlb1024_4w", "after_4w64_miss"] => writeback.stlb.1,
        ["split_demand_only", key] => cache_answer(key, demand),
        ["split_writeback" | "dinero_v8", key] => cache_answer(key, writeback),
        ["cachegrind_semantics", key] => cache_answer(key, cachegrind),
        ["first_byte_only", key] => cache_answer(key, first_byte),
        _ => panic!("{path:?} is unknown"),
    }
}

fn cache_answer(key: &str, counted: &Counted) -> u64 {
    let Counted { first, second, .. } = counted;
    match key {
        "l1i_acc" | "i_refs" => first[0].0,
        "l1d_rd_acc" | "d_rd" => first[1].0,
        "l1d_wr_acc" | "d_wr" => first[2].0,
        "l1i_miss" | "i1_miss" => first[0].1,
        "l1d_rd_miss" | "d1_rd_miss" => first[1].1,
        "l1d_wr_miss" | "d1_wr_miss" => first[2].1,
        "l2_access" => accesses(second),
        "l2_miss" => misses(second),
        "l2_miss_from_i" | "ll_i_miss" => second[0].1,
        "l2_miss_from_rd" | "ll_rd_miss" => second[1].1,
        "l2_miss_from_wr" | "ll_wr_miss" => second[2].1,
        "l2_miss_from_d_fetch" => second[1].1 + second[2].1,
        // What is dirty at the end of the stream is not written back here; Dinero writes it back.
        "l1d_dirty_victims" => counted.writebacks,
        "l1d_dirty_at_end" => counted.dirty_at_end,
        "l2_miss_from_writeback" | "l2_wb_miss" => counted.writeback_misses,
        "l2_miss_total" => misses(second) + counted.writeback_misses,
        // Dinero counts together what level 1 asks for and what it writes back.
        "l2_fetches" => accesses(second) + counted.writebacks + counted.dirty_at_end,
        other => panic!("{other} is unknown"),
    }
}

//! A replay in stretches finds what a replay from end to end finds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use strata_cachemodel::Machine;
use strata_sim::{
    CaptureNames, Extent, InStretches, Nameless, Namer, Profile, Replay, for_each_batch,
    replay_in_stretches, why_not_in_stretches,
};
use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::{IndexedTrace, TraceReader};

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx")
}

fn names() -> CaptureNames {
    CaptureNames::open(&sample(), &CaptureManifest::load(&sample()).unwrap()).unwrap()
}

fn trace() -> IndexedTrace {
    IndexedTrace::open(&sample().join("trace.strata")).unwrap()
}

fn from_end_to_end<N: Namer>(machine: &Machine, namer: N, extent: &Extent) -> Profile {
    let reader = TraceReader::open(&sample().join("trace.strata")).unwrap();
    let (replay, _) = for_each_batch(
        reader,
        |state| Replay::new(machine, namer, state, extent.clone()),
        |replay, batch| {
            replay.batch(batch);
            !replay.is_done()
        },
    )
    .unwrap();
    replay.finish().unwrap().0
}

fn vee07(overrides: &[(&str, &str)]) -> Machine {
    Machine::load("vee07").unwrap().with_overrides(overrides.iter().copied()).unwrap()
}

fn compare<N: Namer + Send>(
    machine: &Machine,
    extent: &Extent,
    threads: usize,
    names: impl Fn() -> N,
) -> InStretches {
    let expected = from_end_to_end(machine, names(), extent);
    let (found, _) =
        replay_in_stretches(&trace(), machine, names(), extent, threads, |_| {}).unwrap();
    assert_eq!(found.profile.counts, expected.counts, "{threads} threads, {extent:?}");
    assert_eq!(found.profile.remarks, expected.remarks);
    let rows = |profile: &Profile| profile.rows.iter().map(|row| row.function.clone()).collect();
    let (order, expected_order): (Vec<_>, Vec<_>) = (rows(&found.profile), rows(&expected));
    assert_eq!(order, expected_order, "{threads} threads, {extent:?}");
    for (row, expected) in found.profile.rows.iter().zip(&expected.rows) {
        assert_eq!(row, expected, "{threads} threads, {extent:?}");
    }
    found
}

#[test]
fn stretches_find_what_the_whole_finds_function_by_function() {
    let extent = Extent { range: 0..5_000_000, warm_up: 0 };
    for threads in [1, 2, 5] {
        let found = compare(&vee07(&[]), &extent, threads, names);
        let [stretches, repeated] = found.stretches;
        assert!(stretches >= 4 && repeated == 0, "{stretches} stretches, {repeated} repeated");
    }
}

#[test]
fn ranges_and_warm_ups_may_begin_and_end_anywhere() {
    let chunk = trace().chunks()[2].before.instructions;
    for (range, warm_up) in [
        (1_500_000..4_200_000, 0),
        (500_000..4_200_000, 1_700_000),
        (500_000..4_200_000, 600_000),
        (chunk..chunk + 1_200_000, 0),
        (chunk + 1..chunk + 1_200_000, 10),
        (chunk - 1..chunk + 1, 0),
    ] {
        compare(&vee07(&[]), &Extent { range, warm_up }, 3, || Nameless);
    }
}

#[test]
fn other_schemes_sizes_and_semantics_are_as_exact() {
    let extent = Extent { range: 0..3_500_000, warm_up: 0 };
    for overrides in [
        &[("tags", "none"), ("l2.replacement", "random")][..],
        &[("tags", "global-hypervisor"), ("dtlb.entries", "1024")],
        &[("tags", "pcid"), ("dtlb.entries", "512"), ("dtlb.ways", "4")],
        &[("semantics", "split-writeback"), ("l1d.size", "64KiB"), ("l1d.ways", "16")],
        &[("semantics", "split-demand-only"), ("l2.replacement", "tree-plru")],
    ] {
        compare(&vee07(overrides), &extent, 2, || Nameless);
    }
}

#[test]
fn a_machine_that_does_not_forget_is_refused_with_the_reason() {
    for overrides in
        [&[("l1d.replacement", "tree-plru")][..], &[("tags", "vpid")], &[("walk.memory", "l2")]]
    {
        let machine = vee07(overrides);
        let why = why_not_in_stretches(&machine, &trace()).expect("it cannot be");
        let extent = Extent::default();
        let refused = replay_in_stretches(&trace(), &machine, Nameless, &extent, 2, |_| {});
        let Err(refused) = refused else { panic!("it was replayed") };
        let message = refused.to_string();
        assert!(message.contains(why), "{message}");
    }
}

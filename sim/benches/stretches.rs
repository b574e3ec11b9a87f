//! How many times as fast two threads replay a trace in stretches as one does, and as a replay from
//! end to end with decoding beside the model. By turns; medians.
//!
//! `STRATA_BENCH_TRACE` names a trace, `STRATA_BENCH_RUNS` the runs of each, 7 otherwise.

use std::path::PathBuf;
use std::time::Instant;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Nameless, Profile, Replay, for_each_batch, replay_in_stretches};
use strata_workloads::trace::{IndexedTrace, TraceReader};

fn path() -> PathBuf {
    let sample = "../workloads/samples/xen-net-tx/trace.strata";
    let bundled = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(sample);
    std::env::var_os("STRATA_BENCH_TRACE").map_or_else(bundled, PathBuf::from)
}

fn in_stretches(machine: &Machine, threads: usize) -> Profile {
    let trace = IndexedTrace::open(&path()).expect("a whole trace");
    let extent = Extent::default();
    replay_in_stretches(&trace, machine, Nameless, &extent, threads, |_| {})
        .expect("the laws hold")
        .0
        .profile
}

fn from_end_to_end(machine: &Machine) -> Profile {
    let reader = TraceReader::open(&path()).expect("a trace");
    let (replay, _) = for_each_batch(
        reader,
        |state| Replay::new(machine, Nameless, state, Extent::default()),
        |replay, batch| {
            replay.batch(batch);
            true
        },
    )
    .expect("a whole trace");
    replay.finish().expect("the laws hold").0
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    let runs = match std::env::var("STRATA_BENCH_RUNS") {
        Ok(runs) => runs.parse().expect("STRATA_BENCH_RUNS is a number"),
        Err(_) if std::env::args().any(|arg| arg == "--bench") => 7,
        Err(_) => 1,
    };
    let machine = Machine::load("vee07").expect("a preset");
    let expected = from_end_to_end(&machine);
    type Way = fn(&Machine) -> Profile;
    let ways: [(&str, Way); 3] = [
        ("two threads", |machine| in_stretches(machine, 2)),
        ("one thread", |machine| in_stretches(machine, 1)),
        ("from end to end, decoding beside the model", from_end_to_end),
    ];
    let mut seconds = [const { Vec::new() }; 3];
    for _ in 0..runs {
        for ((_, way), seconds) in ways.iter().zip(&mut seconds) {
            let started = Instant::now();
            let profile = way(&machine);
            seconds.push(started.elapsed().as_secs_f64());
            assert_eq!(profile.counts, expected.counts);
            assert_eq!(profile.rows, expected.rows);
        }
    }
    let medians = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let instructions = expected.total.instructions as f64;
    println!("{instructions} instructions, medians of {runs}, by turns");
    for ((name, _), median) in ways.iter().zip(medians) {
        let (ratio, speed) = (median / medians[0], instructions / median / 1e6);
        println!("{ratio:.2} times the time of two threads: {name}, {median:.3} s, {speed:.0} M/s");
    }
}

//! A sweep against a replay of each of its machines.

use crate::naive::{machines, small};
use crate::stream::{batches, initial, replay, steps};
use proptest::prelude::*;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Nameless, Replay, SweepPlan, SweepPoint, Sweeping};
use strata_workloads::trace::{Batch, Lacks};

fn swept(machines: &[Machine], batches: &[Batch], extent: &Extent) -> Vec<SweepPoint> {
    let mut points: Vec<Option<SweepPoint>> = vec![None; machines.len()];
    for make_plan in [SweepPlan::new, SweepPlan::one_by_one] {
        let missing: Vec<usize> = (0..points.len()).filter(|&at| points[at].is_none()).collect();
        let plan = make_plan(machines, &missing, false);
        for pass in plan.passes() {
            let mut sweeping = Sweeping::over(pass, &initial(), Lacks::NOTHING, extent);
            batches.iter().for_each(|batch| sweeping.batch(&mut batch.clone()));
            for (at, point) in sweeping.finish(machines).expect("the laws hold") {
                assert!(points[at].replace(point).is_none(), "a point counted twice");
            }
        }
    }
    points.into_iter().map(|point| point.expect("every point is counted")).collect()
}

/// Machines of a grid over what can and cannot be shared.
fn grid() -> Vec<Machine> {
    let mut all = machines();
    for tags in ["none", "global-hypervisor", "vpid", "pcid", "architectural"] {
        for (entries, size) in [("1", "2KiB"), ("3", "4KiB"), ("5", "64KiB")] {
            all.push(small(&[
                ("tags", tags),
                ("itlb.entries", entries),
                ("itlb.ways", "full"),
                ("dtlb.entries", entries),
                ("dtlb.ways", "full"),
                ("l2.size", size),
            ]));
        }
        all.push(small(&[("tags", tags), ("dtlb.entries", "8"), ("dtlb.ways", "2")]));
        all.push(small(&[("tags", tags), ("l2.inclusion", "inclusive")]));
    }
    // Second levels that hold each other's lines, some of them with sets that are no power of two.
    for (ways, sets) in [(1, 3), (2, 3), (2, 6), (2, 8), (2, 16), (3, 12), (8, 12), (64, 1)] {
        let (size, ways) = (format!("{}", 64 * ways * sets), ways.to_string());
        all.push(small(&[("l2.ways", &ways), ("l2.size", &size)]));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_point_of_a_sweep_is_a_replay_of_its_machine(
        steps in steps(),
        size in 1..50usize,
        part in (0..40_u64, 0..200_u64, 0..40_u64),
    ) {
        let machines = grid();
        let batches = batches(&steps, size);
        let length = {
            let mut whole = Replay::new(&machines[0], Nameless, initial(), Extent::default());
            batches.iter().for_each(|batch| whole.batch(&mut batch.clone()));
            whole.position()
        };
        // Of streams that are long enough a part, some of it uncounted.
        let (from, more, warm_up) = part;
        let is_part = length > from + warm_up + 40 && more > 0;
        let range = from..from + warm_up + 40 + more;
        let extent = if is_part { Extent { range, warm_up } } else { Extent::default() };
        let points = swept(&machines, &batches, &extent);
        for (machine, point) in machines.iter().zip(points) {
            let alone = replay(machine, Nameless, batches.clone(), extent.clone());
            let found = point.profile(machine.clone());
            prop_assert_eq!(found.counts, alone.counts, "{:?}", machine);
            prop_assert_eq!(found.total, alone.total, "{:?}", machine);
        }
    }
}

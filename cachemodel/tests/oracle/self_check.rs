//! The random machines and streams by themselves: that they reach all that the oracle counts.

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use strata_cachemodel::Machine;

use crate::counts::{Counts, named};
use crate::hierarchy::Oracle;
use crate::machines::machines;
use crate::streams::{Step, drive, possible, streams};
use crate::world::World;

fn run(machine: &Machine, steps: &[Step]) -> Counts {
    let mut oracle = Oracle::new(machine);
    let mut world = World::default();
    for step in possible(steps, machine) {
        drive(&mut oracle, &mut world, &step);
    }
    *oracle.counts()
}

/// Nothing is above level 1, and coherence misses are those of level 1.
const NEVER: [&str; 6] = [
    "levels.1.writebacks",
    "levels.1.writeback_misses",
    "levels.1.victims",
    "levels.1.back_invalidations",
    "levels.2.coherence_misses",
    "levels.3.coherence_misses",
];

#[test]
fn random_streams_do_everything_that_is_counted() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let sums = RefCell::new(Vec::<(String, u64)>::new());
    let result = runner.run(&(machines(), streams()), |(machine, steps)| {
        let counts = named(&run(&machine, &steps));
        let mut sums = sums.borrow_mut();
        if sums.is_empty() {
            *sums = counts;
        } else {
            for (sum, (name, count)) in sums.iter_mut().zip(counts) {
                assert_eq!(sum.0, name);
                sum.1 += count;
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let sums = sums.into_inner();
    let never: Vec<_> =
        sums.iter().filter(|(_, sum)| *sum == 0).map(|(name, _)| name.as_str()).collect();
    assert_eq!(never, NEVER);
}

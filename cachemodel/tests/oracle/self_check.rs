//! The random machines and streams by themselves: that they reach all that the oracle counts.

use std::cell::RefCell;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use strata_cachemodel::Machine;

use crate::counts::{Counts, named};
use crate::hierarchy::Oracle;
use crate::machines::{ACTORS, machines};
use crate::streams::{Space, Step, View, World, exists, streams};

fn run(machine: &Machine, steps: &[Step]) -> Counts {
    let mut oracle = Oracle::new(machine);
    let mut world = World::default();
    for step in steps {
        match *step {
            Step::Access { kind, va, bytes } => {
                let space = Space::of(oracle.context());
                oracle.access(kind, va, bytes, &mut View { world: &world, space });
            }
            Step::Instruction(address) => oracle.set_instruction(address),
            Step::Remap { va, mapping } => {
                world.remap(Space::of(oracle.context()), va, mapping);
            }
            Step::Control(event) if exists(event, machine.vendor()) => oracle.control(event),
            Step::Control(_) => {}
            Step::Registers { cr3, cr4 } => oracle.set_registers(1 << 31 | 1, cr3, cr4),
            Step::Cpu(cpu) => oracle.set_cpu(cpu % machine.cpus()),
            Step::Actor(actor) => {
                let (layer, domain) = ACTORS[usize::from(actor)];
                oracle.memory.set_actor(actor, layer, domain);
            }
            Step::DeviceWrite { start, length } => oracle.memory.device_write(start, length),
            Step::FlushCaches => oracle.memory.flush(),
        }
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

//! The oracle by itself: random machines and streams keep what must hold whatever the rules are.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use strata_cachemodel::Machine;

use crate::hierarchy::Oracle;
use crate::machines::{ACTORS, machines};
use crate::streams::{Space, Step, View, World, exists, streams};

fn run(machine: &Machine, steps: &[Step]) {
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
}

#[test]
fn no_machine_and_no_stream_makes_the_oracle_contradict_itself() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let cases = (machines(), streams());
    let result = runner.run(&cases, |(machine, steps)| {
        run(&machine, &steps);
        Ok(())
    });
    prop_assert_ok(result);
}

fn prop_assert_ok<T: std::fmt::Debug>(result: Result<(), proptest::test_runner::TestError<T>>) {
    if let Err(error) = result {
        panic!("{error:#?}");
    }
}

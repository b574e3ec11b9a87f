//! Random programs come back path by path.

use super::world::{FIRST_OF_KERNEL, World};
use proptest::prelude::*;
use strata_workloads::trace::InterruptKind;

#[derive(Clone, Debug)]
enum Deed {
    Call(u32),
    Return,
    CallIntoFault(u32, u32),
    Tail(u32),
    Interrupt(InterruptKind, u32),
    Syscall(u32),
    SystemReturn,
    Switch(usize),
    Spawn(usize),
    Longjmp(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let kind = prop_oneof![Just(InterruptKind::External), Just(InterruptKind::Exception)];
    let one = prop_oneof![
        8 => any::<u32>().prop_map(Deed::Call),
        8 => Just(Deed::Return),
        3 => any::<u32>().prop_map(Deed::Tail),
        1 => (any::<u32>(), 0..48u32).prop_map(|(callee, number)| Deed::CallIntoFault(callee, number)),
        2 => (kind, 0..48u32).prop_map(|(kind, number)| Deed::Interrupt(kind, number)),
        2 => (0..48u32).prop_map(Deed::Syscall),
        4 => Just(Deed::SystemReturn),
        2 => (0..3usize).prop_map(Deed::Switch),
        1 => (1..3usize).prop_map(Deed::Spawn),
        1 => (0..5usize).prop_map(Deed::Longjmp),
    ];
    proptest::collection::vec(one, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_known_call_graph_comes_back_exactly(deeds in deeds()) {
        let mut world = World::new();
        for (at, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Call(number) => world.call(world.own_function(number)),
                Deed::Return => world.ret(),
                Deed::CallIntoFault(callee, number) => {
                    world.call_into_fault(world.own_function(callee), FIRST_OF_KERNEL + number);
                }
                Deed::Tail(number) => world.tail(world.own_function(number)),
                Deed::Interrupt(kind, number) => world.interrupt(kind, FIRST_OF_KERNEL + number),
                Deed::Syscall(number) => world.syscall(FIRST_OF_KERNEL + number),
                Deed::SystemReturn => world.system_return(),
                Deed::Switch(to) => world.switch(to),
                Deed::Spawn(process) => world.spawn(process),
                Deed::Longjmp(frames) => world.longjmp(frames),
            }
            prop_assert_eq!(world.found(), world.top().path, "after deed {}", at);
        }
        let returns = world.engine.returns;
        prop_assert_eq!(
            (returns.as_jumps, returns.unwound, returns.before_stream, returns.thunks),
            (0, 0, 0, 0)
        );
    }
}

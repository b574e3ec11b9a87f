//! The engine against machines whose frames are known.

mod random;
mod world;
mod xen;

use super::ending::Last;
use super::engine::Step;
use super::stack::Context;
use super::{Arrival, Link, Paths};
use crate::functions::FunctionId;
use strata_symbols::DomainId;
use strata_workloads::trace::{Event, GapReason, InterruptKind, SpaceId};
use world::{World, entry};

#[test]
fn nested_interrupts_inside_calls_end_where_they_began() {
    let mut world = World::new();
    world.call(5);
    world.syscall(60);
    world.call(61);
    world.interrupt(InterruptKind::External, 70);
    world.call(71);
    world.interrupt(InterruptKind::Exception, 80);
    let nested = [(Link::Interrupt, 70), (Link::Call, 71), (Link::Exception, 80)];
    assert_eq!(world.found(), nested);
    world.system_return();
    world.ret();
    world.system_return();
    assert_eq!(world.arrival, Some(Arrival::Resumed));
    let below = [(Link::Start, 1), (Link::Call, 5), (Link::Syscall, 60), (Link::Call, 61)];
    assert_eq!(world.found(), below);
    world.ret();
    world.system_return();
    assert_eq!(world.found(), [(Link::Start, 1), (Link::Call, 5)]);
}

#[test]
fn a_retpoline_is_a_jump_and_not_a_return() {
    let mut world = World::new();
    world.call(5);
    // call __x86_indirect_thunk; in it: call 1f; 1f: mov %rax,(%rsp); ret.
    let (thunk, top) = (40, world.top().stack_pointer);
    let returns_to = world.fresh_address();
    world.end(Last::Call, returns_to);
    let mut step = Step {
        address: entry(thunk),
        stack_pointer: top - 72,
        context: Context::User(DomainId(0), Some(SpaceId(0))),
        space: Some(SpaceId(0)),
        function: FunctionId(thunk),
        is_entry: true,
        is_thunk: true,
        is_named: true,
    };
    world.engine.step(&step);
    world.end(Last::Call, entry(thunk) + 5);
    (step.address, step.stack_pointer, step.is_entry) = (entry(thunk) + 12, top - 80, false);
    world.engine.step(&step);
    world.end(Last::Return { pops: 8 }, entry(thunk) + 17);
    let target = Step {
        address: entry(9),
        stack_pointer: top - 72,
        function: FunctionId(9),
        is_entry: true,
        is_thunk: false,
        ..step
    };
    assert_eq!(world.engine.step(&target), Some(Arrival::ReturnAsJump));
    assert_eq!(world.found(), [(Link::Start, 1), (Link::Call, 5), (Link::Call, 9)]);
    world.end(Last::Return { pops: 8 }, entry(9) + 1);
    let back = Step {
        address: returns_to,
        stack_pointer: top - 64,
        function: FunctionId(5),
        is_entry: false,
        ..target
    };
    assert_eq!(world.engine.step(&back), Some(Arrival::Return));
    assert_eq!((world.engine.returns.thunks, world.engine.returns.matched), (1, 1));
}

#[test]
fn nothing_is_invented_behind_a_gap() {
    let mut world = World::new();
    world.call(5);
    world.call(6);
    world.engine.event(&Event::Gap { reason: GapReason::Lost, instructions: 0 });
    let (address, stack_pointer) = (entry(6) + 3, world.top().stack_pointer);
    world.go(address, stack_pointer);
    assert_eq!((world.arrival, world.found()), (Some(Arrival::Gap), vec![(Link::Start, 6)]));
    world.ret();
    assert_eq!(world.found(), [(Link::Start, 5)]);
    assert_eq!(world.engine.returns.before_stream, 1);
}

#[test]
fn endless_recursion_has_paths_of_bounded_depth_and_each_return_still_matches() {
    const CALLS: usize = 3_000;
    let mut world = World::new();
    for _ in 0..CALLS {
        world.call(5);
    }
    let path = world.engine.path().unwrap();
    assert_eq!(world.engine.paths[path].depth, Paths::MOST_FRAMES);
    assert!(world.engine.paths.len() < 3 * Paths::MOST_FRAMES as usize);
    for _ in 0..CALLS {
        world.ret();
    }
    assert_eq!(world.found(), [(Link::Start, 1)]);
    assert_eq!((world.engine.returns.matched, world.engine.returns.all()), (3_000, 3_000));
}

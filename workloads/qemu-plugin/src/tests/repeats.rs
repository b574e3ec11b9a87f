//! `rep` string instructions.

use super::machine::{JUMP, Machine, NOP, REP_MOVSB, handler, load, store};
use crate::blocks::Index;
use crate::host::Register;
use strata_workloads::trace::{Event, Repeat};

/// A block that ends in `rep movsb` at 0x1001, the instruction alone, and what follows it.
fn blocks(machine: &mut Machine) -> (Index, Index, Index) {
    let first = machine.block(0x1000, &[NOP, REP_MOVSB]);
    let alone = machine.block(0x1001, &[REP_MOVSB]);
    let after = machine.block(0x1003, &[JUMP]);
    (first, alone, after)
}

fn copy(machine: &mut Machine, block: Index, instruction: u32, from: u64, to: u64) {
    machine.run(block, &[load(instruction, 1, from), store(instruction, 1, to)]);
}

const FORWARD: Option<Repeat> = Some(Repeat { slots: 2, backward: false });
const NONE_DONE: Option<Repeat> = Some(Repeat { slots: 0, backward: false });

#[test]
fn iterations_are_one_execution() {
    let mut machine = Machine::new();
    let (first, alone, after) = blocks(&mut machine);
    copy(&mut machine, first, 1, 0x5000, 0x6000);
    copy(&mut machine, alone, 0, 0x5001, 0x6001);
    copy(&mut machine, alone, 0, 0x5002, 0x6002);
    machine.run(alone, &[]);
    machine.run(after, &[]);
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].repeat), (2, FORWARD));
    assert_eq!(machine.recorder.batch.iterations, [3]);
    assert_eq!(machine.recorder.batch.addresses, [0x5000, 0x6000]);
    assert_eq!(machine.recorder.counts.instructions, 3);
}

#[test]
fn without_instruction_counting_iterations_come_all_at_once() {
    let mut machine = Machine::new();
    let (first, _, after) = blocks(&mut machine);
    let all: Vec<_> =
        (0..100).flat_map(|i| [load(1, 1, 0x5000 - i), store(1, 1, 0x6000 - i)]).collect();
    machine.run(first, &all);
    machine.run(after, &[]);
    let shapes = machine.finish();
    assert_eq!(shapes[0].repeat, Some(Repeat { slots: 2, backward: true }));
    assert_eq!(machine.recorder.batch.iterations, [100]);
    assert_eq!(machine.recorder.batch.addresses, [0x5000, 0x6000]);
}

#[test]
fn nothing_to_repeat_is_no_iteration() {
    let mut machine = Machine::new();
    let (first, _, after) = blocks(&mut machine);
    machine.run(first, &[]);
    machine.run(after, &[]);
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].repeat), (2, NONE_DONE));
    assert_eq!(machine.recorder.batch.iterations, [0]);
}

#[test]
fn a_repeat_interrupted_between_iterations_counts_once() {
    let mut machine = Machine::new();
    let (first, alone, after) = blocks(&mut machine);
    let timer = machine.block(handler(0xfa), &[&[0x48, 0xcf]]);
    copy(&mut machine, first, 1, 0x5000, 0x6000);
    copy(&mut machine, alone, 0, 0x5001, 0x6001);
    machine.frame(None, 0x1001);
    machine.run(timer, &[load(0, 8, 0x6_ffd8)]);
    copy(&mut machine, alone, 0, 0x5002, 0x6002);
    machine.run(alone, &[]);
    machine.run(after, &[]);
    let shapes = machine.finish();
    let ends: Vec<_> = shapes.iter().map(|s| (s.completed, s.interrupted, s.repeat)).collect();
    assert_eq!(ends, [(1, true, FORWARD), (1, false, None), (1, false, FORWARD), (1, false, None)]);
    assert_eq!(machine.recorder.batch.iterations, [2, 1]);
    assert_eq!(machine.recorder.counts.instructions, 4);
}

#[test]
fn a_fault_in_an_iteration_keeps_what_it_did() {
    let mut machine = Machine::new();
    let (first, alone, _) = blocks(&mut machine);
    let fault = machine.block(handler(14), &[NOP]);
    copy(&mut machine, first, 1, 0x5ffe, 0x6000);
    copy(&mut machine, alone, 0, 0x5fff, 0x6001);
    machine.run(alone, &[load(0, 1, 0x6000)]);
    machine.frame(Some(0), 0x1001);
    machine.set(Register::Cr2, 0x6002);
    machine.run(fault, &[]);
    let shapes = machine.finish();
    let ends: Vec<_> =
        shapes.iter().map(|s| (s.completed, s.interrupted, s.repeat, s.slots.len())).collect();
    assert_eq!(ends[..2], [(1, true, FORWARD, 2), (0, true, NONE_DONE, 1)]);
    assert_eq!(machine.recorder.batch.iterations, [2, 0]);
    assert_eq!(machine.recorder.batch.addresses, [0x5ffe, 0x6000, 0x6000]);
}

#[test]
fn a_fault_in_the_first_iteration_is_one_execution() {
    let mut machine = Machine::new();
    let (first, _, _) = blocks(&mut machine);
    let fault = machine.block(handler(14), &[NOP]);
    machine.run(first, &[load(1, 1, 0x5000)]);
    machine.frame(Some(2), 0x1001);
    machine.run(fault, &[]);
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted), (1, true));
    assert_eq!((shapes[0].repeat, shapes[0].slots.len()), (NONE_DONE, 1));
    assert_eq!(machine.recorder.batch.iterations, [0]);
}

#[test]
fn a_jump_of_addresses_begins_an_execution_of_its_own() {
    let mut machine = Machine::new();
    let (first, alone, after) = blocks(&mut machine);
    copy(&mut machine, first, 1, 0x5000, 0x6000);
    copy(&mut machine, alone, 0, 0x5001, 0x6001);
    copy(&mut machine, alone, 0, 0x7000, 0x6002);
    copy(&mut machine, alone, 0, 0x7001, 0x6003);
    machine.run(alone, &[]);
    machine.run(after, &[]);
    let shapes = machine.finish();
    let ends: Vec<_> = shapes.iter().map(|s| (s.completed, s.interrupted, s.repeat)).collect();
    assert_eq!(ends, [(1, true, FORWARD), (1, false, FORWARD), (1, false, None)]);
    assert_eq!(machine.recorder.batch.iterations, [2, 2]);
    assert_eq!(machine.recorder.batch.addresses, [0x5000, 0x6000, 0x7000, 0x6002]);
    assert_eq!(machine.recorder.counts.instructions, 3);
}

#[test]
fn a_repeated_port_transfer_is_one_event_with_a_count() {
    let mut machine = Machine::new();
    let insb: &[u8] = &[0xf3, 0x6c];
    let first = machine.block(0x1000, &[insb]);
    let after = machine.block(0x1002, &[JUMP]);
    machine.set(Register::General(2), 0x1f0);
    for i in 0..4 {
        // The emulator stores twice: a zero first, so that a fault comes before the port is read.
        machine.run(first, &[store(0, 1, 0x5000 + i), store(0, 1, 0x5000 + i)]);
    }
    machine.run(first, &[]);
    machine.run(after, &[]);
    let shapes = machine.finish();
    assert_eq!((shapes.len(), shapes[0].slots.len()), (2, 1));
    assert_eq!(machine.recorder.batch.iterations, [4]);
    let port = Event::Port { port: 0x1f0, bytes: 1, write: false, count: 4 };
    assert_eq!(machine.events(), [(1, port)]);
}

//! How far executions came: usual ones, faults, interrupts, device accesses.

use super::machine::{IRETQ, JUMP, LOAD, Machine, NOP, RET, STORE_RAX, handler, load, store};
use crate::host::Register;
use strata_workloads::trace::{Event, Interrupt, InterruptKind};

fn interrupt(machine: &Machine) -> (u32, Interrupt) {
    let mut found = machine.events().into_iter().filter_map(|(at, event)| match event {
        Event::Interrupt(interrupt) => Some((at, interrupt)),
        _ => None,
    });
    let first = found.next().expect("an interrupt");
    assert_eq!(found.next(), None, "one interrupt only");
    first
}

#[test]
fn blocks_that_follow_one_another_share_shapes() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, STORE_RAX, JUMP]);
    let b = machine.block(0x1008, &[LOAD, RET]);
    for i in 0..3 {
        machine.run(a, &[load(0, 8, 0x5000 + i), store(1, 8, 0x6000)]);
        machine.run(b, &[load(0, 8, 0x5100), load(1, 8, 0x7_0000)]);
    }
    let shapes = machine.finish();
    assert_eq!(shapes.len(), 6);
    assert_eq!(machine.recorder.batch.new.shapes.len(), 2);
    assert_eq!((shapes[0].completed, shapes[1].slots.len()), (3, 2));
    assert_eq!(machine.recorder.batch.addresses[4..6], [0x5001, 0x6000]);
    assert_eq!(machine.recorder.counts.instructions, 15);
}

#[test]
fn a_block_translated_again_is_the_same_block() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, RET]);
    assert_eq!(machine.block(0x1000, &[LOAD, RET]), a);
    assert_ne!(machine.block(0x1000, &[LOAD]), a, "cut shorter");
    assert_ne!(machine.block(0x1000, &[NOP, RET]), a, "other code");
    machine.set(Register::CodeSegment, 0xb);
    assert_ne!(machine.block(0x1000, &[LOAD, RET]), a, "another privilege");
}

#[test]
fn a_faulting_instruction_is_begun_but_not_completed() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, STORE_RAX, NOP, JUMP]);
    let fault = machine.block(handler(14), &[NOP]);
    machine.run_part(a, 2, &[load(0, 8, 0x5000)]);
    machine.frame(Some(2), 0x1003);
    machine.set(Register::Cr2, 0x6000);
    machine.run(fault, &[]);
    let (at, event) = interrupt(&machine);
    assert_eq!(at, 1, "after the block that faulted");
    assert_eq!((event.vector, event.kind), (Some(14), InterruptKind::Exception));
    assert_eq!((event.error_code, event.resume, event.fault_address), (Some(2), 0x1003, 0x6000));
    assert_eq!((event.stack_before, event.stack_after), (0x7_0000, 0x7_0000 - 48));
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted, shapes[0].slots.len()), (1, true, 1));
}

#[test]
fn a_trap_completes_its_instruction() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, &[0xcd, 0x80]]);
    let trap = machine.block(handler(0x80), &[NOP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.frame(None, 0x1005);
    machine.run(trap, &[]);
    let (_, event) = interrupt(&machine);
    assert_eq!((event.kind, event.vector), (InterruptKind::Software, Some(0x80)));
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted), (2, false));
}

#[test]
fn an_external_interrupt_comes_between_blocks() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, RET]);
    let timer = machine.block(handler(0xfa), &[NOP]);
    machine.run(a, &[load(0, 8, 0x5000), load(1, 8, 0x7_0000)]);
    machine.frame(None, 0x4000);
    machine.run(timer, &[]);
    let (at, event) = interrupt(&machine);
    assert_eq!((at, event.kind, event.resume), (1, InterruptKind::External, 0x4000));
    assert_eq!((event.gate_segment, event.gate_stack), (8, 0));
    assert_eq!(machine.finish()[0].completed, 2);
}

#[test]
fn a_branch_to_itself_completes_before_an_interrupt() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0xeb, 0xfe]]);
    let timer = machine.block(handler(0xfa), &[NOP]);
    machine.run(a, &[]);
    machine.run(a, &[]);
    machine.frame(None, 0x1000);
    machine.run(timer, &[]);
    let shapes = machine.finish();
    assert_eq!((shapes[1].completed, shapes[1].interrupted), (1, false));
}

#[test]
fn an_iret_to_a_handler_is_no_interrupt() {
    let mut machine = Machine::new();
    let back = machine.block(0x1000, &[IRETQ]);
    let first = machine.block(handler(3), &[NOP]);
    machine.memory().store(0x6_f000, handler(3));
    machine.memory().store(0x7_0000 - 40, 0x1000);
    machine.memory().store(0x7_0000 - 32, 8);
    machine.memory().store(0x7_0000 - 24, 2);
    machine.set(crate::host::RSP, 0x7_0000 - 40);
    machine.run(back, &[load(0, 8, 0x6_f000), load(0, 8, 0x6_f008), load(0, 8, 0x6_f010)]);
    machine.run(first, &[]);
    let events = machine.events();
    assert!(matches!(events[..], [(1, Event::StackPointer { .. })]), "{events:?}");
}

#[test]
fn code_that_reaches_a_handler_by_itself_is_no_interrupt() {
    let mut machine = Machine::new();
    let before = machine.block(handler(3) - 1, &[NOP]);
    let first = machine.block(handler(3), &[NOP]);
    machine.run(before, &[]);
    machine.run(first, &[]);
    assert_eq!(machine.events(), []);
    assert_eq!(machine.recorder.counts.unexplained, 0);
}

#[test]
fn an_access_run_again_for_a_device_is_put_on_its_instruction() {
    let mut machine = Machine::new();
    // movsq from memory to a device: loads, is cut off at the store, and runs again on its own.
    let movsq: &[u8] = &[0x48, 0xa5];
    let a = machine.block(0x1000, &[LOAD, movsq, LOAD, JUMP]);
    let alone = machine.block(0x1003, &[movsq]);
    let rest = machine.block(0x1005, &[LOAD, JUMP]);
    machine.run_part(a, 2, &[load(0, 8, 0x5000), load(1, 8, 0x5100)]);
    machine.access(alone, load(0, 8, 0x5100));
    machine.access(alone, store(0, 8, 0x6000));
    machine.run(rest, &[load(0, 8, 0x5200)]);
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted), (2, false));
    let slots: Vec<u16> = shapes[0].slots.iter().map(|slot| slot.instruction).collect();
    assert_eq!(slots, [0, 1, 1]);
    assert_eq!(machine.recorder.batch.addresses, [0x5000, 0x5100, 0x6000, 0x5200]);
    let counts = machine.recorder.counts;
    assert_eq!((counts.reassigned, counts.unmatched, counts.unexplained), (2, 0, 0));
}

#[test]
fn an_access_of_other_code_is_counted_and_kept_out() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let other = machine.block(0x2000, &[STORE_RAX]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.access(other, store(0, 8, 0x6000));
    assert_eq!(machine.recorder.counts.unmatched, 1);
    assert_eq!(machine.finish()[0].slots.len(), 1);
}

#[test]
fn an_instruction_begun_anew_counts_once() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, STORE_RAX, NOP, JUMP]);
    let again = machine.block(0x1003, &[STORE_RAX]);
    machine.run_part(a, 2, &[load(0, 8, 0x5000)]);
    machine.run(again, &[store(0, 8, 0x1008)]);
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted), (1, false));
    assert_eq!(machine.recorder.counts.instructions, 2);
}

#[test]
fn code_shared_by_two_addresses_is_a_block_at_each() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, RET]);
    let elsewhere = machine.block(0x2000, &[&[0x0f, 0x22, 0xd8]]);
    machine.run(a, &[load(0, 8, 0x5000), load(1, 8, 0x7_0000)]);
    // Another address space has the same frame at another address.
    machine.map(0x1000, 0);
    machine.map(0x3_0000, 0x1000 | super::machine::PRESENT);
    machine.set(crate::host::RAX, super::machine::ROOT);
    machine.run(elsewhere, &[]);
    machine.run_at(a, 0x3_0000, 2, &[load(0, 8, 0x5000), load(1, 8, 0x7_0000)]);
    machine.finish();
    let addresses: Vec<u64> = machine.recorder.batch.new.blocks.iter().map(|b| b.address).collect();
    assert_eq!(addresses, [0x1000, 0x2000, 0x3_0000]);
    assert_eq!(machine.recorder.counts.moved, 1);
}

#[test]
fn a_transfer_that_nothing_explains_is_counted() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let b = machine.block(0x4000, &[NOP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.run(b, &[]);
    assert_eq!(machine.recorder.counts.unexplained, 1);
}

#[test]
fn real_mode_code_is_16_bits_wide_and_privileged() {
    let mut machine = Machine::new();
    machine.set(Register::Cr0, 0);
    machine.set(Register::CodeSegment, 0xf003);
    let index = machine.block(0x1000, &[NOP]);
    let block = &machine.recorder.blocks().cold(index).block;
    assert_eq!((block.code_size.bits(), block.privilege), (16, 0));
}

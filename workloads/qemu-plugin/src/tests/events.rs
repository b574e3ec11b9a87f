//! Instructions with a meaning of their own, Xen, nested guests.

use super::machine::{
    CARD, JUMP, LOAD, Machine, NOP, PRESENT, RET, TASK, USER, WRITABLE, handler, load, store,
};
use crate::host::{RAX, RCX, RDI, RDX, RSI, RSP, Register};
use crate::options::XenLayout;
use crate::recorder::Phase;
use strata_workloads::trace::{DescriptorTable, Event, IDLE_DOMAIN, Vcpu};

const SYSCALL: &[u8] = &[0x0f, 0x05];

fn general(machine: &Machine, values: &[(Register, u64)]) {
    for (register, value) in values {
        machine.set(*register, *value);
    }
}

#[test]
fn time_stamps_are_read_after_the_instruction() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0x0f, 0x31]]);
    let b = machine.block(0x1002, &[NOP]);
    machine.run(a, &[]);
    general(&machine, &[(RAX, 0x5566_7788), (RDX, 0x11)]);
    machine.run(b, &[]);
    assert_eq!(machine.events(), [(1, Event::Tsc { value: 0x11_5566_7788 })]);
}

#[test]
fn a_time_stamp_amid_a_block_is_read_before_its_registers_change() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0x0f, 0x31], NOP, JUMP]);
    machine.run_part(a, 1, &[]);
    general(&machine, &[(RAX, 7), (RDX, 0)]);
    machine.recorder.instruction(a, 1);
    machine.set(RAX, 99);
    machine.finish();
    assert_eq!(machine.events(), [(1, Event::Tsc { value: 7 })]);
}

#[test]
fn model_specific_registers_ports_and_markers_are_told() {
    let mut machine = Machine::new();
    let a = machine.block(
        0x1000,
        &[&[0x0f, 0x30], &[0xe6, 0x80], &[0xed], &[0x0f, 0x1f, 0x84, 0x00, 9, 0, 0x54, 0x53]],
    );
    general(&machine, &[(RCX, 0xc000_0102), (RAX, 0x8000_0000), (RDX, 0xcf8)]);
    machine.run(a, &[]);
    machine.finish();
    let events: Vec<Event> = machine.events().into_iter().map(|(_, event)| event).collect();
    assert_eq!(
        events,
        [
            Event::Msr { index: 0xc000_0102, value: 0xcf8_8000_0000 },
            Event::Port { port: 0x80, bytes: 1, write: true, count: 1 },
            Event::Port { port: 0xcf8, bytes: 4, write: false, count: 1 },
            Event::Marker { number: 9 },
        ]
    );
}

#[test]
fn a_halt_has_an_entry_and_a_wake() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0xf4]]);
    let timer = machine.block(handler(0xfa), &[NOP]);
    machine.run(a, &[]);
    machine.frame(None, 0x1001);
    machine.run(timer, &[]);
    let events = machine.events();
    assert!(
        matches!(events[..], [(1, Event::Halt), (1, Event::Wake), (1, Event::Interrupt(_))]),
        "{events:?}"
    );
}

#[test]
fn a_loaded_stack_pointer_is_told_before_the_next_block() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0xc9], RET]);
    let b = machine.block(0x4000, &[NOP]);
    machine.run(a, &[load(0, 8, 0x6_0000), load(1, 8, 0x6_0008)]);
    machine.set(RSP, 0x6_0010);
    machine.run(b, &[]);
    assert_eq!(machine.events(), [(1, Event::StackPointer { value: 0x6_0010 })]);
}

#[test]
fn descriptor_tables_are_taken_over_before_the_recording_too() {
    let mut machine = Machine::new();
    machine.recorder.phase = crate::recorder::Phase::Waiting;
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 2, 0x7ff);
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 8, 0x8_8000);
    machine.memory().store(0x8_3018, 0x67 | 0x4000 << 16 | 0x89 << 40);
    machine.memory().store(0x8_3020, 0xffff_8000);
    machine.recorder.load_task(0, 0x18);
    assert_eq!(machine.recorder.now.idt.base, 0x8_8000);
    let task = machine.recorder.now.task;
    assert_eq!((task.base, task.limit, task.selector), (0xffff_8000_0000_4000, 0x67, 0x18));
    assert_eq!(machine.events(), [], "nothing records yet");
}

#[test]
fn a_descriptor_table_loaded_while_recording_is_an_event() {
    let mut machine = Machine::new();
    let lidt = machine.block(0x1000, &[&[0x0f, 0x01, 0x1e], JUMP]);
    let after = machine.block(0x1005, &[NOP]);
    machine.run_part(lidt, 1, &[]);
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 2, 0xfff);
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 8, 0x8_0000);
    machine.begun(2);
    machine.run(after, &[]);
    let (table, selector) = (DescriptorTable::Interrupt, 0);
    let event = Event::Descriptor { table, selector, base: 0x8_0000, limit: 0xfff };
    assert_eq!(machine.events(), [(1, event)]);
}

const LAYOUT: XenLayout =
    XenLayout { curr_vcpu: 0x5_0500, current: 56, vcpu_domain: 16, vcpu_id: 0, domain_id: 0 };
/// End of the hypervisor's stack, and `current` below it.
const STACK_END: u64 = 0x6_8000;
const CURRENT: u64 = STACK_END - 56;

/// A Xen with an idle vCPU at 0x5_2000 and vCPU 3 of domain 1 at 0x5_3000, which runs.
fn xen() -> Machine {
    let machine = Machine::with(Some(LAYOUT), 0);
    let memory = machine.memory();
    memory.store(TASK + 4, STACK_END - 0x40);
    for (vcpu, number, domain, id) in [(0x5_2000, 0, 0x5_2800, 0x7fff), (0x5_3000, 3, 0x5_3800, 1)]
    {
        memory.store(vcpu, number);
        memory.store(vcpu + 16, domain);
        memory.store(domain, id);
    }
    memory.store(CURRENT, 0x5_3000);
    memory.store(0x5_0500, 0x5_3000);
    machine
}

#[test]
fn an_idle_vcpu_is_current_while_another_stays_loaded() {
    let mut machine = xen();
    let a = machine.block(0x1000, &[NOP, &[0x48, 0x89, 0x07], NOP, JUMP]);
    machine.run(a, &[]);
    let guest = Vcpu { pointer: 0x5_3000, domain: 1, number: 3 };
    assert_eq!((machine.recorder.now.current, machine.recorder.now.loaded), (guest, guest));
    machine.memory().store(CURRENT, 0x5_2000);
    machine.run(a, &[store(1, 8, CURRENT)]);
    machine.run(a, &[]);
    let idle = Vcpu { pointer: 0x5_2000, domain: IDLE_DOMAIN, number: 0 };
    assert_eq!(machine.events(), [(2, Event::Current(idle))]);
    assert_eq!(machine.recorder.now.loaded, guest);
    // The one that stayed loaded comes back: no store to curr_vcpu, so nothing is told of it.
    machine.memory().store(CURRENT, 0x5_3000);
    machine.run(a, &[store(1, 8, CURRENT)]);
    machine.finish();
    assert_eq!(machine.events()[1..], [(4, Event::Current(guest))]);
}

#[test]
fn a_kernels_syscall_is_a_hypercall_and_a_programs_is_not() {
    let mut machine = xen();
    machine.set(Register::CodeSegment, 0xb);
    machine.map(0x2000, 0x2000 | PRESENT | USER | WRITABLE | 1 << 52);
    let kernel = machine.block(0x2000, &[SYSCALL]);
    let program = machine.block(0x3000, &[SYSCALL]);
    machine.memory().store(0x4000, 17);
    general(&machine, &[(RAX, 32), (RDI, 4), (RSI, 0x4000)]);
    machine.run(kernel, &[]);
    machine.run(program, &[]);
    machine.finish();
    let events: Vec<Event> = machine.events().into_iter().map(|(_, event)| event).collect();
    assert_eq!(
        events,
        [
            Event::Hypercall { number: 32, arguments: [4, 0x4000, 0, 0, 0] },
            Event::EventChannel { operation: 4, port: 17, domain: 0xffff },
            Event::Syscall { number: 32 },
        ]
    );
}

#[test]
fn a_nested_guest_has_an_entry_and_an_exit() {
    let mut machine = Machine::new();
    let vmcb = 0x8_a000;
    let (guest_rip, host_resumes) = (0x4000, 0x1003);
    let memory = machine.memory();
    memory.store(vmcb + 0x58, 5 | 3 << 32);
    memory.store(vmcb + 0x4d0, 0x500);
    memory.store(vmcb + 0x548, 0x20);
    memory.store(vmcb + 0x550, super::machine::ROOT);
    memory.store(vmcb + 0x558, 0x8000_0001);
    let run = machine.block(0x1000, &[&[0x0f, 0x01, 0xd8]]);
    let guest = machine.block(guest_rip, &[NOP, LOAD, JUMP]);
    let host = machine.block(host_resumes, &[NOP]);
    machine.set(RAX, vmcb);
    machine.run(run, &[]);
    machine.run_part(guest, 2, &[]);
    for (offset, value) in [(0x70, 0x400), (0x78, 6), (0x80, 0x1234_5000), (0x578, guest_rip + 1)] {
        machine.memory().store(vmcb + offset, value);
    }
    machine.run(host, &[]);
    let events = machine.events();
    let entry = Event::VmRun {
        vmcb,
        asid: 5,
        tlb_control: 3,
        guest_cr3: super::machine::ROOT,
        nested_cr3: 0,
    };
    assert_eq!(events[0], (1, entry));
    assert!(events.contains(&(2, Event::VmExit { code: 0x400, info1: 6, info2: 0x1234_5000 })));
    let shapes = machine.finish();
    assert_eq!((shapes[1].completed, shapes[1].interrupted), (1, true), "left in the load");
    assert_eq!(machine.recorder.counts.unexplained, 0);
}

#[test]
fn a_guest_that_runs_before_the_recording_is_not_taken_for_the_machine() {
    let mut machine = Machine::new();
    let block = machine.block(0x1000, &[NOP, JUMP]);
    machine.recorder.enters_guest(true);
    let idt = machine.recorder.now.idt.base;
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 8, 0xdead_0000);
    assert_eq!(machine.recorder.now.idt.base, idt);
    machine.run(block, &[]);
    assert_eq!(machine.recorder.phase(), Phase::Armed, "begun with the guest's registers");
    machine.recorder.enters_guest(false);
    machine.run(block, &[]);
    assert_eq!(machine.recorder.phase(), Phase::Recording);
    machine.recorder.table_access(0, DescriptorTable::Interrupt, 8, 0xbeef_0000);
    assert_eq!(machine.recorder.now.idt.base, 0xbeef_0000);
}

#[test]
fn a_ring_of_the_doorbell_tells_what_the_card_fetched() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[&[0x89, 0x07], JUMP]);
    for page in 0..32 {
        machine.map(CARD + (page << 12), (0xfeb8_0000 + (page << 12)) | PRESENT | WRITABLE);
    }
    machine.memory().store(0x5000, 0x6000);
    machine.memory().store(0x5008, 1514);
    for head in [0, 1] {
        let registers = [(0x3800, 0x5000), (0x3808, 256), (0x3810, head)];
        machine.recorder.host.card.borrow_mut().extend(registers);
        machine.run(a, &[store(0, 4, CARD + 0x3818)]);
    }
    machine.finish();
    let fetched = |address, bytes| Event::Dma { address, bytes, write: false };
    assert_eq!(machine.events(), [(2, fetched(0x5000, 16)), (2, fetched(0x6000, 1514))]);
}

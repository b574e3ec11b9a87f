//! Several CPUs taking turns.

use super::machine::{JUMP, LOAD, Machine, NOP, REP_MOVSB, handler, load, store};
use strata_workloads::trace::{Event, Repeat};

#[test]
fn a_cpu_is_introduced_at_its_first_turn() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let b = machine.block(0x2000, &[LOAD, JUMP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.cpu = 1;
    machine.run(b, &[load(0, 8, 0x5000)]);
    machine.cpu = 0;
    machine.run(a, &[load(0, 8, 0x5000)]);
    let events = machine.events();
    assert_eq!(events[0], (1, Event::Cpu { number: 1 }));
    let registers = events.iter().filter(|(_, e)| matches!(e, Event::Control { .. })).count();
    assert_eq!(registers, 4);
    assert_eq!(events.last(), Some(&(2, Event::Cpu { number: 0 })));
    assert_eq!(machine.finish().len(), 3);
}

#[test]
fn each_cpu_is_told_pages_for_itself() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.cpu = 1;
    machine.map(0x5000, 0x9000 | super::machine::PRESENT);
    machine.run(a, &[load(0, 8, 0x5000)]);
    assert_eq!(machine.told(), 3, "the second CPU sees the change");
    machine.cpu = 0;
    machine.run(a, &[load(0, 8, 0x5000)]);
    assert_eq!(machine.told(), 3, "the first still holds the old one");
}

#[test]
fn an_interrupt_at_the_beginning_of_a_turn_is_told() {
    let mut machine = Machine::new();
    let a = machine.block(0x1000, &[LOAD, JUMP]);
    let timer = machine.block(handler(0xfa), &[NOP]);
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.cpu = 1;
    machine.run(a, &[load(0, 8, 0x5000)]);
    machine.cpu = 0;
    machine.frame(None, 0x1005);
    machine.run(timer, &[]);
    let interrupts =
        machine.events().iter().filter(|(_, e)| matches!(e, Event::Interrupt(_))).count();
    assert_eq!(interrupts, 1);
}

#[test]
fn a_repeat_across_turns_counts_once() {
    let mut machine = Machine::new();
    let first = machine.block(0x1000, &[NOP, REP_MOVSB]);
    let alone = machine.block(0x1001, &[REP_MOVSB]);
    let after = machine.block(0x1003, &[JUMP]);
    let other = machine.block(0x2000, &[NOP]);
    for goes_on in [true, false] {
        let before = machine.recorder.counts.instructions;
        machine.run(first, &[load(1, 1, 0x5000), store(1, 1, 0x6000)]);
        machine.cpu = 1;
        machine.run(other, &[]);
        machine.cpu = 0;
        if goes_on {
            machine.run(alone, &[load(0, 1, 0x5001), store(0, 1, 0x6001)]);
            machine.run(alone, &[]);
        }
        machine.run(after, &[]);
        machine.cpu = 2;
        machine.run(other, &[]);
        machine.cpu = 0;
        // nop, rep, the jump, and two of the others' (the second still open).
        assert_eq!(machine.recorder.counts.instructions - before, if goes_on { 4 } else { 5 });
    }
    let shapes = machine.finish();
    assert_eq!((shapes[0].completed, shapes[0].interrupted), (1, true));
    let repeats = machine.recorder.batch.iterations.clone();
    assert_eq!(repeats, [1, 1, 1, 0]);
    let nothing = Some(Repeat { slots: 0, backward: false });
    assert!(shapes.iter().any(|s| s.repeat == nothing && s.completed == 1 && !s.interrupted));
}

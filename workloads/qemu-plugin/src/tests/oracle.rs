//! Random runs, compared with a plain list of what the machine did.

use super::machine::{
    Does, IRETQ, LOAD, Machine, NOP, REP_MOVSB, RET, STORE_RAX, handler, load, store,
};
use crate::blocks::Index;
use crate::host::Register;
use proptest::prelude::*;
use strata_workloads::trace::AccessKind;

/// Something that the machine does and comes back from.
#[derive(Clone, Debug)]
enum Step {
    /// Runs the plain block, with accesses at these offsets.
    Whole { at: [u64; 3] },
    /// Faults in one of its first two instructions.
    Fault { at: [u64; 3], instruction: u32 },
    /// Reaches a device with one of its first two instructions.
    Device { at: [u64; 3], instruction: u32 },
    /// Repeats so often, in one direction; interrupted after some, with a fault amid one.
    Repeat { from: u64, times: u64, backward: bool, interrupted: Option<u64>, fault: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    let at = prop::array::uniform3(0..0x1ff8u64);
    prop_oneof![
        4 => at.clone().prop_map(|at| Step::Whole { at }),
        1 => (at.clone(), 0..2u32).prop_map(|(at, instruction)| Step::Fault { at, instruction }),
        1 => (at, 0..2u32).prop_map(|(at, instruction)| Step::Device { at, instruction }),
        2 => (
            0x100..0x1000u64, 0..6u64, any::<bool>(), prop::option::of(1..5u64), prop::option::of(0..5u64)
        )
            .prop_map(|(from, times, backward, interrupted, fault)| Step::Repeat {
                from, times, backward, interrupted, fault
            }),
    ]
}

/// What happened: addresses of completed instructions, and all accesses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    instructions: Vec<u64>,
    accesses: Vec<(u64, bool, u32)>,
}

struct Run {
    machine: Machine,
    log: Log,
    /// mov, mov, nop, ret at PLAIN; the first two alone, and what follows each.
    plain: Index,
    alone: [Index; 2],
    rest: [Index; 2],
    /// nop, rep movsb at REPEATING; the `rep` alone; a return after it.
    repeating: Index,
    again: Index,
    after: Index,
    fault: Index,
    timer: Index,
}

const PLAIN: u64 = 0x1000;
const REPEATING: u64 = 0x1100;
const DATA: u64 = 0x4_0000;
const TARGET: u64 = 0x5_0000;

impl Run {
    fn new() -> Self {
        let mut machine = Machine::new();
        let m = &mut machine;
        let plain = m.block(PLAIN, &[LOAD, STORE_RAX, NOP, RET]);
        let alone = [m.block(PLAIN, &[LOAD]), m.block(PLAIN + 3, &[STORE_RAX])];
        let rest = [m.block(PLAIN + 3, &[STORE_RAX, NOP, RET]), m.block(PLAIN + 6, &[NOP, RET])];
        let repeating = m.block(REPEATING, &[NOP, REP_MOVSB]);
        let again = m.block(REPEATING + 1, &[REP_MOVSB]);
        let after = m.block(REPEATING + 3, &[RET]);
        let fault = m.block(handler(14), &[IRETQ]);
        let timer = m.block(handler(0xfa), &[IRETQ]);
        let log = Log::default();
        Run { machine, log, plain, alone, rest, repeating, again, after, fault, timer }
    }

    fn did(&mut self, access: Does) {
        self.log.accesses.push((access.address, access.store, access.bytes));
    }

    /// Runs a block up to its instruction `begun`, of which `done` complete.
    fn part(&mut self, block: Index, begun: u64, done: usize, accesses: &[Does]) {
        let code = self.machine.recorder.blocks().cold(block).block.clone();
        self.log.instructions.extend((0..done).map(|i| code.instruction_address(i)));
        accesses.iter().for_each(|access| self.did(*access));
        self.machine.run_part(block, begun, accesses);
    }

    fn whole(&mut self, block: Index, accesses: &[Does]) {
        let count = self.machine.recorder.blocks().hot(block).count;
        self.part(block, count.into(), count.into(), accesses);
    }

    fn interrupt(&mut self, block: Index, error: Option<u64>, resume: u64) {
        self.machine.frame(error, resume);
        self.machine.set(Register::Cr2, DATA);
        self.whole(block, &[]);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Whole { at } => {
                self.whole(self.plain, &plain(at));
            }
            Step::Fault { at, instruction } => {
                let i = instruction as usize;
                self.part(self.plain, u64::from(instruction) + 1, i, &plain(at)[..i]);
                self.interrupt(self.fault, Some(2), PLAIN + 3 * u64::from(instruction));
            }
            Step::Device { at, instruction } => {
                let (i, accesses) = (instruction as usize, plain(at));
                self.part(self.plain, u64::from(instruction) + 1, i + 1, &accesses[..i]);
                self.did(accesses[i]);
                self.machine.access(self.alone[i], Does { instruction: 0, ..accesses[i] });
                let left: Vec<Does> = accesses[i + 1..]
                    .iter()
                    .map(|does| Does { instruction: does.instruction - instruction - 1, ..*does })
                    .collect();
                self.whole(self.rest[i], &left);
            }
            Step::Repeat { from, times, backward, interrupted, fault } => {
                self.repeat(from, times, backward, interrupted, fault);
            }
        }
    }

    fn repeat(
        &mut self,
        from: u64,
        times: u64,
        backward: bool,
        stop: Option<u64>,
        fault: Option<u64>,
    ) {
        // The first block execution has the NOP too.
        let mut first = true;
        let mut block = |run: &mut Run, accesses: &dyn Fn(u32) -> Vec<Does>| {
            let (index, at) = if first { (run.repeating, 1) } else { (run.again, 0) };
            if first {
                run.log.instructions.push(REPEATING);
            }
            first = false;
            let (begun, accesses) = (u64::from(at) + 1, accesses(at));
            run.part(index, begun, 0, &accesses);
        };
        for i in 0..times {
            let at = |base: u64| if backward { base + from - i } else { base + from + i };
            if fault == Some(i) {
                block(self, &|n| vec![load(n, 1, at(DATA))]);
                self.interrupt(self.fault, Some(2), REPEATING + 1);
            }
            block(self, &|n| vec![load(n, 1, at(DATA)), store(n, 1, at(TARGET))]);
            if stop == Some(i + 1) {
                self.interrupt(self.timer, None, REPEATING + 1);
            }
        }
        block(self, &|_| Vec::new());
        self.log.instructions.push(REPEATING + 1);
        self.whole(self.after, &[load(0, 8, 0x7_0000)]);
    }
}

fn plain(at: [u64; 3]) -> [Does; 3] {
    [load(0, 8, DATA + at[0]), store(1, 8, TARGET + at[1]), load(3, 8, DATA + at[2])]
}

/// The stream as the plain list it stands for.
fn expand(machine: &mut Machine) -> Log {
    let shapes = machine.finish();
    let batch = &machine.recorder.batch;
    let (mut addresses, mut iterations) = (batch.addresses.iter(), batch.iterations.iter());
    let mut log = Log::default();
    for shape in shapes {
        let block = &batch.new.blocks[shape.block.index()];
        let done = usize::from(shape.completed);
        log.instructions.extend((0..done).map(|i| block.instruction_address(i)));
        let here: Vec<(u64, bool, u32)> = shape
            .slots
            .iter()
            .map(|slot| {
                let address = *addresses.next().expect("one for each slot");
                (address, slot.kind == AccessKind::Write, slot.bytes.into())
            })
            .collect();
        let Some(repeat) = shape.repeat else {
            log.accesses.extend(here);
            continue;
        };
        let (once, repeated) = here.split_at(here.len() - usize::from(repeat.slots));
        log.accesses.extend(once);
        for i in 0..*iterations.next().expect("one for each repeat") {
            log.accesses.extend(repeated.iter().map(|&(address, store, bytes)| {
                let by = i * u64::from(bytes);
                let address = if repeat.backward { address - by } else { address + by };
                (address, store, bytes)
            }));
        }
    }
    assert_eq!(addresses.next(), None, "no address is left over");
    log
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stream_stands_for_what_the_machine_did(steps in prop::collection::vec(step(), 1..40)) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        let stream = expand(&mut run.machine);
        prop_assert_eq!(stream, run.log);
        let counts = run.machine.recorder.counts();
        prop_assert_eq!((counts.unmatched, counts.unexplained, counts.moved), (0, 0, 0));
    }
}

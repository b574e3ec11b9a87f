//! Comparison of what the stream says with the machine's registers, block by block.

use crate::blocks::Hot;
use crate::host::{Host, RSP, Register};
use std::fmt;
use strata_workloads::trace::{Batch, Block, MachineState, StackEffect, Vcpu};

/// Reads the stream as it is made.
#[derive(Debug, Default)]
pub struct Verifier {
    state: MachineState,
    effects: Vec<StackEffect>,
    /// What of the present batch has been read: shapes, events, definitions.
    shapes: usize,
    events: usize,
    defined: usize,
    blocks: u64,
    stack: u64,
    address: u64,
    space: u64,
    privilege: u64,
    accesses: u64,
    translations: u64,
    vcpus: u64,
    examples: Vec<String>,
}

/// Mismatches that are shown in full.
const EXAMPLES: usize = 10;

impl Verifier {
    /// The recording begins in this state.
    pub fn begin(&mut self, initial: MachineState) {
        self.state = initial;
    }

    /// Reads what was added to the batch.
    pub fn catch_up(&mut self, batch: &Batch) {
        for shape in &batch.new.shapes[self.defined..] {
            self.effects.push(shape.stack);
        }
        self.defined = batch.new.shapes.len();
        loop {
            match batch.events.get(self.events) {
                Some((at, event)) if *at as usize <= self.shapes => {
                    self.state.apply(event);
                    self.events += 1;
                }
                _ if self.shapes < batch.shapes.len() => {
                    if let StackEffect::Moves(by) = self.effects[batch.shapes[self.shapes].index()]
                    {
                        let cpu = self.state.running_mut();
                        cpu.stack_pointer = cpu.stack_pointer.wrapping_add_signed(by.into());
                    }
                    self.shapes += 1;
                }
                _ => return,
            }
        }
    }

    /// The batch, all of which was read, is handed over.
    pub fn batch_ends(&mut self) {
        (self.shapes, self.events, self.defined) = (0, 0, 0);
    }

    /// Compares the physical address of an access as told and as found by the emulator.
    pub fn compare_access(&mut self, address: u64, told: Option<u64>, found: Option<u64>) {
        self.accesses += 1;
        if told != found {
            self.translations += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(format!("{address:#x} is at {found:x?} but told at {told:x?}"));
            }
        }
    }

    /// Compares the vCPU that Xen's memory names with the one that the stream does.
    pub fn compare_vcpu(&mut self, told: Vcpu, found: Option<Vcpu>) {
        if found.is_some_and(|found| found != told) {
            self.vcpus += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(format!("{found:x?} runs but {told:x?} in the stream"));
            }
        }
    }

    /// Compares, at the beginning of a block.
    pub fn compare<H: Host>(&mut self, host: &H, hot: &Hot, block: &Block, before: &str) {
        self.blocks += 1;
        let register = |r| host.register(r);
        let cpu = self.state.running();
        let long = block.code_size.bits() == 64;
        let mask = if long { u64::MAX } else { 0xffff_ffff };
        let found = [
            (&mut self.stack, "RSP", cpu.stack_pointer & mask, register(RSP)),
            (
                &mut self.address,
                "RIP",
                hot.address,
                if long { register(Register::InstructionPointer) } else { hot.address },
            ),
            (&mut self.space, "CR3", cpu.active_cr3() & !(1 << 63), register(Register::Cr3)),
            (
                &mut self.privilege,
                "CPL",
                block.privilege.into(),
                register(Register::CodeSegment) & 3,
            ),
        ];
        for (count, name, stream, machine) in found {
            if stream != machine {
                *count += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(format!(
                        "{name} is {machine:#x} but {stream:#x} in the stream, at {:#x}, {before}",
                        hot.address
                    ));
                }
            }
        }
        // One wrong value is one mismatch, not one at each block after it.
        let (stack, cr3) = (register(RSP), register(Register::Cr3));
        let cpu = self.state.running_mut();
        cpu.stack_pointer = stack;
        match &mut cpu.guest {
            Some(guest) => guest.guest_cr3 = cr3,
            None => cpu.cr3 = cr3,
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "verified at {} blocks: mismatches of RSP {}, RIP {}, CR3 {}, CPL {}, vCPU {}; at {} accesses: \
             mismatches of the physical address {}",
            self.blocks,
            self.stack,
            self.address,
            self.space,
            self.privilege,
            self.vcpus,
            self.accesses,
            self.translations
        )?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}

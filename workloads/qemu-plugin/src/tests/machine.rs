//! A machine to record: memory, registers, and blocks that "run" by calling the recorder the way
//! the emulator does.

use crate::blocks::Index;
use crate::host::{Access, Host, RSP, Register};
use crate::memory::Memory;
use crate::options::XenLayout;
use crate::recorder::{Phase, Recorder};
use crate::session::Translated;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use strata_workloads::trace::{AccessKind, Descriptor, Event, Shape};

pub(crate) const ROOT: u64 = 0x10_0000;
const TABLES: [u64; 3] = [0x10_1000, 0x10_2000, 0x10_3000];
pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITABLE: u64 = 2;
pub(crate) const USER: u64 = 4;
/// Where the interrupt descriptor table of the test machine is.
pub(crate) const IDT: u64 = 0x8_0000;
/// Where its task state segment is.
pub(crate) const TASK: u64 = 0x8_2000;
/// Where the registers of a network card are mapped.
pub(crate) const CARD: u64 = 0x12_0000;
/// Handler of vector `v`: 0x9_0000 + 64 v.
pub(crate) fn handler(vector: u64) -> u64 {
    0x9_0000 + 64 * vector
}

pub(crate) struct Fake {
    pub(crate) memory: Memory,
    pub(crate) registers: RefCell<HashMap<Register, u64>>,
    begun: RefCell<HashMap<u32, u64>>,
    /// Registers of a network card by offset, mapped at [`CARD`].
    pub(crate) card: RefCell<HashMap<u64, u32>>,
    pub(crate) stops: Cell<u32>,
    pub(crate) said: RefCell<Vec<String>>,
}

impl Host for Fake {
    fn register(&self, register: Register) -> u64 {
        self.registers.borrow().get(&register).copied().unwrap_or(0)
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn begun(&self, cpu: u32) -> u64 {
        self.begun.borrow().get(&cpu).copied().unwrap_or(0)
    }

    fn restart(&self, cpu: u32) {
        self.begun.borrow_mut().insert(cpu, 0);
    }

    fn describe(&self, info: u32) -> Access {
        let kind = if info & STORE != 0 { AccessKind::Write } else { AccessKind::Read };
        Access { kind, bytes: info as u16 & 0xff }
    }

    fn physical(&self, _: u32, address: u64) -> Option<u64> {
        let entry = self.memory.u64(TABLES[2] + (address >> 12) * 8)?;
        Some(entry & 0xf_ffff_f000 | address & 0xfff)
    }

    fn is_network_card(&self, _: u32, address: u64) -> bool {
        address >> 17 == CARD >> 17
    }

    fn device_word(&self, address: u64) -> Option<u32> {
        Some(self.card.borrow().get(&(address - CARD)).copied().unwrap_or(0))
    }

    fn cpu_time(&self) -> u64 {
        0
    }

    fn request_stop(&self) {
        self.stops.set(self.stops.get() + 1);
    }

    fn say(&self, message: &str) {
        self.said.borrow_mut().push(message.to_owned());
    }
}

const STORE: u32 = 1 << 16;

/// An access of a running instruction.
#[derive(Clone, Copy)]
pub(crate) struct Does {
    pub(crate) instruction: u32,
    pub(crate) store: bool,
    pub(crate) bytes: u32,
    pub(crate) address: u64,
}

pub(crate) fn load(instruction: u32, bytes: u32, address: u64) -> Does {
    Does { instruction, store: false, bytes, address }
}

pub(crate) fn store(instruction: u32, bytes: u32, address: u64) -> Does {
    Does { instruction, store: true, bytes, address }
}

pub(crate) struct Machine {
    pub(crate) recorder: Recorder<Fake>,
    pub(crate) cpu: u32,
}

impl Machine {
    /// 64-bit mode with the first 2 MiB mapped to themselves, and gates for all vectors.
    pub(crate) fn new() -> Self {
        Machine::with(None, 0)
    }

    pub(crate) fn with(xen: Option<XenLayout>, limit: u64) -> Self {
        let memory = Memory::zeroed(2 << 20);
        memory.store(ROOT, TABLES[0] | PRESENT | WRITABLE | USER);
        memory.store(TABLES[0], TABLES[1] | PRESENT | WRITABLE | USER);
        memory.store(TABLES[1], TABLES[2] | PRESENT | WRITABLE | USER);
        for page in 0..512 {
            memory.store(TABLES[2] + page * 8, (page << 12) | PRESENT | WRITABLE | USER);
        }
        for vector in 0..256 {
            let address = handler(vector);
            let low = address & 0xffff | 8 << 16 | 0x8e << 40 | (address >> 16 & 0xffff) << 48;
            memory.store(IDT + vector * 16, low);
        }
        let fake = Fake {
            memory,
            registers: RefCell::default(),
            begun: RefCell::default(),
            card: RefCell::default(),
            stops: Cell::new(0),
            said: RefCell::default(),
        };
        let recorder = Recorder::new(fake, xen, limit, false);
        let mut machine = Machine { recorder, cpu: 0 };
        machine.set(Register::Cr0, 0x8000_0001);
        machine.set(Register::Cr3, ROOT);
        machine.set(Register::Cr4, 0x20);
        machine.set(Register::Efer, 0x500);
        machine.set(Register::CodeSegment, 8);
        machine.set(RSP, 0x7_0000);
        // A long-mode code segment at selector 8.
        machine.memory().store(0x8_3008, 1 << 53 | 1 << 47);
        machine.recorder.now.gdt = Descriptor { base: 0x8_3000, limit: 0xff, selector: 0 };
        machine.recorder.now.idt = Descriptor { base: IDT, limit: 0xfff, selector: 0 };
        machine.recorder.now.task = Descriptor { base: TASK, limit: 0x67, selector: 0x10 };
        machine.recorder.phase = Phase::Armed;
        machine
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.recorder.host.memory
    }

    pub(crate) fn set(&self, register: Register, value: u64) {
        self.recorder.host.registers.borrow_mut().insert(register, value);
    }

    /// Changes the page-table entry of `address`.
    pub(crate) fn map(&self, address: u64, entry: u64) {
        self.memory().store(TABLES[2] + (address >> 12) * 8, entry);
    }

    /// Translates a block of these instructions.
    pub(crate) fn block(&mut self, address: u64, instructions: &[&[u8]]) -> Index {
        let lengths: Vec<u8> = instructions.iter().map(|i| i.len() as u8).collect();
        let code = instructions.concat();
        self.recorder.translate(Translated { address, lengths: &lengths, code: &code }).0
    }

    /// Runs block `index` to its end.
    pub(crate) fn run(&mut self, index: Index, accesses: &[Does]) {
        let count = self.recorder.blocks.hot(index).count;
        self.run_part(index, count.into(), accesses);
    }

    /// Runs block `index` up to and including the beginning of its instruction number `begun`
    /// (counted from 1). Special instructions among them are looked at.
    pub(crate) fn run_part(&mut self, index: Index, begun: u64, accesses: &[Does]) {
        let address = self.recorder.blocks.hot(index).address;
        self.run_at(index, address, begun, accesses);
    }

    /// Likewise, at another address than it was translated for.
    pub(crate) fn run_at(&mut self, index: Index, address: u64, begun: u64, accesses: &[Does]) {
        self.set(Register::InstructionPointer, address);
        let translated = self.recorder.blocks.hot(index).address;
        let frame = (translated >> 12) as u32;
        self.recorder.execute(self.cpu, index, frame);
        for i in 0..begun as u32 {
            self.begun(u64::from(i) + 1);
            if self.recorder.blocks.is_looked_at(index, i as usize) {
                self.recorder.instruction(index, i);
            }
            for access in accesses.iter().filter(|access| access.instruction == i) {
                self.access(index, *access);
            }
        }
    }

    /// The running block has begun so many instructions.
    pub(crate) fn begun(&mut self, begun: u64) {
        self.recorder.host.begun.borrow_mut().insert(self.cpu, begun);
    }

    pub(crate) fn access(&mut self, index: Index, access: Does) {
        let info = access.bytes | if access.store { STORE } else { 0 };
        let Does { instruction, address, store, .. } = access;
        self.recorder.access(index, instruction, info, address, store);
    }

    /// Puts the frame of an interrupt on the stack that the handler starts with.
    pub(crate) fn frame(&mut self, error: Option<u64>, resume: u64) {
        let words = [resume, 8, 0x202, 0x7_0000, 0x10];
        let mut stack = 0x7_0000 - 40;
        for (i, word) in words.into_iter().enumerate() {
            self.memory().store(stack + 8 * i as u64, word);
        }
        if let Some(error) = error {
            stack -= 8;
            self.memory().store(stack, error);
        }
        self.set(RSP, stack);
    }

    /// Closes the open execution and returns the shapes executed so far.
    pub(crate) fn finish(&mut self) -> Vec<Shape> {
        self.recorder.close_open();
        self.shapes()
    }

    pub(crate) fn shapes(&self) -> Vec<Shape> {
        let batch = &self.recorder.batch;
        batch.shapes.iter().map(|id| batch.new.shapes[id.index()].clone()).collect()
    }

    /// Events but translations, each with the execution it comes before.
    pub(crate) fn events(&self) -> Vec<(u32, Event)> {
        let telling = |(_, event): &&(u32, Event)| !matches!(event, Event::Translation(_));
        self.recorder.batch.events.iter().filter(telling).cloned().collect()
    }

    /// Number of translations told so far.
    pub(crate) fn told(&self) -> usize {
        self.recorder.batch.new.translations.len()
    }
}

/// mov (%rsi), %rax
pub(crate) const LOAD: &[u8] = &[0x48, 0x8b, 0x06];
/// mov %rax, (%rdi)
pub(crate) const STORE_RAX: &[u8] = &[0x48, 0x89, 0x07];
pub(crate) const NOP: &[u8] = &[0x90];
/// jmp to itself plus two: the next instruction
pub(crate) const JUMP: &[u8] = &[0xeb, 0x00];
pub(crate) const RET: &[u8] = &[0xc3];
pub(crate) const REP_MOVSB: &[u8] = &[0xf3, 0xa4];
pub(crate) const IRETQ: &[u8] = &[0x48, 0xcf];

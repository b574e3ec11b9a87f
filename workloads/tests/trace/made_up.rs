//! Streams made up from bytes: any bytes give a stream that a writer accepts. A property test
//! shrinks the bytes, a fuzzer mutates them.

use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, ControlRegister, CpuState, Descriptor,
    DescriptorTable, Event, Flow, GapReason, GrantOperation, Interrupt, InterruptKind, Lacks,
    MachineState, PageFlags, PageSize, Repeat, Shape, ShapeId, Slot, Space, SpaceId, StackEffect,
    Translation, TranslationId, Vcpu, Walk, WalkId, WriterOptions,
};

/// A stream in the pieces that go to a writer.
#[derive(Clone, Debug)]
pub(crate) struct MadeUp {
    /// How it is to be written.
    pub(crate) options: WriterOptions,
    /// What is to be written.
    pub(crate) batches: Vec<Batch>,
}

/// Numbers from bytes; zeros when they run out.
struct Choices<'b> {
    bytes: &'b [u8],
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((&first, rest)) => {
                self.bytes = rest;
                first
            }
            None => 0,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        let wide = limit > 256;
        let value = usize::from(self.byte()) | if wide { usize::from(self.byte()) << 8 } else { 0 };
        value % limit.max(1)
    }

    fn yes(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// A number of any size, small ones and those near 2⁶⁴ as likely as others.
    fn number(&mut self) -> u64 {
        let shape = self.byte();
        let mut word = [if shape & 0x80 != 0 { 0xff } else { 0 }; 8];
        for byte in word.iter_mut().take(usize::from(shape & 15).min(8)) {
            *byte = self.byte();
        }
        u64::from_le_bytes(word)
    }

    fn page(&mut self, size: PageSize) -> u64 {
        (self.number() & ((1 << 52) - 1)) & !(size.frames() - 1)
    }

    fn vcpu(&mut self) -> Vcpu {
        Vcpu {
            pointer: self.number(),
            domain: self.number() as u16,
            number: u16::from(self.byte()),
        }
    }

    fn descriptor(&mut self) -> Descriptor {
        Descriptor {
            base: self.number(),
            limit: self.number() as u32,
            selector: self.number() as u16,
        }
    }
}

/// Makes a stream out of `bytes`.
pub(crate) fn stream(bytes: &[u8]) -> MadeUp {
    let mut maker = Maker {
        choices: Choices { bytes },
        batches: Vec::new(),
        batch: Batch::default(),
        blocks: Vec::new(),
        shapes: Vec::new(),
        slots_last: Vec::new(),
        spaces: Vec::new(),
        walks: 0,
        translations: 0,
        told: 0,
        bases: [0; 18],
        executed: Vec::new(),
    };
    let options = maker.options();
    maker.block();
    maker.shape();
    while !maker.choices.bytes.is_empty() {
        maker.step();
    }
    maker.batches.push(maker.batch);
    MadeUp { options, batches: maker.batches }
}

struct Maker<'b> {
    choices: Choices<'b>,
    batches: Vec<Batch>,
    batch: Batch,
    blocks: Vec<Block>,
    shapes: Vec<Shape>,
    /// Last address of each slot of each shape.
    slots_last: Vec<Vec<u64>>,
    spaces: Vec<Space>,
    walks: usize,
    translations: u32,
    told: u32,
    /// Last base of a slot with each mirrored register.
    bases: [u64; 18],
    /// Shapes executed, for repetition.
    executed: Vec<ShapeId>,
}

impl Maker<'_> {
    fn options(&mut self) -> WriterOptions {
        let c = &mut self.choices;
        let chunk_instructions = 1 + u64::from(c.byte());
        let cpus = 1 + usize::from(c.byte() % 3);
        let cpus: Vec<CpuState> = (0..cpus)
            .map(|_| CpuState {
                cr0: c.number(),
                cr3: c.number(),
                cr4: c.number(),
                efer: c.number(),
                idt: c.descriptor(),
                task: c.descriptor(),
                current: c.vcpu(),
                stack_pointer: c.number(),
                halted: c.yes(),
                tsc: c.number(),
                ..CpuState::default()
            })
            .collect();
        let cpu = c.below(cpus.len()) as u16;
        WriterOptions {
            level: 1,
            description: "made up".into(),
            lacks: Lacks::from_bits((chunk_instructions as u32) << 3).unwrap_or_default(),
            chunk_instructions,
            initial: MachineState { cpus, cpu },
        }
    }

    fn step(&mut self) {
        match self.choices.byte() % 32 {
            0 => self.block(),
            1..=3 => self.shape(),
            4 => self.pages(),
            5 => {
                let batch = std::mem::take(&mut self.batch);
                self.batches.push(batch);
            }
            6..=11 => self.event(),
            12..=17 => self.again(),
            _ => {
                let id = ShapeId(self.choices.below(self.shapes.len()) as u32);
                self.execute(id);
            }
        }
    }

    fn block(&mut self) {
        let c = &mut self.choices;
        let mut lengths: Box<[u8]> = (0..1 + c.below(6)).map(|_| 1 + c.byte() % 15).collect();
        let bytes: usize = lengths.iter().map(|&length| usize::from(length)).sum();
        let code = if c.yes() { (0..bytes).map(|_| c.byte()).collect() } else { Box::default() };
        if code.is_empty() {
            lengths[0] *= 17;
        }
        let block = Block {
            address: c.number(),
            code_size: [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64][c.below(3)],
            privilege: c.byte() % 4,
            space: c.yes().then(|| c.number()),
            lengths,
            code,
        };
        self.batch.new.blocks.push(block.clone());
        self.blocks.push(block);
    }

    fn shape(&mut self) {
        let c = &mut self.choices;
        let block = c.below(self.blocks.len());
        let instructions = self.blocks[block].instructions();
        let completed = c.below(instructions + 1);
        let interrupted = completed < instructions && c.yes();
        let begun = completed + usize::from(interrupted);
        let mut slots = Vec::new();
        for instruction in 0..begun {
            for _ in 0..[0, 0, 1, 2][c.below(4)] {
                let base = match c.byte() % 8 {
                    0..=3 => Base::Register(c.byte() % 18),
                    4 => Base::Register(4),
                    5 => Base::Block,
                    _ => Base::Own,
                };
                let displacement = if base == Base::Own { 0 } else { c.number() as i64 };
                let write = c.yes();
                let bytes = [1, 2, 4, 8, 16, 32, 512, 0][c.below(8)];
                slots.push(Slot {
                    instruction: instruction as u16,
                    kind: if write { AccessKind::Write } else { AccessKind::Read },
                    bytes,
                    modify: write && bytes >= 8,
                    base,
                    displacement,
                });
            }
        }
        let repeated = slots.len().min(c.below(3)) as u8;
        let shape = Shape {
            block: BlockId(block as u32),
            completed: completed as u16,
            interrupted,
            slots: slots.into(),
            repeat: (begun > 0 && c.byte().is_multiple_of(4))
                .then(|| Repeat { slots: repeated, backward: c.yes() }),
            flow: [Flow::Other, Flow::Other, Flow::Call, Flow::Return][c.below(4)],
            stack: match c.byte() % 4 {
                0 => StackEffect::Loaded,
                1 => StackEffect::Moves(c.number() as i32),
                _ => StackEffect::Moves(0),
            },
        };
        self.slots_last.push(vec![0; shape.slots.len()]);
        self.batch.new.shapes.push(shape.clone());
        self.shapes.push(shape);
    }

    fn pages(&mut self) {
        let c = &mut self.choices;
        let new = &mut self.batch.new;
        let space = match c.byte() % 4 {
            0 => Space::Physical,
            1 => Space::Paged { root: c.number() },
            2 => Space::Guest { root: c.number(), nested: c.number() },
            _ => Space::Nested { root: c.number() },
        };
        self.spaces.push(space);
        new.spaces.push(space);
        new.walks.push(Walk { tables: (0..c.below(6)).map(|_| c.number()).collect() });
        self.walks += 1;
        for _ in 0..c.below(4) {
            let size = PageSize::ALL[c.below(4)];
            let space = SpaceId(c.below(self.spaces.len()) as u32);
            let frame = c.page(size);
            let nested =
                matches!(self.spaces[space.index()], Space::Guest { .. } | Space::Nested { .. });
            let bits = c.byte();
            new.translations.push(Translation {
                space,
                page: c.page(size),
                frame,
                guest_frame: if nested { c.page(size) } else { frame },
                size,
                flags: PageFlags {
                    global: bits & 1 != 0,
                    user: bits & 2 != 0,
                    writable: bits & 4 != 0,
                    executable: bits & 8 != 0,
                    guest_kernel: bits & 16 != 0,
                    device: bits & 32 != 0,
                },
                walk: WalkId(c.below(self.walks) as u32),
            });
            self.translations += 1;
        }
    }

    /// Executes a stretch of what was executed before, once or several times.
    fn again(&mut self) {
        let length = (1 + self.choices.below(12)).min(self.executed.len());
        let start = self.executed.len() - length;
        for _ in 0..1 + self.choices.below(4) {
            for i in start..start + length {
                self.execute(self.executed[i]);
            }
        }
    }

    fn execute(&mut self, id: ShapeId) {
        let c = &mut self.choices;
        let shape = &self.shapes[id.index()];
        for (slot, last) in shape.slots.iter().zip(&mut self.slots_last[id.index()]) {
            let address = match c.byte() % 8 {
                0 | 1 => *last,
                2 | 3 => last.wrapping_add(8),
                4 => last.wrapping_add((c.byte() as i8) as u64),
                5 => last.wrapping_add((c.number() & 0xffff) << 4),
                6 => c.number(),
                _ => self.bases[c.below(18)].wrapping_add(slot.displacement as u64),
            };
            if let Base::Register(register) = slot.base {
                self.bases[usize::from(register)] = address.wrapping_sub(slot.displacement as u64);
            }
            self.batch.addresses.push(address);
            *last = address;
        }
        if shape.repeat.is_some() {
            self.batch.iterations.push(c.number() >> 28);
        }
        self.batch.shapes.push(id);
        self.executed.push(id);
    }

    fn event(&mut self) {
        let c = &mut self.choices;
        let event = match c.byte() % 27 {
            0 if self.told < self.translations => {
                self.told += 1;
                Event::Translation(TranslationId(self.told - 1))
            }
            1 => {
                use ControlRegister::{Cr0, Cr3, Cr4, Efer};
                let register = [Cr0, Cr3, Cr4, Efer][c.below(4)];
                Event::Control { register, value: c.number() }
            }
            2 => Event::Msr { index: c.number() as u32, value: c.number() },
            3 => {
                use DescriptorTable::{Global, Interrupt, Task};
                let table = [Global, Interrupt, Task][c.below(3)];
                let Descriptor { base, limit, selector } = c.descriptor();
                Event::Descriptor { table, selector, base, limit }
            }
            4 => Event::Invlpg { address: c.number() },
            5 => Event::Invpcid { kind: c.byte(), pcid: c.number() as u16, address: c.number() },
            6 => Event::Invlpga { address: c.number(), asid: c.number() as u32 },
            7 => Event::Interrupt(Interrupt {
                vector: c.yes().then(|| c.byte()),
                kind: [InterruptKind::External, InterruptKind::Exception, InterruptKind::Software]
                    [c.below(3)],
                error_code: c.yes().then(|| c.number() as u32),
                resume: c.number(),
                code_segment: c.number() as u16,
                stack_before: c.number(),
                stack_after: c.number(),
                fault_address: c.number(),
                gate_segment: c.number() as u16,
                gate_stack: c.byte(),
            }),
            8 => Event::Syscall { number: c.number() },
            9 => Event::Hypercall {
                number: c.number(),
                arguments: std::array::from_fn(|_| c.number()),
            },
            10 => Event::Grant(GrantOperation {
                operation: c.byte(),
                domain: c.number() as u16,
                reference: c.number() as u32,
                frame: c.number(),
                other_domain: c.number() as u16,
                flags: c.number() as u16,
                bytes: c.number() as u16,
            }),
            11 => Event::EventChannel {
                operation: c.byte(),
                port: c.number() as u32,
                domain: c.number() as u16,
            },
            12 => Event::Halt,
            13 => Event::Wake,
            14 => Event::Port {
                port: c.number() as u16,
                bytes: c.byte() & 0x7f,
                write: c.yes(),
                count: c.number() as u32,
            },
            15 => Event::VmRun {
                vmcb: c.number(),
                asid: c.number() as u32,
                tlb_control: c.byte(),
                guest_cr3: c.number(),
                nested_cr3: c.number(),
            },
            16 => Event::VmExit { code: c.number(), info1: c.number(), info2: c.number() },
            17 => Event::Tsc { value: c.number() },
            18 => Event::Time { nanoseconds: c.number() },
            19 => Event::Marker { number: c.number() as u32 },
            20 => Event::Gap {
                reason: [GapReason::Disarmed, GapReason::Lost, GapReason::Damaged][c.below(3)],
                instructions: c.number(),
            },
            21 => Event::Cpu { number: u16::from(c.byte() % 5) },
            22 => Event::Current(c.vcpu()),
            23 => Event::Loaded(c.vcpu()),
            25 => Event::CacheFlush,
            24 => Event::StackPointer { value: c.number() },
            _ => Event::Dma { address: c.number(), bytes: c.number() as u32, write: c.yes() },
        };
        self.batch.event(event);
    }
}

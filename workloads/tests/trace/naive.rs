//! A second decoder, written from `docs/trace-format.md` alone: slow, obvious, and sharing no code
//! with the first but the types that both fill.

use super::flat::Item;
use std::collections::{BTreeSet, HashMap};
use strata_workloads::trace::{
    AccessKind, Base, Block, BlockId, CodeSize, ControlRegister, CpuState, Definitions, Descriptor,
    DescriptorTable, Event, Flow, GapReason, GrantOperation, Interrupt, InterruptKind,
    MachineState, NestedGuest, PageFlags, PageSize, Repeat, Shape, ShapeId, Slot, Space, SpaceId,
    StackEffect, Translation, TranslationId, Vcpu, Walk, WalkId,
};

/// All that a trace holds.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) description: String,
    pub(crate) lacks: u32,
    pub(crate) items: Vec<Item>,
    pub(crate) definitions: Definitions,
    /// Address codes met.
    pub(crate) codes: BTreeSet<u8>,
    /// The end and its trailer were reached.
    pub(crate) whole: bool,
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, count: usize) -> &'b [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn fixed(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn u(&mut self) -> u64 {
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    fn s(&mut self) -> i64 {
        let value = self.u();
        if value & 1 == 0 { (value >> 1) as i64 } else { !((value >> 1) as i64) }
    }

    fn a(&mut self) -> u64 {
        self.s() as u64
    }

    fn u16(&mut self) -> u16 {
        self.u().try_into().unwrap()
    }

    fn u32(&mut self) -> u32 {
        self.u().try_into().unwrap()
    }
}

/// Decodes a sound trace; panics at anything else.
pub(crate) fn decode(trace: &[u8]) -> Decoded {
    let mut out = Decoded::default();
    let mut file = Cursor(trace);
    assert_eq!(file.take(8), b"\x89STRATA\n");
    let version = file.fixed(4);
    assert!(matches!(version, 1 | 2));
    let length = file.fixed(4) as usize;
    let mut size = 16 + length;
    if version == 2 {
        out.lacks = file.fixed(4) as u32;
        size += 4;
    }
    out.description = String::from_utf8(file.take(length).to_vec()).unwrap();
    assert_eq!(file.fixed(4), u64::from(crc32fast::hash(&trace[..size])));
    let mut told = 0;
    let mut hash = blake3::Hasher::new();
    let mut frames = Vec::new();
    loop {
        let offset = trace.len() - file.0.len();
        let head = file.take(16);
        let tag: [u8; 4] = head[..4].try_into().unwrap();
        assert_eq!(Cursor(&head[12..]).fixed(4), u64::from(crc32fast::hash(&head[..12])));
        let payload = file.take(Cursor(&head[4..]).fixed(8) as usize);
        let (columns, sums) = columns(payload);
        let mut columns: Vec<Cursor<'_>> = columns.iter().map(|column| Cursor(column)).collect();
        if matches!(&tag, b"DEFS" | b"CHNK") {
            frames.push((offset, tag == *b"CHNK"));
            hash.update(&tag);
            hash.update(&sums);
        }
        match &tag {
            b"DEFS" => definitions(&mut columns, &mut out.definitions),
            b"CHNK" => chunk(&mut columns, &mut out, &mut told),
            b"INDX" => {
                let index = &mut columns[0];
                assert_eq!(index.u() as usize, frames.len());
                let mut at = 0;
                for &(offset, chunk) in &frames {
                    assert_eq!(index.u8() == 1, chunk);
                    at += index.u() as usize;
                    assert_eq!(at, offset);
                    if chunk {
                        totals(index);
                    }
                }
            }
            b"ENDS" => {
                totals(&mut columns[0]);
                sizes(&mut columns[0]);
                assert_eq!(columns[0].take(16), &hash.finalize().as_bytes()[..16]);
                let index = file.fixed(8) as usize;
                assert_eq!(&trace[index..index + 4], b"INDX");
                assert_eq!(file.take(8), b"STRAEND\n");
                out.whole = file.0.is_empty();
                return out;
            }
            other => panic!("frame {other:?}"),
        }
        assert!(columns.iter().all(|column| column.0.is_empty()), "bytes left in a column");
    }
}

pub(crate) fn columns(payload: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut cursor = Cursor(payload);
    let count = cursor.u8();
    let directory: Vec<_> =
        (0..count).map(|_| (cursor.u() as usize, cursor.u() as usize, cursor.fixed(4))).collect();
    let mut sums = Vec::new();
    let columns = directory
        .into_iter()
        .map(|(raw, stored, sum)| {
            let body = cursor.take(stored);
            let column =
                if stored == raw { body.to_vec() } else { zstd::stream::decode_all(body).unwrap() };
            assert_eq!((column.len(), u64::from(crc32fast::hash(&column))), (raw, sum));
            sums.extend_from_slice(&(raw as u64).to_le_bytes());
            sums.extend_from_slice(&(sum as u32).to_le_bytes());
            column
        })
        .collect();
    assert!(cursor.0.is_empty());
    (columns, sums)
}

fn totals(column: &mut Cursor<'_>) -> [u64; 5] {
    std::array::from_fn(|_| column.u())
}

fn sizes(column: &mut Cursor<'_>) -> [u64; 5] {
    std::array::from_fn(|_| column.u())
}

fn definitions(columns: &mut [Cursor<'_>], out: &mut Definitions) {
    let [blocks, lengths, code, shapes, pages] = columns else { panic!("5 columns") };
    let held = [
        out.blocks.len(),
        out.shapes.len(),
        out.spaces.len(),
        out.walks.len(),
        out.translations.len(),
    ];
    assert_eq!(sizes(blocks).map(|size| size as usize), held);
    let mut end = 0u64;
    for _ in 0..blocks.u() {
        let flags = blocks.u8();
        let address = end.wrapping_add(blocks.a());
        let instructions = blocks.u() as usize;
        let space = (flags & 0x10 != 0).then(|| blocks.u());
        let lengths: Box<[u8]> = lengths.take(instructions).into();
        let bytes: usize = lengths.iter().map(|&length| usize::from(length)).sum();
        out.blocks.push(Block {
            address,
            code_size: [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64]
                [usize::from(flags & 3)],
            privilege: (flags >> 2) & 3,
            space,
            lengths,
            code: if flags & 0x20 != 0 { code.take(bytes).into() } else { Box::default() },
        });
        end = address.wrapping_add(bytes as u64);
    }
    let mut block = 0i64;
    for _ in 0..shapes.u() {
        let flags = shapes.u8();
        block += shapes.s();
        let completed = shapes.u16();
        let repeat =
            (flags & 0x08 != 0).then(|| Repeat { slots: shapes.u8(), backward: flags & 0x10 != 0 });
        let stack = if flags & 0x20 != 0 {
            StackEffect::Loaded
        } else {
            StackEffect::Moves(shapes.s() as i32)
        };
        let mut instruction = 0;
        let slots = (0..shapes.u())
            .map(|_| {
                instruction += shapes.u16();
                let what = shapes.u8();
                let bytes = shapes.u16();
                let base = match what >> 1 & 0x3f {
                    18 => Base::Block,
                    19 => Base::Own,
                    register => Base::Register(register),
                };
                let displacement = if base == Base::Own { 0 } else { shapes.s() };
                let kind = if what & 1 != 0 { AccessKind::Write } else { AccessKind::Read };
                Slot { instruction, kind, bytes, modify: what & 0x80 != 0, base, displacement }
            })
            .collect();
        out.shapes.push(Shape {
            block: BlockId(block as u32),
            completed,
            interrupted: flags & 4 != 0,
            slots,
            repeat,
            flow: [Flow::Other, Flow::Call, Flow::Return][usize::from(flags & 3)],
            stack,
        });
    }
    for _ in 0..pages.u() {
        out.spaces.push(match pages.u8() {
            0 => Space::Physical,
            1 => Space::Paged { root: pages.u() },
            2 => Space::Guest { root: pages.u(), nested: pages.u() },
            3 => Space::Nested { root: pages.u() },
            other => panic!("space {other}"),
        });
    }
    for _ in 0..pages.u() {
        let levels = pages.u();
        out.walks.push(Walk { tables: (0..levels).map(|_| pages.u()).collect() });
    }
    let (mut space, mut page, mut frame, mut walk) = (0i64, 0u64, 0u64, 0i64);
    for _ in 0..pages.u() {
        let flags = pages.u8();
        let bit = |number: u8| flags >> number & 1 != 0;
        let size = PageSize::ALL[usize::from(pages.u8())];
        space += pages.s();
        page = page.wrapping_add(pages.a());
        frame = frame.wrapping_add(pages.a());
        walk += pages.s();
        out.translations.push(Translation {
            space: SpaceId(space as u32),
            page,
            frame,
            guest_frame: if bit(6) { pages.u() } else { frame },
            size,
            flags: PageFlags {
                global: bit(0),
                user: bit(1),
                writable: bit(2),
                executable: bit(3),
                guest_kernel: bit(4),
                device: bit(5),
            },
            walk: WalkId(walk as u32),
        });
    }
}

fn vcpu(c: &mut Cursor<'_>) -> Vcpu {
    Vcpu { pointer: c.a(), domain: c.u16(), number: c.u16() }
}

fn descriptor(c: &mut Cursor<'_>) -> Descriptor {
    Descriptor { base: c.a(), limit: c.u32(), selector: c.u16() }
}

fn state(c: &mut Cursor<'_>) -> MachineState {
    let (count, cpu) = (c.u(), c.u16());
    let cpus = (0..count)
        .map(|_| {
            let flags = c.u8();
            CpuState {
                cr0: c.u(),
                cr3: c.u(),
                cr4: c.u(),
                efer: c.u(),
                gdt: descriptor(c),
                idt: descriptor(c),
                task: descriptor(c),
                current: vcpu(c),
                loaded: vcpu(c),
                stack_pointer: c.a(),
                tsc: c.u(),
                nanoseconds: c.u(),
                guest: (flags & 2 != 0).then(|| NestedGuest {
                    vmcb: c.u(),
                    asid: c.u32(),
                    guest_cr3: c.u(),
                    nested_cr3: c.u(),
                }),
                halted: flags & 1 != 0,
            }
        })
        .collect();
    MachineState { cpus, cpu }
}

/// The predictor as the document tells it.
struct Predictor {
    pairs: HashMap<(u32, u32), u32>,
    after: HashMap<u32, u32>,
    after_return: HashMap<u32, u32>,
    calls: [u32; 64],
    top: usize,
    returned: u32,
    previous: u32,
    current: u32,
    registers: [u64; 18],
    /// Per shape and slot: own base and last step.
    own: HashMap<(u32, usize), u64>,
    steps: HashMap<(u32, usize), u64>,
}

impl Predictor {
    fn pair(&self) -> (u32, u32) {
        (self.previous.wrapping_mul(0x9E37_79B1) >> 29, self.current)
    }

    fn guesses(&self, shapes: &[Shape]) -> [u32; 2] {
        let single = self.after.get(&self.current).copied().unwrap_or(self.current + 1);
        let pair = self.pairs.get(&self.pair()).copied().unwrap_or(single);
        if shapes[self.current as usize].flow == Flow::Return
            && let Some(&known) = self.after_return.get(&self.returned)
        {
            return [known, pair];
        }
        [pair, single]
    }

    fn learn(&mut self, actual: u32, shapes: &[Shape]) {
        self.pairs.insert(self.pair(), actual);
        self.after.insert(self.current, actual);
        if shapes[self.current as usize].flow == Flow::Return {
            self.after_return.insert(self.returned, actual);
        }
        self.previous = self.current;
        self.current = actual;
        match shapes[actual as usize].flow {
            Flow::Other => {}
            Flow::Call => {
                self.top = (self.top + 1) % 64;
                self.calls[self.top] = actual;
            }
            Flow::Return => {
                self.returned = self.calls[self.top];
                self.top = (self.top + 63) % 64;
            }
        }
    }
}

fn chunk(columns: &mut [Cursor<'_>], out: &mut Decoded, told: &mut u32) {
    let [head, tokens, numbers, codes, far, iterations, events] = columns else {
        panic!("7 columns")
    };
    totals(head);
    totals(head);
    assert_eq!(sizes(head)[4], u64::from(*told));
    let mut machine = state(head);
    let (shapes, blocks) = (&out.definitions.shapes, &out.definitions.blocks);
    let mut p = Predictor {
        pairs: HashMap::new(),
        after: HashMap::new(),
        after_return: HashMap::new(),
        calls: [0; 64],
        top: 0,
        returned: 0,
        previous: 0,
        current: 0,
        registers: [0; 18],
        own: HashMap::new(),
        steps: HashMap::new(),
    };
    while !tokens.0.is_empty() {
        let token = tokens.u8();
        let cpu = usize::from(machine.cpu);
        if token == 3 {
            let event = event(events, &machine, told);
            machine.apply(&event);
            out.items.push(Item::Event(event));
            continue;
        }
        p.registers[4] = machine.cpus[cpu].stack_pointer;
        let guesses = p.guesses(shapes);
        let id = match token & 3 {
            2 => numbers.u32(),
            guess => guesses[usize::from(guess)],
        };
        let shape = &shapes[id as usize];
        let mut addresses = Vec::new();
        for (i, slot) in shape.slots.iter().enumerate() {
            let place = (id, i);
            let predicted = match slot.base {
                Base::Register(register) => p.registers[usize::from(register)],
                Base::Block => blocks[shape.block.index()].address,
                Base::Own => p.own.get(&place).copied().unwrap_or(0),
            };
            let code = if token & 4 != 0 { codes.u8() } else { 0 };
            if token & 4 != 0 {
                out.codes.insert(code);
            }
            // With the block as base, bases are told without the block's address.
            let less = if slot.base == Base::Block { predicted } else { 0 };
            let sign_extended =
                |value: u64, bytes: u32| (value << (64 - 8 * bytes)) as i64 >> (64 - 8 * bytes);
            let offset = if slot.base == Base::Block {
                predicted.wrapping_add(slot.displacement as u64)
            } else {
                slot.displacement as u64
            };
            let likely = predicted.wrapping_sub(less);
            let base = match code {
                0 => likely,
                1 => likely.wrapping_add(p.steps.get(&place).copied().unwrap_or(0)),
                2..20 => p.registers[usize::from(code - 2)],
                33..=35 => {
                    let bytes = u32::from(code - 32);
                    likely.wrapping_add(sign_extended(far.fixed(bytes as usize), bytes) as u64)
                }
                40 => sign_extended(far.fixed(6), 6) as u64,
                41 => far.fixed(8),
                other => panic!("address code {other}"),
            };
            if code > 1 {
                p.steps.insert(place, base.wrapping_sub(likely));
            }
            match slot.base {
                Base::Register(register) => p.registers[usize::from(register)] = base,
                Base::Own => {
                    p.own.insert(place, base);
                }
                Base::Block => {}
            }
            addresses.push(base.wrapping_add(offset));
        }
        let stack_pointer = p.registers[4];
        if let StackEffect::Moves(bytes) = shape.stack {
            p.registers[4] = p.registers[4].wrapping_add(bytes as u64);
        }
        let mut count = None;
        if let Some(repeat) = shape.repeat {
            let n = iterations.u();
            count = Some(n);
            let first = shape.slots.len() - usize::from(repeat.slots);
            for (i, slot) in shape.slots.iter().enumerate().skip(first) {
                let moved = n.wrapping_mul(u64::from(slot.bytes));
                let moved = if repeat.backward { moved.wrapping_neg() } else { moved };
                match slot.base {
                    Base::Register(register) => {
                        let register = &mut p.registers[usize::from(register)];
                        *register = register.wrapping_add(moved);
                    }
                    Base::Own => {
                        let own = p.own.entry((id, i)).or_insert(0);
                        *own = own.wrapping_add(moved);
                    }
                    Base::Block => {}
                }
            }
        }
        machine.cpus[cpu].stack_pointer = p.registers[4];
        p.learn(id, shapes);
        out.items.push(Item::Execution {
            shape: ShapeId(id),
            addresses,
            iterations: count,
            stack_pointer,
        });
    }
}

fn event(c: &mut Cursor<'_>, machine: &MachineState, told: &mut u32) -> Event {
    let cpu = machine.running();
    match c.u8() {
        0 => {
            *told += 1;
            Event::Translation(TranslationId(*told - 1))
        }
        1 => {
            use ControlRegister::{Cr0, Cr3, Cr4, Efer};
            let register = match c.u8() {
                0 => Cr0,
                3 => Cr3,
                4 => Cr4,
                8 => Efer,
                other => panic!("control register {other}"),
            };
            Event::Control { register, value: c.u() }
        }
        2 => Event::Msr { index: c.u32(), value: c.a() },
        3 => {
            use DescriptorTable::{Global, Interrupt, Task};
            let table = [Global, Interrupt, Task][usize::from(c.u8())];
            let selector = c.u16();
            Event::Descriptor { table, selector, base: c.a(), limit: c.u32() }
        }
        4 => Event::Invlpg { address: c.a() },
        5 => Event::Invpcid { kind: c.u8(), pcid: c.u16(), address: c.a() },
        6 => Event::Invlpga { address: c.a(), asid: c.u32() },
        7 => {
            let flags = c.u8();
            Event::Interrupt(Interrupt {
                kind: [InterruptKind::External, InterruptKind::Exception, InterruptKind::Software]
                    [usize::from(flags & 3)],
                vector: (flags & 4 != 0).then(|| c.u8()),
                error_code: (flags & 8 != 0).then(|| c.u32()),
                resume: c.a(),
                code_segment: c.u16(),
                stack_before: cpu.stack_pointer.wrapping_add(c.a()),
                stack_after: c.a(),
                fault_address: if flags & 16 != 0 { c.a() } else { 0 },
                gate_segment: c.u16(),
                gate_stack: c.u8(),
            })
        }
        8 => Event::Syscall { number: c.u() },
        9 => Event::Hypercall { number: c.u(), arguments: std::array::from_fn(|_| c.a()) },
        10 => Event::Grant(GrantOperation {
            operation: c.u8(),
            domain: c.u16(),
            reference: c.u32(),
            frame: c.a(),
            other_domain: c.u16(),
            flags: c.u16(),
            bytes: c.u16(),
        }),
        11 => Event::EventChannel { operation: c.u8(), port: c.u32(), domain: c.u16() },
        12 => Event::Halt,
        13 => Event::Wake,
        14 => {
            let how = c.u8();
            Event::Port { bytes: how >> 1, write: how & 1 != 0, port: c.u16(), count: c.u32() }
        }
        15 => Event::VmRun {
            tlb_control: c.u8(),
            vmcb: c.u(),
            asid: c.u32(),
            guest_cr3: c.u(),
            nested_cr3: c.u(),
        },
        16 => Event::VmExit { code: c.a(), info1: c.a(), info2: c.a() },
        17 => Event::Tsc { value: cpu.tsc.wrapping_add(c.a()) },
        18 => Event::Time { nanoseconds: cpu.nanoseconds.wrapping_add(c.a()) },
        19 => Event::Marker { number: c.u32() },
        20 => {
            let reason =
                [GapReason::Disarmed, GapReason::Lost, GapReason::Damaged][usize::from(c.u8())];
            Event::Gap { reason, instructions: c.u() }
        }
        21 => Event::Cpu { number: c.u16() },
        22 => Event::Current(vcpu(c)),
        23 => Event::Loaded(vcpu(c)),
        24 => Event::StackPointer { value: cpu.stack_pointer.wrapping_add(c.a()) },
        26 => Event::CacheFlush,
        25 => Event::Dma { write: c.u8() != 0, address: c.u(), bytes: c.u32() },
        other => panic!("event {other}"),
    }
}

//! A stream with the proportions of a real one: 5 instructions a block, an access in every second
//! instruction, calls and returns, and about nine of ten executions and addresses as before.

use strata_workloads::trace::{
    AccessKind, Base, Batch, Block, BlockId, CodeSize, Event, Flow, STACK_POINTER, Shape, ShapeId,
    Slot, StackEffect, TraceWriter, WriterOptions,
};

const FUNCTIONS: u32 = 1500;
/// The last of them returns.
const BLOCKS_PER_FUNCTION: u32 = 8;
const INSTRUCTIONS: u16 = 5;
const DEEPEST: usize = 20;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}

fn shape(number: u32, random: &mut Random) -> Shape {
    let place = number % BLOCKS_PER_FUNCTION;
    let mut slots = Vec::new();
    for instruction in 0..INSTRUCTIONS - 1 {
        if random.below(2) == 0 {
            let (base, displacement) = match random.below(10) {
                0..4 => (Base::Register(STACK_POINTER), i64::from(random.below(16)) * 8),
                4..8 => (Base::Register(random.below(3) as u8), i64::from(random.below(32)) * 8),
                _ => (Base::Own, 0),
            };
            let kind = if random.below(3) == 0 { AccessKind::Write } else { AccessKind::Read };
            slots.push(Slot { instruction, kind, bytes: 8, modify: false, base, displacement });
        }
    }
    let (flow, moves) = match place {
        2 => (Flow::Call, -8),
        7 => (Flow::Return, 8),
        _ => (Flow::Other, 0),
    };
    if flow != Flow::Other {
        slots.push(Slot {
            instruction: INSTRUCTIONS - 1,
            kind: if flow == Flow::Call { AccessKind::Write } else { AccessKind::Read },
            bytes: 8,
            modify: false,
            base: Base::Register(STACK_POINTER),
            displacement: if flow == Flow::Call { -8 } else { 0 },
        });
    }
    Shape {
        block: BlockId(number),
        completed: INSTRUCTIONS,
        interrupted: false,
        slots: slots.into(),
        repeat: None,
        flow,
        stack: StackEffect::Moves(moves),
    }
}

/// A trace of some `instructions`.
pub(crate) fn trace(instructions: u64) -> Vec<u8> {
    let mut random = Random(1);
    let mut batch = Batch::default();
    let mut shapes = Vec::new();
    for number in 0..FUNCTIONS * BLOCKS_PER_FUNCTION {
        batch.new.blocks.push(Block {
            address: 0xffff_8200_0000_0000 + u64::from(number) * 20,
            code_size: CodeSize::Bits64,
            privilege: 0,
            space: None,
            lengths: vec![4; usize::from(INSTRUCTIONS)].into(),
            code: Box::default(),
        });
        shapes.push(shape(number, &mut random));
    }
    batch.new.shapes = shapes.clone();
    let mut writer =
        TraceWriter::create(Vec::new(), WriterOptions::default()).expect("memory takes a header");
    let mut bases = [0xffff_8300_0000_0000u64; 18];
    let mut own: Vec<u64> =
        (0..shapes.len() as u64).map(|n| 0xffff_8300_1000_0000 + n * 64).collect();
    batch.event(Event::StackPointer { value: bases[usize::from(STACK_POINTER)] });
    let (mut current, mut calls) = (0, Vec::new());
    for execution in 0..instructions / u64::from(INSTRUCTIONS) {
        let shape = &shapes[current as usize];
        for slot in &shape.slots {
            let base = match slot.base {
                Base::Register(register) => &mut bases[usize::from(register)],
                _ => &mut own[current as usize],
            };
            if slot.base != Base::Register(STACK_POINTER) {
                match random.below(40) {
                    0..3 => *base = base.wrapping_add(64),
                    3 => *base = 0xffff_8300_0000_0000 + u64::from(random.below(1 << 24)) * 8,
                    _ => {}
                }
            }
            batch.addresses.push(base.wrapping_add(slot.displacement as u64));
        }
        batch.shapes.push(ShapeId(current));
        if let StackEffect::Moves(bytes) = shape.stack {
            let stack = &mut bases[usize::from(STACK_POINTER)];
            *stack = stack.wrapping_add(bytes as u64);
        }
        if execution % 500 == 0 {
            batch.event(Event::Time { nanoseconds: execution });
        }
        current = next(current, shape.flow, &mut calls, &mut random);
        if batch.shapes.len() == 8192 {
            writer.write(&mut batch).expect("memory takes a batch");
            batch.clear();
        }
    }
    writer.write(&mut batch).expect("memory takes a batch");
    writer.finish().expect("memory takes the end").0
}

fn next(current: u32, flow: Flow, calls: &mut Vec<u32>, random: &mut Random) -> u32 {
    let usual = random.below(12) != 0;
    let function = current / BLOCKS_PER_FUNCTION;
    match flow {
        Flow::Call if calls.len() < DEEPEST => {
            calls.push(current + 1);
            // Most calls go where they always go, which is a function further on.
            let callee = if usual { function * 7 + 3 } else { random.below(FUNCTIONS) };
            callee % FUNCTIONS * BLOCKS_PER_FUNCTION
        }
        Flow::Return => match calls.pop() {
            Some(back) => back,
            None => random.below(FUNCTIONS) * BLOCKS_PER_FUNCTION,
        },
        Flow::Other if !usual && current % BLOCKS_PER_FUNCTION == 4 => current - 1,
        _ => current + 1,
    }
}

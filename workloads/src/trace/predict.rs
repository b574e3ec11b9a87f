//! The predictor that encoder and decoder run in step: what shape comes next, and where its
//! accesses go.
//!
//! Only what the predictor misses is stored. Both sides start it afresh at each chunk, so that a
//! chunk can be decoded without the ones before it.

use super::block::{Base, Flow, MIRRORED_REGISTERS, STACK_POINTER, Shape, ShapeId, StackEffect};

/// Entries of the table indexed by the last two shapes.
const PAIRS: usize = 1 << 15;
/// Depth of the stack of calls, a ring: deeper calls forget the oldest.
const CALLS: usize = 64;
/// The register that holds zero: bases of operands whose address is in the code itself.
pub(crate) const ZERO: u32 = MIRRORED_REGISTERS as u32;
/// First register of those private to a slot.
const FIRST_OWN: u32 = ZERO + 1;

/// A shape as the codec needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedShape {
    pub(crate) first_slot: u32,
    pub(crate) slots: u32,
    pub(crate) repeated_slots: u8,
    pub(crate) flow: Flow,
    pub(crate) repeats: bool,
    pub(crate) stack_moves: i32,
    pub(crate) completed: u16,
}

/// A slot as the codec needs it: `registers[register] + offset`, wrapping, is its likely address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedSlot {
    pub(crate) register: u32,
    pub(crate) offset: u64,
    /// Signed step of one iteration, 0 for a slot that is not repeated.
    pub(crate) step: i32,
}

/// Every shape of the stream, ready for prediction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coded {
    pub(crate) shapes: Vec<CodedShape>,
    pub(crate) slots: Vec<CodedSlot>,
}

impl Coded {
    /// Appends `shape`, whose block is at `block_address`.
    pub(crate) fn push(&mut self, shape: &Shape, block_address: u64) {
        let first_slot = self.slots.len() as u32;
        let repeated = shape.repeat.map_or(0, |r| usize::from(r.slots));
        let backward = shape.repeat.is_some_and(|r| r.backward);
        for (i, slot) in shape.slots.iter().enumerate() {
            let (register, offset) = match slot.base {
                Base::Register(register) => (u32::from(register), slot.displacement as u64),
                Base::Block => (ZERO, block_address.wrapping_add(slot.displacement as u64)),
                Base::Own => (FIRST_OWN + self.slots.len() as u32, 0),
            };
            let step = match i + repeated >= shape.slots.len() {
                true if backward => -i32::from(slot.bytes),
                true => i32::from(slot.bytes),
                false => 0,
            };
            self.slots.push(CodedSlot { register, offset, step });
        }
        let stack_moves = match shape.stack {
            StackEffect::Moves(bytes) => bytes,
            StackEffect::Loaded => 0,
        };
        self.shapes.push(CodedShape {
            first_slot,
            slots: shape.slots.len() as u32,
            repeated_slots: repeated as u8,
            flow: shape.flow,
            repeats: shape.repeat.is_some(),
            stack_moves,
            completed: shape.completed,
        });
    }
}

/// What has been seen in this chunk.
#[derive(Debug)]
pub(crate) struct Predictor {
    /// Shape + 1 that followed the last two shapes; 0 = none yet.
    after_pair: Box<[u32]>,
    /// Shape + 1 that followed each shape.
    after: Vec<u32>,
    /// Shape + 1 that followed the return from the call that ended each shape.
    after_return: Vec<u32>,
    calls: [u32; CALLS],
    depth: usize,
    /// The call that the current shape returned from, if it ends in a return.
    returned: u32,
    previous: u32,
    current: u32,
    pub(crate) registers: Vec<u64>,
    /// Last unforeseen step of each slot's base.
    pub(crate) steps: Vec<u64>,
}

impl Predictor {
    pub(crate) fn new() -> Self {
        Predictor {
            after_pair: vec![0; PAIRS].into(),
            after: Vec::new(),
            after_return: Vec::new(),
            calls: [0; CALLS],
            depth: 0,
            returned: 0,
            previous: 0,
            current: 0,
            registers: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Forgets everything and makes room for `coded`.
    pub(crate) fn reset(&mut self, coded: &Coded, stack_pointer: u64) {
        self.after_pair.fill(0);
        self.after.clear();
        self.after_return.clear();
        self.registers.clear();
        self.steps.clear();
        self.calls = [0; CALLS];
        (self.depth, self.returned, self.previous, self.current) = (0, 0, 0, 0);
        self.grow(coded);
        self.set_stack_pointer(stack_pointer);
    }

    /// Makes room for shapes defined since.
    pub(crate) fn grow(&mut self, coded: &Coded) {
        self.after.resize(coded.shapes.len(), 0);
        self.after_return.resize(coded.shapes.len(), 0);
        self.registers.resize(FIRST_OWN as usize + coded.slots.len(), 0);
        self.steps.resize(coded.slots.len(), 0);
    }

    pub(crate) fn stack_pointer(&self) -> u64 {
        self.registers[usize::from(STACK_POINTER)]
    }

    pub(crate) fn set_stack_pointer(&mut self, value: u64) {
        self.registers[usize::from(STACK_POINTER)] = value;
    }

    #[inline]
    fn pair(&self) -> usize {
        let mixed =
            self.previous.wrapping_mul(0x9E37_79B1) ^ self.current.wrapping_mul(0x85EB_CA6B);
        (mixed >> (32 - PAIRS.trailing_zeros())) as usize
    }

    /// The likeliest next shape and the runner-up.
    #[inline]
    pub(crate) fn next(&self, coded: &Coded) -> (ShapeId, ShapeId) {
        let single = match self.after.get(self.current as usize) {
            None | Some(0) => self.current + 1,
            Some(&seen) => seen - 1,
        };
        let pair = self.after_pair[self.pair()];
        let pair = if pair == 0 { single } else { pair - 1 };
        let returns =
            coded.shapes.get(self.current as usize).is_some_and(|s| s.flow == Flow::Return);
        if returns {
            let seen = self.after_return[self.returned as usize];
            if seen != 0 {
                return (ShapeId(seen - 1), ShapeId(pair));
            }
        }
        (ShapeId(pair), ShapeId(single))
    }

    /// Learns that `actual` came next.
    #[inline]
    pub(crate) fn advance(&mut self, actual: ShapeId, coded: &Coded) {
        let pair = self.pair();
        self.after_pair[pair] = actual.0 + 1;
        if let Some(shape) = coded.shapes.get(self.current as usize) {
            self.after[self.current as usize] = actual.0 + 1;
            if shape.flow == Flow::Return {
                self.after_return[self.returned as usize] = actual.0 + 1;
            }
        }
        self.previous = self.current;
        self.current = actual.0;
        match coded.shapes[actual.index()].flow {
            Flow::Other => {}
            Flow::Call => {
                self.depth = (self.depth + 1) % CALLS;
                self.calls[self.depth] = actual.0;
            }
            Flow::Return => {
                self.returned = self.calls[self.depth];
                self.depth = (self.depth + CALLS - 1) % CALLS;
            }
        }
    }

    /// Carries out what an execution of `shape` does to the mirrored registers after its accesses.
    #[inline]
    pub(crate) fn finish(&mut self, shape: &CodedShape, coded: &Coded, iterations: u64) {
        let stack = &mut self.registers[usize::from(STACK_POINTER)];
        *stack = stack.wrapping_add(shape.stack_moves as u64);
        if shape.repeats {
            let first = shape.first_slot as usize;
            for slot in &coded.slots[first..first + shape.slots as usize] {
                let moved = iterations.wrapping_mul(i64::from(slot.step) as u64);
                let register = &mut self.registers[slot.register as usize];
                if slot.register != ZERO {
                    *register = register.wrapping_add(moved);
                }
            }
        }
    }
}

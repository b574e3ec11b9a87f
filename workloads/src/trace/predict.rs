//! The predictor that encoder and decoder run in step: what shape comes next, and where its
//! accesses go.
//!
//! Only what the predictor misses is stored. Both sides start it afresh at each chunk, so that a
//! chunk can be decoded without the ones before it.
//!
//! A decoder's speed is that of its cache misses. So all that is known of a shape, what followed it
//! included, is one cache line, and the next shape is foreseen from the line that the last one
//! brought in. Lines of an earlier chunk are cleared when they are next used, not all at once.

use super::block::{Base, Flow, MIRRORED_REGISTERS, STACK_POINTER, Shape, ShapeId, StackEffect};

/// What followed a shape is remembered apart for this many classes of the shape before it.
const CONTEXTS: usize = 8;
/// Depth of the stack of calls, a ring: deeper calls forget the oldest.
const CALLS: usize = 64;
/// No shape.
const NONE: u32 = u32::MAX;

/// Registers of the predictor: the mirrored ones, then these. A power of two, so that a masked
/// number needs no check.
const REGISTERS: usize = 32;
/// Holds zero: the base of operands whose address is in the code itself.
const ZERO: u8 = MIRRORED_REGISTERS;
/// Stands for the slot's own base.
const OWN: u8 = ZERO + 1;
/// Never read: takes what must not change [`ZERO`].
const SCRATCH: u8 = OWN + 1;

/// A shape as the codec needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedShape {
    pub(crate) first_slot: u32,
    pub(crate) slots: u16,
    pub(crate) completed: u16,
    stack_moves: i32,
    pub(crate) repeated_slots: u8,
    pub(crate) repeats: bool,
    flow: Flow,
}

/// A slot as the codec needs it: its likely address is the base's value + offset, wrapping.
#[derive(Clone, Copy, Debug)]
struct CodedSlot {
    offset: u64,
    /// Signed step of one iteration, 0 for a slot that is not repeated.
    step: i32,
    /// Where the base is read.
    register: u8,
    /// Where an unforeseen base is kept.
    keep: u8,
}

/// Every shape of the stream, ready for prediction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coded {
    shapes: Vec<CodedShape>,
    slots: Vec<CodedSlot>,
}

impl Coded {
    /// Number of shapes.
    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    pub(crate) fn shape(&self, id: ShapeId) -> Option<&CodedShape> {
        self.shapes.get(id.index())
    }

    /// Appends `shape`, whose block is at `block_address`.
    pub(crate) fn push(&mut self, shape: &Shape, block_address: u64) {
        let first_slot = self.slots.len() as u32;
        let repeated = shape.repeat.map_or(0, |r| usize::from(r.slots));
        let backward = shape.repeat.is_some_and(|r| r.backward);
        for (i, slot) in shape.slots.iter().enumerate() {
            let displacement = slot.displacement as u64;
            let (register, keep, offset) = match slot.base {
                Base::Register(register) => (register, register, displacement),
                Base::Block => (ZERO, SCRATCH, block_address.wrapping_add(displacement)),
                Base::Own => (OWN, SCRATCH, 0),
            };
            let step = match i + repeated >= shape.slots.len() {
                true if backward => -i32::from(slot.bytes),
                true => i32::from(slot.bytes),
                false => 0,
            };
            self.slots.push(CodedSlot { offset, step, register, keep });
        }
        let stack_moves = match shape.stack {
            StackEffect::Moves(bytes) => bytes,
            StackEffect::Loaded => 0,
        };
        self.shapes.push(CodedShape {
            first_slot,
            slots: shape.slots.len() as u16,
            completed: shape.completed,
            stack_moves,
            repeated_slots: repeated as u8,
            repeats: shape.repeat.is_some(),
            flow: shape.flow,
        });
    }
}

/// A shape and what followed it in this chunk.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line {
    shape: CodedShape,
    /// The chunk in which this line was last cleared, by the predictor's own count.
    chunk: u32,
    /// What followed last; at first the shape defined next.
    after: u32,
    /// What followed the return from the call that ended this shape.
    after_return: u32,
    /// What followed after each class of the shape before.
    after_pair: [u32; CONTEXTS],
}

impl Line {
    const UNUSED: Line = Line {
        shape: CodedShape {
            first_slot: 0,
            slots: 0,
            completed: 0,
            stack_moves: 0,
            repeated_slots: 0,
            repeats: false,
            flow: Flow::Other,
        },
        chunk: 0,
        after: NONE,
        after_return: NONE,
        after_pair: [NONE; CONTEXTS],
    };
}

/// A slot and what its accesses were in this chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotState {
    coded: CodedSlot,
    own: u64,
    /// By how much the base last differed from the foreseen one, where that was told.
    step: u64,
}

impl SlotState {
    const UNUSED: SlotState = SlotState {
        coded: CodedSlot { offset: 0, step: 0, register: ZERO, keep: SCRATCH },
        own: 0,
        step: 0,
    };

    /// What is added to the base.
    #[inline]
    pub(crate) fn offset(&self) -> u64 {
        self.coded.offset
    }

    /// The last unforeseen step of the base.
    #[inline]
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    #[inline]
    pub(crate) fn set_step(&mut self, step: u64) {
        self.step = step;
    }
}

/// The values that bases are foreseen to have.
#[derive(Clone, Debug)]
pub(crate) struct Registers([u64; REGISTERS]);

impl Registers {
    #[inline]
    fn get(&self, register: u8) -> u64 {
        self.0[usize::from(register) % REGISTERS]
    }

    /// The values of the mirrored registers.
    #[inline]
    pub(crate) fn mirrored(&self) -> &[u64] {
        &self.0[..usize::from(MIRRORED_REGISTERS)]
    }

    /// The likely base of a slot's next access.
    #[inline]
    pub(crate) fn base(&self, slot: &SlotState) -> u64 {
        let shared = self.get(slot.coded.register);
        if slot.coded.register == OWN { slot.own } else { shared }
    }

    /// The likely address of a slot's next access.
    #[inline]
    pub(crate) fn address(&self, slot: &SlotState) -> u64 {
        self.base(slot).wrapping_add(slot.coded.offset)
    }

    /// Learns a slot's base.
    #[inline]
    pub(crate) fn keep(&mut self, slot: &mut SlotState, base: u64) {
        self.0[usize::from(slot.coded.keep) % REGISTERS] = base;
        slot.own = base;
    }
}

/// What has been seen in this chunk.
#[derive(Debug)]
pub(crate) struct Predictor {
    lines: Vec<Line>,
    slots: Vec<SlotState>,
    registers: Registers,
    /// Number of the chunk, for telling old lines.
    chunk: u32,
    calls: [u32; CALLS],
    depth: usize,
    /// The call that the current shape returned from, if it ends in a return.
    returned: u32,
    previous: u32,
    current: u32,
}

impl Predictor {
    pub(crate) fn new() -> Self {
        Predictor {
            lines: Vec::new(),
            slots: Vec::new(),
            registers: Registers([0; REGISTERS]),
            chunk: 0,
            calls: [0; CALLS],
            depth: 0,
            returned: 0,
            previous: 0,
            current: 0,
        }
    }

    /// Forgets everything and makes room for `coded`.
    pub(crate) fn reset(&mut self, coded: &Coded, stack_pointer: u64) {
        if self.chunk == u32::MAX {
            self.lines.fill(Line::UNUSED);
            self.chunk = 0;
        }
        self.chunk += 1;
        self.registers = Registers([0; REGISTERS]);
        self.calls = [0; CALLS];
        (self.depth, self.returned, self.previous, self.current) = (0, 0, 0, 0);
        self.set_stack_pointer(stack_pointer);
        self.grow(coded);
    }

    /// Makes room for shapes defined since.
    pub(crate) fn grow(&mut self, coded: &Coded) {
        self.lines.resize(coded.shapes.len(), Line::UNUSED);
        self.slots.resize(coded.slots.len(), SlotState::UNUSED);
        // A chunk begins as if after shape 0.
        self.enter(ShapeId(0), coded);
    }

    pub(crate) fn stack_pointer(&self) -> u64 {
        self.registers.get(STACK_POINTER)
    }

    pub(crate) fn set_stack_pointer(&mut self, value: u64) {
        self.registers.0[usize::from(STACK_POINTER)] = value;
    }

    /// The shape with this number, made ready for use in this chunk; `None` if it is not defined.
    #[inline]
    pub(crate) fn enter(&mut self, id: ShapeId, coded: &Coded) -> Option<CodedShape> {
        let line = self.lines.get_mut(id.index())?;
        if line.chunk != self.chunk {
            let shape = *coded.shapes.get(id.index())?;
            *line = Line { shape, chunk: self.chunk, after: id.0.wrapping_add(1), ..Line::UNUSED };
            let slots = shape.first_slot as usize..shape.first_slot as usize + shape.slots as usize;
            for (state, &coded) in self.slots[slots.clone()].iter_mut().zip(&coded.slots[slots]) {
                *state = SlotState { coded, own: 0, step: 0 };
            }
        }
        Some(line.shape)
    }

    /// The slots of a shape that was entered, with the registers.
    #[inline]
    pub(crate) fn slots(&mut self, shape: &CodedShape) -> (&mut [SlotState], &mut Registers) {
        let first = shape.first_slot as usize;
        (&mut self.slots[first..first + usize::from(shape.slots)], &mut self.registers)
    }

    /// Class of the shape before the current one.
    #[inline]
    fn context(&self) -> usize {
        (self.previous.wrapping_mul(0x9E37_79B1) >> 29) as usize
    }

    #[inline]
    fn after_pair(&self, line: &Line) -> u32 {
        match line.after_pair[self.context()] {
            NONE => line.after,
            seen => seen,
        }
    }

    /// The shape that followed the return, where the current shape is one that was seen.
    #[inline]
    fn after_return(&self, line: &Line) -> u32 {
        match line.shape.flow {
            Flow::Return => self.lines[self.returned as usize].after_return,
            _ => NONE,
        }
    }

    /// The likeliest next shape.
    #[inline]
    pub(crate) fn likely(&self) -> ShapeId {
        let line = &self.lines[self.current as usize];
        match self.after_return(line) {
            NONE => ShapeId(self.after_pair(line)),
            seen => ShapeId(seen),
        }
    }

    /// The runner-up.
    #[inline]
    pub(crate) fn second(&self) -> ShapeId {
        let line = &self.lines[self.current as usize];
        match self.after_return(line) {
            NONE => ShapeId(line.after),
            _ => ShapeId(self.after_pair(line)),
        }
    }

    /// Learns that `actual`, which was entered, came next and has `shape`.
    #[inline]
    pub(crate) fn advance(&mut self, actual: ShapeId, shape: &CodedShape) {
        let context = self.context();
        let line = &mut self.lines[self.current as usize];
        line.after_pair[context] = actual.0;
        line.after = actual.0;
        if line.shape.flow == Flow::Return {
            self.lines[self.returned as usize].after_return = actual.0;
        }
        self.previous = self.current;
        self.current = actual.0;
        match shape.flow {
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

    /// Carries out what an execution of `shape` does to the registers after its accesses.
    #[inline]
    pub(crate) fn finish(&mut self, shape: &CodedShape, iterations: u64) {
        let stack = self.stack_pointer().wrapping_add(shape.stack_moves as u64);
        self.set_stack_pointer(stack);
        if shape.repeats {
            let (slots, registers) = self.slots(shape);
            for slot in slots {
                let moved = iterations.wrapping_mul(i64::from(slot.coded.step) as u64);
                let base = registers.base(slot).wrapping_add(moved);
                registers.keep(slot, base);
            }
        }
    }
}

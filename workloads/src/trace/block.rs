//! Static code and what one execution of it did: blocks, shapes and their slots.

macro_rules! index_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the table of definitions.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}
pub(crate) use index_type;

index_type!(
    /// A block definition, numbered from 0 in the order of definition.
    BlockId
);
index_type!(
    /// A shape definition, numbered from 0 in the order of definition.
    ShapeId
);

/// Width of the code segment a block was decoded in (CS.L and CS.D).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeSize {
    /// Real mode or a 16-bit code segment.
    Bits16,
    /// A 32-bit code segment.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

impl CodeSize {
    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            CodeSize::Bits16 => 16,
            CodeSize::Bits32 => 32,
            CodeSize::Bits64 => 64,
        }
    }

    /// From a width in bits; `None` for anything but 16, 32 and 64.
    pub fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            16 => Some(CodeSize::Bits16),
            32 => Some(CodeSize::Bits32),
            64 => Some(CodeSize::Bits64),
            _ => None,
        }
    }
}

/// A straight run of instructions, defined once and executed many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Virtual address of the first instruction.
    pub address: u64,
    /// Width of the code segment.
    pub code_size: CodeSize,
    /// Current privilege level, 0 to 3.
    pub privilege: u8,
    /// The CR3 value this code belongs to, where the producer's blocks are private to an address
    /// space; `None` where code is identified by its bytes alone.
    pub space: Option<u64>,
    /// Length in bytes of each instruction, in order: 1 to 15, or to 255 where the code is unknown,
    /// as some producers take a sequence of instructions for one. Never empty.
    pub lengths: Box<[u8]>,
    /// Code bytes, as many as the lengths sum to; empty if the producer did not know them.
    pub code: Box<[u8]>,
}

impl Block {
    /// Number of instructions.
    pub fn instructions(&self) -> usize {
        self.lengths.len()
    }

    /// Size in bytes of all instructions.
    pub fn bytes(&self) -> u64 {
        self.lengths.iter().map(|&l| u64::from(l)).sum()
    }

    /// Address one past the last byte.
    pub fn end(&self) -> u64 {
        self.address.wrapping_add(self.bytes())
    }

    /// Address of instruction `index` (0-based); `index` = number of instructions gives the end.
    pub fn instruction_address(&self, index: usize) -> u64 {
        let before: u64 = self.lengths[..index].iter().map(|&l| u64::from(l)).sum();
        self.address.wrapping_add(before)
    }

    /// Code bytes of instruction `index`, empty when the bytes are unknown.
    pub fn instruction_bytes(&self, index: usize) -> &[u8] {
        if self.code.is_empty() {
            return &[];
        }
        let start: usize = self.lengths[..index].iter().map(|&l| usize::from(l)).sum();
        &self.code[start..start + usize::from(self.lengths[index])]
    }
}

/// Direction of a data access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// A load. A modify is a read followed by a write.
    Read,
    /// A store.
    Write,
}

/// Where the address of a slot is predicted from: a register whose value the decoder mirrors, or
/// the address that this slot had last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// General register 0 to 15 in the encoding order of the ISA (4 is RSP: its mirror is the
    /// stack pointer itself), 16 for the FS base, 17 for the GS base.
    Register(u8),
    /// Relative to the block's own address (RIP-relative operands).
    Block,
    /// No register: predicted to be where it was last time.
    Own,
}

/// Number of mirrored registers that [`Base::Register`] may name.
pub const MIRRORED_REGISTERS: u8 = 18;
/// The mirrored register that is the stack pointer.
pub const STACK_POINTER: u8 = 4;

/// One data access of a shape: which instruction, which direction, how wide; its address comes
/// with each execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Index of the instruction in its block (0-based).
    pub instruction: u16,
    /// Read or write.
    pub kind: AccessKind,
    /// Size in bytes, 1 to 65535 (0 when the producer did not know it).
    pub bytes: u16,
    /// The write half of a read-modify-write, as the producer marked it; the read half is a slot of
    /// the same instruction before it. Only a write can be one.
    pub modify: bool,
    /// Where the address is predicted from.
    pub base: Base,
    /// Offset in bytes from the base. For the stack pointer: from its value at the block's start.
    pub displacement: i64,
}

/// How a `rep` instruction ends a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repeat {
    /// The last `slots` slots of the shape are repeated by each iteration.
    pub slots: u8,
    /// Addresses fall by the slot's size from iteration to iteration (EFLAGS.DF = 1) instead of
    /// rising.
    pub backward: bool,
}

/// Control flow at the end of a shape, for the prediction of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Anything but a call or return.
    Other,
    /// Ends in a completed CALL.
    Call,
    /// Ends in a completed RET.
    Return,
}

/// What happened to the stack pointer over a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackEffect {
    /// It moved by this many bytes.
    Moves(i32),
    /// It was loaded with a value that does not follow from the stream; a
    /// [`StackPointer`](super::Event::StackPointer) event before the next execution tells it.
    Loaded,
}

/// What one execution of a block did: how far it came, and which accesses of which instruction it
/// made, in order. Nearly all executions of a block share one shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The block.
    pub block: BlockId,
    /// Number of instructions completed, from the block's start.
    pub completed: u16,
    /// The instruction after the completed ones was begun and left: it faulted, or it is a `rep`
    /// interrupted between iterations. It does not count as an instruction here; its finished
    /// accesses are in `slots`.
    pub interrupted: bool,
    /// Data accesses in program order.
    pub slots: Box<[Slot]>,
    /// Present when the last instruction that ran is a `rep` string instruction; the execution then
    /// has a number of iterations.
    pub repeat: Option<Repeat>,
    /// How it ends.
    pub flow: Flow,
    /// What it did to the stack pointer.
    pub stack: StackEffect,
}

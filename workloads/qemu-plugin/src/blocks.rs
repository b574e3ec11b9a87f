//! All blocks met, and the shapes their executions took.

use crate::translate::{self, Exits, Special};
use iced_x86::Mnemonic;
use rustc_hash::{FxHashMap, FxHashSet};
use strata_workloads::code::{Analysis, Observed};
use strata_workloads::trace::{Block, BlockId, Definitions, Repeat, ShapeId, StackEffect};

/// Number of a block in the recorder's table. Blocks get a [`BlockId`] when they first run; many
/// that are translated never do.
pub type Index = u32;

/// No block.
pub const NONE: Index = u32::MAX;

/// What the recorder needs at every execution of a block, in one cache line.
#[derive(Clone, Copy, Debug)]
pub struct Hot {
    /// Address of the first instruction.
    pub address: u64,
    /// See [`Exits::next`].
    pub next: u64,
    /// See [`Exits::target`].
    pub target: u64,
    /// The usual shape; valid when `accesses` is.
    pub shape: ShapeId,
    /// Where the usual shape's accesses are in the arena.
    pub first: u32,
    /// How many there are, or `u32::MAX` while no shape is known.
    pub accesses: u32,
    /// Number of instructions.
    pub count: u16,
    /// See [`Exits::anywhere`].
    pub anywhere: bool,
    /// Its end needs a closer look: special instructions, repeats, a loaded stack pointer.
    pub special: bool,
    /// Interrupts or exceptions may begin here.
    pub gate: bool,
    /// It spans two pages.
    pub crosses: bool,
}

/// A `rep` string instruction at the end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatAtEnd {
    /// Address of the instruction.
    pub address: u64,
    /// Accesses of one iteration.
    pub accesses: usize,
}

/// What is needed less often.
#[derive(Debug)]
pub struct Cold {
    /// The definition.
    pub block: Block,
    id: Option<BlockId>,
    analysis: Analysis,
    /// Special instructions by index.
    pub specials: Vec<(u16, Special)>,
    /// Instructions (by index) whose stores the emulator doubles.
    pub doubled: Option<u16>,
    /// The `rep` instruction it ends in.
    pub repeat: Option<RepeatAtEnd>,
    /// Where control may go.
    pub exits: Exits,
    shapes: Vec<Known>,
}

/// A shape met before.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: ShapeKey,
    first: u32,
    accesses: u32,
    id: ShapeId,
    stack: StackEffect,
}

/// What tells shapes of a block apart, beside the accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeKey {
    /// Instructions completed.
    pub completed: u16,
    /// One more was begun.
    pub interrupted: bool,
    /// How it repeats.
    pub repeat: Option<Repeat>,
}

/// A shape as the caller needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shaped {
    /// Its number.
    pub id: ShapeId,
    /// What it does to the stack pointer.
    pub stack: StackEffect,
}

/// The tables of blocks and shapes. They grow with the code that runs, not with time: a block
/// translated again is found again.
#[derive(Debug, Default)]
pub struct Blocks {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    by_address: FxHashMap<u64, Vec<Index>>,
    arena: Vec<u64>,
    gates: FxHashSet<u64>,
    defined: u32,
    shapes: u32,
    /// Shapes with an access that no operand of its instruction accounts for.
    pub unaccounted: u32,
    /// One such instruction: its mnemonic and address.
    pub unaccounted_example: Option<(Mnemonic, u64)>,
}

/// An access as the callbacks note it: index of the instruction above the emulator's description.
#[inline(always)]
pub fn note(instruction: u32, info: u32) -> u64 {
    u64::from(instruction) << 32 | u64::from(info)
}

/// The instruction of a note.
pub fn instruction_of(note: u64) -> u16 {
    (note >> 32) as u16
}

impl Blocks {
    /// The number of `block`, entered when it is new.
    pub fn intern(&mut self, block: Block) -> Index {
        if let Some(known) = self.by_address.get(&block.address)
            && let Some(&index) = known.iter().find(|&&i| self.cold[i as usize].block == block)
        {
            return index;
        }
        let index = self.hot.len() as Index;
        self.by_address.entry(block.address).or_default().push(index);
        let analysis = Analysis::of(&block);
        let decoded = analysis.decoded();
        let specials: Vec<(u16, Special)> = (0..block.instructions())
            .filter_map(|i| {
                Some((i as u16, translate::special(&decoded[i], block.instruction_bytes(i))?))
            })
            .collect();
        let last = block.instructions() - 1;
        let doubled = translate::stores_twice(&decoded[last]).then_some(last as u16);
        let repeat = translate::repeated_accesses(&decoded[last])
            .map(|accesses| RepeatAtEnd { address: block.instruction_address(last), accesses });
        let exits = translate::exits(&decoded[last], block.end());
        self.hot.push(Hot {
            address: block.address,
            next: exits.next,
            target: exits.target,
            shape: ShapeId(0),
            first: 0,
            accesses: u32::MAX,
            count: block.instructions() as u16,
            anywhere: exits.anywhere,
            special: !specials.is_empty() || repeat.is_some() || doubled.is_some(),
            gate: self.gates.contains(&block.address),
            crosses: (block.address ^ block.end().wrapping_sub(1)) >> 12 != 0,
        });
        let shapes = Vec::new();
        self.cold.push(Cold {
            block,
            id: None,
            analysis,
            specials,
            doubled,
            repeat,
            exits,
            shapes,
        });
        index
    }

    /// The same code as block `index` at another address.
    pub fn moved(&mut self, index: Index, address: u64) -> Index {
        let block = Block { address, ..self.cold[index as usize].block.clone() };
        self.intern(block)
    }

    /// The last instruction of block `index` as a block of its own.
    pub fn last_instruction(&mut self, index: Index) -> Index {
        let block = &self.cold[index as usize].block;
        let last = block.instructions() - 1;
        let alone = Block {
            address: block.instruction_address(last),
            lengths: block.lengths[last..].into(),
            code: block.instruction_bytes(last).into(),
            ..block.clone()
        };
        self.intern(alone)
    }

    /// What every execution of a block needs.
    #[inline(always)]
    pub fn hot(&self, index: Index) -> &Hot {
        &self.hot[index as usize]
    }

    /// The rest.
    pub fn cold(&self, index: Index) -> &Cold {
        &self.cold[index as usize]
    }

    /// Whether instruction `i` of a block may stop it in the middle, or is its last.
    pub fn tracked(&self, index: Index, i: usize) -> bool {
        let decoded = self.cold[index as usize].analysis.decoded();
        i + 1 == decoded.len() || translate::may_stop(&decoded[i]) || self.is_looked_at(index, i)
    }

    /// Whether instruction `i` of a block is looked at before it executes: a special one, or the one
    /// after RDTSC, before which the result is read.
    pub fn is_looked_at(&self, index: Index, i: usize) -> bool {
        self.cold[index as usize].specials.iter().any(|&(at, special)| {
            usize::from(at) == i || special == Special::ReadTimeStamp && usize::from(at) + 1 == i
        })
    }

    /// Whether instruction `i` of a block accesses memory by physical address.
    pub fn accesses_physically(&self, index: Index, i: usize) -> bool {
        translate::accesses_physically(&self.cold[index as usize].analysis.decoded()[i])
    }

    /// The decoded instruction `i` of a block.
    pub fn decoded(&self, index: Index, i: u16) -> Option<&iced_x86::Instruction> {
        self.cold[index as usize].analysis.decoded().get(usize::from(i))
    }

    /// True when `notes` are the accesses of the block's usual shape.
    #[inline(always)]
    pub fn is_usual(&self, hot: &Hot, notes: &[u64]) -> bool {
        // Element by element: most have one or two, for which a call to compare memory is dear.
        let first = hot.first as usize;
        notes.len() == hot.accesses as usize
            && self.arena[first..first + notes.len()].iter().zip(notes).all(|(a, b)| a == b)
    }

    /// Marks `addresses` as those that interrupts and exceptions begin at.
    pub fn set_gates(&mut self, addresses: impl Iterator<Item = u64>) {
        for address in addresses {
            if self.gates.insert(address) {
                for &index in self.by_address.get(&address).into_iter().flatten() {
                    self.hot[index as usize].gate = true;
                }
            }
        }
    }

    /// The shape of block `index` with the accesses `notes`; block and shape are defined in `new`
    /// when they are met for the first time. `observe` says what a note's description means.
    pub fn shape(
        &mut self,
        index: Index,
        key: ShapeKey,
        notes: &[u64],
        observe: impl Fn(u64) -> Observed,
        new: &mut Definitions,
    ) -> Shaped {
        let cold = &mut self.cold[index as usize];
        let known = cold.shapes.iter().find(|known| {
            let first = known.first as usize;
            known.key == key && self.arena[first..first + known.accesses as usize] == *notes
        });
        let known = match known {
            Some(known) => *known,
            None => {
                let id = *cold.id.get_or_insert_with(|| {
                    new.blocks.push(cold.block.clone());
                    self.defined += 1;
                    BlockId(self.defined - 1)
                });
                let observed: Vec<Observed> = notes.iter().map(|&note| observe(note)).collect();
                let shape =
                    cold.analysis.shape(id, key.completed, key.interrupted, &observed, key.repeat);
                let stray = shape.slots.iter().find(|slot| is_unaccounted(&cold.analysis, slot));
                if let Some(slot) = stray {
                    self.unaccounted += 1;
                    let i = usize::from(slot.instruction);
                    self.unaccounted_example = cold.analysis.decoded().get(i).map(|instruction| {
                        (instruction.mnemonic(), cold.block.instruction_address(i))
                    });
                }
                let known = Known {
                    key,
                    first: self.arena.len() as u32,
                    accesses: notes.len() as u32,
                    id: ShapeId(self.shapes),
                    stack: shape.stack,
                };
                self.arena.extend_from_slice(notes);
                self.shapes += 1;
                new.shapes.push(shape);
                cold.shapes.push(known);
                known
            }
        };
        let hot = &mut self.hot[index as usize];
        if key.completed == hot.count && !key.interrupted {
            hot.shape = known.id;
            hot.first = known.first;
            hot.accesses = known.accesses;
            hot.special |= known.stack == StackEffect::Loaded;
        }
        Shaped { id: known.id, stack: known.stack }
    }

    /// Number of blocks and of shapes that have been defined.
    pub fn defined(&self) -> (u32, u32) {
        (self.defined, self.shapes)
    }
}

/// True when an instruction has an access in a direction that none of its operands has.
fn is_unaccounted(analysis: &Analysis, slot: &strata_workloads::trace::Slot) -> bool {
    use iced_x86::{InstructionInfoFactory, OpAccess};
    use strata_workloads::trace::AccessKind;
    let Some(instruction) = analysis.decoded().get(usize::from(slot.instruction)) else {
        return true;
    };
    // A segment register is loaded with its descriptor.
    if instruction.op0_register().is_segment_register() {
        return false;
    }
    let mut factory = InstructionInfoFactory::new();
    !factory.info(instruction).used_memory().iter().any(|memory| {
        let (reads, writes) = match memory.access() {
            OpAccess::Read | OpAccess::CondRead => (true, false),
            OpAccess::Write | OpAccess::CondWrite => (false, true),
            OpAccess::NoMemAccess | OpAccess::None => (false, false),
            _ => (true, true),
        };
        if slot.kind == AccessKind::Read { reads } else { writes }
    })
}

//! What can be known of a block from its code alone: where its accesses go relative to which
//! register, what it does to the stack pointer, how it ends.

use crate::trace::{
    AccessKind, Base, Block, BlockId, Flow, Repeat, STACK_POINTER, Shape, Slot, StackEffect,
};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

/// One access that was seen, to be matched with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Index of the instruction in its block (0-based).
    pub instruction: u16,
    /// Read or write.
    pub kind: AccessKind,
    /// Size in bytes.
    pub bytes: u16,
}

/// A memory operand, explicit or implied.
#[derive(Clone, Copy, Debug)]
struct Operand {
    base: Base,
    displacement: i64,
    reads: bool,
    writes: bool,
}

#[derive(Clone, Debug)]
struct Analysed {
    operands: Vec<Operand>,
    flow: Flow,
    /// Stack pointer after this instruction relative to the block's start; `None` once loaded.
    stack: Option<i64>,
}

/// The static facts about a block.
#[derive(Clone, Debug)]
pub struct Analysis {
    instructions: Vec<Analysed>,
    decoded: Vec<Instruction>,
    address: u64,
}

impl Analysis {
    /// Decodes `block`. Without code bytes, or where they are no valid instruction, nothing is
    /// known: every slot predicts itself, and the stack pointer is taken to stay.
    pub fn of(block: &Block) -> Self {
        let mut info = InstructionInfoFactory::new();
        let mut stack = Some(0);
        let mut instructions = Vec::with_capacity(block.instructions());
        let mut decoded = Vec::with_capacity(block.instructions());
        let mut address = block.address;
        for (i, &length) in block.lengths.iter().enumerate() {
            let bytes = block.instruction_bytes(i);
            let bits = block.code_size.bits();
            let instruction = Decoder::with_ip(bits, bytes, address, DecoderOptions::NONE).decode();
            let operands = operands(&instruction, &mut info, stack);
            stack = stack_after(&instruction, &mut info, stack);
            instructions.push(Analysed { operands, flow: flow(&instruction), stack });
            decoded.push(instruction);
            address = address.wrapping_add(u64::from(length));
        }
        Analysis { instructions, decoded, address: block.address }
    }

    /// The decoded instructions; those whose bytes are unknown or no instruction are
    /// [`invalid`](Instruction::is_invalid).
    pub fn decoded(&self) -> &[Instruction] {
        &self.decoded
    }

    /// The shape of an execution that completed the first `completed` instructions and, if
    /// `interrupted`, began the next; `observed` are its accesses in order, a repeated
    /// instruction's once.
    pub fn shape(
        &self,
        block: BlockId,
        completed: u16,
        interrupted: bool,
        observed: &[Observed],
        repeat: Option<Repeat>,
    ) -> Shape {
        let mut slots = Vec::with_capacity(observed.len());
        // Operands are used once each, and a modify both ways.
        let mut taken: Vec<(u16, usize, AccessKind)> = Vec::new();
        for access in observed {
            let operands = self
                .instructions
                .get(usize::from(access.instruction))
                .map_or(&[][..], |analysed| &analysed.operands);
            let found = operands.iter().enumerate().find(|(i, operand)| {
                let fits = match access.kind {
                    AccessKind::Read => operand.reads,
                    AccessKind::Write => operand.writes,
                };
                fits && !taken.contains(&(access.instruction, *i, access.kind))
            });
            let mut modify = false;
            let (base, displacement) = match found {
                Some((i, operand)) => {
                    modify = access.kind == AccessKind::Write
                        && taken.contains(&(access.instruction, i, AccessKind::Read));
                    taken.push((access.instruction, i, access.kind));
                    match operand.base {
                        // Stored relative to the block, as the format has no absolute bases.
                        Base::Block => {
                            (Base::Block, operand.displacement.wrapping_sub(self.address as i64))
                        }
                        base => (base, operand.displacement),
                    }
                }
                None => (Base::Own, 0),
            };
            slots.push(Slot {
                instruction: access.instruction,
                kind: access.kind,
                bytes: access.bytes,
                modify,
                base,
                displacement,
            });
        }
        let last = completed.checked_sub(1).and_then(|i| self.instructions.get(usize::from(i)));
        let stack = match last.map_or(Some(0), |analysed| analysed.stack) {
            Some(moved) => i32::try_from(moved).map_or(StackEffect::Loaded, StackEffect::Moves),
            None => StackEffect::Loaded,
        };
        let flow = match last {
            Some(analysed) if !interrupted => analysed.flow,
            _ => Flow::Other,
        };
        Shape { block, completed, interrupted, slots: slots.into(), repeat, flow, stack }
    }
}

fn flow(instruction: &Instruction) -> Flow {
    match instruction.flow_control() {
        // The decoder's class of calls has SYSCALL, VMCALL and others in it.
        FlowControl::Call | FlowControl::IndirectCall
            if instruction.mnemonic() == Mnemonic::Call =>
        {
            Flow::Call
        }
        FlowControl::Return if matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Retf) => {
            Flow::Return
        }
        _ => Flow::Other,
    }
}

fn is_string(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{
        Cmpsb, Cmpsd, Cmpsq, Cmpsw, Insb, Insd, Insw, Lodsb, Lodsd, Lodsq, Lodsw, Movsb, Movsd,
        Movsq, Movsw, Outsb, Outsd, Outsw, Scasb, Scasd, Scasq, Scasw, Stosb, Stosd, Stosq, Stosw,
    };
    matches!(
        mnemonic,
        Movsb
            | Movsw
            | Movsd
            | Movsq
            | Stosb
            | Stosw
            | Stosd
            | Stosq
            | Lodsb
            | Lodsw
            | Lodsd
            | Lodsq
            | Cmpsb
            | Cmpsw
            | Cmpsd
            | Cmpsq
            | Scasb
            | Scasw
            | Scasd
            | Scasq
            | Insb
            | Insw
            | Insd
            | Outsb
            | Outsw
            | Outsd
    )
}

/// True for a string instruction with a REP, REPE or REPNE prefix.
pub fn repeats(instruction: &Instruction) -> bool {
    let prefixed = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    prefixed && instruction.is_string_instruction() && is_string(instruction.mnemonic())
}

fn operands(
    instruction: &Instruction,
    info: &mut InstructionInfoFactory,
    stack: Option<i64>,
) -> Vec<Operand> {
    if instruction.is_invalid() {
        return Vec::new();
    }
    let used = info.info_options(instruction, InstructionInfoOptions::NO_REGISTER_USAGE);
    let strings = instruction.is_string_instruction() && is_string(instruction.mnemonic());
    used.used_memory()
        .iter()
        .filter(|memory| memory.access() != OpAccess::NoMemAccess)
        .map(|memory| operand(memory, stack, strings))
        .collect()
}

fn operand(memory: &UsedMemory, stack: Option<i64>, string: bool) -> Operand {
    let base = memory.base();
    let displacement = match memory.address_size() {
        // Given without a sign in narrower code; where there is no base it has none.
        iced_x86::CodeSize::Code16 if base != Register::None => {
            i64::from(memory.displacement() as i16)
        }
        iced_x86::CodeSize::Code32 if base != Register::None => {
            i64::from(memory.displacement() as i32)
        }
        _ => memory.displacement() as i64,
    };
    let (base, displacement) = if string && base != Register::None {
        (Base::Register(base.full_register().number() as u8), 0)
    } else if base == Register::RIP || base == Register::EIP {
        (Base::Block, displacement)
    } else if memory.index() != Register::None {
        (Base::Own, 0)
    } else if matches!(memory.segment(), Register::FS | Register::GS) {
        let register = if memory.segment() == Register::FS { 16 } else { 17 };
        if base == Register::None {
            (Base::Register(register), displacement)
        } else {
            (Base::Own, 0)
        }
    } else if base == Register::None {
        // Absolute, which is also how the decoder gives RIP-relative operands.
        (Base::Block, displacement)
    } else {
        let number = base.full_register().number() as u8;
        match (number == STACK_POINTER, stack) {
            (false, _) => (Base::Register(number), displacement),
            (true, Some(moved)) => (Base::Register(number), displacement.wrapping_add(moved)),
            (true, None) => (Base::Own, 0),
        }
    };
    let (reads, writes) = match memory.access() {
        OpAccess::Read | OpAccess::CondRead => (true, false),
        OpAccess::Write | OpAccess::CondWrite => (false, true),
        _ => (true, true),
    };
    Operand { base, displacement, reads, writes }
}

/// Follows the stack pointer over one instruction.
fn stack_after(
    instruction: &Instruction,
    info: &mut InstructionInfoFactory,
    before: Option<i64>,
) -> Option<i64> {
    if instruction.is_invalid() {
        return before;
    }
    let moved = before?;
    match instruction.mnemonic() {
        Mnemonic::Leave
        | Mnemonic::Enter
        | Mnemonic::Iret
        | Mnemonic::Iretd
        | Mnemonic::Iretq
        | Mnemonic::Sysexit
        | Mnemonic::Sysexitq
        | Mnemonic::Vmrun => return None,
        Mnemonic::Pop if is_stack_pointer(instruction.op0_register()) => return None,
        Mnemonic::Add | Mnemonic::Sub if is_stack_pointer(instruction.op0_register()) => {
            let value = instruction.try_immediate(1).ok()?;
            let by = match instruction.op1_kind() {
                OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate8to32 => {
                    value as i64
                }
                OpKind::Immediate32 => i64::from(value as i32),
                OpKind::Immediate8to16 | OpKind::Immediate16 => i64::from(value as i16),
                _ => return None,
            };
            let add = instruction.mnemonic() == Mnemonic::Add;
            return Some(if add { moved.wrapping_add(by) } else { moved.wrapping_sub(by) });
        }
        Mnemonic::Lea if is_stack_pointer(instruction.op0_register()) => {
            let plain = is_stack_pointer(instruction.memory_base())
                && instruction.memory_index() == Register::None;
            return plain.then(|| moved.wrapping_add(instruction.memory_displacement64() as i64));
        }
        _ => {}
    }
    if instruction.is_stack_instruction() {
        return Some(moved.wrapping_add(i64::from(instruction.stack_pointer_increment())));
    }
    let used = info.info_options(instruction, InstructionInfoOptions::NO_MEMORY_USAGE);
    let written = used.used_registers().iter().any(|register| {
        is_stack_pointer(register.register())
            && !matches!(register.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None)
    });
    (!written).then_some(moved)
}

fn is_stack_pointer(register: Register) -> bool {
    register.full_register() == Register::RSP
}

#[cfg(test)]
mod tests;

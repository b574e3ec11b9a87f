//! How an execution ends, from the last instruction it completed.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};
use strata_workloads::trace::{Block, CodeSize, Flow, Shape};

/// What the last instruction does to the flow of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// Anything else: control runs on, or an instruction was left before its end.
    Other,
    /// A jump, conditional or not.
    Jump,
    /// CALL.
    Call,
    /// RET; it takes the return address and so many bytes from the stack.
    Return { pops: u64 },
    /// IRET, SYSRET or SYSEXIT.
    SystemReturn,
}

/// The end of all executions of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) last: Last,
    /// Virtual address behind the last instruction.
    pub(super) after: u64,
}

/// How executions of `shape`, which is one of `block`, end.
pub(super) fn of(shape: &Shape, block: &Block) -> Ending {
    let completed = usize::from(shape.completed).min(block.lengths.len());
    let bytes: usize = block.lengths[..completed].iter().map(|&length| usize::from(length)).sum();
    let after = block.address.wrapping_add(bytes as u64);
    let last = if shape.interrupted || completed == 0 {
        Last::Other
    } else {
        let start = bytes - usize::from(block.lengths[completed - 1]);
        match block.code.get(start..bytes) {
            Some(code) if !code.is_empty() => last_of(code, block.code_size, shape.flow),
            // Without code bytes no more is known than what the trace tells of itself.
            _ => told(shape.flow, Last::Other),
        }
    };
    Ending { last, after }
}

/// What the trace tells holds; the code says more of what is no call and no return.
fn told(flow: Flow, otherwise: Last) -> Last {
    match flow {
        Flow::Call => Last::Call,
        Flow::Return => Last::Return { pops: 8 },
        Flow::Other => otherwise,
    }
}

fn last_of(code: &[u8], size: CodeSize, flow: Flow) -> Last {
    let bits = match size {
        CodeSize::Bits16 => 16,
        CodeSize::Bits32 => 32,
        CodeSize::Bits64 => 64,
    };
    let mut instruction = Instruction::default();
    Decoder::new(bits, code, DecoderOptions::NONE).decode_out(&mut instruction);
    let seen = match instruction.flow_control() {
        FlowControl::UnconditionalBranch
        | FlowControl::IndirectBranch
        | FlowControl::ConditionalBranch => Last::Jump,
        FlowControl::Return => match instruction.code() {
            Code::Iretw | Code::Iretd | Code::Iretq => Last::SystemReturn,
            Code::Sysretd | Code::Sysretq | Code::Sysexitd | Code::Sysexitq => Last::SystemReturn,
            _ => Last::Return { pops: u64::from(bits / 8) + pops(&instruction) },
        },
        _ => Last::Other,
    };
    match (flow, seen) {
        (Flow::Return, Last::Return { .. }) => seen,
        // A return that was not completed, or is none.
        (Flow::Other, Last::Return { .. }) => Last::Other,
        (flow, seen) => told(flow, seen),
    }
}

/// Bytes of arguments that a return takes off.
fn pops(instruction: &Instruction) -> u64 {
    if instruction.op_count() > 0 { u64::from(instruction.immediate16()) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::{BlockId, StackEffect};

    fn end_of(code: &[u8], flow: Flow) -> Last {
        let block = Block {
            address: 0x1000,
            code_size: CodeSize::Bits64,
            privilege: 0,
            space: None,
            lengths: [1, code.len() as u8].into(),
            code: [&[0x90], code].concat().into(),
        };
        let shape = Shape {
            block: BlockId(0),
            completed: 2,
            interrupted: false,
            slots: Box::default(),
            repeat: None,
            flow,
            stack: StackEffect::Moves(0),
        };
        let ending = of(&shape, &block);
        assert_eq!(ending.after, 0x1001 + code.len() as u64);
        ending.last
    }

    #[test]
    fn the_last_instruction_says_how_it_ends() {
        for (code, flow, last) in [
            (&[0xc3][..], Flow::Return, Last::Return { pops: 8 }),
            (&[0xc2, 0x10, 0x00], Flow::Return, Last::Return { pops: 24 }),
            (&[0xff, 0xd0], Flow::Call, Last::Call),
            (&[0xeb, 0x00], Flow::Other, Last::Jump),
            (&[0xff, 0xe0], Flow::Other, Last::Jump),
            (&[0x74, 0x00], Flow::Other, Last::Jump),
            (&[0x48, 0xcf], Flow::Other, Last::SystemReturn),
            (&[0x48, 0x0f, 0x07], Flow::Other, Last::SystemReturn),
            (&[0x0f, 0x05], Flow::Other, Last::Other),
            (&[0x90], Flow::Other, Last::Other),
        ] {
            assert_eq!(end_of(code, flow), last, "{code:x?}");
        }
    }
}

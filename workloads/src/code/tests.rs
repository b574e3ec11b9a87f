//! Against code assembled by hand.

use super::*;
use crate::trace::Base::{Own, Register as R};
use crate::trace::CodeSize;

/// A block at 0x1000 of these instructions.
fn block_of(code_size: CodeSize, instructions: &[&[u8]]) -> Block {
    Block {
        address: 0x1000,
        code_size,
        privilege: 0,
        space: None,
        lengths: instructions.iter().map(|bytes| bytes.len() as u8).collect(),
        code: instructions.concat().into(),
    }
}

fn analysed(instructions: &[&[u8]]) -> Analysis {
    Analysis::of(&block_of(CodeSize::Bits64, instructions))
}

/// The shape of a whole execution with these accesses: instruction, 'r' or 'w', bytes.
fn shape_of(instructions: &[&[u8]], accesses: &[(u16, char, u16)]) -> Shape {
    shape_in(CodeSize::Bits64, instructions, accesses)
}

fn shape_in(code_size: CodeSize, instructions: &[&[u8]], accesses: &[(u16, char, u16)]) -> Shape {
    let block = block_of(code_size, instructions);
    let observed: Vec<Observed> = accesses
        .iter()
        .map(|&(instruction, kind, bytes)| Observed {
            instruction,
            kind: if kind == 'r' { AccessKind::Read } else { AccessKind::Write },
            bytes,
        })
        .collect();
    let completed = instructions.len() as u16;
    Analysis::of(&block).shape(BlockId(0), completed, false, &observed, None)
}

fn bases(shape: &Shape) -> Vec<(Base, i64)> {
    shape.slots.iter().map(|slot| (slot.base, slot.displacement)).collect()
}

#[test]
fn pushes_and_pops_follow_the_stack_pointer() {
    // push rbp; push rbx; mov rax,[rsp+8]; pop rbx; pop rbp
    let shape = shape_of(
        &[b"\x55", b"\x53", b"\x48\x8b\x44\x24\x08", b"\x5b", b"\x5d"],
        &[(0, 'w', 8), (1, 'w', 8), (2, 'r', 8), (3, 'r', 8), (4, 'r', 8)],
    );
    let stack = R(4);
    assert_eq!(bases(&shape), [(stack, -8), (stack, -16), (stack, -8), (stack, -16), (stack, -8)]);
    assert_eq!(shape.stack, StackEffect::Moves(0));
    assert_eq!(shape.flow, Flow::Other);
}

#[test]
fn a_push_from_memory_reads_its_operand_and_writes_the_stack() {
    // push qword [rdi+0x10]
    let shape = shape_of(&[b"\xff\x77\x10"], &[(0, 'r', 8), (0, 'w', 8)]);
    assert_eq!(bases(&shape), [(R(7), 0x10), (R(4), -8)]);
    assert_eq!(shape.stack, StackEffect::Moves(-8));
}

#[test]
fn a_pop_to_memory_relative_to_the_stack_uses_the_stack_pointer_after_the_pop() {
    // pop qword [rsp+0x10] (SDM volume 2, POP: the address is computed after the increment)
    let shape = shape_of(&[b"\x8f\x44\x24\x10"], &[(0, 'r', 8), (0, 'w', 8)]);
    assert_eq!(bases(&shape), [(R(4), 0), (R(4), 0x18)]);
    assert_eq!(shape.stack, StackEffect::Moves(8));
}

#[test]
fn calls_and_returns_end_shapes_and_move_the_stack_pointer() {
    // call +0; call [rax]; ret; ret 0x10
    let call = shape_of(&[b"\xe8\0\0\0\0"], &[(0, 'w', 8)]);
    assert_eq!((call.flow, call.stack), (Flow::Call, StackEffect::Moves(-8)));
    assert_eq!(bases(&call), [(R(4), -8)]);
    let indirect = shape_of(&[b"\xff\x10"], &[(0, 'r', 8), (0, 'w', 8)]);
    assert_eq!((indirect.flow, indirect.stack), (Flow::Call, StackEffect::Moves(-8)));
    assert_eq!(bases(&indirect), [(R(0), 0), (R(4), -8)]);
    let ret = shape_of(&[b"\xc3"], &[(0, 'r', 8)]);
    assert_eq!((ret.flow, ret.stack), (Flow::Return, StackEffect::Moves(8)));
    assert_eq!(bases(&ret), [(R(4), 0)]);
    let ret = shape_of(&[b"\xc2\x10\0"], &[(0, 'r', 8)]);
    assert_eq!((ret.flow, ret.stack), (Flow::Return, StackEffect::Moves(24)));
}

#[test]
fn system_calls_are_neither_calls_nor_returns() {
    // syscall; sysretq; vmmcall; int3
    for bytes in [&b"\x0f\x05"[..], b"\x48\x0f\x07", b"\x0f\x01\xd9", b"\xcc"] {
        assert_eq!(shape_of(&[bytes], &[]).flow, Flow::Other, "{bytes:x?}");
    }
}

#[test]
fn immediate_moves_of_the_stack_pointer_are_followed() {
    // sub rsp,0x28; add rsp,8; lea rsp,[rsp+0x100]; mov [rsp],rax
    let shape = shape_of(
        &[
            b"\x48\x83\xec\x28",
            b"\x48\x83\xc4\x08",
            b"\x48\x8d\xa4\x24\x00\x01\x00\x00",
            b"\x48\x89\x04\x24",
        ],
        &[(3, 'w', 8)],
    );
    assert_eq!(shape.stack, StackEffect::Moves(0x100 - 0x20));
    assert_eq!(bases(&shape), [(R(4), 0x100 - 0x20)]);
    // sub rsp,0x12345678
    let shape = shape_of(&[b"\x48\x81\xec\x78\x56\x34\x12"], &[]);
    assert_eq!(shape.stack, StackEffect::Moves(-0x1234_5678));
}

#[test]
fn what_loads_the_stack_pointer_makes_it_unknown() {
    let loads: [&[u8]; 10] = [
        b"\xc9",             // leave
        b"\x48\x89\xec",     // mov rsp,rbp
        b"\x48\x8b\x65\x00", // mov rsp,[rbp]
        b"\x5c",             // pop rsp
        b"\x48\x83\xe4\xf0", // and rsp,-16
        b"\x48\x8d\x65\xd8", // lea rsp,[rbp-0x28]
        b"\x48\x29\xc4",     // sub rsp,rax
        b"\x48\x94",         // xchg rsp,rax
        b"\x48\xcf",         // iretq
        b"\xc8\x10\0\0",     // enter 16,0
    ];
    for bytes in loads {
        // The load, then push rax: its address is not known relative to the block's start.
        let shape = shape_of(&[bytes, b"\x50"], &[(1, 'w', 8)]);
        assert_eq!(shape.stack, StackEffect::Loaded, "{bytes:x?}");
        assert_eq!(bases(&shape), [(Own, 0)], "{bytes:x?}");
    }
}

#[test]
fn a_leave_reads_where_the_frame_pointer_says() {
    let shape = shape_of(&[b"\xc9"], &[(0, 'r', 8)]);
    assert_eq!(bases(&shape), [(R(5), 0)]);
}

#[test]
fn string_instructions_go_by_their_pointers() {
    // movsq; stosb; lodsd; cmpsb
    let shape = shape_of(
        &[b"\x48\xa5", b"\xaa", b"\xad", b"\xa6"],
        &[(0, 'r', 8), (0, 'w', 8), (1, 'w', 1), (2, 'r', 4), (3, 'r', 1), (3, 'r', 1)],
    );
    let (rsi, rdi) = (R(6), R(7));
    let expected = [(rsi, 0), (rdi, 0), (rdi, 0), (rsi, 0)];
    assert_eq!(bases(&shape)[..4], expected);
    let mut compared = [shape.slots[4].base, shape.slots[5].base];
    compared.sort_by_key(|base| format!("{base:?}"));
    assert_eq!(compared, [rsi, rdi]);
}

#[test]
fn only_string_instructions_with_a_prefix_repeat() {
    let decoded = |bytes: &[u8]| analysed(&[bytes]).decoded()[0];
    // rep movsq; repne scasb; rep stosb
    for bytes in [&b"\xf3\x48\xa5"[..], b"\xf2\xae", b"\xf3\xaa"] {
        assert!(repeats(&decoded(bytes)), "{bytes:x?}");
    }
    // movsq; pause; rep ret; movsd xmm0,[rax]; endbr64; xrelease mov [rax],eax
    for bytes in [
        &b"\x48\xa5"[..],
        b"\xf3\x90",
        b"\xf3\xc3",
        b"\xf2\x0f\x10\x00",
        b"\xf3\x0f\x1e\xfa",
        b"\xf3\x89\x00",
    ] {
        assert!(!repeats(&decoded(bytes)), "{bytes:x?}");
    }
}

#[test]
fn a_modify_is_a_read_and_a_write_of_one_operand() {
    // lock cmpxchg [rdx+8],rcx; add [rbx-1],al; xchg [rsi],rax
    let shape = shape_of(
        &[b"\xf0\x48\x0f\xb1\x4a\x08", b"\x00\x43\xff", b"\x48\x87\x06"],
        &[(0, 'r', 8), (0, 'w', 8), (1, 'r', 1), (1, 'w', 1), (2, 'r', 8), (2, 'w', 8)],
    );
    let expected = [(R(2), 8), (R(2), 8), (R(3), -1), (R(3), -1), (R(6), 0), (R(6), 0)];
    assert_eq!(bases(&shape), expected);
    let marked: Vec<bool> = shape.slots.iter().map(|slot| slot.modify).collect();
    assert_eq!(marked, [false, true].repeat(3));
    // movsq; push [rbx]: what is written is not what was read.
    let shape = shape_of(
        &[b"\x48\xa5", b"\xff\x33"],
        &[(0, 'r', 8), (0, 'w', 8), (1, 'r', 8), (1, 'w', 8)],
    );
    assert!(shape.slots.iter().all(|slot| !slot.modify));
}

#[test]
fn instruction_pointer_relative_operands_are_relative_to_the_block() {
    // nop; mov rax,[rip+0x20] ends at 0x1008
    let shape = shape_of(&[b"\x90", b"\x48\x8b\x05\x20\0\0\0"], &[(1, 'r', 8)]);
    assert_eq!(bases(&shape), [(Base::Block, 0x28)]);
    // mov eax,[0x12345678]
    let shape = shape_of(&[b"\x8b\x04\x25\x78\x56\x34\x12"], &[(0, 'r', 4)]);
    assert_eq!(bases(&shape), [(Base::Block, 0x1234_5678 - 0x1000)]);
}

#[test]
fn segment_bases_are_registers_of_their_own() {
    // mov rax,gs:[0x28]; mov rax,fs:[0]; mov rax,gs:[rdx]; mov rax,gs:[rip+8]
    let shape = shape_of(
        &[
            b"\x65\x48\x8b\x04\x25\x28\0\0\0",
            b"\x64\x48\x8b\x04\x25\0\0\0\0",
            b"\x65\x48\x8b\x02",
            b"\x65\x48\x8b\x05\x08\0\0\0",
        ],
        &[(0, 'r', 8), (1, 'r', 8), (2, 'r', 8), (3, 'r', 8)],
    );
    // The third has two parts that change, so it is foreseen by itself; the fourth is GS plus an
    // address in the code: 0x1000 + 9 + 9 + 4 + 8 + 8.
    assert_eq!(bases(&shape), [(R(17), 0x28), (R(16), 0), (Own, 0), (R(17), 0x1026)]);
}

#[test]
fn operands_with_an_index_are_foreseen_by_themselves() {
    // mov rax,[rbx+rcx*8+8]; mov rax,[rsp+rcx]
    let shape =
        shape_of(&[b"\x48\x8b\x44\xcb\x08", b"\x48\x8b\x04\x0c"], &[(0, 'r', 8), (1, 'r', 8)]);
    assert_eq!(bases(&shape), [(Own, 0), (Own, 0)]);
}

#[test]
fn accesses_that_no_operand_explains_are_foreseen_by_themselves() {
    // mov ds,eax reads a descriptor; the third access of push [rdi] is nobody's
    let shape = shape_of(
        &[b"\x8e\xd8", b"\xff\x37"],
        &[(0, 'r', 8), (1, 'r', 8), (1, 'w', 8), (1, 'w', 8)],
    );
    assert_eq!(bases(&shape), [(Own, 0), (R(7), 0), (R(4), -8), (Own, 0)]);
}

#[test]
fn stacks_of_other_widths_are_followed_too() {
    // push eax; push eax; pop ecx
    let shape = shape_in(
        CodeSize::Bits32,
        &[b"\x50", b"\x50", b"\x59"],
        &[(0, 'w', 4), (1, 'w', 4), (2, 'r', 4)],
    );
    assert_eq!(bases(&shape), [(R(4), -4), (R(4), -8), (R(4), -8)]);
    assert_eq!(shape.stack, StackEffect::Moves(-4));
    // mov eax,[ebp-4]
    let shape = shape_in(CodeSize::Bits32, &[b"\x8b\x45\xfc"], &[(0, 'r', 4)]);
    assert_eq!(bases(&shape), [(R(5), -4)]);
    // mov eax,[0xfffffff0]
    let shape = shape_in(CodeSize::Bits32, &[b"\xa1\xf0\xff\xff\xff"], &[(0, 'r', 4)]);
    assert_eq!(bases(&shape), [(Base::Block, 0xffff_fff0 - 0x1000)]);
    // push ax (16-bit code)
    let shape = shape_in(CodeSize::Bits16, &[b"\x50"], &[(0, 'w', 2)]);
    assert_eq!(bases(&shape), [(R(4), -2)]);
    assert_eq!(shape.stack, StackEffect::Moves(-2));
    // add esp,0x10; sub sp,4
    let shape = shape_in(CodeSize::Bits32, &[b"\x83\xc4\x10"], &[]);
    assert_eq!(shape.stack, StackEffect::Moves(16));
    let shape = shape_in(CodeSize::Bits16, &[b"\x83\xec\x04"], &[]);
    assert_eq!(shape.stack, StackEffect::Moves(-4));
}

#[test]
fn an_execution_cut_short_has_done_only_what_it_completed() {
    // push rbp; push rbx; ret
    let analysis = analysed(&[b"\x55", b"\x53", b"\xc3"]);
    let shape = analysis.shape(BlockId(0), 1, true, &[], None);
    assert_eq!((shape.stack, shape.flow), (StackEffect::Moves(-8), Flow::Other));
    let shape = analysis.shape(BlockId(0), 2, true, &[], None);
    assert_eq!((shape.stack, shape.flow), (StackEffect::Moves(-16), Flow::Other));
    let shape = analysis.shape(BlockId(0), 3, false, &[], None);
    assert_eq!((shape.stack, shape.flow), (StackEffect::Moves(-8), Flow::Return));
    let shape = analysis.shape(BlockId(0), 0, true, &[], None);
    assert_eq!((shape.stack, shape.flow), (StackEffect::Moves(0), Flow::Other));
}

#[test]
fn without_code_bytes_nothing_is_known() {
    let block = Block { code: Box::default(), ..block_of(CodeSize::Bits64, &[b"\x55", b"\xc3"]) };
    let analysis = Analysis::of(&block);
    assert!(analysis.decoded().iter().all(Instruction::is_invalid));
    let read = Observed { instruction: 1, kind: AccessKind::Read, bytes: 8 };
    let shape = analysis.shape(BlockId(0), 2, false, &[read], None);
    assert_eq!(bases(&shape), [(Own, 0)]);
    assert_eq!((shape.stack, shape.flow), (StackEffect::Moves(0), Flow::Other));
}

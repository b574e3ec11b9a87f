//! What is known of a block before it runs: which of its instructions mean more than their memory
//! accesses, and where control may go from its end.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register as Iced};
use strata_workloads::code;
use strata_workloads::trace::{ControlRegister, DescriptorTable};

/// An instruction of which the stream tells more than its accesses. Most are looked at before
/// they execute and take effect once their block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// MOV to a control register from a general one.
    MoveToControl {
        /// The destination.
        register: ControlRegister,
        /// The source's number.
        from: u8,
    },
    /// CLTS: clears CR0.TS.
    ClearTaskSwitched,
    /// LMSW: loads the low half of CR0.
    LoadStatusWord,
    /// INVLPG.
    InvalidatePage,
    /// INVLPGA.
    InvalidatePageOfAsid,
    /// INVPCID.
    InvalidateContext,
    /// WRMSR.
    WriteMsr,
    /// RDTSC or RDTSCP.
    ReadTimeStamp,
    /// IN, OUT, INS or OUTS.
    Port {
        /// Bytes of one transfer.
        bytes: u8,
        /// OUT or OUTS.
        write: bool,
        /// The port when it is in the code; else DX has it.
        port: Option<u8>,
    },
    /// HLT.
    Halt,
    /// SYSCALL or SYSENTER.
    SystemCall,
    /// VMCALL or VMMCALL.
    HypervisorCall,
    /// LGDT, LIDT or LTR.
    LoadTable(DescriptorTable),
    /// VMRUN.
    RunGuest,
    /// The long NOP by which a guest program talks to the recorder.
    Marker(u16),
}

/// Where control may go from the end of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exits {
    /// The next instruction in memory, or [`NOWHERE`].
    pub next: u64,
    /// A direct branch's target, or [`NOWHERE`].
    pub target: u64,
    /// It may go anywhere.
    pub anywhere: bool,
    /// It ends in IRET.
    pub interrupt_return: bool,
    /// It ends in INT n, INT3, INTO or INT1.
    pub software_interrupt: bool,
}

/// An address that no block has: not canonical.
pub const NOWHERE: u64 = 0x0bad_0000_0000_0001;

/// First half of a marker, followed by 0x5354 in the upper and the number in the lower half of a
/// 32-bit displacement.
const MARKER: [u8; 4] = [0x0f, 0x1f, 0x84, 0x00];
const MARKER_KEY: u32 = 0x5354;

/// The number of the marker that `bytes` are.
pub fn marker(bytes: &[u8]) -> Option<u16> {
    let displacement = bytes.strip_prefix(&MARKER)?.try_into().ok().map(u32::from_le_bytes)?;
    (displacement >> 16 == MARKER_KEY).then_some(displacement as u16)
}

/// True for VMRUN. Works without knowing the mode the code runs in.
pub fn runs_guest(bytes: &[u8]) -> bool {
    bytes.ends_with(&[0x0f, 0x01, 0xd8])
}

/// The descriptor register that an instruction loads. Works without knowing the mode the code runs
/// in, as boot code is watched too.
pub fn table_load(bytes: &[u8]) -> Option<DescriptorTable> {
    let opcode = bytes.iter().position(|b| !is_prefix(*b))?;
    let [0x0f, second, modrm, ..] = bytes[opcode..] else { return None };
    let (register, memory) = ((modrm >> 3) & 7, modrm < 0xc0);
    match (second, register, memory) {
        (0x00, 3, _) => Some(DescriptorTable::Task),
        (0x01, 2, true) => Some(DescriptorTable::Global),
        (0x01, 3, true) => Some(DescriptorTable::Interrupt),
        _ => None,
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// What is special about an instruction.
pub fn special(instruction: &Instruction, bytes: &[u8]) -> Option<Special> {
    Some(match instruction.mnemonic() {
        Mnemonic::Mov if instruction.op0_register().is_cr() => Special::MoveToControl {
            register: match instruction.op0_register() {
                Iced::CR0 => ControlRegister::Cr0,
                Iced::CR3 => ControlRegister::Cr3,
                Iced::CR4 => ControlRegister::Cr4,
                _ => return None,
            },
            from: instruction.op1_register().full_register().number() as u8,
        },
        Mnemonic::Clts => Special::ClearTaskSwitched,
        Mnemonic::Lmsw => Special::LoadStatusWord,
        Mnemonic::Invlpg => Special::InvalidatePage,
        Mnemonic::Invlpga => Special::InvalidatePageOfAsid,
        Mnemonic::Invpcid => Special::InvalidateContext,
        Mnemonic::Wrmsr => Special::WriteMsr,
        Mnemonic::Rdtsc | Mnemonic::Rdtscp => Special::ReadTimeStamp,
        Mnemonic::In => {
            in_out(instruction, instruction.op0_register(), instruction.op1_kind(), false)
        }
        Mnemonic::Out => {
            in_out(instruction, instruction.op1_register(), instruction.op0_kind(), true)
        }
        Mnemonic::Insb => Special::Port { bytes: 1, write: false, port: None },
        Mnemonic::Insw => Special::Port { bytes: 2, write: false, port: None },
        Mnemonic::Insd => Special::Port { bytes: 4, write: false, port: None },
        Mnemonic::Outsb => Special::Port { bytes: 1, write: true, port: None },
        Mnemonic::Outsw => Special::Port { bytes: 2, write: true, port: None },
        Mnemonic::Outsd => Special::Port { bytes: 4, write: true, port: None },
        Mnemonic::Hlt => Special::Halt,
        Mnemonic::Syscall | Mnemonic::Sysenter => Special::SystemCall,
        Mnemonic::Vmcall | Mnemonic::Vmmcall => Special::HypervisorCall,
        Mnemonic::Lgdt => Special::LoadTable(DescriptorTable::Global),
        Mnemonic::Lidt => Special::LoadTable(DescriptorTable::Interrupt),
        Mnemonic::Ltr => Special::LoadTable(DescriptorTable::Task),
        Mnemonic::Vmrun => Special::RunGuest,
        Mnemonic::Nop => Special::Marker(marker(bytes)?),
        _ => return None,
    })
}

fn in_out(instruction: &Instruction, data: Iced, port: OpKind, write: bool) -> Special {
    let port = (port == OpKind::Immediate8).then(|| instruction.immediate8());
    Special::Port { bytes: data.size() as u8, write, port }
}

/// Accesses that one iteration of a `rep` string instruction makes, or `None` for any other
/// instruction.
pub fn repeated_accesses(instruction: &Instruction) -> Option<usize> {
    if !code::repeats(instruction) {
        return None;
    }
    Some(match instruction.mnemonic() {
        Mnemonic::Movsb
        | Mnemonic::Movsw
        | Mnemonic::Movsd
        | Mnemonic::Movsq
        | Mnemonic::Cmpsb
        | Mnemonic::Cmpsw
        | Mnemonic::Cmpsd
        | Mnemonic::Cmpsq => 2,
        _ => 1,
    })
}

/// True for INS, whose store the emulator makes twice: once with a zero so that a page fault comes
/// before the port is read, and once with what was read.
pub fn stores_twice(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd)
}

/// True for VMRUN, VMLOAD and VMSAVE: their accesses, to the VMCB, are by physical address.
pub fn accesses_physically(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Vmrun | Mnemonic::Vmload | Mnemonic::Vmsave)
}

/// False for instructions that always run to their end: register arithmetic, direct branches and
/// NOPs. Whether any other has begun is tracked, since an execution may end in it.
pub fn may_stop(instruction: &Instruction) -> bool {
    use Mnemonic::{
        Adc, Add, And, Bswap, Cdqe, Cmp, Cqo, Dec, Endbr64, Imul, Inc, Jmp, Lea, Mov, Movsx,
        Movsxd, Movzx, Neg, Nop, Not, Or, Rol, Ror, Sar, Sbb, Shl, Shr, Sub, Test, Xor,
    };
    let memory = (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    if memory && !matches!(instruction.mnemonic(), Lea | Nop) {
        return true;
    }
    if instruction.flow_control() == FlowControl::ConditionalBranch {
        return false;
    }
    let plain = matches!(
        instruction.mnemonic(),
        Adc | Add
            | And
            | Bswap
            | Cdqe
            | Cmp
            | Cqo
            | Dec
            | Endbr64
            | Imul
            | Inc
            | Lea
            | Mov
            | Movsx
            | Movsxd
            | Movzx
            | Neg
            | Nop
            | Not
            | Or
            | Rol
            | Ror
            | Sar
            | Sbb
            | Shl
            | Shr
            | Sub
            | Test
            | Xor
    ) || (instruction.mnemonic() == Jmp && instruction.is_jmp_short_or_near());
    let general = (0..instruction.op_count())
        .all(|i| instruction.op_kind(i) != OpKind::Register || instruction.op_register(i).is_gpr());
    !(plain && general)
}

/// Where control may go from a block that ends in `last`; `end` is the address after it.
pub fn exits(last: &Instruction, end: u64) -> Exits {
    let none = Exits {
        next: NOWHERE,
        target: NOWHERE,
        anywhere: false,
        interrupt_return: false,
        software_interrupt: false,
    };
    let anywhere = Exits { anywhere: true, ..none };
    if last.is_invalid() {
        return Exits { next: end, ..anywhere };
    }
    let interrupt_return =
        matches!(last.mnemonic(), Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq);
    let direct = match last.op0_kind() {
        // An offset within a segment whose base the decoder does not know.
        OpKind::NearBranch16 => {
            let distance = last.near_branch16().wrapping_sub(end as u16) as i16;
            end.wrapping_add_signed(distance.into())
        }
        _ => last.near_branch_target(),
    };
    match last.flow_control() {
        FlowControl::Next => Exits { next: end, ..none },
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
            Exits { next: end, target: direct, ..none }
        }
        FlowControl::UnconditionalBranch if direct != 0 => Exits { target: direct, ..none },
        // SYSCALL, VMCALL and VMRUN count as calls.
        FlowControl::Call if last.is_call_near() => Exits { target: direct, ..none },
        FlowControl::Call => Exits { next: end, ..anywhere },
        FlowControl::Return => Exits { interrupt_return, ..anywhere },
        FlowControl::UnconditionalBranch
        | FlowControl::IndirectBranch
        | FlowControl::IndirectCall => anywhere,
        FlowControl::Interrupt => Exits { software_interrupt: true, ..none },
        FlowControl::Exception => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn decode(bytes: &[u8]) -> Instruction {
        Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode()
    }

    fn of(bytes: &[u8]) -> Option<Special> {
        special(&decode(bytes), bytes)
    }

    #[test]
    fn control_register_moves_name_both_ends() {
        let cr3 = Special::MoveToControl { register: ControlRegister::Cr3, from: 8 };
        assert_eq!(of(&[0x41, 0x0f, 0x22, 0xd8]), Some(cr3));
        assert_eq!(of(&[0x0f, 0x20, 0xd8]), None, "a move from CR3");
    }

    #[test]
    fn ports_have_direction_size_and_number() {
        let out = Special::Port { bytes: 1, write: true, port: Some(0x80) };
        assert_eq!(of(&[0xe6, 0x80]), Some(out));
        assert_eq!(of(&[0xed]), Some(Special::Port { bytes: 4, write: false, port: None }));
        assert_eq!(
            of(&[0xf3, 0x66, 0x6d]),
            Some(Special::Port { bytes: 2, write: false, port: None })
        );
    }

    #[test]
    fn a_marker_is_a_long_nop_with_the_key() {
        let nop = [0x0f, 0x1f, 0x84, 0x00, 7, 0, 0x54, 0x53];
        assert_eq!(marker(&nop), Some(7));
        assert_eq!(of(&nop), Some(Special::Marker(7)));
        assert_eq!(of(&[0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0]), None);
        assert_eq!(marker(&nop[..7]), None);
    }

    #[test]
    fn descriptor_loads_are_known_by_their_bytes() {
        assert_eq!(table_load(&[0x0f, 0x01, 0x1f]), Some(DescriptorTable::Interrupt));
        assert_eq!(table_load(&[0x66, 0x2e, 0x0f, 0x01, 0x16]), Some(DescriptorTable::Global));
        assert_eq!(table_load(&[0x0f, 0x00, 0xd8]), Some(DescriptorTable::Task));
        assert_eq!(table_load(&[0x0f, 0x01, 0xd9]), None, "VMMCALL");
        assert_eq!(table_load(&[0x0f, 0x01, 0x07]), None, "SGDT");
    }

    #[test]
    fn vmrun_is_told_from_its_neighbours() {
        assert!(runs_guest(&[0x0f, 0x01, 0xd8]));
        assert!(!runs_guest(&[0x0f, 0x01, 0xd9]), "VMMCALL");
        assert!(!runs_guest(&[0x0f, 0x01, 0xd8, 0x90]));
    }

    #[test]
    fn exits_follow_the_kind_of_branch() {
        let at = |bytes: &[u8]| exits(&decode(bytes), 0x1000 + bytes.len() as u64);
        assert_eq!((at(&[0x75, 0x10]).next, at(&[0x75, 0x10]).target), (0x1002, 0x1012));
        assert_eq!((at(&[0xeb, 0x10]).next, at(&[0xeb, 0x10]).target), (NOWHERE, 0x1012));
        assert_eq!(at(&[0xe8, 0, 0, 0, 0]).target, 0x1005);
        assert!(at(&[0xc3]).anywhere && at(&[0xff, 0xe0]).anywhere && at(&[0x0f, 0x05]).anywhere);
        assert!(at(&[0x48, 0xcf]).interrupt_return);
        assert!(at(&[0xcd, 0x80]).software_interrupt && !at(&[0xcd, 0x80]).anywhere);
        assert_eq!(at(&[0x90]), Exits { next: 0x1001, ..at(&[0x0f, 0x0b]) });
    }

    #[test]
    fn a_16_bit_branch_stays_in_its_segment() {
        let bytes = [0xeb, 0xfc];
        let jump = Decoder::with_ip(16, &bytes, 0xf_e05b, DecoderOptions::NONE).decode();
        assert_eq!(exits(&jump, 0xf_e05d).target, 0xf_e059);
    }

    #[test]
    fn only_instructions_that_cannot_stop_go_untracked() {
        for bytes in [&[0x48, 0x01, 0xc8][..], &[0x75, 0], &[0x90], &[0x48, 0x8d, 0x04, 0x08]] {
            assert!(!may_stop(&decode(bytes)), "{bytes:x?}");
        }
        for bytes in [
            &[0x48, 0x03, 0x00][..], // add rax, [rax]
            &[0x50],                 // push
            &[0xc3],                 // ret
            &[0x0f, 0x22, 0xd8],     // mov cr3, rax
            &[0x8e, 0xd8],           // mov ds, eax
            &[0x48, 0xf7, 0xf1],     // div
            &[0x0f, 0x28, 0xc1],     // movaps: may raise #NM
            &[0xa4],                 // movsb
            &[0xd7],                 // xlatb
        ] {
            assert!(may_stop(&decode(bytes)), "{bytes:x?}");
        }
    }
}

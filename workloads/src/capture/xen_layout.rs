//! Where Xen keeps which vCPU runs, derived from the code of the very build that is booted.
//!
//! The recorder needs five numbers. Xen's packages come without debug information, but two
//! functions show them all:
//!
//! - `lstar_enter`, the entry of system calls and hypercalls, finds `current` at the end of the
//!   hypervisor stack (`GET_STACK_END` in xen/arch/x86/include/asm/asm_defns.h):
//!
//!   ```text
//!   mov  $0x7fff,%r14
//!   or   %rsp,%r14              ; the last byte of the stack
//!   …
//!   mov  -0x37(%r14),%rbx       ; cpu_info.current_vcpu, 0x38 below the end
//!   testb $1,0x380(%rbx)        ; which is used as a pointer: the other fields are not
//!   ```
//!
//! - `vcpu_create(struct domain *d, unsigned int vcpu_id)` in xen/common/domain.c compares
//!   `d->domain_id` with `DOMID_IDLE` (0x7fff) and, after `alloc_vcpu_struct`, stores both of its
//!   arguments: `v->domain = d; v->vcpu_id = vcpu_id`.
//!
//! The recorder checks the result at run time: the idle vCPU must belong to domain 0x7fff.

use std::collections::BTreeSet;

use goblin::elf::Elf;
use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register,
};

use super::CaptureError;
use crate::manifest::{Address, XenLayout};

/// Domain id of the idle vCPUs (xen/include/public/xen.h, `DOMID_IDLE`).
const DOMID_IDLE: u64 = 0x7fff;
/// Offset bits of the hypervisor stack, 32 KiB (`STACK_SIZE - 1`).
const STACK_MASK: u64 = 0x7fff;
/// How many instructions of a function are looked at.
const REACH: usize = 200;

/// Derives the layout from Xen's ELF file with symbols; `version` only names it in errors.
///
/// # Errors
///
/// If the file has no symbols or its code does not have the expected form.
pub(super) fn derive(symbols: &[u8], version: &str) -> Result<XenLayout, CaptureError> {
    let failed = |what: &'static str, why: &str| CaptureError::Layout {
        version: version.to_owned(),
        what,
        why: why.to_owned(),
    };
    let elf = Elf::parse(symbols).map_err(|error| failed("its symbols", &error.to_string()))?;
    let address = |name: &'static str| {
        elf.syms
            .iter()
            .find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name))
            .map(|symbol| symbol.st_value)
            .ok_or_else(|| failed(name, "its symbol table has no such name"))
    };
    let code = |name: &'static str| -> Result<(u64, &[u8]), CaptureError> {
        let start = address(name)?;
        elf.section_headers
            .iter()
            .find(|section| section.vm_range().contains(&(start as usize)))
            .and_then(|section| {
                let file = section.file_range()?;
                symbols.get(file.start + (start - section.sh_addr) as usize..file.end)
            })
            .map(|bytes| (start, bytes))
            .ok_or_else(|| failed(name, "its code is not in the file"))
    };
    let (entry_at, entry) = code("lstar_enter")?;
    let (create_at, create) = code("vcpu_create")?;
    let fields = fields_of_vcpu_create(create, create_at, address("alloc_vcpu_struct")?)
        .map_err(|what| failed(what, "vcpu_create has another form"))?;
    Ok(XenLayout {
        curr_vcpu: Address(address("per_cpu__curr_vcpu")?),
        current: current_of_entry(entry, entry_at)
            .ok_or_else(|| failed("cpu_info.current_vcpu", "lstar_enter has another form"))?,
        vcpu_domain: fields.vcpu_domain,
        vcpu_id: fields.vcpu_id,
        domain_id: fields.domain_id,
    })
}

/// Distance of `current_vcpu` from the end of the stack, by the first field loaded relative to the
/// stack's last byte and then used as a pointer.
fn current_of_entry(code: &[u8], address: u64) -> Option<u32> {
    let mut end: Option<Register> = None;
    let mut mask: Option<Register> = None;
    let mut loaded: Option<(Register, u32)> = None;
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter().take(REACH)
    {
        let destination = instruction.op0_register().full_register();
        match instruction.mnemonic() {
            Mnemonic::Mov
                if is_immediate(instruction.op1_kind())
                    && instruction.op0_kind() == OpKind::Register
                    && instruction.immediate(1) == STACK_MASK =>
            {
                mask = Some(destination);
            }
            Mnemonic::Or
                if mask == Some(destination) && instruction.op1_register() == Register::RSP =>
            {
                end = mask;
            }
            _ if instruction.op1_kind() == OpKind::Memory
                && instruction.mnemonic() == Mnemonic::Mov
                && end == Some(instruction.memory_base()) =>
            {
                let below = (instruction.memory_displacement64() as i64).checked_neg()?;
                // The register holds the address of the last byte, one before the end.
                loaded = u32::try_from(below + 1).ok().map(|distance| (destination, distance));
            }
            _ => {
                if let Some((register, distance)) = loaded
                    && instruction.memory_base() == register
                {
                    return Some(distance);
                }
            }
        }
    }
    None
}

/// Offsets read from `vcpu_create`.
#[derive(Debug, PartialEq, Eq)]
struct Fields {
    vcpu_domain: u32,
    vcpu_id: u32,
    domain_id: u32,
}

/// Follows the two arguments and the new vCPU through register copies, in the order of the code.
fn fields_of_vcpu_create(code: &[u8], address: u64, alloc: u64) -> Result<Fields, &'static str> {
    let mut domain = BTreeSet::from([Register::RDI]);
    let mut number = BTreeSet::from([Register::RSI]);
    let mut vcpu: BTreeSet<Register> = BTreeSet::new();
    let (mut vcpu_domain, mut vcpu_id, mut domain_id) = (None, None, None);
    let mut information = InstructionInfoFactory::new();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter().take(REACH)
    {
        let offset = u32::try_from(instruction.memory_displacement64()).ok();
        let base = instruction.memory_base().full_register();
        let source = instruction.op1_register().full_register();
        if is_store(&instruction) && vcpu.contains(&base) {
            if domain.contains(&source) {
                vcpu_domain = vcpu_domain.or(offset);
            } else if number.contains(&source) {
                vcpu_id = vcpu_id.or(offset);
            }
        }
        if instruction.mnemonic() == Mnemonic::Cmp
            && instruction.op0_kind() == OpKind::Memory
            && is_immediate(instruction.op1_kind())
            && instruction.immediate(1) & 0xffff == DOMID_IDLE
            && domain.contains(&base)
        {
            domain_id = domain_id.or(offset);
        }
        if let (Some(vcpu_domain), Some(vcpu_id), Some(domain_id)) =
            (vcpu_domain, vcpu_id, domain_id)
        {
            return Ok(Fields { vcpu_domain, vcpu_id, domain_id });
        }

        let is_call = instruction.mnemonic() == Mnemonic::Call;
        let tracked = [&mut domain, &mut number, &mut vcpu];
        for registers in tracked {
            let copied = instruction.mnemonic() == Mnemonic::Mov
                && instruction.op0_kind() == OpKind::Register
                && registers.contains(&source);
            for used in information.info(&instruction).used_registers() {
                if matches!(
                    used.access(),
                    OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite
                ) {
                    registers.remove(&used.register().full_register());
                }
            }
            if copied {
                registers.insert(instruction.op0_register().full_register());
            }
            if is_call {
                registers.retain(|register| !is_scratch(*register));
            }
        }
        if is_call && instruction.near_branch_target() == alloc {
            vcpu.insert(Register::RAX);
        }
    }
    Err(match (domain_id, vcpu_domain) {
        (None, _) => "domain.domain_id",
        (_, None) => "vcpu.domain",
        _ => "vcpu.vcpu_id",
    })
}

fn is_store(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register
}

/// Registers that a call may change (System V ABI for AMD64, 3.2.1).
fn is_scratch(register: Register) -> bool {
    use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
    [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11].contains(&register)
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `mov $0x7fff,%r14` in lstar_enter of Debian's Xen 4.17.7; the long NOPs, left for
    /// patches at boot, are shortened.
    const ENTRY: &[u8] =
        b"\x49\xc7\xc6\xff\x7f\x00\x00\x49\x09\xe6\x41\x0f\xb6\x5e\xfd\xf6\xc3\x40\
        \x74\x05\x0f\x1f\x44\x00\x00\x0f\xae\xe8\x49\x8b\x4e\xe1\x48\x85\xc9\x74\x0c\x41\xc6\x46\
        \xff\x00\x0f\x22\xd9\x4d\x89\x66\xe1\xfb\x49\x8b\x5e\xc9\xf6\x83\x80\x03\x00\x00\x01";

    /// The start of vcpu_create of the same build.
    const CREATE: &[u8] = b"\x41\x57\x41\x56\x41\x55\x41\x54\x55\x53\x48\x83\xec\x10\x3b\x77\x04\
        \x0f\x83\x6c\x02\x00\x00\x48\x8b\x47\x08\x89\xf1\x48\x89\xfd\x41\x89\xf4\x48\x89\x0c\x24\
        \x48\x83\x3c\xc8\x00\x0f\x85\x51\x02\x00\x00\x66\x81\x3f\xff\x7f\x74\x12\x85\xf6\x74\x0e\
        \x8d\x56\xff\x48\x83\x3c\xd0\x00\x0f\x84\x38\x02\x00\x00\x48\x89\xef\xe8\xad\x3f\x0f\x00\
        \x48\x89\xc3\x48\x85\xc0\x0f\x84\x24\x02\x00\x00\x48\x89\x68\x10\x31\xd2\x31\xf6\x48\x8d\
        \xbb\xb8\x01\x00\x00\x44\x89\x20";
    const CREATE_AT: u64 = 0xffff_82d0_4020_6ba0;
    const ALLOC: u64 = 0xffff_82d0_402f_aba0;

    #[test]
    fn current_lies_where_the_entry_code_loads_it() {
        assert_eq!(current_of_entry(ENTRY, 0), Some(0x38));
    }

    #[test]
    fn a_field_that_is_never_used_as_a_pointer_is_not_current() {
        let without_the_last_load = &ENTRY[..ENTRY.len() - 11];
        assert_eq!(current_of_entry(without_the_last_load, 0), None);
    }

    #[test]
    fn vcpu_create_shows_three_fields() {
        let fields = fields_of_vcpu_create(CREATE, CREATE_AT, ALLOC).unwrap();
        assert_eq!(fields, Fields { vcpu_domain: 0x10, vcpu_id: 0, domain_id: 0 });
    }

    #[test]
    fn stores_before_the_allocation_are_not_taken_for_fields() {
        let error = fields_of_vcpu_create(CREATE, CREATE_AT, ALLOC + 16).unwrap_err();
        assert_eq!(error, "vcpu.domain");
    }

    #[test]
    fn files_without_symbols_are_refused() {
        for bytes in [b"".as_slice(), b"\x7fELF", &[0; 64]] {
            assert!(matches!(derive(bytes, "4.17"), Err(CaptureError::Layout { .. })));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_code_is_read_without_harm(code in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = current_of_entry(&code, 0);
            let _ = fields_of_vcpu_create(&code, CREATE_AT, ALLOC);
        }
    }
}

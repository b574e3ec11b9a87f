//! The memory references of an interrupt's delivery, which no emulator shows.
//!
//! In 64-bit mode the processor reads the 16-byte gate from the IDT, the 8-byte code-segment
//! descriptor from the GDT, on a change of stack the 8-byte stack pointer from the TSS, and pushes
//! SS, RSP, RFLAGS, CS, RIP and, for some exceptions, an error code (SDM volume 3, 6.14.1 to
//! 6.14.5, figure 6-9; the TSS of figure 7-11). Setting the accessed bit of a descriptor is left
//! out: kernels set it beforehand.

use strata_cachemodel::RefKind;
use strata_workloads::trace::{CpuState, Interrupt};

/// One reference of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Read or write.
    pub(crate) kind: RefKind,
    /// Linear address.
    pub(crate) address: u64,
    /// Size in bytes.
    pub(crate) bytes: u32,
}

/// Offset of RSP0 in a 64-bit TSS, and of IST1.
const TSS_RSP0: u64 = 4;
const TSS_IST1: u64 = 0x24;

/// The references of delivering `interrupt` on `cpu`, in the order in which the manual's
/// pseudo-code makes them; `privilege` is the handler's.
pub(crate) fn references(
    interrupt: &Interrupt,
    cpu: &CpuState,
    privilege: u8,
) -> impl Iterator<Item = Reference> + use<> {
    let read = |address, bytes| Some(Reference { kind: RefKind::Read, address, bytes });
    let gate = interrupt
        .vector
        .and_then(|vector| read(cpu.idt.base.wrapping_add(u64::from(vector) * 16), 16));
    let selector = u64::from(interrupt.gate_segment & !7);
    let descriptor = read(cpu.gdt.base.wrapping_add(selector), 8);
    let changes_privilege = interrupt.code_segment & 3 != u16::from(privilege);
    let stack = match interrupt.gate_stack {
        0 if !changes_privilege => None,
        0 => read(cpu.task.base.wrapping_add(TSS_RSP0 + 8 * u64::from(privilege)), 8),
        ist => read(cpu.task.base.wrapping_add(TSS_IST1 + 8 * (u64::from(ist) - 1)), 8),
    };
    let pushes = 5 + u64::from(interrupt.error_code.is_some());
    let bottom = interrupt.stack_after;
    let frame = (0..pushes).rev().map(move |i| Reference {
        kind: RefKind::Write,
        address: bottom.wrapping_add(8 * i),
        bytes: 8,
    });
    [gate, descriptor, stack].into_iter().flatten().chain(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_workloads::trace::{Descriptor, InterruptKind};

    fn cpu() -> CpuState {
        CpuState {
            idt: Descriptor { base: 0x1000, limit: 0xfff, selector: 0 },
            gdt: Descriptor { base: 0x2000, limit: 0x7f, selector: 0 },
            task: Descriptor { base: 0x3000, limit: 0x67, selector: 0x40 },
            ..CpuState::default()
        }
    }

    fn interrupt(code_segment: u16, gate_stack: u8, error_code: Option<u32>) -> Interrupt {
        Interrupt {
            vector: Some(14),
            kind: InterruptKind::Exception,
            error_code,
            resume: 0x40_0000,
            code_segment,
            stack_before: 0x7fff_0000,
            stack_after: 0x9000,
            fault_address: 0,
            gate_segment: 0x10,
            gate_stack,
        }
    }

    fn addresses(interrupt: &Interrupt) -> Vec<(RefKind, u64)> {
        references(interrupt, &cpu(), 0).map(|r| (r.kind, r.address)).collect()
    }

    #[test]
    fn a_fault_from_ring_3_reads_gate_descriptor_and_rsp0_and_pushes_six_words() {
        let seen = addresses(&interrupt(0x33, 0, Some(4)));
        assert_eq!(
            seen[..3],
            [(RefKind::Read, 0x10e0), (RefKind::Read, 0x2010), (RefKind::Read, 0x3004)]
        );
        let pushed: Vec<u64> = seen[3..].iter().map(|&(_, address)| address).collect();
        assert_eq!(pushed, [0x9028, 0x9020, 0x9018, 0x9010, 0x9008, 0x9000]);
    }

    #[test]
    fn within_one_ring_the_tss_is_read_only_for_an_ist() {
        assert_eq!(addresses(&interrupt(0x10, 0, None)).len(), 2 + 5);
        assert_eq!(addresses(&interrupt(0x10, 2, None))[2], (RefKind::Read, 0x302c));
    }
}

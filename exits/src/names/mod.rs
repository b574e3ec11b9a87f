//! What numbers in traces are called.

mod svm;
mod vmx;

use crate::event::{Isa, Paravirtual};
use std::borrow::Cow;

/// Bit of a VMX exit reason that tells a failed entry.
const FAILED_ENTRY: u32 = 1 << 31;

/// The largest basic exit reason that VMX has; SVM's usual codes are above.
pub(crate) const LAST_VMX_REASON: u32 = 75;

/// Name of an exit reason; one that has none keeps its number.
pub fn exit_reason(isa: Isa, reason: u32) -> Cow<'static, str> {
    let (table, code, failed) = match isa {
        Isa::Vmx => (vmx::VMX, reason & 0xffff, reason & FAILED_ENTRY != 0),
        Isa::Svm => (svm::SVM, reason, false),
        Isa::Unsaid | Isa::Named => return Cow::Owned(format!("reason {reason:#x}")),
    };
    match table.binary_search_by_key(&code, |entry| entry.0) {
        Ok(at) if failed => Cow::Owned(format!("{} (failed entry)", table[at].1)),
        Ok(at) => Cow::Borrowed(table[at].1),
        Err(_) if isa == Isa::Vmx => Cow::Owned(format!("reason {reason}")),
        Err(_) => Cow::Owned(format!("code {reason:#x}")),
    }
}

/// True if the numbering has a name for it.
pub fn is_known_reason(isa: Isa, reason: u32) -> bool {
    match isa {
        Isa::Vmx => vmx::VMX.binary_search_by_key(&(reason & 0xffff), |entry| entry.0).is_ok(),
        Isa::Svm => svm::SVM.binary_search_by_key(&reason, |entry| entry.0).is_ok(),
        Isa::Unsaid | Isa::Named => false,
    }
}

/// The reason that KVM, or the manual, calls so.
pub(crate) fn reason_of_name(name: &str) -> Option<(Isa, u32)> {
    let find = |table: &[(u32, &str, &str)]| {
        let found = table.iter().find(|entry| entry.2 == name);
        found.or_else(|| table.iter().find(|entry| entry.1 == name)).map(|entry| entry.0)
    };
    // KVM writes VMX reasons in capitals and SVM reasons, exceptions apart, in small letters.
    let vmx = || find(vmx::VMX).map(|code| (Isa::Vmx, code));
    let svm = || find(svm::SVM).map(|code| (Isa::Svm, code));
    if name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        svm().or_else(vmx)
    } else {
        vmx().or_else(svm)
    }
}

/// All reasons that the manuals or KVM call so, of both numberings.
pub(crate) fn reasons_called(name: &str) -> Vec<(Isa, u32)> {
    let tables = [(Isa::Vmx, vmx::VMX), (Isa::Svm, svm::SVM)];
    let all = tables.iter().flat_map(|(isa, table)| table.iter().map(move |entry| (*isa, entry)));
    all.filter(|(_, entry)| entry.1 == name || entry.2 == name)
        .map(|(isa, entry)| (isa, entry.0))
        .collect()
}

/// All names of exit reasons in the manuals.
pub(crate) fn reason_names() -> impl Iterator<Item = &'static str> {
    vmx::VMX.iter().chain(svm::SVM).map(|entry| entry.1)
}

/// The exit reason of an access to an I/O port.
#[inline]
pub(crate) fn is_port_exit(isa: Isa, reason: u32) -> bool {
    matches!((isa, reason), (Isa::Vmx, 30) | (Isa::Svm, 0x7b))
}

/// The exit reason of an external interrupt or NMI of the host.
#[inline]
pub(crate) fn is_interrupt_exit(isa: Isa, reason: u32, interrupt_info: u64) -> bool {
    match (isa, reason) {
        (Isa::Vmx, 1) | (Isa::Svm, 0x60 | 0x61) => true,
        // EXCEPTION_NMI is either; the type field of the interruption information says which (2 is
        // an NMI; SDM volume 3, section 26.9.2).
        (Isa::Vmx, 0) => interrupt_info & (1 << 31) != 0 && (interrupt_info >> 8) & 7 == 2,
        _ => false,
    }
}

/// The exit reason of a nested page fault whose second word is the guest-physical address.
#[inline]
pub(crate) fn is_nested_fault_exit(isa: Isa, reason: u32) -> bool {
    (isa, reason) == (Isa::Svm, 0x400)
}

/// The exit reason of HLT.
pub(crate) fn is_halt_exit(isa: Isa, reason: u32) -> bool {
    matches!((isa, reason), (Isa::Vmx, 12) | (Isa::Svm, 0x78))
}

/// Hypercalls by number (xen/include/public/xen.h).
const HYPERCALLS: [&str; 43] = [
    "set_trap_table",
    "mmu_update",
    "set_gdt",
    "stack_switch",
    "set_callbacks",
    "fpu_taskswitch",
    "sched_op(compat)",
    "platform_op",
    "set_debugreg",
    "get_debugreg",
    "update_descriptor",
    "",
    "memory_op",
    "multicall",
    "update_va_mapping",
    "set_timer_op",
    "evtchn_op(compat)",
    "xen_version",
    "console_io",
    "physdev_op(compat)",
    "grant_table_op",
    "vm_assist",
    "update_va_mapping_otherdomain",
    "iret",
    "vcpu_op",
    "set_segment_base",
    "mmuext_op",
    "xsm_op",
    "nmi_op",
    "sched_op",
    "callback_op",
    "xenoprof_op",
    "evtchn_op",
    "physdev_op",
    "hvm_op",
    "sysctl",
    "domctl",
    "kexec_op",
    "tmem_op",
    "argo_op",
    "xenpmu_op",
    "dm_op",
    "hypfs_op",
];

/// Exceptions by vector (SDM volume 3, section 6.3.1).
const EXCEPTIONS: [&str; 22] = [
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP", "#SS", "#GP",
    "#PF", "15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
];

/// How a paravirtualized guest enters the hypervisor, by the event's number (`TRC_PV_…`).
const ENTRIES: [(u16, &str); 9] = [
    (4, "page fault"),
    (5, "forced invalid opcode"),
    (6, "emulate privileged instruction"),
    (7, "emulate 4 GiB segment"),
    (8, "restore FPU state"),
    (9, "paging fix-up"),
    (10, "GDT or LDT mapping fault"),
    (11, "emulate page-table write"),
    (12, "emulate page-table write"),
];

impl Paravirtual {
    /// `hypercall`, `trap` or `entry`.
    pub fn class(self) -> &'static str {
        match self {
            Paravirtual::Hypercall(_) => "hypercall",
            Paravirtual::Trap(_) => "trap",
            Paravirtual::Other(_) => "entry",
        }
    }

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Paravirtual::Hypercall(number) => number,
            Paravirtual::Trap(number) | Paravirtual::Other(number) => u32::from(number),
        }
    }

    /// Its name; `None` where the number has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Paravirtual::Hypercall(number) => {
                HYPERCALLS.get(number as usize).copied().filter(|name| !name.is_empty())
            }
            Paravirtual::Trap(vector) => EXCEPTIONS.get(usize::from(vector)).copied(),
            Paravirtual::Other(number) => {
                ENTRIES.iter().find(|entry| entry.0 == number).map(|entry| entry.1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_names_and_unknown_ones_their_numbers() {
        assert_eq!(exit_reason(Isa::Vmx, 30), "IO_INSTRUCTION");
        assert_eq!(exit_reason(Isa::Vmx, (1 << 31) | 33), "INVALID_GUEST_STATE (failed entry)");
        assert_eq!(exit_reason(Isa::Vmx, 35), "reason 35");
        assert_eq!(exit_reason(Isa::Svm, 0x7b), "IOIO");
        assert_eq!(exit_reason(Isa::Svm, 0x400), "NPF");
        assert_eq!(exit_reason(Isa::Svm, 0x3ff), "code 0x3ff");
        assert_eq!(exit_reason(Isa::Svm, u32::MAX), "INVALID");
    }

    #[test]
    fn names_of_kvm_lead_back_to_the_numbers() {
        for (name, isa, reason) in [
            ("EPT_VIOLATION", Isa::Vmx, 48),
            ("INTERRUPT_WINDOW", Isa::Vmx, 7),
            ("HLT", Isa::Vmx, 12),
            ("io", Isa::Svm, 0x7b),
            ("npf", Isa::Svm, 0x400),
            ("PF excp", Isa::Svm, 0x4e),
            ("hypercall", Isa::Svm, 0x81),
        ] {
            assert_eq!(reason_of_name(name), Some((isa, reason)), "{name}");
        }
        assert_eq!(reason_of_name("coffee"), None);
    }

    #[test]
    fn tables_are_sorted_without_doubles() {
        for table in [vmx::VMX, svm::SVM] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        assert_eq!(vmx::VMX.last().map(|entry| entry.0), Some(LAST_VMX_REASON));
    }

    #[test]
    fn hypercalls_and_exceptions_have_names() {
        assert_eq!(Paravirtual::Hypercall(20).name(), Some("grant_table_op"));
        assert_eq!(Paravirtual::Hypercall(11).name(), None);
        assert_eq!(Paravirtual::Trap(14).name(), Some("#PF"));
        assert_eq!(Paravirtual::Other(8).name(), Some("restore FPU state"));
    }
}

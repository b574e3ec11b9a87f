//! What happens on a processor that may drop TLB entries or change which can be used.

use crate::page::PageSize;

/// An event that may drop TLB entries or change which ones can be used.
///
/// An instruction that faults or is intercepted by a hypervisor does nothing here, and should not
/// be told; where it is certain to fault (named at each) it is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlEvent {
    /// MOV to CR0 of this value. Faults where it ends paging while CR4.PCIDE is set.
    WriteCr0(u64),
    /// MOV to CR3 of this value, bit 63 as in the source operand. Faults with bit 63 while
    /// CR4.PCIDE is clear.
    WriteCr3(u64),
    /// MOV to CR4 of this value. Faults where it sets PCIDE while CR3 names another PCID than 0.
    WriteCr4(u64),
    /// INVLPG of this virtual address.
    Invlpg(u64),
    /// INVPCID type 0: one address in one PCID. Faults, as type 1, with a PCID other than 0 while
    /// CR4.PCIDE is clear.
    InvpcidAddress {
        /// Virtual address.
        va: u64,
        /// Address-space number, 0 to 4095.
        pcid: u16,
    },
    /// INVPCID type 1: one PCID.
    InvpcidSingle {
        /// Address-space number, 0 to 4095.
        pcid: u16,
    },
    /// INVPCID type 2: all PCIDs, global entries too.
    InvpcidAll,
    /// INVPCID type 3: all PCIDs except global entries.
    InvpcidAllButGlobal,
    /// A page fault at this virtual address.
    PageFault(u64),
    /// A task switch of 32-bit mode loaded this CR3.
    TaskSwitch {
        /// New value of CR3.
        cr3: u64,
    },
    /// The domain that runs, or on whose behalf the hypervisor does: what the tag `vpid` is taken
    /// from at the next CR3 write or guest entry.
    Domain(u16),
    /// VMRUN, or VM entry. Fails, and is ignored, with ASID 0 on an AMD processor.
    GuestEntry {
        /// ASID, or VPID; 0 is Intel's VM entry without VPIDs.
        asid: u16,
        /// VMCB.TLB_CONTROL: 0 nothing, 1 everything, 3 this ASID, 7 this ASID but for global
        /// entries. Intel's VM entry has none.
        tlb_control: u8,
        /// The guest's CR3.
        guest_cr3: u64,
        /// Nested CR3 or EPT pointer, under nested paging.
        nested_root: Option<u64>,
    },
    /// #VMEXIT, or VM exit: the host's registers and tags are back.
    GuestExit,
    /// INVLPGA: one address in one ASID.
    Invlpga {
        /// Virtual address.
        va: u64,
        /// Address-space identifier.
        asid: u16,
    },
    /// INVLPGB of this or another processor, taken as complete at once.
    Invlpgb(Broadcast),
    /// INVVPID. Fails, and is ignored, for types 0, 1 and 3 with VPID 0, for type 0 with an address
    /// that is not canonical, and for types above 3.
    Invvpid {
        /// Type: 0 one address, 1 one VPID, 2 all but the host's, 3 one but for global entries.
        kind: u8,
        /// Virtual-processor identifier.
        vpid: u16,
        /// Virtual address.
        va: u64,
    },
    /// INVEPT. Other types than 1 and 2 fail and are ignored.
    Invept {
        /// Type: 1 one root, 2 all.
        kind: u8,
        /// EPT pointer.
        root: u64,
    },
    /// An EPT violation.
    EptViolation {
        /// Guest-physical address.
        gpa: u64,
        /// The virtual address that it was the translation of, if it was of one.
        va: Option<u64>,
    },
    /// VMXON or VMXOFF.
    VmxOperation,
    /// SMI, RSM, or a write to an MTRR or another register that translations depend on.
    SystemManagement,
    /// Power-up or reset.
    Reset,
}

impl ControlEvent {
    /// Whether it may change the registers, and with them what addresses mean.
    pub(super) fn loads_registers(self) -> bool {
        matches!(
            self,
            Self::WriteCr0(_)
                | Self::WriteCr3(_)
                | Self::WriteCr4(_)
                | Self::TaskSwitch { .. }
                | Self::GuestEntry { .. }
                | Self::GuestExit
                | Self::Reset
        )
    }
}

/// The pages that an INVLPGB names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcast {
    /// First virtual address; all addresses where there is none.
    pub va: Option<u64>,
    /// Pages from there on, at least 1.
    pub pages: u32,
    /// Distance of these pages: 4 KiB or 2 MiB.
    pub stride: PageSize,
    /// PCID; all where there is none.
    pub pcid: Option<u16>,
    /// ASID; all where there is none.
    pub asid: Option<u16>,
    /// Whether global entries go too.
    pub global: bool,
    /// Whether entries for upper levels of the tables stay.
    pub final_only: bool,
    /// Whether nested translations go too.
    pub nested: bool,
}

impl Broadcast {
    /// From the instruction's operands, in RAX, ECX and EDX.
    #[must_use]
    pub fn from_registers(rax: u64, ecx: u32, edx: u32) -> Self {
        let flag = |bit: u32| rax >> bit & 1 != 0;
        Self {
            va: flag(0).then_some(rax & !0xfff),
            pages: (ecx & 0xffff) + 1,
            stride: if ecx >> 31 != 0 { PageSize::Size2M } else { PageSize::Size4K },
            pcid: flag(1).then_some((edx >> 16 & 0xfff) as u16),
            asid: flag(2).then_some(edx as u16),
            global: flag(3),
            final_only: flag(4),
            nested: flag(5),
        }
    }
}

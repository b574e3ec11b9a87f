//! The control registers as far as TLBs obey them.

/// The control registers as far as they decide what a TLB does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRegisters {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
}

pub(super) const CR0_PE: u64 = 1;
pub(super) const CR0_PG: u64 = 1 << 31;
pub(super) const CR4_PSE: u64 = 1 << 4;
pub(super) const CR4_PAE: u64 = 1 << 5;
pub(super) const CR4_PGE: u64 = 1 << 7;
pub(super) const CR4_LA57: u64 = 1 << 12;
pub(super) const CR4_PCIDE: u64 = 1 << 17;
pub(super) const CR4_SMEP: u64 = 1 << 20;
pub(super) const CR4_PKE: u64 = 1 << 22;
pub(super) const CR3_NO_FLUSH: u64 = 1 << 63;
const PCID_MASK: u64 = 0xfff;
/// Where the root table's address is in CR3, in VMCB.nCR3 and in an EPT pointer.
const ROOT_MASK: u64 = 0x000f_ffff_ffff_f000;

impl Default for ControlRegisters {
    /// Long mode as kernels run it: paging, PAE and global pages on, PCIDs off.
    fn default() -> Self {
        Self { cr0: CR0_PG | CR0_PE, cr3: 0, cr4: CR4_PAE | CR4_PGE }
    }
}

impl ControlRegisters {
    /// As after power-up (SDM volume 3, table 9-1).
    pub(super) const RESET: Self = Self { cr0: 0x6000_0010, cr3: 0, cr4: 0 };

    /// The address space whose entries are used: 0 while CR4.PCIDE is clear (SDM 4.10.1).
    #[must_use]
    pub fn pcid(&self) -> u16 {
        if self.uses_pcids() { (self.cr3 & PCID_MASK) as u16 } else { 0 }
    }

    /// Whether the G bit has effect (SDM 4.10.2.4).
    #[must_use]
    pub fn global_pages(&self) -> bool {
        self.cr4 & CR4_PGE != 0
    }

    pub(super) fn uses_pcids(&self) -> bool {
        self.cr4 & CR4_PCIDE != 0
    }

    /// Whether bits 11 to 0 of CR3 are 0, which setting CR4.PCIDE demands.
    pub(super) fn names_pcid_0(&self) -> bool {
        self.cr3 & PCID_MASK == 0
    }

    /// Whether the upper bits of an address are copies of the highest that is translated: bit 47,
    /// with five levels of tables bit 56.
    pub(super) fn is_canonical(&self, va: u64) -> bool {
        let highest = if self.cr4 & CR4_LA57 != 0 { 56 } else { 47 };
        let top = (va as i64) >> highest;
        top == 0 || top == -1
    }
}

/// Physical address of a root table.
pub(super) fn root(register: u64) -> u64 {
    register & ROOT_MASK
}

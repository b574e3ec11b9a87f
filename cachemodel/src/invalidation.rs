//! Which TLB entries an event drops.
//!
//! Section numbers are those of the Intel 64 and IA-32 Architectures Software Developer's Manual
//! (SDM) of June 2016, volume 3; later editions renumber. Only what the manual demands is
//! dropped: hardware may drop more.

use crate::counts::FlushCounts;

/// An event that may drop TLB entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlEvent {
    /// MOV to CR0 of this value.
    WriteCr0(u64),
    /// MOV to CR3 of this value, bit 63 as in the source operand.
    WriteCr3(u64),
    /// MOV to CR4 of this value.
    WriteCr4(u64),
    /// INVLPG of this virtual address.
    Invlpg(u64),
    /// INVPCID type 0: one address in one PCID.
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
}

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

const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_PGE: u64 = 1 << 7;
const CR4_PCIDE: u64 = 1 << 17;
const CR4_SMEP: u64 = 1 << 20;
const CR3_NO_FLUSH: u64 = 1 << 63;
const PCID_MASK: u64 = 0xfff;

impl Default for ControlRegisters {
    /// Long mode as kernels run it: paging, PAE and global pages on, PCIDs off.
    fn default() -> Self {
        Self { cr0: CR0_PG | 1, cr3: 0, cr4: CR4_PAE | CR4_PGE }
    }
}

/// The TLB entries to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// All that are not global.
    NonGlobal,
    /// Those of one PCID that are not global.
    NonGlobalOf(u16),
    /// Those of one PCID, global ones that were made under it too.
    AllOf(u16),
    /// Those that translate an address: of one PCID, and global ones of any.
    Page {
        /// Virtual address.
        va: u64,
        /// Address-space number.
        pcid: u16,
    },
    /// Those of one PCID that translate an address and are not global.
    NonGlobalPage {
        /// Virtual address.
        va: u64,
        /// Address-space number.
        pcid: u16,
    },
}

impl ControlRegisters {
    /// The address space whose entries are used: 0 while CR4.PCIDE is clear (SDM 4.10.1).
    #[inline]
    #[must_use]
    pub fn pcid(&self) -> u16 {
        if self.cr4 & CR4_PCIDE == 0 { 0 } else { (self.cr3 & PCID_MASK) as u16 }
    }

    /// Whether the G bit has effect (SDM 4.10.2.4).
    #[inline]
    #[must_use]
    pub fn global_pages(&self) -> bool {
        self.cr4 & CR4_PGE != 0
    }

    /// Takes the event's effect on the registers and tells its effect on the TLBs; counts it.
    pub fn apply(&mut self, event: ControlEvent, counts: &mut FlushCounts) -> Flush {
        match event {
            ControlEvent::WriteCr0(value) => {
                // SDM 4.10.4.1: MOV to CR0 that changes PG from 1 to 0. Other bits: nothing required.
                let paging_ends = self.cr0 & !value & CR0_PG != 0;
                self.cr0 = value;
                self.everything_if(paging_ends, &mut counts.paging_mode_changes)
            }
            ControlEvent::WriteCr3(value) => self.write_cr3(value, counts),
            ControlEvent::WriteCr4(value) => self.write_cr4(value, counts),
            ControlEvent::Invlpg(va) => {
                // SDM 4.10.4.1: the page in the current PCID and global entries of it in any.
                // In 64-bit mode a non-canonical address makes it a no-operation (volume 2, INVLPG).
                counts.invlpg += 1;
                if is_canonical(va) {
                    Flush::Page { va, pcid: self.pcid() }
                } else {
                    Flush::Nothing
                }
            }
            ControlEvent::InvpcidAddress { va, pcid } => {
                // SDM 4.10.4.1, INVPCID type 0: global entries need not go.
                counts.invpcid += 1;
                Flush::NonGlobalPage { va, pcid }
            }
            ControlEvent::InvpcidSingle { pcid } => {
                counts.invpcid += 1;
                Flush::NonGlobalOf(pcid)
            }
            ControlEvent::InvpcidAll => {
                counts.invpcid += 1;
                Flush::Everything
            }
            ControlEvent::InvpcidAllButGlobal => {
                counts.invpcid += 1;
                Flush::NonGlobal
            }
            ControlEvent::PageFault(va) => {
                // SDM 4.10.4.1: a page fault drops the entries that translate its address. A global
                // one made under another PCID goes too, or the fault could occur again.
                counts.page_faults += 1;
                Flush::Page { va, pcid: self.pcid() }
            }
        }
    }

    /// SDM 4.10.4.1. Without PCIDs: the non-global entries of PCID 000H. With PCIDs and bit 63
    /// clear: those of the PCID in the source operand, the *new* one. With bit 63 set: none; the
    /// bit is not stored. A value equal to the old one makes no exception.
    fn write_cr3(&mut self, value: u64, counts: &mut FlushCounts) -> Flush {
        let pcids = self.cr4 & CR4_PCIDE != 0;
        let keeps = pcids && value & CR3_NO_FLUSH != 0;
        let stored = if pcids { value & !CR3_NO_FLUSH } else { value };
        counts.cr3_writes += 1;
        counts.cr3_same_value += u64::from(stored == self.cr3);
        counts.cr3_keeping += u64::from(keeps);
        self.cr3 = stored;
        if keeps { Flush::Nothing } else { Flush::NonGlobalOf(self.pcid()) }
    }

    /// SDM 4.10.4.1, MOV to CR4. All entries when PGE changes either way or PCIDE is cleared; all
    /// of the current PCID, where the text excepts no global ones, when PAE changes or SMEP is set.
    fn write_cr4(&mut self, value: u64, counts: &mut FlushCounts) -> Flush {
        let before = *self;
        let changed = self.cr4 ^ value;
        self.cr4 = value;
        if changed & CR4_PGE != 0 {
            return self.everything_if(true, &mut counts.pge_changes);
        }
        if before.cr4 & changed & CR4_PCIDE != 0 {
            return self.everything_if(true, &mut counts.paging_mode_changes);
        }
        if changed & CR4_PAE != 0 || value & changed & CR4_SMEP != 0 {
            counts.paging_mode_changes += 1;
            return Flush::AllOf(before.pcid());
        }
        Flush::Nothing
    }

    fn everything_if(self, condition: bool, count: &mut u64) -> Flush {
        *count += u64::from(condition);
        if condition { Flush::Everything } else { Flush::Nothing }
    }
}

/// Whether bits 63 to 56 are copies of bit 56: 57-bit addresses are the widest there are, and
/// each 48-bit canonical one is also one of 57 bits.
fn is_canonical(va: u64) -> bool {
    let top = (va as i64) >> 56;
    top == 0 || top == -1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(cr3: u64, more_cr4: u64) -> ControlRegisters {
        let base = ControlRegisters::default();
        ControlRegisters { cr3, cr4: base.cr4 | more_cr4, ..base }
    }

    fn apply(registers: &mut ControlRegisters, event: ControlEvent) -> Flush {
        registers.apply(event, &mut FlushCounts::default())
    }

    #[test]
    fn a_cr3_write_drops_non_global_entries_also_when_its_value_is_the_old_one() {
        let mut state = registers(0x1000, 0);
        let mut counts = FlushCounts::default();
        for value in [0x2000, 0x2000] {
            let flush = state.apply(ControlEvent::WriteCr3(value), &mut counts);
            assert_eq!(flush, Flush::NonGlobalOf(0));
        }
        assert_eq!((counts.cr3_writes, counts.cr3_same_value), (2, 1));
    }

    #[test]
    fn with_pcids_a_cr3_write_drops_those_of_the_new_pcid() {
        let mut state = registers(0x1005, CR4_PCIDE);
        assert_eq!(apply(&mut state, ControlEvent::WriteCr3(0x2007)), Flush::NonGlobalOf(7));
        assert_eq!(state.pcid(), 7);
    }

    #[test]
    fn with_pcids_bit_63_keeps_all_entries_and_is_not_stored() {
        let mut state = registers(0x1005, CR4_PCIDE);
        assert_eq!(
            apply(&mut state, ControlEvent::WriteCr3(CR3_NO_FLUSH | 0x2007)),
            Flush::Nothing
        );
        assert_eq!((state.cr3, state.pcid()), (0x2007, 7));
    }

    #[test]
    fn a_change_of_pge_drops_everything_either_way() {
        let mut state = registers(0, 0);
        for value in [CR4_PAE, CR4_PAE | CR4_PGE] {
            assert_eq!(apply(&mut state, ControlEvent::WriteCr4(value)), Flush::Everything);
            assert_eq!(apply(&mut state, ControlEvent::WriteCr4(value)), Flush::Nothing);
        }
    }

    #[test]
    fn clearing_pcide_drops_everything_and_setting_it_nothing() {
        let mut state = registers(0, 0);
        let with = state.cr4 | CR4_PCIDE;
        assert_eq!(apply(&mut state, ControlEvent::WriteCr4(with)), Flush::Nothing);
        let without = with & !CR4_PCIDE;
        assert_eq!(apply(&mut state, ControlEvent::WriteCr4(without)), Flush::Everything);
    }

    #[test]
    fn setting_smep_drops_all_of_the_current_pcid_and_clearing_it_nothing() {
        let mut state = registers(3, CR4_PCIDE);
        let with = state.cr4 | CR4_SMEP;
        assert_eq!(apply(&mut state, ControlEvent::WriteCr4(with)), Flush::AllOf(3));
        assert_eq!(apply(&mut state, ControlEvent::WriteCr4(with & !CR4_SMEP)), Flush::Nothing);
        let without_pae = state.cr4 ^ CR4_PAE;
        assert_eq!(apply(&mut state, ControlEvent::WriteCr4(without_pae)), Flush::AllOf(3));
    }

    #[test]
    fn only_the_end_of_paging_makes_a_cr0_write_drop_entries() {
        let mut state = registers(0, 0);
        let task_switched = state.cr0 | 8;
        assert_eq!(apply(&mut state, ControlEvent::WriteCr0(task_switched)), Flush::Nothing);
        assert_eq!(apply(&mut state, ControlEvent::WriteCr0(1)), Flush::Everything);
        assert_eq!(apply(&mut state, ControlEvent::WriteCr0(CR0_PG | 1)), Flush::Nothing);
    }

    #[test]
    fn invlpg_of_a_non_canonical_address_does_nothing() {
        let mut state = registers(0, 0);
        let canonical = 0xffff_8000_0000_0000;
        assert_eq!(
            apply(&mut state, ControlEvent::Invlpg(canonical)),
            Flush::Page { va: canonical, pcid: 0 }
        );
        assert_eq!(apply(&mut state, ControlEvent::Invlpg(0x0200_0000_0000_0000)), Flush::Nothing);
    }

    #[test]
    fn invpcid_spares_global_entries_except_for_type_2() {
        let mut state = registers(3, CR4_PCIDE);
        let (va, pcid) = (0x1000, 9);
        let address = ControlEvent::InvpcidAddress { va, pcid };
        assert_eq!(apply(&mut state, address), Flush::NonGlobalPage { va, pcid });
        assert_eq!(apply(&mut state, ControlEvent::InvpcidSingle { pcid }), Flush::NonGlobalOf(9));
        assert_eq!(apply(&mut state, ControlEvent::InvpcidAll), Flush::Everything);
        assert_eq!(apply(&mut state, ControlEvent::InvpcidAllButGlobal), Flush::NonGlobal);
    }
}

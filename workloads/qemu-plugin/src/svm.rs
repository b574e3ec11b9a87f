//! Nested guests: what VMRUN takes from the VMCB and #VMEXIT leaves there (AMD APM volume 2,
//! appendix B).

use crate::memory::Memory;
use crate::walk::Paging;
use strata_workloads::trace::{Descriptor, Event};

/// Intercepts of reads of CR0 to CR15, a bit for each.
const CR_READS: u64 = 0x00;
const ASID: u64 = 0x58;
const EXIT_CODE: u64 = 0x70;
const EXIT_INFO_1: u64 = 0x78;
const EXIT_INFO_2: u64 = 0x80;
const NESTED_PAGING: u64 = 0x90;
const NESTED_CR3: u64 = 0xb0;
/// The state save area; what follows is relative to the VMCB.
const GDTR: u64 = 0x460;
const IDTR: u64 = 0x480;
const TASK: u64 = 0x490;
const EFER: u64 = 0x4d0;
const CR4: u64 = 0x548;
const CR3: u64 = 0x550;
const CR0: u64 = 0x558;
const RIP: u64 = 0x578;

/// A guest that runs, and what its host gets back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Physical address of the VMCB.
    pub vmcb: u64,
    /// Where the host goes on.
    pub host_resumes: u64,
    /// The host's registers.
    pub host: Paging,
    /// The host's tables: GDT, IDT, task.
    pub host_tables: [Descriptor; 3],
}

/// A VMCB as VMRUN reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The event that tells it.
    pub asid: u32,
    /// TLB_CONTROL.
    pub tlb_control: u8,
    /// The guest's registers.
    pub paging: Paging,
    /// The guest's tables: GDT, IDT, task.
    pub tables: [Descriptor; 3],
}

impl Entry {
    /// Reads the VMCB at physical address `vmcb`; `None` when it lies outside RAM.
    pub fn read(memory: &Memory, vmcb: u64) -> Option<Self> {
        let word = |offset| memory.u64(vmcb.checked_add(offset)?);
        let asid = word(ASID)?;
        let nested = if word(NESTED_PAGING)? & 1 != 0 { Some(word(NESTED_CR3)?) } else { None };
        let paging =
            Paging { cr0: word(CR0)?, cr3: word(CR3)?, cr4: word(CR4)?, efer: word(EFER)?, nested };
        let table = |offset| -> Option<Descriptor> {
            let head = word(offset)?;
            Some(Descriptor {
                selector: head as u16,
                limit: (head >> 32) as u32,
                base: word(offset + 8)?,
            })
        };
        let without_selector = |table: Descriptor| Descriptor { selector: 0, ..table };
        let tables = [without_selector(table(GDTR)?), without_selector(table(IDTR)?), table(TASK)?];
        Some(Entry { asid: asid as u32, tlb_control: (asid >> 32) as u8, paging, tables })
    }

    /// The event for entering this guest.
    pub fn event(&self, vmcb: u64) -> Event {
        Event::VmRun {
            vmcb,
            asid: self.asid,
            tlb_control: self.tlb_control,
            guest_cr3: self.paging.cr3,
            nested_cr3: self.paging.nested.unwrap_or(0),
        }
    }
}

/// Clears the intercept of CR0 reads in the VMCB at physical address `vmcb`. QEMU 10 reports reads
/// of CR2 and CR3 as reads of CR0 (exit code 0), so that a hypervisor which intercepts only the
/// latter gives the guest a wrong value.
pub fn let_cr0_be_read(memory: &Memory, vmcb: u64) {
    // A VMCB outside of RAM makes VMRUN fail by itself.
    memory.clear_u32(vmcb.wrapping_add(CR_READS), 1);
}

/// The event for leaving the guest of `vmcb`.
pub fn exit_event(memory: &Memory, vmcb: u64) -> Event {
    let word = |offset: u64| vmcb.checked_add(offset).and_then(|at| memory.u64(at)).unwrap_or(0);
    Event::VmExit { code: word(EXIT_CODE), info1: word(EXIT_INFO_1), info2: word(EXIT_INFO_2) }
}

/// The instruction pointer that a guest was left at.
pub fn guest_resumes(memory: &Memory, vmcb: u64) -> Option<u64> {
    memory.u64(vmcb.checked_add(RIP)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vmcb_gives_identity_and_registers_of_the_guest() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x3000 + ASID, 7 | 1 << 32);
        memory.store(0x3000 + NESTED_PAGING, 1);
        memory.store(0x3000 + NESTED_CR3, 0x9000);
        memory.store(0x3000 + CR3, 0x5000);
        memory.store(0x3000 + IDTR, 0xfff << 32);
        memory.store(0x3000 + IDTR + 8, 0xffff_fe00_0000_0000);
        let entry = Entry::read(&memory, 0x3000).unwrap();
        let event = Event::VmRun {
            vmcb: 0x3000,
            asid: 7,
            tlb_control: 1,
            guest_cr3: 0x5000,
            nested_cr3: 0x9000,
        };
        assert_eq!(entry.event(0x3000), event);
        assert_eq!((entry.tables[1].base, entry.tables[1].limit), (0xffff_fe00_0000_0000, 0xfff));
    }

    #[test]
    fn only_the_intercept_of_cr0_reads_is_cleared() {
        let memory = Memory::zeroed(1 << 16);
        memory.store(0x3000 + CR_READS, u64::MAX);
        let_cr0_be_read(&memory, 0x3000);
        assert_eq!(memory.u64(0x3000 + CR_READS), Some(u64::MAX - 1));
    }

    #[test]
    fn a_vmcb_outside_ram_is_no_guest() {
        assert_eq!(Entry::read(&Memory::zeroed(4096), 0x10_0000), None);
        assert_eq!(Entry::read(&Memory::zeroed(4096), u64::MAX), None);
    }
}

//! The manuals' rules, one test for each: Intel's by row, those of AMD by row A. The names tell what
//! is dropped and what is kept.

mod amd;
mod guests;
mod paging;

use crate::machine::Machine;
use crate::page::{Mapping, PageSize};
use crate::preset;
use crate::translation::flush::{Flush, FlushCause};
use crate::translation::{ControlEvent, ControlRegisters, PageLookup, Side, TranslationUnit};

const PG: u64 = 1 << 31;
const PE: u64 = 1;
const PSE: u64 = 1 << 4;
const PAE: u64 = 1 << 5;
const PGE: u64 = 1 << 7;
const PCIDE: u64 = 1 << 17;
const SMEP: u64 = 1 << 20;
const PKE: u64 = 1 << 22;
const KEEP: u64 = 1 << 63;
const MIB: u64 = 1 << 20;

/// A unit with a large data TLB, in which entry *n* is of the 4 KiB page *n*.
struct Lab {
    unit: TranslationUnit,
    now: u64,
}

impl Lab {
    fn new(vendor: &str) -> Self {
        let machine: Machine = preset::named("vee07").unwrap();
        let overrides = [("vendor", vendor), ("tags", "architectural"), ("dtlb.entries", "4096")];
        Self { unit: TranslationUnit::new(&machine.with_overrides(overrides).unwrap(), 0), now: 0 }
    }

    /// Of Intel with these bits of CR4 besides PAE and PGE.
    fn intel(more_cr4: u64) -> Self {
        let mut lab = Self::new("intel");
        lab.unit.set_registers(ControlRegisters {
            cr0: PG | PE,
            cr3: 0,
            cr4: PAE | PGE | more_cr4,
        });
        lab
    }

    fn cr4(&self) -> u64 {
        self.unit.registers().cr4
    }

    fn tell(&mut self, event: ControlEvent) {
        self.unit.control(event);
    }

    fn cr3(&mut self, value: u64) {
        self.tell(ControlEvent::WriteCr3(value));
    }

    fn look_up(&mut self, va: u64, mapping: Mapping) -> PageLookup {
        self.now += 1;
        self.unit.look_up(Side::Data, va, mapping, self.now)
    }

    fn fill(&mut self, page: u64) {
        self.look_up(page << 12, Mapping::new(page, PageSize::Size4K));
    }

    fn fill_global(&mut self, page: u64) {
        self.look_up(page << 12, Mapping::new(page, PageSize::Size4K).with_global(true));
    }

    fn enter(&mut self, asid: u16, nested_root: Option<u64>) {
        self.enter_flushing(asid, nested_root, 0);
    }

    fn enter_flushing(&mut self, asid: u16, nested_root: Option<u64>, tlb_control: u8) {
        let guest_cr3 = 0x7000;
        self.tell(ControlEvent::GuestEntry { asid, tlb_control, guest_cr3, nested_root });
    }

    fn exit(&mut self) {
        self.tell(ControlEvent::GuestExit);
    }

    /// Pages that have entries, whoever may use them.
    fn held(&self) -> Vec<u64> {
        let mut pages = Vec::new();
        let mut tlb = self.unit.first[1].tlb.clone();
        let all = Flush::everything(FlushCause::Other);
        tlb.flush(&all, &self.unit.owners, |removed, _| pages.push(removed.key.first_vpn()));
        pages.sort_unstable();
        pages
    }

    /// Entries 1 and, global, 2 of PCID 1; 3 and, global, 4 of PCID 2, which is the present one.
    fn with_two_pcids() -> Self {
        let mut lab = Self::intel(PCIDE);
        lab.cr3(0x1001);
        lab.fill(1);
        lab.fill_global(2);
        lab.cr3(0x2002);
        lab.fill(3);
        lab.fill_global(4);
        lab
    }

    /// Host entries 1 and, global, 2. Of guest 5: 3 and, global, 4, in PCID 0. The guest runs.
    fn with_a_guest(mut self, nested_root: Option<u64>) -> Self {
        self.fill(1);
        self.fill_global(2);
        self.enter(5, nested_root);
        self.fill(3);
        self.fill_global(4);
        self
    }
}

//! Events that drop TLB entries, counted.

use super::event::ControlEvent;
use super::flush::Flush;
use super::processor::Running;
use super::registers::CR3_NO_FLUSH;
use crate::counters::counters;

counters! {
    /// Events that drop TLB entries, by kind.
    FlushCounts {
        /// Writes to CR3.
        cr3_writes: u64,
        /// Those of the value it had.
        cr3_same_value: u64,
        /// Those that asked, by bit 63, to keep all entries.
        cr3_keeping: u64,
        /// Changes of CR4.PGE, either way.
        pge_changes: u64,
        /// Writes to CR0 or CR4 that change another bit and so drop entries.
        paging_mode_changes: u64,
        /// INVLPG, INVLPGA and INVLPGB.
        invlpg: u64,
        /// INVPCID instructions.
        invpcid: u64,
        /// Page faults.
        page_faults: u64,
        /// Entries to guests.
        guest_entries: u64,
        /// Exits from guests.
        guest_exits: u64,
        /// Flushes that name guests: TLB control at an entry, INVVPID, INVEPT, EPT violations.
        guest_flushes: u64,
        /// Task switches that change CR3, resets, system management.
        others: u64,
        /// Switches, as the what-if schemes tell them; 0 under other schemes.
        switches: u64,
        /// Explicit flushes, likewise.
        explicit_flushes: u64,
    }
}

impl FlushCounts {
    /// Counts an event that took place.
    pub(super) fn count(
        &mut self,
        event: ControlEvent,
        before: &Running,
        after: &Running,
        by_manual: Option<&Flush>,
    ) {
        let (old, new) = (&before.registers, &after.registers);
        match event {
            ControlEvent::WriteCr3(value) => {
                self.cr3_writes += 1;
                self.cr3_same_value += u64::from(old.cr3 == new.cr3);
                self.cr3_keeping += u64::from(value & CR3_NO_FLUSH != 0);
            }
            ControlEvent::WriteCr4(_) if old.global_pages() != new.global_pages() => {
                self.pge_changes += 1;
            }
            ControlEvent::WriteCr0(_) | ControlEvent::WriteCr4(_) => {
                self.paging_mode_changes += u64::from(by_manual.is_some());
            }
            ControlEvent::Invlpg(_) | ControlEvent::Invlpga { .. } | ControlEvent::Invlpgb(_) => {
                self.invlpg += 1;
            }
            ControlEvent::InvpcidAddress { .. }
            | ControlEvent::InvpcidSingle { .. }
            | ControlEvent::InvpcidAll
            | ControlEvent::InvpcidAllButGlobal => self.invpcid += 1,
            ControlEvent::PageFault(_) => self.page_faults += 1,
            ControlEvent::GuestEntry { tlb_control, .. } => {
                self.guest_entries += 1;
                self.guest_flushes += u64::from(tlb_control != 0);
            }
            ControlEvent::GuestExit => self.guest_exits += 1,
            ControlEvent::Invvpid { .. }
            | ControlEvent::Invept { .. }
            | ControlEvent::EptViolation { .. } => self.guest_flushes += 1,
            ControlEvent::TaskSwitch { .. } => {
                self.others += u64::from(old.cr3 != new.cr3);
            }
            ControlEvent::SystemManagement | ControlEvent::Reset => self.others += 1,
            ControlEvent::Domain(_) | ControlEvent::VmxOperation => {}
        }
    }
}

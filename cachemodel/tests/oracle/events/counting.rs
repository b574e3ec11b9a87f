//! Under what events are counted, and for what a miss that they cause is blamed.

use super::{Context, Event, PGE, Registers, bit, changes, rises};
use crate::counts::Flushes;

impl Context {
    pub(super) fn count(&self, event: Event, counts: &mut Flushes) {
        let registers = &self.registers;
        match event {
            Event::WriteCr3(value) => {
                counts.cr3_writes += 1;
                counts.cr3_same_value += u64::from(registers.stored(value) == registers.cr3);
                counts.cr3_keeping += u64::from(bit(value, 63));
            }
            Event::WriteCr4(value) if changes(registers.cr4, value, PGE) => counts.pge_changes += 1,
            Event::WriteCr0(_) | Event::WriteCr4(_) => {
                counts.paging_mode_changes += u64::from(self.mode_changes(event));
            }
            Event::Invlpg(_) | Event::Invlpga { .. } | Event::Invlpgb(_) => counts.invlpg += 1,
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal => counts.invpcid += 1,
            Event::PageFault(_) => counts.page_faults += 1,
            Event::GuestEntry { tlb_control, .. } => {
                counts.guest_entries += 1;
                counts.guest_flushes += u64::from(tlb_control != 0);
            }
            Event::GuestExit => counts.guest_exits += 1,
            Event::Invvpid { .. } | Event::Invept { .. } | Event::EptViolation { .. } => {
                counts.guest_flushes += 1;
            }
            Event::TaskSwitch { cr3 } => counts.others += u64::from(cr3 != registers.cr3),
            Event::SystemManagement | Event::Reset => counts.others += 1,
            Event::Domain(_) | Event::VmxOperation => {}
            other => panic!("the oracle does not know {other:?}"),
        }
        if self.what_if().is_some() {
            counts.switches += u64::from(self.is_switch(event));
            counts.explicit_flushes += u64::from(self.ends_pair_without_switch(event));
            counts.explicit_flushes += u64::from(self.is_explicit_flush(event));
        }
    }

    /// Under what `FlushCause` an entry that the event drops is missed.
    pub(crate) fn cause(&self, event: Event) -> &'static str {
        let Registers { cr3, cr4, pair, .. } = self.registers;
        match event {
            Event::WriteCr3(value) if self.registers.stored(value) == cr3 => "Cr3SameValue",
            Event::WriteCr3(_) => "Cr3Write",
            Event::TaskSwitch { .. } if self.what_if().is_some() => "Cr3Write",
            Event::WriteCr4(value) if changes(cr4, value, PGE) => match (self.what_if(), pair) {
                (Some(_), _) if self.mode_changes(event) => "PagingMode",
                (Some(_), Some(true)) => "Cr3Write",
                _ => "PgeChange",
            },
            Event::WriteCr0(_) | Event::WriteCr4(_) => "PagingMode",
            Event::Invlpg(_) | Event::Invlpga { .. } | Event::Invlpgb(_) => "Invlpg",
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal => "Invpcid",
            Event::PageFault(_) => "PageFault",
            Event::GuestEntry { tlb_control: 0, .. } | Event::GuestExit => "GuestSwitch",
            Event::GuestEntry { .. } if self.drops_all_at_entry() => "GuestSwitch",
            Event::GuestEntry { .. }
            | Event::Invvpid { .. }
            | Event::Invept { .. }
            | Event::EptViolation { .. } => "GuestFlush",
            _ => "Other",
        }
    }

    fn is_switch(&self, event: Event) -> bool {
        let Registers { cr3, cr4, pair, .. } = self.registers;
        match event {
            Event::WriteCr3(value) => pair.is_none() && self.registers.stored(value) != cr3,
            Event::TaskSwitch { cr3: new } => pair.is_none() && new != cr3,
            Event::WriteCr4(value) => rises(cr4, value, PGE) && pair == Some(true),
            _ => false,
        }
    }

    fn ends_pair_without_switch(&self, event: Event) -> bool {
        let Registers { cr4, pair, .. } = self.registers;
        matches!(event, Event::WriteCr4(value) if rises(cr4, value, PGE) && pair != Some(true))
    }

    fn is_explicit_flush(&self, event: Event) -> bool {
        let Registers { cr3, pair, .. } = self.registers;
        match event {
            Event::WriteCr3(value) => pair.is_none() && self.registers.stored(value) == cr3,
            Event::WriteCr0(_) | Event::WriteCr4(_) => self.mode_changes(event),
            Event::Invlpg(va) | Event::Invlpga { va, .. } => self.registers.is_canonical(va),
            Event::InvpcidAddress { .. }
            | Event::InvpcidSingle { .. }
            | Event::InvpcidAll
            | Event::InvpcidAllButGlobal
            | Event::Invlpgb(_) => true,
            Event::Invvpid { .. } | Event::Invept { .. } => self.succeeds(event),
            Event::GuestEntry { tlb_control, .. } => tlb_control != 0,
            _ => false,
        }
    }
}

//! The registers that tell which entries can be used, for the host and its guests.

use rustc_hash::FxHashMap;

use super::event::ControlEvent;
use super::registers::{CR0_PG, CR3_NO_FLUSH, CR4_PCIDE, ControlRegisters, root};
use crate::machine::Vendor;

/// What runs, host or guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) registers: ControlRegisters,
    /// VPID or ASID; 0 in the host.
    pub(super) vpid: u16,
    /// Root of the nested tables, where there are some.
    pub(super) root: Option<u64>,
    pub(super) is_guest: bool,
}

/// Registers through guest entries and exits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Processor {
    vendor: Vendor,
    running: Running,
    /// While a guest runs.
    host: Option<ControlRegisters>,
    /// CR0 and CR4 of each guest when it last ran, by VPID or ASID.
    guests: FxHashMap<u16, (u64, u64)>,
}

impl Processor {
    pub(super) fn new(vendor: Vendor) -> Self {
        let registers = ControlRegisters::default();
        Self {
            vendor,
            running: Running { registers, vpid: 0, root: None, is_guest: false },
            host: None,
            guests: FxHashMap::default(),
        }
    }

    pub(super) fn running(&self) -> Running {
        self.running
    }

    pub(super) fn set_registers(&mut self, registers: ControlRegisters) {
        self.running.registers = registers;
    }

    /// Takes the event's effect on the registers. False if it cannot happen, and so has none: the
    /// instruction faults, or no guest runs that could exit.
    pub(super) fn apply(&mut self, event: ControlEvent) -> bool {
        let registers = &mut self.running.registers;
        match event {
            ControlEvent::WriteCr0(value) => {
                // SDM volume 2, MOV to control registers: #GP.
                if registers.cr0 & !value & CR0_PG != 0 && registers.uses_pcids() {
                    return false;
                }
                registers.cr0 = value;
            }
            ControlEvent::WriteCr3(value) => {
                // SDM 4.10.4.1: bit 63 is not stored. Without PCIDs it is reserved: #GP.
                if value & CR3_NO_FLUSH != 0 && !registers.uses_pcids() {
                    return false;
                }
                registers.cr3 = value & !CR3_NO_FLUSH;
            }
            ControlEvent::WriteCr4(value) => {
                // SDM 4.10.1: #GP.
                if value & !registers.cr4 & CR4_PCIDE != 0 && !registers.names_pcid_0() {
                    return false;
                }
                registers.cr4 = value;
            }
            ControlEvent::InvpcidAddress { va, pcid } => {
                // SDM volume 2, INVPCID: #GP, as in the next arm.
                return (pcid == 0 || registers.uses_pcids()) && registers.is_canonical(va);
            }
            ControlEvent::InvpcidSingle { pcid } => return pcid == 0 || registers.uses_pcids(),
            ControlEvent::TaskSwitch { cr3 } => registers.cr3 = cr3,
            ControlEvent::GuestEntry { asid, guest_cr3, nested_root, .. } => {
                return self.enter(asid, guest_cr3, nested_root);
            }
            ControlEvent::GuestExit => return self.exit(),
            ControlEvent::Reset => {
                self.host = None;
                self.guests.clear();
                let registers = ControlRegisters::RESET;
                self.running = Running { registers, vpid: 0, root: None, is_guest: false };
            }
            _ => {}
        }
        true
    }

    fn enter(&mut self, asid: u16, guest_cr3: u64, nested_root: Option<u64>) -> bool {
        // APM volume 2, 15.5.1: VMEXIT_INVALID. On Intel, 0 stands for entry without VPIDs.
        if asid == 0 && self.vendor == Vendor::Amd {
            return false;
        }
        if self.running.is_guest {
            self.remember_guest();
        } else {
            self.host = Some(self.running.registers);
        }
        let fresh = ControlRegisters::default();
        let (cr0, cr4) = self.guests.get(&asid).copied().unwrap_or((fresh.cr0, fresh.cr4));
        let registers = ControlRegisters { cr0, cr3: guest_cr3, cr4 };
        self.running =
            Running { registers, vpid: asid, root: nested_root.map(root), is_guest: true };
        true
    }

    fn exit(&mut self) -> bool {
        let Some(registers) = self.host.take() else { return false };
        self.remember_guest();
        self.running = Running { registers, vpid: 0, root: None, is_guest: false };
        true
    }

    fn remember_guest(&mut self) {
        let ControlRegisters { cr0, cr4, .. } = self.running.registers;
        self.guests.insert(self.running.vpid, (cr0, cr4));
    }
}

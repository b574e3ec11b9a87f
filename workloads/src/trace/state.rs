//! What is true of the machine at a point of the stream, as told by the events before it.

use super::event::{ControlRegister, DescriptorTable, Event, Vcpu};

/// A descriptor-table register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, inclusive.
    pub limit: u32,
    /// Selector (task register only).
    pub selector: u16,
}

/// A nested guest that runs between VMRUN and #VMEXIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedGuest {
    /// Physical address of its VMCB.
    pub vmcb: u64,
    /// ASID.
    pub asid: u32,
    /// CR3 at VMRUN, or as the guest wrote it since.
    pub guest_cr3: u64,
    /// nCR3; 0 without nested paging.
    pub nested_cr3: u64,
}

/// State of one emulated CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// CR0.
    pub cr0: u64,
    /// CR3 of the host (or of the only system).
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// GDTR.
    pub gdt: Descriptor,
    /// IDTR.
    pub idt: Descriptor,
    /// Task register.
    pub task: Descriptor,
    /// Xen's `current`.
    pub current: Vcpu,
    /// Xen's `per_cpu(curr_vcpu)`.
    pub loaded: Vcpu,
    /// Stack pointer.
    pub stack_pointer: u64,
    /// Present while a nested guest runs.
    pub guest: Option<NestedGuest>,
    /// Between HLT and the wake.
    pub halted: bool,
    /// The last time-stamp counter value seen.
    pub tsc: u64,
    /// The last virtual time seen, in nanoseconds.
    pub nanoseconds: u64,
}

impl CpuState {
    /// The CR3 that addresses go through now: the guest's while one runs.
    pub fn active_cr3(&self) -> u64 {
        self.guest.map_or(self.cr3, |guest| guest.guest_cr3)
    }
}

/// State of the whole machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineState {
    /// One entry for each emulated CPU.
    pub cpus: Vec<CpuState>,
    /// The CPU that runs next.
    pub cpu: u16,
}

impl Default for MachineState {
    fn default() -> Self {
        MachineState { cpus: vec![CpuState::default()], cpu: 0 }
    }
}

impl MachineState {
    /// The running CPU's state.
    pub fn running(&self) -> &CpuState {
        &self.cpus[usize::from(self.cpu)]
    }

    /// The running CPU's state, to change.
    pub fn running_mut(&mut self) -> &mut CpuState {
        &mut self.cpus[usize::from(self.cpu)]
    }

    /// Carries out what `event` says. A CPU not heard of before comes into being.
    pub fn apply(&mut self, event: &Event) {
        if let Event::Cpu { number } = *event {
            self.cpu = number;
            if self.cpus.len() <= usize::from(number) {
                self.cpus.resize(usize::from(number) + 1, CpuState::default());
            }
            return;
        }
        let cpu = self.running_mut();
        match *event {
            Event::Control { register, value } => match (register, &mut cpu.guest) {
                (ControlRegister::Cr0, None) => cpu.cr0 = value,
                (ControlRegister::Cr3, None) => cpu.cr3 = value,
                (ControlRegister::Cr4, None) => cpu.cr4 = value,
                (ControlRegister::Efer, None) => cpu.efer = value,
                (ControlRegister::Cr3, Some(guest)) => guest.guest_cr3 = value,
                (_, Some(_)) => {}
            },
            Event::Descriptor { table, selector, base, limit } => {
                let slot = match table {
                    DescriptorTable::Global => &mut cpu.gdt,
                    DescriptorTable::Interrupt => &mut cpu.idt,
                    DescriptorTable::Task => &mut cpu.task,
                };
                *slot = Descriptor { base, limit, selector };
            }
            Event::Interrupt(interrupt) => cpu.stack_pointer = interrupt.stack_after,
            Event::StackPointer { value } => cpu.stack_pointer = value,
            Event::Halt => cpu.halted = true,
            Event::Wake => cpu.halted = false,
            Event::VmRun { vmcb, asid, guest_cr3, nested_cr3, .. } => {
                cpu.guest = Some(NestedGuest { vmcb, asid, guest_cr3, nested_cr3 });
            }
            Event::VmExit { .. } => cpu.guest = None,
            Event::Tsc { value } => cpu.tsc = value,
            Event::Time { nanoseconds } => cpu.nanoseconds = nanoseconds,
            Event::Current(vcpu) => cpu.current = vcpu,
            Event::Loaded(vcpu) => cpu.loaded = vcpu,
            _ => {}
        }
    }
}

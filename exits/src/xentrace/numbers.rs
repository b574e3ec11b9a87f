//! Numbers of events (xen/include/public/trace.h), and what they tell.

use crate::event::Isa;

pub(super) const LOST_RECORDS: u32 = 0x1_f001;
pub(super) const WRAP_BUFFER: u32 = 0x1_f002;
pub(super) const CPU_CHANGE: u32 = 0x1_f003;
/// Running state: the number without its bits 4 to 11, which hold the new and the old state.
pub(super) const RUNSTATE_CHANGE: u32 = 0x2_1001;
pub(super) const CONTINUE_RUNNING: u32 = 0x2_1002;
pub(super) const RUNSTATE_MASK: u32 = !0xff0;
/// Entry and exit of a guest of today's layout, without the flags below.
pub(super) const VMENTRY: u32 = 0x8_1001;
pub(super) const VMX_EXIT: u32 = 0x8_1002;
pub(super) const SVM_EXIT: u32 = 0x8_1003;
/// Set where addresses have 64 bits.
pub(super) const LONG: u32 = 0x100;
/// Set where a nested guest is meant.
pub(super) const NESTED: u32 = 0x400;
pub(super) const PORT_READ: u32 = 0x8_2016;
pub(super) const PORT_WRITE: u32 = 0x8_2216;
pub(super) const MEMORY_READ: u32 = 0x8_2017;
pub(super) const MEMORY_WRITE: u32 = 0x8_2217;
pub(super) const NESTED_FAULT: u32 = 0x8_2021;
pub(super) const INTERRUPT: u32 = 0x8_200f;
/// Class and subclass of entries of paravirtualized guests.
pub(super) const PV_ENTRY: u32 = 0x20_1000;
pub(super) const PV_SUBCALL: u32 = 0x20_2000;

/// Classes of events, by the number without its last three digits, in reports of what was skipped.
pub(super) const CLASSES: [(u32, &str); 15] = [
    (0x82, "VM exit handlers"),
    (0x22, "scheduler's own"),
    (0x28, "scheduling"),
    (0x10f, "memory"),
    (0x81, "VM entry and exit"),
    (0x84, "emulated devices"),
    (0x1f, "general"),
    (0x21, "run states"),
    (0x41, "domain operations"),
    (0x201, "paravirtual entries"),
    (0x202, "calls of multicalls"),
    (0x40f, "shadow paging"),
    (0x801, "power management"),
    (0x802, "interrupts"),
    (0x800f, "guest's own"),
];

/// What a record tells, by its event's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Entry of a guest.
    Entry,
    /// Exit of a guest, in a numbering.
    Exit(Isa),
    /// Access to a port; true for a write.
    Port(bool),
    /// Access to a device's memory; true for a write.
    Memory(bool),
    NestedFault,
    Interrupt,
    RunState,
    ContinueRunning,
    Lost,
    Paravirtual,
    /// Nothing about exits: place of what it is called in reports, see [`skipped_name`].
    Skipped(u8),
}

/// Names of what is skipped that have no class: behind the classes.
const OTHERS: [&str; 3] = ["unknown classes", "padding", "heads of windows"];

/// Number of names of what is skipped.
pub(super) const SKIPPED_NAMES: usize = CLASSES.len() + OTHERS.len();

/// What is skipped is called so.
pub(super) fn skipped_name(place: usize) -> &'static str {
    match CLASSES.get(place) {
        Some(known) => known.1,
        None => OTHERS[place - CLASSES.len()],
    }
}

impl Meaning {
    /// Of the event of that number.
    #[inline]
    pub(super) fn of(event: u32) -> Meaning {
        match event & !LONG & !NESTED {
            VMENTRY => Meaning::Entry,
            VMX_EXIT => Meaning::Exit(Isa::Unsaid),
            SVM_EXIT => Meaning::Exit(Isa::Svm),
            PORT_READ => Meaning::Port(false),
            PORT_WRITE => Meaning::Port(true),
            MEMORY_READ => Meaning::Memory(false),
            MEMORY_WRITE => Meaning::Memory(true),
            NESTED_FAULT => Meaning::NestedFault,
            INTERRUPT => Meaning::Interrupt,
            _ => Meaning::of_other(event),
        }
    }

    /// True if it tells of nothing but the vCPU that the CPU runs.
    #[inline]
    pub(super) fn is_of_one_vcpu(self) -> bool {
        !matches!(self, Meaning::RunState | Meaning::ContinueRunning | Meaning::Lost)
    }

    fn of_other(event: u32) -> Meaning {
        match event & RUNSTATE_MASK {
            RUNSTATE_CHANGE => return Meaning::RunState,
            CONTINUE_RUNNING => return Meaning::ContinueRunning,
            _ => {}
        }
        match event & !0xfff {
            PV_ENTRY | PV_SUBCALL => return Meaning::Paravirtual,
            _ => {}
        }
        let place = match event {
            LOST_RECORDS => return Meaning::Lost,
            WRAP_BUFFER => CLASSES.len() + 1,
            // A window's head within a window tells nothing new.
            CPU_CHANGE => CLASSES.len() + 2,
            _ => class(event),
        };
        Meaning::Skipped(place as u8)
    }
}

/// Place of an event's class; behind the last one for an unknown one.
pub(super) fn class(event: u32) -> usize {
    let class = event >> 12;
    CLASSES.iter().position(|known| known.0 == class).unwrap_or(CLASSES.len())
}

//! Numbers of events (xen/include/public/trace.h).

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

/// Place of an event's class; behind the last one for an unknown one.
pub(super) fn class(event: u32) -> usize {
    let class = event >> 12;
    CLASSES.iter().position(|known| known.0 == class).unwrap_or(CLASSES.len())
}

/// What a class is called, by its place.
pub(super) fn class_name(class: usize) -> &'static str {
    CLASSES.get(class).map_or("unknown classes", |known| known.1)
}

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

/// What a class of events is called in a report of what was skipped.
pub(super) fn class_name(event: u32) -> &'static str {
    match event >> 12 {
        0x0_001f => "general",
        0x0_0021 => "run states",
        0x0_0022 => "scheduler's own",
        0x0_0028 => "scheduling",
        0x0_0041 => "domain operations",
        0x0_0081 => "VM entry and exit",
        0x0_0082 => "VM exit handlers",
        0x0_0084 => "emulated devices",
        0x0_010f => "memory",
        0x0_0201 => "paravirtual entries",
        0x0_0202 => "calls of multicalls",
        0x0_040f => "shadow paging",
        0x0_0801 => "power management",
        0x0_0802 => "interrupts",
        0x0_800f => "guest's own",
        _ => "unknown classes",
    }
}

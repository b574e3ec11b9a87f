//! Control events: everything but executed blocks and the addresses they touched.

use super::page::TranslationId;

/// Control registers whose values travel in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ControlRegister {
    /// CR0.
    Cr0 = 0,
    /// CR3, as written (bit 63 and the PCID included).
    Cr3 = 3,
    /// CR4.
    Cr4 = 4,
    /// IA32_EFER (MSR C000_0080h).
    Efer = 8,
}

/// Registers that locate descriptors; an event delivery reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DescriptorTable {
    /// GDTR (LGDT).
    Global = 0,
    /// IDTR (LIDT).
    Interrupt = 1,
    /// The task register (LTR): base and limit of the TSS.
    Task = 2,
}

/// Why control went to a gate of the interrupt descriptor table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InterruptKind {
    /// An external or inter-processor interrupt.
    External = 0,
    /// A fault, trap or abort raised by an instruction.
    Exception = 1,
    /// INT n, INT3, INTO or INT1.
    Software = 2,
}

/// Delivery of an interrupt or exception. Its frame's stores are not in the stream: a replay
/// synthesises them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interrupt {
    /// Vector, where known.
    pub vector: Option<u8>,
    /// What raised it.
    pub kind: InterruptKind,
    /// The error code pushed, if one was.
    pub error_code: Option<u32>,
    /// RIP in the frame: where execution resumes.
    pub resume: u64,
    /// Code segment selector in the frame; its low two bits are the interrupted privilege.
    pub code_segment: u16,
    /// RSP in the frame: the stack pointer before delivery.
    pub stack_before: u64,
    /// The stack pointer at the first instruction of the handler.
    pub stack_after: u64,
    /// CR2 of a page fault, else 0.
    pub fault_address: u64,
    /// Code segment selector of the gate: the descriptor that delivery loads.
    pub gate_segment: u16,
    /// IST number of the gate, 0 to 7; 0 = the stack of the new privilege level, if it changes.
    pub gate_stack: u8,
}

/// One decoded operation of a grant-table hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrantOperation {
    /// Sub-operation: GNTTABOP_map_grant_ref = 0, unmap_grant_ref = 1, copy = 5, …
    pub operation: u8,
    /// The domain that granted (for unmap: 0xffff, only the handle is known). For a copy: of the
    /// source, or 0x7ff0 (DOMID_SELF) where the source is the caller's own frame.
    pub domain: u16,
    /// Grant reference; for unmap the handle. For a copy: of the source, or its frame number.
    pub reference: u32,
    /// Frame number or host address, where the operation has one: map/unmap host_addr; for a copy
    /// the destination's grant reference or frame.
    pub frame: u64,
    /// For a copy the destination domain, else 0.
    pub other_domain: u16,
    /// Flags of the operation as passed.
    pub flags: u16,
    /// For a copy its length in bytes, else 0.
    pub bytes: u16,
}

/// Who runs, in Xen's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vcpu {
    /// Address of Xen's `struct vcpu`: unique, but without a meaning of its own.
    pub pointer: u64,
    /// Domain number; 0x7fff is Xen's idle domain.
    pub domain: u16,
    /// Number of the vCPU within its domain.
    pub number: u16,
}

/// Xen's idle domain (DOMID_IDLE, xen/include/public/xen.h).
pub const IDLE_DOMAIN: u16 = 0x7fff;

/// A control event. It takes effect between the block execution before it and the one after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// From here on this translation holds for its page in its address space.
    Translation(TranslationId),
    /// A control register was written with this value.
    Control {
        /// Which register.
        register: ControlRegister,
        /// The operand.
        value: u64,
    },
    /// WRMSR of any register but EFER.
    Msr {
        /// ECX.
        index: u32,
        /// EDX:EAX.
        value: u64,
    },
    /// LGDT, LIDT or LTR.
    Descriptor {
        /// Which register was loaded.
        table: DescriptorTable,
        /// For the task register its selector, else 0.
        selector: u16,
        /// Linear base address.
        base: u64,
        /// Limit in bytes, inclusive.
        limit: u32,
    },
    /// INVLPG of a linear address.
    Invlpg {
        /// The operand's effective address.
        address: u64,
    },
    /// INVPCID.
    Invpcid {
        /// Type, 0 to 3.
        kind: u8,
        /// PCID in the descriptor.
        pcid: u16,
        /// Linear address in the descriptor.
        address: u64,
    },
    /// INVLPGA (AMD).
    Invlpga {
        /// rAX.
        address: u64,
        /// ECX.
        asid: u32,
    },
    /// An interrupt or exception was delivered.
    Interrupt(Interrupt),
    /// The execution before this event ended in a SYSCALL or SYSENTER of user code, a guest's or
    /// that of a system without a hypervisor.
    Syscall {
        /// rAX.
        number: u64,
    },
    /// The execution before this event ended in a hypercall: SYSCALL of a paravirtualized kernel,
    /// or VMCALL/VMMCALL.
    Hypercall {
        /// rAX.
        number: u64,
        /// RDI, RSI, RDX, R10, R8.
        arguments: [u64; 5],
    },
    /// One operation of the grant-table hypercall that precedes it.
    Grant(GrantOperation),
    /// The operation of the event-channel hypercall that precedes it.
    EventChannel {
        /// Sub-operation: EVTCHNOP_send = 4, …
        operation: u8,
        /// Local port, where the operation has one.
        port: u32,
        /// Remote domain, where the operation has one, else 0xffff.
        domain: u16,
    },
    /// HLT was executed; the CPU sleeps.
    Halt,
    /// The CPU woke.
    Wake,
    /// IN, OUT, INS or OUTS.
    Port {
        /// Port number.
        port: u16,
        /// Size of one transfer in bytes.
        bytes: u8,
        /// True for OUT and OUTS.
        write: bool,
        /// Number of transfers (`rep`), else 1.
        count: u32,
    },
    /// VMRUN (AMD): a nested guest starts.
    VmRun {
        /// Physical address of the VMCB.
        vmcb: u64,
        /// Guest ASID.
        asid: u32,
        /// TLB_CONTROL field.
        tlb_control: u8,
        /// The guest's CR3.
        guest_cr3: u64,
        /// nCR3, or 0 when nested paging is off.
        nested_cr3: u64,
    },
    /// #VMEXIT (AMD): back in the host.
    VmExit {
        /// EXITCODE.
        code: u64,
        /// EXITINFO1.
        info1: u64,
        /// EXITINFO2.
        info2: u64,
    },
    /// RDTSC or RDTSCP returned this value.
    Tsc {
        /// EDX:EAX.
        value: u64,
    },
    /// Virtual time of the emulated machine.
    Time {
        /// Nanoseconds.
        nanoseconds: u64,
    },
    /// A marker instruction of the guest.
    Marker {
        /// Its number.
        number: u32,
    },
    /// Something is missing here; state carried over from before may be stale.
    Gap {
        /// Why.
        reason: GapReason,
        /// Number of instructions known to be lost, 0 if unknown.
        instructions: u64,
    },
    /// What follows runs on this emulated CPU.
    Cpu {
        /// Its number, from 0.
        number: u16,
    },
    /// Xen's `current` on this CPU changed: who runs.
    Current(Vcpu),
    /// Xen's `per_cpu(curr_vcpu)` on this CPU changed: whose state is loaded. Stays behind while
    /// the idle vCPU runs (lazy switch).
    Loaded(Vcpu),
    /// The stack pointer, where it cannot be derived.
    StackPointer {
        /// RSP before the next instruction.
        value: u64,
    },
    /// A device read or wrote memory.
    Dma {
        /// Physical address of the first byte.
        address: u64,
        /// Length in bytes.
        bytes: u32,
        /// True when the device wrote.
        write: bool,
    },
    /// Every cache is emptied, as WBINVD does it: modified lines are written back first. TLBs keep
    /// what they have.
    CacheFlush,
}

impl Event {
    /// Short name of what happened, as reports count it.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Translation(_) => "translation",
            Event::Control { register: ControlRegister::Cr0, .. } => "cr0_write",
            Event::Control { register: ControlRegister::Cr3, .. } => "cr3_write",
            Event::Control { register: ControlRegister::Cr4, .. } => "cr4_write",
            Event::Control { register: ControlRegister::Efer, .. } => "efer_write",
            Event::Msr { .. } => "msr_write",
            Event::Descriptor { .. } => "descriptor",
            Event::Invlpg { .. } => "invlpg",
            Event::Invpcid { .. } => "invpcid",
            Event::Invlpga { .. } => "invlpga",
            Event::Interrupt(_) => "interrupt",
            Event::Syscall { .. } => "syscall",
            Event::Hypercall { .. } => "hypercall",
            Event::Grant(_) => "grant",
            Event::EventChannel { .. } => "event_channel",
            Event::Halt => "halt",
            Event::Wake => "wake",
            Event::Port { .. } => "port",
            Event::VmRun { .. } => "vmrun",
            Event::VmExit { .. } => "vmexit",
            Event::Tsc { .. } => "tsc",
            Event::Time { .. } => "time",
            Event::Marker { .. } => "marker",
            Event::Gap { .. } => "gap",
            Event::Cpu { .. } => "cpu",
            Event::Current(_) => "current",
            Event::Loaded(_) => "loaded",
            Event::StackPointer { .. } => "stack_pointer",
            Event::Dma { .. } => "dma",
            Event::CacheFlush => "cache_flush",
        }
    }
}

/// Why a gap is in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// Recording was disarmed and armed again.
    Disarmed = 0,
    /// The producer lost data.
    Lost = 1,
    /// A damaged chunk was left out.
    Damaged = 2,
}

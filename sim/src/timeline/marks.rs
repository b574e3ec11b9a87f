//! Which events are marked, and by what they are told.

use rustc_hash::FxHashMap;
use std::fmt;
use std::str::FromStr;
use strata_workloads::trace::{
    ControlRegister, Event, IDLE_DOMAIN, InterruptKind, MachineState, Vcpu,
};

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MarkKind {
    /// Another domain's state is loaded than before on this CPU, the idle domain aside.
    VmSwitch,
    /// CR3 is written with another value than it has: a switch of address spaces.
    Cr3Write,
    /// All entries are dropped without a switch: CR4.PGE is cleared, INVPCID of a whole space or
    /// all, or CR3 is written with the value that it has.
    TlbFlush,
    /// One page is dropped: INVLPG, INVLPGA, INVPCID of an address.
    PageInvalidation,
    /// A grant is mapped.
    GrantMap,
    /// A grant is unmapped.
    GrantUnmap,
    /// Data is copied by grant.
    GrantCopy,
    /// An external interrupt is delivered.
    Interrupt,
    /// An exception is delivered.
    Exception,
    /// A hypercall.
    Hypercall,
    /// A system call.
    Syscall,
    /// An event is sent over an event channel.
    EventSend,
    /// A hardware guest is entered (VMRUN).
    VmEntry,
    /// A hardware guest is left (#VMEXIT).
    VmExit,
    /// The stream has a gap.
    Gap,
}

/// CR4.PGE (Intel SDM volume 3, section 2.5).
const PGE: u64 = 1 << 7;

// Operations of the hypercalls (xen/include/public/grant_table.h and event_channel.h).
const MAP: u8 = 0;
const UNMAP: u8 = 1;
const COPY: u8 = 5;
const UNMAP_AND_REPLACE: u8 = 7;
const SEND: u8 = 4;

impl MarkKind {
    /// Those that are marked unless others are asked for.
    pub const DEFAULT: [MarkKind; 5] = [
        MarkKind::VmSwitch,
        MarkKind::Cr3Write,
        MarkKind::TlbFlush,
        MarkKind::GrantMap,
        MarkKind::GrantUnmap,
    ];

    /// All of them.
    pub const ALL: [MarkKind; 15] = [
        MarkKind::VmSwitch,
        MarkKind::Cr3Write,
        MarkKind::TlbFlush,
        MarkKind::PageInvalidation,
        MarkKind::GrantMap,
        MarkKind::GrantUnmap,
        MarkKind::GrantCopy,
        MarkKind::Interrupt,
        MarkKind::Exception,
        MarkKind::Hypercall,
        MarkKind::Syscall,
        MarkKind::EventSend,
        MarkKind::VmEntry,
        MarkKind::VmExit,
        MarkKind::Gap,
    ];

    /// Name on the command line, in CSV and JSON.
    pub fn name(self) -> &'static str {
        match self {
            MarkKind::VmSwitch => "vm-switch",
            MarkKind::Cr3Write => "cr3-write",
            MarkKind::TlbFlush => "tlb-flush",
            MarkKind::PageInvalidation => "invlpg",
            MarkKind::GrantMap => "grant-map",
            MarkKind::GrantUnmap => "grant-unmap",
            MarkKind::GrantCopy => "grant-copy",
            MarkKind::Interrupt => "interrupt",
            MarkKind::Exception => "exception",
            MarkKind::Hypercall => "hypercall",
            MarkKind::Syscall => "syscall",
            MarkKind::EventSend => "event-send",
            MarkKind::VmEntry => "vm-entry",
            MarkKind::VmExit => "vm-exit",
            MarkKind::Gap => "gap",
        }
    }
}

impl fmt::Display for MarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for MarkKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        MarkKind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = MarkKind::ALL.map(MarkKind::name).join(", ");
            format!("`{text}` is no kind of event; there are {names}")
        })
    }
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Instructions of the stream before it.
    pub at: u64,
    /// What it was.
    pub kind: MarkKind,
    /// How many of its kind there were here: a hypercall brings a list of operations.
    pub operations: u64,
}

/// Tells kinds of events.
#[derive(Debug, Default)]
pub(super) struct MarkFinder {
    /// Whose state was loaded last on each CPU, the idle domain aside.
    domains: FxHashMap<u16, u16>,
}

impl MarkFinder {
    /// The kind of an event, before which the machine's state is `state`.
    pub(super) fn find(&mut self, event: &Event, state: &MachineState) -> Option<MarkKind> {
        let cpu = state.running();
        Some(match *event {
            Event::Loaded(vcpu) => return self.switch(cpu.loaded, vcpu, state),
            // A stream that does not tell what is loaded tells at least who runs.
            Event::Current(vcpu) if cpu.loaded.pointer == 0 => {
                return self.switch(cpu.current, vcpu, state);
            }
            Event::Control { register: ControlRegister::Cr3, value } => {
                match value == cpu.active_cr3() {
                    true => MarkKind::TlbFlush,
                    false => MarkKind::Cr3Write,
                }
            }
            Event::Control { register: ControlRegister::Cr4, value }
                if cpu.cr4 & !value & PGE != 0 =>
            {
                MarkKind::TlbFlush
            }
            Event::Invpcid { kind: 0, .. } | Event::Invlpg { .. } | Event::Invlpga { .. } => {
                MarkKind::PageInvalidation
            }
            Event::Invpcid { .. } => MarkKind::TlbFlush,
            Event::Grant(operation) => match operation.operation {
                MAP => MarkKind::GrantMap,
                UNMAP | UNMAP_AND_REPLACE => MarkKind::GrantUnmap,
                COPY => MarkKind::GrantCopy,
                _ => return None,
            },
            Event::Interrupt(interrupt) => match interrupt.kind {
                InterruptKind::External => MarkKind::Interrupt,
                InterruptKind::Exception => MarkKind::Exception,
                InterruptKind::Software => return None,
            },
            Event::Hypercall { .. } => MarkKind::Hypercall,
            Event::Syscall { .. } => MarkKind::Syscall,
            Event::EventChannel { operation: SEND, .. } => MarkKind::EventSend,
            Event::VmRun { .. } => MarkKind::VmEntry,
            Event::VmExit { .. } => MarkKind::VmExit,
            Event::Gap { .. } => MarkKind::Gap,
            _ => return None,
        })
    }

    fn switch(&mut self, before: Vcpu, now: Vcpu, state: &MachineState) -> Option<MarkKind> {
        if now.domain == IDLE_DOMAIN {
            if before.pointer != 0 && before.domain != IDLE_DOMAIN {
                self.domains.insert(state.cpu, before.domain);
            }
            return None;
        }
        let known = (before.pointer != 0 && before.domain != IDLE_DOMAIN).then_some(before.domain);
        let last = self.domains.insert(state.cpu, now.domain);
        let before = known.or(last)?;
        (before != now.domain).then_some(MarkKind::VmSwitch)
    }
}

//! What happens around VM exits, in the terms that all traces share.

use serde::Deserialize;
use std::fmt;

/// A virtual CPU by its place in [`Vcpus`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VcpuId(pub(crate) u32);

impl VcpuId {
    /// Its place in [`Vcpus`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A virtual CPU as its trace names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VcpuName {
    /// Of a Xen domain.
    Xen {
        /// Domain number.
        domain: u16,
        /// Number within the domain.
        number: u16,
    },
    /// Of a KVM guest.
    Kvm {
        /// Process of the guest; where the trace tells none, the thread of the vCPU.
        process: u32,
        /// Number within the guest; `None` where the trace never tells it.
        number: Option<u32>,
    },
    /// Of a guest whose hypervisor the trace does not know.
    Svm {
        /// Physical address of its VMCB.
        vmcb: u64,
    },
    /// Whatever this CPU ran before the trace tells what.
    Unknown {
        /// CPU of the host.
        cpu: u16,
    },
}

/// Xen's idle domain (`DOMID_IDLE`, xen/include/public/xen.h).
pub const IDLE_DOMAIN: u16 = 0x7fff;

impl VcpuName {
    /// True for Xen's idle vCPUs, which are no guest's.
    pub fn is_idle(self) -> bool {
        matches!(self, VcpuName::Xen { domain: IDLE_DOMAIN, .. })
    }
}

impl fmt::Display for VcpuName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            VcpuName::Xen { domain: IDLE_DOMAIN, number } => write!(f, "idle v{number}"),
            VcpuName::Xen { domain, number } => write!(f, "d{domain}v{number}"),
            VcpuName::Kvm { process, number: Some(number) } => write!(f, "{process} vcpu {number}"),
            VcpuName::Kvm { process, number: None } => write!(f, "{process} vcpu ?"),
            VcpuName::Svm { vmcb } => write!(f, "vmcb {vmcb:#x}"),
            VcpuName::Unknown { cpu } => write!(f, "unknown on cpu {cpu}"),
        }
    }
}

/// The virtual CPUs of a trace, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Vcpus {
    names: Vec<VcpuName>,
    ids: rustc_hash::FxHashMap<VcpuName, VcpuId>,
}

impl Vcpus {
    /// The vCPU of that name, new or known.
    pub fn id(&mut self, name: VcpuName) -> VcpuId {
        let next = VcpuId(self.names.len() as u32);
        *self.ids.entry(name).or_insert_with(|| {
            self.names.push(name);
            next
        })
    }

    /// Gives a vCPU another name: a thread is known before its vCPU's number is.
    pub(crate) fn rename(&mut self, id: VcpuId, name: VcpuName) {
        let old = std::mem::replace(&mut self.names[id.index()], name);
        self.ids.remove(&old);
        self.ids.insert(name, id);
    }

    /// Its name.
    pub fn name(&self, id: VcpuId) -> VcpuName {
        self.names[id.index()]
    }

    /// All, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = (VcpuId, VcpuName)> + '_ {
        self.names.iter().enumerate().map(|(i, &name)| (VcpuId(i as u32), name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Whose numbering an exit reason follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Intel VMX: basic exit reasons (SDM volume 3, appendix C).
    Vmx,
    /// AMD SVM: exit codes (APM volume 2, appendix C).
    Svm,
    /// The trace does not say. Xen up to 4.17 writes one event for both.
    #[default]
    Unsaid,
    /// The trace has names, and this one has no number here: its place in
    /// [`Source::reason_names`](crate::Source::reason_names).
    Named,
}

/// An access to an I/O port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortAccess {
    /// Port number.
    pub port: u16,
    /// True for OUT; `None` where the trace does not tell.
    pub write: Option<bool>,
}

/// Whether a port is read or written, as rules say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortDirection {
    /// IN.
    Read,
    /// OUT.
    Write,
}

impl PortDirection {
    /// Whether an access is known to be of it.
    pub fn is(self, access: Option<PortAccess>) -> bool {
        let write = access.and_then(|access| access.write);
        write == Some(self == PortDirection::Write)
    }
}

/// What a vCPU is doing for the host's scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunState {
    /// On a CPU.
    Running,
    /// Ready, and another runs.
    Runnable,
    /// Waiting for an event.
    Blocked,
    /// Paused or not brought up.
    Offline,
}

impl RunState {
    /// All, in the order of Xen's `RUNSTATE_…` numbers (xen/include/public/vcpu.h).
    pub const ALL: [RunState; 4] =
        [RunState::Running, RunState::Runnable, RunState::Blocked, RunState::Offline];

    /// As in reports.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Runnable => "runnable",
            RunState::Blocked => "blocked",
            RunState::Offline => "offline",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The guest was left.
    Exit {
        /// As the hardware told it; `None` where the trace tells it only at the next entry.
        reason: Option<u32>,
        /// Whose numbering that is.
        isa: Isa,
        /// Guest instruction pointer; 0 where unknown.
        rip: u64,
        /// Exit qualification or EXITINFO1, then guest-physical address or EXITINFO2.
        info: [u64; 2],
    },
    /// Reason of the exit that is open, told late.
    Reason {
        /// As the hardware told it.
        reason: u32,
        /// Whose numbering that is.
        isa: Isa,
    },
    /// The guest goes on.
    Entry,
    /// An I/O port was accessed in the exit that is open.
    Port(PortAccess),
    /// A device's memory was accessed in the exit that is open.
    Memory {
        /// Guest-physical address.
        address: u64,
        /// True for a write.
        write: bool,
        /// False for a read whose value is still to come from user space.
        done: bool,
    },
    /// A nested page fault of the exit that is open.
    NestedFault {
        /// Guest-physical address.
        address: u64,
    },
    /// A paravirtualized guest entered the hypervisor.
    Paravirtual(Paravirtual),
    /// The host's scheduler changed the vCPU's state.
    RunState(RunState),
    /// An interrupt handler of the host begins on this CPU.
    IrqEnter,
    /// KVM left for user space.
    UserspaceExit {
        /// `KVM_EXIT_…`; `None` where the trace does not tell.
        reason: Option<u32>,
    },
    /// KVM emulated an instruction.
    Emulate,
    /// The vCPU's TSC offset was set.
    TscOffset {
        /// What it was.
        previous: u64,
        /// Added to the host's TSC from now on.
        next: u64,
    },
    /// A probe that the user named.
    Probe {
        /// Its place in the list of probes asked for.
        number: u16,
    },
    /// Records are missing here.
    Lost {
        /// How many; 0 where the trace does not tell.
        records: u64,
    },
}

/// How a paravirtualized guest entered the hypervisor (`TRC_PV_…`, xen/include/public/trace.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Paravirtual {
    /// A hypercall by number; one of a multicall, too.
    Hypercall(u32),
    /// A trap by vector.
    Trap(u16),
    /// Another, by the event's number within its class.
    Other(u16),
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// In the trace's unit.
    pub time: u64,
    /// CPU of the host.
    pub cpu: u16,
    /// The vCPU it is of; `None` for one of the host.
    pub vcpu: Option<VcpuId>,
    /// What happened.
    pub kind: Kind,
}

/// What times are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of the time-stamp counter.
    Cycles,
    /// Of the host's clock, or the emulated machine's.
    Nanoseconds,
    /// Retired.
    Instructions,
}

impl Unit {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Cycles => "cycles",
            Unit::Nanoseconds => "ns",
            Unit::Instructions => "instructions",
        }
    }
}

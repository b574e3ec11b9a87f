//! KVM's events, whatever tool wrote them.

use crate::breakdown::{EventRef, FieldValue, Watch, add_probes};
use crate::error::Error;
use crate::event::{Event, Isa, Kind, PortAccess, RunState, VcpuId, VcpuName, Vcpus};
use crate::names;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// A record of Linux that says something about exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvmRecord {
    Entry { vcpu: Option<u32> },
    Exit { vcpu: Option<u32>, isa: Isa, reason: Option<u32>, rip: u64, info: [u64; 2] },
    Port(PortAccess),
    Memory { address: u64, write: bool, done: bool },
    PageFault { address: u64 },
    UserspaceExit { reason: Option<u32> },
    Emulate,
    TscOffset { vcpu: Option<u32>, previous: u64, next: u64 },
    Irq,
    Switch { previous: u32, waits: bool, next: u32 },
    Lost { records: u64 },
}

/// `KVM_MAX_VCPU_IDS` (arch/x86/include/asm/kvm_host.h).
const MOST_VCPU_IDS: u64 = 4 * 4096;

impl KvmRecord {
    /// The record that a tracepoint's fields make, by its name in Linux or in lttng-modules
    /// (instrumentation/events/arch/x86/kvm): `Some(None)` if it says nothing about exits, `None`
    /// if it lacks a field that it should have.
    pub(crate) fn of_fields(
        event: &str,
        get: impl Fn(&str) -> Option<u64>,
    ) -> Option<Option<KvmRecord>> {
        // LTTng 2.13 gives the low half of a pointer for it at entries to newer kernels.
        let vcpu = || get("vcpu_id").filter(|&id| id < MOST_VCPU_IDS).map(|id| id as u32);
        let thread = |linux: &str, lttng: &str| get(linux).or_else(|| get(lttng));
        Some(Some(match event {
            "kvm_entry" | "kvm_x86_entry" => KvmRecord::Entry { vcpu: vcpu() },
            "kvm_exit" | "kvm_x86_exit" => KvmRecord::Exit {
                vcpu: vcpu(),
                // KVM_ISA_VMX and KVM_ISA_SVM (arch/x86/kvm/trace.h).
                isa: match get("isa") {
                    Some(1) => Isa::Vmx,
                    Some(2) => Isa::Svm,
                    _ => Isa::Unsaid,
                },
                reason: Some(get("exit_reason")? as u32),
                rip: get("guest_rip").unwrap_or(0),
                info: [get("info1").unwrap_or(0), get("info2").unwrap_or(0)],
            },
            // KVM_PIO_OUT is 1.
            "kvm_pio" | "kvm_x86_pio" => KvmRecord::Port(PortAccess {
                port: get("port")? as u16,
                write: Some(get("rw")? == 1),
            }),
            // KVM_TRACE_MMIO_READ_UNSATISFIED, _READ and _WRITE (include/trace/events/kvm.h).
            "kvm_mmio" => {
                let kind = get("type")?;
                KvmRecord::Memory { address: get("gpa")?, write: kind == 2, done: kind != 0 }
            }
            "kvm_page_fault" | "kvm_x86_page_fault" => {
                KvmRecord::PageFault { address: get("fault_address")? }
            }
            "kvm_userspace_exit" => {
                KvmRecord::UserspaceExit { reason: get("reason").map(|reason| reason as u32) }
            }
            "kvm_emulate_insn" | "kvm_x86_emulate_insn" => KvmRecord::Emulate,
            "kvm_write_tsc_offset" | "kvm_x86_write_tsc_offset" => KvmRecord::TscOffset {
                vcpu: vcpu(),
                previous: get("previous_tsc_offset")?,
                next: get("next_tsc_offset")?,
            },
            "irq_handler_entry" => KvmRecord::Irq,
            // TASK_REPORT and TASK_REPORT_IDLE (include/linux/sched.h): without one of their bits
            // the thread can run.
            "sched_switch" => KvmRecord::Switch {
                previous: thread("prev_pid", "prev_tid")? as u32,
                waits: get("prev_state")? & 0xff != 0,
                next: thread("next_pid", "next_tid")? as u32,
            },
            _ => return Some(None),
        }))
    }

    /// Whether a tracepoint of that name says something about exits.
    pub(crate) fn is_of(event: &str) -> bool {
        KvmRecord::of_fields(event, |_| Some(0)) != Some(None)
    }
}

/// Where and when a record was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) time: u64,
    pub(crate) cpu: u16,
    /// Thread; `None` where the trace does not tell.
    pub(crate) thread: Option<u32>,
    /// Its process, where the trace tells.
    pub(crate) process: Option<u32>,
}

impl Place {
    /// What every record tells, by names that conditions may use.
    fn field(&self, name: &str) -> Option<FieldValue<'static>> {
        let number = match name {
            "cpu" => Some(u32::from(self.cpu)),
            "tid" => self.thread,
            "pid" => self.process,
            _ => None,
        };
        number.map(|number| FieldValue::Number(number.into()))
    }
}

/// Finds out which thread is which vCPU, and makes events of records.
#[derive(Debug, Default)]
pub(crate) struct KvmDecoder {
    vcpus: Vcpus,
    threads: FxHashMap<u32, Thread>,
    /// Thread that runs on each CPU, as far as switches tell.
    running: Vec<Option<u32>>,
    events: VecDeque<Event>,
    /// Reasons that no numbering has.
    reason_names: Vec<String>,
    /// What probes are.
    watch: Watch,
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    vcpu: VcpuId,
    number: Option<u32>,
}

/// Most reasons without a number that are kept apart.
const MOST_NAMES: usize = 500;

impl KvmDecoder {
    pub(crate) fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    pub(crate) fn reason_names(&self) -> &[String] {
        &self.reason_names
    }

    /// Looks for probes from now on.
    ///
    /// # Errors
    /// [`Error::Rules`] if they are not named as tracepoints are.
    pub(crate) fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        watch.check(false)?;
        self.watch = watch;
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The reason that a text calls so: by name, or by number where the kernel had none.
    pub(crate) fn reason(&mut self, name: &str) -> (Isa, u32) {
        if let Some(found) = names::reason_of_name(name) {
            return found;
        }
        if let Some(number) =
            name.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok())
        {
            return (Isa::Unsaid, number);
        }
        if let Some(known) = self.reason_names.iter().position(|known| known == name) {
            return (Isa::Named, known as u32);
        }
        if self.reason_names.len() == MOST_NAMES {
            return (Isa::Named, MOST_NAMES as u32);
        }
        self.reason_names.push(name.to_owned());
        (Isa::Named, self.reason_names.len() as u32 - 1)
    }

    /// The vCPU that a thread runs.
    fn vcpu(&mut self, place: &Place, number: Option<u32>) -> VcpuId {
        // Without a thread all that is known is the CPU.
        let Some(thread) = place.thread.or_else(|| self.thread_on(place.cpu)) else {
            return self.vcpus.id(VcpuName::Unknown { cpu: place.cpu });
        };
        let process = place.process.unwrap_or(thread);
        match self.threads.get_mut(&thread) {
            Some(known) if number.is_none() || known.number == number => known.vcpu,
            Some(known) if known.number.is_none() => {
                known.number = number;
                let vcpu = known.vcpu;
                let name = VcpuName::Kvm { process, number };
                self.vcpus.rename(vcpu, name);
                vcpu
            }
            _ => {
                let vcpu = self.vcpus.id(VcpuName::Kvm { process, number });
                self.threads.insert(thread, Thread { vcpu, number });
                vcpu
            }
        }
    }

    fn thread_on(&self, cpu: u16) -> Option<u32> {
        self.running.get(usize::from(cpu)).copied().flatten()
    }

    /// Takes a record of `event`: what it says of exits, if anything, and the probes that it is by
    /// its fields. False if it is of no interest.
    pub(crate) fn take<'f>(
        &mut self,
        place: Place,
        event: &str,
        record: Option<KvmRecord>,
        get: impl Fn(&str) -> Option<FieldValue<'f>>,
    ) -> bool {
        if self.watch.is_empty() {
            record.into_iter().for_each(|record| self.record(place, record));
            return record.is_some();
        }
        let field = |name: &str| get(name).or_else(|| place.field(name));
        let probes = self.watch.probes(EventRef::Name(event), field);
        let (own, is_probe) = (self.events.len(), !probes.is_empty());
        record.into_iter().for_each(|record| self.record(place, record));
        let thread = place.thread.or_else(|| self.thread_on(place.cpu));
        let vcpu = thread.and_then(|thread| Some(self.threads.get(&thread)?.vcpu));
        add_probes(&mut self.events, own, probes, (place.time, place.cpu, vcpu));
        record.is_some() || is_probe
    }

    /// Takes a record; what it means is then in [`KvmDecoder::next`].
    pub(crate) fn record(&mut self, place: Place, record: KvmRecord) {
        let kind = match record {
            KvmRecord::Switch { previous, waits, next } => {
                self.switch(place, previous, waits, next);
                return;
            }
            KvmRecord::Irq => {
                self.push(place, None, Kind::IrqEnter);
                return;
            }
            KvmRecord::Lost { records } => {
                self.push(place, None, Kind::Lost { records });
                if let Some(running) = self.running.get_mut(usize::from(place.cpu)) {
                    *running = None;
                }
                return;
            }
            KvmRecord::Entry { vcpu } => (vcpu, Kind::Entry),
            KvmRecord::Exit { vcpu, isa, reason, rip, info } => {
                (vcpu, Kind::Exit { reason, isa, rip, info })
            }
            KvmRecord::Port(port) => (None, Kind::Port(port)),
            KvmRecord::Memory { address, write, done } => {
                (None, Kind::Memory { address, write, done })
            }
            KvmRecord::PageFault { address } => (None, Kind::NestedFault { address }),
            KvmRecord::UserspaceExit { reason } => (None, Kind::UserspaceExit { reason }),
            KvmRecord::Emulate => (None, Kind::Emulate),
            KvmRecord::TscOffset { vcpu, previous, next } => {
                (vcpu, Kind::TscOffset { previous, next })
            }
        };
        let (number, kind) = kind;
        let vcpu = self.vcpu(&place, number);
        self.push(place, Some(vcpu), kind);
    }

    fn push(&mut self, place: Place, vcpu: Option<VcpuId>, kind: Kind) {
        self.events.push_back(Event { time: place.time, cpu: place.cpu, vcpu, kind });
    }

    fn switch(&mut self, place: Place, previous: u32, waits: bool, next: u32) {
        let cpu = usize::from(place.cpu);
        if self.running.len() <= cpu {
            self.running.resize(cpu + 1, None);
        }
        self.running[cpu] = Some(next);
        let left = if waits { RunState::Blocked } else { RunState::Runnable };
        for (thread, state) in [(previous, left), (next, RunState::Running)] {
            if let Some(thread) = self.threads.get(&thread) {
                let vcpu = thread.vcpu;
                self.push(place, Some(vcpu), Kind::RunState(state));
            }
        }
    }
}

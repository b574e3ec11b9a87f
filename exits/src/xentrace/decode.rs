//! From records to events.

use super::cursor::Record;
use super::numbers::*;
use super::probes::Probes;
use crate::coverage::Coverage;
use crate::event::{
    Event, IDLE_DOMAIN, Isa, Kind, Paravirtual, PortAccess, RunState, VcpuId, VcpuName, Vcpus,
};

/// Follows which vCPU runs on which CPU.
#[derive(Default)]
pub(super) struct Decoder {
    vcpus: Vcpus,
    /// By CPU.
    running: Vec<Occupant>,
    /// Records of no interest by class, in the order of [`CLASSES`], and what is in none.
    skipped: [u64; CLASSES.len() + 1],
}

/// What runs on a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Occupant {
    /// The trace has not told yet.
    #[default]
    Untold,
    /// Between two vCPUs.
    Nobody,
    Vcpu(VcpuId),
}

impl Decoder {
    pub(super) fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    /// Tells what was skipped since the last time.
    pub(super) fn tell_skipped(&mut self, coverage: &mut Coverage) {
        for (class, count) in std::mem::take(&mut self.skipped).into_iter().enumerate() {
            if count > 0 {
                coverage.skip(class_name(class), count);
            }
        }
    }

    fn vcpu(&mut self, domain: u16, number: u16) -> VcpuId {
        self.vcpus.id(VcpuName::Xen { domain, number })
    }

    fn occupant(&mut self, cpu: u16) -> &mut Occupant {
        let at = usize::from(cpu);
        if self.running.len() <= at {
            self.running.resize(at + 1, Occupant::Untold);
        }
        &mut self.running[at]
    }

    /// The vCPU that an event on this CPU is of.
    fn current(&mut self, cpu: u16, coverage: &mut Coverage) -> Option<VcpuId> {
        match *self.occupant(cpu) {
            Occupant::Vcpu(vcpu) => Some(vcpu),
            Occupant::Untold => Some(self.vcpus.id(VcpuName::Unknown { cpu })),
            Occupant::Nobody => {
                coverage.unattributed += 1;
                None
            }
        }
    }

    /// The event that a record is; `None` for one that says nothing about exits.
    #[inline]
    pub(super) fn decode(
        &mut self,
        record: &Record,
        cpu: u16,
        coverage: &mut Coverage,
    ) -> Option<Event> {
        let kind = match record.event & !LONG & !NESTED {
            VMENTRY => Kind::Entry,
            VMX_EXIT => exit(record, Isa::Unsaid, coverage)?,
            SVM_EXIT => exit(record, Isa::Svm, coverage)?,
            PORT_READ => port(record, false, coverage)?,
            PORT_WRITE => port(record, true, coverage)?,
            MEMORY_READ => memory(record, false, coverage)?,
            MEMORY_WRITE => memory(record, true, coverage)?,
            NESTED_FAULT => {
                Kind::NestedFault { address: at_least(record.long(0), record, coverage)? }
            }
            INTERRUPT => Kind::IrqEnter,
            _ => return self.decode_other(record, cpu, coverage),
        };
        let vcpu = self.current(cpu, coverage)?;
        Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind })
    }

    /// The same where probes are looked for: a record that is one is given to `probes` with its
    /// event, and does not count as of no interest.
    pub(super) fn decode_probed(
        &mut self,
        record: &Record,
        cpu: u16,
        probes: &mut Probes,
        coverage: &mut Coverage,
    ) -> Option<Event> {
        let word = |at: usize| record.data().get(at).map(|&word| u64::from(word));
        let found = probes.of(record.event, word);
        if found.is_empty() {
            return self.decode(record, cpu, coverage);
        }
        let skipped = self.skipped;
        let event = self.decode(record, cpu, coverage);
        self.skipped = skipped;
        let running = match *self.occupant(cpu) {
            Occupant::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        };
        let vcpu = event.map_or(running, |event| event.vcpu);
        probes.take(found, (record.time, cpu, vcpu), event);
        None
    }

    fn decode_other(
        &mut self,
        record: &Record,
        cpu: u16,
        coverage: &mut Coverage,
    ) -> Option<Event> {
        match record.event & RUNSTATE_MASK {
            RUNSTATE_CHANGE => return self.run_state(record, cpu, coverage),
            CONTINUE_RUNNING => {
                let vcpu = self.scheduled(record, coverage)?;
                *self.occupant(cpu) = Occupant::Vcpu(vcpu);
                let kind = Kind::RunState(RunState::Running);
                return Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind });
            }
            _ => {}
        }
        match record.event {
            LOST_RECORDS => return Some(self.lost(record, cpu, coverage)),
            WRAP_BUFFER => {
                coverage.skip("padding", 1);
                return None;
            }
            // A window's head within a window tells nothing new.
            CPU_CHANGE => {
                coverage.skip("heads of windows", 1);
                return None;
            }
            _ => {}
        }
        match record.event & !0xfff {
            PV_ENTRY | PV_SUBCALL => {
                let kind = Kind::Paravirtual(paravirtual(record, coverage)?);
                let vcpu = self.current(cpu, coverage)?;
                Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind })
            }
            _ => {
                self.skipped[class(record.event)] += 1;
                None
            }
        }
    }

    /// The vCPU that a record of the scheduler names: number in the low half, domain in the high.
    fn scheduled(&mut self, record: &Record, coverage: &mut Coverage) -> Option<VcpuId> {
        let word = at_least(record.data().first().copied(), record, coverage)?;
        Some(self.vcpu((word >> 16) as u16, word as u16))
    }

    fn run_state(&mut self, record: &Record, cpu: u16, coverage: &mut Coverage) -> Option<Event> {
        let vcpu = self.scheduled(record, coverage)?;
        let state = |shift: u32| RunState::ALL.get((record.event >> shift & 0xf) as usize).copied();
        let (Some(new), Some(old)) = (state(4), state(8)) else {
            let event = record.event;
            coverage.fault(|| format!("event {event:#x} tells a run state that does not exist"));
            return None;
        };
        if new == RunState::Running {
            *self.occupant(cpu) = Occupant::Vcpu(vcpu);
        } else if old == RunState::Running {
            *self.occupant(cpu) = Occupant::Nobody;
        }
        Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind: Kind::RunState(new) })
    }

    /// Behind lost records runs the vCPU that the record names.
    fn lost(&mut self, record: &Record, cpu: u16, coverage: &mut Coverage) -> Event {
        let records = record.data().first().map_or(0, |&count| u64::from(count));
        coverage.lost += records;
        coverage.losses += 1;
        let before = match *self.occupant(cpu) {
            Occupant::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        };
        if let Some(&word) = record.data().get(1) {
            let (domain, number) = (word as u16, (word >> 16) as u16);
            let occupant = match domain <= IDLE_DOMAIN {
                true => Occupant::Vcpu(self.vcpu(domain, number)),
                false => Occupant::Untold,
            };
            *self.occupant(cpu) = occupant;
        }
        Event { time: record.time, cpu, vcpu: before, kind: Kind::Lost { records } }
    }
}

/// `found`, or a record counted that is too short for it.
fn at_least<T>(found: Option<T>, record: &Record, coverage: &mut Coverage) -> Option<T> {
    if found.is_none() {
        let (event, words) = (record.event, record.words);
        coverage.fault(|| format!("event {event:#x} has only {words} words"));
    }
    found
}

fn exit(record: &Record, isa: Isa, coverage: &mut Coverage) -> Option<Kind> {
    let reason = at_least(record.data().first().copied(), record, coverage)?;
    let short = || record.data().get(1).map(|&word| u64::from(word));
    let rip = if record.event & LONG != 0 { record.long(1) } else { short() };
    Some(Kind::Exit { reason: Some(reason), isa, rip: rip.unwrap_or(0), info: [0; 2] })
}

fn port(record: &Record, write: bool, coverage: &mut Coverage) -> Option<Kind> {
    let port = at_least(record.data().first().copied(), record, coverage)?;
    Some(Kind::Port(PortAccess { port: port as u16, write: Some(write) }))
}

fn memory(record: &Record, write: bool, coverage: &mut Coverage) -> Option<Kind> {
    let short = || record.data().first().map(|&word| u64::from(word));
    let address = if record.event & LONG != 0 { record.long(0) } else { short() };
    Some(Kind::Memory { address: at_least(address, record, coverage)?, write, done: true })
}

/// Numbers of the entries that have more than a number.
const HYPERCALL: u32 = 1;
const TRAP: u32 = 3;
const HYPERCALL_V2: u32 = 13;
const SUBCALL: u32 = 14;

fn paravirtual(record: &Record, coverage: &mut Coverage) -> Option<Paravirtual> {
    let minor = record.event & 0xff;
    let long = record.event & LONG != 0;
    let word = |at: usize, coverage: &mut Coverage| {
        at_least(record.data().get(at).copied(), record, coverage)
    };
    Some(match minor {
        // Instruction pointer, then rAX.
        HYPERCALL => Paravirtual::Hypercall(word(if long { 2 } else { 1 }, coverage)?),
        HYPERCALL_V2 | SUBCALL => Paravirtual::Hypercall(word(0, coverage)? & 0x000f_ffff),
        // Instruction pointer, then 15 bits of vector.
        TRAP => Paravirtual::Trap((word(if long { 2 } else { 1 }, coverage)? & 0x7fff) as u16),
        _ => Paravirtual::Other(minor as u16),
    })
}

//! From records to events.

use super::cursor::{Cursor, Record};
use super::numbers::*;
use super::probes::Probes;
use crate::coverage::Coverage;
use crate::event::{
    Event, IDLE_DOMAIN, Kind, Paravirtual, PortAccess, RunState, VcpuId, VcpuName, Vcpus,
};
use crate::source::Take;

/// Follows which vCPU runs on which CPU.
#[derive(Default)]
pub(super) struct Decoder {
    vcpus: Vcpus,
    /// By CPU.
    running: Vec<Occupant>,
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

    fn vcpu(&mut self, domain: u16, number: u16) -> VcpuId {
        self.vcpus.id(VcpuName::Xen { domain, number })
    }

    /// Whether it is known which vCPU runs on a CPU.
    #[inline]
    pub(super) fn knows(&self, cpu: usize) -> bool {
        self.running.get(cpu).is_some_and(|occupant| matches!(occupant, Occupant::Vcpu(_)))
    }

    #[inline]
    fn occupant(&mut self, cpu: u16) -> &mut Occupant {
        let at = usize::from(cpu);
        if self.running.len() <= at {
            self.running.resize(at + 1, Occupant::Untold);
        }
        &mut self.running[at]
    }

    /// The vCPU that an event on this CPU is of.
    #[inline]
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

    /// Gives `take` the event that a record is, if it is one.
    // Each arm makes its event where it stays: moving one costs more than decoding it.
    #[inline]
    pub(super) fn decode(
        &mut self,
        record: &Record,
        cpu: u16,
        coverage: &mut Coverage,
        take: &mut impl Take,
    ) -> Option<()> {
        let time = record.time;
        match record.meaning {
            Meaning::Entry => {
                let vcpu = Some(self.current(cpu, coverage)?);
                take.take(&Event { time, cpu, vcpu, kind: Kind::Entry });
            }
            Meaning::Exit(isa) => {
                let reason = Some(at_least(record.word(0), record, coverage)?);
                let rip = match record.event & LONG {
                    0 => record.word(1).map_or(0, u64::from),
                    _ => record.long(1).unwrap_or(0),
                };
                let vcpu = Some(self.current(cpu, coverage)?);
                let kind = Kind::Exit { reason, isa, rip, info: [0; 2] };
                take.take(&Event { time, cpu, vcpu, kind });
            }
            _ => take.take(&self.decode_other(record, cpu, coverage)?),
        }
        Some(())
    }

    /// The same where probes are looked for: a record that is one is given to `probes` with its
    /// event, and does not count as of no interest; others are given with their events.
    pub(super) fn decode_probed(
        &mut self,
        cursor: &mut Cursor,
        cpu: u16,
        probes: &mut Probes,
        coverage: &mut Coverage,
    ) {
        let record = &cursor.record;
        let found = probes.of(record.event, |at| record.word(at).map(u64::from));
        if let (true, Meaning::Skipped(place)) = (found.is_empty(), record.meaning) {
            cursor.skipped[usize::from(place)] += 1;
        }
        let mut event = None;
        self.decode(record, cpu, coverage, &mut |own: &Event| event = Some(*own));
        let running = match *self.occupant(cpu) {
            Occupant::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        };
        let vcpu = event.map_or(running, |event| event.vcpu);
        probes.take(found, (record.time, cpu, vcpu), event);
    }

    /// The event of a record that is neither entry nor exit, if it is one.
    fn decode_other(
        &mut self,
        record: &Record,
        cpu: u16,
        coverage: &mut Coverage,
    ) -> Option<Event> {
        let kind = match record.meaning {
            Meaning::Port(write) => {
                let port = at_least(record.word(0), record, coverage)? as u16;
                Kind::Port(PortAccess { port, write: Some(write) })
            }
            Meaning::Memory(write) => {
                let address = match record.event & LONG {
                    0 => record.word(0).map(u64::from),
                    _ => record.long(0),
                };
                let address = at_least(address, record, coverage)?;
                Kind::Memory { address, write, done: true }
            }
            Meaning::NestedFault => {
                Kind::NestedFault { address: at_least(record.long(0), record, coverage)? }
            }
            Meaning::Interrupt => Kind::IrqEnter,
            Meaning::Paravirtual => Kind::Paravirtual(paravirtual(record, coverage)?),
            Meaning::RunState => return self.run_state(record, cpu, coverage),
            Meaning::ContinueRunning => {
                let vcpu = self.scheduled(record, coverage)?;
                *self.occupant(cpu) = Occupant::Vcpu(vcpu);
                let kind = Kind::RunState(RunState::Running);
                return Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind });
            }
            Meaning::Lost => return Some(self.lost(record, cpu, coverage)),
            Meaning::Entry | Meaning::Exit(_) | Meaning::Skipped(_) => return None,
        };
        let vcpu = self.current(cpu, coverage)?;
        Some(Event { time: record.time, cpu, vcpu: Some(vcpu), kind })
    }

    /// The vCPU that a record of the scheduler names: number in the low half, domain in the high.
    fn scheduled(&mut self, record: &Record, coverage: &mut Coverage) -> Option<VcpuId> {
        let word = at_least(record.word(0), record, coverage)?;
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
        let records = record.word(0).map_or(0, u64::from);
        coverage.lost = coverage.lost.saturating_add(records);
        coverage.losses += 1;
        let before = match *self.occupant(cpu) {
            Occupant::Vcpu(vcpu) => Some(vcpu),
            _ => None,
        };
        if let Some(word) = record.word(1) {
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

/// Numbers of the entries that have more than a number.
const HYPERCALL: u32 = 1;
const TRAP: u32 = 3;
const HYPERCALL_V2: u32 = 13;
const SUBCALL: u32 = 14;

fn paravirtual(record: &Record, coverage: &mut Coverage) -> Option<Paravirtual> {
    let minor = record.event & 0xff;
    let long = record.event & LONG != 0;
    let word = |at: usize, coverage: &mut Coverage| at_least(record.word(at), record, coverage);
    Some(match minor {
        // Instruction pointer, then rAX.
        HYPERCALL => Paravirtual::Hypercall(word(if long { 2 } else { 1 }, coverage)?),
        HYPERCALL_V2 | SUBCALL => Paravirtual::Hypercall(word(0, coverage)? & 0x000f_ffff),
        // Instruction pointer, then 15 bits of vector.
        TRAP => Paravirtual::Trap((word(if long { 2 } else { 1 }, coverage)? & 0x7fff) as u16),
        _ => Paravirtual::Other(minor as u16),
    })
}

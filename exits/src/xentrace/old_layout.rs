//! The layout of Xen 3.0: every record has its CPU and five words, without a head
//! (`struct t_rec` in xen/include/public/trace.h of 3.0.2 to 3.0.4, tools/xentrace/xentrace.c).
//!
//! VMX tells the reason, and the port of an I/O instruction, only at the entry that follows
//! (`vmx_trace_vmentry`); SVM tells it at the exit, and writes no entries.

use super::numbers::{LOST_RECORDS, class, skipped_name};
use super::probes::Probes;
use crate::breakdown::{Watch, add_probes};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Isa, Kind, PortAccess, RunState, Unit, VcpuId, VcpuName, Vcpus};
use crate::source::Source;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};

/// How wide the words of a record are, which is how wide those of the host were, and which of
/// Xen's numberings it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLayout {
    /// Words of 64 bits, else of 32.
    pub long: bool,
    /// Exits and entries by Xen 3.0.4: classes of their own, with the vCPU's number added.
    pub by_vcpu: bool,
}

impl OldLayout {
    fn record_bytes(self) -> usize {
        if self.long { 60 } else { 36 }
    }

    /// CPU, time, event, words.
    fn record(self, bytes: &[u8]) -> Option<(u32, u64, u32, [u64; 5])> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from(word(at)?) | u64::from(word(at + 4)?) << 32);
        let mut data = [0; 5];
        for (i, value) in data.iter_mut().enumerate() {
            // Words of 64 bits are aligned behind the event's number.
            *value = if self.long { long(20 + 8 * i)? } else { u64::from(word(16 + 4 * i)?) };
        }
        Some((word(0)?, long(4)?, word(12)?, data))
    }
}

/// Records that a guess is made from.
const SAMPLE: usize = 4096;
/// Numbers of CPUs above are another format.
const MOST_CPUS: u32 = 256;

const SCHED_SWITCH: u32 = 0x2_f00a;
const SCHED_BLOCK: u32 = 0x2_f006;
const SCHED_WAKE: u32 = 0x2_f004;
/// Exit and entry; swapped against today's.
const VMEXIT: u32 = 0x8_1001;
const VMENTRY: u32 = 0x8_1002;
/// Subclasses of Xen 3.0.4, whose low bits are 1 + the vCPU's number.
const EXIT_CLASS: u32 = 0x8_1000;
const ENTRY_CLASS: u32 = 0x8_2000;

/// The layout, if a file of it begins so: events of known classes, times that do not go backwards
/// on a CPU.
pub fn looks_old(begin: &[u8]) -> Option<OldLayout> {
    [false, true].into_iter().find_map(|long| {
        let layout = OldLayout { long, by_vcpu: false };
        let whole = begin.chunks_exact(layout.record_bytes()).take(SAMPLE);
        let records: Vec<_> = whole.map_while(|bytes| layout.record(bytes)).collect();
        if records.is_empty()
            || !records.iter().all(|(cpu, _, event, _)| {
                *cpu < MOST_CPUS && event & 0xfff0_0000 == 0 && event >> 12 != 0
            })
        {
            return None;
        }
        let mut last = vec![0; MOST_CPUS as usize];
        let ascends = records.iter().all(|&(cpu, time, ..)| {
            time >= std::mem::replace(&mut last[cpu as usize], time) && time > 0
        });
        let told = |class: u32, wanted: bool| {
            records.iter().any(|(_, _, event, data)| {
                event & !0xfff == class && *event != VMEXIT && (*data != [0; 5]) == wanted
            })
        };
        let by_vcpu = told(ENTRY_CLASS, true) && !told(EXIT_CLASS, true);
        ascends.then_some(OldLayout { long, by_vcpu })
    })
}

/// CPU, time, event, words.
type OldRecord = (u16, u64, u32, [u64; 5]);

/// Reads a trace in the layout of Xen 3.0, in the order of the file.
pub struct OldXentrace<R> {
    input: R,
    layout: OldLayout,
    vcpus: Vcpus,
    /// By CPU.
    running: Vec<Option<VcpuId>>,
    last: Vec<u64>,
    /// vCPUs that said they would block, and were not switched away from yet.
    blocking: FxHashSet<VcpuId>,
    events: VecDeque<Event>,
    coverage: Coverage,
    probes: Probes,
}

impl<R: Read> OldXentrace<R> {
    /// Begins to read.
    pub fn new(input: R, layout: OldLayout) -> Self {
        OldXentrace {
            input,
            layout,
            vcpus: Vcpus::default(),
            running: Vec::new(),
            last: Vec::new(),
            blocking: FxHashSet::default(),
            events: VecDeque::new(),
            coverage: Coverage::default(),
            probes: Probes::default(),
        }
    }

    /// The next record; `None` at the end.
    fn read(&mut self) -> Result<Option<OldRecord>, Error> {
        let mut bytes = [0; 60];
        let bytes = &mut bytes[..self.layout.record_bytes()];
        let mut done = 0;
        while done < bytes.len() {
            match self.input.read(&mut bytes[done..]) {
                Ok(0) if done == 0 => return Ok(None),
                Ok(0) => {
                    self.coverage.truncated = Some(format!("its last record has {done} bytes"));
                    self.coverage.skipped_bytes += done as u64;
                    return Ok(None);
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.coverage.records += 1;
        Ok(self
            .layout
            .record(bytes)
            .map(|(cpu, time, event, data)| (cpu as u16, time, event, data)))
    }

    fn take(&mut self, cpu: u16, time: u64, event: u32, data: [u64; 5], is_probe: bool) {
        let at = usize::from(cpu);
        if at >= MOST_CPUS as usize {
            self.coverage.fault(|| format!("a record of CPU {cpu}"));
            return;
        }
        if self.running.len() <= at {
            self.running.resize(at + 1, None);
            self.last.resize(at + 1, 0);
        }
        if time < std::mem::replace(&mut self.last[at], time) {
            self.coverage.clock_steps += 1;
        }
        let vcpu = |vcpus: &mut Vcpus, domain: u64, number: u64| {
            vcpus.id(VcpuName::Xen { domain: domain as u16, number: number as u16 })
        };
        let mut push = |vcpu: Option<VcpuId>, kind: Kind| {
            self.events.push_back(Event { time, cpu, vcpu, kind });
        };
        let is_exit = match self.layout.by_vcpu {
            true => event & !0xfff == EXIT_CLASS,
            false => event == VMEXIT,
        };
        let is_entry = match self.layout.by_vcpu {
            true => event & !0xfff == ENTRY_CLASS,
            false => event == VMENTRY,
        };
        if is_exit || is_entry {
            let unknown = VcpuName::Unknown { cpu };
            let current = self.running[at].unwrap_or_else(|| self.vcpus.id(unknown));
            if is_exit {
                // Of VMX all words are 0; of SVM they are domain, instruction pointer and code.
                let is_svm = data[1] != 0 || data[2] != 0;
                let reason = is_svm.then_some(data[2] as u32);
                let isa = if is_svm { Isa::Svm } else { Isa::Vmx };
                push(Some(current), Kind::Exit { reason, isa, rip: data[1], info: [0; 2] });
                return;
            }
            // What nothing was noted of is 9 in all words.
            if data != [9; 5] {
                let reason = data[0] as u32;
                push(Some(current), Kind::Reason { reason, isa: Isa::Vmx });
                if crate::names::is_port_exit(Isa::Vmx, reason) {
                    let port = PortAccess { port: data[1] as u16, write: None };
                    push(Some(current), Kind::Port(port));
                }
            }
            push(Some(current), Kind::Entry);
            return;
        }
        match event {
            SCHED_SWITCH => {
                let previous = vcpu(&mut self.vcpus, data[0], data[1]);
                let next = vcpu(&mut self.vcpus, data[2], data[3]);
                let blocks = self.blocking.remove(&previous);
                let state = if blocks { RunState::Blocked } else { RunState::Runnable };
                push(Some(previous), Kind::RunState(state));
                push(Some(next), Kind::RunState(RunState::Running));
                self.running[at] = Some(next);
            }
            SCHED_BLOCK => {
                let blocking = vcpu(&mut self.vcpus, data[0], data[1]);
                self.blocking.insert(blocking);
            }
            SCHED_WAKE => {
                let woken = vcpu(&mut self.vcpus, data[0], data[1]);
                if !self.running.contains(&Some(woken)) {
                    push(Some(woken), Kind::RunState(RunState::Runnable));
                }
            }
            LOST_RECORDS => {
                self.coverage.lost = self.coverage.lost.saturating_add(data[0]);
                self.coverage.losses += 1;
                push(self.running[at], Kind::Lost { records: data[0] });
                self.running[at] = None;
            }
            _ if is_probe => {}
            _ => self.coverage.skip(skipped_name(class(event)), 1),
        }
    }
}

impl<R: Read> Source for OldXentrace<R> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let Some((cpu, time, event, data)) = self.read()? else { return Ok(None) };
            let probes = self.probes.of(event, |at| data.get(at).copied());
            self.take(cpu, time, event, data, !probes.is_empty());
            let running = self.running.get(usize::from(cpu)).copied().flatten();
            let vcpu = self.events.back().map_or(running, |own| own.vcpu);
            add_probes(&mut self.events, 0, probes, (time, cpu, vcpu));
        }
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        watch.check(true)?;
        self.probes = Probes::new(watch);
        Ok(())
    }

    fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        Unit::Cycles
    }
}

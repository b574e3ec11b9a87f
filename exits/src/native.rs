//! Traces of strata's recorder: VMRUN and #VMEXIT, and what they do within.
//!
//! Times are instructions retired by all CPUs together, as everywhere in strata; the emulated
//! machine's clock advances with them.

use crate::breakdown::{EventRef, FieldValue, Watch, add_probes};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{
    Event, IDLE_DOMAIN, Isa, Kind, Paravirtual, RunState, Unit, VcpuId, VcpuName, Vcpus,
};
use crate::source::Source;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::io::Read;
use strata_workloads::trace::{
    Batch, Event as TraceEvent, GapReason, InterruptKind, TraceError, TraceReader, Vcpu,
};

/// Reads a native trace.
pub struct Native<R: Read> {
    reader: TraceReader<R>,
    batch: Batch,
    vcpus: Vcpus,
    /// vCPU that runs on each CPU, where the trace knows the hypervisor.
    running: Vec<Option<VcpuId>>,
    /// vCPU that was entered last on each CPU, by its VMCB.
    entered: FxHashMap<u16, VcpuId>,
    /// vCPUs that said they would wait, and were not switched away from yet.
    waiting: FxHashSet<VcpuId>,
    cpu: u16,
    instructions: u64,
    events: VecDeque<Event>,
    coverage: Coverage,
    ended: bool,
    watch: Watch,
}

/// `__HYPERVISOR_sched_op` and its operations to wait: block, and poll (xen/include/public/sched.h).
const SCHED_OP: u64 = 29;
const SCHED_BLOCKS: [u64; 2] = [1, 3];

impl<R: Read> Native<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`Error::Native`] if it is no native trace.
    pub fn new(input: R) -> Result<Self, Error> {
        Ok(Native {
            reader: TraceReader::new(input)?,
            batch: Batch::default(),
            vcpus: Vcpus::default(),
            running: Vec::new(),
            entered: FxHashMap::default(),
            waiting: FxHashSet::default(),
            cpu: 0,
            instructions: 0,
            events: VecDeque::new(),
            coverage: Coverage::default(),
            ended: false,
            watch: Watch::default(),
        })
    }

    /// Digest of the contents read so far.
    pub fn hash(&self) -> [u8; 16] {
        self.reader.hash_so_far()
    }

    /// Reads a batch; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        let first = self.reader.state().is_none();
        match self.reader.read(&mut self.batch) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error @ TraceError::Truncated { .. }) => {
                self.coverage.truncated = Some(error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        if first && let Some(head) = self.reader.chunk_head() {
            // What runs when the recording begins.
            let current: Vec<_> = head.state.cpus.iter().map(|cpu| cpu.current).collect();
            self.cpu = head.state.cpu;
            for (cpu, current) in current.into_iter().enumerate() {
                // Without a hypervisor that is known there is no such structure.
                self.set_current(cpu as u16, (current.pointer != 0).then_some(current));
            }
            self.events.clear();
        }
        let batch = std::mem::take(&mut self.batch);
        let mut events = batch.events.iter().peekable();
        for (i, id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                self.take(event);
            }
            self.instructions += u64::from(self.reader.tables().shapes[id.index()].completed);
        }
        events.for_each(|(_, event)| self.take(event));
        self.batch = batch;
        Ok(true)
    }

    fn push(&mut self, vcpu: Option<VcpuId>, kind: Kind) {
        let event = Event { time: self.instructions, cpu: self.cpu, vcpu, kind };
        self.events.push_back(event);
    }

    /// The vCPU that the hypervisor says it runs on this CPU.
    fn said(&self) -> Option<VcpuId> {
        self.running.get(usize::from(self.cpu)).copied().flatten()
    }

    fn current(&mut self) -> VcpuId {
        let known = self.said().or_else(|| self.entered.get(&self.cpu).copied());
        known.unwrap_or_else(|| self.vcpus.id(VcpuName::Unknown { cpu: self.cpu }))
    }

    fn set_current(&mut self, cpu: u16, vcpu: Option<Vcpu>) {
        let at = usize::from(cpu);
        if self.running.len() <= at {
            self.running.resize(at + 1, None);
        }
        let next = vcpu
            .map(|vcpu| self.vcpus.id(VcpuName::Xen { domain: vcpu.domain, number: vcpu.number }));
        let previous = std::mem::replace(&mut self.running[at], next);
        if previous == next {
            return;
        }
        if let Some(previous) = previous {
            let waits = self.waiting.remove(&previous) || self.vcpus.name(previous).is_idle();
            let state = if waits { RunState::Blocked } else { RunState::Runnable };
            self.push(Some(previous), Kind::RunState(state));
        }
        if let Some(next) = next {
            self.push(Some(next), Kind::RunState(RunState::Running));
        }
    }

    /// Takes an event and the probes that it is.
    fn take(&mut self, event: &TraceEvent) {
        let own = self.events.len();
        self.account(event);
        if self.watch.is_empty() {
            return;
        }
        let get = |name: &str| field(event, name).map(FieldValue::Number);
        let probes = self.watch.probes(EventRef::Name(event.name()), get);
        let vcpu = self.running.get(usize::from(self.cpu)).copied().flatten();
        add_probes(&mut self.events, own, probes, (self.instructions, self.cpu, vcpu));
    }

    fn account(&mut self, event: &TraceEvent) {
        self.coverage.records += 1;
        match *event {
            TraceEvent::Cpu { number } => self.cpu = number,
            TraceEvent::Current(vcpu) => {
                let is_guest = vcpu.domain <= IDLE_DOMAIN;
                self.set_current(self.cpu, is_guest.then_some(vcpu));
            }
            TraceEvent::VmRun { vmcb, .. } => {
                if self.said().is_none() {
                    let vcpu = self.vcpus.id(VcpuName::Svm { vmcb });
                    self.entered.insert(self.cpu, vcpu);
                }
                let vcpu = self.current();
                self.push(Some(vcpu), Kind::Entry);
            }
            TraceEvent::VmExit { code, info1, info2 } => {
                let vcpu = self.current();
                let reason = code as u32;
                if crate::names::is_halt_exit(Isa::Svm, reason) {
                    self.waiting.insert(vcpu);
                }
                let info = [info1, info2];
                let exit = Kind::Exit { reason: Some(reason), isa: Isa::Svm, rip: 0, info };
                self.push(Some(vcpu), exit);
            }
            TraceEvent::Hypercall { number, arguments } => {
                let vcpu = self.current();
                if number == SCHED_OP && SCHED_BLOCKS.contains(&arguments[0]) {
                    self.waiting.insert(vcpu);
                }
                let entry = Paravirtual::Hypercall(number as u32);
                self.push(Some(vcpu), Kind::Paravirtual(entry));
            }
            TraceEvent::Interrupt(interrupt) => match interrupt.kind {
                InterruptKind::External => self.push(None, Kind::IrqEnter),
                InterruptKind::Exception | InterruptKind::Software => {
                    self.coverage.skip("exceptions and software interrupts", 1);
                }
            },
            TraceEvent::Gap { reason: GapReason::Lost | GapReason::Damaged, instructions } => {
                self.coverage.losses += 1;
                self.coverage.lost += instructions;
                self.push(None, Kind::Lost { records: instructions });
            }
            _ => self.coverage.skip("other events of the machine", 1),
        }
    }
}

/// What an event tells, by names that conditions of probes may use.
fn field(event: &TraceEvent, name: &str) -> Option<u64> {
    Some(match (event, name) {
        (TraceEvent::Control { value, .. }, "value") => *value,
        (TraceEvent::Msr { index, .. }, "index") => (*index).into(),
        (TraceEvent::Msr { value, .. }, "value") => *value,
        (TraceEvent::Interrupt(interrupt), "vector") => interrupt.vector?.into(),
        (TraceEvent::Syscall { number }, "number") => *number,
        (TraceEvent::Hypercall { number, .. }, "number") => *number,
        (TraceEvent::Hypercall { arguments, .. }, "argument1") => arguments[0],
        (TraceEvent::Hypercall { arguments, .. }, "argument2") => arguments[1],
        (TraceEvent::Hypercall { arguments, .. }, "argument3") => arguments[2],
        (TraceEvent::EventChannel { operation, .. }, "operation") => (*operation).into(),
        (TraceEvent::EventChannel { port, .. }, "port") => (*port).into(),
        (TraceEvent::Port { port, .. }, "port") => (*port).into(),
        (TraceEvent::Port { write, .. }, "write") => (*write).into(),
        (TraceEvent::VmRun { asid, .. }, "asid") => (*asid).into(),
        (TraceEvent::VmExit { code, .. }, "code") => *code,
        (TraceEvent::Marker { number }, "number") => (*number).into(),
        (TraceEvent::Current(vcpu), "domain") => vcpu.domain.into(),
        (TraceEvent::Current(vcpu), "vcpu") => vcpu.number.into(),
        _ => return None,
    })
}

impl<R: Read> Source for Native<R> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.ended || !self.advance()? {
                self.ended = true;
                return Ok(None);
            }
        }
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        watch.check(false)?;
        self.watch = watch;
        Ok(())
    }

    fn vcpus(&self) -> &Vcpus {
        &self.vcpus
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        Unit::Instructions
    }
}

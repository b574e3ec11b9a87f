//! Counts what is in a trace: layers, vCPUs, blocks, pages, events.

use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use strata_sim::{Addressing, layer_of};
use strata_symbols::Layer;
use strata_workloads::trace::{
    Batch, Definitions, Event, IDLE_DOMAIN, Lacks, MachineState, Totals, Vcpu,
};

/// Takes the batches of a trace and counts what is in them.
pub struct TraceSurvey {
    state: MachineState,
    addressing: Addressing,
    tables: Definitions,
    totals: Totals,
    layers: Vec<(Layer, u64)>,
    vcpus: BTreeMap<VcpuName, u64>,
    /// Instructions since the last change of who runs.
    running: u64,
    events: BTreeMap<&'static str, u64>,
    times: Option<(u64, u64)>,
    layers_known: bool,
}

/// A virtual CPU: Xen's by domain and number, otherwise the emulated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VcpuName {
    /// An emulated CPU, where no hypervisor runs.
    Cpu(u16),
    /// A domain's vCPU.
    Guest {
        /// The domain.
        domain: u16,
        /// Its number in the domain.
        number: u16,
    },
    /// Xen's idle vCPU of an emulated CPU.
    Idle(u16),
}

impl VcpuName {
    fn new(cpu: u16, vcpu: Vcpu) -> Self {
        match vcpu {
            Vcpu { pointer: 0, .. } => VcpuName::Cpu(cpu),
            Vcpu { domain: IDLE_DOMAIN, number, .. } => VcpuName::Idle(number),
            Vcpu { domain, number, .. } => VcpuName::Guest { domain, number },
        }
    }
}

impl std::fmt::Display for VcpuName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VcpuName::Cpu(number) => write!(f, "cpu{number}"),
            VcpuName::Guest { domain, number } => write!(f, "dom{domain} vcpu{number}"),
            VcpuName::Idle(number) => write!(f, "idle vcpu{number}"),
        }
    }
}

/// What was found in a trace.
#[derive(Clone, Debug, Default)]
pub struct TraceContents {
    /// Instructions, executions, accesses and events.
    pub totals: Totals,
    /// Block definitions.
    pub blocks: u64,
    /// Virtual pages of all address spaces.
    pub pages: u64,
    /// Translations told: each page's first, and every change.
    pub translations: u64,
    /// Address spaces.
    pub spaces: u64,
    /// Emulated CPUs.
    pub cpus: u64,
    /// Instructions by layer, in the order of reports.
    pub layers: Vec<(Layer, u64)>,
    /// Instructions by virtual CPU.
    pub vcpus: Vec<(VcpuName, u64)>,
    /// Events of each kind, those included that do not occur.
    pub events: BTreeMap<&'static str, u64>,
    /// First and last virtual time in the trace, in nanoseconds, where it has any.
    pub times: Option<(u64, u64)>,
}

impl TraceSurvey {
    /// A survey of a stream whose state at its start is `state`.
    pub fn new(state: MachineState) -> Self {
        let mut survey = TraceSurvey {
            state,
            addressing: Addressing::default(),
            tables: Definitions::default(),
            totals: Totals::default(),
            layers: Vec::new(),
            vcpus: BTreeMap::new(),
            running: 0,
            events: EVENT_KINDS.into_iter().map(|kind| (kind, 0)).collect(),
            times: None,
            layers_known: true,
        };
        survey.addressing.follow(&survey.state, &survey.tables);
        survey
    }

    /// Says what the trace does not know; to be called before the first batch.
    pub fn set_lacks(&mut self, lacks: Lacks) {
        self.layers_known = !lacks.privilege;
    }

    /// Counts a batch; takes its definitions.
    pub fn batch(&mut self, batch: &mut Batch) {
        self.tables.append(&mut batch.new);
        let mut events = batch.events.iter().peekable();
        let mut iterations = batch.iterations.iter();
        for (i, id) in batch.shapes.iter().enumerate() {
            while let Some((_, event)) = events.next_if(|(before, _)| *before as usize <= i) {
                self.event(event);
            }
            let shape = &self.tables.shapes[id.index()];
            let completed = u64::from(shape.completed);
            let mut accesses = shape.slots.len() as u64;
            if let Some(repeat) = shape.repeat {
                let count = iterations.next().copied().unwrap_or(0);
                let each = u64::from(repeat.slots);
                accesses = accesses - each + each * count;
                self.totals.rep_iterations += count;
            }
            self.totals.executions += 1;
            self.totals.instructions += completed;
            self.totals.data_accesses += accesses;
            self.running += completed;
            let block = &self.tables.blocks[shape.block.index()];
            let page = self.addressing.page(block.address, &self.tables);
            let layer = match self.layers_known {
                true => layer_of(block, &self.state, page.guest_kernel),
                false => Layer::Unknown,
            };
            match self.layers.iter_mut().find(|(known, _)| *known == layer) {
                Some((_, count)) => *count += completed,
                None => self.layers.push((layer, completed)),
            }
        }
        for (_, event) in events {
            self.event(event);
        }
    }

    fn event(&mut self, event: &Event) {
        self.totals.events += 1;
        *self.events.entry(event.name()).or_default() += 1;
        if matches!(event, Event::Cpu { .. } | Event::Current(_)) {
            self.charge_vcpu();
        }
        self.state.apply(event);
        match *event {
            Event::Translation(id) => {
                self.addressing.tell(id, &self.state, &self.tables);
            }
            Event::Control { .. }
            | Event::VmRun { .. }
            | Event::VmExit { .. }
            | Event::Cpu { .. } => self.addressing.follow(&self.state, &self.tables),
            Event::Time { nanoseconds } => {
                let first = self.times.map_or(nanoseconds, |(first, _)| first);
                self.times = Some((first, nanoseconds));
            }
            _ => {}
        }
    }

    fn charge_vcpu(&mut self) {
        let instructions = std::mem::take(&mut self.running);
        if instructions > 0 {
            let name = VcpuName::new(self.state.cpu, self.state.running().current);
            *self.vcpus.entry(name).or_default() += instructions;
        }
    }

    /// Instructions seen so far.
    pub fn instructions(&self) -> u64 {
        self.totals.instructions
    }

    /// What was found.
    pub fn finish(mut self) -> TraceContents {
        self.charge_vcpu();
        self.layers.sort();
        let pages: FxHashSet<_> =
            self.tables.translations.iter().map(|t| (t.space, t.page, t.size)).collect();
        TraceContents {
            totals: self.totals,
            blocks: self.tables.blocks.len() as u64,
            pages: pages.len() as u64,
            translations: self.tables.translations.len() as u64,
            spaces: self.tables.spaces.len() as u64,
            cpus: self.state.cpus.len() as u64,
            layers: self.layers,
            vcpus: self.vcpus.into_iter().collect(),
            events: self.events,
            times: self.times,
        }
    }
}

/// Names of all kinds of events, as JSON has them.
const EVENT_KINDS: [&str; 30] = [
    "cache_flush",
    "cr0_write",
    "cr3_write",
    "cr4_write",
    "cpu",
    "current",
    "descriptor",
    "dma",
    "efer_write",
    "event_channel",
    "gap",
    "grant",
    "halt",
    "hypercall",
    "interrupt",
    "invlpg",
    "invlpga",
    "invpcid",
    "loaded",
    "marker",
    "msr_write",
    "port",
    "stack_pointer",
    "syscall",
    "time",
    "translation",
    "tsc",
    "vmexit",
    "vmrun",
    "wake",
];

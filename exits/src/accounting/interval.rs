//! From events to intervals: an exit until the next entry of the same vCPU.

use crate::event::{Event, Isa, Kind, PortAccess, RunState, VcpuId};
use crate::names;

/// What the time of an exit is counted from and to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// From the exit to the next entry of the same vCPU, all that happens between included, as in
    /// the Xen/VT paper.
    #[default]
    ExitEntry,
    /// As `perf kvm stat report --event vmexit` counts it: as [`Window::ExitEntry`], without exits
    /// before a vCPU's first entry.
    Perf,
    /// As `perf kvm stat report --event ioport`: from the port's event to the entry.
    PerfPort,
    /// As `perf kvm stat report --event mmio`: a read from the exit to its event, a write from its
    /// event to the entry.
    PerfMemory,
    /// As xenalyze: to the entry, or to where the vCPU becomes runnable if that is earlier, so that
    /// waiting for a CPU is left out.
    Xenalyze,
}

/// The time from an exit to the next entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Whose.
    pub vcpu: VcpuId,
    /// CPU of the exit.
    pub cpu: u16,
    /// When it begins and ends.
    pub begin: u64,
    /// Not before it begins.
    pub end: u64,
    /// As the hardware told it; `None` where the trace never does.
    pub reason: Option<u32>,
    /// Whose numbering that is.
    pub isa: Isa,
    /// Guest instruction pointer; 0 where unknown.
    pub rip: u64,
    /// The I/O port accessed, the last of several.
    pub port: Option<PortAccess>,
    /// The guest-physical address accessed, the last of several.
    pub address: Option<u64>,
    /// Whether that was a write, where it was a device's.
    pub address_write: Option<bool>,
    /// Time within that the vCPU waited for an event.
    pub blocked: u64,
    /// Time within that it was ready and another ran.
    pub preempted: u64,
    /// Whether KVM left for user space.
    pub userspace: bool,
    /// Whether an instruction was emulated.
    pub emulated: bool,
    /// Whether an interrupt of the host came, before or within.
    pub interrupted: bool,
}

impl Interval {
    /// From begin to end.
    pub fn duration(&self) -> u64 {
        self.end - self.begin
    }

    /// Time in which the host worked for it: the rest is waiting.
    pub fn handling(&self) -> u64 {
        self.duration().saturating_sub(self.blocked).saturating_sub(self.preempted)
    }
}

/// What does not fit together, in numbers of exits and entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unmatched {
    /// Exits followed by another exit of their vCPU.
    pub exits: u64,
    /// Exits that were still open when the trace ended.
    pub at_end: u64,
    /// Exits whose entry may be among lost records.
    pub lost: u64,
    /// Entries without an exit before, a vCPU's first apart.
    pub entries: u64,
    /// Exits left out because their entry has an earlier time.
    pub backwards: u64,
}

impl Unmatched {
    /// Exits that are in no interval.
    pub fn all_exits(&self) -> u64 {
        self.exits + self.at_end + self.lost + self.backwards
    }
}

/// What one vCPU did, as far as the trace tells.
#[derive(Clone, Debug, Default)]
pub struct VcpuTimes {
    /// Exits, matched or not.
    pub exits: u64,
    /// Entries.
    pub entries: u64,
    /// Time from entries to exits.
    pub guest: u64,
    /// Time from exits to entries, waiting included.
    pub outside: u64,
    /// Of that, waiting for events.
    pub blocked: u64,
    /// Of that, waiting for a CPU.
    pub preempted: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Whether the interval lasts; else it has ended.
    is_open: bool,
    /// The last one. It stays here when it ends: copying it costs more than all sums.
    interval: Interval,
    /// Since when it is in which state, if known.
    run_state: Option<(RunState, u64)>,
    entered: Option<u64>,
    seen_entry: bool,
    /// In xenalyze's way the interval ends before its entry.
    closed_early: bool,
    /// Begin of what perf times of a port or address.
    perf_begin: Option<u64>,
    times: VcpuTimes,
}

/// Matches exits with entries.
#[derive(Clone, Debug)]
pub struct Intervals {
    window: Window,
    states: Vec<State>,
    /// The vCPU that left its guest last on each CPU.
    on_cpu: Vec<Option<VcpuId>>,
    unmatched: Unmatched,
    has_run_states: bool,
    /// The part of an exit in which a device's memory was read last, as perf times it.
    access: Interval,
}

impl Intervals {
    /// Nothing has happened yet.
    pub fn new(window: Window) -> Self {
        Intervals {
            window,
            states: Vec::new(),
            on_cpu: Vec::new(),
            unmatched: Unmatched::default(),
            has_run_states: false,
            access: Interval::default(),
        }
    }

    /// Takes the next event; an interval may end with it.
    #[inline(always)]
    pub fn event(&mut self, event: &Event) -> Option<&Interval> {
        let Some(vcpu) = event.vcpu else {
            self.host_event(event);
            return None;
        };
        if self.states.len() <= vcpu.index() {
            self.grow(vcpu);
        }
        match event.kind {
            Kind::Exit { reason, isa, rip, info } => {
                let (cpu, begin, end) = (event.cpu, event.time, event.time);
                let mut begun =
                    Interval { vcpu, cpu, begin, end, reason, isa, rip, ..Interval::default() };
                begun.know(reason, isa, info);
                self.exit(begun);
                None
            }
            Kind::Entry => self.entry(vcpu, event),
            _ => self.other(vcpu, event),
        }
    }

    #[cold]
    fn grow(&mut self, vcpu: VcpuId) {
        self.states.resize_with(vcpu.index() + 1, State::default);
    }

    #[inline(always)]
    fn exit(&mut self, begun: Interval) {
        let state = &mut self.states[begun.vcpu.index()];
        state.times.exits += 1;
        self.unmatched.exits += u64::from(state.is_open);
        if let Some(entered) = state.entered.take() {
            state.times.guest =
                state.times.guest.saturating_add(begun.begin.saturating_sub(entered));
        }
        state.perf_begin = match self.window {
            Window::PerfPort => None,
            _ => Some(begun.begin),
        };
        // It runs: only what runs can leave its guest.
        if state.run_state.is_none_or(|(run_state, _)| run_state != RunState::Running) {
            state.run_state = Some((RunState::Running, begun.begin));
        }
        let cpu = usize::from(begun.cpu);
        if self.on_cpu.len() <= cpu {
            self.on_cpu.resize(cpu + 1, None);
        }
        self.on_cpu[cpu] = Some(begun.vcpu);
        state.is_open = true;
        state.interval = begun;
    }

    /// What is neither exit nor entry.
    #[inline(never)]
    fn other(&mut self, vcpu: VcpuId, event: &Event) -> Option<&Interval> {
        let state = &mut self.states[vcpu.index()];
        match event.kind {
            Kind::Lost { .. } => {
                self.lost(event);
                None
            }
            Kind::RunState(to) => {
                self.has_run_states = true;
                state.change(to, event.time);
                let early = self.window == Window::Xenalyze && to == RunState::Runnable;
                if !early || !state.is_open {
                    return None;
                }
                state.closed_early = true;
                self.end(vcpu, event.time)
            }
            _ if !state.is_open => None,
            kind => {
                state.interval.note(kind);
                match (self.window, kind) {
                    (Window::PerfPort, Kind::Port(_))
                    | (Window::PerfMemory, Kind::Memory { write: true, .. }) => {
                        state.perf_begin = Some(event.time);
                        None
                    }
                    (Window::PerfMemory, Kind::Memory { write: false, done: true, .. }) => {
                        let begin = state.perf_begin.take()?;
                        if !state.seen_entry {
                            return None;
                        }
                        if event.time < begin {
                            self.unmatched.backwards += 1;
                            return None;
                        }
                        // The exit goes on.
                        self.access = Interval { begin, end: event.time, ..state.interval };
                        Some(&self.access)
                    }
                    _ => None,
                }
            }
        }
    }

    #[inline(always)]
    fn entry(&mut self, vcpu: VcpuId, event: &Event) -> Option<&Interval> {
        let state = &mut self.states[vcpu.index()];
        state.times.entries += 1;
        state.entered = Some(event.time);
        let is_first = !std::mem::replace(&mut state.seen_entry, true);
        if state.run_state.is_none_or(|(run_state, _)| run_state != RunState::Running) {
            // The record that it runs is missing.
            state.change(RunState::Running, event.time);
        }
        let closed_early = std::mem::take(&mut state.closed_early);
        if !std::mem::take(&mut state.is_open) {
            if !is_first && !closed_early {
                self.unmatched.entries += 1;
            }
            return None;
        }
        let perf_begin = state.perf_begin.take();
        match self.window {
            Window::ExitEntry | Window::Xenalyze => {}
            Window::Perf if is_first => return None,
            Window::Perf => {}
            Window::PerfPort | Window::PerfMemory => {
                let wanted = match self.window {
                    Window::PerfPort => state.interval.port.is_some(),
                    _ => state.interval.address_write == Some(true),
                };
                state.interval.begin = perf_begin.filter(|_| wanted && !is_first)?;
            }
        }
        self.end(vcpu, event.time)
    }

    /// Ends the interval of a vCPU, and adds it to the times of that.
    #[inline]
    fn end(&mut self, vcpu: VcpuId, end: u64) -> Option<&Interval> {
        let state = &mut self.states[vcpu.index()];
        state.is_open = false;
        let interval = &mut state.interval;
        if end < interval.begin {
            self.unmatched.backwards += 1;
            return None;
        }
        interval.end = end;
        if !matches!(self.window, Window::PerfPort | Window::PerfMemory) {
            state.times.outside = state.times.outside.saturating_add(interval.duration());
            state.times.blocked = state.times.blocked.saturating_add(interval.blocked);
            state.times.preempted = state.times.preempted.saturating_add(interval.preempted);
        }
        Some(interval)
    }

    /// An event of a CPU, such as an interrupt: of the vCPU that left its guest there.
    fn host_event(&mut self, event: &Event) {
        match event.kind {
            Kind::Lost { .. } => self.lost(event),
            kind => {
                let vcpu = self.on_cpu.get(usize::from(event.cpu)).copied().flatten();
                let state = vcpu.and_then(|vcpu| self.states.get_mut(vcpu.index()));
                let Some(state) = state else { return };
                let runs =
                    state.run_state.is_none_or(|(run_state, _)| run_state == RunState::Running);
                if runs && state.is_open {
                    state.interval.note(kind);
                }
            }
        }
    }

    /// Records are missing: what is open on that CPU, or on none, may have ended within them.
    fn lost(&mut self, event: &Event) {
        for (number, state) in self.states.iter_mut().enumerate() {
            let elsewhere =
                state.run_state.is_some_and(|(run_state, _)| run_state == RunState::Running)
                    && event.vcpu.is_some_and(|vcpu| vcpu.index() != number);
            if elsewhere {
                continue;
            }
            self.unmatched.lost += u64::from(std::mem::take(&mut state.is_open));
            state.run_state = None;
            state.entered = None;
            state.perf_begin = None;
            // What comes next may be an entry whose exit was lost.
            state.closed_early = true;
        }
    }

    /// Whether the trace tells who waits; without, no waiting is known.
    pub fn has_run_states(&self) -> bool {
        self.has_run_states
    }

    /// What did not fit together. Exits that are open count as unmatched at the end.
    pub fn unmatched(&self) -> Unmatched {
        let open = self.states.iter().filter(|state| state.is_open).count();
        Unmatched { at_end: open as u64, ..self.unmatched }
    }

    /// What the vCPUs did, by their places.
    pub fn times(&self) -> impl Iterator<Item = &VcpuTimes> {
        self.states.iter().map(|state| &state.times)
    }
}

impl State {
    fn change(&mut self, to: RunState, time: u64) {
        if let (Some((from, since)), true) = (self.run_state, self.is_open) {
            let open = &mut self.interval;
            let elapsed = time.saturating_sub(since.max(open.begin));
            match from {
                RunState::Running => {}
                RunState::Runnable => open.preempted = open.preempted.saturating_add(elapsed),
                RunState::Blocked | RunState::Offline => {
                    open.blocked = open.blocked.saturating_add(elapsed);
                }
            }
        }
        self.run_state = Some((to, time));
    }
}

impl Interval {
    /// What the exit itself tells.
    #[inline]
    fn know(&mut self, reason: Option<u32>, isa: Isa, info: [u64; 2]) {
        let Some(reason) = reason else { return };
        self.interrupted = match isa {
            Isa::Unsaid => {
                [Isa::Vmx, Isa::Svm].iter().any(|&isa| names::is_interrupt_exit(isa, reason, 0))
            }
            _ => names::is_interrupt_exit(isa, reason, 0),
        };
        if names::is_port_exit(isa, reason) && info[0] != 0 {
            // Port in bits 16 to 31 of both; a read is bit 3 of VMX's exit qualification (SDM
            // volume 3, table 28-5), bit 0 of SVM's EXITINFO1 (APM volume 2, figure 15-2).
            let read = if isa == Isa::Vmx { info[0] >> 3 & 1 } else { info[0] & 1 };
            let port = (info[0] >> 16) as u16;
            self.port = Some(PortAccess { port, write: Some(read == 0) });
        }
        if names::is_nested_fault_exit(isa, reason) {
            self.address = Some(info[1]);
        }
    }

    /// What happens within.
    fn note(&mut self, kind: Kind) {
        match kind {
            Kind::Reason { reason, isa } => {
                (self.reason, self.isa) = (Some(reason), isa);
                self.know(Some(reason), isa, [0; 2]);
            }
            Kind::Port(port) => self.port = Some(port),
            Kind::Memory { address, write, .. } => {
                (self.address, self.address_write) = (Some(address), Some(write));
            }
            // A device's own event tells more.
            Kind::NestedFault { address } if self.address_write.is_none() => {
                self.address = Some(address);
            }
            Kind::UserspaceExit { .. } => self.userspace = true,
            Kind::Emulate => self.emulated = true,
            Kind::IrqEnter => self.interrupted = true,
            _ => {}
        }
    }
}

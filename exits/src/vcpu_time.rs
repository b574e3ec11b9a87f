//! The time of vCPUs in portions that can be put into categories.

use crate::accounting::{ExitReport, Interval, Scenario};
use crate::event::{Event, Isa, Kind, PortAccess, RunState, Unit, VcpuId, Vcpus};
use crate::names;
use crate::source::Source;
use rustc_hash::FxHashMap;
use serde::Deserialize;

/// Most kinds of exits that are kept apart, so that memory stays bounded; later ones are one kind.
const MOST_KINDS: usize = 65_536;

/// What a vCPU does for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VcpuState {
    /// Its guest runs: from an entry to the next exit.
    Guest,
    /// The host works for it: from an exit to the next entry, without waiting.
    Handling,
    /// In an exit it waits for an event.
    Blocked,
    /// In an exit it waits for a CPU.
    Preempted,
    /// It runs; of vCPUs without exits, such as paravirtualized ones, no more is known.
    Running,
    /// Between its first and last entry or exit, but an entry or exit beside is missing.
    Unknown,
}

/// What exits have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Common {
    vcpu: VcpuId,
    isa: Isa,
    reason: Option<u32>,
    port: Option<PortAccess>,
    address: Option<u64>,
    scenario: Scenario,
}

impl Common {
    /// Nothing but the vCPU.
    fn only(vcpu: VcpuId) -> Self {
        let scenario = Scenario::Host;
        Common { vcpu, isa: Isa::Unsaid, reason: None, port: None, address: None, scenario }
    }
}

/// Times of exits that have something in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    exits: u64,
    handling: u64,
    blocked: (u64, u64),
    preempted: (u64, u64),
    waiting: u64,
}

/// What a vCPU did besides its exits.
#[derive(Clone, Debug, Default)]
struct Guest {
    /// First and last entry or exit.
    span: Option<(u64, u64)>,
    /// When and on which CPU its guest went on.
    entered: Option<(u64, u16)>,
    time: u64,
    stretches: u64,
    /// Exits beyond the kinds that are kept apart.
    others: Sums,
}

/// Sums the time of vCPUs, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct VcpuTime {
    keeps_addresses: bool,
    guests: Vec<Guest>,
    exits: FxHashMap<Common, Sums>,
}

/// The time of all vCPUs in slices, each of one vCPU and state.
#[derive(Clone, Debug)]
pub struct VcpuSlices {
    /// What times are in.
    pub unit: Unit,
    /// Of exits.
    pub exits: Vec<ExitSlice>,
    /// Of what is no exit.
    pub others: Vec<PlainSlice>,
}

/// The time of exits that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitSlice {
    /// Name of their vCPU, as reports have it.
    pub vcpu: String,
    /// Name of their reason; `None` where none is told.
    pub reason: Option<String>,
    /// The port that they access.
    pub port: Option<PortAccess>,
    /// The guest-physical address that they access, where that was asked for.
    pub address: Option<u64>,
    /// Which way they take; `None` of those beyond what is kept apart.
    pub scenario: Option<Scenario>,
    /// How many there are.
    pub exits: u64,
    /// Time in which the host works for them.
    pub handling: u64,
    /// Time in which their vCPU waits for events, and how many of them do.
    pub blocked: (u64, u64),
    /// Time in which it waits for a CPU, and how many of them do.
    pub preempted: (u64, u64),
    /// How many of them wait for either.
    pub waiting: u64,
}

/// Time of a vCPU that is no exit's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainSlice {
    /// Name of the vCPU.
    pub vcpu: String,
    /// What it does.
    pub state: VcpuState,
    /// How long.
    pub time: u64,
    /// How often; `None` where that is not known.
    pub count: Option<u64>,
}

impl Sums {
    fn time(&self) -> u64 {
        self.handling.saturating_add(self.blocked.0).saturating_add(self.preempted.0)
    }

    fn add(&mut self, interval: &Interval) {
        let add = |(time, count): &mut (u64, u64), more: u64| {
            *time = time.saturating_add(more);
            *count += u64::from(more > 0);
        };
        self.exits += 1;
        self.handling = self.handling.saturating_add(interval.handling());
        // Together no longer than the exit, however odd the states are.
        let waiting = interval.duration() - interval.handling();
        let blocked = interval.blocked.min(waiting);
        add(&mut self.blocked, blocked);
        add(&mut self.preempted, waiting - blocked);
        self.waiting += u64::from(waiting > 0);
    }
}

impl VcpuTime {
    /// Nothing has happened yet. Exits of several addresses are kept apart only if asked for.
    pub fn new(keeps_addresses: bool) -> Self {
        VcpuTime { keeps_addresses, ..VcpuTime::default() }
    }

    /// Takes an event, and the interval that ended with it, if one did.
    pub fn event(&mut self, event: &Event, interval: Option<&Interval>) {
        if let Kind::Lost { .. } = event.kind {
            // A trace that knows whose records are lost knows their CPU; else all may have some.
            let cpu = event.vcpu.map(|_| event.cpu);
            for guest in &mut self.guests {
                guest.entered = guest.entered.filter(|&(_, on)| cpu.is_some_and(|cpu| cpu != on));
            }
        }
        let Some(vcpu) = event.vcpu else { return };
        if matches!(event.kind, Kind::Exit { .. } | Kind::Entry) {
            if self.guests.len() <= vcpu.index() {
                self.guests.resize_with(vcpu.index() + 1, Guest::default);
            }
            self.guests[vcpu.index()].pass(event);
        }
        let Some(interval) = interval else { return };
        let common = Common {
            vcpu,
            isa: interval.isa,
            reason: interval.reason,
            port: interval.port,
            address: interval.address.filter(|_| self.keeps_addresses),
            scenario: Scenario::of(interval),
        };
        let has_room = self.exits.len() < MOST_KINDS || self.exits.contains_key(&common);
        let sums = match has_room {
            true => self.exits.entry(common).or_default(),
            false => &mut self.guests[vcpu.index()].others,
        };
        sums.add(interval);
    }

    /// Gives everything its name. `report` is of the same events, which came from `source`.
    pub fn finish<S: Source>(self, report: &ExitReport, source: &S) -> VcpuSlices {
        let vcpus = source.vcpus();
        let mut exits: Vec<(Common, Sums)> = self.exits.into_iter().collect();
        exits.sort_unstable_by_key(|(common, _)| *common);
        let mut within = vec![0u64; self.guests.len()];
        for (common, sums) in &exits {
            within[common.vcpu.index()] = within[common.vcpu.index()].saturating_add(sums.time());
        }
        let mut others = Vec::new();
        for (number, guest) in self.guests.iter().enumerate() {
            let Some((first, last)) = guest.span else { continue };
            let vcpu = vcpus.name(VcpuId(number as u32)).to_string();
            let mut slice = |state, time, count| {
                others.push(PlainSlice { vcpu: vcpu.clone(), state, time, count });
            };
            slice(VcpuState::Guest, guest.time, Some(guest.stretches));
            let known = guest.time + within[number] + guest.others.time();
            let unknown = (last - first).saturating_sub(known);
            slice(VcpuState::Unknown, unknown, None);
        }
        let has_exits = |name: &str| others.iter().any(|slice: &PlainSlice| slice.vcpu == name);
        let mut without = Vec::new();
        for row in &report.vcpus {
            let vcpu = row.name.to_string();
            if has_exits(&vcpu) {
                continue;
            }
            for (run_state, state) in [
                (RunState::Running, VcpuState::Running),
                (RunState::Runnable, VcpuState::Preempted),
                (RunState::Blocked, VcpuState::Blocked),
                (RunState::Offline, VcpuState::Blocked),
            ] {
                let stays = row.run_states.stays(run_state);
                let (time, count) = (stays.total(), Some(stays.count()));
                without.push(PlainSlice { vcpu: vcpu.clone(), state, time, count });
            }
        }
        others.extend(without);
        others.retain(|slice| slice.time > 0);
        let named = Naming { vcpus, names: source.reason_names(), isa: report.isa };
        let mut slices: Vec<ExitSlice> =
            exits.iter().map(|(common, sums)| named.slice(common, sums)).collect();
        for (number, guest) in self.guests.iter().enumerate() {
            if guest.others.exits > 0 {
                let none = Common::only(VcpuId(number as u32));
                slices.push(ExitSlice { scenario: None, ..named.slice(&none, &guest.others) });
            }
        }
        VcpuSlices { unit: report.unit, exits: slices, others }
    }
}

impl Guest {
    /// An entry or exit has come.
    fn pass(&mut self, event: &Event) {
        let (time, is_entry) = (event.time, event.kind == Kind::Entry);
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        if let (Some((entered, _)), false) = (self.entered.take(), is_entry) {
            self.time = self.time.saturating_add(time.saturating_sub(entered));
            self.stretches += 1;
        }
        self.entered = is_entry.then_some((time, event.cpu));
    }
}

struct Naming<'a> {
    vcpus: &'a Vcpus,
    names: &'a [String],
    isa: Isa,
}

impl Naming<'_> {
    fn slice(&self, common: &Common, sums: &Sums) -> ExitSlice {
        ExitSlice {
            vcpu: self.vcpus.name(common.vcpu).to_string(),
            reason: common.reason.map(|reason| self.reason(common.isa, reason)),
            port: common.port,
            address: common.address,
            scenario: Some(common.scenario),
            exits: sums.exits,
            handling: sums.handling,
            blocked: sums.blocked,
            preempted: sums.preempted,
            waiting: sums.waiting,
        }
    }

    fn reason(&self, isa: Isa, reason: u32) -> String {
        match isa {
            Isa::Named => self.names.get(reason as usize).cloned().unwrap_or_default(),
            Isa::Unsaid => names::exit_reason(self.isa, reason).into_owned(),
            isa => names::exit_reason(isa, reason).into_owned(),
        }
    }
}

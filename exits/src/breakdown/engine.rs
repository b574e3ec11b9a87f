//! From probes to phases: which probe came when in each exit.

use super::phases::{At, On, Phases, Probe, Sight, When};
use crate::accounting::{ExitReport, Interval};
use crate::distribution::Distribution;
use crate::error::Error;
use crate::event::{Event, Isa, Kind, RunState, VcpuId};
use rustc_hash::FxHashMap;

/// Sums the phases of exits, in bounded memory.
///
/// Probes are taken in the order of the list: each is the first of its kind behind the one before,
/// or, if it is to be the last, any that comes before the next.
#[derive(Clone, Debug)]
pub struct Breakdown {
    phases: Phases,
    /// By vCPU.
    states: Vec<State>,
    /// By the numbering under which exits were taken; [`Isa::Unsaid`] if by all.
    sums: FxHashMap<Isa, Sums>,
    /// How often each probe came, within exits or not.
    seen: Vec<u64>,
}

/// Times of the probes that came, in order.
#[derive(Clone, Debug, Default)]
struct Chain(Vec<u64>);

#[derive(Clone, Debug, Default)]
struct State {
    /// Probes before the next exit.
    before: Chain,
    /// Those of the exit that is open, and its CPU.
    open: Option<(Chain, u16)>,
    /// An exit that has ended, of which probes behind the entry are to come.
    ended: Option<(Chain, Vec<Isa>)>,
    /// Whether it runs, if known.
    runs: Option<bool>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    taken: u64,
    phases: Vec<Distribution>,
    rest: Distribution,
    whole: Distribution,
    /// Exits that lack a probe, by the first of them.
    missed: Vec<u64>,
    backwards: u64,
}

impl Sums {
    /// Of `probes` probes and `phases` phases.
    fn new(probes: usize, phases: usize) -> Self {
        Sums {
            phases: vec![Distribution::default(); phases],
            missed: vec![0; probes],
            ..Sums::default()
        }
    }

    fn add(&mut self, Chain(times): &Chain, owners: &[Option<usize>]) {
        self.taken += 1;
        if let Some(missed) = self.missed.get_mut(times.len()) {
            *missed += 1;
            return;
        }
        if !times.is_sorted() {
            self.backwards += 1;
            return;
        }
        let mut parts = vec![0; self.phases.len()];
        let mut rest = 0;
        for (pair, owner) in times.windows(2).zip(owners) {
            *owner.map_or(&mut rest, |phase| &mut parts[phase]) += pair[1] - pair[0];
        }
        self.phases.iter_mut().zip(parts).for_each(|(phase, part)| phase.add(part));
        self.rest.add(rest);
        self.whole.add(times[times.len() - 1] - times[0]);
    }

    fn merge(&mut self, other: &Sums) {
        self.taken += other.taken;
        self.phases.iter_mut().zip(&other.phases).for_each(|(ours, theirs)| ours.merge(theirs));
        self.rest.merge(&other.rest);
        self.whole.merge(&other.whole);
        self.missed.iter_mut().zip(&other.missed).for_each(|(ours, theirs)| *ours += theirs);
        self.backwards += other.backwards;
    }
}

impl Chain {
    /// Takes a probe if it is due.
    fn take(&mut self, number: usize, probe: &Probe, time: u64) {
        let count = self.0.len();
        if number == count {
            self.0.push(time);
        } else if probe.last && number + 1 == count {
            self.0[number] = time;
        }
    }
}

/// Where the time of exits went, between probes.
#[derive(Clone, Debug)]
pub struct BreakdownReport {
    /// What is broken down, as the file says.
    pub title: Option<String>,
    /// In the order of the file, then the rest, if phases leave one.
    pub rows: Vec<PhaseRow>,
    /// From the first probe to the last.
    pub whole: Distribution,
    /// Exits that were to be broken down; those in the rows and those that lack something.
    pub taken: u64,
    /// Of them, those that lack a probe, by the first one that did not come; with others in order.
    pub probes: Vec<ProbeCount>,
    /// Of them, those in which a probe has an earlier time than the one before.
    pub backwards: u64,
}

/// A phase.
#[derive(Clone, Debug)]
pub struct PhaseRow {
    /// As the file names it; `None` for the time that is of no phase.
    pub name: Option<String>,
    /// Its times, one for each exit with all probes.
    pub times: Distribution,
}

/// How often a probe came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeCount {
    /// As the file names it.
    pub name: String,
    /// How often, in exits that were taken or elsewhere.
    pub seen: u64,
    /// Exits in which it is the first that did not come.
    pub missed: u64,
}

impl BreakdownReport {
    /// Exits in which all probes came in order.
    pub fn complete(&self) -> u64 {
        self.whole.count()
    }
}

impl Breakdown {
    /// Nothing has happened yet.
    pub fn new(phases: Phases) -> Self {
        let seen = vec![0; phases.probes.len()];
        Breakdown { phases, states: Vec::new(), sums: FxHashMap::default(), seen }
    }

    /// Takes an event, and the interval that ended with it, if one did.
    pub fn event(&mut self, event: &Event, interval: Option<&Interval>) {
        if let Some(vcpu) = event.vcpu
            && self.states.len() <= vcpu.index()
        {
            self.states.resize_with(vcpu.index() + 1, State::default);
        }
        match (event.kind, event.vcpu) {
            (Kind::Exit { .. }, Some(vcpu)) => {
                let state = &mut self.states[vcpu.index()];
                state.runs = Some(true);
                state.open = Some((state.before.clone(), event.cpu));
                self.pass(At::Exit, vcpu, event.time);
            }
            (Kind::Entry, Some(vcpu)) => {
                self.pass(At::Entry, vcpu, event.time);
                self.states[vcpu.index()].runs = Some(true);
                let open = self.states[vcpu.index()].open.take();
                if let (Some((chain, _)), Some(interval)) = (open, interval) {
                    self.end(vcpu, chain, interval);
                }
            }
            (Kind::RunState(to), Some(vcpu)) => {
                let runs = to == RunState::Running;
                let before = self.states[vcpu.index()].runs.replace(runs);
                if before != Some(runs) {
                    let at = if runs { At::SwitchedIn } else { At::SwitchedOut };
                    self.pass(at, vcpu, event.time);
                }
            }
            (Kind::Probe { number }, _) => self.probe(usize::from(number), event),
            (Kind::Lost { .. }, _) => {
                // An exit cut by a loss makes no interval; others go on.
                for number in 0..self.states.len() {
                    self.close_ended(number);
                    let state = &mut self.states[number];
                    state.before.0.clear();
                    state.runs = None;
                }
            }
            _ => {}
        }
    }

    /// Something that every trace tells has happened to a vCPU.
    fn pass(&mut self, at: At, vcpu: VcpuId, time: u64) {
        let state = &mut self.states[vcpu.index()];
        // The last first: one event is one probe.
        for (number, probe) in self.phases.probes.iter().enumerate().rev() {
            if probe.sight == Sight::At(at) {
                self.seen[number] += 1;
                if let Some((chain, _)) = &mut state.open {
                    chain.take(number, probe, time);
                }
            }
        }
    }

    /// The reader has seen a probe.
    fn probe(&mut self, number: usize, event: &Event) {
        let Some(probe) = self.phases.probes.get(number) else { return };
        self.seen[number] += 1;
        let all = self.phases.probes.len();
        for (place, state) in self.states.iter_mut().enumerate() {
            let is_own = event.vcpu.is_some_and(|vcpu| vcpu.index() == place);
            let cpu = state.open.as_ref().map(|(_, cpu)| *cpu);
            match probe.on {
                On::Vcpu if !is_own => continue,
                On::Cpu if cpu != Some(event.cpu) => continue,
                _ => {}
            }
            match probe.when {
                When::BeforeExit => {
                    if number == 0 {
                        state.before.0.clear();
                    }
                    state.before.take(number, probe, event.time);
                }
                When::InExit => {
                    if let Some((chain, _)) = &mut state.open {
                        chain.take(number, probe, event.time);
                    }
                }
                When::AfterEntry => {
                    if let Some((chain, _)) = &mut state.ended {
                        chain.take(number, probe, event.time);
                    }
                    let whole = |ended: &(Chain, Vec<Isa>)| ended.0.0.len() == all;
                    if !probe.last && state.ended.as_ref().is_some_and(whole) {
                        let ended = state.ended.take();
                        add(&mut self.sums, &self.phases, ended);
                    }
                }
            }
        }
    }

    /// An exit has ended.
    fn end(&mut self, vcpu: VcpuId, chain: Chain, interval: &Interval) {
        let under: Vec<Isa> = self.phases.taken.takes(interval).collect();
        if under.is_empty() {
            return;
        }
        self.close_ended(vcpu.index());
        let state = &mut self.states[vcpu.index()];
        state.before.0.clear();
        state.ended = Some((chain, under));
        if self.phases.probes.last().is_none_or(|probe| probe.when != When::AfterEntry) {
            self.close_ended(vcpu.index());
        }
    }

    /// No more probes come of the exit that ended last.
    fn close_ended(&mut self, vcpu: usize) {
        let ended = self.states[vcpu].ended.take();
        add(&mut self.sums, &self.phases, ended);
    }

    /// Gives what was summed its names. `report` says whose numbering exit reasons follow, where
    /// the trace does not.
    ///
    /// # Errors
    /// [`Error::Partition`] if phases do not sum to the whole.
    pub fn finish(mut self, report: &ExitReport) -> Result<BreakdownReport, Error> {
        (0..self.states.len()).for_each(|vcpu| self.close_ended(vcpu));
        let Breakdown { phases, sums, seen, .. } = self;
        let mut total = Sums::new(phases.probes.len(), phases.names.len());
        for (_, sums) in sums.iter().filter(|(isa, _)| [Isa::Unsaid, report.isa].contains(isa)) {
            total.merge(sums);
        }
        let sum = total.phases.iter().chain([&total.rest]).map(Distribution::total).sum();
        if sum != total.whole.total() {
            return Err(Error::Partition { sum, whole: total.whole.total() });
        }
        let named = phases.names.into_iter().zip(total.phases);
        let mut rows: Vec<PhaseRow> =
            named.map(|(name, times)| PhaseRow { name: Some(name), times }).collect();
        if phases.owners.contains(&None) {
            rows.push(PhaseRow { name: None, times: total.rest });
        }
        let probes = phases.probes.into_iter().zip(seen).zip(total.missed);
        Ok(BreakdownReport {
            title: phases.title,
            rows,
            whole: total.whole,
            taken: total.taken,
            probes: probes
                .map(|((probe, seen), missed)| ProbeCount { name: probe.name, seen, missed })
                .collect(),
            backwards: total.backwards,
        })
    }
}

fn add(sums: &mut FxHashMap<Isa, Sums>, phases: &Phases, ended: Option<(Chain, Vec<Isa>)>) {
    let Some((chain, under)) = ended else { return };
    for isa in under {
        let new = || Sums::new(phases.probes.len(), phases.names.len());
        sums.entry(isa).or_insert_with(new).add(&chain, &phases.owners);
    }
}

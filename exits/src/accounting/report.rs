//! What was accounted, with names.

use super::tally::{Key, Sums};
use super::{Account, Accounting, RunStates, Unmatched, VcpuTimes};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Isa, Paravirtual, Unit, VcpuName, Vcpus};
use crate::names;
use crate::source::Source;
use std::cmp::Reverse;

/// Where the time went.
#[derive(Clone, Debug)]
pub struct ExitReport {
    /// How it was accounted.
    pub options: Accounting,
    /// What times are in.
    pub unit: Unit,
    /// Numbering of the exit reasons; [`Isa::Unsaid`] without exits.
    pub isa: Isa,
    /// True if the numbering was guessed from the reasons: one above 75 is none of VMX.
    pub isa_guessed: bool,
    /// The most time first.
    pub rows: Vec<Row>,
    /// Over all exits.
    pub total: Sums,
    /// Exits of which nothing is known that rows could be of, such as those without a port.
    pub without_key: u64,
    /// Time of the first and of the last event.
    pub span: (u64, u64),
    /// vCPUs that did anything, in order of appearance.
    pub vcpus: Vec<VcpuRow>,
    /// How paravirtualized guests entered the hypervisor, by vCPU.
    pub paravirtual: Vec<ParavirtualRow>,
    /// What did not fit together.
    pub unmatched: Unmatched,
    /// Whether the trace tells who waits.
    pub has_run_states: bool,
    /// Whether the trace tells stays in user space.
    pub user_space_told: bool,
    /// Whether the trace tells interrupts of the host, besides those that are exit reasons.
    pub interrupts_told: bool,
    /// Exits whose reason has no name.
    pub unknown_reasons: u64,
    /// What of the trace was understood.
    pub coverage: Coverage,
}

/// Exits that have something in common.
#[derive(Clone, Debug)]
pub struct Row {
    /// What.
    pub key: Key,
    /// Its name.
    pub name: String,
    /// Their sums.
    pub sums: Sums,
    /// Rows within, the most time first.
    pub parts: Vec<Row>,
}

/// What one vCPU did.
#[derive(Clone, Debug)]
pub struct VcpuRow {
    /// Which.
    pub name: VcpuName,
    /// Of its exits.
    pub times: VcpuTimes,
    /// Of its states.
    pub run_states: RunStates,
}

/// How often a vCPU entered the hypervisor in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParavirtualRow {
    /// Which; `None` where that is not known.
    pub vcpu: Option<VcpuName>,
    /// How.
    pub entry: Paravirtual,
    /// How often.
    pub count: u64,
}

impl Account {
    /// Gives everything its name. `source` is what the events came from.
    ///
    /// # Errors
    /// [`Error::NothingFound`] if nothing could be accounted.
    pub fn finish<S: Source>(self, source: &S) -> Result<ExitReport, Error> {
        let vcpus = source.vcpus();
        let intervals = &self.intervals;
        let unmatched = intervals.unmatched();
        let has_states = self.run_states.0.iter().any(|states| !states.is_empty());
        let exits: u64 = intervals.times().map(|times| times.exits).sum();
        if exits == 0 && self.paravirtual.is_empty() && !has_states {
            return Err(Error::NothingFound {
                records: source.coverage().records,
                remedy: "record kvm:* with perf, trace-cmd or LTTng, or Xen with `xentrace -e all`",
            });
        }
        let guess = match self.largest_unsaid {
            Some(largest) if largest & 0x7fff_ffff > names::LAST_VMX_REASON => Isa::Svm,
            _ => Isa::Vmx,
        };
        let naming = Naming { vcpus, names: source.reason_names(), guess };
        let total = self.tally.total();
        let mut rows: Vec<Row> = self
            .tally
            .finish()
            .into_iter()
            .map(|(key, sums, parts)| {
                let parts = parts.into_iter();
                let parts = parts.map(|(key, sums)| naming.row(key, sums, Vec::new())).collect();
                naming.row(key, sums, sorted(parts))
            })
            .collect();
        rows = sorted(rows);
        let isa_guessed = self.largest_unsaid.is_some();
        let with_key: u64 = rows.iter().map(|row| row.sums.durations.count()).sum();
        let mut paravirtual: Vec<ParavirtualRow> = self
            .paravirtual
            .iter()
            .map(|(&(vcpu, entry), &count)| ParavirtualRow {
                vcpu: vcpus.iter().nth(vcpu as usize).map(|(_, name)| name),
                entry,
                count,
            })
            .collect();
        paravirtual.sort_by_key(|row| (row.vcpu, row.entry));
        let mut times = intervals.times();
        let mut states = self.run_states.0.into_iter();
        let vcpus: Vec<VcpuRow> = vcpus
            .iter()
            .map(|(_, name)| VcpuRow {
                name,
                times: times.next().cloned().unwrap_or_default(),
                run_states: states.next().unwrap_or_default(),
            })
            .filter(|row| row.times.exits + row.times.entries > 0 || !row.run_states.is_empty())
            .collect();
        let unknown = |row: &Row| match row.key {
            Key::Reason(isa, Some(reason)) if !names::is_known_reason(isa, reason) => {
                row.sums.durations.count()
            }
            _ => 0,
        };
        let unknown_reasons =
            rows.iter().flat_map(|row| std::iter::once(row).chain(&row.parts)).map(unknown).sum();
        Ok(ExitReport {
            unit: source.unit(),
            isa: self.isa.unwrap_or(if isa_guessed { guess } else { Isa::Unsaid }),
            isa_guessed,
            without_key: total.durations.count().saturating_sub(with_key),
            total,
            rows,
            span: if self.first <= self.last { (self.first, self.last) } else { (0, 0) },
            vcpus,
            paravirtual,
            unmatched,
            has_run_states: self.intervals.has_run_states(),
            user_space_told: self.user_space_told,
            interrupts_told: self.interrupts_told,
            unknown_reasons,
            coverage: source.coverage().clone(),
            options: self.options,
        })
    }
}

/// The most time first; of as much, the most exits.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| {
        let durations = &row.sums.durations;
        (Reverse(durations.total()), Reverse(durations.count()), row.key)
    });
    rows
}

struct Naming<'a> {
    vcpus: &'a Vcpus,
    names: &'a [String],
    guess: Isa,
}

impl Naming<'_> {
    fn row(&self, key: Key, sums: Sums, parts: Vec<Row>) -> Row {
        let key = match key {
            Key::Reason(Isa::Unsaid, reason) => Key::Reason(self.guess, reason),
            key => key,
        };
        Row { key, name: self.name(key), sums, parts }
    }

    fn name(&self, key: Key) -> String {
        match key {
            Key::Reason(_, None) => "reason not told".to_owned(),
            Key::Reason(Isa::Named, Some(number)) => {
                self.names.get(number as usize).cloned().unwrap_or_else(|| number.to_string())
            }
            Key::Reason(isa, Some(reason)) => names::exit_reason(isa, reason).into_owned(),
            Key::Port(port) => format!("{port:#06x}"),
            Key::Direction(Some(true)) => "write".to_owned(),
            Key::Direction(Some(false)) => "read".to_owned(),
            Key::Direction(None) => "direction not told".to_owned(),
            Key::Address(address) => format!("{address:#x}"),
            Key::Scenario(scenario) => scenario.name().to_owned(),
            Key::Vcpu(vcpu) => self.vcpus.name(vcpu).to_string(),
            Key::Others => "other keys".to_owned(),
        }
    }
}

//! Time by category, two levels deep, as Table 2 of the VMware paper.

mod replay_file;
mod rules;
#[cfg(test)]
mod tests;
mod written;

pub use rules::{Categories, CategoriesOf};

use crate::error::Error;
use crate::metric::Metric;
use crate::profile_report::ProfileReport;
use rules::{Category, Place, TimeBit};
use std::path::PathBuf;
use strata_exits::{Coverage, ExitSlice, VcpuSlices, VcpuState};

/// Name of what no category takes.
const OTHER: &str = "other";

/// What a result is of.
#[derive(Clone, Debug, Default)]
pub struct CpuTimeSource {
    /// Trace or capture as the user named it.
    pub name: String,
    /// Its format, as `--from` names it.
    pub format: &'static str,
    /// Digest of a native trace in hexadecimal; `None` of others, or if it was not read to its end.
    pub trace_hash: Option<String>,
    /// Changes that the recorder made to the running guest.
    pub patches: Vec<String>,
    /// The machine that was modelled, if any.
    pub machine: Option<String>,
    /// What a reader must know besides the numbers, a sentence each.
    pub remarks: Vec<String>,
    /// What was understood of an event trace.
    pub coverage: Option<Coverage>,
}

/// Time by category.
#[derive(Clone, Debug)]
pub struct CpuTimeResult {
    source: CpuTimeSource,
    rules: PathBuf,
    title: Option<String>,
    /// `cycles`, `ns` or `instructions`.
    unit: &'static str,
    /// True if times are estimates.
    is_estimate: bool,
    total: f64,
    rows: Vec<CategoryRow>,
}

/// Time of a category.
#[derive(Clone, Debug)]
struct CategoryRow {
    name: String,
    /// What no category takes.
    is_other: bool,
    derived: bool,
    time: f64,
    /// How often it came; `None` where that is not known, or where it has no meaning.
    count: Option<u64>,
    /// Empty without parts.
    parts: Vec<CategoryRow>,
}

impl CategoryRow {
    fn new(category: &Category) -> Self {
        let mut parts: Vec<CategoryRow> = category.parts.iter().map(CategoryRow::new).collect();
        if !parts.is_empty() {
            parts.push(CategoryRow::other());
        }
        let count = category.average.then_some(0);
        let name = category.name.clone();
        let derived = category.derived;
        CategoryRow { name, is_other: false, derived, time: 0.0, count, parts }
    }

    fn other() -> Self {
        let name = OTHER.to_owned();
        let parts = Vec::new();
        CategoryRow { name, is_other: true, derived: false, time: 0.0, count: Some(0), parts }
    }

    fn add(&mut self, time: f64, count: Option<u64>) {
        self.time += time;
        self.count = self.count.zip(count).map(|(all, more)| all + more);
    }

    /// Mean time of what it counts.
    fn average(&self) -> Option<f64> {
        self.count.filter(|&count| count > 0).map(|count| self.time / count as f64)
    }
}

/// Sums bits by category.
struct Gathering<'c> {
    categories: &'c Categories,
    rows: Vec<CategoryRow>,
    total: f64,
}

impl<'c> Gathering<'c> {
    fn new(categories: &'c Categories) -> Self {
        let rows = categories.categories.iter().map(CategoryRow::new);
        let rows = rows.chain([CategoryRow::other()]).collect();
        Gathering { categories, rows, total: 0.0 }
    }

    /// The same for what is not counted.
    fn without_counts(categories: &'c Categories) -> Self {
        let mut gathering = Gathering::new(categories);
        for row in &mut gathering.rows {
            row.count = None;
            row.parts.iter_mut().for_each(|part| part.count = None);
        }
        gathering
    }

    fn part(&mut self, place: Place) -> Option<&mut CategoryRow> {
        self.rows[place.category].parts.get_mut(place.part)
    }

    fn add(&mut self, place: Option<Place>, time: f64, count: Option<u64>) {
        let Some(place) = place else { return };
        self.total += time;
        self.rows[place.category].add(time, count);
        if let Some(part) = self.part(place) {
            part.add(time, count);
        }
    }

    /// The exits of a slice are one thing each, of however many bits.
    fn add_exits(&mut self, slice: &ExitSlice) {
        let bits = [
            (VcpuState::Handling, slice.handling, slice.exits),
            (VcpuState::Blocked, slice.blocked.0, slice.blocked.1),
            (VcpuState::Preempted, slice.preempted.0, slice.preempted.1),
        ];
        let places = bits.map(|(state, ..)| {
            let bit = TimeBit {
                vcpu: &slice.vcpu,
                state,
                reason: slice.reason.as_deref(),
                port: slice.port,
                address: slice.address,
                scenario: slice.scenario,
            };
            self.categories.place(|rule| rule.time(&bit))
        });
        for (place, (_, time, _)) in places.iter().zip(bits) {
            self.add(*place, time as f64, Some(0));
        }
        let parts = places.map(|place| place.map(|place| (place.category, place.part)));
        let categories = places.map(|place| place.map(|place| place.category));
        for (category, count) in exits_by(categories, slice) {
            self.rows[category].add(0.0, Some(count));
        }
        for ((category, part), count) in exits_by(parts, slice) {
            if let Some(row) = self.part(Place { category, part }) {
                row.add(0.0, Some(count));
            }
        }
    }

    /// What categories took, held against what there was.
    fn finish(
        self,
        (unit, is_estimate): (&'static str, bool),
        source: CpuTimeSource,
    ) -> Result<CpuTimeResult, Error> {
        let rows = self.rows;
        let same = |sum: f64, whole: f64| (sum - whole).abs() <= whole.abs() * 1e-9;
        let sum = |rows: &[CategoryRow]| rows.iter().map(|row| row.time).sum::<f64>();
        let whole = std::iter::once((sum(&rows), self.total));
        let with_parts = rows.iter().filter(|row| !row.parts.is_empty());
        let parts = with_parts.map(|row| (sum(&row.parts), row.time));
        for (sum, whole) in whole.chain(parts) {
            if !same(sum, whole) {
                return Err(Error::CategorySum { sum, whole });
            }
        }
        Ok(CpuTimeResult {
            source,
            rules: self.categories.path.clone(),
            title: self.categories.title.clone(),
            unit,
            is_estimate,
            total: self.total,
            rows,
        })
    }
}

/// How many of a slice's exits have a bit in each place. `places` are those of handling, of
/// waiting for events and of waiting for a CPU.
fn exits_by<P: Copy + PartialEq>(places: [Option<P>; 3], slice: &ExitSlice) -> Vec<(P, u64)> {
    let mut counts: Vec<(P, u64)> = Vec::new();
    let [handling, blocked, preempted] = places;
    for place in places.into_iter().flatten() {
        if counts.iter().any(|(known, _)| *known == place) {
            continue;
        }
        let is = |other: Option<P>| other == Some(place);
        let count = match (is(handling), is(blocked), is(preempted)) {
            (true, ..) => slice.exits,
            (_, true, true) => slice.waiting,
            (_, true, false) => slice.blocked.1,
            _ => slice.preempted.1,
        };
        counts.push((place, count));
    }
    counts
}

impl CpuTimeResult {
    /// The time of vCPUs by category.
    ///
    /// # Errors
    /// [`Error::CategorySum`] if categories do not sum to the whole.
    pub fn of_time(
        slices: &VcpuSlices,
        categories: &Categories,
        source: CpuTimeSource,
    ) -> Result<Self, Error> {
        let mut gathering = Gathering::new(categories);
        for slice in &slices.others {
            let bit = TimeBit {
                vcpu: &slice.vcpu,
                state: slice.state,
                reason: None,
                port: None,
                address: None,
                scenario: None,
            };
            let place = categories.place(|rule| rule.time(&bit));
            gathering.add(place, slice.time as f64, slice.count);
        }
        slices.exits.iter().for_each(|slice| gathering.add_exits(slice));
        gathering.finish((slices.unit.name(), false), source)
    }

    /// The instructions, or estimated cycles, of a replay's functions by category. They have no
    /// count: a category collects single instructions.
    ///
    /// # Errors
    /// As [`CpuTimeResult::of_time`]; [`Error::NoMetric`] for cycles of a machine without costs.
    pub fn of_code(
        report: &ProfileReport,
        metric: Metric,
        categories: &Categories,
        mut source: CpuTimeSource,
    ) -> Result<Self, Error> {
        let machine = &report.profile.machine;
        metric.check(machine, report.known())?;
        let mut gathering = Gathering::without_counts(categories);
        for row in &report.profile.rows {
            let place = categories.place(|rule| rule.code(&row.function));
            gathering.add(place, metric.exact(&row.counters, machine), None);
        }
        let is_estimate = metric == Metric::Cycles;
        let unit = if is_estimate { "cycles" } else { "instructions" };
        source.machine = Some(machine.name().to_owned());
        source.remarks = report.remarks();
        gathering.finish((unit, is_estimate), source)
    }

    /// What a reader must know besides the numbers, a sentence each.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.source.remarks.clone();
        if !self.source.patches.is_empty() && self.source.machine.is_none() {
            let changes = self.source.patches.join(", ");
            notes.push(format!("the recorder changed the running guest: {changes}"));
        }
        let is_empty = |row: &&CategoryRow| row.time == 0.0 && !row.is_other;
        let mut empty: Vec<String> = Vec::new();
        for row in &self.rows {
            empty.extend(Some(row).filter(is_empty).map(|row| row.name.clone()));
            let parts = row.parts.iter().filter(is_empty);
            empty.extend(parts.map(|part| format!("{}: {}", row.name, part.name)));
        }
        if !empty.is_empty() {
            notes.push(format!(
                "nothing is of these: {}; what a rule names may be called otherwise in this input",
                empty.join("; ")
            ));
        }
        notes
    }

    /// A row's share of what it is a part of, in per cent; `None` of nothing.
    fn share(row: &CategoryRow, base: f64) -> Option<f64> {
        (base > 0.0).then(|| row.time * 100.0 / base)
    }
}

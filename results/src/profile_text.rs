//! A profile as a table for people.

use crate::known::Known;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, percent, rate, shortened};
use crate::profile_report::{ProfileReport, machine_line};
use crate::profile_table::{Group, ProfileTable};
use crate::selection::{By, find};
use crate::structure::Structure;
use crate::text_table::{TextTable, wrapped};
use crate::{Error, Selection, miss_classes};
use std::fmt::Write as _;
use std::str::FromStr;
use strata_cachemodel::{Machine, WalkMemory};
use strata_sim::Counters;

/// What a table tells of each cache and TLB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Accesses.
    Accesses,
    /// Hits.
    Hits,
    /// Misses.
    Misses,
    /// Misses for each thousand instructions.
    Mpki,
    /// Share of accesses that hit, in per cent.
    HitRate,
}

impl Figure {
    /// All figures.
    pub const ALL: [Figure; 5] =
        [Figure::Accesses, Figure::Hits, Figure::Misses, Figure::Mpki, Figure::HitRate];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Accesses => "accesses",
            Figure::Hits => "hits",
            Figure::Misses => "misses",
            Figure::Mpki => "mpki",
            Figure::HitRate => "hit-rate",
        }
    }

    /// Those that make a table of this grouping fit a terminal of 120 columns.
    pub fn fitting(by: By, machine: &Machine) -> &'static [Figure] {
        match by {
            By::Layer if Structure::of(machine).len() <= 5 => &[Figure::Misses, Figure::Mpki],
            By::Layer | By::Module | By::Function | By::Line => &[Figure::Misses],
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Figure::Mpki => "MPKI",
            Figure::HitRate => "hit %",
            other => other.name(),
        }
    }

    fn text(self, structure: Structure, counters: &Counters, known: Known) -> String {
        if !known.structure(structure) {
            return NOT_AVAILABLE.to_owned();
        }
        let tally = structure.tally(counters);
        match self {
            Figure::Accesses => grouped(tally.accesses),
            Figure::Hits => grouped(tally.hits()),
            Figure::Misses => grouped(tally.misses),
            Figure::Mpki => rate(counters.per_thousand(tally.misses)),
            Figure::HitRate => percent(tally.hits(), tally.accesses),
        }
    }
}

impl FromStr for Figure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find(&Figure::ALL, Figure::name, "column", text)
    }
}

/// Longest function name shown; CSV and JSON have all of it.
const FUNCTION_WIDTH: usize = 24;
/// The same for a line with the calls inlined there.
const LINE_WIDTH: usize = 56;
const MODULE_WIDTH: usize = 14;

impl ProfileReport {
    /// The whole report: what was counted of what, the table, and what else to know.
    pub fn to_text(&self, selection: Selection, figures: &[Figure]) -> String {
        let table = self.table(selection);
        let mut out = self.head_text();
        out.push('\n');
        out.push_str(&table.to_text(figures));
        out.push('\n');
        out.push_str(&self.classes_text());
        out.push_str(&self.foot_text());
        out
    }

    /// Machine, semantics and provenance, a line or a few each.
    pub fn head_text(&self) -> String {
        let machine = &self.profile.machine;
        let total = &self.profile.total;
        let mut replay = counted(total.instructions, "instruction");
        if !self.known().instructions() {
            let references = self.profile.counts.references;
            replay = counted(references.reads + references.writes, "data reference");
        }
        if total.rep_iterations > 0 {
            let _ = write!(replay, ", {}", counted(total.rep_iterations, "rep iteration"));
        }
        if let Some(extent) = self.extent() {
            let _ = write!(replay, " ({extent})");
        }
        let hash = self.provenance.trace_hash.as_deref();
        let trace = format!(
            "{}, hash {}",
            self.provenance.title(),
            hash.unwrap_or("not available (not read to its end)")
        );
        let counting =
            format!("{} semantics; {}; {}", machine.semantics(), self.delivery(), self.dma());
        let mut lines = vec![("trace", trace), ("replayed", replay)];
        if let Some(manifest) = &self.provenance.manifest {
            let said = std::iter::once(&manifest.guest_command).chain(&manifest.result);
            let said: Vec<&str> = said.map(String::as_str).collect();
            lines.insert(0, ("workload", said.join("; ")));
        }
        let lacks = self.provenance.lacks;
        if !lacks.is_nothing() {
            lines.push(("lacks", lacks.texts().collect::<Vec<_>>().join(", ")));
        }
        lines.extend([("machine", machine_line(machine)), ("counting", counting)]);
        lines.into_iter().map(|(label, text)| wrapped(label, &text)).collect()
    }

    /// How much is named, and remarks.
    pub fn foot_text(&self) -> String {
        self.names_text() + &self.remarks_text()
    }

    /// How much is named.
    pub(crate) fn names_text(&self) -> String {
        let layers = self.named();
        let shares = layers.iter().filter(|named| named.instructions > 0).map(|named| {
            let functions = percent(named.functions, named.instructions);
            if named.modules == named.functions {
                return format!("{functions}% of {}", named.layer);
            }
            let modules = percent(named.modules, named.instructions);
            format!("{functions}% of {} (the module: {modules}%)", named.layer)
        });
        let shares = shares.collect::<Vec<_>>().join(", ");
        if shares.is_empty() {
            return String::new();
        }
        wrapped("names", &format!("the function is known for {shares}"))
    }

    /// Why misses happened, if that was asked for.
    pub(crate) fn classes_text(&self) -> String {
        match &self.profile.classes {
            Some(classes) => {
                miss_classes::to_text(classes, &self.profile.machine, self.known()) + "\n"
            }
            None => String::new(),
        }
    }

    /// Remarks, each with its label.
    pub(crate) fn remarks_text(&self) -> String {
        self.remarks().iter().map(|remark| wrapped("note", remark)).collect()
    }
}

impl ProfileTable {
    /// The rows, then what was left out and the total.
    pub fn to_text(&self, figures: &[Figure]) -> String {
        let by = self.selection.by;
        let mut names = vec!["layer"];
        if by != By::Layer {
            names.push("module");
        }
        if by.names_functions() {
            names.push(by.name());
        }
        let mut table = TextTable::new(names.len());
        let mut top: Vec<String> = vec![String::new(); names.len() + 2];
        let mut bottom: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        bottom.extend(["instructions".to_owned(), "share %".to_owned()]);
        for structure in Structure::of(&self.machine) {
            for (i, figure) in figures.iter().enumerate() {
                top.push(if i == 0 { structure.label().to_owned() } else { String::new() });
                bottom.push(figure.heading().to_owned());
            }
        }
        if self.machine.walk().memory != WalkMemory::Off {
            top.extend(["page walks".to_owned(), String::new()]);
            bottom.extend(["count".to_owned(), "accesses".to_owned()]);
        }
        if self.machine.cost().is_some() {
            top.push("est.".to_owned());
            bottom.push("cycles".to_owned());
        }
        table.header(top.iter().zip(&bottom).map(|(top, bottom)| format!("{top}\n{bottom}")));
        for row in &self.rows {
            table.row(self.cells(names_of(row, by), &row.counters, figures));
        }
        if let Some(others) = &self.others {
            let rows = counted(others.rows, "row");
            let mut names = label_cells("others", by);
            match names.last_mut() {
                Some(last) if by != By::Layer => *last = format!("({rows})"),
                _ => names = vec![format!("others ({rows})")],
            }
            table.row(self.cells(names, &others.counters, figures));
        }
        table.rule();
        if !self.selection.layers.is_empty() {
            table.row(self.cells(label_cells("selected", by), &self.selected, figures));
        }
        table.row(self.cells(label_cells("total", by), &self.total, figures));
        table.to_string()
    }

    fn cells(&self, names: Vec<String>, counters: &Counters, figures: &[Figure]) -> Vec<String> {
        let mut cells = names;
        let known = self.known;
        let or_not = |known: bool, number: u64| {
            if known { grouped(number) } else { NOT_AVAILABLE.to_owned() }
        };
        cells.push(or_not(known.instructions(), counters.instructions));
        cells.push(percent(counters.instructions, self.total.instructions));
        for structure in Structure::of(&self.machine) {
            cells.extend(figures.iter().map(|figure| figure.text(structure, counters, known)));
        }
        if self.machine.walk().memory != WalkMemory::Off {
            cells.push(grouped(counters.walks));
            cells.push(or_not(known.walk_references(), counters.walk_accesses()));
        }
        if self.machine.cost().is_some() {
            let cycles = known.cycles(counters, &self.machine);
            cells.push(cycles.map_or(NOT_AVAILABLE.to_owned(), |cycles| grouped(cycles as u64)));
        }
        cells
    }
}

fn names_of(group: &Group, by: By) -> Vec<String> {
    let mut cells = vec![group.layer.to_string()];
    if by != By::Layer {
        let module = group.module.as_deref().unwrap_or(NOT_AVAILABLE);
        cells.push(shortened(module, MODULE_WIDTH));
    }
    if by.names_functions() {
        let width = if by == By::Line { LINE_WIDTH } else { FUNCTION_WIDTH };
        cells.push(shortened(group.function.as_deref().unwrap_or("unknown"), width));
    }
    cells
}

fn label_cells(label: &str, by: By) -> Vec<String> {
    let more = match by {
        By::Layer => 0,
        By::Module => 1,
        By::Function | By::Line => 2,
    };
    std::iter::once(label.to_owned()).chain(std::iter::repeat_n(String::new(), more)).collect()
}

//! Phases of an exit: Table 3 of the Xen/VT paper.

use super::json::durations;
use super::{ExitResult, percent, timed};
use crate::numbers::{counted, fine_percent, grouped};
use crate::result_table::{Cell, Column, Kind, Table};
use crate::text_table::{TextTable, wrapped};
use serde_json::{Value, json};
use strata_exits::{BreakdownReport, Distribution, PhaseRow};

/// Name of the time that is of no phase.
const REST: &str = "rest";

/// Phases of exits, and the file that names them.
#[derive(Clone, Debug)]
pub struct ExitPhases {
    /// The file as the user named it.
    pub file: String,
    /// What was broken down.
    pub report: BreakdownReport,
}

impl ExitPhases {
    fn share(&self, row: &PhaseRow) -> Option<f64> {
        percent(row.times.total() as f64, self.report.whole.total() as f64)
    }

    /// The table, and how many exits are in it.
    pub(super) fn to_text(&self, unit: &str) -> String {
        let report = &self.report;
        let mut out = String::new();
        if report.complete() > 0 {
            let mut table = TextTable::new(1);
            let title = report.title.as_deref().unwrap_or("phase");
            table.header([format!("{title}\n"), format!("mean\n{unit}"), "of all\n%".to_owned()]);
            let mean = |times: &Distribution| {
                times.mean().map_or_else(String::new, |mean| grouped(mean.round() as u64))
            };
            for row in &report.rows {
                let name = row.name.as_deref().unwrap_or(REST).to_owned();
                table.row(vec![name, mean(&row.times), fine_percent(self.share(row))]);
            }
            table.rule();
            table.row(vec![
                "all phases".to_owned(),
                mean(&report.whole),
                fine_percent(Some(100.0)),
            ]);
            out.push_str(&table.to_string());
        }
        let mut probes = TextTable::new(1);
        probes.header(["probe", "seen", "first missing in"].map(str::to_owned));
        for probe in &report.probes {
            probes.row(vec![probe.name.clone(), grouped(probe.seen), grouped(probe.missed)]);
        }
        out.push_str(&format!("\n{probes}\n"));
        out.push_str(&wrapped("phases", &self.extent()));
        out
    }

    fn extent(&self) -> String {
        let report = &self.report;
        let missed: u64 = report.probes.iter().map(|probe| probe.missed).sum();
        format!(
            "{} by {}: {} with all probes, {} without one of them, {} with a clock that goes \
             backwards",
            counted(report.taken, "exit"),
            self.file,
            grouped(report.complete()),
            grouped(missed),
            grouped(report.backwards)
        )
    }

    /// What a reader must know besides the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let unseen: Vec<&str> = self
            .report
            .probes
            .iter()
            .filter(|probe| probe.seen == 0)
            .map(|probe| probe.name.as_str())
            .collect();
        let mut notes = Vec::new();
        if !unseen.is_empty() {
            notes.push(format!(
                "the trace never has what {} of {} names: {}",
                if unseen.len() == 1 { "a probe" } else { "some probes" },
                self.file,
                unseen.join(", ")
            ));
        }
        if self.report.taken == 0 {
            notes.push(format!("no exit is as {} asks under [exits]", self.file));
        }
        notes
    }

    pub(super) fn to_json(&self) -> Value {
        let report = &self.report;
        let phases = report.rows.iter().map(|row| {
            let mut keys = durations(&row.times);
            keys.insert("phase".to_owned(), json!(row.name.as_deref().unwrap_or(REST)));
            keys.insert("is_rest".to_owned(), json!(row.name.is_none()));
            keys.insert("percent".to_owned(), json!(self.share(row)));
            Value::Object(keys)
        });
        let probes = report.probes.iter().map(
            |probe| json!({ "probe": probe.name, "seen": probe.seen, "missed": probe.missed }),
        );
        json!({
            "file": self.file,
            "title": report.title,
            "exits": report.taken,
            "complete": report.complete(),
            "backwards": report.backwards,
            "phases": phases.collect::<Vec<_>>(),
            "total": durations(&report.whole),
            "probes": probes.collect::<Vec<_>>(),
        })
    }
}

impl ExitResult {
    /// The phases, a row each; `None` if there was no breakdown.
    pub fn phases_to_table(&self) -> Option<Table<'static>> {
        let phases = self.phases.as_ref()?;
        let unit = self.report.unit;
        let mut columns = Column::texts(["phase"]);
        columns.push(Column::new(timed("mean", unit), Kind::Real));
        columns.push(Column::new("percent", Kind::Real));
        columns.extend(Column::counts(["exits"]));
        for name in ["total", "median", "p95", "p99", "max"] {
            columns.push(Column::new(timed(name, unit), Kind::Whole));
        }
        let rows: Vec<_> = phases
            .report
            .rows
            .iter()
            .map(|row| {
                let times = &row.times;
                let mut cells = vec![
                    Cell::from(row.name.clone().unwrap_or_else(|| REST.to_owned())),
                    Cell::real(times.mean()),
                    Cell::real(phases.share(row)),
                    times.count().into(),
                    times.total().into(),
                ];
                let percentiles = [0.5, 0.95, 0.99].map(|share| times.percentile(share));
                cells.extend(percentiles.map(Cell::whole));
                cells.push(Cell::whole(times.maximum()));
                Ok(cells)
            })
            .collect();
        let report = &phases.report;
        let origin = vec![
            ("source", self.source.clone()),
            ("format", self.format.to_owned()),
            ("phases", phases.file.clone()),
            ("taken", report.taken.to_string()),
            ("complete", report.complete().to_string()),
            ("patches", self.patches.join("; ")),
        ];
        Some(Table::new("exits", origin, columns, rows.into_iter()))
    }
}

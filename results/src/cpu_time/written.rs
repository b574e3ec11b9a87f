//! Time by category as text, JSON and CSV.

use super::{CategoryRow, CpuTimeResult};
use crate::error::Error;
use crate::exit_report::{coverage_lines, json::coverage};
use crate::numbers::{NOT_AVAILABLE, fine_percent, grouped, grouped_if};
use crate::profile_json::to_pretty;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::text_table::{TextTable, wrapped};
use serde::Serialize;
use serde_json::{Number, Value};

/// Scripts rely on these keys: add, never rename.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    source: &'a str,
    format: &'static str,
    machine: Option<&'a str>,
    trace_hash: Option<&'a str>,
    patches: &'a [String],
    notes: Vec<String>,
    rules: String,
    title: Option<&'a str>,
    unit: &'static str,
    is_estimate: bool,
    total: Value,
    categories: Vec<Entry<'a>>,
    coverage: Option<Value>,
}

#[derive(Serialize)]
struct Entry<'a> {
    category: &'a str,
    is_other: bool,
    derived: bool,
    percent: Option<f64>,
    time: Value,
    average: Option<f64>,
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<Entry<'a>>>,
}

/// Whole times as whole numbers.
fn number(time: f64) -> Value {
    let whole = (time.fract() == 0.0 && time < u64::MAX as f64).then(|| Number::from(time as u64));
    whole.or_else(|| Number::from_f64(time)).map_or(Value::Null, Value::Number)
}

impl CpuTimeResult {
    /// A table of the total, and one of each category with parts.
    pub fn to_text(&self) -> String {
        let estimate = if self.is_estimate { ", estimated" } else { "" };
        let mut out = wrapped(
            "input",
            &format!(
                "{}, {}, {} {}{estimate}",
                self.source.name,
                self.source.format,
                grouped(self.total.round() as u64),
                self.unit,
            ),
        );
        let title = self.title.as_deref().unwrap_or("categories");
        out.push_str(&wrapped("rules", &format!("{title} ({})", self.rules.display())));
        out.push('\n');
        out.push_str(&self.table("total time", self.total, &self.rows));
        for row in self.rows.iter().filter(|row| !row.parts.is_empty()) {
            out.push('\n');
            out.push_str(&self.table(&row.name, row.time, &row.parts));
        }
        out.push('\n');
        let parts = self.rows.iter().flat_map(|row| &row.parts);
        if self.rows.iter().chain(parts).any(|row| row.derived) {
            out.push_str(&wrapped("*", "partly derived from direct measurements, the rules say"));
        }
        for line in self.source.coverage.iter().flat_map(coverage_lines) {
            out.push_str(&wrapped("read", &line));
        }
        self.notes().iter().for_each(|note| out.push_str(&wrapped("note", note)));
        out
    }

    fn table(&self, base: &str, whole: f64, rows: &[CategoryRow]) -> String {
        let mut table = TextTable::new(1);
        let unit = self.unit;
        table.header([
            format!("{base}\n"),
            "percent\n".to_owned(),
            format!("average\n{unit}"),
            format!("time\n{unit}"),
            "count\n".to_owned(),
        ]);
        for row in rows {
            let mark = if row.derived { "*" } else { "" };
            let average = row.average().map_or_else(|| NOT_AVAILABLE.to_owned(), average_text);
            table.row(vec![
                format!("{}{mark}", row.name),
                fine_percent(Self::share(row, whole)),
                average,
                grouped(row.time.round() as u64),
                grouped_if(row.count),
            ]);
        }
        table.to_string()
    }

    /// Everything as one object.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let source = &self.source;
        let entry = |row, whole| Entry::new(row, whole);
        to_pretty(&Document {
            schema: 1,
            command: "cputime",
            version: env!("CARGO_PKG_VERSION"),
            source: &source.name,
            format: source.format,
            machine: source.machine.as_deref(),
            trace_hash: source.trace_hash.as_deref(),
            patches: &source.patches,
            notes: self.notes(),
            rules: self.rules.display().to_string(),
            title: self.title.as_deref(),
            unit: self.unit,
            is_estimate: self.is_estimate,
            total: number(self.total),
            categories: self.rows.iter().map(|row| entry(row, self.total)).collect(),
            coverage: source.coverage.as_ref().map(|read| coverage(read, 0)),
        })
    }

    /// A row for each category and each part: `base` names what its share is of.
    pub fn to_table(&self) -> Table<'static> {
        let mut columns = Column::texts(["base", "category", "derived"]);
        for name in ["percent".to_owned(), format!("time_{}", self.unit)] {
            columns.push(Column::new(name, Kind::Real));
        }
        columns.push(Column::new(format!("average_{}", self.unit), Kind::Real));
        columns.push(Column::new("count", Kind::Whole));
        let cells = |base: &str, whole: f64, row: &CategoryRow| {
            let derived = if row.derived { "true" } else { "false" };
            vec![
                base.into(),
                row.name.clone().into(),
                derived.into(),
                Cell::real(Self::share(row, whole)),
                Cell::real(Some(row.time)),
                Cell::real(row.average()),
                Cell::whole(row.count),
            ]
        };
        let mut rows: Vec<_> =
            self.rows.iter().map(|row| Ok(cells("total", self.total, row))).collect();
        for row in &self.rows {
            rows.extend(row.parts.iter().map(|part| Ok(cells(&row.name, row.time, part))));
        }
        let source = &self.source;
        let origin = vec![
            ("source", source.name.clone()),
            ("format", source.format.to_owned()),
            ("machine", source.machine.clone().unwrap_or_default()),
            ("trace_hash", source.trace_hash.clone().unwrap_or_default()),
            ("rules", self.rules.display().to_string()),
            ("patches", source.patches.join("; ")),
        ];
        Table::new("cputime", origin, columns, rows.into_iter())
    }
}

/// A mean with a decimal below a hundred.
fn average_text(average: f64) -> String {
    if average < 100.0 { format!("{average:.2}") } else { grouped(average.round() as u64) }
}

impl<'a> Entry<'a> {
    fn new(row: &'a CategoryRow, whole: f64) -> Self {
        let parts = row.parts.iter().map(|part| Entry::new(part, row.time));
        Entry {
            category: &row.name,
            is_other: row.is_other,
            derived: row.derived,
            percent: CpuTimeResult::share(row, whole),
            time: number(row.time),
            average: row.average(),
            count: row.count,
            parts: (!row.parts.is_empty()).then(|| parts.collect()),
        }
    }
}

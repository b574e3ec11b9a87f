//! A comparison as JSON. Scripts rely on these keys: add, never rename.

use super::result_file::ResultFile;
use super::{CompareSelection, Comparison, Number, Pair, hash};
use crate::error::Error;
use crate::profile_json::to_pretty;
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the layout.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    /// The command that both are results of.
    of: &'a str,
    a: Side<'a>,
    b: Side<'a>,
    /// Settings that differ.
    settings: Vec<SettingEntry<'a>>,
    warnings: Vec<String>,
    totals: Vec<Total<'a>>,
    rows: Vec<Row<'a>>,
    /// Rows that `--top` left out.
    left_out: usize,
}

#[derive(Serialize)]
struct Side<'a> {
    file: String,
    machine: Option<&'a str>,
    semantics: Option<&'a str>,
    trace_hash: Option<&'a str>,
    version: Option<&'a str>,
}

#[derive(Serialize)]
struct SettingEntry<'a> {
    name: &'a str,
    a: Option<&'a str>,
    b: Option<&'a str>,
}

#[derive(Serialize)]
struct Total<'a> {
    metric: &'a str,
    unit: &'a str,
    #[serde(flatten)]
    numbers: Compared,
}

#[derive(Serialize)]
struct Row<'a> {
    table: &'a str,
    key: BTreeMap<&'a str, &'a str>,
    /// `both`, `a` or `b`.
    #[serde(rename = "in")]
    place: &'static str,
    metrics: BTreeMap<&'a str, Compared>,
}

#[derive(Serialize)]
struct Compared {
    a: Option<Number>,
    b: Option<Number>,
    difference: Option<Number>,
    ratio: Option<f64>,
    gain_percent: Option<f64>,
}

impl<'a> Side<'a> {
    fn new(result: &'a ResultFile) -> Self {
        Side {
            file: result.path.display().to_string(),
            machine: result.setting("machine"),
            semantics: result.setting("semantics"),
            trace_hash: hash(result),
            version: result.version.as_deref(),
        }
    }
}

impl Comparison {
    fn compared(&self, metric: &str, pair: Pair) -> Compared {
        Compared {
            a: pair.a,
            b: pair.b,
            difference: pair.difference(),
            ratio: pair.ratio(),
            gain_percent: self.gain_percent(metric, pair),
        }
    }

    /// Everything as one object.
    ///
    /// # Errors
    /// As [`Comparison::to_text`], or [`Error::Format`] if it cannot be written.
    pub fn to_json(&self, selection: &CompareSelection) -> Result<String, Error> {
        self.check(selection)?;
        let tables = self.tables(selection);
        let rows = tables.iter().flat_map(|table| {
            table.rows.iter().map(|row| Row {
                table: table.name,
                key: table.key.iter().zip(row.name).map(|(key, part)| (&**key, &**part)).collect(),
                place: row.place(),
                metrics: table
                    .metrics
                    .iter()
                    .map(|metric| (*metric, self.compared(metric, row.of(metric))))
                    .collect(),
            })
        });
        let settings = self.settings();
        let totals = self.totals(selection).into_iter();
        to_pretty(&Document {
            schema: SCHEMA,
            command: "compare",
            version: env!("CARGO_PKG_VERSION"),
            of: &self.a.command,
            a: Side::new(&self.a),
            b: Side::new(&self.b),
            settings: settings
                .iter()
                .map(|setting| SettingEntry { name: setting.name, a: setting.a, b: setting.b })
                .collect(),
            warnings: self.warnings(),
            totals: totals
                .map(|(metric, pair)| Total {
                    metric,
                    unit: self.unit(metric),
                    numbers: self.compared(metric, pair),
                })
                .collect(),
            left_out: tables.iter().map(|table| table.all - table.rows.len()).sum(),
            rows: rows.collect(),
        })
    }
}

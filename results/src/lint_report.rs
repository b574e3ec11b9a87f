//! Whether published tables agree with themselves, as text, JSON and CSV.

use crate::error::Error;
use crate::numbers::{NOT_AVAILABLE, counted};
use crate::profile_json::to_pretty;
use crate::result_table::{Cell, Column, Kind, Table};
use crate::text_table::{TextTable, wrapped};
use serde::Serialize;
use strata_exits::{Lint, Range, Verdict};

/// Checks of tables, each with the file that it is in.
#[derive(Clone, Debug, Default)]
pub struct LintResult {
    /// File and checks.
    pub tables: Vec<(String, Lint)>,
}

/// Scripts rely on these keys: add, never rename.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'static str,
    version: &'static str,
    contradictions: usize,
    tables: Vec<TableEntry<'a>>,
}

#[derive(Serialize)]
struct TableEntry<'a> {
    source: &'a str,
    title: &'a str,
    contradictions: usize,
    findings: Vec<FindingEntry<'a>>,
}

#[derive(Serialize)]
struct FindingEntry<'a> {
    said: &'a str,
    row: Option<&'a str>,
    verdict: &'static str,
    found: Option<[f64; 2]>,
    expected: Option<[f64; 2]>,
}

/// Ends of a range, where both are finite.
fn ends(range: Option<Range>) -> Option<[f64; 2]> {
    range.map(|range| [range.low, range.high]).filter(|ends| ends.iter().all(|end| end.is_finite()))
}

impl LintResult {
    /// Checks that no number printed so can hold.
    pub fn contradictions(&self) -> usize {
        self.tables.iter().map(|(_, lint)| lint.count(Verdict::Contradiction)).sum()
    }

    /// What does not hold (with `all`, every check), table by table.
    pub fn to_text(&self, all: bool) -> String {
        let mut out = String::new();
        for (source, lint) in &self.tables {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&wrapped("table", &format!("{} ({source})", lint.title)));
            let shown: Vec<_> = lint
                .findings
                .iter()
                .filter(|finding| all || finding.verdict != Verdict::Holds)
                .collect();
            if !shown.is_empty() {
                let mut table = TextTable::new(5);
                table.header(["", "check", "row", "found", "expected"].map(str::to_owned));
                for finding in shown {
                    let range = |range: Option<Range>| {
                        range.map_or_else(|| NOT_AVAILABLE.to_owned(), |range| range.to_string())
                    };
                    table.row(vec![
                        finding.verdict.name().to_owned(),
                        finding.said.clone(),
                        finding.row.clone().unwrap_or_default(),
                        range(finding.found),
                        range(finding.expected),
                    ]);
                }
                out.push_str(&table.to_string());
            }
            let verdict = format!(
                "{}, {} of them, {} uncertain",
                counted(lint.findings.len() as u64, "check"),
                counted(lint.count(Verdict::Contradiction) as u64, "contradiction"),
                lint.count(Verdict::Uncertain)
            );
            out.push_str(&wrapped("checks", &verdict));
        }
        out
    }

    /// One object with everything.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let tables = self.tables.iter().map(|(source, lint)| TableEntry {
            source,
            title: &lint.title,
            contradictions: lint.count(Verdict::Contradiction),
            findings: lint
                .findings
                .iter()
                .map(|finding| FindingEntry {
                    said: &finding.said,
                    row: finding.row.as_deref(),
                    verdict: finding.verdict.name(),
                    found: ends(finding.found),
                    expected: ends(finding.expected),
                })
                .collect(),
        });
        to_pretty(&Document {
            schema: 1,
            command: "lint",
            version: env!("CARGO_PKG_VERSION"),
            contradictions: self.contradictions(),
            tables: tables.collect(),
        })
    }

    /// A row for each check.
    pub fn to_table(&self) -> Table<'static> {
        let mut columns = Column::texts(["table", "said", "row", "verdict"]);
        for name in ["found_low", "found_high", "expected_low", "expected_high"] {
            columns.push(Column::new(name, Kind::Real));
        }
        let mut rows = Vec::new();
        for (source, lint) in &self.tables {
            for finding in &lint.findings {
                let [found, expected] = [finding.found, finding.expected].map(ends);
                let end = |ends: Option<[f64; 2]>, at: usize| Cell::real(ends.map(|ends| ends[at]));
                rows.push(Ok(vec![
                    source.clone().into(),
                    finding.said.clone().into(),
                    Cell::text(finding.row.as_deref()),
                    finding.verdict.name().into(),
                    end(found, 0),
                    end(found, 1),
                    end(expected, 0),
                    end(expected, 1),
                ]));
            }
        }
        Table::new("lint", Vec::new(), columns, rows.into_iter())
    }
}

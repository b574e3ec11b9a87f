//! What a figure was drawn from.

use crate::profile_report::ProfileReport;
use crate::result_table::{Cell, Column, Table};

/// Rows of a figure.
#[derive(Clone, Debug, Default)]
pub(super) struct FigureData {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Machine, trace and the like.
    pub(super) origin: Vec<(&'static str, String)>,
}

impl FigureData {
    /// Rows of what `report` was replayed for.
    pub(super) fn new(report: &ProfileReport, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        FigureData { columns, rows, origin: report.origin() }
    }

    /// As a table that can be written.
    pub(super) fn table(&self) -> Table<'_> {
        let rows = self.rows.iter().map(|row| Ok(row.clone()));
        Table::new("reproduce", self.origin.clone(), self.columns.clone(), rows).carrying(&[
            ("machine", "machine"),
            ("trace_hash", "trace_hash"),
            ("semantics", "semantics"),
            ("command", "command"),
            ("version", "version"),
            ("units", "units"),
        ])
    }
}

//! The rows as a table for CSV and Parquet.

use super::{ExitResult, by_name, isa_name, timed, window_name};
use crate::result_table::{Cell, Column, Kind, Table};
use strata_exits::{Row, Sums};

impl ExitResult {
    /// A row for each row, and for each part of one: `part` names it.
    pub fn to_table(&self, top: Option<usize>) -> Table<'static> {
        let report = &self.report;
        let mut columns = Column::texts(["key", "part"]);
        columns.push(Column::new("count", Kind::Whole));
        for share in
            ["count_percent", "time_percent", "listed_count_percent", "listed_time_percent"]
        {
            columns.push(Column::new(share, Kind::Real));
        }
        columns.push(Column::new("elapsed_percent", Kind::Real));
        columns.push(Column::new(timed("total", report.unit), Kind::Whole));
        columns.push(Column::new(timed("mean", report.unit), Kind::Real));
        for name in ["median", "p95", "p99", "max", "min", "blocked", "preempted"] {
            columns.push(Column::new(timed(name, report.unit), Kind::Whole));
        }
        columns.extend(Column::counts(["userspace", "interrupted"]));
        let edges = &report.options.edges;
        if let (Some(first), Some(last)) = (edges.first(), edges.last()) {
            columns.extend(Column::counts([format!("below_{first}")]));
            columns.extend(Column::counts(
                edges.windows(2).map(|e| format!("from_{}_below_{}", e[0], e[1])),
            ));
            columns.extend(Column::counts([format!("from_{last}")]));
        }
        let shown = report.rows.iter().take(top.unwrap_or(usize::MAX));
        let rows: Vec<_> = shown
            .flat_map(|row| {
                let parts =
                    row.parts.iter().map(|part| self.csv_cells(&row.name, Some(&part.name), part));
                std::iter::once(self.csv_cells(&row.name, None, row))
                    .chain(parts)
                    .collect::<Vec<_>>()
            })
            .map(Ok)
            .collect();
        let origin = vec![
            ("source", self.source.clone()),
            ("format", self.format.to_owned()),
            ("by", by_name(report.options.by).to_owned()),
            ("semantics", window_name(report.options.window).to_owned()),
            ("isa", isa_name(report.isa).unwrap_or_default().to_owned()),
            ("unmatched", report.unmatched.all_exits().to_string()),
            ("lost", report.coverage.lost.to_string()),
            ("patches", self.patches.join("; ")),
        ];
        Table::new("exits", origin, columns, rows.into_iter())
    }

    fn csv_cells(&self, key: &str, part: Option<&str>, row: &Row) -> Vec<Cell> {
        let Sums { durations, blocked, preempted, userspace, interrupted, bins, .. } = &row.sums;
        let shares = self.shares(row);
        let mut cells = vec![
            key.into(),
            Cell::text(part),
            durations.count().into(),
            Cell::real(shares.count),
            Cell::real(shares.time),
            Cell::real(shares.listed_count),
            Cell::real(shares.listed_time),
            Cell::real(shares.elapsed),
            durations.total().into(),
            Cell::real(durations.mean()),
        ];
        for share in [0.5, 0.95, 0.99] {
            cells.push(Cell::whole(durations.percentile(share)));
        }
        cells.push(Cell::whole(durations.maximum()));
        cells.push(Cell::whole(durations.minimum()));
        cells.push(Cell::whole(self.waiting(*blocked)));
        cells.push(Cell::whole(self.waiting(*preempted)));
        cells.push(Cell::whole(self.told_userspace(*userspace)));
        cells.push((*interrupted).into());
        cells.extend(bins.iter().map(|&count| Cell::Whole(count)));
        cells
    }
}

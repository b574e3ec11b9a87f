//! A comparison as CSV: a row for each number of each row.

use super::{CompareSelection, Comparison, Number, Pair};
use crate::error::Error;
use crate::result_table::{Cell, Column, Kind, Table};

impl Comparison {
    /// Totals, then rows, with what differs in how the two came about.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a metric that neither result has.
    pub fn to_table(&self, selection: &CompareSelection) -> Result<Table<'_>, Error> {
        self.check(selection)?;
        let mut columns = Column::texts(["table", "row", "in", "metric", "unit"]);
        let reals = ["a", "b", "difference", "ratio", "gain_percent"];
        columns.extend(reals.map(|name| Column::new(name, Kind::Real)));
        let mut rows = Vec::new();
        let mut add = |names: [&str; 3], metric: &str, pair: Pair| {
            let mut row: Vec<Cell> = names.map(Cell::from).into();
            row.extend([Cell::from(metric), self.unit(metric).into()]);
            row.extend([pair.a, pair.b, pair.difference()].map(cell));
            row.push(Cell::real(pair.ratio()));
            row.push(Cell::real(self.gain_percent(metric, pair)));
            rows.push(Ok(row));
        };
        for (metric, pair) in self.totals(selection) {
            add(["total", "", "both"], metric, pair);
        }
        for table in self.tables(selection) {
            for row in &table.rows {
                let name = row.name.join(" | ");
                for metric in &table.metrics {
                    add([table.name, &name, row.place()], metric, row.of(metric));
                }
            }
        }
        let mut origin = vec![("of", self.a.command.clone())];
        for (key_a, key_b, name) in [
            ("a_machine", "b_machine", "machine"),
            ("a_semantics", "b_semantics", "semantics"),
            ("a_trace_hash", "b_trace_hash", "trace_hash"),
        ] {
            let text = |setting: Option<&str>| setting.unwrap_or_default().to_owned();
            origin.push((key_a, text(self.a.setting(name))));
            origin.push((key_b, text(self.b.setting(name))));
        }
        Ok(Table::new("compare", origin, columns, rows.into_iter()))
    }
}

/// Whole numbers stay whole in CSV.
fn cell(number: Option<Number>) -> Cell {
    match number {
        None => Cell::Missing,
        Some(Number::Real(number)) => Cell::Real(number),
        Some(Number::Whole(number)) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => Cell::Whole(number),
            (_, Ok(number)) => Cell::Signed(number),
            _ => Cell::Real(number as f64),
        },
    }
}

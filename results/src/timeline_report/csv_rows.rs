//! A timeline as rows: one of its tables.

use super::TimelineReport;
use crate::result_table::{Cell, Column, Kind, Table};
use strata_sim::Estimate;

/// Which table of a timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimelineRows {
    /// A row for each window.
    #[default]
    Windows,
    /// A row for each window and layer.
    Layers,
    /// A row for each mark.
    Marks,
    /// A row for each kind of event, distance from it, and structure.
    After,
    /// A row for each kind of event and structure.
    Correlation,
}

impl TimelineReport {
    /// One of its tables.
    pub fn to_table(&self, rows: TimelineRows) -> Table<'_> {
        let (columns, rows) = match rows {
            TimelineRows::Windows => self.window_rows(),
            TimelineRows::Layers => self.layer_rows(),
            TimelineRows::Marks => self.mark_rows(),
            TimelineRows::After => self.after_rows(),
            TimelineRows::Correlation => self.correlation_rows(),
        };
        Table::new("timeline", self.report.origin(), columns, rows.into_iter().map(Ok)).carrying(&[
            ("machine", "machine"),
            ("trace_hash", "trace_hash"),
            ("semantics", "semantics"),
            ("command", "command"),
            ("version", "version"),
            ("units", "units"),
        ])
    }

    fn window_rows(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let structures = self.structures();
        let kinds = &self.timeline.options.marks;
        let mut columns = Column::counts(["from", "to"]);
        columns.extend(Column::counts(structures.iter().map(|s| format!("{}_misses", s.key()))));
        columns
            .extend(Column::counts(structures.iter().map(|s| format!("{}_cumulative", s.key()))));
        columns.extend(Column::counts(kinds.iter().map(|kind| kind.name().replace('-', "_"))));
        let rows = self.windows().map(|(window, sum, marks)| {
            let count = |kind| marks.iter().filter(|mark| mark.kind == kind).count() as u64;
            let mut row = vec![window.from.into(), window.to.into()];
            row.extend(structures.iter().map(|s| Cell::from(s.misses(&window.misses))));
            row.extend(structures.iter().map(|s| Cell::from(s.misses(&sum))));
            row.extend(kinds.iter().map(|&kind| Cell::from(count(kind))));
            row
        });
        (columns, rows.collect())
    }

    fn layer_rows(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let structures = self.structures();
        let mut columns = Column::counts(["from", "to"]);
        columns.extend(Column::texts(["layer"]));
        columns.extend(Column::counts(structures.iter().map(|s| format!("{}_misses", s.key()))));
        let rows = self.timeline.windows.iter().flat_map(|window| {
            let layers = self.timeline.layers.iter().zip(&window.by_layer);
            layers.map(|(layer, misses)| {
                let mut row = vec![window.from.into(), window.to.into(), layer.to_string().into()];
                row.extend(structures.iter().map(|s| Cell::from(s.misses(misses))));
                row
            })
        });
        (columns, rows.collect())
    }

    fn mark_rows(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let mut columns = Column::counts(["at"]);
        columns.extend(Column::texts(["kind"]));
        columns.extend(Column::counts(["operations"]));
        let marks = self.timeline.marks.iter();
        let row = |mark: &strata_sim::Mark| {
            vec![mark.at.into(), mark.kind.to_string().into(), mark.operations.into()]
        };
        (columns, marks.map(row).collect())
    }

    fn after_rows(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let mut columns = Column::texts(["kind"]);
        columns.extend(Column::counts(["events", "from", "to"]));
        columns.extend(Column::texts(["structure"]));
        columns
            .extend(["mean", "low", "high", "anywhere"].map(|name| Column::new(name, Kind::Real)));
        let structures = self.structures();
        let mut rows = Vec::new();
        for after in &self.timeline.after {
            for bin in &after.bins {
                for &structure in &structures {
                    let Estimate { mean, half_width } = bin.misses[structure as usize];
                    let end = |sign: f64| Cell::real(half_width.map(|half| mean + sign * half));
                    rows.push(vec![
                        after.kind.to_string().into(),
                        after.events.into(),
                        bin.from.into(),
                        bin.to.into(),
                        structure.key().into(),
                        Cell::Real(mean),
                        end(-1.0),
                        end(1.0),
                        Cell::Real(bin.anywhere[structure as usize]),
                    ]);
                }
            }
        }
        (columns, rows)
    }

    fn correlation_rows(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let mut columns = Column::texts(["kind"]);
        columns.extend(Column::counts(["events", "near_instructions"]));
        columns.extend(Column::texts(["structure"]));
        columns.extend(Column::counts(["near_misses"]));
        columns.extend(["lift", "pearson"].map(|name| Column::new(name, Kind::Real)));
        let mut rows = Vec::new();
        for figures in &self.timeline.correlations {
            for structure in self.structures() {
                rows.push(vec![
                    figures.kind.to_string().into(),
                    figures.events.into(),
                    figures.near_instructions.into(),
                    structure.key().into(),
                    structure.misses(&figures.near_misses).into(),
                    Cell::real(figures.lift[structure as usize]),
                    Cell::real(figures.pearson[structure as usize]),
                ]);
            }
        }
        (columns, rows)
    }
}

//! What a chart draws, as rows.

use super::{Axis, LineChart};
use crate::result_table::{Cell, Column, Kind, Table};

impl LineChart {
    /// Panel, line, x, value and the ends of the band; of marks x only.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns = Column::texts(["panel", "series"]);
        let numbers = [self.x.title(), "value".to_owned(), "low".to_owned(), "high".to_owned()];
        columns.extend(numbers.map(|name| Column::new(name, Kind::Real)));
        columns
    }

    /// A row for each point and mark.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Vec<Cell>> {
        let points = self.panels.iter().flat_map(|panel| {
            let title = Axis::title(&panel.y);
            panel.series.iter().flat_map(move |series| {
                let title = title.clone();
                series.points.iter().enumerate().map(move |(i, &(x, y))| {
                    let band = series.band.get(i);
                    vec![
                        title.clone().into(),
                        series.name.clone().into(),
                        Cell::Real(x),
                        Cell::Real(y),
                        Cell::real(band.map(|band| band.0)),
                        Cell::real(band.map(|band| band.1)),
                    ]
                })
            })
        });
        let marks = self.lanes.iter().flat_map(|lane| {
            lane.at.iter().map(|&x| {
                let place = [Cell::Real(x), Cell::Missing, Cell::Missing, Cell::Missing];
                ["marks".into(), lane.name.clone().into()].into_iter().chain(place).collect()
            })
        });
        points.chain(marks)
    }

    /// The same as a table, each row with machine and trace.
    pub(super) fn to_table(&self) -> Table<'_> {
        let origin = vec![
            ("machine", self.source.machine.clone()),
            ("trace_hash", self.source.trace_hash.clone().unwrap_or_default()),
        ];
        Table::new("timeline", origin, self.columns(), self.rows().map(Ok))
            .carrying(&[("machine", "machine"), ("trace_hash", "trace_hash")])
    }
}

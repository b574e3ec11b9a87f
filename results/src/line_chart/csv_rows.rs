//! What a chart draws, as CSV.

use super::{Axis, LineChart};
use crate::document_head::csv_error;
use crate::error::Error;

/// A row for each point (its panel, line, x, y, and the band's ends) and each mark (x only).
pub(super) fn csv(chart: &LineChart) -> Result<String, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let x_name = chart.x.title();
    let header = ["panel", "series", &x_name, "value", "low", "high", "machine", "trace_hash"];
    writer.write_record(header).map_err(csv_error)?;
    let machine = &chart.source.machine;
    let hash = chart.source.trace_hash.as_deref().unwrap_or("");
    let mut row = |panel: &str, series: &str, x: f64, values: [Option<f64>; 3]| {
        let [y, low, high] = values.map(|value| value.map_or_else(String::new, |y| y.to_string()));
        let fields = [panel, series, &x.to_string(), &y, &low, &high, machine, hash];
        writer.write_record(fields).map_err(csv_error)
    };
    for panel in &chart.panels {
        let title = Axis::title(&panel.y);
        for series in &panel.series {
            for (i, &(x, y)) in series.points.iter().enumerate() {
                let band = series.band.get(i);
                let ends = [Some(y), band.map(|band| band.0), band.map(|band| band.1)];
                row(&title, &series.name, x, ends)?;
            }
        }
    }
    for lane in &chart.lanes {
        for &x in &lane.at {
            row("marks", &lane.name, x, [None; 3])?;
        }
    }
    let failed = |message: String| Error::Format { format: "CSV", message };
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

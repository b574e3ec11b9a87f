//! A timeline as CSV: one of its tables.

use super::TimelineReport;
use crate::document_head::csv_error;
use crate::error::Error;

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

/// An empty field stands for what is not known.
fn field(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

impl TimelineReport {
    /// One of its tables.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_csv(&self, rows: TimelineRows) -> Result<String, Error> {
        let (header, rows) = match rows {
            TimelineRows::Windows => self.window_rows(),
            TimelineRows::Layers => self.layer_rows(),
            TimelineRows::Marks => self.mark_rows(),
            TimelineRows::After => self.after_rows(),
            TimelineRows::Correlation => self.correlation_rows(),
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let ends = ["machine", "trace_hash"].map(str::to_owned);
        writer.write_record(header.into_iter().chain(ends)).map_err(csv_error)?;
        let machine = self.report.profile.machine.name();
        let hash = self.report.provenance.trace_hash.as_deref().unwrap_or("");
        for row in rows {
            let ends = [machine, hash].map(str::to_owned);
            writer.write_record(row.into_iter().chain(ends)).map_err(csv_error)?;
        }
        let failed = |message: String| Error::Format { format: "CSV", message };
        let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
    }

    fn window_rows(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let structures = self.structures();
        let kinds = &self.timeline.options.marks;
        let mut header = ["from", "to"].map(str::to_owned).to_vec();
        header.extend(structures.iter().map(|s| format!("{}_misses", s.key())));
        header.extend(structures.iter().map(|s| format!("{}_cumulative", s.key())));
        header.extend(kinds.iter().map(|kind| kind.name().replace('-', "_")));
        let rows = self.windows().map(|(window, sum, marks)| {
            let count = |kind| marks.iter().filter(|mark| mark.kind == kind).count();
            let mut row = vec![window.from.to_string(), window.to.to_string()];
            row.extend(structures.iter().map(|s| s.misses(&window.misses).to_string()));
            row.extend(structures.iter().map(|s| s.misses(&sum).to_string()));
            row.extend(kinds.iter().map(|&kind| count(kind).to_string()));
            row
        });
        (header, rows.collect())
    }

    fn layer_rows(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let structures = self.structures();
        let mut header = ["from", "to", "layer"].map(str::to_owned).to_vec();
        header.extend(structures.iter().map(|s| format!("{}_misses", s.key())));
        let rows = self.timeline.windows.iter().flat_map(|window| {
            let layers = self.timeline.layers.iter().zip(&window.by_layer);
            layers.map(|(layer, misses)| {
                let names = [window.from.to_string(), window.to.to_string(), layer.to_string()];
                let numbers = structures.iter().map(|s| s.misses(misses).to_string());
                names.into_iter().chain(numbers).collect::<Vec<_>>()
            })
        });
        (header, rows.collect())
    }

    fn mark_rows(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let header = ["at", "kind", "operations"].map(str::to_owned).to_vec();
        let rows = self.timeline.marks.iter().map(|mark| {
            vec![mark.at.to_string(), mark.kind.to_string(), mark.operations.to_string()]
        });
        (header, rows.collect())
    }

    fn after_rows(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let header =
            ["kind", "events", "from", "to", "structure", "mean", "low", "high", "anywhere"];
        let structures = self.structures();
        let mut rows = Vec::new();
        for after in &self.timeline.after {
            for bin in &after.bins {
                for &structure in &structures {
                    let estimate = bin.misses[structure as usize];
                    let end =
                        |sign: f64| estimate.half_width.map(|half| estimate.mean + sign * half);
                    rows.push(vec![
                        after.kind.to_string(),
                        after.events.to_string(),
                        bin.from.to_string(),
                        bin.to.to_string(),
                        structure.key().to_owned(),
                        estimate.mean.to_string(),
                        field(end(-1.0)),
                        field(end(1.0)),
                        bin.anywhere[structure as usize].to_string(),
                    ]);
                }
            }
        }
        (header.map(str::to_owned).to_vec(), rows)
    }

    fn correlation_rows(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let header =
            ["kind", "events", "near_instructions", "structure", "near_misses", "lift", "pearson"];
        let mut rows = Vec::new();
        for figures in &self.timeline.correlations {
            for structure in self.structures() {
                rows.push(vec![
                    figures.kind.to_string(),
                    figures.events.to_string(),
                    figures.near_instructions.to_string(),
                    structure.key().to_owned(),
                    structure.misses(&figures.near_misses).to_string(),
                    field(figures.lift[structure as usize]),
                    field(figures.pearson[structure as usize]),
                ]);
            }
        }
        (header.map(str::to_owned).to_vec(), rows)
    }
}

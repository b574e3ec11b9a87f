//! Rows of a sweep written in order, those of a table or CSV as soon as all before them are there.

use crate::output_args::{OutputArgs, TableFormat, Written, print};
use strata_results::{SweepReport, SweepRow};

/// Rows that come in any order.
pub(crate) struct RowWriter {
    pub(crate) report: SweepReport,
    format: TableFormat,
    /// Whether rows go to standard output at once.
    streams: bool,
    rows: Vec<Option<SweepRow>>,
    /// Rows written.
    written: usize,
    text: String,
}

impl RowWriter {
    pub(crate) fn new(report: SweepReport, format: TableFormat, streams: bool) -> Self {
        RowWriter { report, format, streams, rows: Vec::new(), written: 0, text: String::new() }
    }

    /// Takes the row of a point.
    pub(crate) fn put(&mut self, point: usize, row: SweepRow) {
        if self.rows.len() <= point {
            self.rows.resize(point + 1, None);
        }
        self.rows[point] = Some(row);
    }

    /// Writes the rows whose turn it is.
    ///
    /// # Errors
    /// If nobody reads any more, or the system refuses.
    pub(crate) fn write(&mut self) -> anyhow::Result<()> {
        while let Some(Some(row)) = self.rows.get(self.written) {
            let is_first = self.written == 0;
            match self.format {
                TableFormat::Table => {
                    if is_first {
                        self.text += &self.report.head_text(row);
                        self.text.push('\n');
                        self.text += &self.report.table_header();
                    }
                    self.text += &self.report.table_row(row);
                }
                TableFormat::Csv => self.text += &self.report.csv_row(row, is_first)?,
                TableFormat::Json | TableFormat::Parquet => {}
            }
            self.written += 1;
        }
        if self.streams { print(&std::mem::take(&mut self.text)) } else { Ok(()) }
    }

    /// Writes what comes after the last row. Gives what was written.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub(crate) fn end(
        mut self,
        output: &OutputArgs,
    ) -> anyhow::Result<(SweepReport, Vec<SweepRow>)> {
        self.write()?;
        let rows: Vec<SweepRow> = self.rows.into_iter().flatten().collect();
        match self.format {
            TableFormat::Json => {
                output.write_with(|out| self.report.write_json(&rows, out))?;
            }
            TableFormat::Parquet => {
                output.put(Written::Parquet(self.report.to_table(&rows)))?;
            }
            TableFormat::Table => {
                let foot = rows.first().map(|row| self.report.foot_text(row)).unwrap_or_default();
                if !foot.is_empty() {
                    self.text.push('\n');
                    self.text += &foot;
                }
                output.write(&self.text)?;
            }
            TableFormat::Csv => output.write(&self.text)?,
        }
        Ok((self.report, rows))
    }
}

//! Line charts: panels above each other over one x axis, with marks of events below.
//!
//! One chart gives its SVG, its PNG and the CSV of what is drawn. Lines differ in colour, in dashes
//! and, where points are few, in the shape of the points, so that each is told apart with any colour
//! vision and in grey.

mod axis;
pub(crate) mod canvas;
mod chart_file;
mod csv_rows;
mod drawing;
mod style;
mod thinning;

pub use axis::{Axis, Labels, Scale};
pub use chart_file::ChartFile;

use crate::error::Error;
use crate::output::OutputFolder;
use crate::picture::png_of_svg;

/// A chart. Points that are not finite, or not positive on a logarithmic axis, are not drawn.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// What a reader must know besides, such as workload and machine.
    pub subtitle: String,
    /// The axis that all panels share.
    pub x: Axis,
    /// From top to bottom.
    pub panels: Vec<Panel>,
    /// Marks below the panels, each kind in a lane of its own.
    pub lanes: Vec<Lane>,
    /// What it was made from; written below it and in its CSV.
    pub source: ChartSource,
}

/// What a chart was made from.
#[derive(Clone, Debug, Default)]
pub struct ChartSource {
    /// Name of the machine; empty where there is none.
    pub machine: String,
    /// Digest of the trace; `None` if it was not read to its end.
    pub trace_hash: Option<String>,
}

/// Lines with a y axis of their own.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its y axis.
    pub y: Axis,
    /// Its lines. Up to eight names in a chart, references aside, no two look alike; the same name
    /// looks the same in all panels.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points, by x.
    pub points: Vec<(f64, f64)>,
    /// Lowest and highest value at each point, drawn as a band; empty where there are none.
    pub band: Vec<(f64, f64)>,
    /// How it is drawn.
    pub form: Form,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Points joined by lines.
    Line,
    /// Each value holds from its point to the next one.
    Steps,
    /// What the line before is compared with: thin, dotted, in the colour of that line.
    Reference,
}

/// Events of one kind.
#[derive(Clone, Debug)]
pub struct Lane {
    /// What is written beside it.
    pub name: String,
    /// Where they happened, ascending.
    pub at: Vec<f64>,
    /// Whether they are drawn through the panels too, where they are few enough to be seen apart.
    pub through: bool,
}

impl Series {
    /// Points joined by lines.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Series { name: name.into(), points, band: Vec::new(), form: Form::Line }
    }
}

impl LineChart {
    /// Whether lines of different names look alike, since there are more than there are looks.
    pub fn has_lookalikes(&self) -> bool {
        drawing::names(self).len() > style::LOOKS
    }

    /// As SVG.
    ///
    /// # Errors
    /// [`Error::Format`] if the drawing library fails, which it has no reason to.
    pub fn to_svg(&self) -> Result<String, Error> {
        drawing::svg(self)
    }

    /// As PNG: the SVG with twice as many pixels each way.
    ///
    /// # Errors
    /// As [`LineChart::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        png_of_svg(&self.to_svg()?)
    }

    /// Everything that is drawn: a row for each point and mark.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be written.
    pub fn to_csv(&self) -> Result<String, Error> {
        self.to_table().to_csv()
    }

    /// Adds `stem.svg`, `stem.png` and `stem.csv` to a folder.
    ///
    /// # Errors
    /// As [`LineChart::to_svg`], and those of [`OutputFolder::write`].
    pub fn write_to(&self, folder: &mut OutputFolder, stem: &str) -> Result<(), Error> {
        let svg = self.to_svg()?;
        folder.write(&format!("{stem}.png"), &png_of_svg(&svg)?)?;
        folder.write(&format!("{stem}.svg"), svg.as_bytes())?;
        folder.write(&format!("{stem}.csv"), self.to_csv()?.as_bytes())
    }
}

#[cfg(test)]
mod tests;

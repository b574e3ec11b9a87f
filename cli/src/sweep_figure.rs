//! The figure of a sweep.

use crate::output_args::OutputArgs;
use crate::talk::TalkArgs;
use anyhow::bail;
use strata_results::{ChartFile, Error, FigureAxis, LineChart, SweepReport};

/// What is drawn of a sweep, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SweepFigureArgs {
    /// Draw misses over the swept values, with the CSV of what is drawn beside it
    #[arg(long, value_name = "FILE.svg|png", value_parser = str::parse::<ChartFile>)]
    figure: Option<ChartFile>,
    /// Parameter to draw over, as in dtlb.entries [default: the first that has several numbers]
    #[arg(long, value_name = "KEY", requires = "figure")]
    over: Option<String>,
    /// Replace the figure if it exists
    #[arg(long, requires = "figure")]
    force_figure: bool,
}

impl SweepFigureArgs {
    /// Finds out before the sweep what the figure is drawn over, if there is to be one.
    ///
    /// # Errors
    /// If nothing is swept that it could be drawn over, or its files may not be written.
    pub(crate) fn check(
        &self,
        report: &SweepReport,
        output: &OutputArgs,
    ) -> anyhow::Result<Option<FigureAxis>> {
        let Some(file) = &self.figure else { return Ok(None) };
        match file.check(self.force_figure) {
            Err(Error::Exists { path }) => bail!(
                "{}: exists already; give another name, or --force-figure to replace it",
                path.display()
            ),
            checked => checked?,
        }
        if let Some(path) = file.paths().into_iter().find(|path| output.file() == Some(path)) {
            bail!(
                "{}: the figure, or its CSV, would take the place of the result; give another name",
                path.display()
            );
        }
        Ok(Some(report.figure_axis(self.over.as_deref())?))
    }

    /// Draws the figure.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn draw(&self, chart: &LineChart, talk: TalkArgs) -> anyhow::Result<()> {
        let Some(file) = &self.figure else { return Ok(()) };
        file.write(chart, self.force_figure)?;
        let [picture, csv] = file.paths();
        talk.note(&format!("drew {}, its numbers are in {}", picture.display(), csv.display()));
        if chart.has_lookalikes() {
            talk.note("some of its lines look alike; sweep fewer values beside those drawn over");
        }
        Ok(())
    }
}

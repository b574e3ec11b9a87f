//! The figures of the VEE'07 paper (V. Chadha et al., *I/O Processing in a Virtualized Platform: A
//! Simulation-Driven Approach*) from captures, each under its number, and one page with all of them.

mod data;
mod drawings;
mod flows;
mod life;
mod method;
mod over_time;
mod page;
mod published;
mod shapes;
mod sheet;
mod size_shapes;
mod specs;
mod sweeps;
mod table_picture;
mod tables;

pub use flows::PaperCalls;
pub use shapes::{Shape, Verdict};

use crate::error::Error;
use crate::line_chart::ChartSource;
use crate::output::OutputFolder;
use crate::picture::png_of_svg;
use crate::profile_report::ProfileReport;
use crate::result_table::{Column, Table};
use crate::sweep_report::SweepRow;
use data::FigureData;
use flows::PaperFlows;
use rayon::prelude::*;
use shapes::Evidence;
use strata_sim::{LifeReport, Timeline};
use strata_workloads::manifest::CaptureManifest;

/// Sweeps of a capture, or why there are none.
pub struct PaperSweeps {
    /// What was swept, with the counts of the machine itself; its rows may be missing.
    pub report: ProfileReport,
    /// By size of the L2.
    pub l2: Result<Vec<SweepRow>, String>,
    /// By entries of both TLBs, for several tag schemes.
    pub tlbs: Result<Vec<SweepRow>, String>,
}

/// What was found of the capture that most figures are from, or why not.
pub struct PaperCapture {
    /// Its replay.
    pub report: ProfileReport,
    /// Its calls.
    pub calls: Result<PaperCalls, String>,
    /// Lives of packets in it.
    pub lives: Result<LifeReport, String>,
    /// Its misses over time.
    pub timeline: Result<Timeline, String>,
    /// Its sweeps.
    pub sweeps: PaperSweeps,
    /// Those of a capture that receives, or why there are none.
    pub receive: Result<PaperSweeps, String>,
}

/// A figure that was drawn.
struct DrawnFigure {
    svg: String,
    data: FigureData,
    /// Sentences with numbers from the data.
    findings: Vec<String>,
}

/// A figure of the paper.
struct PaperFigure {
    /// `13`, `11a`.
    number: &'static str,
    title: &'static str,
    /// What it shows in the paper.
    paper: &'static str,
    /// The command that tells more.
    command: &'static str,
    outcome: Result<DrawnFigure, String>,
}

/// All figures with what they say.
pub struct PaperReport<'c> {
    capture: &'c PaperCapture,
    figures: Vec<PaperFigure>,
    shapes: Vec<Shape>,
}

/// What a figure is from.
struct FigureSource<'s> {
    report: &'s ProfileReport,
    /// `Figure 13`.
    figure: String,
}

impl<'s> FigureSource<'s> {
    fn new(report: &'s ProfileReport, number: &str) -> Self {
        FigureSource { report, figure: Self::label(number) }
    }

    /// `Figure 13`, `Figure 11 (a)`.
    fn label(number: &str) -> String {
        match number.strip_suffix(char::is_alphabetic) {
            Some(whole) => format!("Figure {whole} ({})", &number[whole.len()..]),
            None => format!("Figure {number}"),
        }
    }

    fn title(&self, text: &str) -> String {
        format!("{}: {text}, {}", self.figure, self.report.provenance.title())
    }

    fn workload(&self) -> String {
        let manifest = self.report.provenance.manifest.as_ref();
        manifest.map(|manifest| manifest.guest_command.clone()).unwrap_or_default()
    }

    fn of_chart(&self) -> ChartSource {
        ChartSource {
            machine: self.report.profile.machine.name().to_owned(),
            trace_hash: self.report.provenance.trace_hash.clone(),
        }
    }

    fn line(&self) -> String {
        self.of_chart().line()
    }
}

impl<'c> PaperReport<'c> {
    /// Draws all figures.
    ///
    /// # Errors
    /// [`Error::Replay`] if rows cannot be read, [`Error::Identity`] if one breaks a law.
    pub fn new(capture: &'c PaperCapture) -> Result<Self, Error> {
        let flows = match &capture.calls {
            Ok(calls) => Ok(PaperFlows::find(calls)?),
            Err(why) => Err(why.clone()),
        };
        let mut figures = drawings::of_calls(capture, flows.as_ref())?;
        figures.extend(drawings::over_time(capture)?);
        figures.extend(drawings::of_sizes(capture)?);
        let evidence = evidence(capture, flows.as_ref().ok())?;
        let shapes = shapes::shapes(&capture.report, &evidence);
        Ok(PaperReport { capture, figures, shapes })
    }

    /// The paper's shapes held against these.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// How many pictures there are to write.
    pub fn pictures(&self) -> u64 {
        let drawn = self.figures.iter().filter(|figure| figure.outcome.is_ok()).count();
        (drawn + usize::from(!self.parts_of_11().is_empty())) as u64
    }

    /// Numbers of figures that were not drawn, each with the reason.
    pub fn not_drawn(&self) -> Vec<(&'static str, &str)> {
        let figures = self.figures.iter();
        figures.filter_map(|f| Some((f.number, f.outcome.as_ref().err()?.as_str()))).collect()
    }

    /// Writes each figure as SVG, PNG and CSV (with `parquet` as Parquet too) into a folder; `done`
    /// is told of each.
    ///
    /// # Errors
    /// [`Error::Unwritable`], [`Error::Foreign`] and [`Error::Format`] if one cannot be written.
    pub fn write_figures(
        &self,
        folder: &mut OutputFolder,
        done: impl Fn() + Sync,
    ) -> Result<(), Error> {
        let mut pictures: Vec<(String, String, &FigureData)> = Vec::new();
        for figure in &self.figures {
            if let Ok(drawn) = &figure.outcome {
                pictures.push((
                    format!("figure-{}", figure.number),
                    drawn.svg.clone(),
                    &drawn.data,
                ));
            }
        }
        let parts = self.parts_of_11();
        let all = all_data(&parts);
        if let Some(all) = &all {
            let svgs: Vec<&str> = parts.iter().map(|(_, drawn)| drawn.svg.as_str()).collect();
            pictures.push(("figure-11".to_owned(), sheet::sheet(&svgs)?, all));
        }
        let pngs = pictures.par_iter().map(|(_, svg, _)| {
            let png = png_of_svg(svg);
            done();
            png
        });
        let pngs = pngs.collect::<Result<Vec<_>, _>>()?;
        for ((stem, svg, data), png) in pictures.iter().zip(&pngs) {
            folder.write(&format!("{stem}.svg"), svg.as_bytes())?;
            folder.write(&format!("{stem}.png"), png)?;
            folder.write_table(stem, || data.table())?;
        }
        Ok(())
    }

    /// The four parts of Figure 11 that were drawn.
    fn parts_of_11(&self) -> Vec<(&'static str, &DrawnFigure)> {
        let parts = self.figures.iter().filter(|figure| figure.number.starts_with("11"));
        parts.filter_map(|part| Some((part.number, part.outcome.as_ref().ok()?))).collect()
    }

    /// The comparison with the paper as rows.
    pub fn shapes_table(&self) -> Table<'_> {
        let columns = Column::texts(["figure", "what", "published", "ours", "verdict", "why"]);
        let rows = self.shapes.iter().map(|shape| {
            let Shape { figure, what, published, ours, verdict, why } = shape;
            let texts = [figure, what, published.as_str(), ours, verdict.name(), why];
            Ok(texts.map(|text| text.into()).to_vec())
        });
        Table::new("reproduce", self.capture.report.origin(), columns, rows).carrying(&[
            ("machine", "machine"),
            ("trace_hash", "trace_hash"),
            ("version", "version"),
        ])
    }

    /// One page with everything, which needs nothing else.
    ///
    /// # Errors
    /// [`Error::Format`] if it cannot be made.
    pub fn to_html(&self) -> Result<String, Error> {
        page::html(self)
    }

    fn manifest(&self) -> Option<&CaptureManifest> {
        self.capture.report.provenance.manifest.as_ref()
    }
}

/// What shapes are told from.
fn evidence<'e>(
    capture: &'e PaperCapture,
    flows: Option<&'e PaperFlows>,
) -> Result<Evidence<'e>, Error> {
    let annotated = flows.and_then(|flows| flows.annotated.as_ref().ok());
    let source = FigureSource::new(&capture.report, "4");
    let identities = match annotated {
        Some(flow) => tables::identities(&source, flow)?,
        None => None,
    };
    let cache = |sweeps: Option<&PaperSweeps>| {
        sweeps
            .and_then(|s| s.l2.as_ref().ok())
            .map(|rows| sweeps::cache_points(rows))
            .unwrap_or_default()
    };
    let tlbs = |sweeps: Option<&PaperSweeps>| {
        sweeps
            .and_then(|s| s.tlbs.as_ref().ok())
            .map(|rows| sweeps::tlb_points(rows))
            .unwrap_or_default()
    };
    let own = |points: &[sweeps::TlbPoint]| {
        sweeps::own_tags(&source, points).into_iter().cloned().collect()
    };
    let (all_tlbs, received) = (tlbs(Some(&capture.sweeps)), tlbs(capture.receive.as_ref().ok()));
    Ok(Evidence {
        annotated,
        identities,
        stages: flows.map_or(Vec::new(), |flows| {
            let found = flows.stages.iter();
            found.filter_map(|(stage, flow)| Some((*stage, flow.as_ref().ok()?))).collect()
        }),
        lives: capture.lives.as_ref().ok(),
        timeline: capture.timeline.as_ref().ok(),
        cache: cache(Some(&capture.sweeps)),
        tlbs: own(&all_tlbs),
        all_tlbs,
        receive_cache: cache(capture.receive.as_ref().ok()),
        receive_tlbs: own(&received),
    })
}

/// Rows of all parts of a figure, each with its letter.
fn all_data(parts: &[(&'static str, &DrawnFigure)]) -> Option<FigureData> {
    let (_, first) = parts.first()?;
    let mut all = FigureData { rows: Vec::new(), ..first.data.clone() };
    all.columns = Column::texts(["part"]);
    // Their x differs in what it is counted from; panel and part tell.
    all.columns.extend(first.data.columns.iter().cloned());
    for (part, drawn) in parts {
        let rows = drawn.data.rows.iter().cloned();
        all.rows.extend(rows.map(|row| [vec![(*part).into()], row].concat()));
    }
    Some(all)
}

//! One page with everything: no other file, no network and no script is needed to read it.

use super::sheet::size;
use super::{DrawnFigure, FigureSource, PaperFigure, PaperReport, PaperSweeps, Verdict};
use crate::error::Error;
use crate::layer_figure::layer_figure;
use crate::numbers::{counted, grouped, percent};
use crate::profile_report::{ProfileReport, machine_line};
use crate::result_table::{Cell, Kind};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const STYLE: &str = include_str!("../../templates/report.css");
const SCRIPT: &str = include_str!("../../templates/report.js");

/// Rows of a figure's numbers that the page has; its CSV has all.
const ROWS: usize = 60;
/// Pictures wider than this, in pixels, are not made smaller on narrow screens, and are printed on
/// sheets turned sideways.
const WIDE: f64 = 1400.0;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'p> {
    version: &'static str,
    title: String,
    lead: String,
    style: &'static str,
    script: &'static str,
    summary: String,
    shapes: Vec<ShapeRow<'p>>,
    captures: Vec<CaptureFacts>,
    layers: Picture,
    figures: Vec<FigureEntry<'p>>,
    footer: String,
}

struct ShapeRow<'p> {
    id: String,
    figure: &'static str,
    what: &'static str,
    published: &'p str,
    ours: &'p str,
    verdict: &'static str,
    why: &'p str,
}

struct CaptureFacts {
    name: String,
    facts: Vec<Fact>,
}

struct Fact {
    name: &'static str,
    value: String,
}

struct Picture {
    /// As data URI.
    image: String,
    width: f64,
    height: f64,
    alt: String,
    finding: String,
}

struct FigureEntry<'p> {
    id: String,
    /// `13`.
    short: &'static str,
    label: String,
    title: &'static str,
    paper: &'static str,
    command: &'static str,
    drawn: Option<DrawnEntry<'p>>,
    is_wide: bool,
    /// Why it is not drawn.
    why: &'p str,
}

struct DrawnEntry<'p> {
    stem: String,
    picture: Picture,
    findings: &'p [String],
    rows_told: String,
    columns: Vec<PageCell>,
    rows: Vec<Vec<PageCell>>,
}

struct PageCell {
    text: String,
    is_number: bool,
}

/// The page.
///
/// # Errors
/// [`Error::Format`] if it cannot be made.
pub(super) fn html(report: &PaperReport<'_>) -> Result<String, Error> {
    let capture = report.capture;
    let provenance = &capture.report.provenance;
    let instructions = grouped(capture.report.profile.total.instructions);
    let title = match provenance.manifest {
        Some(_) => "I/O processing in a virtualized platform, from a real capture",
        None => "I/O processing in a virtualized platform, from a trace",
    };
    let figures = report.figures.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        title: title.to_owned(),
        lead: format!(
            "The figures of V. Chadha, R. J. Figueiredo, R. Illikkal, R. Iyer, J. Moses and D. \
             Newell, “I/O Processing in a Virtualized Platform: A Simulation-Driven Approach” (VEE \
             2007), drawn anew from {instructions} instructions of {}, on a machine like the \
             paper's unless another is named.",
            provenance.title()
        ),
        style: STYLE,
        script: SCRIPT,
        summary: summary(report),
        shapes: report
            .shapes
            .iter()
            .map(|shape| ShapeRow {
                id: report.id_of(shape.figure),
                figure: shape.figure,
                what: shape.what,
                published: &shape.published,
                ours: &shape.ours,
                verdict: shape.verdict.name(),
                why: &shape.why,
            })
            .collect(),
        captures: captures(report),
        layers: layers(&capture.report)?,
        figures,
        footer: format!(
            "Made by strata {} from trace {}. Every number is counted from the capture; nothing is \
             tuned to agree with the paper.",
            env!("CARGO_PKG_VERSION"),
            provenance.trace_hash.as_deref().unwrap_or("without a hash"),
        ),
    };
    page.render().map_err(|error| Error::Format { format: "HTML", message: error.to_string() })
}

fn id(number: &str) -> String {
    format!("figure-{number}")
}

impl PaperReport<'_> {
    /// Where on the page a figure is; its first part, if it has parts.
    fn id_of(&self, figure: &str) -> String {
        let is_it = |of: &&PaperFigure| {
            of.number == figure || of.number.strip_suffix(char::is_alphabetic) == Some(figure)
        };
        id(self.figures.iter().find(is_it).map_or(figure, |figure| figure.number))
    }
}

fn summary(report: &PaperReport<'_>) -> String {
    let all = report.shapes.len() as u64;
    let agree = report.shapes.iter().filter(|shape| shape.verdict == Verdict::Agrees).count();
    let drawn = report.figures.iter().filter(|figure| figure.outcome.is_ok()).count() as u64;
    format!(
        "{} of {} that the paper shows or states agree here, by the criterion beside each. {} of {} \
         are drawn.",
        grouped(agree as u64),
        counted(all, "shape"),
        grouped(drawn),
        counted(report.figures.len() as u64, "picture"),
    )
}

fn captures(report: &PaperReport<'_>) -> Vec<CaptureFacts> {
    let mut captures =
        vec![facts("Most figures", &report.capture.report, report.manifest().is_some())];
    if let Ok(PaperSweeps { report, .. }) = &report.capture.receive {
        let has_manifest = report.provenance.manifest.is_some();
        captures.push(facts("Figures 15 and 16", report, has_manifest));
    }
    captures
}

fn facts(what: &str, report: &ProfileReport, has_manifest: bool) -> CaptureFacts {
    let provenance = &report.provenance;
    let mut facts = Vec::new();
    let mut add = |name, value: String| {
        if !value.is_empty() {
            facts.push(Fact { name, value });
        }
    };
    if let Some(manifest) = provenance.manifest.as_ref().filter(|_| has_manifest) {
        add("workload", manifest.guest_command.clone());
        add("it said", manifest.result.join("; "));
        let hypervisor = manifest.hypervisor.iter();
        let names = hypervisor.map(|h| format!("{} {}", h.name, h.version));
        let kernels = manifest.domains.iter().map(|d| format!("{} Linux {}", d.name, d.kernel));
        add("software", names.chain(kernels).collect::<Vec<_>>().join("; "));
        let machine = &manifest.machine;
        add(
            "recorded in",
            format!(
                "QEMU {}, {} of model {}, {} MiB",
                machine.qemu,
                counted(machine.cpus.into(), "CPU"),
                machine.cpu_model,
                machine.memory_mib
            ),
        );
    }
    let total = &report.profile.total;
    add(
        "replayed",
        format!(
            "{} instructions, {} data accesses",
            grouped(total.instructions),
            grouped(total.l1d().accesses + total.device)
        ),
    );
    add("trace", provenance.trace_hash.clone().unwrap_or_default());
    add("machine", machine_line(&report.profile.machine));
    add("counting", format!("{}; {}", report.delivery(), report.dma()));
    add("to know", report.remarks().join(". "));
    CaptureFacts { name: format!("{what}: {}", provenance.title()), facts }
}

fn picture(svg: &str, alt: String, finding: String) -> Result<Picture, Error> {
    let (width, height) = size(svg)?;
    let image = format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg));
    Ok(Picture { image, width, height, alt, finding })
}

fn layers(report: &ProfileReport) -> Result<Picture, Error> {
    let title = "Who runs, and who misses: share of each layer";
    let svg = layer_figure(&report.profile, title)?;
    let total = report.profile.total.instructions;
    let named = report.named();
    let mut shares: Vec<(u64, String)> = named
        .iter()
        .filter(|layer| layer.instructions > 0)
        .map(|layer| {
            let share = percent(layer.instructions, total);
            (layer.instructions, format!("{} {share} %", layer.layer))
        })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.0));
    let shares: Vec<String> = shares.into_iter().map(|(_, text)| text).collect();
    let finding = format!("Of the instructions, by layer: {}.", shares.join(", "));
    picture(&svg, format!("{title}. {finding}"), finding)
}

fn entry(figure: &PaperFigure) -> Result<FigureEntry<'_>, Error> {
    let PaperFigure { number, title, paper, command, outcome } = figure;
    let label = FigureSource::label(number);
    let drawn = match outcome {
        Ok(drawn) => Some(drawn_entry(&label, number, title, drawn)?),
        Err(_) => None,
    };
    Ok(FigureEntry {
        id: id(number),
        short: number,
        label,
        title,
        paper,
        command,
        is_wide: drawn.as_ref().is_some_and(|drawn| drawn.picture.width > WIDE),
        drawn,
        why: outcome.as_ref().err().map_or("", String::as_str),
    })
}

fn drawn_entry<'p>(
    label: &str,
    number: &str,
    title: &str,
    drawn: &'p DrawnFigure,
) -> Result<DrawnEntry<'p>, Error> {
    let DrawnFigure { svg, data, findings } = drawn;
    let alt = format!("{label}: {title}. {}", findings.join(" "));
    let picture = picture(svg, alt, String::new())?;
    let numbers: Vec<bool> = data.columns.iter().map(|column| column.kind != Kind::Text).collect();
    let cell = |(cell, &is_number): (&Cell, &bool)| {
        let text = match cell {
            Cell::Whole(number) => grouped(*number),
            // As many digits as a reader takes in; the CSV has all.
            Cell::Real(number) if number.fract() != 0.0 => format!("{number:.3}"),
            other => other.clone().into_field(),
        };
        PageCell { text, is_number }
    };
    let rows = data.rows.iter().take(ROWS);
    let all = data.rows.len();
    let rows_told = match all {
        0..=ROWS => format!("Numbers: {}", counted(all as u64, "row")),
        _ => format!("Numbers: the first {ROWS} of {} rows; the CSV has all", grouped(all as u64)),
    };
    Ok(DrawnEntry {
        stem: id(number),
        picture,
        findings,
        rows_told,
        columns: data
            .columns
            .iter()
            .zip(&numbers)
            .map(|(column, &is_number)| PageCell { text: column.name.clone(), is_number })
            .collect(),
        rows: rows.map(|row| row.iter().zip(&numbers).map(cell).collect()).collect(),
    })
}

//! Figure 5: how the numbers come about.

use super::data::FigureData;
use super::shapes::short_version;
use super::{DrawnFigure, FigureSource};
use crate::error::Error;
use crate::line_chart::canvas::{Anchor, Canvas, Drawn, picture, text_width};
use crate::numbers::{grouped, telling_percent};
use crate::result_table::{Cell, Column};
use plotters::style::RGBColor;
use strata_sim::ReturnReport;

const INK: RGBColor = RGBColor(0, 0, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
const PAPER: RGBColor = RGBColor(238, 244, 250);
const EDGE: RGBColor = RGBColor(0, 114, 178);

const WIDTH: f64 = 960.0;
const BOX: (f64, f64) = (270.0, 118.0);
const COLUMNS: [f64; 3] = [20.0, 345.0, 670.0];
const ROWS: [f64; 2] = [74.0, 250.0];

/// A step of the method.
struct Step {
    name: &'static str,
    lines: Vec<String>,
    /// What is counted there, in the figure's CSV.
    counts: Vec<(&'static str, u64)>,
    column: usize,
    row: usize,
}

pub(super) fn figure(
    source: &FigureSource<'_>,
    returns: Option<&ReturnReport>,
) -> Result<DrawnFigure, Error> {
    let steps = steps(source, returns);
    let mut columns = Column::texts(["step", "what"]);
    columns.extend(Column::counts(["count"]));
    let rows = steps.iter().flat_map(|step| {
        let lines = step
            .lines
            .iter()
            .map(|line| vec![Cell::from(step.name), line.clone().into(), Cell::Missing]);
        let counts = step
            .counts
            .iter()
            .map(|&(what, count)| vec![Cell::from(step.name), what.into(), count.into()]);
        lines.chain(counts).collect::<Vec<_>>()
    });
    let data = FigureData::new(source.report, columns, rows.collect());
    let svg = picture(WIDTH, ROWS[1] + BOX.1 + 40.0, |canvas| draw(canvas, source, &steps))?;
    let total = &source.report.profile.total;
    let mut finding = format!(
        "{} instructions with {} data accesses are replayed through the machine",
        grouped(total.instructions),
        grouped(total.l1d().accesses + total.device),
    );
    if let Some(returns) = returns.filter(|returns| returns.all() > 0) {
        finding.push_str(&format!(
            "; of {} returns {} % go back where their call came from, so that every function is \
             known with its callers",
            grouped(returns.all()),
            telling_percent(returns.matched, returns.all()),
        ));
    }
    finding.push('.');
    Ok(DrawnFigure { svg, data, findings: vec![finding] })
}

fn steps(source: &FigureSource<'_>, returns: Option<&ReturnReport>) -> Vec<Step> {
    let report = source.report;
    let manifest = report.provenance.manifest.as_ref();
    let total = &report.profile.total;
    let accesses = total.l1d().accesses + total.device;
    let step =
        |name, column, row, lines: Vec<String>, counts| Step { name, lines, counts, column, row };
    let hypervisor = manifest.and_then(|manifest| manifest.hypervisor.as_ref());
    let mut workload: Vec<String> = hypervisor
        .map(|h| format!("{} {}", h.name, short_version(&h.version)))
        .into_iter()
        .collect();
    let domains = manifest.map_or(&[][..], |manifest| &manifest.domains);
    workload
        .extend(domains.iter().map(|domain| format!("{}: Linux {}", domain.name, domain.kernel)));
    workload.extend(manifest.map(|manifest| manifest.guest_command.clone()));
    if workload.is_empty() {
        workload.push("a bare trace does not tell".to_owned());
    }
    let named = report.named();
    let (known, all) = named
        .iter()
        .fold((0, 0), |(known, all), layer| (known + layer.modules, all + layer.instructions));
    let mut calls = vec!["shadow stacks over all layers".to_owned()];
    let mut call_counts = Vec::new();
    if let Some(returns) = returns {
        calls.push(format!(
            "{} % of returns match",
            telling_percent(returns.matched, returns.all())
        ));
        call_counts = vec![("returns", returns.all()), ("returns matched", returns.matched)];
    }
    let structures = crate::structure::Structure::of(&report.profile.machine);
    let labels: Vec<&str> = structures.iter().map(|structure| structure.label()).collect();
    vec![
        step("Workload", 0, 0, workload, Vec::new()),
        step(
            "Recorder in QEMU",
            1,
            0,
            vec![
                "every instruction, data address,".to_owned(),
                "translation, event and transfer".to_owned(),
            ],
            Vec::new(),
        ),
        step(
            "Trace",
            2,
            0,
            vec![
                format!("{} instructions", grouped(total.instructions)),
                format!("{} data accesses", grouped(accesses)),
            ],
            vec![("instructions", total.instructions), ("data accesses", accesses)],
        ),
        step(
            "Replay",
            2,
            1,
            vec![
                format!("machine {}", report.profile.machine.name()),
                labels.join(", "),
                format!("tags {}", report.profile.machine.tags()),
            ],
            structures.iter().map(|s| (s.label(), s.tally(total).misses)).collect(),
        ),
        step("Calls", 1, 1, calls, call_counts),
        step(
            "Symbols",
            0,
            1,
            vec![
                "hypervisor, kernels, programs".to_owned(),
                format!("code known for {} %", telling_percent(known, all)),
                "of the instructions".to_owned(),
            ],
            vec![("instructions of known code", known), ("instructions", all)],
        ),
    ]
}

fn draw(canvas: &Canvas<'_>, source: &FigureSource<'_>, steps: &[Step]) -> Drawn {
    canvas.text(
        &source.title("How the numbers come about"),
        (20.0, 22.0),
        18.0,
        INK,
        Anchor::Start,
    )?;
    let under = "figures and tables come from what all of these tell together";
    canvas.text(under, (20.0, 46.0), 13.0, GREY, Anchor::Start)?;
    for step in steps {
        let (x, y) = (COLUMNS[step.column], ROWS[step.row]);
        let corners = [(x, y), (x + BOX.0, y), (x + BOX.0, y + BOX.1), (x, y + BOX.1), (x, y)];
        canvas.polygon(&corners[..4], PAPER, 1.0)?;
        canvas.line(&corners, EDGE, 1.5)?;
        canvas.text(step.name, (x + 14.0, y + 20.0), 16.0, INK, Anchor::Start)?;
        for (i, line) in step.lines.iter().enumerate() {
            let size = if text_width(line, 13.0) > BOX.0 - 28.0 { 10.5 } else { 13.0 };
            let at = (x + 14.0, y + 46.0 + 19.0 * i as f64);
            canvas.text(line, at, size, GREY, Anchor::Start)?;
        }
    }
    let middle = |row: usize| ROWS[row] + BOX.1 / 2.0;
    for (from, to) in [(0, 1), (1, 2)] {
        arrow(canvas, (COLUMNS[from] + BOX.0, middle(0)), (COLUMNS[to], middle(0)))?;
        arrow(canvas, (COLUMNS[from] + BOX.0, middle(1)), (COLUMNS[to], middle(1)))?;
    }
    let down = |column: usize| COLUMNS[column] + BOX.0 / 2.0;
    arrow(canvas, (down(2), ROWS[0] + BOX.1), (down(2), ROWS[1]))?;
    arrow(canvas, (down(0), ROWS[0] + BOX.1), (down(0), ROWS[1]))?;
    arrow(canvas, (down(2) - 60.0, ROWS[0] + BOX.1), (down(1) + 60.0, ROWS[1]))
}

fn arrow(canvas: &Canvas<'_>, from: (f64, f64), to: (f64, f64)) -> Drawn {
    const HEAD: f64 = 9.0;
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let neck = (to.0 - HEAD * ux, to.1 - HEAD * uy);
    let side = |sign: f64| (neck.0 - sign * 0.5 * HEAD * uy, neck.1 + sign * 0.5 * HEAD * ux);
    canvas.line(&[from, neck], INK, 1.5)?;
    canvas.polygon(&[to, side(1.0), side(-1.0)], INK, 1.0)
}

//! A chart laid out and drawn.

use super::axis::Ruler;
use super::canvas::{Anchor, Canvas, Drawn, picture, text_width};
use super::style::{LineStyle, REFERENCE, Shape, line_style};
use super::thinning::thinned;
use super::{ChartSource, Form, LineChart, Panel, Series};
use crate::error::Error;
use plotters::style::RGBColor;

/// Width of the picture, left and right edge of the panels, in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 935.0;
/// Height of a panel that stands alone, and of one of several.
const ALONE: f64 = 360.0;
const STACKED: f64 = 190.0;
/// Height of a row of a legend, and of a lane.
const LEGEND: f64 = 24.0;
const LANE: f64 = 20.0;
/// Between one panel and the next.
const GAP: f64 = 14.0;
/// Sample of a line in the legend.
const SAMPLE: f64 = 34.0;
/// A line of more points is drawn without marks on them.
const MOST_SHAPES: usize = 40;
/// Nothing finer than this is drawn, in pixels.
const COLUMN: f64 = 0.5;
/// More events than this are seen in their lane only.
const MOST_THROUGH: usize = 80;

const BLACK: RGBColor = RGBColor(0, 0, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
const GRID: RGBColor = RGBColor(222, 222, 222);
const EVENT: RGBColor = RGBColor(150, 150, 150);

/// A panel's place: from `top` to `bottom`, with the names of all lines of the chart.
struct Place<'c> {
    panel: &'c Panel,
    names: &'c [&'c str],
    legend: Vec<Vec<usize>>,
    top: f64,
    bottom: f64,
}

pub(super) fn svg(chart: &LineChart) -> Result<String, Error> {
    let mut y = if chart.subtitle.is_empty() { 44.0 } else { 66.0 };
    let height = if chart.panels.len() > 1 { STACKED } else { ALONE };
    let mut places = Vec::new();
    let names = names(chart);
    for panel in &chart.panels {
        let legend = legend_rows(panel);
        let top = y + LEGEND * legend.len() as f64;
        places.push(Place { panel, names: &names, legend, top, bottom: top + height });
        y = top + height + GAP;
    }
    let panels_end = y - GAP;
    let lanes_end = panels_end + LANE * chart.lanes.len() as f64;
    picture(WIDTH, lanes_end + 74.0, |canvas| {
        canvas.text(&chart.title, (20.0, 22.0), 18.0, BLACK, Anchor::Start)?;
        canvas.text(&chart.subtitle, (20.0, 46.0), 13.0, GREY, Anchor::Start)?;
        let xs = chart.panels.iter().flat_map(|panel| &panel.series).flat_map(|s| &s.points);
        let marks = chart.lanes.iter().flat_map(|lane| &lane.at);
        let xs = Ruler::new(&chart.x, xs.map(|point| point.0).chain(marks.copied()), false);
        for place in &places {
            place.draw(canvas, chart, &xs)?;
        }
        lanes(canvas, chart, &xs, panels_end)?;
        for (tick, label) in xs.ticks() {
            if let Some(x) = across(&xs, tick) {
                canvas.line(&[(x, lanes_end), (x, lanes_end + 5.0)], BLACK, 1.0)?;
                canvas.text(&label, (x, lanes_end + 15.0), 13.0, BLACK, Anchor::Middle)?;
            }
        }
        let middle = (LEFT + RIGHT) / 2.0;
        canvas.text(&chart.x.title(), (middle, lanes_end + 36.0), 14.0, BLACK, Anchor::Middle)?;
        let source = chart.source.line();
        canvas.text(&source, (RIGHT, lanes_end + 61.0), 11.0, GREY, Anchor::End)
    })
}

/// Lines of a chart by name, references aside: the same name looks the same in all panels.
pub(super) fn names(chart: &LineChart) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let lines = chart.panels.iter().flat_map(|panel| &panel.series);
    for line in lines.filter(|series| series.form != Form::Reference) {
        if !names.contains(&line.name.as_str()) {
            names.push(&line.name);
        }
    }
    names
}

impl ChartSource {
    /// What is written below a picture.
    pub(crate) fn line(&self) -> String {
        let trace = self.trace_hash.as_ref().map(|hash| format!(", trace {hash}"));
        let version = env!("CARGO_PKG_VERSION");
        let machine = match self.machine.as_str() {
            "" => String::new(),
            machine => format!(", machine {machine}"),
        };
        format!("strata {version}{machine}{}", trace.unwrap_or_default())
    }
}

fn across(xs: &Ruler, x: f64) -> Option<f64> {
    xs.place(x).map(|along| LEFT + (RIGHT - LEFT) * along)
}

/// Lines of a panel, in rows that fit beside each other.
fn legend_rows(panel: &Panel) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut used = f64::INFINITY;
    for (i, series) in panel.series.iter().enumerate() {
        let width = legend_width(series);
        match rows.last_mut() {
            Some(row) if used + width <= RIGHT - LEFT => {
                row.push(i);
                used += width;
            }
            _ => {
                rows.push(vec![i]);
                used = width;
            }
        }
    }
    rows
}

fn legend_width(series: &Series) -> f64 {
    SAMPLE + 8.0 + text_width(&series.name, 13.0) + 22.0
}

/// Marks of events, a lane for each kind.
fn lanes(canvas: &Canvas<'_>, chart: &LineChart, xs: &Ruler, top: f64) -> Drawn {
    for (i, lane) in chart.lanes.iter().enumerate() {
        let y = top + LANE * i as f64;
        let (from, to) = (y + 4.0, y + LANE - 3.0);
        canvas.text(&lane.name, (LEFT - 8.0, (from + to) / 2.0), 12.0, BLACK, Anchor::End)?;
        // Of marks that fall on the same spot one is enough.
        let mut last = f64::NEG_INFINITY;
        for x in lane.at.iter().filter_map(|&at| across(xs, at)) {
            if x - last >= COLUMN {
                canvas.line(&[(x, from), (x, to)], BLACK, 1.0)?;
                last = x;
            }
        }
        let bottom = y + LANE;
        canvas.line(&[(LEFT, bottom), (RIGHT, bottom)], GRID, 1.0)?;
    }
    let bottom = top + LANE * chart.lanes.len() as f64;
    canvas.line(&[(LEFT, bottom), (RIGHT, bottom)], BLACK, 1.0)
}

impl Place<'_> {
    fn draw(&self, canvas: &Canvas<'_>, chart: &LineChart, xs: &Ruler) -> Drawn {
        let values = self.panel.series.iter().flat_map(|series| {
            let band = series.band.iter().flat_map(|&(low, high)| [low, high]);
            series.points.iter().map(|point| point.1).chain(band)
        });
        let ys = Ruler::new(&self.panel.y, values, true);
        let (top, bottom) = (self.top, self.bottom);
        let up = |y: f64| ys.place(y).map(|along| bottom - (bottom - top) * along);
        for (tick, label) in ys.ticks() {
            if let Some(y) = up(tick) {
                canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0)?;
                canvas.text(&label, (LEFT - 8.0, y), 13.0, BLACK, Anchor::End)?;
            }
        }
        for x in xs.ticks().filter_map(|(tick, _)| across(xs, tick)) {
            canvas.line(&[(x, top), (x, bottom)], GRID, 1.0)?;
        }
        let through = chart.lanes.iter().filter(|lane| lane.through);
        for lane in through.filter(|lane| lane.at.len() <= MOST_THROUGH) {
            for x in lane.at.iter().filter_map(|&at| across(xs, at)) {
                canvas.dashed(&[(x, top), (x, bottom)], EVENT, 1.0, (4.0, 3.0))?;
            }
        }
        for (i, series) in self.panel.series.iter().enumerate() {
            let style = self.style(i);
            draw_series(canvas, series, style, |(x, y)| Some((across(xs, x)?, up(y)?)))?;
        }
        canvas.line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], BLACK, 1.0)?;
        let middle = (26.0, (top + bottom) / 2.0);
        canvas.text(&self.panel.y.title(), middle, 14.0, BLACK, Anchor::Upwards)?;
        self.legend(canvas)
    }

    /// How a line looks; a reference as the line before it.
    fn style(&self, index: usize) -> LineStyle {
        let lines = self.panel.series[..=index].iter();
        let line = lines.rev().find(|series| series.form != Form::Reference);
        let number = self.names.iter().position(|name| line.is_some_and(|l| l.name == *name));
        let style = line_style(number.unwrap_or(0));
        let all = self.panel.series.iter().filter(|series| series.form != Form::Reference).count();
        // A line that is alone needs no dashes to be told apart.
        LineStyle { dashes: style.dashes.filter(|_| all > 1), ..style }
    }

    fn legend(&self, canvas: &Canvas<'_>) -> Drawn {
        let rows = self.legend.len() as f64;
        for (number, row) in self.legend.iter().enumerate() {
            let y = self.top - LEGEND * (rows - number as f64) + LEGEND / 2.0 - 2.0;
            let mut x = LEFT;
            for &i in row {
                let series = &self.panel.series[i];
                let style = self.style(i);
                let sample = [(x, y), (x + SAMPLE, y)];
                draw_line(canvas, series.form, style, &sample)?;
                if has_shapes(series) {
                    draw_shape(canvas, style, (x + SAMPLE / 2.0, y))?;
                }
                let at = (x + SAMPLE + 8.0, y);
                canvas.text(&series.name, at, 13.0, BLACK, Anchor::Start)?;
                x += legend_width(series);
            }
        }
        Ok(())
    }
}

fn has_shapes(series: &Series) -> bool {
    series.form == Form::Line && series.points.len() <= MOST_SHAPES
}

fn draw_series(
    canvas: &Canvas<'_>,
    series: &Series,
    style: LineStyle,
    place: impl Fn((f64, f64)) -> Option<(f64, f64)>,
) -> Drawn {
    let xs = series.points.iter().map(|point| point.0);
    let band = xs.zip(&series.band);
    let lower: Vec<_> = band.clone().filter_map(|(x, &(low, _))| place((x, low))).collect();
    let upper: Vec<_> = band.filter_map(|(x, &(_, high))| place((x, high))).collect();
    let mut outline = thinned(&lower, COLUMN);
    outline.extend(thinned(&upper, COLUMN).into_iter().rev());
    if outline.len() > 2 {
        canvas.polygon(&outline, style.colour, 0.22)?;
    }
    let mut points: Vec<(f64, f64)> = series.points.iter().copied().filter_map(place).collect();
    if series.form == Form::Steps {
        points = steps(&points);
    }
    draw_line(canvas, series.form, style, &thinned(&points, COLUMN))?;
    if has_shapes(series) {
        points.iter().try_for_each(|&point| draw_shape(canvas, style, point))?;
    }
    Ok(())
}

/// Corners of a line whose values hold up to the next point.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out = Vec::with_capacity(2 * points.len());
    for (i, &(x, y)) in points.iter().enumerate() {
        if i > 0 {
            out.push((x, points[i - 1].1));
        }
        out.push((x, y));
    }
    out
}

fn draw_line(canvas: &Canvas<'_>, form: Form, style: LineStyle, points: &[(f64, f64)]) -> Drawn {
    match (form, style.dashes) {
        (Form::Reference, _) => canvas.dashed(points, style.colour, 1.5, REFERENCE),
        (_, Some(dashes)) => canvas.dashed(points, style.colour, 1.75, dashes),
        (_, None) => canvas.line(points, style.colour, 1.75),
    }
}

fn draw_shape(canvas: &Canvas<'_>, style: LineStyle, (x, y): (f64, f64)) -> Drawn {
    let around = |corners: &[(f64, f64)]| {
        let corners: Vec<_> = corners.iter().map(|&(dx, dy)| (x + dx, y + dy)).collect();
        canvas.polygon(&corners, style.colour, 1.0)
    };
    match style.shape {
        Shape::Circle => canvas.circle((x, y), 3.5, style.colour),
        Shape::Square => around(&[(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)]),
        Shape::Triangle => around(&[(0.0, -4.5), (4.2, 3.2), (-4.2, 3.2)]),
        Shape::Diamond => around(&[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)]),
    }
}

//! Figures: bars, cumulative distribution, timeline of each vCPU.

use super::{ExitResult, by_name};
use crate::error::Error;
use crate::line_chart::{Axis, ChartSource, Form, Labels, LineChart, Panel, Scale, Series};
use crate::numbers::grouped;
use crate::output::OutputFolder;
use crate::picture::png_of_svg;
use crate::profile_json::to_pretty;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use strata_exits::{Activity, Timeline, Vcpus};

/// What vCPUs do over time, with their names.
pub struct ExitTimeline<'t> {
    /// What they do.
    pub timeline: &'t Timeline,
    /// Their names.
    pub vcpus: &'t Vcpus,
}

/// Rows that bars are drawn of.
const BARS: usize = 14;
/// Rows that lines are drawn of.
const LINES: usize = 6;
/// vCPUs that timelines are drawn of.
const VCPUS: usize = 16;
/// Points of a cumulative distribution.
const POINTS: usize = 200;

impl ExitResult {
    /// Adds to a folder: `time-by-KEY` (bars), `distribution-by-KEY` (cumulative), and a
    /// `timeline-VCPU` for each vCPU; SVG, PNG and the CSV of what is drawn.
    ///
    /// # Errors
    /// Those of [`OutputFolder::write`]; [`Error::Format`] if the drawing library fails.
    pub fn write_figures(
        &self,
        timeline: &ExitTimeline<'_>,
        folder: &mut OutputFolder,
    ) -> Result<(), Error> {
        let by = by_name(self.report.options.by);
        if !self.report.rows.is_empty() {
            let svg = self.bars()?;
            folder.write(&format!("time-by-{by}.png"), &png_of_svg(&svg)?)?;
            folder.write(&format!("time-by-{by}.svg"), svg.as_bytes())?;
            let csv = self.to_table(None).to_csv()?;
            folder.write(&format!("time-by-{by}.csv"), csv.as_bytes())?;
            self.distribution().write_to(folder, &format!("distribution-by-{by}"))?;
        }
        for (vcpu, windows) in timeline.timeline.vcpus().take(VCPUS) {
            let name = timeline.vcpus.name(vcpu).to_string();
            let chart = self.timeline(&name, timeline.timeline.width(), windows);
            let stem: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            chart.write_to(folder, &format!("timeline-{stem}"))?;
        }
        // Small enough to be read by what shows the figures.
        folder.write("exits.json", to_pretty(&self.summary())?.as_bytes())
    }

    /// What the figures are of.
    fn summary(&self) -> serde_json::Value {
        serde_json::json!({
            "command": "exits",
            "version": env!("CARGO_PKG_VERSION"),
            "source": self.source,
            "format": self.format,
            "unit": self.report.unit.name(),
            "notes": self.notes(),
        })
    }

    fn chart_source(&self) -> ChartSource {
        ChartSource { machine: String::new(), trace_hash: self.trace_hash.clone() }
    }

    fn unit_name(&self) -> &'static str {
        self.report.unit.name()
    }

    fn distribution(&self) -> LineChart {
        let rows = self.report.rows.iter().take(LINES);
        let series = rows.map(|row| {
            // None is shorter than the shortest.
            let least = row.sums.durations.minimum().map(|value| (value, 0.0));
            let points = least.into_iter().chain(row.sums.durations.cumulative(POINTS));
            let points = points.map(|(value, share)| (value.max(1) as f64, share * 100.0));
            Series {
                name: row.name.clone(),
                points: points.collect(),
                band: Vec::new(),
                form: Form::Steps,
            }
        });
        LineChart {
            title: "How long exits take".to_owned(),
            subtitle: self.subtitle(),
            x: Axis {
                name: "time of an exit".to_owned(),
                unit: self.unit_name().to_owned(),
                scale: Scale::Log10,
                labels: Labels::Number,
                from_zero: false,
            },
            panels: vec![Panel {
                y: Axis::linear("exits that take no longer", "%"),
                series: series.collect(),
            }],
            lanes: Vec::new(),
            source: self.chart_source(),
        }
    }

    fn timeline(&self, name: &str, width: u64, windows: &[Activity]) -> LineChart {
        type Part = (&'static str, fn(&Activity) -> u64);
        let mut parts: Vec<Part> =
            vec![("in the guest", |a| a.guest), ("handling exits", |a| a.handling)];
        if self.report.has_run_states {
            parts.push(("blocked", |a| a.blocked));
            parts.push(("preempted", |a| a.preempted));
        }
        let series = parts.into_iter().map(|(name, get)| {
            let points = windows.iter().enumerate().map(|(i, window)| {
                (i as f64 * width as f64, get(window) as f64 * 100.0 / width as f64)
            });
            Series {
                name: name.to_owned(),
                points: points.collect(),
                band: Vec::new(),
                form: Form::Steps,
            }
        });
        LineChart {
            title: format!("What vCPU {name} does"),
            subtitle: self.subtitle(),
            x: Axis::linear("since the first event", self.unit_name()),
            panels: vec![Panel {
                y: Axis::linear("share of the time", "%"),
                series: series.collect(),
            }],
            lanes: Vec::new(),
            source: self.chart_source(),
        }
    }

    fn subtitle(&self) -> String {
        let exits = grouped(self.report.total.durations.count());
        let name = self.source.rsplit('/').next().unwrap_or(&self.source);
        let patched =
            if self.patches.is_empty() { "" } else { "; the guest was changed by the recorder" };
        format!("{name} ({}), {exits} exits{patched}", self.format)
    }

    /// Share of each row in exits and in time.
    fn bars(&self) -> Result<String, Error> {
        let mut svg = String::new();
        self.draw_bars(&mut svg)
            .map_err(|error| Error::Format { format: "SVG", message: error.to_string() })?;
        Ok(svg)
    }

    fn draw_bars(&self, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        const LEFT: i32 = 250;
        const WIDTH: f64 = 560.0;
        const STEP: i32 = 44;
        const TOP: i32 = 92;
        let colours = [RGBColor(0, 114, 178), RGBColor(230, 159, 0)];
        let rows = &self.report.rows[..self.report.rows.len().min(BARS)];
        let height = TOP + STEP * rows.len() as i32 + 56;
        let area = SVGBackend::with_string(svg, (960, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
        let by = by_name(self.report.options.by);
        area.draw(&Text::new(format!("Where the time goes, by {by}"), (20, 16), text(19)))?;
        area.draw(&Text::new(self.subtitle(), (20, 42), text(14)))?;
        for (i, (name, colour)) in
            ["share of the time", "share of the exits"].into_iter().zip(colours).enumerate()
        {
            let x = LEFT + 220 * i as i32;
            area.draw(&Rectangle::new([(x, 66), (x + 13, 79)], colour.filled()))?;
            area.draw(&Text::new(name, (x + 19, 65), text(14)))?;
        }
        for (i, row) in rows.iter().enumerate() {
            let y = TOP + STEP * i as i32;
            let right = text(15).pos(Pos::new(HPos::Right, VPos::Center));
            let name = crate::numbers::shortened(&row.name, 30);
            area.draw(&Text::new(name, (LEFT - 10, y + STEP / 2 - 3), right))?;
            let shares = self.shares(row);
            for (j, (share, colour)) in
                [shares.time, shares.count].into_iter().zip(colours).enumerate()
            {
                let share = share.unwrap_or(0.0);
                let (top, length) = (y + 17 * j as i32, (WIDTH * share / 100.0).round() as i32);
                let bar = [(LEFT, top), (LEFT + length.max(1), top + 15)];
                area.draw(&Rectangle::new(bar, colour.filled()))?;
                let place = (LEFT + length.max(1) + 6, top + 1);
                area.draw(&Text::new(format!("{share:.2} %"), place, text(13)))?;
            }
        }
        let left_out = self.report.rows.len() - rows.len();
        let mut foot =
            format!("strata {}, times in {}", env!("CARGO_PKG_VERSION"), self.unit_name());
        if left_out > 0 {
            foot.push_str(&format!("; {left_out} more rows are not drawn"));
        }
        area.draw(&Text::new(foot, (20, height - 30), text(13)))?;
        area.present()?;
        Ok(())
    }
}

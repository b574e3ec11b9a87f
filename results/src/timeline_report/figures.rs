//! A timeline as figures.

use super::TimelineReport;
use crate::error::Error;
use crate::line_chart::{Axis, ChartSource, Form, Lane, LineChart, Panel, Series};
use crate::numbers::grouped;
use crate::output::OutputFolder;
use crate::structure::Structure;
use std::ops::Range;
use strata_sim::{After, Window};

/// Which figures to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineFigures {
    /// Instructions of the stream that those over time show.
    pub show: Range<u64>,
}

const TLBS: [Structure; 3] = [Structure::Itlb, Structure::Dtlb, Structure::Stlb];
const FIRST_CACHES: [Structure; 2] = [Structure::L1i, Structure::L1d];
const FAR_CACHES: [Structure; 2] = [Structure::L2, Structure::L3];

impl TimelineFigures {
    /// Figures of the whole timeline.
    pub fn whole() -> Self {
        TimelineFigures { show: 0..u64::MAX }
    }
}

impl TimelineReport {
    /// The figures with the stems of their files: cumulative misses of TLBs (Figure 11) and caches
    /// (Figure 12), misses by window, and what follows each kind of event that there are several of.
    pub fn charts(&self, figures: &TimelineFigures) -> Vec<(String, LineChart)> {
        let mut charts = Vec::new();
        let mut over_time = |stem: &str, title: &str, panels: Vec<Panel>| {
            let chart = LineChart {
                title: format!("{title}, {}", self.report.provenance.title()),
                subtitle: self.subtitle(),
                x: Axis { from_zero: false, ..Axis::linear("instructions retired", "") },
                panels,
                lanes: self.lanes(figures),
                source: self.source(),
            };
            if chart.panels.iter().any(|panel| !panel.series.is_empty()) {
                charts.push((stem.to_owned(), chart));
            }
        };
        let sum = |name: &str, of: &[Structure]| self.cumulative(name, of, figures);
        let by_window = |structure| self.by_window(structure, figures);
        let tlbs = sum("TLB misses", &TLBS);
        over_time("tlb-misses", "Cumulative TLB misses", tlbs.into_iter().collect());
        let caches = [sum("L1 misses", &FIRST_CACHES), sum(&self.far_name(), &FAR_CACHES)];
        over_time(
            "cache-misses",
            "Cumulative cache misses",
            caches.into_iter().flatten().collect(),
        );
        // Over so many windows two lines in a panel would hide each other.
        let rates = self.structures().into_iter().map(by_window);
        let title = format!("Misses by {} instructions", grouped(self.timeline.options.window));
        over_time("misses-by-window", &title, rates.collect());
        let several = self.timeline.after.iter().filter(|after| after.events > 1);
        charts.extend(several.map(|after| (format!("after-{}", after.kind), self.after(after))));
        charts
    }

    /// Writes each figure as SVG, PNG and CSV.
    ///
    /// # Errors
    /// As [`LineChart::write_to`].
    pub fn write_figures(
        &self,
        figures: &TimelineFigures,
        folder: &mut OutputFolder,
    ) -> Result<(), Error> {
        let mut charts = self.charts(figures).into_iter();
        charts.try_for_each(|(stem, chart)| chart.write_to(folder, &stem))
    }

    fn source(&self) -> ChartSource {
        ChartSource {
            machine: self.report.profile.machine.name().to_owned(),
            trace_hash: self.report.provenance.trace_hash.clone(),
        }
    }

    fn subtitle(&self) -> String {
        let manifest = self.report.provenance.manifest.as_ref();
        let command = manifest.map(|manifest| manifest.guest_command.clone()).into_iter();
        let extent = self.report.extent();
        command.chain(extent).collect::<Vec<_>>().join("; ")
    }

    fn has(&self, wanted: &[Structure]) -> Vec<Structure> {
        self.structures().into_iter().filter(|structure| wanted.contains(structure)).collect()
    }

    fn far_name(&self) -> String {
        let labels: Vec<&str> = self.has(&FAR_CACHES).iter().map(|s| s.label()).collect();
        format!("{} misses", labels.join(" and "))
    }

    /// Windows of the part that is shown.
    fn shown<'s>(&'s self, figures: &'s TimelineFigures) -> impl Iterator<Item = &'s Window> {
        let Range { start, end } = figures.show;
        self.timeline.windows.iter().filter(move |window| window.from >= start && window.to <= end)
    }

    fn lanes(&self, figures: &TimelineFigures) -> Vec<Lane> {
        let first = self.shown(figures).next().map_or(0, |window| window.from);
        let end = self.shown(figures).last().map_or(0, |window| window.to);
        let kinds = self.timeline.options.marks.iter().enumerate();
        let lanes = kinds.map(|(i, &kind)| {
            let marks = self.timeline.marks.iter().filter(|mark| mark.kind == kind);
            let inside = marks.filter(|mark| (first..=end).contains(&mark.at));
            let at = inside.map(|mark| mark.at as f64).collect();
            Lane { name: kind.name().to_owned(), at, through: i == 0 }
        });
        lanes.filter(|lane| !lane.at.is_empty()).collect()
    }

    /// Misses since the beginning of what is shown; `None` of structures that there are none of.
    fn cumulative(
        &self,
        name: &str,
        wanted: &[Structure],
        figures: &TimelineFigures,
    ) -> Option<Panel> {
        let line = |structure: Structure| {
            let mut sum = 0;
            let first = self.shown(figures).next().map(|window| (window.from as f64, 0.0));
            let points = self.shown(figures).map(|window| {
                sum += structure.misses(&window.misses);
                (window.to as f64, sum as f64)
            });
            Series::line(structure.label(), first.into_iter().chain(points).collect())
        };
        let series: Vec<Series> = self.has(wanted).into_iter().map(line).collect();
        (!series.is_empty()).then(|| Panel { y: Axis::linear(name, "cumulative"), series })
    }

    /// Misses for each thousand instructions, window by window.
    fn by_window(&self, structure: Structure, figures: &TimelineFigures) -> Panel {
        let rate = |window: &Window| {
            let instructions = (window.to - window.from) as f64;
            1000.0 * structure.misses(&window.misses) as f64 / instructions
        };
        let points = self.shown(figures).map(|window| (window.from as f64, rate(window)));
        let name = structure.label();
        let line = Series { form: Form::Steps, ..Series::line(name, points.collect()) };
        let y = Axis::linear(format!("{name} misses"), "per 1000 instr.");
        Panel { y, series: vec![line] }
    }

    /// Misses by distance from an event, with what a bin has anywhere.
    fn after(&self, after: &After) -> LineChart {
        let panel = |name: &str, wanted: &[Structure]| {
            let lines = self.has(wanted).into_iter().flat_map(|structure| {
                let middle = |bin: &strata_sim::AfterBin| (bin.from + bin.to) as f64 / 2.0;
                let estimate = |bin: &strata_sim::AfterBin| bin.misses[structure as usize];
                let bins = after.bins.iter();
                let points = bins.clone().map(|bin| (middle(bin), estimate(bin).mean)).collect();
                let band = bins.clone().map(|bin| {
                    let half = estimate(bin).half_width.unwrap_or(0.0);
                    ((estimate(bin).mean - half).max(0.0), estimate(bin).mean + half)
                });
                let level = |bin: &strata_sim::AfterBin| bin.anywhere[structure as usize];
                let ends = bins.clone().take(1).map(|bin| (bin.from as f64, level(bin)));
                let ends = ends.chain(bins.rev().take(1).map(|bin| (bin.to as f64, level(bin))));
                let name = structure.label();
                let anywhere = Series::line(format!("{name} anywhere"), ends.collect());
                [
                    Series { band: band.collect(), ..Series::line(name, points) },
                    Series { form: Form::Reference, ..anywhere },
                ]
            });
            let series: Vec<Series> = lines.collect();
            let unit = format!("per {} instr.", grouped(self.timeline.options.bin));
            (!series.is_empty()).then(|| Panel { y: Axis::linear(name, unit), series })
        };
        let panels = [
            panel("TLB misses", &TLBS),
            panel("L1 misses", &FIRST_CACHES),
            panel(&self.far_name(), &FAR_CACHES),
        ];
        let mut subtitle = format!(
            "mean of {} events; bands: 95 % confidence, events taken for independent",
            grouped(after.events)
        );
        if after.overlapping > 0 {
            let overlapping = grouped(after.overlapping);
            subtitle.push_str(&format!("; another follows {overlapping} of them in this time"));
        }
        LineChart {
            title: format!("Misses after {}, {}", after.kind, self.report.provenance.title()),
            subtitle,
            x: Axis::linear("instructions retired since the event", ""),
            panels: panels.into_iter().flatten().collect(),
            lanes: Vec::new(),
            source: self.source(),
        }
    }
}

//! Figures 11 and 12: misses over instructions retired.

use super::data::FigureData;
use super::{DrawnFigure, FigureSource};
use crate::error::Error;
use crate::line_chart::{Axis, Form, Lane, LineChart, Panel, Series};
use crate::numbers::{counted, counted_as, grouped};
use crate::structure::Structure;
use std::ops::Range;
use strata_sim::{After, MarkKind, Timeline, Window};

/// Points of a line over the whole capture, at most.
const POINTS: usize = 1200;

const TLBS: [Structure; 2] = [Structure::Dtlb, Structure::Itlb];
const FIRST: [Structure; 2] = [Structure::L1i, Structure::L1d];

/// Events by which an address space, and with it the contents of the TLBs, changes.
pub(super) const SWITCHES: [MarkKind; 3] =
    [MarkKind::VmSwitch, MarkKind::Cr3Write, MarkKind::TlbFlush];

/// A part of a timeline to draw.
struct Part<'t> {
    timeline: &'t Timeline,
    windows: Vec<&'t Window>,
}

impl<'t> Part<'t> {
    fn new(timeline: &'t Timeline, show: &Range<u64>) -> Self {
        let inside = |window: &&Window| window.from >= show.start && window.to <= show.end;
        Part { timeline, windows: timeline.windows.iter().filter(inside).collect() }
    }

    /// Misses since its beginning, at the ends of windows taken together.
    fn cumulative(&self, structure: Structure) -> Series {
        let together = self.windows.len().div_ceil(POINTS).max(1);
        let mut sum = 0;
        let mut points: Vec<(f64, f64)> =
            self.windows.first().map(|window| (window.from as f64, 0.0)).into_iter().collect();
        for windows in self.windows.chunks(together) {
            sum += windows.iter().map(|window| structure.misses(&window.misses)).sum::<u64>();
            let end = windows.last().map_or(0, |window| window.to);
            points.push((end as f64, sum as f64));
        }
        Series::line(structure.label(), points)
    }

    fn panel(&self, name: &str, structures: &[Structure]) -> Panel {
        let series = structures.iter().map(|&structure| self.cumulative(structure)).collect();
        Panel { y: Axis::linear(name, "cumulative"), series }
    }

    fn lane(&self, kind: MarkKind, name: &str, through: bool) -> Lane {
        let (first, end) = self.ends();
        let marks = self.timeline.marks.iter().filter(|mark| mark.kind == kind);
        let inside = marks.filter(|mark| (first..=end).contains(&mark.at));
        Lane { name: name.to_owned(), at: inside.map(|mark| mark.at as f64).collect(), through }
    }

    fn ends(&self) -> (u64, u64) {
        (self.windows.first().map_or(0, |w| w.from), self.windows.last().map_or(0, |w| w.to))
    }

    fn misses(&self, structures: &[Structure]) -> u64 {
        let of = |window: &&Window| {
            structures.iter().map(|structure| structure.misses(&window.misses)).sum::<u64>()
        };
        self.windows.iter().map(of).sum()
    }

    fn instructions(&self) -> u64 {
        let (first, end) = self.ends();
        end - first
    }
}

fn drawn(
    source: &FigureSource<'_>,
    chart: &LineChart,
    findings: Vec<String>,
) -> Result<DrawnFigure, Error> {
    let data = FigureData::new(source.report, chart.columns(), chart.rows().collect());
    Ok(DrawnFigure { svg: chart.to_svg()?, data, findings })
}

fn instructions_axis() -> Axis {
    Axis { from_zero: false, ..Axis::linear("instructions retired", "") }
}

/// Misses for each thousand instructions of windows in which something is marked, and of the others.
pub(super) struct Quiet {
    pub(super) with: f64,
    pub(super) without: f64,
}

/// Splits the windows by whether one of the [`SWITCHES`] is in them.
pub(super) fn quiet(timeline: &Timeline, structures: &[Structure]) -> Option<Quiet> {
    let mut marks = timeline.marks.iter().filter(|mark| SWITCHES.contains(&mark.kind)).peekable();
    let (mut sums, mut lengths) = ([0_u64; 2], [0_u64; 2]);
    for window in &timeline.windows {
        let mut is_marked = false;
        while marks.next_if(|mark| mark.at < window.to).is_some() {
            is_marked = true;
        }
        let side = usize::from(is_marked);
        sums[side] += structures.iter().map(|s| s.misses(&window.misses)).sum::<u64>();
        lengths[side] += window.to - window.from;
    }
    let rate = |side: usize| {
        (lengths[side] > 0).then(|| 1000.0 * sums[side] as f64 / lengths[side] as f64)
    };
    Some(Quiet { with: rate(1)?, without: rate(0)? })
}

/// Figure 11 (a): a snippet with its switches and flushes.
pub(super) fn snippet(
    source: &FigureSource<'_>,
    timeline: &Timeline,
    show: &Range<u64>,
) -> Result<DrawnFigure, Error> {
    let part = Part::new(timeline, show);
    let chart = LineChart {
        title: source.title("TLB misses, switches and flushes, a snippet"),
        subtitle: source.workload(),
        x: instructions_axis(),
        panels: vec![part.panel("TLB misses", &TLBS)],
        lanes: vec![
            part.lane(MarkKind::VmSwitch, "VM switch", true),
            part.lane(MarkKind::Cr3Write, "CR3 write", false),
            part.lane(MarkKind::TlbFlush, "TLB flush", false),
            part.lane(MarkKind::GrantUnmap, "grant unmap", false),
        ],
        source: source.of_chart(),
    };
    let finding = format!(
        "In these {} the DTLB misses {} times and the ITLB {} times, with {}, {} and {}.",
        counted(part.instructions(), "instruction"),
        grouped(part.misses(&[Structure::Dtlb])),
        grouped(part.misses(&[Structure::Itlb])),
        counted_as(chart.lanes[0].at.len() as u64, "VM switch", "VM switches"),
        counted(chart.lanes[1].at.len() as u64, "CR3 write"),
        counted_as(chart.lanes[2].at.len() as u64, "TLB flush", "TLB flushes"),
    );
    drawn(source, &chart, vec![finding])
}

/// Figure 11 (b): the whole capture with its VM switches.
pub(super) fn whole(source: &FigureSource<'_>, timeline: &Timeline) -> Result<DrawnFigure, Error> {
    let part = Part::new(timeline, &(0..u64::MAX));
    let chart = LineChart {
        title: source.title("TLB misses and VM switches"),
        subtitle: source.workload(),
        x: instructions_axis(),
        panels: vec![part.panel("TLB misses", &TLBS)],
        lanes: vec![
            part.lane(MarkKind::VmSwitch, "VM switch", true),
            part.lane(MarkKind::Cr3Write, "CR3 write", false),
        ],
        source: source.of_chart(),
    };
    let near = timeline.correlations.iter().find(|near| near.kind == MarkKind::Cr3Write);
    let finding = near.and_then(|near| {
        let lift = |structure: Structure| near.lift[structure as usize];
        Some(format!(
            "The {} instructions after a CR3 write are {:.1} % of all, and there are {:.1} times as \
             many DTLB misses and {:.1} times as many ITLB misses in them as anywhere.",
            grouped(timeline.options.near),
            100.0 * near.near_instructions as f64 / timeline.instructions.max(1) as f64,
            lift(Structure::Dtlb)?,
            lift(Structure::Itlb)?,
        ))
    });
    drawn(source, &chart, finding.into_iter().collect())
}

/// What follows the events of a kind, if there are any.
pub(super) fn after(timeline: &Timeline, kind: MarkKind) -> Option<&After> {
    timeline.after.iter().find(|after| after.kind == kind && !after.bins.is_empty())
}

/// Mean misses in the first bin after an event, and in a bin anywhere.
pub(super) fn first_bin(after: &After, structure: Structure) -> (f64, f64) {
    let bin = &after.bins[0];
    (bin.misses[structure as usize].mean, bin.anywhere[structure as usize])
}

/// Figures 11 (c) and (d): misses by distance from the events of a kind.
pub(super) fn following(
    source: &FigureSource<'_>,
    timeline: &Timeline,
    after: &After,
    event: &str,
) -> Result<DrawnFigure, Error> {
    let bin = timeline.options.bin;
    let series = TLBS.into_iter().flat_map(|structure| {
        let s = structure as usize;
        let middle = |from: u64, to: u64| (from + to) as f64 / 2.0;
        let bins = after.bins.iter();
        let points = bins.clone().map(|bin| (middle(bin.from, bin.to), bin.misses[s].mean));
        let band = bins.clone().map(|bin| {
            let half = bin.misses[s].half_width.unwrap_or(0.0);
            ((bin.misses[s].mean - half).max(0.0), bin.misses[s].mean + half)
        });
        let level = after.bins[0].anywhere[s];
        let end = after.bins[after.bins.len() - 1].to as f64;
        let name = structure.label();
        let line = Series { band: band.collect(), ..Series::line(name, points.collect()) };
        let anywhere = Series::line(format!("{name} anywhere"), vec![(0.0, level), (end, level)]);
        [line, Series { form: Form::Reference, ..anywhere }]
    });
    let chart = LineChart {
        title: source.title(&format!("TLB misses after {event}")),
        subtitle: format!(
            "mean of {}; bands: 95 % confidence, events taken for independent",
            counted(after.events, "event")
        ),
        x: Axis::linear("instructions retired since", ""),
        panels: vec![Panel {
            y: Axis::linear("TLB misses", format!("per {} instr.", grouped(bin))),
            series: series.collect(),
        }],
        lanes: Vec::new(),
        source: source.of_chart(),
    };
    let told = |structure: Structure| {
        let (first, anywhere) = first_bin(after, structure);
        format!("{first:.1} {} misses instead of {anywhere:.1}", structure.label())
    };
    let finding = format!(
        "The first {} instructions after {event} bring {} and {}, in the mean of {}.",
        grouped(bin),
        told(Structure::Dtlb),
        told(Structure::Itlb),
        counted(after.events, "event"),
    );
    drawn(source, &chart, vec![finding])
}

/// Figure 12: cache misses with the VM switches.
pub(super) fn caches(source: &FigureSource<'_>, timeline: &Timeline) -> Result<DrawnFigure, Error> {
    let part = Part::new(timeline, &(0..u64::MAX));
    let mut panels = vec![part.panel("L1 misses", &FIRST)];
    if source.report.profile.machine.l2().is_some() {
        panels.push(part.panel("L2 misses", &[Structure::L2]));
    }
    let chart = LineChart {
        title: source.title("Cache misses and VM switches"),
        subtitle: source.workload(),
        x: instructions_axis(),
        panels,
        lanes: vec![part.lane(MarkKind::VmSwitch, "VM switch", true)],
        source: source.of_chart(),
    };
    let finding = after(timeline, MarkKind::VmSwitch).map(|after| {
        let told = |structure: Structure| {
            let (first, anywhere) = first_bin(after, structure);
            format!("{first:.1} {} misses ({anywhere:.1} anywhere)", structure.label())
        };
        format!(
            "The {} instructions after one of the {} bring {}, {} and {}.",
            grouped(timeline.options.bin),
            counted_as(after.events, "VM switch", "VM switches"),
            told(Structure::L1i),
            told(Structure::L1d),
            told(Structure::L2),
        )
    });
    drawn(source, &chart, finding.into_iter().collect())
}

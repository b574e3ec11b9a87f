//! Figures 13 to 17: misses by size of the L2 and of the TLBs.

use super::data::FigureData;
use super::{DrawnFigure, FigureSource};
use crate::error::Error;
use crate::line_chart::{Axis, Labels, LineChart, Panel, Series};
use crate::numbers::{grouped, share_percent};
use crate::result_table::{Cell, Column, Kind};
use crate::sweep_report::SweepRow;
use strata_cachemodel::TagScheme;
use strata_sim::{Counters, Tally};

/// Misses of the L2 by its size.
#[derive(Clone, Debug)]
pub(super) struct CachePoint {
    pub(super) bytes: u64,
    pub(super) counters: Counters,
}

/// Misses of both TLBs by their entries and tags.
#[derive(Clone, Debug)]
pub(super) struct TlbPoint {
    pub(super) entries: u64,
    pub(super) tags: TagScheme,
    pub(super) itlb: Tally,
    pub(super) dtlb: Tally,
}

/// Points of the L2's sweep, by size.
pub(super) fn cache_points(rows: &[SweepRow]) -> Vec<CachePoint> {
    let bytes = |row: &SweepRow| row.profile.machine.l2().map(|l2| l2.data().size_bytes());
    let points = rows
        .iter()
        .filter_map(|row| Some(CachePoint { bytes: bytes(row)?, counters: row.profile.total }));
    let mut points: Vec<CachePoint> = points.collect();
    points.sort_by_key(|point| point.bytes);
    points
}

/// Points of the TLBs' sweep, by entries.
pub(super) fn tlb_points(rows: &[SweepRow]) -> Vec<TlbPoint> {
    let point = |row: &SweepRow| TlbPoint {
        entries: row.profile.machine.dtlb().entries(),
        tags: row.profile.machine.tags(),
        itlb: row.profile.total.itlb,
        dtlb: row.profile.total.dtlb,
    };
    let mut points: Vec<TlbPoint> = rows.iter().map(point).collect();
    points.sort_by_key(|point| point.entries);
    points
}

/// `512 KiB`, `2 MiB`.
pub(super) fn size_text(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// How much less `after` is than `before`, in per cent of it; below 0 it is more.
pub(super) fn fall(before: u64, after: u64) -> f64 {
    100.0 * (before as f64 - after as f64) / before.max(1) as f64
}

/// `fall by 31.3 %`, `rise by 0.2 %`, `stay as they are`.
pub(super) fn change(before: u64, after: u64) -> String {
    match fall(before, after) {
        _ if before == after => "stay as they are".to_owned(),
        fall if fall > 0.0 => format!("fall by {fall:.1} %"),
        rise => format!("rise by {:.1} %", -rise),
    }
}

pub(super) fn ratio(tally: Tally) -> Option<f64> {
    share_percent(tally.misses, tally.accesses)
}

fn real(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

pub(super) fn cache_figure(
    source: &FigureSource<'_>,
    points: &[CachePoint],
) -> Result<DrawnFigure, Error> {
    let mut columns = Column::texts(["l2_size"]);
    columns.extend(Column::counts(["l2_bytes", "l2_accesses", "l2_misses"]));
    columns.extend(Column::counts(["l2_inst_misses", "l2_read_misses", "l2_write_misses"]));
    columns.extend(
        ["l2_miss_percent", "l2_mpki", "fall_from_size_before_percent"]
            .map(|name| Column::new(name, Kind::Real)),
    );
    let before = |i: usize| i.checked_sub(1).map(|i| points[i].counters.l2().misses);
    let rows = points.iter().enumerate().map(|(i, point)| {
        let (l2, level) = (point.counters.l2(), point.counters.levels[1]);
        vec![
            size_text(point.bytes).into(),
            point.bytes.into(),
            l2.accesses.into(),
            l2.misses.into(),
            level.instructions.misses.into(),
            level.reads.misses.into(),
            level.writes.misses.into(),
            Cell::real(ratio(l2)),
            Cell::real(point.counters.per_thousand(l2.misses)),
            Cell::real(before(i).map(|before| fall(before, l2.misses))),
        ]
    });
    let data = FigureData::new(source.report, columns, rows.collect());
    let line = |name: &str, value: &dyn Fn(&Counters) -> Option<f64>| {
        let points = points.iter().map(|p| (p.bytes as f64, real(value(&p.counters))));
        Series::line(name, points.collect())
    };
    let per = |counters: &Counters, misses: u64| counters.per_thousand(misses);
    let chart = LineChart {
        title: source.title("Misses of the L2 by its size"),
        subtitle: source.workload(),
        x: Axis::doubling("size of the L2", "", Labels::Bytes),
        panels: vec![
            Panel {
                y: Axis::linear("L2 miss ratio", "%"),
                series: vec![line("misses of all references to the L2", &|c| ratio(c.l2()))],
            },
            Panel {
                y: Axis::linear("L2 misses", "per 1000 instr."),
                series: vec![
                    line("data reads", &|c| per(c, c.levels[1].reads.misses)),
                    line("data writes", &|c| per(c, c.levels[1].writes.misses)),
                    line("instruction fetches", &|c| per(c, c.levels[1].instructions.misses)),
                ],
            },
        ],
        lanes: Vec::new(),
        source: source.of_chart(),
    };
    Ok(DrawnFigure { svg: chart.to_svg()?, data, findings: vec![cache_finding(points)] })
}

/// How misses go from size to size, those after 8 MiB in one.
fn cache_finding(points: &[CachePoint]) -> String {
    let misses = |point: &CachePoint| point.counters.l2().misses;
    let name = |point: &CachePoint| size_text(point.bytes);
    let of = |mib: u64| points.iter().find(|point| point.bytes == mib << 20);
    match (of(2), of(4), of(8), points.last()) {
        (Some(two), Some(four), Some(eight), Some(last)) => format!(
            "L2 misses {} from 2 to 4 MiB, {} more from 4 to 8 MiB and {} from there to {}; of the \
             {} misses with 2 MiB, {:.1} % are left with {}.",
            change(misses(two), misses(four)),
            change(misses(four), misses(eight)),
            change(misses(eight), misses(last)),
            name(last),
            grouped(misses(two)),
            100.0 - fall(misses(two), misses(last)),
            name(last),
        ),
        _ => match (points.first(), points.last()) {
            (Some(first), Some(last)) => format!(
                "L2 misses {} from {} to {}.",
                change(misses(first), misses(last)),
                name(first),
                name(last)
            ),
            _ => String::new(),
        },
    }
}

pub(super) fn tlb_figure(
    source: &FigureSource<'_>,
    points: &[TlbPoint],
) -> Result<DrawnFigure, Error> {
    let own: Vec<&TlbPoint> = own_tags(source, points);
    let mut columns = Column::counts(["entries"]);
    columns.push(Column::new("tags", Kind::Text));
    for tlb in ["itlb", "dtlb"] {
        columns.extend(Column::counts(["accesses", "misses"].map(|what| format!("{tlb}_{what}"))));
        columns.push(Column::new(format!("{tlb}_miss_percent"), Kind::Real));
        columns.push(Column::new(format!("{tlb}_fall_from_entries_before_percent"), Kind::Real));
    }
    let rows = own.iter().enumerate().map(|(i, point)| {
        let mut row = vec![point.entries.into(), point.tags.to_string().into()];
        for side in [|p: &TlbPoint| p.itlb, |p: &TlbPoint| p.dtlb] {
            let tally = side(point);
            let before = i.checked_sub(1).map(|i| side(own[i]).misses);
            row.extend([
                tally.accesses.into(),
                tally.misses.into(),
                Cell::real(ratio(tally)),
                Cell::real(before.map(|before| fall(before, tally.misses))),
            ]);
        }
        row
    });
    let data = FigureData::new(source.report, columns, rows.collect());
    let line = |name: &str, side: fn(&TlbPoint) -> Tally| {
        let points = own.iter().map(|p| (p.entries as f64, real(ratio(side(p)))));
        Series::line(name, points.collect())
    };
    let chart = LineChart {
        title: source.title("Misses of the TLBs by their entries"),
        subtitle: source.workload(),
        x: Axis::doubling("entries of each TLB, fully associative", "", Labels::Number),
        panels: vec![Panel {
            y: Axis::linear("TLB miss ratio", "% of look-ups"),
            series: vec![line("DTLB", |p| p.dtlb), line("ITLB", |p| p.itlb)],
        }],
        lanes: Vec::new(),
        source: source.of_chart(),
    };
    Ok(DrawnFigure { svg: chart.to_svg()?, data, findings: vec![tlb_finding(&own)] })
}

/// Points with the tags of the machine.
pub(super) fn own_tags<'p>(source: &FigureSource<'_>, points: &'p [TlbPoint]) -> Vec<&'p TlbPoint> {
    let tags = source.report.profile.machine.tags();
    points.iter().filter(|point| point.tags == tags).collect()
}

fn tlb_finding(own: &[&TlbPoint]) -> String {
    let of = |entries: u64| own.iter().find(|point| point.entries == entries);
    let (Some(small), Some(large), Some(last)) = (of(64), of(128), own.last()) else {
        return String::new();
    };
    let side = |name: &str, side: fn(&TlbPoint) -> Tally| {
        format!(
            "{name} misses {} from 64 to 128 entries and {} more up to {}",
            change(side(small).misses, side(large).misses),
            change(side(large).misses, side(last).misses),
            grouped(last.entries),
        )
    };
    format!("{}; {}.", side("DTLB", |p| p.dtlb), side("ITLB", |p| p.itlb))
}

/// The schemes that Figure 17 compares with none, and what they are called.
const SCHEMES: [(&str, &str); 3] = [
    ("global-hypervisor", "pages of the hypervisor stay (the paper's global bit)"),
    ("architectural", "global bits as the guests set them"),
    ("vpid", "entries tagged with their VM (VPID)"),
];

pub(super) fn global_figure(
    source: &FigureSource<'_>,
    points: &[TlbPoint],
) -> Result<DrawnFigure, Error> {
    let none: Vec<&TlbPoint> = points.iter().filter(|p| p.tags == TagScheme::None).collect();
    let base = |point: &TlbPoint| none.iter().find(|none| none.entries == point.entries);
    let mut columns = Column::counts(["entries"]);
    columns.push(Column::new("tags", Kind::Text));
    for tlb in ["itlb", "dtlb"] {
        columns.extend(Column::counts([format!("{tlb}_misses")]));
        columns.push(Column::new(format!("{tlb}_fall_from_none_percent"), Kind::Real));
    }
    let rows = points.iter().filter_map(|point| {
        let base = base(point)?;
        Some(vec![
            point.entries.into(),
            point.tags.to_string().into(),
            point.itlb.misses.into(),
            Cell::Real(fall(base.itlb.misses, point.itlb.misses)),
            point.dtlb.misses.into(),
            Cell::Real(fall(base.dtlb.misses, point.dtlb.misses)),
        ])
    });
    let data = FigureData::new(source.report, columns, rows.collect());
    let lines = |side: fn(&TlbPoint) -> Tally| {
        let line = |&(tags, name): &(&str, &str)| {
            let of = points.iter().filter(|point| point.tags.to_string() == tags);
            let saved = of.filter_map(|point| {
                Some((point.entries as f64, fall(side(base(point)?).misses, side(point).misses)))
            });
            Series::line(name, saved.collect())
        };
        let lines = SCHEMES.iter().map(line);
        lines.filter(|line| !line.points.is_empty()).collect::<Vec<_>>()
    };
    let chart = LineChart {
        title: source.title("Misses saved by what survives a switch"),
        subtitle: format!("{}; compared with TLBs that every flush empties", source.workload()),
        x: Axis::doubling("entries of each TLB, fully associative", "", Labels::Number),
        panels: vec![
            Panel { y: Axis::linear("DTLB misses saved", "%"), series: lines(|p| p.dtlb) },
            Panel { y: Axis::linear("ITLB misses saved", "%"), series: lines(|p| p.itlb) },
        ],
        lanes: Vec::new(),
        source: source.of_chart(),
    };
    Ok(DrawnFigure { svg: chart.to_svg()?, data, findings: vec![global_finding(points)] })
}

/// Misses saved by a scheme with so many entries, ITLB and DTLB, in per cent.
pub(super) fn saved(points: &[TlbPoint], entries: u64, tags: &str) -> Option<(f64, f64)> {
    let of = |tags: &str| {
        points.iter().find(|point| point.entries == entries && point.tags.to_string() == tags)
    };
    let (none, with) = (of("none")?, of(tags)?);
    let itlb = fall(none.itlb.misses, with.itlb.misses);
    Some((itlb, fall(none.dtlb.misses, with.dtlb.misses)))
}

fn global_finding(points: &[TlbPoint]) -> String {
    let told = |entries: u64, tags: &str| {
        let (itlb, dtlb) = saved(points, entries, tags)?;
        Some(format!("{dtlb:.1} % of the DTLB's misses and {itlb:.1} % of the ITLB's"))
    };
    let hypervisor = told(64, "global-hypervisor");
    let mut text = match hypervisor {
        Some(saved) => format!(
            "With 64 entries, keeping the hypervisor's pages over every switch saves {saved} \
             compared with TLBs that every flush empties"
        ),
        None => return String::new(),
    };
    if let Some(saved) = told(64, "architectural") {
        text.push_str(&format!("; the global bits that the guests set save {saved}"));
    }
    if let Some(saved) = told(1024, "vpid") {
        text.push_str(&format!(". A TLB of 1,024 entries tagged with the VM saves {saved}"));
    }
    text.push('.');
    text
}

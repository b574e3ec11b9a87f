use super::*;
use crate::provenance::Provenance;
use strata_cachemodel::{Counts, Machine};
use strata_sim::{Remarks, SweepGrid, SweepPoint};

/// A sweep in which DTLB misses are 1000 / entries, halved under `vpid`; nothing else misses.
fn sweep(axes: &[SweepAxis]) -> (SweepReport, Vec<SweepRow>) {
    let machine = Machine::load("vee07").unwrap();
    let grid = SweepGrid::new(axes.to_vec()).unwrap();
    let rows = grid.machines(&machine).unwrap().into_iter().map(|(set, machine)| {
        let mut counts = Counts::default();
        let halves = if machine.tags().to_string() == "vpid" { 2 } else { 1 };
        counts.dtlb.all.misses = 1024 / machine.dtlb().entries() / halves;
        let (instructions, remarks) = (1000, Remarks::default());
        let point = SweepPoint { instructions, rep_iterations: 0, exits: 0, counts, remarks };
        SweepRow::new(set, machine, &point)
    });
    let rows = rows.collect();
    let provenance = Provenance::default();
    (SweepReport { machine, axes: axes.to_vec(), provenance }, rows)
}

fn l2() -> SweepAxis {
    SweepAxis::l2_sizes("1MiB,2MiB").unwrap()
}

fn entries() -> SweepAxis {
    SweepAxis::tlb_entries("64,16,32").unwrap()
}

fn tags() -> SweepAxis {
    SweepAxis::tags("none,vpid").unwrap()
}

#[test]
fn a_line_for_each_tag_scheme_rises_with_the_size() {
    let (report, rows) = sweep(&[l2(), entries(), tags()]);
    let over = report.figure_axis(Some("dtlb.entries")).unwrap();
    let chart = report.figure(&over, &rows).unwrap();
    let [panel] = chart.panels.as_slice() else { panic!("{:?}", chart.panels) };
    assert_eq!(panel.y.name, "DTLB misses");
    let lines: Vec<_> =
        panel.series.iter().map(|line| (line.name.as_str(), line.points.as_slice())).collect();
    let none = [(16.0, 64.0), (32.0, 32.0), (64.0, 16.0)];
    let vpid = [(16.0, 32.0), (32.0, 16.0), (64.0, 8.0)];
    assert_eq!(lines, [("none", &none[..]), ("vpid", &vpid[..])]);
    assert_eq!((chart.x.scale, chart.x.labels), (Scale::Log2, Labels::Number));
}

#[test]
fn what_changes_nothing_is_drawn_as_such() {
    let (report, rows) = sweep(&[l2(), entries(), tags()]);
    let over = report.figure_axis(None).unwrap();
    let chart = report.figure(&over, &rows).unwrap();
    assert_eq!(chart.x.labels, Labels::Bytes);
    let panel = chart.panels.iter().find(|panel| panel.y.name == "DTLB misses").unwrap();
    assert_eq!(panel.series.len(), 6);
    assert_eq!(panel.series[1].name, "entries 64, vpid");
    assert_eq!(panel.series[1].points, [(1048576.0, 8.0), (2097152.0, 8.0)]);
    let panel = chart.panels.iter().find(|panel| panel.y.name == "L2 misses").unwrap();
    assert_eq!(panel.series.len(), 1);
    assert_eq!(panel.series[0].name, "L2");
}

#[test]
fn a_figure_takes_a_swept_parameter_with_several_numbers() {
    let ways = SweepAxis::set("dtlb.ways=4,full").unwrap();
    let one = SweepAxis::l2_sizes("1MiB").unwrap();
    let (report, _) = sweep(&[ways, one, tags()]);
    let said = report.figure_axis(None).unwrap_err().to_string();
    assert!(said.contains("dtlb.ways, l2.size, tags") && said.contains("--l2-size"), "{said}");
    let said = report.figure_axis(Some("tags")).unwrap_err().to_string();
    assert!(said.contains("tags has not"), "{said}");
    let said = report.figure_axis(Some("l1d.ways")).unwrap_err().to_string();
    assert!(said.contains("`l1d.ways` is no swept parameter"), "{said}");
}

#[test]
fn rows_that_are_missing_are_not_drawn_over() {
    let (report, rows) = sweep(&[entries()]);
    let over = report.figure_axis(None).unwrap();
    assert!(report.figure(&over, &rows[1..]).is_err());
}

//! Charts as their readers get them.

use super::*;

fn chart(points: usize, marks: usize) -> LineChart {
    let curve = |factor: f64| {
        let point = |i: usize| (1000.0 * i as f64, factor * (i as f64).sqrt());
        (0..points).map(point).collect::<Vec<_>>()
    };
    let band = curve(20.0).iter().map(|&(_, y)| (0.9 * y, 1.1 * y)).collect();
    let level = vec![(0.0, 50.0), (1000.0 * points as f64, 50.0)];
    LineChart {
        title: "Misses <of> a run".to_owned(),
        subtitle: "a workload".to_owned(),
        x: Axis::linear("instructions retired", ""),
        panels: vec![
            Panel {
                y: Axis::linear("TLB misses", "per bin"),
                series: vec![
                    Series { band, ..Series::line("DTLB", curve(20.0)) },
                    Series { form: Form::Reference, ..Series::line("DTLB, mean", level) },
                    Series { form: Form::Steps, ..Series::line("ITLB", curve(7.0)) },
                ],
            },
            Panel {
                y: Axis::linear("L2 misses", "per bin"),
                series: vec![Series::line("L2", curve(2.0))],
            },
        ],
        lanes: vec![Lane {
            name: "VM switch".to_owned(),
            at: (0..marks).map(|i| 1000.0 * points as f64 * i as f64 / marks as f64).collect(),
            through: true,
        }],
        source: ChartSource { machine: "vee07".to_owned(), trace_hash: Some("0123".to_owned()) },
    }
}

fn elements(svg: &str, name: &str) -> usize {
    svg.matches(&format!("<{name} ")).count()
}

#[test]
fn title_axes_units_legend_marks_and_source_are_written() {
    let svg = chart(30, 5).to_svg().unwrap();
    for text in [
        "Misses &lt;of&gt; a run",
        "a workload",
        "instructions retired",
        "TLB misses (per bin)",
        "L2 misses (per bin)",
        "DTLB, mean",
        "ITLB",
        "VM switch",
        "machine vee07, trace 0123",
    ] {
        assert!(svg.contains(text), "no {text} in {svg}");
    }
}

#[test]
fn a_line_of_many_points_takes_no_more_room_than_the_picture_has() {
    let (few, many) = (chart(2_000, 5).to_svg().unwrap(), chart(200_000, 5).to_svg().unwrap());
    assert!(many.len() < 2 * few.len(), "{} and {}", few.len(), many.len());
}

#[test]
fn few_marks_go_through_the_panels_and_many_stay_in_their_lane() {
    let lines = |marks| elements(&chart(30, marks).to_svg().unwrap(), "polyline");
    // Beyond 80 there is one line for each instead of dashes as well.
    assert!(lines(80) > lines(81), "{} and {}", lines(80), lines(81));
    assert!(lines(50_000) < 81 + 2 * 1650);
}

#[test]
fn a_chart_of_nothing_is_drawn_with_its_axes() {
    let mut empty = chart(0, 0);
    empty.panels[0].series[1].points.clear();
    assert!(empty.to_svg().unwrap().contains("TLB misses"));
    empty.panels.clear();
    empty.lanes.clear();
    assert!(empty.to_svg().unwrap().contains("instructions retired"));
}

#[test]
fn the_csv_has_a_row_for_each_point_and_mark() {
    let written = chart(3, 2).to_csv().unwrap();
    let rows: Vec<&str> = written.lines().collect();
    assert_eq!(rows.len(), 1 + 3 * 3 + 2 + 2);
    assert_eq!(rows[0], "panel,series,instructions retired,value,low,high,machine,trace_hash");
    assert_eq!(rows[1], "TLB misses (per bin),DTLB,0,0,0,0,vee07,0123");
    assert_eq!(rows[2], "TLB misses (per bin),DTLB,1000,20,18,22,vee07,0123");
    assert_eq!(rows[13], "marks,VM switch,1500,,,,vee07,0123");
}

#[test]
fn the_png_shows_ink_of_each_line_and_is_twice_as_wide() {
    let png = chart(30, 5).to_png().unwrap();
    let pixels = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert_eq!(pixels.width(), 1920);
    let shows = |colour: (u8, u8, u8)| {
        pixels.pixels().iter().any(|p| (p.red(), p.green(), p.blue()) == colour)
    };
    assert!(shows((0, 114, 178)) && shows((0, 0, 0)) && !shows((240, 228, 66)));
}

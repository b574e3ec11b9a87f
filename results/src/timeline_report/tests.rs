//! Reports of timelines made by hand.

use super::*;
use crate::provenance::Provenance;
use strata_cachemodel::Machine;
use strata_sim::{Extent, Nameless, Replay, TimelineOptions};
use strata_symbols::Layer;
use strata_workloads::trace::MachineState;

/// Misses 0, 1, 2, … of the DTLB in windows of 100 instructions, the last of which has 50.
fn report(windows: u64, marks: Vec<Mark>) -> TimelineReport {
    let machine = Machine::load("vee07").unwrap();
    let replay = Replay::new(&machine, Nameless, MachineState::default(), Extent::default());
    let mut profile = replay.finish().unwrap().0;
    let instructions = (100 * windows).saturating_sub(50);
    let window = |index: u64| {
        let misses = [0, 0, 0, 0, 0, index, 0];
        let to = (100 * (index + 1)).min(instructions);
        Window { from: 100 * index, to, misses, by_layer: vec![misses] }
    };
    let options = TimelineOptions { window: 100, ..TimelineOptions::default() };
    profile.timeline = Some(Timeline {
        options,
        begin: 0,
        instructions,
        layers: vec![Layer::Hypervisor],
        windows: (0..windows).map(window).collect(),
        marks,
        after: Vec::new(),
        correlations: Vec::new(),
    });
    TimelineReport::new(ProfileReport { profile, provenance: Provenance::default() }).unwrap()
}

fn mark(at: u64, operations: u64) -> Mark {
    Mark { at, kind: MarkKind::GrantUnmap, operations }
}

#[test]
fn a_mark_is_in_the_window_that_begins_with_it_and_one_at_the_end_in_the_last() {
    let report = report(3, vec![mark(0, 1), mark(99, 1), mark(100, 4), mark(250, 1)]);
    let marks: Vec<usize> = report.windows().map(|(_, _, marks)| marks.len()).collect();
    assert_eq!(marks, [2, 1, 1]);
    assert_eq!(report.count(MarkKind::GrantUnmap), (4, 7));
    let sums: Vec<u64> = report.windows().map(|(_, sum, _)| Structure::Dtlb.misses(&sum)).collect();
    assert_eq!(sums, [0, 1, 3]);
}

#[test]
fn the_csv_of_windows_has_misses_sums_and_marks() {
    let written = report(3, vec![mark(100, 4)]).to_table(TimelineRows::Windows).to_csv().unwrap();
    let rows: Vec<&str> = written.lines().collect();
    let header = "from,to,l1i_misses,l1d_misses,l2_misses,itlb_misses,dtlb_misses,l1i_cumulative,\
                  l1d_cumulative,l2_cumulative,itlb_cumulative,dtlb_cumulative,vm_switch,\
                  cr3_write,tlb_flush,grant_map,grant_unmap,machine,trace_hash,";
    assert!(rows[0].starts_with(header), "{}", rows[0]);
    assert!(rows[3].starts_with("200,250,0,0,0,0,2,0,0,0,0,3,0,0,0,0,0,vee07,,"), "{}", rows[3]);
    assert!(rows[2].starts_with("100,200,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1,vee07,,"), "{}", rows[2]);
}

#[test]
fn a_timeline_of_nothing_has_tables_and_figures_too() {
    let report = report(0, Vec::new());
    assert!(report.to_text(None).contains("no events of these kinds"));
    assert!(report.to_json().unwrap().contains("\"windows\": []"));
    for (_, chart) in report.charts(&TimelineFigures::whole()) {
        assert!(chart.to_svg().unwrap().contains("instructions retired"));
    }
}

#[test]
fn a_part_of_the_time_is_drawn_from_its_own_beginning() {
    let report = report(10, vec![mark(150, 1), mark(450, 1)]);
    let charts = report.charts(&TimelineFigures { show: 300..600 });
    let (stem, chart) = &charts[0];
    assert_eq!(stem, "tlb-misses");
    let dtlb = chart.panels[0].series.iter().find(|series| series.name == "DTLB").unwrap();
    assert_eq!(dtlb.points, [(300.0, 0.0), (400.0, 3.0), (500.0, 7.0), (600.0, 12.0)]);
    assert_eq!(chart.lanes[0].at, [450.0]);
}

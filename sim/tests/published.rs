//! Figures 4 and 9 of the VEE'07 paper as printed: what the project's own checks say of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use strata_sim::Figure4;

const FIGURE_4: &str = include_str!("data/vee07-figure4.csv");
const FIGURE_9: &str = include_str!("data/vee07-figure9.csv");

/// A row of Figure 4.
struct Row {
    function: &'static str,
    counters: Figure4,
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(',').collect())
}

fn figure_4() -> Vec<Row> {
    let rows = lines(FIGURE_4).skip(1).map(|fields| {
        let numbers: Vec<u64> = fields[3..].iter().map(|field| field.parse().unwrap()).collect();
        let counters = Figure4::from_array(numbers.try_into().unwrap());
        Row { function: fields[1], counters }
    });
    rows.collect()
}

/// Functions of Figure 9 with instructions since its first row.
fn figure_9() -> Vec<(&'static str, u64)> {
    lines(FIGURE_9).skip(1).map(|fields| (fields[1], fields[2].parse().unwrap())).collect()
}

#[test]
fn the_columns_are_called_as_in_the_paper() {
    let header = lines(FIGURE_4).next().unwrap();
    assert_eq!(header[3..], Figure4::NAMES);
}

#[test]
fn the_19_published_rows_keep_all_17_identities() {
    let rows = figure_4();
    assert_eq!(rows.len(), 19);
    for row in rows {
        row.counters.check(0).unwrap_or_else(|broken| panic!("{}: {broken}", row.function));
    }
}

#[test]
fn a_published_row_with_any_one_counter_off_breaks_an_identity() {
    let row = figure_4().swap_remove(17).counters;
    for column in 0..26 {
        let mut numbers = row.to_array();
        numbers[column] += 1;
        let said = Figure4::from_array(numbers).check(0);
        assert!(said.is_err(), "{} may be anything", Figure4::NAMES[column]);
    }
}

#[test]
fn the_published_columns_have_these_sums() {
    let mut sums = [0; 26];
    for row in figure_4() {
        for (sum, number) in sums.iter_mut().zip(row.counters.to_array()) {
            *sum += number;
        }
    }
    let sum = Figure4::from_array(sums);
    sum.check(0).unwrap();
    let (l1, l2) = (sum.l1, sum.l2);
    assert_eq!((l1.hits, l1.misses, l1.inst_misses, l1.read_misses), (705, 27, 26, 1));
    assert_eq!((l1.total_refs, l1.instr_refs, l1.data_refs), (732, 441, 291));
    assert_eq!((l1.data_rds, l1.data_wrs), (164, 127));
    assert_eq!((l2.total_refs, l2.hits, l2.misses), (27, 27, 0));
    assert_eq!((sum.tlb_data_hit, sum.tlb_data_miss), (281, 10));
    assert_eq!((sum.tlb_inst_hit, sum.tlb_inst_miss), (433, 8));
}

#[test]
fn all_published_tlb_misses_come_after_the_page_tables_are_switched() {
    let rows = figure_4();
    let switch = rows.iter().position(|row| row.function == "write_ptbase").unwrap();
    // The counters of write_ptbase itself are in the row after it.
    let (before, after) = rows.split_at(switch + 2);
    let misses = |rows: &[Row]| -> (u64, u64) {
        let data = rows.iter().map(|row| row.counters.tlb_data_miss).sum();
        (data, rows.iter().map(|row| row.counters.tlb_inst_miss).sum())
    };
    assert_eq!(misses(before), (0, 0));
    assert_eq!(misses(after), (10, 8));
    assert_eq!(after.first().map(|row| row.function), Some("do_softirq"));
}

/// Pairs of functions that follow one another in both figures: instructions between their entries
/// by Figure 9, and those in the rows of the first and of the second in Figure 4.
fn adjacent() -> Vec<(&'static str, &'static str, u64, u64, u64)> {
    let (four, nine) = (figure_4(), figure_9());
    let four = four.windows(2).flat_map(|pair| {
        nine.windows(2)
            .filter(|of_nine| (of_nine[0].0, of_nine[1].0) == (pair[0].function, pair[1].function))
            .map(|of_nine| {
                let instructions = |row: &Row| row.counters.l1.instr_refs;
                let between = of_nine[1].1 - of_nine[0].1;
                (
                    pair[0].function,
                    pair[1].function,
                    between,
                    instructions(&pair[0]),
                    instructions(&pair[1]),
                )
            })
            .collect::<Vec<_>>()
    });
    four.collect()
}

#[test]
fn published_counters_are_of_the_interval_that_ends_at_their_row() {
    let pairs = adjacent();
    assert_eq!(pairs.len(), 14);
    let agree: Vec<(&str, &str, u64)> = pairs
        .iter()
        .filter(|(_, _, between, _, of_second)| between == of_second)
        .map(|&(first, second, between, ..)| (first, second, between))
        .collect();
    let expected = [
        ("stop_timer", "remove_entry", 25),
        ("set_timer", "add_entry", 32),
        ("add_entry", "up_heap", 22),
        ("context_switch", "context_switch", 29),
        ("do_softirq", "get_s_time", 35),
        ("reprogram_timer", "get_s_time", 11),
    ];
    assert_eq!(agree, expected);
    // The others have markers in between that Figure 9 leaves out: never fewer instructions.
    let larger: Vec<(u64, u64)> = pairs
        .iter()
        .filter(|(_, _, between, _, of_second)| between > of_second)
        .map(|&(_, _, between, _, of_second)| (between, of_second))
        .collect();
    let expected =
        [(140, 58), (44, 11), (104, 11), (75, 21), (60, 26), (79, 27), (144, 24), (90, 20)];
    assert_eq!(larger, expected);
}

#[test]
fn published_counters_cannot_be_of_the_function_in_their_row() {
    let pairs = adjacent();
    assert!(pairs.iter().all(|(_, _, between, of_first, _)| between != of_first));
    let impossible: Vec<(&str, u64, u64)> = pairs
        .iter()
        .filter(|(_, _, between, of_first, _)| of_first > between)
        .map(|&(first, _, between, of_first, _)| (first, of_first, between))
        .collect();
    let expected =
        [("add_entry", 32, 22), ("update_dom_time", 58, 44), ("reprogram_timer", 27, 11)];
    assert_eq!(impossible, expected);
}

#[test]
fn without_the_lag_no_published_row_contradicts_figure_9_and_all_keep_the_identities() {
    let rows = figure_4();
    // The first row's counters are of nothing, and the last function's are not in the figure.
    assert_eq!(rows[0].counters, Figure4::default());
    let own: Vec<(&str, Figure4)> =
        rows.windows(2).map(|pair| (pair[0].function, pair[1].counters)).collect();
    for (function, counters) in &own {
        counters.check(0).unwrap_or_else(|broken| panic!("{function}: {broken}"));
    }
    for (first, _, between, _, of_second) in adjacent() {
        assert!(of_second <= between, "{first}");
    }
}

#[test]
fn figure_4_leaves_out_markers_too() {
    let rows = figure_4();
    let shown: u64 = rows[1..17].iter().map(|row| row.counters.l1.instr_refs).sum();
    let nine = figure_9();
    let at = |name: &str| nine.iter().find(|row| row.0 == name).unwrap().1;
    assert_eq!(shown, 382);
    assert_eq!(at("evtchn_do_upcall") - at("stop_timer"), 1256);
}

#[test]
fn references_to_devices_are_in_the_tlbs_only() {
    let mut row = figure_4().swap_remove(17).counters;
    row.tlb_data_hit += 2;
    assert_eq!(row.check(0).unwrap_err().name, "T1");
    row.check(2).unwrap();
    row.tlb_inst_hit += 1;
    assert_eq!(row.check(2).unwrap_err().name, "T2");
    row.check(3).unwrap();
    assert!(row.check(4).is_err());
}

//! `annotate` and `flow` on the bundled capture.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx")
}

fn run(command: &str, more: &[&str]) -> String {
    let sample = sample();
    output(strata([command, text(&sample)].into_iter().chain(more.iter().copied())))
}

fn json(command: &str, more: &[&str]) -> Value {
    let arguments: Vec<&str> = more.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(command, &arguments)).unwrap()
}

fn fails(command: &str, more: &[&str]) -> String {
    let sample = sample();
    complaint(strata([command, text(&sample)].into_iter().chain(more.iter().copied())))
}

fn rows(report: &Value) -> &[Value] {
    report["rows"].as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn functions(report: &Value) -> Vec<String> {
    let name = |row: &Value| {
        format!("{}:{}", row["layer"].as_str().unwrap(), row["function"].as_str().unwrap())
    };
    rows(report).iter().map(name).collect()
}

const SOME: [&str; 2] = ["--range", "10M..11M"];

/// Counts of kernels and hypervisor by function.
fn by_function(rows: &[Value]) -> BTreeMap<String, [u64; 6]> {
    let mut all: BTreeMap<String, [u64; 6]> = BTreeMap::new();
    // Programs without symbols have a function for each frame when calls are followed.
    for row in rows.iter().filter(|row| !row["layer"].as_str().unwrap().ends_with("-user")) {
        let counts = [
            &row["instructions"],
            &row["l1i"]["misses"],
            &row["l1d"]["misses"],
            &row["l2"]["accesses"],
            &row["itlb"]["misses"],
            &row["dtlb"]["accesses"],
        ];
        let key = format!("{} {} {}", row["layer"], row["module"], row["function"]);
        let sum = all.entry(key).or_default();
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += number(count));
    }
    all
}

#[test]
fn rows_of_a_function_sum_to_what_a_replay_says_of_it() {
    let annotated = json("annotate", &SOME);
    let replayed = json("replay", &SOME);
    let expected = by_function(replayed["by"].as_array().unwrap());
    assert!(expected.len() > 300, "{}", expected.len());
    assert_eq!(by_function(rows(&annotated)), expected);
    let all: u64 = rows(&annotated).iter().map(|row| number(&row["instructions"])).sum();
    assert_eq!(all, number(&replayed["instructions"]));
    assert_eq!(annotated["trace_hash"], replayed["trace_hash"]);
    assert_eq!(annotated["command"], "annotate");
    assert_eq!(annotated["identities"]["hold"], true);
}

#[test]
fn until_the_next_row_counts_are_the_distance_to_it_and_lag_moves_them_one_row() {
    let plain = json("annotate", &["--range", "10M..10200k", "--until-next"]);
    let ats: Vec<u64> = rows(&plain).iter().map(|row| number(&row["at"])).collect();
    let counts: Vec<u64> = rows(&plain).iter().map(|row| number(&row["instructions"])).collect();
    assert!(counts.len() > 1000);
    for (pair, count) in ats.windows(2).zip(&counts) {
        assert_eq!(pair[1] - pair[0], *count);
    }
    let late = json("annotate", &["--range", "10M..10200k", "--until-next", "--vee07-lag"]);
    assert_eq!(functions(&late), functions(&plain));
    assert_eq!(number(&rows(&late)[0]["l1i"]["accesses"]), 0);
    let moved: Vec<&Value> = rows(&late)[1..].iter().map(|row| &row["dtlb"]).collect();
    let own: Vec<&Value> =
        rows(&plain)[..counts.len() - 1].iter().map(|row| &row["dtlb"]).collect();
    assert_eq!(moved, own);
}

#[test]
fn csv_has_the_columns_of_figure_4_in_its_order_and_each_row_keeps_them_consistent() {
    let written = run("annotate", &["--range", "10M..10100k", "--stats", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(written.as_bytes());
    let header = reader.headers().unwrap().clone();
    assert_eq!(header.iter().take(4).collect::<Vec<_>>(), ["EIP", "Function", "Module", "Layer"]);
    let first = header.iter().position(|name| name == "L1 hits").unwrap();
    assert_eq!(&header[first + 25], "TLB64 InstMiss");
    let mut count = 0;
    for row in reader.records() {
        let row = row.unwrap();
        let figures: Vec<u64> = (first..first + 27).map(|at| row[at].parse().unwrap()).collect();
        let row = strata_sim::Figure4::from_array(figures[..26].try_into().unwrap());
        row.check(figures[26]).unwrap();
        count += 1;
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn identities_are_said_not_to_apply_where_they_are_no_laws() {
    let machine = ["--range", "..100k", "--stats", "--set", "semantics=cachegrind"];
    let table = run("annotate", &machine);
    assert!(table.contains("do not apply: they are laws of per-reference semantics"), "{table}");
    let report = json("annotate", &machine);
    assert_eq!(report["identities"]["hold"], false);
    let table = run("annotate", &["--range", "..100k", "--stats", "--top", "3"]);
    assert!(table.contains("all 17 identities") && table.contains("rows more"), "{table}");
}

#[test]
fn a_cut_begins_and_ends_with_the_functions_named() {
    let cut = ["--from", "domU-kernel:tcp_sendmsg", "--to", "release_sock"];
    let report = json("annotate", &[&SOME[..], &cut].concat());
    let names = functions(&report);
    assert_eq!(names.first().unwrap(), "dom1-kernel:tcp_sendmsg");
    assert_eq!(names.last().unwrap(), "dom1-kernel:release_sock");
    let kernel_only = json("annotate", &[&SOME[..], &cut, &["--layer", "hypervisor"]].concat());
    assert!(functions(&kernel_only).iter().all(|name| name.starts_with("hypervisor:")));
}

/// In the order of `wanted`, with anything in between.
fn passes(names: &[String], wanted: &[&str]) -> bool {
    let mut names = names.iter();
    wanted.iter().all(|wanted| names.any(|name| name == wanted))
}

#[test]
fn the_four_stages_of_the_paper_are_in_the_capture() {
    let stages: [(&str, &str, &[&str]); 4] = [
        (
            "socket-to-tcp-write",
            "10M..11M",
            &["dom1-kernel:tcp_sendmsg", "dom1-kernel:tcp_write_xmit"],
        ),
        (
            "tcp-transmit-to-event-channel",
            "10M..11M",
            &["dom1-kernel:xennet_start_xmit", "hypervisor:do_event_channel_op"],
        ),
        ("timer-to-context-switch", "..500k", &["hypervisor:schedule"]),
        (
            "dom0-receive-to-event-back",
            "10M..11M",
            &[
                "dom0-kernel:xenvif_tx_action",
                "hypervisor:gnttab_map_grant_ref",
                "dom0-kernel:br_forward",
                "dom0-kernel:e1000_xmit_frame",
                "hypervisor:gnttab_unmap_grant_ref",
                "hypervisor:flush_area_mask",
            ],
        ),
    ];
    for (stage, range, wanted) in stages {
        let report = json("flow", &["--stage", stage, "--range", range]);
        let names = functions(&report);
        assert!(passes(&names, wanted), "{stage}: {names:?}");
        let counts: Vec<u64> =
            rows(&report).iter().map(|row| number(&row["instructions"])).collect();
        assert_eq!(counts[0], 0, "{stage}");
        assert!(counts.is_sorted(), "{stage}");
        assert_eq!(counts.last(), report["flow_instructions"].as_u64().as_ref(), "{stage}");
        assert_eq!(rows(&report)[0]["depth"], 0, "{stage}");
        assert!(!names.iter().any(|name| name.contains("__x86_")), "{stage} has thunks");
    }
}

#[test]
fn collapsing_layers_and_depth_leave_out_what_they_say() {
    let flow = ["--stage", "socket-to-tcp-write", "--range", "10M..11M"];
    let all = json("flow", &flow);
    let collapsed = json("flow", &[&flow[..], &["--collapse-repeats"]].concat());
    let elided = number(&collapsed["elided"]);
    assert!(elided > 0);
    assert_eq!(rows(&all).len() as u64, rows(&collapsed).len() as u64 + elided);
    let shallow = json("flow", &[&flow[..], &["--depth", "4"]].concat());
    let hidden = number(&shallow["hidden"]);
    assert!(hidden > 0 && rows(&shallow).iter().all(|row| row["depth"].as_i64().unwrap() <= 4));
    assert_eq!(rows(&all).len() as u64, rows(&shallow).len() as u64 + hidden);
    let table = run("flow", &[&flow[..], &["--collapse-repeats", "--top", "5"]].concat());
    assert!(table.contains("left out as repetitions") && table.contains("rows more"), "{table}");
    let lines = run("flow", &[&flow[..], &["--format", "csv"]].concat());
    assert_eq!(lines.lines().count(), rows(&all).len() + 1);
}

#[test]
fn a_function_in_several_layers_is_told_with_all_of_them() {
    let report = json("flow", &[&SOME[..], &["--from", "skb_clone", "--to", "skb_push"]].concat());
    let said = report["ambiguous"].to_string();
    assert!(said.contains("dom0-kernel:") && said.contains("dom1-kernel:"), "{said}");
}

#[test]
fn triggers_that_never_come_and_flows_that_never_end_are_errors_with_a_way_on() {
    let flow = |from: &str, to: &str, more: &[&str]| {
        fails("flow", &[&SOME[..], &["--from", from, "--to", to], more].concat())
    };
    let cases = [
        (flow("tcp_sendmgs", "release_sock", &[]), "did you mean dom1-kernel:tcp_sendmsg"),
        (flow("tcp_sendmsg", "dom0-kernel:release_sock", &[]), "dom1-kernel:release_sock"),
        (
            flow("tcp_sendmsg", "release_sock", &["--nth", "999"]),
            "no number 999 of the entries of tcp_sendmsg",
        ),
        (flow("tcp_sendmsg", "release_sock", &["--limit", "5"]), "limit of 5 rows"),
        (
            fails("annotate", &[&SOME[..], &["--from", "no_such_thing"]].concat()),
            "no function no_such_thing is entered",
        ),
    ];
    for (said, part) in &cases {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[test]
fn wrong_usage_is_refused_before_anything_is_replayed() {
    let sample = sample();
    for arguments in [
        &["flow"][..],
        &["flow", "--from", "a"],
        &["flow", "--stage", "fifth"],
        &["flow", "--stage", "timer-to-context-switch", "--from", "a", "--to", "b"],
        &["flow", "--from", "kernel:a", "--to", "b"],
        &["annotate", "--to", "b"],
        &["annotate", "--nth", "0", "--from", "b"],
    ] {
        let (command, more) = arguments.split_first().unwrap();
        strata([*command, text(&sample)].into_iter().chain(more.iter().copied())).assert().code(2);
    }
}

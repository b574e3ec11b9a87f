//! `strata callgraph`: laws, formats, exports, wrong input.

use crate::synthetic::{Capture, INSTRUCTIONS};
use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;

const EXPORTS: [&str; 5] = ["collapsed", "flamegraph", "callgrind", "firefox", "dot"];

fn run(capture: &Capture, command: &str, arguments: &[&str]) -> String {
    let fixed = [command, text(capture.path())];
    output(strata(fixed.into_iter().chain(arguments.iter().copied())))
}

fn json(capture: &Capture, command: &str, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(capture, command, &arguments)).unwrap()
}

fn refused(capture: &Capture, arguments: &[&str]) -> String {
    let fixed = ["callgraph", text(capture.path())];
    complaint(strata(fixed.into_iter().chain(arguments.iter().copied())))
}

#[test]
fn paths_and_functions_sum_to_what_replay_counts() {
    let capture = Capture::new();
    for machine in [&["--machine", "vee07"][..], &["--machine", "zen4", "--warm-up", "1k"]] {
        let replay = json(&capture, "replay", machine);
        for by in ["path", "function"] {
            let report = json(&capture, "callgraph", &[machine, &["--by", by]].concat());
            assert_eq!(report["trace_hash"], replay["trace_hash"]);
            assert_eq!(report["machine"], replay["machine"]);
            let rows = if by == "path" { &report["paths"] } else { &report["functions"] };
            let sum = |key: &str| -> u64 {
                rows.as_array().unwrap().iter().map(|row| row["self"][key].as_u64().unwrap()).sum()
            };
            assert_eq!(sum("instructions"), replay["instructions"].as_u64().unwrap());
            for structure in ["l1i", "l1d", "l2", "itlb", "dtlb"] {
                let misses = replay[structure]["misses"].as_u64().unwrap();
                assert_eq!(sum(&format!("{structure}_misses")), misses, "{structure} by {by}");
            }
        }
    }
}

#[test]
fn a_layer_is_all_that_ran_in_it() {
    let capture = Capture::new();
    let layers = json(&capture, "replay", &["--by", "layer"]);
    for row in layers["by"].as_array().unwrap() {
        let layer = row["layer"].as_str().unwrap();
        let report = json(&capture, "callgraph", &["--layer", layer]);
        assert_eq!(report["selected"]["instructions"], row["instructions"], "{layer}");
        assert_eq!(report["total"]["instructions"], INSTRUCTIONS);
        let paths = report["paths"].as_array().unwrap();
        let own = |path: &&Value| path["self"]["instructions"] != 0;
        assert!(paths.iter().filter(own).all(|path| path["layer"] == layer), "{layer}");
    }
}

#[test]
fn every_export_is_the_same_twice_and_pruning_loses_nothing() {
    let capture = Capture::new();
    for export in EXPORTS {
        let first = run(&capture, "callgraph", &["--export", export]);
        assert_eq!(first, run(&capture, "callgraph", &["--export", export]), "{export}");
        assert!(first.contains("tcp_sendmsg") && first.contains("dom1-kernel"), "{export}");
    }
    for pruning in [&["--depth", "1"][..], &["--min-share", "20"], &["--top", "2"]] {
        let arguments = [&["--export", "collapsed"], pruning].concat();
        let stacks = run(&capture, "callgraph", &arguments);
        let cost = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
        assert_eq!(stacks.lines().map(cost).sum::<u64>(), INSTRUCTIONS, "{pruning:?}");
    }
}

#[test]
fn tables_fit_the_metric_and_say_how_returns_went() {
    let capture = Capture::new();
    let tree = run(&capture, "callgraph", &["--metric", "dtlb-misses"]);
    assert!(tree.contains("DTLB misses in all") && tree.contains("no returns"), "{tree}");
    let table = run(&capture, "callgraph", &["--by", "function", "--top", "2"]);
    let total = table.lines().find(|line| line.starts_with("total")).unwrap();
    assert_eq!(total.split_whitespace().nth(1).unwrap().replace(',', ""), INSTRUCTIONS.to_string());
    let root = run(&capture, "callgraph", &["--root", "dom1-kernel:tcp_sendmsg"]);
    assert!(root.contains("under dom1-kernel:tcp_sendmsg") && !root.contains("eth_rx"), "{root}");
}

#[test]
fn what_cannot_be_shown_is_said_with_a_remedy() {
    let capture = Capture::new();
    let said = refused(&capture, &["--root", "tcp_sendmesg"]);
    assert!(said.contains("tcp_sendmesg") && said.contains("did you mean tcp_sendmsg"), "{said}");
    assert!(
        refused(&capture, &["--layer", "dom7-user"]).contains("no call paths in layer dom7-user")
    );
    assert!(refused(&capture, &["--metric", "l3-misses"]).contains("machine vee07 has no such"));
    assert!(refused(&capture, &["--metric", "cycles"]).contains("--set cost."));
    for wrong in [
        &["--metric", "l9-misses"][..],
        &["--export", "flamegraph", "--format", "json"],
        &["--export", "dot", "--by", "function"],
        &["--min-share", "101"],
        &["--depth", "0"],
    ] {
        let fixed = ["callgraph", text(capture.path())];
        strata(fixed.into_iter().chain(wrong.iter().copied())).assert().code(2);
    }
}

#[test]
fn a_stream_without_instructions_has_one_path_of_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (stream, trace) = (folder.path().join("stream"), folder.path().join("trace.strata"));
    fs::write(&stream, "0 8000\n1 8000\n0 9000\n").unwrap();
    output(strata(["import", "-q", "--from", "din", text(&stream), "-o", text(&trace)]));
    let said = complaint(strata(["callgraph", text(&trace)]));
    assert!(said.contains("no instructions: the trace lacks"), "{said}");
    let tree = output(strata(["callgraph", text(&trace), "--metric", "l1d-misses"]));
    assert!(tree.contains("2 L1D misses in all") && tree.contains("no returns"), "{tree}");
}

#[test]
fn a_range_ends_within_a_visit_and_loses_none_of_it() {
    let capture = Capture::new();
    for range in ["..20", "7..21", "1k..1001"] {
        let replay = json(&capture, "replay", &["--range", range]);
        let report = json(&capture, "callgraph", &["--range", range]);
        assert_eq!(report["total"]["instructions"], replay["instructions"], "{range}");
    }
}

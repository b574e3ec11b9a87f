//! `timeline` on the bundled capture and on wrong input.

use crate::synthetic::{Capture, INSTRUCTIONS};
use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const STRUCTURES: [&str; 5] = ["l1i", "l1d", "l2", "itlb", "dtlb"];

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx")
}

fn run(command: &str, capture: &Path, more: &[&str]) -> String {
    output(strata([command, text(capture)].into_iter().chain(more.iter().copied())))
}

fn json(command: &str, capture: &Path, more: &[&str]) -> Value {
    let arguments: Vec<&str> = more.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(command, capture, &arguments)).unwrap()
}

fn fails(capture: &Path, more: &[&str]) -> String {
    complaint(strata(["timeline", text(capture)].into_iter().chain(more.iter().copied())))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn windows_sum_to_the_replay(capture: &Path, extent: &[&str], window: &str) {
    let replayed = json("replay", capture, extent);
    let arguments: Vec<&str> = extent.iter().copied().chain(["--window", window]).collect();
    let timeline = json("timeline", capture, &arguments);
    let windows = timeline["windows"].as_array().unwrap();
    for structure in STRUCTURES {
        let sum: u64 = windows.iter().map(|window| number(&window["misses"][structure])).sum();
        assert_eq!(sum, number(&replayed[structure]["misses"]), "{structure}, {window}");
        let last = &windows[windows.len() - 1];
        assert_eq!(sum, number(&last["cumulative"][structure]));
        let by_layer = windows.iter().flat_map(|window| window["by_layer"].as_object().unwrap());
        let by_layer: u64 = by_layer.map(|(_, misses)| number(&misses[structure])).sum();
        assert_eq!(sum, by_layer);
    }
    let instructions: u64 =
        windows.iter().map(|window| number(&window["to"]) - number(&window["from"])).sum();
    assert_eq!(instructions, number(&replayed["instructions"]));
    assert_eq!(timeline["trace_hash"], replayed["trace_hash"]);
}

#[test]
fn windows_of_the_real_capture_sum_to_the_last_miss_of_its_replay() {
    let capture = sample();
    windows_sum_to_the_replay(&capture, &["--range", "5M..9M"], "50k");
    windows_sum_to_the_replay(&capture, &["--range", "5M..7M", "--warm-up", "300k"], "7777");
    windows_sum_to_the_replay(&capture, &["--range", "5M..6M"], "100M");
}

#[test]
fn windows_of_a_small_capture_sum_to_its_replay_whatever_their_length() {
    let capture = Capture::new();
    for window in ["1", "13", "1000"] {
        windows_sum_to_the_replay(capture.path(), &[], window);
    }
    windows_sum_to_the_replay(capture.path(), &["--range", "100..2000", "--warm-up", "50"], "64");
}

#[test]
fn switches_and_flushes_are_followed_by_more_misses_than_come_anywhere() {
    let timeline = json("timeline", &sample(), &["--range", "5M..15M"]);
    assert_eq!((&timeline["schema"], &timeline["command"]), (&1.into(), &"timeline".into()));
    let kinds: Vec<&str> =
        timeline["marks"].as_array().unwrap().iter().map(|m| m["kind"].as_str().unwrap()).collect();
    for kind in ["vm-switch", "cr3-write", "grant-map", "grant-unmap"] {
        assert!(kinds.contains(&kind), "no {kind}");
    }
    let ats: Vec<u64> =
        timeline["marks"].as_array().unwrap().iter().map(|mark| number(&mark["at"])).collect();
    assert!(ats.is_sorted() && ats.iter().all(|at| (5_000_000..=15_000_000).contains(at)));
    let of = |list: &str, kind: &str| {
        let list = timeline[list].as_array().unwrap();
        list.iter().find(|entry| entry["kind"] == kind).unwrap().clone()
    };
    for structure in ["itlb", "dtlb"] {
        let first = of("after", "vm-switch")["bins"][0]["misses"][structure].clone();
        let [mean, half, anywhere] =
            ["mean", "half_width", "anywhere"].map(|key| first[key].as_f64().unwrap());
        assert!(mean - half > 2.0 * anywhere, "{structure}: {first}");
        assert!(of("correlation", "vm-switch")["lift"][structure].as_f64().unwrap() > 2.0);
        assert!(of("correlation", "cr3-write")["pearson"][structure].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn every_table_is_there_as_csv_with_machine_and_trace() {
    let some = ["--range", "5M..6M", "--format", "csv", "--rows"];
    for (rows, first) in [
        ("windows", "from,to,l1i_misses,l1d_misses"),
        ("layers", "from,to,layer,l1i_misses"),
        ("marks", "at,kind,operations,"),
        ("after", "kind,events,from,to,structure,mean,low,high,anywhere,"),
        ("correlation", "kind,events,near_instructions,structure,near_misses,lift,pearson,"),
    ] {
        let arguments: Vec<&str> = some.into_iter().chain([rows]).collect();
        let written = run("timeline", &sample(), &arguments);
        let lines: Vec<&str> = written.lines().collect();
        let origin = ",machine,trace_hash,semantics,command,version,units";
        assert!(lines[0].starts_with(first) && lines[0].ends_with(origin), "{}", lines[0]);
        assert!(lines.len() > 5 && lines[1].contains(",vee07,"), "{rows}: {}", lines[1]);
    }
}

#[test]
fn figures_come_as_svg_png_and_csv_and_show_the_part_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let figures = folder.path().join("figures");
    let part = ["--range", "5M..8M", "--window", "10k", "--show", "6M..7M"];
    let arguments = part.into_iter().chain(["--figures", text(&figures)]).collect::<Vec<_>>();
    let table = run("timeline", &sample(), &arguments);
    assert!(table.contains("lift"), "{table}");
    for stem in ["tlb-misses", "cache-misses", "misses-by-window", "after-cr3-write"] {
        let read = |end: &str| fs::read(figures.join(format!("{stem}.{end}"))).unwrap();
        let svg = String::from_utf8(read("svg")).unwrap();
        assert!(svg.contains("instructions retired") && svg.contains("xen-net-tx"), "{stem}");
        assert!(read("png").starts_with(b"\x89PNG"));
        assert!(read("csv").starts_with(b"panel,series,"));
    }
    let drawn = fs::read_to_string(figures.join("tlb-misses.csv")).unwrap();
    let xs: Vec<f64> = drawn
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).unwrap().parse().unwrap())
        .collect();
    assert!(xs.len() > 200 && xs.iter().all(|x| (6e6..=7e6).contains(x)));
    // A second run draws them anew.
    run("timeline", &sample(), &arguments);
}

#[test]
fn one_window_and_events_that_never_come_are_told() {
    let capture = Capture::new();
    let table =
        run("timeline", capture.path(), &["--window", "1G", "--marks", "vm-switch,vm-entry"]);
    assert!(table.contains("there is only one"), "{table}");
    assert!(table.contains("no events of these kinds"), "{table}");
    assert!(table.contains("vm-entry"), "{table}");
    let timeline =
        json("timeline", capture.path(), &["--window", "1G", "--marks", "vm-switch,vm-entry"]);
    assert_eq!(timeline["windows"].as_array().unwrap().len(), 1);
    assert_eq!(number(&timeline["windows"][0]["to"]), INSTRUCTIONS);
    assert_eq!(timeline["after"][1]["events"], 0);
    assert!(timeline["correlation"][1]["lift"]["dtlb"].is_null());
}

#[test]
fn wrong_lengths_and_kinds_are_refused_before_the_replay() {
    let capture = sample();
    for (arguments, said) in [
        (["--window", "0"], "nothing in it"),
        (["--bin", "0"], "nothing in it"),
        (["--marks", "coffee"], "there are vm-switch, cr3-write"),
    ] {
        let mut command =
            strata(["timeline", text(&capture)].into_iter().chain(arguments.iter().copied()));
        let output = command.assert().code(2).get_output().clone();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(said), "{text}");
    }
    let said = fails(&capture, &["--window", "1"]);
    assert!(said.contains("give a longer one"), "{said}");
    let said = fails(&capture, &["--after", "10k", "--bin", "3k"]);
    assert!(said.contains("a multiple of the bin"), "{said}");
}

#[test]
fn a_truncated_trace_is_told_of_what_is_whole_if_that_is_asked_for() {
    let capture = Capture::new();
    let trace = capture.path().join("trace.strata");
    let whole = fs::read(&trace).unwrap();
    fs::write(&trace, &whole[..whole.len() - 40]).unwrap();
    let said = fails(&trace, &[]);
    assert!(said.contains("--allow-truncated"), "{said}");
    // Without its end there is no index either.
    windows_sum_to_the_replay(&trace, &["--allow-truncated"], "100");
}

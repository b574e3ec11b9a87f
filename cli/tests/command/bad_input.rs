//! Bad input: one paragraph with file, place and remedy, status 1; wrong usage: status 2.

use crate::synthetic::{Capture, INSTRUCTIONS};
use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[test]
fn a_truncated_trace_is_an_error_that_says_how_much_is_whole_and_how_to_keep_it() {
    let capture = Capture::new();
    let whole = fs::read(capture.trace()).unwrap();
    fs::write(capture.trace(), &whole[..whole.len() * 2 / 3]).unwrap();
    for command in ["replay", "info"] {
        let said = complaint(strata([command, text(capture.path())]));
        says(&said, &["trace.strata", "cut off at byte", "--salvage", "--allow-truncated"]);
        if command == "replay" {
            let beyond = strata([command, text(capture.path()), "--range", "..1G"]);
            says(&complaint(beyond), &["cut off at byte"]);
            output(strata([command, text(capture.path()), "--range", "..3k"]));
        }
        let run = strata([command, text(capture.path()), "--allow-truncated", "--format", "json"]);
        let report: Value = serde_json::from_str(&output(run)).unwrap();
        says(report["truncated"].as_str().unwrap(), &["cut off at byte"]);
        let kept = report["instructions"].as_u64().unwrap();
        assert!(kept > 0 && kept < INSTRUCTIONS, "{kept}");
    }
}

#[test]
fn a_trace_cut_within_its_first_chunk_has_nothing_to_replay() {
    let capture = Capture::new();
    let whole = fs::read(capture.trace()).unwrap();
    fs::write(capture.trace(), &whole[..100]).unwrap();
    says(&complaint(strata(["replay", text(&capture.trace())])), &["trace.strata", "cut off"]);
}

#[test]
fn a_damaged_trace_is_refused_with_the_place_of_the_damage() {
    let capture = Capture::new();
    let mut bytes = fs::read(capture.trace()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(capture.trace(), bytes).unwrap();
    for command in ["replay", "info"] {
        let said = complaint(strata([command, text(&capture.trace())]));
        says(&said, &["trace.strata", "damaged at byte", "strata check"]);
    }
}

#[test]
fn empty_foreign_and_future_traces_are_told_apart() {
    let capture = Capture::new();
    let mut future = fs::read(capture.trace()).unwrap();
    future[8] = 99;
    let cases: [(&[u8], &str); 3] =
        [(b"", "empty"), (b"\x7fELF and so on and on", "not a strata trace"), (&future, "version")];
    for (bytes, part) in cases {
        fs::write(capture.trace(), bytes).unwrap();
        for command in ["replay", "info"] {
            let said = complaint(strata([command, text(capture.path())]));
            says(&said, &["trace.strata", part]);
        }
    }
}

#[test]
fn what_is_no_capture_is_named_with_what_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    says(&complaint(strata(["info", text(&missing)])), &["missing", "strata capture"]);
    says(&complaint(strata(["replay", text(folder.path())])), &["capture.toml", "strata capture"]);
    let capture = Capture::new();
    fs::remove_file(capture.trace()).unwrap();
    says(&complaint(strata(["replay", text(capture.path())])), &["trace.strata", "No such file"]);
}

#[test]
fn missing_symbols_are_named_with_a_way_to_do_without() {
    let capture = Capture::new();
    fs::remove_file(capture.file("symbols/dom1.kallsyms")).unwrap();
    says(&complaint(strata(["replay", text(capture.path())])), &["dom1.kallsyms", "--no-symbols"]);
    output(strata(["replay", text(capture.path()), "--no-symbols"]));
}

#[test]
fn modules_that_lie_in_one_another_are_told_with_their_addresses() {
    let capture = Capture::new();
    let path = capture.file("symbols/dom1.kallsyms");
    let kernel = fs::read_to_string(&path).unwrap();
    let modules = "ffffffffc0000000 t open\t[one]\nffffffffc0000100 t poll\t[two]\n\
                   ffffffffc0000200 t close\t[one]\n";
    fs::write(&path, kernel + modules).unwrap();
    let replay = || strata(["replay", text(capture.path()), "--format", "json"]);
    let report: Value = serde_json::from_str(&output(replay())).unwrap();
    let said = report["symbols"]["complaints"].to_string();
    says(&said, &["dom1-kernel", "one and two both claim", "0xffffffffc0000100"]);
}

#[test]
fn a_trace_without_names_is_said_to_have_none_where_a_function_is_asked_for() {
    let capture = Capture::new();
    let trace = capture.trace();
    for arguments in
        [&["flow", "--from", "memcpy", "--to", "eth_rx"][..], &["callgraph", "--root", "memcpy"]]
    {
        let (command, more) = arguments.split_first().unwrap();
        let run = strata([*command, text(&trace)].into_iter().chain(more.iter().copied()));
        says(&complaint(run), &["memcpy", "has a name", "capture folder"]);
    }
}

#[test]
fn a_manifest_with_an_unknown_key_is_refused_with_its_line() {
    let capture = Capture::new();
    let manifest = fs::read_to_string(capture.file("capture.toml")).unwrap();
    fs::write(capture.file("capture.toml"), format!("colour = 1\n{manifest}")).unwrap();
    says(&complaint(strata(["info", text(capture.path())])), &["capture.toml", "line 1", "colour"]);
}

#[test]
fn machines_that_cannot_exist_are_refused_with_key_and_limit() {
    let capture = Capture::new();
    let run = |arguments: &[&str]| {
        let fixed = ["replay", text(capture.path())];
        complaint(strata(fixed.into_iter().chain(arguments.iter().copied())))
    };
    says(&run(&["--set", "l2.colour=red"]), &["l2.colour", "size", "ways"]);
    says(&run(&["--set", "l2.ways=0"]), &["l2.ways", "from 1"]);
    says(&run(&["--set", "l2.size=big"]), &["l2.size", "big"]);
    says(&run(&["--machine", "pdp11"]), &["pdp11", "vee07", "zen4", "TOML file"]);
    says(&run(&["--set", "l2.size=1000000"]), &["l2.size", "multiple"]);
    says(&run(&["--set", "dtlb.entires=32"]), &["dtlb.entires", "entries"]);
    says(&run(&["--set", "tlb.entries=32"]), &["tlb", "itlb"]);
    says(&run(&["--set", "tags=asid"]), &["tags", "asid", "pcid"]);
    says(&run(&["--set", "l1d.line-size=48"]), &["l1d.line-size", "power of two"]);
    says(&run(&["--set", "cost.base-cpi=1"]), &["cost", "memory"]);
    says(&run(&["--set", "l2.replacement=mru"]), &["l2.replacement", "mru", "srrip"]);
    says(&run(&["--set", "cpus=0"]), &["cpus", "1"]);
    let file = capture.file("machine.toml");
    fs::write(&file, "name = \"x\"\ncolour = 1\n").unwrap();
    says(&run(&["--machine", text(&file)]), &["machine.toml", "line 2", "colour"]);
}

#[test]
fn a_range_outside_the_trace_says_where_it_ends() {
    let capture = Capture::new();
    let said = complaint(strata(["replay", text(capture.path()), "--range", "5M.."]));
    says(&said, &["trace.strata", "ends at instruction 10000"]);
    let said = complaint(strata(["replay", text(capture.path()), "--warm-up", "5M"]));
    says(&said, &["warm-up"]);
}

#[test]
fn existing_files_are_replaced_only_by_force_and_never_half() {
    let capture = Capture::new();
    let out = capture.file("out.csv");
    fs::write(&out, "mine").unwrap();
    let run = |more: &[&str]| {
        let fixed = ["replay", text(capture.path()), "--format", "csv", "-o", text(&out)];
        strata(fixed.into_iter().chain(more.iter().copied()))
    };
    says(&complaint(run(&[])), &["out.csv", "--force"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    complaint(run(&["--force", "--range", "5M.."]));
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    assert_eq!(output(run(&["--force"])), "");
    assert!(fs::read_to_string(&out).unwrap().starts_with("layer,"));
}

#[test]
fn an_output_in_a_folder_that_is_none_is_named() {
    let capture = Capture::new();
    let out = capture.file("nowhere/out.csv");
    let said = complaint(strata(["replay", text(capture.path()), "-o", text(&out)]));
    says(&said, &["nowhere/out.csv", "cannot be written"]);
}

#[test]
fn wrong_usage_has_status_2_and_names_what_is_possible() {
    let capture = Capture::new();
    let path = text(capture.path());
    let cases: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["replay"], "<CAPTURE>"),
        (&["replay", path, "--by", "colour"], "object"),
        (&["replay", path, "--sort", "colour"], "dtlb-misses"),
        (&["replay", path, "--layer", "dom1"], "dom1"),
        (&["replay", path, "--set", "l2.size"], "KEY=VALUE"),
        (&["replay", path, "--range", "9..1"], "empty range"),
        (&["replay", path, "--columns", "colour"], "hit-rate"),
        (&["info", path, "--format", "yaml"], "json"),
    ];
    for (arguments, part) in cases {
        let assert = strata(arguments.iter().copied()).assert().code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        says(&said, &[part]);
    }
}

//! What an imported stream does not know is not available, and never 0.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// An imported stream.
struct Imported {
    _folder: TempDir,
    trace: PathBuf,
}

fn import(format: &str, content: &[u8]) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let (stream, trace) = (folder.path().join("stream"), folder.path().join("trace.strata"));
    fs::write(&stream, content).unwrap();
    output(strata(["import", "-q", "--from", format, text(&stream), "-o", text(&trace)]));
    Imported { _folder: folder, trace }
}

impl Imported {
    fn run(&self, arguments: &[&str]) -> String {
        let fixed = ["replay", text(&self.trace)];
        output(strata(fixed.into_iter().chain(arguments.iter().copied())))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_str(&self.run(&arguments)).unwrap()
    }
}

const DATA_ONLY: &[u8] = b"0 8000\n1 8000\n0 9000\n";
const FETCHES_ONLY: &[u8] = b"2 8000\n2 8004\n2 9000\n";
const LACKEY: &[u8] = b"I  00401000,3\n L 1ffeffe7e0,8\nI  00401003,5\n M 00404010,4\n";

#[test]
fn without_fetches_instructions_and_what_they_go_through_are_not_available() {
    let trace = import("din", DATA_ONLY);
    let report = trace.json(&[]);
    for key in ["instructions", "l1i", "itlb", "estimated_cycles"] {
        assert_eq!(report[key], Value::Null, "{key}");
        assert_eq!(report["by"][0][key], Value::Null, "by[0].{key}");
    }
    assert_eq!(report["l2"]["inst_misses"], Value::Null);
    assert_eq!(report["l1d"]["mpki"], Value::Null);
    assert_eq!((&report["l1d"]["accesses"], &report["l1d"]["misses"]), (&3.into(), &2.into()));
    assert_eq!(report["dtlb"]["misses"], 2);
    assert!(report["lacks"].to_string().contains("instruction fetches"));
    let table = trace.run(&[]);
    assert!(table.contains("replayed  3 data references"), "{table}");
    let total = table.lines().find(|line| line.starts_with("total")).unwrap();
    let cells: Vec<&str> = total.split_whitespace().collect();
    assert_eq!(cells, ["total", "–", "–", "–", "2", "2", "–", "2"]);
}

#[test]
fn without_data_the_data_side_is_not_available() {
    let trace = import("din", FETCHES_ONLY);
    let report = trace.json(&["--machine", "zen4"]);
    for key in ["l1d", "dtlb", "estimated_cycles"] {
        assert_eq!(report[key], Value::Null, "{key}");
    }
    assert_eq!((&report["instructions"], &report["itlb"]["misses"]), (&3.into(), &2.into()));
    assert_eq!(
        (&report["l2"]["inst_misses"], &report["l2"]["read_misses"]),
        (&2.into(), &Value::Null)
    );
    assert!(trace.run(&["--by", "page"]).contains("data misses: not available"));
    assert_eq!(trace.json(&["--by", "page"])["by"], Value::Array(Vec::new()));
}

#[test]
fn in_csv_what_is_not_available_is_an_empty_field() {
    let csv = import("din", DATA_ONLY).run(&["--format", "csv"]);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let field = |name: &str| &row[header.iter().position(|field| field == name).unwrap()];
    for name in [
        "instructions",
        "l1i_misses",
        "itlb_accesses",
        "l2_inst_misses",
        "l1d_misses_per_1000_instructions",
        "stale_hits",
        "vm_exits",
    ] {
        assert_eq!(field(name), "", "{name}");
    }
    assert_eq!(
        (field("l1d_misses"), field("l2_read_misses"), field("layer")),
        ("2", "2", "unknown")
    );
    assert!(field("trace_lacks").starts_with("instruction fetches; sizes of data references;"));
}

#[test]
fn events_and_translations_that_are_lacking_are_not_counted_as_none() {
    let trace = import("lackey", LACKEY);
    let report = trace.json(&[]);
    for key in
        ["flushes", "deliveries", "stale_hits", "device_accesses", "cache_flushes", "vm_exits"]
    {
        assert_eq!(report[key], Value::Null, "{key}");
    }
    assert_eq!(report["dma"]["transfers"], Value::Null);
    assert_eq!(
        (&report["instructions"], &report["by"][0]["layer"]),
        (&2.into(), &"unknown".into())
    );
    let table = trace.run(&[]);
    for part in [
        "lacks     bytes of instructions, page translations",
        "caches go by virtual address",
        "event delivery: not available",
    ] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    assert!(!table.contains("sizes of data references"), "lackey has them: {table}");
}

#[test]
fn modifies_that_are_not_marked_matter_where_they_are_counted_once() {
    let trace = import("din", b"2 8000\n0 9000\n1 9000\n");
    let remark = "read-modify-writes are not marked";
    assert!(!trace.run(&[]).contains(remark));
    assert!(trace.run(&["--set", "semantics=cachegrind"]).contains(remark));
    let marked = import("lackey", LACKEY);
    let report = marked.json(&["--set", "semantics=cachegrind"]);
    assert_eq!((&report["l1d"]["reads"], &report["l1d"]["writes"]), (&2.into(), &0.into()));
}

#[test]
fn walks_of_unknown_tables_are_counted_and_their_references_are_not_available() {
    let report = import("lackey", LACKEY).json(&["--set", "walk.memory=l2"]);
    assert_eq!(
        (&report["page_walks"]["walks"], &report["page_walks"]["accesses"]),
        (&3.into(), &Value::Null)
    );
    assert!(report["remarks"].to_string().contains("page tables are not known"));
}

#[test]
fn a_flush_of_din_empties_the_caches() {
    let report = import("din", b"2 8000\n0 9000\n4 0\n0 9000\n").json(&[]);
    assert_eq!((&report["l1d"]["misses"], &report["dtlb"]["misses"]), (&2.into(), &1.into()));
}

#[test]
fn info_says_what_a_trace_lacks() {
    let info = |trace: &Imported, format: &[&str]| {
        let fixed = ["info", text(&trace.trace)];
        output(strata(fixed.into_iter().chain(format.iter().copied())))
    };
    let json =
        |trace| -> Value { serde_json::from_str(&info(trace, &["--format", "json"])).unwrap() };
    let data = import("din", DATA_ONLY);
    let found = json(&data);
    assert_eq!((&found["instructions"], &found["data_accesses"]), (&Value::Null, &3.into()));
    assert_eq!(found["layers"][0]["layer"], "unknown");
    assert_eq!(json(&import("din", FETCHES_ONLY))["data_accesses"], Value::Null);
    let said = info(&data, &[]);
    assert!(
        said.contains("lacks     instruction fetches") && said.contains("– instructions"),
        "{said}"
    );
}

#[test]
fn ranges_of_a_trace_without_instructions_are_refused() {
    let trace = import("din", DATA_ONLY);
    for arguments in [["--range", "..5"], ["--warm-up", "1"]] {
        let fixed = ["replay", text(&trace.trace)];
        let said = complaint(strata(fixed.into_iter().chain(arguments)));
        assert!(said.contains("no instructions to count"), "{said}");
    }
}

#[test]
fn classes_are_told_of_what_there_is() {
    let report = import("din", DATA_ONLY).json(&["--classify"]);
    let classes = report["classes"].as_object().unwrap();
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["dtlb", "l1d", "l2"]);
    assert_eq!(classes["l1d"]["compulsory"], 2);
}

//! `strata compare`: differences, ratios, rows of one side, and what cannot be compared.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with results in it.
struct Results {
    capture: Capture,
    folder: TempDir,
}

impl Results {
    fn new() -> Self {
        Results { capture: Capture::new(), folder: tempfile::tempdir().unwrap() }
    }

    /// Writes the result of a command under `name`.
    fn make(&self, name: &str, command: &str, more: &[&str]) -> PathBuf {
        let path = self.folder.path().join(name);
        let format = if name.ends_with("csv") { "csv" } else { "json" };
        let fixed = [command, text(self.capture.path()), "--format", format, "-o", text(&path)];
        output(strata(fixed.into_iter().chain(more.iter().copied())));
        path
    }

    /// Writes anything under `name`.
    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }
}

fn compared(a: &Path, b: &Path, more: &[&str]) -> Value {
    let fixed = ["compare", text(a), text(b), "--format", "json", "-q"];
    serde_json::from_str(&output(strata(fixed.into_iter().chain(more.iter().copied())))).unwrap()
}

fn total<'v>(comparison: &'v Value, metric: &str) -> &'v Value {
    let totals = comparison["totals"].as_array().unwrap();
    totals.iter().find(|total| total["metric"] == metric).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn totals_and_rows_are_those_of_the_results_with_difference_and_ratio() {
    let results = Results::new();
    let a = results.make("a.json", "replay", &["--by", "layer"]);
    let b = results.make("b.json", "replay", &["--by", "layer", "--set", "dtlb.entries=4"]);
    let comparison = compared(&a, &b, &["--metric", "dtlb-misses"]);
    let (of_a, of_b) = (read(&a), read(&b));
    let misses = |report: &Value| report["dtlb"]["misses"].as_i64().unwrap();
    let all = total(&comparison, "dtlb_misses");
    assert!(misses(&of_b) > misses(&of_a));
    assert_eq!((&all["a"], &all["b"]), (&of_a["dtlb"]["misses"], &of_b["dtlb"]["misses"]));
    assert_eq!(all["difference"], misses(&of_b) - misses(&of_a));
    let ratio = misses(&of_b) as f64 / misses(&of_a) as f64;
    assert!((all["ratio"].as_f64().unwrap() - ratio).abs() < 1e-12);
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(rows.len(), of_a["by"].as_array().unwrap().len());
    for row in rows {
        let layer = &row["key"]["layer"];
        for (side, report) in [("a", &of_a), ("b", &of_b)] {
            let by = report["by"].as_array().unwrap();
            let entry = by.iter().find(|entry| entry["layer"] == *layer).unwrap();
            assert_eq!(row["metrics"]["dtlb_misses"][side], entry["dtlb"]["misses"]);
        }
    }
    let differences: Vec<i64> = rows
        .iter()
        .map(|row| row["metrics"]["dtlb_misses"]["difference"].as_i64().unwrap().abs())
        .collect();
    assert!(differences.is_sorted_by(|x, y| x >= y), "{differences:?}");
    assert_eq!(compared(&a, &b, &["--top", "2"])["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn a_result_compared_with_itself_has_no_differences_and_no_warnings() {
    let results = Results::new();
    let a = results.make("a.json", "replay", &[]);
    let comparison = compared(&a, &a, &[]);
    assert_eq!(comparison["warnings"], json!([]));
    assert_eq!(comparison["settings"], json!([]));
    for total in comparison["totals"].as_array().unwrap() {
        assert_eq!(total["difference"].as_f64().unwrap_or(0.0), 0.0, "{total}");
    }
    assert!(comparison["rows"].as_array().unwrap().iter().all(|row| row["in"] == "both"));
}

#[test]
fn settings_that_differ_are_warned_of_by_name() {
    let results = Results::new();
    let a = results.make("a.json", "replay", &[]);
    let more = ["--set", "l2.size=4MiB", "--set", "semantics=first-byte", "--range", "..3k"];
    let b = results.make("b.json", "replay", &more);
    let said = output(strata(["compare", text(&a), text(&b)]));
    let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "two machines: machine.l2.size 2MiB and 4MiB",
        "semantics per-reference and first-byte",
        "range.to – and 3000",
    ] {
        assert!(flat.contains(part), "{part:?} is not in {said}");
    }
    let mut other = read(&a);
    other["trace_hash"] = json!("0".repeat(32));
    let other = results.put("other.json", other.to_string());
    let warnings = compared(&a, &other, &[])["warnings"].to_string();
    assert!(warnings.contains("two traces"), "{warnings}");
}

#[test]
fn rows_of_one_result_only_are_shown_as_such() {
    let results = Results::new();
    let a = results.make("a.json", "replay", &["--by", "layer"]);
    let mut without = read(&a);
    let gone = without["by"].as_array_mut().unwrap().remove(0);
    let b = results.put("b.json", without.to_string());
    for (first, second, place) in [(&a, &b, "a"), (&b, &a, "b")] {
        let comparison = compared(first, second, &[]);
        let row = &comparison["rows"][0];
        assert_eq!((&row["key"]["layer"], &row["in"]), (&gone["layer"], &json!(place)));
        let pair = &row["metrics"]["instructions"];
        assert_eq!(pair[place], gone["instructions"]);
        assert_eq!((&pair["difference"], &pair["ratio"]), (&Value::Null, &Value::Null));
        let said = output(strata(["compare", text(first), text(second)]));
        let layer = gone["layer"].as_str().unwrap();
        let line = said.lines().find(|line| line.starts_with(layer)).unwrap();
        assert!(line.contains(&format!(" {} ", place.to_uppercase())), "{line}");
    }
}

#[test]
fn csv_compares_as_json_does() {
    let results = Results::new();
    let make = |name: &str, entries: &str| {
        results.make(name, "replay", &["--by", "module", "--set", entries])
    };
    let json = ["a.json", "b.json"].into_iter().zip(["dtlb.entries=64", "dtlb.entries=4"]);
    let json: Vec<PathBuf> = json.map(|(name, entries)| make(name, entries)).collect();
    let csv = [make("a.csv", "dtlb.entries=64"), make("b.csv", "dtlb.entries=4")];
    let (of_json, of_csv) = (compared(&json[0], &json[1], &[]), compared(&csv[0], &csv[1], &[]));
    let pairs = |comparison: &Value| -> Vec<(String, Value)> {
        let rows = comparison["rows"].as_array().unwrap().iter();
        rows.map(|row| {
            let key = format!("{}/{}", row["key"]["layer"], row["key"]["module"]);
            (key, row["metrics"]["dtlb_misses"].clone())
        })
        .collect()
    };
    assert_eq!(pairs(&of_json), pairs(&of_csv));
    assert_eq!(total(&of_json, "dtlb_misses"), total(&of_csv, "dtlb_misses"));
    let changed = |comparison: &Value| comparison["settings"].clone();
    assert_eq!(changed(&of_json), changed(&of_csv));
    // One of each kind goes too.
    let mixed = compared(&json[0], &csv[1], &[]);
    assert_eq!(total(&mixed, "dtlb_misses"), total(&of_json, "dtlb_misses"));
}

#[test]
fn comparisons_can_be_written_as_csv() {
    let results = Results::new();
    let a = results.make("a.json", "replay", &["--by", "layer"]);
    let b = results.make("b.json", "replay", &["--by", "layer", "--set", "dtlb.entries=4"]);
    let run = ["compare", text(&a), text(&b), "--format", "csv", "--metric", "dtlb-misses", "-q"];
    let written = output(strata(run));
    let mut reader = csv::Reader::from_reader(written.as_bytes());
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|field| field == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let number = |row: &csv::StringRecord, name: &str| row[column(name)].parse::<i64>().unwrap();
    assert_eq!(&rows[0][column("table")], "total");
    for row in &rows {
        assert_eq!(number(row, "b") - number(row, "a"), number(row, "difference"));
        assert_eq!((&row[column("of")], &row[column("command")]), ("replay", "compare"));
    }
    let sum: i64 = rows[1..].iter().map(|row| number(row, "difference")).sum();
    assert_eq!(sum, number(&rows[0], "difference"));
}

#[test]
fn results_of_commands_to_come_compare_by_the_form_of_their_rows() {
    let results = Results::new();
    let head = json!({"schema": 1, "machine": {"name": "vee07"}, "trace_hash": "ab"});
    let with = |command: &str, key: &str, rows: Value| {
        let mut result = head.clone();
        result["command"] = command.into();
        result[key] = rows;
        result.to_string()
    };
    let point =
        |size: &str, misses: u64| json!({"set": {"l2.size": size}, "l2": {"misses": misses}});
    let a = with("sweep", "points", json!([point("1MiB", 90), point("2MiB", 50)]));
    let b =
        with("sweep", "points", json!([point("2MiB", 40), point("1MiB", 90), point("4MiB", 9)]));
    let comparison =
        compared(&results.put("a.json", a), &results.put("b.json", b), &["--metric", "l2-misses"]);
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["key"]["set"], &rows[1]["key"]["set"]),
        (&json!("l2.size=2MiB"), &json!("l2.size=4MiB"))
    );
    assert_eq!(rows[0]["metrics"]["l2_misses"]["difference"], -10);
    assert_eq!(rows[1]["in"], "b");

    let row = |key: &str, total: f64| json!({"key": key, "total": total});
    let a = with("exits", "rows", json!([row("HLT", 1.5), row("CPUID", 2.0)]));
    let b = with("exits", "rows", json!([row("CPUID", 2.0), row("HLT", 4.5)]));
    let comparison = compared(&results.put("a.json", a), &results.put("b.json", b), &[]);
    assert_eq!(comparison["rows"][0]["key"]["key"], "HLT");
    assert_eq!(comparison["rows"][0]["metrics"]["total"]["ratio"], 3.0);

    // Of a command that nothing is known of, what is text names a row.
    let row = |name: &str, time: u64| json!({"category": name, "time": time});
    let a = with("later", "categories", json!([row("guest", 5), row("xen", 7)]));
    let b = with("later", "categories", json!([row("xen", 9), row("guest", 5)]));
    let comparison = compared(&results.put("a.json", a), &results.put("b.json", b), &[]);
    assert_eq!(comparison["rows"][0]["key"]["category"], "xen");
    assert_eq!(comparison["rows"][0]["metrics"]["time"]["difference"], 2);
}

#[test]
fn points_of_two_sweeps_are_matched_by_what_is_set() {
    let results = Results::new();
    let sizes = |list: &'static str| ["--tlb-entries", list, "--tags", "none,vpid"];
    let more = ["--set", "l2.size=64KiB"];
    let make = |name: &str, list, more: &[&str]| {
        results.make(name, "sweep", &[&sizes(list)[..], more].concat())
    };
    let a = make("a.json", "4,8", &[]);
    let b = make("b.json", "8,4,16", &more);
    let comparison = compared(&a, &b, &["--metric", "dtlb-misses"]);
    let warnings = comparison["warnings"].to_string();
    assert!(warnings.contains("machine.l2.size 2MiB and 64KiB"), "{warnings}");
    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    let (of_a, of_b) = (read(&a), read(&b));
    for row in rows {
        let set = row["key"]["set"].as_str().unwrap();
        let misses = |report: &Value| {
            let point = report["points"].as_array().unwrap().iter().find(|point| {
                let pairs = point["set"].as_object().unwrap().iter();
                let pairs = pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap()));
                pairs.collect::<Vec<_>>().join(" ") == set
            });
            point.map_or(Value::Null, |point| point["dtlb"]["misses"].clone())
        };
        let numbers = &row["metrics"]["dtlb_misses"];
        assert_eq!((&numbers["a"], &numbers["b"]), (&misses(&of_a), &misses(&of_b)), "{set}");
        assert_eq!(row["in"] == "b", set.contains("16"), "{set}");
    }
    // The L2 is another, the TLBs are not.
    assert!(
        rows.iter()
            .filter(|row| row["in"] == "both")
            .all(|row| { row["metrics"]["dtlb_misses"]["difference"] == 0 })
    );

    let csv = [make("a.csv", "4,8", &[]), make("b.csv", "8,4,16", &more)];
    let of_csv = compared(&csv[0], &csv[1], &["--metric", "dtlb-misses"]);
    assert_eq!(of_csv["rows"], comparison["rows"]);
    let warnings = of_csv["warnings"].to_string();
    assert!(warnings.contains("machine.l2.size 2MiB and 64KiB"), "{warnings}");
    assert!(!warnings.contains("tlb.entries") && !warnings.contains("tags"), "{warnings}");
}

#[test]
fn timelines_are_compared_window_by_window_and_by_kinds_of_events() {
    let results = Results::new();
    let bins = ["--after", "200", "--bin", "100"];
    let make =
        |name: &str, more: &[&str]| results.make(name, "timeline", &[&bins[..], more].concat());
    let a = make("a.json", &["--window", "1k"]);
    let b = make("b.json", &["--window", "1k", "--set", "dtlb.entries=4"]);
    let comparison = compared(&a, &b, &["--metric", "dtlb-misses,marks"]);
    let (of_a, of_b) = (read(&a), read(&b));
    let all = total(&comparison, "dtlb_misses");
    assert_eq!((&all["a"], &all["b"]), (&of_a["total"]["dtlb"], &of_b["total"]["dtlb"]));
    let rows = |table: &str| -> Vec<&Value> {
        let rows = comparison["rows"].as_array().unwrap().iter();
        rows.filter(|row| row["table"] == table).collect()
    };
    let of = |report: &Value| report["windows"].as_array().unwrap().clone();
    assert_eq!(rows("windows").len(), of(&of_a).len());
    for (x, y) in of(&of_a).iter().zip(&of(&of_b)) {
        let from = x["from"].to_string();
        let is_it = |row: &&&Value| row["key"]["from"] == from.as_str();
        let numbers = &rows("windows").iter().find(is_it).unwrap()["metrics"]["dtlb_misses"];
        let sides = (&x["misses"]["dtlb"], &y["misses"]["dtlb"]);
        assert_eq!((&numbers["a"], &numbers["b"]), sides);
    }
    assert!(all["difference"].as_i64().unwrap() > 0);
    let marks = of_a["marks"].as_array().unwrap();
    assert!(!marks.is_empty());
    for row in rows("marks") {
        let count = marks.iter().filter(|mark| mark["kind"] == row["key"]["kind"]).count();
        assert_eq!(row["metrics"]["marks"]["a"], count);
        assert_eq!(row["metrics"]["marks"]["difference"], 0);
    }
    let said = output(strata(["compare", text(&a), text(&b)]));
    assert!(said.contains("dtlb misses") || said.contains("dtlb_misses"), "{said}");

    let other = make("other.json", &["--window", "2k"]);
    let said = complaint(strata(["compare", text(&a), text(&other)]));
    assert!(said.contains("windows of 1000") && said.contains("--window"), "{said}");
}

#[test]
fn what_is_no_result_is_refused_with_what_it_is() {
    let results = Results::new();
    let good = results.make("good.json", "replay", &[]);
    let layers = results.make("layers.json", "replay", &["--by", "layer"]);
    let info = results.make("info.json", "info", &[]);
    let whole = fs::read_to_string(&good).unwrap();
    let mut future = read(&good);
    future["schema"] = json!(2);
    let mut broken = read(&good);
    broken["by"] = json!({"layer": "idle"});
    let comparison = compared(&good, &good, &[]);
    let cases: [(PathBuf, &[&str]); 13] = [
        (results.folder.path().join("none.json"), &["none.json: cannot be read"]),
        (results.put("empty", ""), &["empty: is no result", "it is empty"]),
        (results.put("binary", [0xff, 0xfe, 0]), &["byte 0 is no text"]),
        (
            results.put("cut.json", &whole[..whole.len() / 2]),
            &["the JSON ends at line", "in the middle"],
        ),
        (results.put("foreign.json", "{\"a\": 1}"), &["no key `schema`", "--format json or csv"]),
        (results.put("list.json", "[1]"), &["one object"]),
        (results.put("future.json", future.to_string()), &["schema 2", "reads schema 1"]),
        (results.put("broken.json", broken.to_string()), &["`by` is no list"]),
        (results.put("twice.json", comparison.to_string()), &["is a comparison already"]),
        (results.put("foreign.csv", "a,b\n1,2\n"), &["no column `command`"]),
        (results.put("bare.csv", "layer,module,function,command\n"), &["a header and no rows"]),
        (layers, &["by function", "by layer", "--by"]),
        (info, &["a result of replay", "a result of info", "two of one command"]),
    ];
    for (path, parts) in cases {
        let said = complaint(strata(["compare", text(&good), text(&path)]));
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    }
    let said = complaint(strata(["compare", text(&good), text(&good), "--metric", "dtlb-mises"]));
    assert!(said.contains("`dtlb-mises`") && said.contains("dtlb_misses"), "{said}");
}

#[test]
fn parquet_is_written_or_refused_with_how_to_get_it() {
    let results = Results::new();
    let path = results.folder.path().join("rows.parquet");
    let capture = text(results.capture.path());
    let run = || strata(["replay", capture, "--format", "parquet", "-o", text(&path)]);
    if cfg!(feature = "parquet") {
        output(run());
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        let says = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(says(b"strata.trace_hash") && says(b"strata.unit.l2_misses"));
    } else {
        let said = complaint(run());
        assert!(said.contains("--features parquet"), "{said}");
        assert!(!path.exists());
    }
}

#[test]
fn every_csv_carries_trace_version_and_units() {
    let results = Results::new();
    for (command, more) in
        [("replay", &["--by", "page"][..]), ("replay", &[]), ("info", &[]), ("check", &[])]
    {
        let path = results.make(&format!("{command}{}.csv", more.len()), command, more);
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header = reader.headers().unwrap().clone();
        let column = |name: &str| header.iter().position(|field| field == name).unwrap();
        for row in reader.records().map(Result::unwrap) {
            assert_eq!(row[column("trace_hash")].len(), 32, "{command}");
            assert_eq!(&row[column("command")], command);
            assert_eq!(&row[column("version")], env!("CARGO_PKG_VERSION"));
            assert!(row[column("units")].contains("count: all other numbers"), "{command}");
        }
    }
}

//! `strata compare` of times: what is saved, against Tables 5 and 8 to 11 of the Xen/VT paper.

use crate::{complaint, output, strata, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The cells of a published table, its header first.
fn published(number: u32) -> Vec<Vec<String>> {
    let name = format!("../exits/tests/data/published/xen-vt-table-{number}.csv");
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// A result of `exits` with one number in each row.
fn result(folder: &TempDir, name: &str, metric: &str, rows: &[(String, f64)]) -> PathBuf {
    let rows: Vec<Value> =
        rows.iter().map(|(key, number)| json!({"key": key, metric: number})).collect();
    let whole = json!({
        "schema": 1, "command": "exits", "unit": "cycles", "by": "reason",
        "semantics": "exit-entry", "rows": rows,
    });
    let path = folder.path().join(name);
    fs::write(&path, whole.to_string()).unwrap();
    path
}

/// What a comparison says of a number of each row, by the row's key.
fn compared(
    metric: &str,
    before: &[(String, f64)],
    after: &[(String, f64)],
) -> Vec<(String, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let a = result(&folder, "a.json", metric, before);
    let b = result(&folder, "b.json", metric, after);
    let run = strata(["compare", text(&a), text(&b), "--metric", metric, "--format", "json", "-q"]);
    let comparison: Value = serde_json::from_str(&output(run)).unwrap();
    let rows = comparison["rows"].as_array().unwrap().iter();
    let of = |row: &Value| {
        (row["key"]["key"].as_str().unwrap().to_owned(), row["metrics"][metric].clone())
    };
    rows.map(of).collect()
}

/// Two columns of a published table.
fn columns(number: u32, from: usize, to: usize) -> [Vec<(String, f64)>; 2] {
    let rows = published(number);
    [from, to].map(|column| {
        let rows = rows[1..].iter();
        rows.map(|row| (row[0].clone(), row[column].parse().unwrap())).collect()
    })
}

#[test]
fn gains_of_times_are_those_that_the_paper_prints() {
    // Tables 5 and 8 print gains only: a time of 1000 that is so much shorter has that gain.
    for number in [5, 8] {
        let rows = &published(number)[1..];
        let name = |row: &Vec<String>| row[0].clone();
        let gain = |row: &Vec<String>| row[1].parse::<f64>().unwrap();
        let before: Vec<_> = rows.iter().map(|row| (name(row), 1000.0)).collect();
        let after: Vec<_> = rows.iter().map(|row| (name(row), 1000.0 - 10.0 * gain(row))).collect();
        let found = compared("mean", &before, &after);
        assert_eq!(found.len(), rows.len());
        for row in rows {
            let numbers = &found.iter().find(|(key, _)| *key == row[0]).unwrap().1;
            let printed = row[1].split('.').nth(1).map_or(0, str::len);
            let ours = format!("{:.printed$}", numbers["gain_percent"].as_f64().unwrap());
            assert_eq!(ours, row[1], "table {number}, {}", row[0]);
        }
    }
    // Table 10: 130 s become 28 s, 40 s become 1.6 s: 4.64 and 25 times as fast.
    let [before, after] = columns(10, 1, 2);
    let found = compared("total", &before, &after);
    let expected = [("time of startx", 78.46, 4.64), ("time of ls -l", 96.0, 25.0)];
    for (key, gain, times) in expected {
        let numbers = &found.iter().find(|(found, _)| found == key).unwrap().1;
        assert!((numbers["gain_percent"].as_f64().unwrap() - gain).abs() < 0.005, "{numbers}");
        assert!((1.0 / numbers["ratio"].as_f64().unwrap() - times).abs() < 0.005, "{numbers}");
    }
}

#[test]
fn ratios_of_rates_are_those_that_follow_from_the_paper() {
    // Table 11, operations per second.
    let [before, after] = columns(11, 1, 2);
    let ratios = [7505.0, 95.0, 103.0, 133.0];
    let found = compared("count", &before, &after);
    for ((key, _), ratio) in before.iter().zip(ratios) {
        let numbers = &found.iter().find(|(found, _)| found == key).unwrap().1;
        assert_eq!(numbers["ratio"].as_f64().unwrap().round(), ratio, "{key}");
        assert!(numbers["gain_percent"].is_null(), "a rate saves no time: {numbers}");
    }
    // Table 9, scp in KB/s from what it was to the least and the most of what it became.
    let rows = &published(9)[1..];
    let before: Vec<(String, f64)> =
        rows.iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
    for (end, ratios) in [(0, [23.0, 6.9]), (1, [46.0, 13.8])] {
        let megabytes =
            |row: &Vec<String>| row[4].split('-').nth(end).unwrap().parse::<f64>().unwrap();
        let after: Vec<(String, f64)> =
            rows.iter().map(|row| (row[0].clone(), 1000.0 * megabytes(row))).collect();
        let found = compared("count", &before, &after);
        for ((key, _), ratio) in before.iter().zip(ratios) {
            let numbers = &found.iter().find(|(found, _)| found == key).unwrap().1;
            assert!((numbers["ratio"].as_f64().unwrap() - ratio).abs() < 0.05, "{key}: {numbers}");
        }
    }
}

fn kvm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data/kvm-svm/perf-script-cut.txt")
}

#[test]
fn csv_and_json_of_exits_are_compared_by_the_same_names_and_in_the_trace_s_unit() {
    let folder = tempfile::tempdir().unwrap();
    let phases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/phases/kvm-port-read.toml");
    let make = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        let format = name.rsplit('.').next().unwrap();
        let kvm = kvm();
        let fixed = ["exits", text(&kvm), "--format", format, "-o", text(&path)];
        output(strata(fixed.into_iter().chain(more.iter().copied())));
        path
    };
    let compare = |a: &Path, b: &Path| -> Value {
        let run = strata(["compare", text(a), text(b), "--format", "json", "-q"]);
        serde_json::from_str(&output(run)).unwrap()
    };
    let (whole, without) = (make("a.json", &[]), make("b.csv", &["--exclude-waiting"]));
    let rows = compare(&whole, &without);
    for row in rows["rows"].as_array().unwrap().iter().filter(|row| row["in"] == "both") {
        let mean = &row["metrics"]["mean"];
        let [a, b] = ["a", "b"].map(|side| mean[side].as_f64().unwrap());
        let gain = mean["gain_percent"].as_f64().unwrap();
        assert!((gain - 100.0 * (a - b) / a).abs() < 1e-9 && gain >= 0.0, "{row}");
    }
    let json = make("c.json", &["--exclude-waiting"]);
    let totals = compare(&whole, &json);
    let total = totals["totals"].as_array().unwrap().iter();
    let total = total.clone().find(|total| total["metric"] == "total_mean").unwrap();
    assert!(total["unit"] == "ns" && total["gain_percent"].as_f64().unwrap() > 0.0, "{total}");

    let of_phases = make("d.json", &["--breakdown", text(&phases)]);
    let table = output(strata(["compare", text(&of_phases), text(&of_phases)]));
    assert!(table.contains("phases: ") && table.contains("User space"), "{table}");
    assert!(table.contains("gain %"), "{table}");

    let by_port = make("e.json", &["--by", "port"]);
    let told = complaint(strata(["compare", text(&whole), text(&by_port)]));
    assert!(told.contains("by reason") && told.contains("--by"), "{told}");
    let cycles = folder.path().join("f.json");
    let other =
        fs::read_to_string(&whole).unwrap().replace("\"unit\": \"ns\"", "\"unit\": \"cycles\"");
    fs::write(&cycles, other).unwrap();
    let told = complaint(strata(["compare", text(&whole), text(&cycles)]));
    assert!(told.contains("times in ns") && told.contains("times in cycles"), "{told}");
}

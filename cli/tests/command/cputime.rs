//! `strata cputime` on recordings and captures.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn kvm() -> PathBuf {
    root("exits/tests/data/kvm-svm/perf-script-cut.txt")
}

fn run(input: &Path, rules: &Path, more: &[&str]) -> String {
    let fixed = ["cputime", text(input), "--categories", text(rules)];
    output(strata(fixed.into_iter().chain(more.iter().copied())))
}

fn json(input: &Path, rules: &Path, more: &[&str]) -> Value {
    let format = ["--format", "json"];
    serde_json::from_str(&run(input, rules, &[more, &format].concat())).unwrap()
}

fn sum(rows: &Value) -> f64 {
    rows.as_array().unwrap().iter().map(|row| row["time"].as_f64().unwrap()).sum()
}

fn row<'v>(rows: &'v Value, name: &str) -> &'v Value {
    rows.as_array().unwrap().iter().find(|row| row["category"] == name).unwrap()
}

#[test]
fn categories_of_exits_sum_to_the_time_that_strata_exits_tells() {
    let result = json(&kvm(), &root("docs/categories/vmm.toml"), &[]);
    let exits: Value = serde_json::from_str(&output(strata([
        "exits",
        text(&kvm()),
        "--by",
        "reason",
        "--format",
        "json",
    ])))
    .unwrap();
    let rows = &result["categories"];
    assert_eq!(sum(rows), result["total"].as_f64().unwrap());
    let vcpus = exits["vcpus"].as_array().unwrap();
    let of_vcpus =
        |key: &str| -> f64 { vcpus.iter().map(|vcpu| vcpu[key].as_f64().unwrap()).sum() };
    assert_eq!(row(rows, "Guest code")["time"], of_vcpus("guest"));
    let monitor = row(rows, "VMM");
    assert_eq!(monitor["time"], of_vcpus("handling"));
    assert_eq!(monitor["count"], exits["total"]["count"]);
    assert_eq!(sum(&monitor["parts"]), monitor["time"].as_f64().unwrap());
    let ports = row(&monitor["parts"], "Other ports, to user space");
    let of_reason = exits["rows"].as_array().unwrap().iter().find(|row| row["key"] == "IOIO");
    assert_eq!(ports["count"], of_reason.unwrap()["count"]);

    let table = run(&kvm(), &root("docs/categories/vmm.toml"), &[]);
    assert!(table.contains("total time") && table.contains("Hypercalls"), "{table}");
    let csv = run(&kvm(), &root("docs/categories/vmm.toml"), &["--format", "csv"]);
    assert!(csv.starts_with("base,category,derived,percent,time_ns,average_ns,count"), "{csv}");
}

#[test]
fn categories_of_code_sum_to_the_instructions_of_the_capture() {
    let sample = root("workloads/samples/xen-net-tx");
    let rules = root("docs/categories/xen-net.toml");
    let result = json(&sample, &rules, &[]);
    let info: Value =
        serde_json::from_str(&output(strata(["info", text(&sample), "--format", "json"]))).unwrap();
    assert_eq!(
        (&result["total"], &result["unit"]),
        (&info["instructions"], &"instructions".into())
    );
    let rows = &result["categories"];
    assert_eq!(sum(rows), result["total"].as_f64().unwrap());
    let layers = info["layers"].as_array().unwrap();
    let of_layer = |name: &str| {
        layers.iter().find(|layer| layer["layer"] == name).unwrap()["instructions"].clone()
    };
    assert_eq!(row(rows, "Hypervisor")["time"], of_layer("hypervisor"));
    for name in ["Hypervisor", "dom0", "Guest"] {
        let category = row(rows, name);
        assert_eq!(sum(&category["parts"]), category["time"].as_f64().unwrap(), "{name}");
        assert!(category["average"].is_null());
        let parts = category["parts"].as_array().unwrap();
        assert!(parts.iter().filter(|part| part["time"] != 0).count() > 2, "{category}");
    }
    assert_eq!(row(rows, "other")["time"], 0);
    let cycles =
        json(&sample, &rules, &["--metric", "cycles", "--machine", "zen4", "--range", "..2M"]);
    assert_eq!((&cycles["is_estimate"], &cycles["unit"]), (&true.into(), &"cycles".into()));
}

#[test]
fn a_replay_s_json_gives_what_the_capture_gives() {
    let folder = tempfile::tempdir().unwrap();
    let sample = root("workloads/samples/xen-net-tx");
    let rules = root("docs/categories/xen-net.toml");
    let replayed = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        let fixed = ["replay", text(&sample), "--range", "..2M", "--machine", "zen4"];
        let end = ["--format", "json", "-o", text(&path)];
        output(strata(fixed.into_iter().chain(more.iter().copied()).chain(end)));
        path
    };
    let file = replayed("replay.json", &[]);
    for metric in ["instructions", "cycles"] {
        let of_file = json(&file, &rules, &["--metric", metric]);
        let more = ["--metric", metric, "--range", "..2M", "--machine", "zen4"];
        let of_capture = json(&sample, &rules, &more);
        for key in ["categories", "total", "unit", "machine", "trace_hash"] {
            assert_eq!(of_file[key], of_capture[key], "{metric}: {key}");
        }
        assert_eq!(of_file["format"], "replay");
    }
    let refused =
        |path: &Path| complaint(strata(["cputime", text(path), "--categories", text(&rules)]));
    let told = refused(&replayed("top.json", &["--top", "5"]));
    assert!(told.contains("--top all"), "{told}");
    let told = refused(&replayed("page.json", &["--by", "page"]));
    assert!(told.contains("page.json") && told.contains("by function"), "{told}");
    let other = folder.path().join("other.json");
    fs::write(&other, "{\"schema\": 1}").unwrap();
    assert!(refused(&other).contains("strata replay --format json"));
}

#[test]
fn two_results_are_compared_by_category() {
    let folder = tempfile::tempdir().unwrap();
    let rules = root("docs/categories/vmm.toml");
    let make = |name: &str| {
        let path = folder.path().join(name);
        run(&kvm(), &rules, &["--format", "json", "-o", text(&path)]);
        path
    };
    let table = output(strata(["compare", text(&make("a.json")), text(&make("b.json"))]));
    assert!(table.contains("categories: ") && table.contains("gain %"), "{table}");
}

#[test]
fn what_does_not_go_together_is_refused_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let (of_time, of_code) =
        (root("docs/categories/vmm.toml"), root("docs/categories/xen-net.toml"));
    let refused = |input: &Path, rules: &Path, more: &[&str]| {
        let fixed = ["cputime", text(input), "--categories", text(rules)];
        complaint(strata(fixed.into_iter().chain(more.iter().copied())))
    };
    let told = refused(&kvm(), &of_time, &["--metric", "cycles"]);
    assert!(told.contains("of = \"code\""), "{told}");
    let told = refused(&kvm(), &of_code, &["--from", "perf-script"]);
    assert!(told.contains("of = \"exits\""), "{told}");
    let told = refused(&kvm(), &folder.path().join("none.toml"), &[]);
    assert!(told.contains("none.toml: cannot be read"), "{told}");
    let wrong = folder.path().join("wrong.toml");
    fs::write(&wrong, "schema = 1\nof = \"exits\"\ncategory = []\n").unwrap();
    let told = refused(&kvm(), &wrong, &[]);
    assert!(told.contains("wrong.toml: category: there are none"), "{told}");
}

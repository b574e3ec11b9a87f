//! `exits` on traces made by the real tools.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A part of a recording of kvm-amd, as `perf script` prints it.
fn kvm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data/kvm-svm/perf-script-cut.txt")
}

fn run(trace: &Path, more: &[&str]) -> String {
    output(strata(["exits", text(trace)].into_iter().chain(more.iter().copied())))
}

fn json(trace: &Path, more: &[&str]) -> Value {
    let arguments: Vec<&str> = more.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&run(trace, &arguments)).unwrap()
}

fn sum(rows: &Value, key: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[key].as_u64().unwrap()).sum()
}

#[test]
fn every_grouping_sums_to_the_same_exits() {
    let by_reason = json(&kvm(), &[]);
    let total = by_reason["total"]["count"].as_u64().unwrap();
    assert!(total > 20 && by_reason["unit"] == "ns");
    for by in ["reason", "port", "address", "scenario", "vcpu"] {
        let result = json(&kvm(), &["--by", by]);
        let without = result["without_key"].as_u64().unwrap();
        assert_eq!(sum(&result["rows"], "count") + without, total, "{by}");
        assert_eq!(result["total"], by_reason["total"], "{by}");
    }
}

#[test]
fn a_trace_from_a_pipe_gives_the_same() {
    // A pipe may have a name, too.
    for (name, said) in [("-", "standard input"), ("/dev/stdin", "/dev/stdin")] {
        let mut piped = strata(["exits", name, "--format", "json"]);
        piped.write_stdin(fs::read(kvm()).unwrap());
        let piped: Value = serde_json::from_str(&output(piped)).unwrap();
        let whole = json(&kvm(), &[]);
        assert_eq!((&piped["rows"], &piped["coverage"]), (&whole["rows"], &whole["coverage"]));
        assert_eq!(piped["source"], said);
    }
}

#[test]
fn packed_traces_are_read_as_they_are() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data");
    let cpuids = |result: &Value| {
        let rows = result["rows"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == "CPUID").map(|row| row["count"].as_u64().unwrap())
    };
    // As `perf kvm stat report` and `xenalyze --summary` count them, beside the traces.
    for (name, count) in [
        ("kvm-svm/perf.data.xz", 210),
        ("kvm-svm/perf-script.txt.xz", 210),
        ("xen-pvh-svm/xentrace.bin.xz", 342),
    ] {
        let result = json(&data.join(name), &["--window", "perf-compat"]);
        assert_eq!(cpuids(&result), Some(count), "{name}");
    }
    let mut piped = strata(["exits", "-", "--window", "perf-compat", "--format", "json"]);
    piped.write_stdin(fs::read(data.join("kvm-svm/perf.data.xz")).unwrap());
    let piped: Value = serde_json::from_str(&output(piped)).unwrap();
    assert_eq!(cpuids(&piped), Some(210));
}

#[test]
fn bins_of_a_histogram_sum_to_the_exits() {
    for (option, edges) in [("--histogram", 3), ("--histogram=20k,60k", 2)] {
        let result = json(&kvm(), &[option, "--by", "port"]);
        assert_eq!(result["edges"].as_array().unwrap().len(), edges);
        for row in result["rows"].as_array().unwrap() {
            let bins = row["bins"].as_array().unwrap();
            assert_eq!(bins.len(), edges + 1);
            let all: u64 = bins.iter().map(|bin| bin.as_u64().unwrap()).sum();
            assert_eq!(all, row["count"].as_u64().unwrap());
        }
    }
    let said = complaint(strata(["exits", text(&kvm()), "--histogram=5,5"]));
    assert!(said.contains("ascend"), "{said}");
}

#[test]
fn figures_and_a_chrome_trace_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (figures, events) = (folder.path().join("figures"), folder.path().join("events.json"));
    let table = run(&kvm(), &["--figures", text(&figures), "--trace-events", text(&events)]);
    assert!(table.contains("IOIO") && table.contains("handling"), "{table}");
    for stem in ["time-by-reason", "distribution-by-reason", "timeline-94-vcpu-1"] {
        let read = |end: &str| fs::read(figures.join(format!("{stem}.{end}"))).unwrap();
        assert!(String::from_utf8(read("svg")).unwrap().contains("perf-script"), "{stem}");
        assert!(read("png").starts_with(b"\x89PNG") && !read("csv").is_empty());
    }
    let events: Value = serde_json::from_slice(&fs::read(&events).unwrap()).unwrap();
    let exits = events["traceEvents"].as_array().unwrap();
    let count = exits.iter().filter(|event| event["ph"] == "X").count() as u64;
    assert_eq!(count, json(&kvm(), &[])["total"]["count"].as_u64().unwrap());
}

#[test]
fn what_is_no_event_trace_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for (bytes, said) in [
        (&b""[..], "it is empty"),
        (b"hello\nworld\n", "text without events"),
        (b"\x17\x08\x44tracing6\0", "`trace-cmd report` writes it as text"),
        (b"\xfd7zXZ\0\0", "unpacked from xz"),
        (b"PERFILE2", "perf.data"),
    ] {
        let told = complaint(strata(["exits", text(&file("trace", bytes))]));
        assert!(told.contains(said), "{told}");
    }
    let told = complaint(strata(["exits", text(&kvm()), "--from", "xentrace"]));
    assert!(told.contains("take --from perf-script"), "{told}");
    let nothing = "a 1 [000] 1.000000: sched:sched_waking: comm=b pid=2\n";
    let told = complaint(strata(["exits", text(&file("idle", nothing.as_bytes()))]));
    assert!(told.contains("no VM exits") && told.contains("record kvm:*"), "{told}");
    let told =
        complaint(strata(["exits", text(&kvm()), "--window", "perf-compat", "--exclude-waiting"]));
    assert!(told.contains("exit-entry only"), "{told}");
}

#[test]
fn two_results_can_be_compared_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, more: &[&str]| {
        let path = folder.path().join(name);
        run(&kvm(), &[&["--format", "json", "-o", text(&path)], more].concat());
        path
    };
    let (a, b) = (write("a.json", &[]), write("b.json", &["--exclude-waiting"]));
    let table = output(strata(["compare", text(&a), text(&b), "--metric", "total"]));
    assert!(table.contains("IOIO"), "{table}");
}

#[test]
fn phases_are_shown_with_the_exits_that_lack_a_probe() {
    let phases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/phases/kvm-port-read.toml");
    let result = json(&kvm(), &["--breakdown", text(&phases)]);
    let breakdown = &result["breakdown"];
    // The cut begins and ends within the guests' rounds: all reads in it are whole.
    let reads = breakdown["exits"].as_u64().unwrap();
    assert!(reads > 3 && breakdown["complete"] == reads, "{breakdown}");
    let rows = breakdown["phases"].as_array().unwrap();
    let share: f64 = rows.iter().map(|row| row["percent"].as_f64().unwrap()).sum();
    assert!((share - 100.0).abs() < 1e-9);
    assert_eq!(sum(&breakdown["phases"], "total"), breakdown["total"]["total"].as_u64().unwrap());
    let table = run(&kvm(), &["--breakdown", text(&phases)]);
    assert!(table.contains("User space") && table.contains("first missing in"), "{table}");
    let csv = run(&kvm(), &["--breakdown", text(&phases), "--format", "csv"]);
    assert!(csv.starts_with("phase,mean_ns,percent,exits") && csv.lines().count() == 3, "{csv}");

    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    let whole = fs::read_to_string(&phases).unwrap();
    fs::write(&wrong, whole.replace("\"kvm_pio\"", "0x82016")).unwrap();
    let told = complaint(strata(["exits", text(&kvm()), "--breakdown", text(&wrong)]));
    assert!(told.contains("wrong.toml: probe back") && told.contains("tracepoint"), "{told}");
    let told = complaint(strata(["exits", text(&kvm()), "--breakdown", "none.toml"]));
    assert!(told.contains("none.toml: cannot be read"), "{told}");
    let more = ["--window", "perf-compat"];
    let told = complaint(strata(
        ["exits", text(&kvm()), "--breakdown", text(&phases)].into_iter().chain(more),
    ));
    assert!(told.contains("--window exit-entry"), "{told}");
}

#[test]
fn a_capture_without_exits_tells_hypercalls_and_run_states() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx");
    let result = json(&sample, &[]);
    assert_eq!((&result["unit"], &result["format"]), (&"instructions".into(), &"native".into()));
    assert_eq!(result["rows"].as_array().unwrap().len(), 0);
    let entries = result["paravirtual"].as_array().unwrap();
    let info: Value =
        serde_json::from_str(&output(strata(["info", text(&sample), "--format", "json"]))).unwrap();
    let hypercalls = entries.iter().filter(|row| row["entry"] == "hypercall");
    let count: u64 = hypercalls.map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(count, info["events"]["hypercall"].as_u64().unwrap());
    assert!(entries.iter().all(|row| row["total"].is_null()));
    assert!(result["trace_hash"].is_string());
}

/// A capture of a guest of KVM, with perf's trace of the same run in it.
fn captured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/kvm-amd")
}

/// Reason and count of each row, and of exits that no entry follows.
fn reasons(result: &Value) -> (Vec<(String, u64)>, u64) {
    let rows = result["rows"].as_array().unwrap().iter();
    let name = |row: &Value| row["key"].as_str().unwrap().to_owned();
    let mut rows: Vec<_> = rows.map(|row| (name(row), row["count"].as_u64().unwrap())).collect();
    rows.sort();
    (rows, result["unmatched"].as_u64().unwrap())
}

#[test]
fn a_capture_and_the_event_trace_made_in_it_tell_of_the_same_exits() {
    let ours = reasons(&json(&captured(), &[]));
    assert!(ours.0.iter().any(|(reason, _)| reason == "IOIO"));
    assert_eq!(ours.1, 2, "each vCPU halts last");
    for file in ["events/perf.data", "events/perf-script.txt"] {
        assert_eq!(reasons(&json(&captured().join(file), &[])), ours, "{file}");
    }
}

#[test]
fn what_was_changed_in_a_machine_is_said_of_its_event_traces_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("events")).unwrap();
    let manifest = fs::read_to_string(captured().join("capture.toml")).unwrap();
    let patched = manifest.replace("patches = []", "patches = [\"an intercept is cleared\"]");
    assert_ne!(patched, manifest);
    fs::write(at("capture.toml"), &patched).unwrap();
    for name in ["trace.strata", "events/perf-script.txt"] {
        fs::copy(captured().join(name), at(name)).unwrap();
        assert_eq!(json(&at(name), &[])["patches"], serde_json::json!(["an intercept is cleared"]));
        assert!(run(&at(name), &[]).contains("an intercept is cleared"), "{name}");
    }
    // A file of which the manifest says nothing may be of any machine.
    fs::copy(captured().join("events/perf-script.txt"), at("events/other.txt")).unwrap();
    assert_eq!(json(&at("events/other.txt"), &[])["patches"], serde_json::json!([]));
    // Without a manifest that can be read nobody knows.
    fs::write(at("capture.toml"), "schema = 99").unwrap();
    let said = complaint(strata(["exits", text(&at("events/perf-script.txt"))]));
    assert!(said.contains("capture.toml") && said.contains("schema 99"), "{said}");
}

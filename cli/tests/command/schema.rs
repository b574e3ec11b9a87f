//! Every JSON of every command is as docs/schema says, with all keys and no others.

use crate::sync::Pair;
use crate::synthetic::Capture;
use crate::{output, strata, text};
use jsonschema::{Registry, Validator};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema")
}

fn schema(name: &str) -> Value {
    serde_json::from_slice(&fs::read(schemas().join(format!("{name}.json"))).unwrap()).unwrap()
}

/// What is wrong with a result of `command`, a line each.
fn faults(command: &str, result: &Value) -> Vec<String> {
    let registry =
        Registry::new().add("strata:///common.json", schema("common")).unwrap().prepare().unwrap();
    let validator: Validator = jsonschema::options()
        .with_registry(&registry)
        .with_base_uri(format!("strata:///{command}.json"))
        .build(&schema(command))
        .unwrap();
    let fault =
        |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(result).map(fault).collect()
}

fn json(arguments: &[&str]) -> Value {
    let run = strata(arguments.iter().copied().chain(["--format", "json"]));
    serde_json::from_str(&output(run)).unwrap()
}

fn holds(command: &str, result: &Value) {
    let faults = faults(command, result);
    assert!(faults.is_empty(), "{command}: {}", faults.join("\n"));
}

#[test]
fn replays_of_every_grouping_and_machine_hold_the_schema() {
    let capture = Capture::new();
    let capture = text(capture.path());
    for by in ["layer", "module", "function", "line", "page", "object"] {
        holds("replay", &json(&["replay", capture, "--by", by, "--top", "2"]));
    }
    for machine in ["peer", "netburst", "k8", "core2", "skylake-sp", "zen4"] {
        let more =
            ["--machine", machine, "--classify", "--by", "layer", "--set", "walk.memory=l1d"];
        holds("replay", &json(&[&["replay", capture][..], &more].concat()));
    }
    let bare = Path::new(capture).join("trace.strata");
    holds("replay", &json(&["replay", text(&bare), "--range", "1k..2k", "--warm-up", "500"]));
}

#[test]
fn info_and_check_hold_the_schema() {
    for capture in [Capture::new(), Capture::unsound()] {
        for place in [capture.path().to_owned(), capture.trace()] {
            holds("info", &json(&["info", text(&place)]));
            let checked = strata(["check", text(&place), "--format", "json"]).output().unwrap();
            holds("check", &serde_json::from_slice(&checked.stdout).unwrap());
        }
    }
}

#[test]
fn what_follows_calls_holds_the_schema() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx");
    let sample = text(&sample);
    let stage = "timer-to-context-switch";
    holds("annotate", &json(&["annotate", sample, "--range", "..1M", "--top", "50"]));
    holds("flow", &json(&["flow", sample, "--stage", stage, "--top", "50"]));
    holds("timeline", &json(&["timeline", sample, "--range", "..1M"]));
    let every = ["--range", "..1M", "--event", "dtlb-misses", "--every", "9", "--skid", "20"];
    holds("sample", &json(&[&["sample", sample][..], &every].concat()));
    let swept = ["--l2-size", "1MiB,2MiB", "--set", "tags=none,vpid", "--range", "..1M"];
    holds("sweep", &json(&[&["sweep", sample][..], &swept].concat()));
    for by in ["path", "function"] {
        let more = ["--by", by, "--range", "..1M", "--top", "20", "--machine", "zen4"];
        holds("callgraph", &json(&[&["callgraph", sample][..], &more].concat()));
    }
    let mut life = json(&["life", sample]);
    // One of many alike is enough for what each must have.
    life["lives"].as_array_mut().unwrap().truncate(3);
    life["flow"]["rows"].as_array_mut().unwrap().truncate(20);
    holds("life", &life);
}

#[test]
fn exits_hold_the_schema() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data");
    let trace = data.join("kvm-svm/perf-script-cut.txt");
    for by in ["reason", "port", "address", "scenario", "vcpu"] {
        holds("exits", &json(&["exits", text(&trace), "--by", by, "--histogram"]));
    }
    holds("exits", &json(&["exits", text(&trace), "--window", "perf-compat", "--top", "1"]));
    let phases = data.join("../../../docs/phases/kvm-port-read.toml");
    holds("exits", &json(&["exits", text(&trace), "--breakdown", text(&phases)]));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx");
    holds("exits", &json(&["exits", text(&sample)]));
}

#[test]
fn categories_of_time_hold_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (trace, sample) = (
        root.join("exits/tests/data/kvm-svm/perf-script-cut.txt"),
        root.join("workloads/samples/xen-net-tx"),
    );
    let rules = |name: &str| root.join("docs/categories").join(name);
    let of_time = rules("vmm.toml");
    holds("cputime", &json(&["cputime", text(&trace), "--categories", text(&of_time)]));
    let of_code = rules("xen-net.toml");
    let fixed = ["cputime", text(&sample), "--categories", text(&of_code), "--range", "..1M"];
    for more in [&[][..], &["--metric", "cycles", "--machine", "zen4"]] {
        holds("cputime", &json(&[&fixed[..], more].concat()));
    }
}

#[test]
fn checks_of_tables_hold_the_schema() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exits/tests/data/published");
    let tables = ["xen-vt-table-1.csv", "xen-vt-table-9.csv"].map(|name| data.join(name));
    holds("lint", &json(&["lint", text(&tables[0]), text(&tables[1])]));
}

#[test]
fn a_key_that_the_schema_does_not_have_is_a_fault_wherever_it_is() {
    let capture = Capture::new();
    let good = json(&["replay", text(capture.path()), "--top", "2"]);
    holds("replay", &good);
    for place in
        ["", "/by/0", "/by/0/l1d", "/machine", "/machine/l2", "/others", "/flushes", "/dtlb"]
    {
        let mut bad = good.clone();
        bad.pointer_mut(place).unwrap()["surprise"] = Value::from(1);
        assert!(!faults("replay", &bad).is_empty(), "an unknown key at {place:?} went through");
    }
    for missing in ["machine", "trace_hash", "by", "semantics"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(missing);
        assert!(!faults("replay", &bad).is_empty(), "{missing} may be missing");
    }
}

#[test]
fn the_schemas_are_schemas() {
    for file in fs::read_dir(schemas()).unwrap() {
        let name = file.unwrap().path();
        let schema: Value = serde_json::from_slice(&fs::read(&name).unwrap()).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{}", name.display());
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
}

#[test]
fn two_clocks_made_one_hold_the_schema() {
    let pair = Pair::new();
    let (host, guest) = (pair.host(), pair.guest());
    for method in ["tsc-offset", "intervals"] {
        holds("sync", &json(&["sync", text(&host), text(&guest), "--method", method]));
    }
}

#[test]
fn comparisons_hold_the_schema() {
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    let results =
        [("a.json", "dtlb.entries=64"), ("b.json", "dtlb.entries=4")].map(|(name, set)| {
            let path = folder.path().join(name);
            output(strata([
                "replay",
                text(capture.path()),
                "--set",
                set,
                "--format",
                "json",
                "-o",
                text(&path),
            ]));
            path
        });
    holds("compare", &json(&["compare", text(&results[0]), text(&results[1]), "-q"]));
}

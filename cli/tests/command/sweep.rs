//! `sweep` on the bundled capture.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx")
}

fn sweep(more: &[&str]) -> String {
    output(strata(["sweep", text(&sample())].into_iter().chain(more.iter().copied())))
}

fn fails(more: &[&str]) -> String {
    complaint(strata(["sweep", text(&sample())].into_iter().chain(more.iter().copied())))
}

fn points(more: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = more.iter().copied().chain(["--format", "json"]).collect();
    let report: Value = serde_json::from_str(&sweep(&arguments)).unwrap();
    assert_eq!((&report["schema"], &report["command"]), (&1.into(), &"sweep".into()));
    report["points"].as_array().unwrap().clone()
}

/// What a replay says of the machine of a point.
fn replayed(point: &Value) -> Value {
    replayed_with(point, &[])
}

fn replayed_with(point: &Value, more: &[&str]) -> Value {
    let set: Vec<String> = point["set"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    let sample = sample();
    let mut arguments = vec!["replay", text(&sample), "--no-symbols", "--format", "json"];
    arguments.extend(more);
    set.iter().for_each(|set| arguments.extend(["--set", set]));
    serde_json::from_str(&output(strata(arguments))).unwrap()
}

#[test]
fn points_of_the_papers_sweep_are_each_a_replay_of_that_machine() {
    let all = points(&[
        "--l2-size",
        "512KiB..32MiB",
        "--tlb-entries",
        "16..1024",
        "--tags",
        "none,global-hypervisor,vpid,pcid",
    ]);
    assert_eq!(all.len(), 7 * 7 * 4);
    // Every size and scheme is among these.
    for point in all.iter().step_by(29) {
        let replay = replayed(point);
        for (key, value) in point.as_object().unwrap().iter().filter(|(key, _)| *key != "set") {
            assert_eq!(value, &replay[key], "{key} of {}", point["set"]);
        }
    }
}

#[test]
fn machines_without_halves_or_with_sets_in_tlbs_are_replays_too() {
    let all = points(&[
        "--set",
        "dtlb.ways=4,full",
        "--set",
        "l2.inclusion=non-inclusive,inclusive",
        "--set",
        "l2.size=128KiB",
    ]);
    assert_eq!(all.len(), 4);
    for point in &all {
        let mut whole = point.clone();
        whole["set"]["l2.size"] = "128KiB".into();
        let replay = replayed(&whole);
        for key in ["instructions", "l1i", "l1d", "l2", "itlb", "dtlb", "page_walks"] {
            assert_eq!(point[key], replay[key], "{key} of {}", point["set"]);
        }
    }
    assert_ne!(all[0]["l1d"], all[1]["l1d"]);
    assert_ne!(all[0]["dtlb"], all[2]["dtlb"]);
}

#[test]
fn points_of_a_part_with_a_warm_up_are_replays_of_that_part() {
    let part = ["--range", "200k..900k", "--warm-up", "150k"];
    let sizes = ["--l2-size", "256KiB..1MiB", "--tlb-entries", "16,64", "--tags", "none,vpid"];
    let all = points(&[&sizes[..], &part].concat());
    assert_eq!(all.len(), 3 * 2 * 2);
    for point in &all {
        let replay = replayed_with(point, &part);
        for (key, value) in point.as_object().unwrap().iter().filter(|(key, _)| *key != "set") {
            assert_eq!(value, &replay[key], "{key} of {}", point["set"]);
        }
    }
    assert!(
        fails(&["--l2-size", "1MiB", "--range", "..10k", "--warm-up", "1M"]).contains("warm-up")
    );
}

#[test]
fn points_of_another_part_are_counted_anew() {
    let folder = tempfile::tempdir().unwrap();
    let part = |to: &'static str, more: &[&'static str]| {
        let kept = ["--folder", text(folder.path()), "--format", "csv", "--l2-size", "1MiB"];
        sweep(&[&kept[..], &["--range", to], more].concat())
    };
    let first = part("..200k", &[]);
    let other = part("..300k", &["--resume"]);
    assert_ne!(first, other);
    assert_eq!(first, part("..200k", &["--resume"]));
}

#[test]
fn a_sweep_goes_on_with_the_points_that_its_folder_has() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["--folder", text(folder.path())];
    let with = |sizes: &'static str, more: &[&'static str]| {
        [&["--l2-size", sizes, "--format", "csv"], kept.as_slice(), more].concat()
    };
    let first = sweep(&with("1MiB,2MiB", &[]));
    let refused = fails(&with("1MiB..4MiB", &[]));
    assert!(refused.contains("--resume"), "{refused}");
    let more = sweep(&with("1MiB..4MiB", &["--resume"]));
    assert_eq!(more.lines().count(), 4);
    assert!(more.starts_with(&first), "{more}");
    assert_eq!(more, sweep(&["--l2-size", "1MiB..4MiB", "--format", "csv"]));
    assert_eq!(more, sweep(&with("1MiB..4MiB", &["--resume"])));
}

#[test]
fn a_figure_is_drawn_over_what_is_swept_with_its_csv_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (svg, png) = (path("tlb.svg"), path("l2.png"));
    let grid = ["--range", "..300k", "--l2-size", "1MiB,256KiB", "--tlb-entries", "16..64"];
    let grid = [&grid[..], &["--tags", "none,vpid", "--format", "csv", "--folder"]].concat();
    let points = path("points");
    let drawn = |file: &str, more: &[&str]| {
        let more = [&[points.as_str(), "--resume", "--figure", file], more].concat();
        sweep(&[&grid[..], &more].concat())
    };
    let rows = drawn(&svg, &["--over", "dtlb.entries"]);
    let picture = std::fs::read_to_string(&svg).unwrap();
    for part in ["itlb.entries and dtlb.entries", "DTLB misses (per 1000 instr.)", "vpid"] {
        assert!(picture.contains(part), "no {part} in {picture}");
    }
    assert!(!picture.contains("L2 misses"), "TLBs do not change the L2");
    let mut points = csv::Reader::from_path(path("tlb.csv")).unwrap();
    let points: Vec<csv::StringRecord> = points.records().map(Result::unwrap).collect();
    assert_eq!(points.len(), 2 * 2 * 3);
    let mut table = csv::Reader::from_reader(rows.as_bytes());
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|field| field == name).unwrap();
    for row in table.records().map(Result::unwrap) {
        let is_it = |point: &&csv::StringRecord| {
            point[0].starts_with("DTLB")
                && point[1] == row[column("tags")]
                && point[2] == row[column("dtlb.entries")]
        };
        let point = points.iter().find(is_it).unwrap();
        let rate = &row[column("dtlb_misses_per_1000_instructions")];
        let apart = point[3].parse::<f64>().unwrap() - rate.parse::<f64>().unwrap();
        assert!(apart.abs() < 1e-9, "{point:?} {rate}");
    }

    assert_eq!(drawn(&png, &[]), rows);
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
    assert!(std::fs::read_to_string(path("l2.csv")).unwrap().contains("L2,262144,"));
    drawn(&png, &["--force-figure"]);
}

#[test]
fn a_figure_that_cannot_be_is_refused_before_the_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let figure = folder.path().join("a.svg");
    let with = |more: &[&str]| fails(&[more, &["--figure", text(&figure)]].concat());
    let said = with(&["--tags", "none,vpid", "--l2-size", "1MiB"]);
    assert!(said.contains("several numbers") && said.contains("l2.size, tags"), "{said}");
    let sizes = ["--l2-size", "1MiB,2MiB"];
    let said = with(&[&sizes[..], &["--over", "l1d.ways"]].concat());
    assert!(said.contains("`l1d.ways` is no swept parameter"), "{said}");
    let csv = folder.path().join("a.csv");
    let said = with(&[&sizes[..], &["--format", "csv", "-o", text(&csv)]].concat());
    assert!(said.contains("a.csv") && said.contains("another name"), "{said}");
    std::fs::write(&csv, "mine").unwrap();
    let said = with(&sizes);
    assert!(said.contains("a.csv") && said.contains("--force-figure"), "{said}");
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), "mine");
    let sample = sample();
    let wrong = ["sweep", text(&sample), "--l2-size", "1MiB,2MiB", "--figure", "a.pdf"];
    strata(wrong).assert().code(2);
}

#[test]
fn what_cannot_be_swept_is_refused_with_the_reason() {
    let wrong = |arguments: &[&str]| {
        let sample = sample();
        let all = ["sweep", text(&sample)].into_iter().chain(arguments.iter().copied());
        let output = strata(all).assert().code(2).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(wrong(&["--l2-size", "32MiB..1MiB"]).contains("1MiB..32MiB may be meant"));
    assert!(wrong(&["--tlb-entries", "33..63"]).contains("powers of two"));
    assert!(wrong(&["--tags", "asid"]).contains("global-hypervisor, vpid, pcid"));
    assert!(wrong(&["--set", "l1d.ways"]).contains("KEY=VALUE"));
    assert!(wrong(&["--l2-size", "1MiB", "--resume"]).contains("--folder"));
    assert!(fails(&[]).contains("--l2-size"));
    assert!(fails(&["--l2-size", "1MiB", "--set", "l2.size=1MiB,2MiB"]).contains("swept twice"));
    assert!(fails(&["--set", "l1d.ways=7,8"]).contains("l1d"));
    let many =
        fails(&["--set", "seed=1..1048576", "--l2-size", "1KiB..1GiB", "--tags", "none,vpid,pcid"]);
    assert!(many.contains("1323 points (21 × 3 × 21)"), "{many}");
    assert!(many.contains("--yes"), "{many}");
}

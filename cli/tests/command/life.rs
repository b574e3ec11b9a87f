//! `strata life` on the bundled capture.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx")
}

fn life<'a>(sample: &'a Path, more: &[&'a str]) -> assert_cmd::Command {
    strata(["life", text(sample)].into_iter().chain(more.iter().copied()))
}

fn sum(rows: &Value) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row["instructions"].as_u64().unwrap()).sum()
}

#[test]
fn every_batch_that_the_guest_sends_comes_to_its_end_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let figure = folder.path().join("life.svg");
    let sample = sample();
    let more = ["--format", "json", "--figure", text(&figure)];
    let report: Value = serde_json::from_str(&output(life(&sample, &more))).unwrap();
    assert_eq!((&report["schema"], &report["command"]), (&1.into(), &"life".into()));
    assert_eq!((&report["count"], &report["whole"]), (&111.into(), &111.into()));
    let lives = report["lives"].as_array().unwrap();
    for life in lives {
        // Dom0 used what the guest granted, and the guest took all of it back.
        assert_eq!(life["granted"], life["references"], "{life}");
        assert_eq!(life["ended"], life["references"], "{life}");
        assert_eq!(life["still_mapped"], 0, "{life}");
    }
    let grants: u64 = lives.iter().map(|life| life["references"].as_u64().unwrap()).sum();
    assert_eq!(grants, 1541);
    let outside = report["outside"]["instructions"].as_u64().unwrap();
    let all = report["instructions"].as_u64().unwrap();
    assert_eq!(sum(&report["phases"]) + outside, all);
    assert_eq!(sum(&report["lives"]) + outside, all);
    let flow = sum(&report["flow"]["rows"]);
    let chosen = report["flow"]["life"].as_u64().unwrap() as usize;
    assert_eq!(flow, lives[chosen - 1]["instructions"].as_u64().unwrap());
    let svg = std::fs::read_to_string(figure).unwrap();
    for words in ["Transmit batch", "hypervisor", "dom0-kernel", "instructions since"] {
        assert!(svg.contains(words), "no {words}");
    }
}

#[test]
fn every_batch_that_the_guest_receives_comes_to_its_end() {
    let sample = sample();
    let more = ["--direction", "rx", "--format", "json"];
    let report: Value = serde_json::from_str(&output(life(&sample, &more))).unwrap();
    assert_eq!((&report["count"], &report["whole"]), (&110.into(), &110.into()));
    for life in report["lives"].as_array().unwrap() {
        assert_eq!(life["ended"], life["references"], "{life}");
    }
}

#[test]
fn rows_of_csv_sum_to_the_replay() {
    let sample = sample();
    let text = output(life(&sample, &["--format", "csv"]));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let column = reader.headers().unwrap().iter().position(|name| name == "instructions");
    let rows = reader.records().map(|row| row.unwrap()[column.unwrap()].parse::<u64>().unwrap());
    assert_eq!(rows.sum::<u64>(), 61_006_454);
}

#[test]
fn what_cannot_be_is_said_in_a_paragraph() {
    let sample = sample();
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.toml");
    let bundled = include_str!("../../../sim/src/lives/rules/xen-net-tx.toml");
    std::fs::write(&rules, bundled.replace("\"xenvif_poll\"", "\"xenvif_pol\"")).unwrap();
    let said = complaint(life(&sample, &["--rules", text(&rules)]));
    assert!(said.contains("phase receive") && said.contains("did you mean xenvif_poll?"), "{said}");
    let said = complaint(life(&sample, &["--range", "..5M"]));
    assert!(said.contains("no grant-table operations"), "{said}");
    let said = complaint(life(&sample, &["--life", "112"]));
    assert!(said.contains("no life 112; there are 111"), "{said}");
    let said = complaint(life(&sample.join("trace.strata"), &[]));
    assert!(said.contains("bare trace"), "{said}");
}

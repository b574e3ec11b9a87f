//! `strata reproduce`: a folder of tables.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_table_is_written_as_text_csv_and_json_and_a_summary_is_printed() {
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let run = strata(["reproduce", text(capture.path()), "-o", text(&report)]);
    let summary = output(run);
    assert_eq!(fs::read_to_string(report.join("summary.txt")).unwrap(), summary);
    assert!(summary.contains("tcp_sendmsg") && summary.contains("Who ran"), "{summary}");
    for table in ["layers", "modules", "functions"] {
        let size = |kind: &str| fs::metadata(report.join(format!("{table}.{kind}"))).unwrap().len();
        assert!(["txt", "csv", "json"].into_iter().all(|kind| size(kind) > 100), "{table}");
    }
}

#[test]
fn a_second_run_writes_the_same_files_and_touches_no_others() {
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    let run = || output(strata(["reproduce", text(capture.path()), "-o", text(folder.path())]));
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    run();
    let first = names(folder.path());
    let table = fs::read(folder.path().join("functions.json")).unwrap();
    run();
    assert_eq!(names(folder.path()), first);
    assert_eq!(fs::read(folder.path().join("functions.json")).unwrap(), table);
    assert_eq!(fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_users_file_of_the_same_name_is_kept_and_nothing_is_written_beside_it() {
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("functions.csv"), "mine").unwrap();
    let run = strata(["reproduce", text(capture.path()), "-o", text(folder.path())]);
    let said = complaint(run);
    assert!(said.contains("functions.csv") && said.contains("another folder"), "{said}");
    assert_eq!(names(folder.path()), ["functions.csv"]);
    assert_eq!(fs::read(folder.path().join("functions.csv")).unwrap(), b"mine");
}

#[test]
fn a_folder_that_cannot_be_made_is_named_before_anything_is_replayed() {
    let capture = Capture::new();
    let file = capture.file("capture.toml");
    let inside = file.join("report");
    let said = complaint(strata(["reproduce", text(capture.path()), "-o", text(&inside)]));
    assert!(said.contains("capture.toml/report") && said.contains("-o"), "{said}");
}

#[test]
fn a_capture_that_cannot_be_replayed_leaves_no_folder_behind() {
    let capture = Capture::new();
    fs::write(capture.trace(), "nothing").unwrap();
    let report = capture.file("report");
    complaint(strata(["reproduce", text(capture.path()), "-o", text(&report)]));
    assert!(!report.exists());
}

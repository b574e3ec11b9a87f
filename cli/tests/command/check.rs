//! `strata check`: verdicts, and what is saved.

use crate::synthetic::{Capture, INSTRUCTIONS};
use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;

#[test]
fn a_sound_capture_is_called_sound() {
    let capture = Capture::new();
    let said = output(strata(["check", text(capture.path())]));
    assert!(said.contains("sound") && said.contains("10,000 instructions"), "{said}");
    let run = strata(["check", text(&capture.trace()), "--format", "json"]);
    let result: Value = serde_json::from_str(&output(run)).unwrap();
    assert_eq!((&result["schema"], &result["sound"]), (&1.into(), &true.into()));
    assert_eq!(result["instructions"], INSTRUCTIONS);
    assert_eq!(result["bytes"], fs::metadata(capture.trace()).unwrap().len());
}

#[test]
fn a_broken_law_is_told_and_fails() {
    let capture = Capture::unsound();
    let assert = strata(["check", text(capture.path())]).assert().code(1);
    let told = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(told.contains("broken") && told.contains("lengths"), "{told}");
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("trace.strata") && said.contains("record it again"), "{said}");
}

#[test]
fn what_is_whole_of_a_truncated_trace_can_be_saved_and_replayed() {
    let capture = Capture::new();
    let whole = fs::read(capture.trace()).unwrap();
    fs::write(capture.trace(), &whole[..whole.len() * 2 / 3]).unwrap();
    let said = complaint(strata(["check", text(capture.path())]));
    assert!(said.contains("trace.strata: cut off at byte"), "{said}");
    let saved = capture.file("saved.strata");
    let save = || strata(["check", text(capture.path()), "--salvage", text(&saved)]);
    let said = output(save());
    assert!(said.contains("kept") && said.contains("cut off"), "{said}");
    assert!(output(strata(["check", text(&saved)])).contains("sound"));
    output(strata(["replay", text(&saved)]));
    let kept = fs::read(&saved).unwrap();
    assert!(complaint(save()).contains("saved.strata"));
    assert_eq!(fs::read(&saved).unwrap(), kept, "an existing file was replaced");
}

#[test]
fn nothing_is_saved_of_what_is_no_trace() {
    let capture = Capture::new();
    fs::write(capture.trace(), "something else").unwrap();
    let saved = capture.file("saved.strata");
    let run = strata(["check", text(capture.path()), "--salvage", text(&saved)]);
    assert!(complaint(run).contains("not a strata trace"));
    assert!(!saved.exists());
}

#[test]
fn missing_symbols_make_a_folder_unsound() {
    let capture = Capture::new();
    fs::remove_file(capture.file("symbols/xen.map")).unwrap();
    assert!(complaint(strata(["check", text(capture.path())])).contains("xen.map"));
}

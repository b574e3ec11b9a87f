//! Standard input and output.

use crate::synthetic::Capture;
use crate::{output, strata, text};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

#[test]
fn a_trace_from_a_pipe_gives_the_counts_of_the_file() {
    let capture = Capture::new();
    let file = output(strata(["replay", text(&capture.trace()), "--format", "csv"]));
    let mut piped = strata(["replay", "-", "--format", "csv"]);
    piped.write_stdin(fs::read(capture.trace()).unwrap());
    assert_eq!(output(piped), file);
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let capture = Capture::new();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("strata"))
        .args(["replay", text(capture.path()), "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn nothing_but_the_result_is_on_standard_output_and_no_bar_on_a_pipe() {
    let capture = Capture::new();
    let assert = strata(["replay", text(capture.path()), "--format", "json"]).assert().success();
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stderr), "");
    let verbose = strata(["replay", text(capture.path()), "-v"]).assert().success();
    let said = String::from_utf8_lossy(&verbose.get_output().stderr).into_owned();
    assert!(said.contains("instructions in"), "{said}");
}

//! The command as users and scripts meet it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod browser;
mod callgraph;
mod captures;
mod check;
mod compare;
mod compare_times;
mod cputime;
mod data_side;
mod exits;
mod flows;
mod golden;
mod import;
mod info;
mod lacks;
mod life;
mod lines;
mod lint;
mod machines;
mod pipes;
mod replay;
mod report;
mod reproduce;
mod schema;
mod sweep;
mod sweep_trouble;
mod sync;
mod synthetic;
mod timeline;

use assert_cmd::Command;
use std::path::Path;

/// The program with these arguments.
fn strata<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::cargo_bin("strata").unwrap();
    command.args(arguments);
    command
}

/// What a successful run wrote to standard output.
fn output(mut command: Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// The one paragraph that a run failing with status 1 wrote.
fn complaint(mut command: Command) -> String {
    let output = command.assert().code(1).get_output().clone();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a failed run has no result");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "not one paragraph: {text}");
    text
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

//! `sweep` where something goes wrong on the way: nothing is lost, nothing mixed.

use crate::synthetic::Capture;
use crate::{complaint, output, strata, text};
use assert_cmd::Command;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;

fn arguments<'a>(capture: &'a Path, folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["sweep", text(capture), "-q", "--format", "csv", "--folder", text(folder)];
    [&fixed[..], more].concat()
}

/// Names of a folder's files that match, sorted.
fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| wanted(name)).collect();
    names.sort();
    names
}

fn points(folder: &Path) -> Vec<String> {
    names(folder, |name| name.starts_with("point-"))
}

/// The program under a limit of 512 bytes for each file that it writes; `trap` says what becomes of
/// the signal that comes with it.
fn limited(trap: &str, arguments: &[&str]) -> Command {
    let script = format!("ulimit -c 0; ulimit -f 1; {trap} exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", script.as_str()]).arg(strata([]).get_program()).args(arguments);
    command
}

fn synthetic() -> (Capture, TempDir) {
    (Capture::new(), tempfile::tempdir().unwrap())
}

#[test]
fn a_killed_sweep_has_told_its_first_points_and_goes_on_to_the_same_result() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/samples/xen-net-tx");
    let folder = tempfile::tempdir().unwrap();
    // Levels that act on each other are replayed whole, eight in a pass: there are two passes.
    let more = ["--range", "..4M", "--set", "l2.inclusion=inclusive", "--l2-size"];
    let more = [&more[..], &["64KiB..1MiB", "--set", "dtlb.entries=16,32"]].concat();
    let run = arguments(&sample, folder.path(), &more);
    let mut killed = std::process::Command::new(strata([]).get_program())
        .args(&run)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(killed.stdout.take().unwrap()).lines();
    let header = told.next().unwrap().unwrap();
    let first = told.next().unwrap().unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(points(folder.path()).len(), 8);

    let whole =
        output(strata(["sweep", text(&sample), "--format", "csv"].into_iter().chain(more.clone())));
    assert_eq!(whole.lines().count(), 1 + 5 * 2);
    assert!(whole.starts_with(&format!("{header}\n{first}\n")));
    let run = [&run[..], &["--resume"]].concat();
    assert_eq!(output(strata(run.iter().copied())), whole);
    assert_eq!(output(strata(run.iter().copied())), whole);
}

#[test]
fn a_run_killed_while_it_writes_a_point_leaves_nothing_that_disturbs() {
    let (capture, folder) = synthetic();
    let sizes = |sizes: &'static str| ["--l2-size", sizes, "--resume"];
    output(strata(arguments(capture.path(), folder.path(), &sizes("1MiB"))));
    let before = points(folder.path());
    let run = arguments(capture.path(), folder.path(), &sizes("1MiB,2MiB,4MiB"));
    let killed = limited("", &run).output().unwrap();
    assert_eq!(killed.status.signal(), Some(SIGXFSZ));
    assert_eq!(points(folder.path()), before);
    let is_unfinished = |name: &str| name.ends_with(".unfinished");
    assert_eq!(names(folder.path(), is_unfinished).len(), 1);
    let resumed = output(strata(run));
    assert_eq!(names(folder.path(), is_unfinished), [""; 0]);
    let whole = ["sweep", text(capture.path()), "--format", "csv", "--l2-size", "1MiB,2MiB,4MiB"];
    assert_eq!(resumed, output(strata(whole)));
}

#[test]
fn a_full_disk_is_told_with_the_file_and_earlier_points_stay() {
    let (capture, folder) = synthetic();
    let sizes = |sizes: &'static str| ["--l2-size", sizes, "--resume"];
    output(strata(arguments(capture.path(), folder.path(), &sizes("1MiB"))));
    let before = names(folder.path(), |_| true);
    let run = arguments(capture.path(), folder.path(), &sizes("2MiB,4MiB"));
    let said = complaint(limited("trap '' XFSZ;", &run));
    for part in ["point-", "File too large", "--resume"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(names(folder.path(), |_| true), before);
    let run = arguments(capture.path(), folder.path(), &sizes("1MiB,2MiB,4MiB"));
    let whole = ["sweep", text(capture.path()), "--format", "csv", "--l2-size", "1MiB,2MiB,4MiB"];
    assert_eq!(output(strata(run)), output(strata(whole)));
}

#[test]
fn points_are_kept_where_the_result_cannot_be_written() {
    let (capture, folder) = synthetic();
    let results = tempfile::tempdir().unwrap();
    let file = results.path().join("result.csv");
    let sizes = ["--l2-size", "1MiB,2MiB"];
    let with = |more: &[&'static str]| [&sizes[..], more].concat();
    let full = arguments(capture.path(), folder.path(), &with(&["-o", "/dev/full"]));
    let said = complaint(strata(full));
    assert!(said.contains("/dev/full: cannot be written: No space left"), "{said}");
    assert_eq!(points(folder.path()).len(), 2);

    let resume = with(&["--resume", "-o"]);
    let mut run = arguments(capture.path(), folder.path(), &resume);
    run.push(text(&file));
    // The rows of JSON are more than the limit.
    let format = run.iter().position(|part| *part == "csv").unwrap();
    run[format] = "json";
    let said = complaint(limited("trap '' XFSZ;", &run));
    assert!(said.contains("result.csv") && said.contains("File too large"), "{said}");
    assert_eq!(names(results.path(), |_| true), [""; 0]);
    output(strata(run));
    assert!(fs::read_to_string(&file).unwrap().contains("\"points\""));
}

#[test]
fn a_folder_that_another_run_works_in_is_refused() {
    let (capture, folder) = synthetic();
    let path = folder.path().join("strata-sweep.lock");
    let lock = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    lock.lock().unwrap();
    let run = arguments(capture.path(), folder.path(), &["--l2-size", "1MiB", "--resume"]);
    let said = complaint(strata(run.iter().copied()));
    assert!(said.contains("in use by another run"), "{said}");
    drop(lock);
    output(strata(run));
}

#[test]
fn other_machines_and_traces_share_a_folder_without_being_mixed() {
    let (capture, folder) = synthetic();
    let other = Capture::new();
    let whole = fs::read(other.trace()).unwrap();
    let sizes = ["--l2-size", "64KiB,128KiB"];
    let alone = |capture: &Capture, more: &[&'static str]| {
        let fixed = ["sweep", text(capture.path()), "--format", "csv"];
        output(strata([&fixed[..], &sizes, more].concat()))
    };
    let kept = |capture: &Capture, more: &[&'static str]| {
        let more = [&sizes[..], more, &["--resume"]].concat();
        output(strata(arguments(capture.path(), folder.path(), &more)))
    };
    let entries = ["--set", "dtlb.entries=8"];
    let warm = ["--range", "1k..5k", "--warm-up", "500"];
    for more in [&[][..], &entries, &warm, &["--machine", "peer"]] {
        assert_eq!(kept(&capture, more), alone(&capture, more));
    }
    let before = points(folder.path());
    assert_eq!(before.len(), 4 * sizes.len());
    for more in [&[][..], &entries, &warm, &["--machine", "peer"]] {
        assert_eq!(kept(&capture, more), alone(&capture, more));
    }
    assert_eq!(points(folder.path()), before);

    // A trace that is cut off has no hash to be known by.
    fs::write(other.trace(), &whole[..whole.len() * 2 / 3]).unwrap();
    let more = [&sizes[..], &["--resume", "--allow-truncated"]].concat();
    let said = complaint(strata(arguments(other.path(), folder.path(), &more)));
    assert!(said.contains("hash") && said.contains("without --folder"), "{said}");
}

#[test]
fn a_trace_on_standard_input_is_swept_in_one_pass_and_has_no_folder() {
    let (capture, folder) = synthetic();
    let more = ["--l2-size", "64KiB,128KiB", "--set", "l2.inclusion=inclusive"];
    let more = [&more[..], &["--tlb-entries", "1..16", "--format", "csv"]].concat();
    let whole = output(strata(["sweep", text(&capture.trace())].into_iter().chain(more.clone())));
    let mut piped = strata(["sweep", "-"].into_iter().chain(more));
    piped.write_stdin(fs::read(capture.trace()).unwrap());
    assert_eq!(output(piped), whole);
    let mut kept = strata(arguments(Path::new("-"), folder.path(), &["--l2-size", "1MiB"]));
    kept.write_stdin(fs::read(capture.trace()).unwrap());
    let said = complaint(kept);
    assert!(said.contains("cannot be sought") && said.contains("without --folder"), "{said}");
}

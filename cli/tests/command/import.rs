//! `strata import`: foreign streams as native traces.

use crate::{complaint, output, strata, text};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const LACKEY: &str = "==7== Lackey, an example Valgrind tool\nI  00401000,3\n L 1ffeffe7e0,8\n\
                      I  00401003,5\n M 00404010,4\n==7== \n";

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Names of all files.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_stream_becomes_a_sound_trace_with_a_summary_of_what_it_has_and_lacks() {
    let place = Place::new();
    let (stream, out) = (place.with("stream", LACKEY.as_bytes()), place.file("out.strata"));
    let run = strata(["import", "--from", "lackey", text(&stream), "-o", text(&out)])
        .assert()
        .success()
        .get_output()
        .clone();
    let said = String::from_utf8(run.stderr).unwrap();
    for part in [
        "5 references from lackey: 2 fetches, 2 reads, 1 writes (1 of them modifies)",
        "lacks: bytes of instructions, page translations,",
        "left out: 2 lines of valgrind's own messages",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(run.stdout, b"");
    output(strata(["check", text(&out)]));
    let info = output(strata(["info", text(&out), "--format", "json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["instructions"], &info["data_accesses"]), (&2.into(), &3.into()));
    assert_eq!(place.files(), ["out.strata", "stream"]);
}

#[test]
fn standard_input_gives_the_same_trace_as_the_file() {
    let place = Place::new();
    let stream = place.with("stream", LACKEY.as_bytes());
    let (from_file, from_pipe) = (place.file("a.strata"), place.file("b.strata"));
    output(strata(["import", "-q", "--from", "lackey", text(&stream), "-o", text(&from_file)]));
    let mut run = strata(["import", "-q", "--from", "lackey", "-", "-o", text(&from_pipe)]);
    run.write_stdin(LACKEY);
    let quiet = run.assert().success().get_output().clone();
    assert_eq!((quiet.stdout, quiet.stderr), (Vec::new(), Vec::new()));
    assert_eq!(fs::read(from_file).unwrap(), fs::read(from_pipe).unwrap());
}

#[test]
fn nothing_is_overwritten_without_being_asked() {
    let place = Place::new();
    let (stream, out) = (place.with("stream", LACKEY.as_bytes()), place.with("out", b"mine"));
    let arguments = ["import", "--from", "lackey", text(&stream), "-o", text(&out)];
    let said = complaint(strata(arguments));
    assert!(said.contains("exists already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    output(strata(arguments.into_iter().chain(["--force"])));
    output(strata(["check", text(&out)]));
}

#[test]
fn a_stream_that_is_cut_off_or_foreign_is_an_error_with_its_place_and_leaves_nothing() {
    let place = Place::new();
    let out = place.file("out.strata");
    let cases: [(&str, &[u8], &str); 6] = [
        ("lackey", b"I  1000,3\nI  1003", "line 2"),
        ("lackey", b"\x7fELF\n", "line 1"),
        ("din", b"2 1000\n7 0\n", "line 2"),
        ("ref64", &[0; 12], "record 1 (byte 8)"),
        ("drmemtrace", &[0; 24], "raw2trace"),
        ("champsim", &[2; 64], "record 0"),
    ];
    for (format, bytes, part) in cases {
        let stream = place.with("stream", bytes);
        let said = complaint(strata(["import", "--from", format, text(&stream), "-o", text(&out)]));
        assert!(said.contains("stream") && said.contains(part), "{part:?} is not in {said}");
        assert_eq!(place.files(), ["stream"]);
    }
}

#[test]
fn wrong_usage_names_the_formats() {
    let run = strata(["import", "--from", "elf", "a", "-o", "b"]).assert().code(2);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    for format in ["ref64", "lackey", "din", "drmemtrace", "champsim", "champsim-cloudsuite"] {
        assert!(said.contains(format), "{said}");
    }
}

#[test]
fn folders_and_missing_files_are_named() {
    let place = Place::new();
    let out = place.file("out");
    let folder = text(place.folder.path());
    let said = complaint(strata(["import", "--from", "din", folder, "-o", text(&out)]));
    assert!(said.contains("is a folder"), "{said}");
    let missing = place.file("missing");
    let said = complaint(strata(["import", "--from", "din", text(&missing), "-o", text(&out)]));
    assert!(said.contains("missing: cannot be read"), "{said}");
    let stream = place.with("stream", b"2 1000\n");
    let nowhere = place.file("no/out");
    let said = complaint(strata(["import", "--from", "din", text(&stream), "-o", text(&nowhere)]));
    assert!(said.contains("no/out: cannot be written"), "{said}");
}

/// The guide shows these runs, all but the one whose input is not bundled.
#[test]
fn the_guide_shows_what_is_printed() {
    const GUIDE: &str = include_str!("../../../docs/importing.md");
    let place = Place::new();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/tests/import/data/true.lackey");
    fs::copy(data, place.file("true.lackey")).unwrap();
    let stream = "stream1-first1M.ref64.zst";
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../cachemodel/tests/data");
    fs::copy(format!("{data}/{stream}"), place.file(stream)).unwrap();
    place.with("loop.din", b"2 1000\n0 8000\n1 8000\n4 0\n2 1003\n3 0\n");
    let shown = GUIDE.split("```console\n$ strata import ").skip(1);
    let mut seen = 0;
    for example in shown.filter(|example| !example.starts_with("--from drmemtrace")) {
        let (line, rest) = example.split_once('\n').unwrap();
        let (expected, _) = rest.split_once("```").unwrap();
        let mut run = strata(["import"].into_iter().chain(line.split(' ')));
        run.current_dir(place.folder.path());
        let said = run.assert().success().get_output().stderr.clone();
        assert_eq!(String::from_utf8(said).unwrap(), expected, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

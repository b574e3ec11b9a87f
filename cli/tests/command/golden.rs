//! Whole outputs, letter by letter. `STRATA_REFRESH=1 cargo test -p strata golden` writes them
//! anew; look at the difference before committing it.

use crate::synthetic::Capture;
use crate::{output, strata, text};
use std::fs;
use std::path::{Path, PathBuf};

fn check(name: &str, actual: &str) {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/golden").join(name);
    if std::env::var_os("STRATA_REFRESH").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(actual, expected, "{} differs", path.display());
}

/// Replaces what depends on the temporary folder and on the trace format's version.
fn stable(capture: &Capture, text: &str) -> String {
    let text = text.replace(self::text(capture.path()), "CAPTURE");
    let words = text.split_inclusive([' ', '\n']).map(|word| {
        let digest = word.trim_end();
        let is_hash = digest.len() == 32 && digest.chars().all(|c| c.is_ascii_hexdigit());
        if is_hash { word.replace(digest, "HASH") } else { word.to_owned() }
    });
    words.collect()
}

#[test]
fn tables_are_the_golden_ones() {
    let capture = Capture::new();
    let cases: [(&str, &[&str]); 3] = [
        ("layers.txt", &["--by", "layer"]),
        ("functions.txt", &["--top", "4", "--sort", "dtlb-misses"]),
        (
            "one-layer.txt",
            &["--layer", "dom1-kernel", "--columns", "hits,hit-rate", "--range", "1k.."],
        ),
    ];
    for (name, arguments) in cases {
        let fixed = ["replay", text(capture.path())];
        let run = strata(fixed.into_iter().chain(arguments.iter().copied()));
        check(name, &stable(&capture, &output(run)));
    }
}

#[test]
fn the_summary_is_the_golden_one_and_fits_a_terminal() {
    let capture = Capture::new();
    let folder = tempfile::tempdir().unwrap();
    let summary = output(strata(["reproduce", text(capture.path()), "-o", text(folder.path())]));
    assert!(summary.lines().all(|line| line.chars().count() <= 110), "{summary}");
    check("summary.txt", &stable(&capture, &summary));
}
